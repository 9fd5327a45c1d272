//! Jobs while the process is killed with SIGKILL at random moments: none is lost, none is applied twice, all complete.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use image::{ImageFormat, Rgb, RgbImage};
use pluckit::app::{self, Backends};
use pluckit::azure::{Identity, StorageAccount};
use pluckit::base::clock::SystemClock;
use pluckit::config::{Config, Source};
use pluckit::data::Data;
use pluckit::model::taste_job::{TasteJobStatus, TastePayload};
use pluckit::queue::JobQueue;
use pluckit::queue::azure::AzureQueue;
use pluckit::queue::local::LocalQueue;
use pluckit::state::AppState;
use pluckit::store::{Container, Key};
use pluckit::telemetry::Telemetry;
use pluckit::workers::FUNCTIONS;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::chain::Outsider;
use super::host::package;
use super::poison::open_data;
use super::{POISON_QUEUE, QUEUE};
use crate::store::cosmos_backend::setting;
use crate::support::host::{Faster, Handler, Host};
use crate::support::model::{ModelServer, say};
use crate::support::process::{self, Process, ROLE, start_workers, up_to};
use crate::support::until;
use crate::support::web::{self, Web};

pub const SERVICE: &str = "workers::kills::process_of_the_service";
pub const PICTURE: &str = "https://i.example/a.png";
const PATIENCE: Duration = Duration::from_secs(600);

/// Settings with which a job that was cut off is taken up again soon.
fn settings(directory: &TempDir) -> BTreeMap<String, String> {
    [
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
        ("PLUCKIT_DEMO", "false"),
        ("TASTE_JOB_DEDUPE_TTL_SECONDS", "3"),
        ("JOB_RETRY_BASE_SECONDS", "1"),
        ("JOB_SWEEPER_SCHEDULE", "*/2 * * * * *"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Puts the picture on the internet of the tests.
pub fn show_picture(web: &Web) {
    let mut picture = Vec::new();
    let image = RgbImage::from_pixel(40, 40, Rgb([22, 34, 84]));
    image.write_to(&mut Cursor::new(&mut picture), ImageFormat::Png).unwrap();
    web.page(PICTURE, move |_| web::page("image/png", picture.clone()));
}

/// The state of a service that finds the picture on the internet of the tests.
fn state(config: Config, address: SocketAddr, web: &Web) -> AppState {
    show_picture(web);
    let backends =
        Backends { web: Arc::new(web.client()), ..Backends::open(&config, address, Telemetry::off()).unwrap() };
    app::state(config, backends)
}

/// Runs only when a test starts it as a process of its own; then until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that other tests start"]
#[expect(clippy::disallowed_methods, reason = "as a process of its own it is the service, and reads its settings")]
async fn process_of_the_service() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let config = Config::read(|name| std::env::var(name).ok().map(|value| (value, Source::Environment))).unwrap();
    let listener = app::listen(&config).await.unwrap();
    let web = Web::start().await;
    let app = state(config, listener.local_addr().unwrap(), &web);
    if !app.config.server.under_functions_host {
        start_workers(&app);
    }
    app::serve(listener, app).await.unwrap();
}

/// A model that never says the same twice: what a profile has learned tells from how many of its answers.
async fn unique_model() -> ModelServer {
    let model = ModelServer::start().await;
    let calls = AtomicUsize::new(0);
    model.otherwise(move |_| {
        let word = format!("call-{}", calls.fetch_add(1, Ordering::Relaxed));
        say(&[&json!({"styleKeywords": [word], "colors": [], "garments": [], "brand": null}).to_string()])
    });
    model
}

/// Jobs of as many users, each for one picture, and what became of them.
struct Load {
    data: Data,
    jobs: Vec<TastePayload>,
}

impl Load {
    async fn send(data: Data, queue: &dyn JobQueue, name: &str, count: usize) -> Self {
        let jobs: Vec<_> = (0..count)
            .map(|number| TastePayload::new(format!("user-{number}").into(), "i".into(), PICTURE.to_owned(), None))
            .collect();
        let texts = jobs.iter().map(|job| serde_json::to_string(job).unwrap());
        stream::iter(texts).for_each_concurrent(16, async |text| queue.send(name, &text).await.unwrap()).await;
        Self { data, jobs }
    }

    async fn completed(&self) -> usize {
        let mut completed = 0;
        for job in &self.jobs {
            let found = self.data.taste_jobs.find(&job.job_id).await.unwrap();
            completed += usize::from(found.is_some_and(|job| job.status == TasteJobStatus::Completed));
        }
        completed
    }

    /// Waits until every job is done.
    async fn until_completed(&self) {
        let all_done = async {
            while self.completed().await < self.jobs.len() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all_done).await.is_err() {
            panic!("{} of {} jobs are done", self.completed().await, self.jobs.len());
        }
    }

    /// Every profile has learned from exactly one answer of the model, and no two from the same.
    async fn check_profiles(&self) {
        let mut answers = BTreeSet::new();
        for job in &self.jobs {
            let key = Key::by_id(Container::UserProfiles, job.user_id.as_str());
            let profile: Value = self.data.store.read(&key).await.unwrap().expect("a profile").parse().unwrap();
            let words: Vec<String> = serde_json::from_value(profile["stylePreferences"].clone()).unwrap();
            let [word] = words.as_slice() else { panic!("applied {} times: {words:?}", words.len()) };
            assert!(answers.insert(word.clone()), "{word} went to two profiles");
        }
        assert_eq!(answers.len(), self.jobs.len());
    }
}

async fn until_empty(queue: &dyn JobQueue, names: [&str; 2]) {
    until("the queues are empty", async || {
        queue.length(names[0]).await.unwrap() + queue.length(names[1]).await.unwrap() == 0
    })
    .await;
}

/// Messages that may be left before this kill: kills are spread over the first half of the work, so that none hits an
/// idle process.
pub fn left_before(kill: usize, kills: usize, jobs: usize) -> usize {
    jobs - jobs * kill / kills / 2
}

async fn survive(jobs: usize, kills: usize) {
    let directory = TempDir::new().unwrap();
    let model = unique_model().await;
    let mut settings = settings(&directory);
    settings.insert("OPENAI_BASE_URL".to_owned(), model.base_url());
    let queue = LocalQueue::open(&directory.path().join("queue.db"), Arc::new(SystemClock)).unwrap();
    let load = Load::send(open_data(directory.path()), &queue, QUEUE, jobs).await;

    let mut process = Process::start(SERVICE, &settings).await;
    for kill in 0..kills {
        let left = left_before(kill, kills, jobs);
        until("some more is done", async || queue.length(QUEUE).await.unwrap() <= left).await;
        tokio::time::sleep(up_to(Duration::from_millis(60))).await;
        process.kill_and_restart().await;
    }
    assert!(load.completed().await < jobs, "the last kill found work to do");
    load.until_completed().await;
    until_empty(&queue, [QUEUE, POISON_QUEUE]).await;
    process.kill().await;
    load.check_profiles().await;
    let (dead, _) = load.data.dead_letters.page(None, None, 10).await.unwrap();
    assert!(dead.is_empty(), "{dead:?}");
}

/// Through the double of the Functions host and Azurite, the documents in a file, the program as in `chain.rs`. The
/// host gives a message up after five deliveries, and so it does when five kills hit the same one: as in life, an
/// administrator then replays the dead letter.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn two_thousand_jobs_survive_a_hundred_kills_under_the_host() {
    let (jobs, kills) = (2000, 100);
    let directory = TempDir::new().unwrap();
    let model = unique_model().await;
    let storage = setting("PLUCKIT_TEST_STORAGE");
    let name = format!("jobs-{}", Uuid::new_v4());
    let poison = format!("{name}-poison");
    let settings = [
        (ROLE, "hosted"),
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Production"),
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
        ("AzureWebJobsStorage", ""),
        ("StorageQueue", &storage),
        ("TASTE_JOB_QUEUE_NAME", &name),
        ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison),
        ("TASTE_JOB_DEDUPE_TTL_SECONDS", "2"),
        ("OPENAI_BASE_URL", &model.base_url()),
        ("ADMIN_USER_IDS", "admin"),
    ];
    let account = StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap();
    account.create_queue(&name).await.unwrap();
    account.create_queue(&poison).await.unwrap();
    let queue = AzureQueue::new(account.into());
    let load = Load::send(open_data(directory.path()), &queue, &name, jobs).await;
    let admin = Outsider::sign_in(&load.data, "admin").await;

    let (_package, dist) = package(FUNCTIONS);
    let (program, arguments) = process::program(SERVICE);
    let faster = Faster {
        // Longer than the lease of a process that died.
        visibility_timeout: Some(Duration::from_secs(4)),
        max_polling_interval: Some(Duration::from_millis(100)),
    };
    let host = Host::start(&dist, Handler::Program(program, arguments), &settings, faster).await;
    for kill in 0..kills {
        let left = left_before(kill, kills, jobs);
        until("some more is done", async || queue.length(&name).await.unwrap() <= left).await;
        tokio::time::sleep(up_to(Duration::from_millis(60))).await;
        host.kill().await;
    }
    assert!(load.completed().await < jobs, "the last kill found work to do");
    let all_delivered = async {
        while queue.length(&name).await.unwrap() + queue.length(&poison).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_delivered).await.expect("the queues become empty");
    let (dead, _) = load.data.dead_letters.page(None, None, 1000).await.unwrap();
    for letter in &dead {
        let url = host.url(&format!("/api/admin/dead-letters/{}/replay", letter.id));
        assert_eq!(admin.post(url, &json!({})).await.0, StatusCode::OK);
    }
    load.until_completed().await;
    load.check_profiles().await;
    assert_eq!((host.starts(), host.exits(), host.violations()), (kills + 1, vec![], vec![]));
    let cut = host.calls().iter().filter(|call| call.status.is_none()).count();
    assert!(cut >= kills / 2, "only {cut} deliveries were cut");
    assert!(dead.len() <= cut / 5, "{} dead letters of {cut} deliveries cut", dead.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_a_process_that_is_killed() {
    survive(100, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while: run scripts/test"]
async fn two_thousand_jobs_survive_a_hundred_kills() {
    survive(2000, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_queue_do_each_job_once() {
    let directory = TempDir::new().unwrap();
    let model = unique_model().await;
    let mut settings = settings(&directory);
    settings.insert("OPENAI_BASE_URL".to_owned(), model.base_url());
    // Nothing dies here: a lease that runs out would be a fault.
    settings.remove("TASTE_JOB_DEDUPE_TTL_SECONDS");
    let mut processes = Vec::new();
    for key in ["first", "second"] {
        settings.insert("OPENAI_API_KEY".to_owned(), key.to_owned());
        processes.push(Process::start(SERVICE, &settings).await);
    }
    let queue = LocalQueue::open(&directory.path().join("queue.db"), Arc::new(SystemClock)).unwrap();
    let load = Load::send(open_data(directory.path()), &queue, QUEUE, 500).await;
    load.until_completed().await;
    until_empty(&queue, [QUEUE, POISON_QUEUE]).await;
    load.check_profiles().await;
    let calls = model.received();
    let by = |key: &str| calls.iter().filter(|call| call.header("authorization") == format!("Bearer {key}")).count();
    let (first, second) = (by("first"), by("second"));
    assert_eq!(first + second, 500, "one call of the model for each job");
    assert!(first > 0 && second > 0, "{first} and {second}: both took part");
    for process in processes {
        process.kill().await;
    }
}
