//! Long operations while processes are killed or suspended: each becomes final exactly once, recorded steps are not
//! repeated, and late workers write nothing.
//!
//! The processes share a directory. In it is a journal, to which steps append what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, stream};
use pluckit::app::{self, Backends};
use pluckit::config::{Config, Source};
use pluckit::domain::jobs::{Finished, JobFault, JobKind, Report, Run};
use pluckit::model::ids::{JobId, UserId};
use pluckit::model::job::{Job, JobStatus};
use pluckit::state::AppState;
use pluckit::store::{Container, Key};
use pluckit::telemetry::Telemetry;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::kills::left_before;
use crate::support::jobs::QUEUE;
use crate::support::process::{Process, ROLE, start_workers, up_to};
use crate::support::until;

const SERVICE: &str = "workers::jobs_kills::process_of_long_operations";
const JOURNALED: &str = "test.journaled";
const GATED: &str = "test.gated";
const STEPS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs only when a test starts it as a process of its own; then until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that other tests start"]
#[expect(clippy::disallowed_methods, reason = "as a process of its own it is the service, and reads its settings")]
async fn process_of_long_operations() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let config = Config::read(|name| std::env::var(name).ok().map(|value| (value, Source::Environment))).unwrap();
    let name = config.identity.local_dev_user.to_string();
    let listener = app::listen(&config).await.unwrap();
    let app = open(config, listener.local_addr().unwrap(), name);
    start_workers(&app);
    app::serve(listener, app).await.unwrap();
}

/// The service in a directory, as the process of this name.
fn open(config: Config, address: SocketAddr, name: String) -> AppState {
    let backends = Backends::open(&config, address, Telemetry::off()).unwrap();
    let place = Place { directory: config.data_directory.clone(), name };
    let kinds = [JOURNALED, GATED].map(|kind| {
        let place = place.clone();
        JobKind::new(kind, false, move |run, input: Input| {
            let place = place.clone();
            async move {
                if kind == GATED { place.wait_and_write(run).await } else { place.journal_steps(run, input).await }
            }
        })
    });
    app::state(config, Backends { more_kinds: kinds.into(), ..backends })
}

#[derive(Deserialize)]
struct Input {
    steps: usize,
}

/// What processes share, and the name of one of them.
#[derive(Clone)]
struct Place {
    directory: PathBuf,
    name: String,
}

/// Appends a line when it is dropped, however that comes about.
struct Ends<'a>(&'a Place, String);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.append(&["ended", &self.1, &self.0.name]);
    }
}

impl Place {
    fn append(&self, words: &[&str]) {
        let line = format!("{}\n", words.join(" "));
        let mut journal = OpenOptions::new().create(true).append(true).open(self.directory.join("journal")).unwrap();
        // In one piece: lines of several processes do not mix.
        journal.write_all(line.as_bytes()).unwrap();
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let journal = fs::read_to_string(self.directory.join("journal")).unwrap_or_default();
        journal.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    fn has(&self, words: &[&str]) -> bool {
        self.lines().iter().any(|line| line == words)
    }

    async fn journal_steps(&self, run: Run, input: Input) -> Result<Finished, JobFault> {
        let id = run.id().to_string();
        let mut results = Vec::new();
        for step in 0..input.steps {
            let step = step.to_string();
            let work = async {
                let result = Uuid::new_v4().to_string();
                self.append(&["begun", &id, &step, &result]);
                tokio::time::sleep(up_to(Duration::from_millis(20))).await;
                run.write_output(&format!("step-{step}.md"), format!("# {result}")).await?;
                Ok(result)
            };
            let result: String = run.step(&step, work).await?;
            self.append(&["kept", &id, &step, &result]);
            results.push(result);
        }
        Ok(Finished { result: json!(results), report: Report { title: "Journaled".to_owned(), ..Report::default() } })
    }

    async fn wait_and_write(&self, run: Run) -> Result<Finished, JobFault> {
        let id = run.id().to_string();
        let _ends = Ends(self, id.clone());
        run.step("first", async { Ok(()) }).await?;
        let work = async {
            self.append(&["begun", &id, &self.name]);
            while !self.directory.join("gate").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // As a step that writes to a domain's documents does: it asks nobody before.
            self.append(&["touched", &id, &self.name]);
            let written = run.write_output("late.md", format!("# {}", self.name)).await;
            self.append(&[if written.is_ok() { "wrote" } else { "refused" }, &id, &self.name]);
            written
        };
        run.step("second", work).await?;
        self.append(&["kept", &id, &self.name]);
        Ok(Finished { result: json!(self.name), report: Report { title: "Gated".to_owned(), ..Report::default() } })
    }
}

fn settings(directory: &Path, name: &str) -> BTreeMap<String, String> {
    [
        ("PLUCKIT_DATA_DIR", directory.to_str().unwrap()),
        ("PLUCKIT_DEMO", "false"),
        ("LOCAL_DEV_USER_ID", name),
        ("LONG_OPERATION_LEASE_SECONDS", "2"),
        ("WORKER_CONCURRENCY", "16"),
        ("JOB_RETRY_BASE_SECONDS", "1"),
        ("JOB_SWEEPER_SCHEDULE", "*/2 * * * * *"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The test's own view of what the processes share.
struct Scene {
    directory: TempDir,
    app: AppState,
    place: Place,
}

impl Scene {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let settings = settings(directory.path(), "test");
        let config = Config::read(|name| settings.get(name).map(|value| (value.clone(), Source::Environment))).unwrap();
        let place = Place { directory: directory.path().to_owned(), name: "test".to_owned() };
        let app = open(config, SocketAddr::from(([127, 0, 0, 1], 7071)), "test".to_owned());
        Self { directory, app, place }
    }

    fn settings(&self, name: &str) -> BTreeMap<String, String> {
        settings(self.directory.path(), name)
    }

    async fn accept(&self, kind: &str, count: usize) -> Vec<(UserId, JobId)> {
        let accept = |number: usize| async move {
            // A user may have few jobs waiting.
            let user = UserId::from(format!("user-{}", number / 2));
            let id = self.app.jobs.accept(&user, kind, json!({ "steps": STEPS }), None).await.unwrap();
            (user, id)
        };
        stream::iter(0..count).map(accept).buffer_unordered(16).collect().await
    }

    async fn job(&self, (user, id): &(UserId, JobId)) -> Job {
        self.app.data.jobs.find(user, id).await.unwrap().expect("a job")
    }

    async fn unfinished(&self, jobs: &[(UserId, JobId)]) -> usize {
        let mut unfinished = 0;
        for job in jobs {
            unfinished += usize::from(!self.job(job).await.status.is_final());
        }
        unfinished
    }

    async fn until_final(&self, jobs: &[(UserId, JobId)]) {
        let wait = async {
            while self.unfinished(jobs).await > 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{} of {} jobs are not final", self.unfinished(jobs).await, jobs.len());
        }
    }

    async fn queued(&self) -> usize {
        self.app.queue.length(QUEUE).await.unwrap()
    }

    /// The job's document as it is, with its version.
    async fn document(&self, (user, id): &(UserId, JobId)) -> (String, String) {
        let key = Key::new(Container::Jobs, user.as_str(), id.as_str());
        let stored = self.app.data.store.read(&key).await.unwrap().unwrap();
        (stored.json, stored.etag.to_string())
    }

    async fn blobs(&self, id: &JobId) -> Vec<String> {
        let container = &self.app.config.storage.jobs_container;
        let page = self.app.blobs.list(container, &format!("jobs/{id}/"), None, 1000).await.unwrap();
        page.blobs.into_iter().map(|listed| format!("{} {}", listed.name, listed.properties.etag)).collect()
    }
}

async fn survive(count: usize, kills: usize) {
    let scene = Scene::new();
    let jobs = scene.accept(JOURNALED, count).await;
    let mut process = Process::start(SERVICE, &scene.settings("killed")).await;
    for kill in 0..kills {
        let left = left_before(kill, kills, count);
        until("some more is done", async || scene.queued().await <= left).await;
        tokio::time::sleep(up_to(Duration::from_millis(60))).await;
        process.kill_and_restart().await;
    }
    assert!(scene.unfinished(&jobs).await > 0, "the last kill found work to do");
    scene.until_final(&jobs).await;
    until("the queue is empty", async || scene.queued().await == 0).await;
    process.kill().await;

    let lines = scene.place.lines();
    let mut kept: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for line in &lines {
        let [event, id, step, result] = line.as_slice() else { panic!("{line:?}") };
        match (event.as_str(), kept.get(&(id.as_str(), step.as_str()))) {
            ("begun", Some(_)) => panic!("step {step} of {id} was done again after it was recorded"),
            ("kept", Some(known)) => assert_eq!(known, result, "step {step} of {id} came to something else"),
            ("kept", None) => drop(kept.insert((id, step), result)),
            _ => {}
        }
    }
    let mut interrupted = 0;
    for key in &jobs {
        let job = scene.job(key).await;
        let results: Vec<String> = serde_json::from_value(job.result.clone().unwrap_or_default()).unwrap_or_default();
        assert_eq!((job.status, results.len()), (JobStatus::Completed, STEPS), "{:?}", job.error);
        for (step, result) in results.iter().enumerate() {
            assert_eq!(kept[&(key.1.as_str(), step.to_string().as_str())], result);
            let title = &job.outputs.iter().find(|output| output.path == format!("step-{step}.md")).unwrap().title;
            assert_eq!(title, result, "what is shown is what the recorded step wrote");
        }
        assert_eq!(job.history.iter().filter(|change| change.status.is_final()).count(), 1);
        interrupted += usize::from(job.attempt > 1);
    }
    assert!(interrupted >= kills / 4, "only {interrupted} jobs were hit by {kills} kills");
    let begun: BTreeSet<_> = lines.iter().filter(|line| line[0] == "begun").map(|line| &line[3]).collect();
    assert!(begun.len() > count * STEPS, "some steps were cut off and done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_operations_survive_a_process_that_is_killed() {
    survive(80, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while: run scripts/test"]
async fn a_thousand_long_operations_survive_a_hundred_kills() {
    survive(1000, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_past_its_leases_writes_nothing() {
    const JOBS: usize = 6;
    let scene = Scene::new();
    let jobs = scene.accept(GATED, JOBS).await;
    let mut sleeper = scene.settings("sleeper");
    // It has nothing to do but these jobs: whoever is stopped while it holds the database stops everybody.
    sleeper.insert("JOB_SWEEPER_SCHEDULE".to_owned(), "0 0 0 1 1 *".to_owned());
    let sleeper = Process::start(SERVICE, &sleeper).await;
    let begun_by = |name: &'static str| {
        let (place, jobs) = (scene.place.clone(), &jobs);
        async move { jobs.iter().all(|(_, id)| place.has(&["begun", id.as_str(), name])) }
    };
    until("it has begun all of them", async || begun_by("sleeper").await).await;
    sleeper.stop();

    let other = Process::start(SERVICE, &scene.settings("other")).await;
    until("another process has taken them over", async || begun_by("other").await).await;
    fs::write(scene.place.directory.join("gate"), "").unwrap();
    scene.until_final(&jobs).await;
    until("the other has settled its messages", async || scene.queued().await == 0).await;
    let mut before = Vec::new();
    for job in &jobs {
        assert_eq!(scene.job(job).await.result, Some(Value::from("other")));
        before.push((scene.document(job).await, scene.blobs(&job.1).await));
    }

    sleeper.resume();
    for (_, id) in &jobs {
        until("it has seen that it is too late", async || scene.place.has(&["ended", id.as_str(), "sleeper"])).await;
    }
    for (job, before) in jobs.iter().zip(before) {
        assert_eq!((scene.document(job).await, scene.blobs(&job.1).await), before, "0 late writes");
        for event in ["touched", "wrote", "kept"] {
            assert!(!scene.place.has(&[event, job.1.as_str(), "sleeper"]), "{event}");
        }
    }
    for process in [sleeper, other] {
        process.kill().await;
    }
}
