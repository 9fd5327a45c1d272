//! Jobs while the process is killed with -9 at random moments: none is lost, none is applied twice, all end.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use image::{ImageFormat, Rgb, RgbImage};
use pluckit::app::{self, Backends};
use pluckit::clock::SystemClock;
use pluckit::config::{Config, Source};
use pluckit::data::Data;
use pluckit::llm::offline::OfflineModel;
use pluckit::model::taste_job::{TasteJobStatus, TastePayload};
use pluckit::queue::JobQueue;
use pluckit::queue::local::LocalQueue;
use pluckit::state::AppState;
use pluckit::store::{Container, Key};
use pluckit::workers::{FUNCTIONS, pump, timers};
use serde_json::Value;
use tempfile::TempDir;

use super::{POISON_QUEUE, QUEUE};
use crate::support::process::{Process, ROLE, up_to};
use crate::support::until;
use crate::support::web::{self, Web};

const SERVICE: &str = "workers::kills::the_service_that_is_killed";
const PICTURE: &str = "https://i.example/a.png";
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

/// The state of a service that finds the picture on the internet of the tests.
fn state(config: Config, address: SocketAddr, web: &Web) -> AppState {
    let mut picture = Vec::new();
    let image = RgbImage::from_pixel(40, 40, Rgb([22, 34, 84]));
    image.write_to(&mut Cursor::new(&mut picture), ImageFormat::Png).unwrap();
    web.page(PICTURE, move |_| web::page("image/png", picture.clone()));
    let backends = Backends {
        web: Arc::new(web.client()),
        model: Arc::new(OfflineModel::new()),
        ..Backends::open(&config, address).unwrap()
    };
    app::state(config, backends)
}

/// Runs only when a test starts it as a process of its own; then until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "as a process of its own it is the service, and reads its settings")]
async fn the_service_that_is_killed() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let config = Config::read(|name| std::env::var(name).ok().map(|value| (value, Source::Environment))).unwrap();
    let listener = app::listen(&config).await.unwrap();
    let web = Web::start().await;
    let app = state(config, listener.local_addr().unwrap(), &web);
    if !app.config.server.under_functions_host {
        let options = pump::Options { visibility: Duration::from_secs(2), ..pump::Options::from_config(&app.config) };
        pump::start(&app, &FUNCTIONS, &options);
        timers::start(&app, &FUNCTIONS, &timers::Options::default());
    }
    app::serve(listener, app).await.unwrap();
}

/// Jobs of as many users, each for one picture, and what became of them.
struct Load {
    data: Data,
    jobs: Vec<TastePayload>,
}

impl Load {
    async fn send(data: Data, queue: &dyn JobQueue, count: usize) -> Self {
        let jobs: Vec<_> = (0..count)
            .map(|number| TastePayload::new(format!("user-{number}").into(), "i".into(), PICTURE.to_owned(), None))
            .collect();
        for job in &jobs {
            queue.send(QUEUE, &serde_json::to_string(job).unwrap()).await.unwrap();
        }
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

    /// The words of each user's profile: all the same, and each once, if every job was applied, and had the effect of one.
    async fn check_profiles(&self) {
        let mut first = None;
        for job in &self.jobs {
            let key = Key::by_id(Container::UserProfiles, job.user_id.as_str());
            let profile: Value = self.data.store.read(&key).await.unwrap().expect("a profile").parse().unwrap();
            let words: Vec<String> = serde_json::from_value(profile["stylePreferences"].clone()).unwrap();
            assert!(!words.is_empty());
            let mut once = words.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), words.len(), "{words:?}");
            assert_eq!(first.get_or_insert_with(|| words.clone()), &words);
        }
    }
}

async fn survive(jobs: usize, kills: usize) {
    let directory = TempDir::new().unwrap();
    let settings = settings(&directory);
    let config = Config::read(|name| settings.get(name).map(|value| (value.clone(), Source::Environment))).unwrap();
    let clock = Arc::new(SystemClock);
    let queue = LocalQueue::open(&directory.path().join("queue.db"), clock.clone()).unwrap();
    let data = Data::new(app::open_store(&config, &(clock as _)).unwrap());
    let load = Load::send(data, &queue, jobs).await;

    let mut process = Process::start(SERVICE, &settings).await;
    for kill in 0..kills {
        // Spread over the first half of the work, so that none hits an idle process.
        let left = jobs - jobs * kill / kills / 2;
        until("some more is done", async || queue.length(QUEUE).await.unwrap() <= left).await;
        tokio::time::sleep(up_to(Duration::from_millis(60))).await;
        process.kill_and_restart().await;
    }
    assert!(load.completed().await < jobs, "the last kill found work to do");
    let all_done = async {
        while load.completed().await < jobs {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        while queue.length(QUEUE).await.unwrap() + queue.length(POISON_QUEUE).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all_done).await.is_err() {
        panic!("{} of {jobs} jobs are done", load.completed().await);
    }
    process.kill().await;
    load.check_profiles().await;
    let (dead, _) = load.data.dead_letters.page(None, None, 10).await.unwrap();
    assert!(dead.is_empty(), "{dead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_a_process_that_is_killed() {
    survive(100, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: run scripts/test"]
async fn two_thousand_jobs_survive_a_hundred_kills() {
    survive(2000, 100).await;
}
