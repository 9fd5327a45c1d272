//! Unreadable messages among good ones: each is stored with its text and a reason, and does not delay others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pluckit::app;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::base::clock::SystemClock;
use pluckit::config::{Config, Source};
use pluckit::data::Data;
use pluckit::model::dead_letter::DeadLetter;
use pluckit::model::taste_job::{TasteJobStatus, TastePayload};
use pluckit::queue::JobQueue;
use pluckit::queue::azure::AzureQueue;
use pluckit::telemetry::metrics::Metrics;
use pluckit::workers::{FUNCTIONS, pump};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::host::package;
use super::kills::{self, PICTURE, SERVICE};
use super::taste::poison;
use super::{POISON_QUEUE, QUEUE};
use crate::store::cosmos_backend::setting;
use crate::support::host::{Faster, Handler, Host};
use crate::support::process::{self, ROLE};
use crate::support::web::Web;
use crate::support::{TestApp, until};

/// Good jobs: one after every fifth message that is none.
const GOOD: usize = 20;

fn job(number: usize) -> TastePayload {
    TastePayload::new(format!("user-{number}").into(), "i".into(), PICTURE.to_owned(), None)
}

/// Sends all bodies with good jobs between them, every third body straight to the queue of those delivered too often.
async fn send(queue: &dyn JobQueue, name: &str, poison_name: &str, bodies: &[String]) {
    for (number, body) in bodies.iter().enumerate() {
        let to = if number % 3 == 2 { poison_name } else { name };
        queue.send(to, body).await.unwrap_or_else(|error| panic!("body {number}: {error:?}"));
        if number % 5 == 4 {
            queue.send(name, &serde_json::to_string(&job(number / 5)).unwrap()).await.unwrap();
        }
    }
}

async fn check(data: &Data, bodies: &[String]) {
    for number in 0..GOOD {
        let found = data.taste_jobs.find(&job(number).job_id).await.unwrap();
        assert_eq!(found.map(|job| job.status), Some(TasteJobStatus::Completed), "good job {number}");
    }
    let (letters, _) = data.dead_letters.page(None, None, 1000).await.unwrap();
    assert_eq!(letters.len(), bodies.len());
    for body in bodies {
        let shown: String = body.chars().take(60).collect();
        let is_kept = |letter: &DeadLetter| letter.payload == json!({"raw_payload": body}) && !letter.reason.is_empty();
        assert_eq!(letters.iter().filter(|letter| is_kept(letter)).count(), 1, "{shown}");
    }
}

#[tokio::test]
async fn the_pump_keeps_what_it_cannot_read_and_goes_on() {
    let web = Web::start().await;
    kills::show_picture(&web);
    let app = TestApp::builder().web(&web).start();
    let bodies = poison();
    send(&*app.state.queue, QUEUE, POISON_QUEUE, &bodies).await;
    pump::start(&app.state, FUNCTIONS, &pump::Options::from_config(&app.state.config));
    until("the queues are empty", async || {
        app.state.queue.length(QUEUE).await.unwrap() + app.state.queue.length(POISON_QUEUE).await.unwrap() == 0
    })
    .await;
    app.state.shutdown.cancel();
    check(&app.state.data, &bodies).await;
}

/// The documents of a service with this data directory.
pub fn open_data(directory: &Path) -> Data {
    let settings = BTreeMap::from([("PLUCKIT_DATA_DIR", directory.to_str().unwrap())]);
    let config =
        Config::read(|name| settings.get(name).map(|value| ((*value).to_owned(), Source::Environment))).unwrap();
    Data::new(app::open_store(&config, &(Arc::new(SystemClock) as _), &Metrics::off()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn the_host_keeps_what_it_cannot_read_and_goes_on() {
    let storage = setting("PLUCKIT_TEST_STORAGE");
    let name = format!("jobs-{}", Uuid::new_v4());
    let poison_name = format!("{name}-poison");
    let directory = TempDir::new().unwrap();
    let settings = [
        (ROLE, "hosted"),
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Production"),
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
        ("AzureWebJobsStorage", ""),
        ("StorageQueue", &storage),
        ("TASTE_JOB_QUEUE_NAME", &name),
        ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison_name),
    ];
    let account = StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap();
    account.create_queue(&name).await.unwrap();
    account.create_queue(&poison_name).await.unwrap();
    let queue = AzureQueue::new(account.into());
    let bodies = poison();
    send(&queue, &name, &poison_name, &bodies).await;

    let (_package, dist) = package(FUNCTIONS);
    let (program, arguments) = process::program(SERVICE);
    let faster = Faster { max_polling_interval: Some(Duration::from_millis(100)), ..Faster::default() };
    let host = Host::start(&dist, Handler::Program(program, arguments), &settings, faster).await;
    until("the queues are empty", async || {
        queue.length(&name).await.unwrap() + queue.length(&poison_name).await.unwrap() == 0
    })
    .await;
    check(&open_data(directory.path()), &bodies).await;
    assert!(host.calls().iter().all(|call| (call.dequeue_count, call.status) == (1, Some(200))), "each went at once");
    assert_eq!(host.calls().len(), bodies.len() + GOOD);
    assert_eq!((host.violations(), host.exits()), (vec![], vec![]));
}
