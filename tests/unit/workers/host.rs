//! The packaged service under the double of the Functions host.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::net;
use pluckit::queue::JobQueue;
use pluckit::queue::azure::AzureQueue;
use pluckit::workers::package;
use pluckit::workers::{FUNCTIONS, Function, sweeper};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::{SCRIPTED, fresh_key, record, script};
use crate::store::cosmos_backend::{cosmos, setting};
use crate::support::events::{Parser, Transcript};
use crate::support::google::{CLIENT_ID, Google};
use crate::support::host::{Call, Faster, Handler, Host, is_open, queue_envelope};
use crate::support::model::{Answer, Kind, ModelServer, Step, say, text};
use crate::support::{TestApp, until};

/// A package in a directory of its own. The binary in it is the one that was built for the tests, or the one that
/// `PLUCKIT_TEST_BINARY` names: that of a release.
pub fn package(functions: &[Function]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let dist = directory.path().join("dist");
    #[expect(clippy::disallowed_methods, reason = "of the test, not of the service")]
    let binary = std::env::var_os("PLUCKIT_TEST_BINARY");
    let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_pluckit").into());
    package::write(functions, &dist, binary.as_ref(), None).unwrap();
    (directory, dist)
}

/// What the package's own settings leave to Azurite, kept in files instead. In production, because in development the
/// binary would read those settings itself.
const EMBEDDED: [(&str, &str); 3] =
    [("AZURE_FUNCTIONS_ENVIRONMENT", "Production"), ("AzureWebJobsStorage", ""), ("StorageQueue", "")];

#[tokio::test]
async fn the_package_runs_as_it_is() {
    let (_directory, dist) = package(FUNCTIONS);
    let host = Host::start(&dist, Handler::Binary, &EMBEDDED, Faster::default()).await;
    let health: serde_json::Value =
        net::services().unwrap().get(host.url("/api/health")).send().await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(host.fire(sweeper::FUNCTION).await, Some(200));

    let client = net::services().unwrap();
    let forged = queue_envelope("ProcessTasteAnalysisJob", "item", "{}", "1", 1);
    for function in ["ProcessTasteAnalysisJob", sweeper::FUNCTION] {
        for path in [format!("/{function}"), format!("/api/{function}"), format!("/api/../{function}")] {
            let answer = client.post(host.url(&path)).json(&forged).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path} from outside");
        }
        let url = format!("http://127.0.0.1:{}/{function}", host.handler_port().await);
        let answer = client.post(url).header("x-ms-invocation-id", "1").json(&forged).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{function} with the header of the proxy");
        assert_eq!(answer.text().await.unwrap(), r#"{"detail":"Not Found","error":"Not Found"}"#);
    }
    assert_eq!(host.violations(), Vec::<String>::new());
    assert_eq!((host.starts(), host.exits()), (1, vec![]));
}

#[tokio::test]
async fn a_killed_process_is_started_again_and_goes_on() {
    let (_directory, dist) = package(FUNCTIONS);
    let host = Host::start(&dist, Handler::Binary, &EMBEDDED, Faster::default()).await;
    for start in 2..=4 {
        let port = host.handler_port().await;
        host.kill().await;
        assert!(!is_open(port).await, "it is dead");
        host.until_ready().await;
        assert_eq!(host.starts(), start);
        assert_eq!(net::services().unwrap().get(host.url("/api/health")).send().await.unwrap().status(), 200);
        assert_eq!(host.fire(sweeper::FUNCTION).await, Some(200));
    }
    assert_eq!(host.exits(), [], "it never ended by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_survives_the_death_of_the_handler() {
    let (google, server) = (Google::start().await, ModelServer::start().await);
    server.push(Kind::Stream, Answer::Steps(vec![text("Wear "), Step::Stall]));
    server.push(Kind::Stream, say(&["Wear ", "navy."]));
    let (_directory, dist) = package(FUNCTIONS);
    let base_url = server.base_url();
    let settings = [
        &EMBEDDED[..],
        &[("GOOGLE_CLIENT_ID", CLIENT_ID), ("GOOGLE_JWKS_URL", &google.url)],
        &[("OPENAI_BASE_URL", &base_url), ("OPENAI_MODEL", "stylist-1")],
    ]
    .concat();
    let host = Host::start(&dist, Handler::Binary, &settings, Faster::default()).await;
    let client = net::services().unwrap();
    let id_token = google.key.sign(&Google::claims(SystemClock.now().unix_timestamp()));
    let grant = client.post(host.url("/api/auth/mobile-token")).json(&json!({"id_token": id_token})).send().await;
    let grant: serde_json::Value = grant.unwrap().json().await.unwrap();
    let token = grant["access_token"].as_str().unwrap();
    let body = json!({"message": "What now?", "chatId": "c", "onDisconnect": "continue"});
    let mut asked = client.post(host.url("/api/chat")).bearer_auth(token).json(&body).send().await.unwrap();
    let run = asked.headers()["x-run-id"].to_str().unwrap().to_owned();
    assert!(asked.chunk().await.unwrap().is_some());
    host.kill().await;
    host.until_ready().await;
    let events = host.url(&format!("/api/chat/runs/{run}/events"));
    let events = client.get(events).bearer_auth(token).send().await.unwrap().text().await.unwrap();
    let transcript = Transcript::of(Parser::default().push(events.as_bytes()));
    assert_eq!((transcript.text().as_str(), transcript.is_over()), ("Wear navy.", true));
}

#[tokio::test]
async fn an_answer_streams_through_the_proxy() {
    let server = ModelServer::start().await;
    // A model that never comes to its end: what arrives was not held back.
    server.push(Kind::Stream, Answer::Steps(vec![text("Wear "), Step::Stall]));
    let app = TestApp::builder().under_functions_host().model_server(&server).start();
    let token = app.state.sessions.open("ada".to_owned().into()).await.unwrap().access_token;
    let (_directory, dist) = package(FUNCTIONS);
    let host = Host::start(&dist, Handler::Served(app.service()), &EMBEDDED, Faster::default()).await;

    let client = net::services().unwrap();
    let asked = client.post(host.url("/api/chat")).bearer_auth(&token).json(&json!({"message": "What now?"}));
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.bytes_stream();
    let first =
        tokio::time::timeout(Duration::from_secs(10), body.next()).await.expect("a first piece").unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("Wear "), "{first:?}");

    drop(body);
    until("the model's call is cut when the reader leaves", async || server.closed_early() == 1).await;
}

/// A service with scripted functions under the host, and its queue on Azurite.
struct Hosted {
    host: Host,
    queue: AzureQueue,
    name: String,
    _app: TestApp,
    _directory: TempDir,
}

const FAST: Duration = Duration::from_secs(2);

impl Hosted {
    async fn start() -> Self {
        let storage = setting("PLUCKIT_TEST_STORAGE");
        let name = format!("jobs-{}", Uuid::new_v4());
        let app = TestApp::builder()
            .under_functions_host()
            .functions(&SCRIPTED)
            .setting("TASTE_JOB_QUEUE_NAME", &name)
            .start();
        let (directory, dist) = package(&SCRIPTED);
        let poison = format!("{name}-poison");
        let settings = [
            ("StorageQueue", storage.as_str()),
            ("TASTE_JOB_QUEUE_NAME", &name),
            ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison),
        ];
        let faster = Faster { visibility_timeout: Some(FAST), max_polling_interval: Some(Duration::from_millis(100)) };
        let host = Host::start(&dist, Handler::Served(app.service()), &settings, faster).await;
        let account = StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap();
        Self { host, queue: AzureQueue::new(account.into()), name, _app: app, _directory: directory }
    }

    fn calls(&self, function: &str) -> Vec<Call> {
        self.host.calls().into_iter().filter(|call| call.function == function).collect()
    }

    async fn until_empty(&self) {
        let poison = format!("{}-poison", self.name);
        until("the queues are empty", async || {
            self.queue.length(&self.name).await.unwrap() + self.queue.length(&poison).await.unwrap() == 0
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_message_reaches_its_function_and_is_gone() {
    let hosted = Hosted::start().await;
    let keys: Vec<_> = (0..20).map(|_| fresh_key()).collect();
    for key in &keys {
        hosted.queue.send(&hosted.name, &script(key, &["done"])).await.unwrap();
    }
    hosted.until_empty().await;
    assert!(keys.iter().all(|key| record(key).counts == [1]));
    assert_eq!(hosted.calls("Scripted").len(), 20);
    assert_eq!(hosted.host.violations(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_failing_message_is_delivered_five_times_and_then_poison() {
    let hosted = Hosted::start().await;
    let (failing, broken) = (fresh_key(), format!("not json {}", fresh_key()));
    let text = script(&failing, &["fail", "panic", "fail"]);
    hosted.queue.send(&hosted.name, &text).await.unwrap();
    hosted.queue.send(&hosted.name, &broken).await.unwrap();
    until("it is a dead letter", async || record(&failing).dead == [text.clone()]).await;
    assert_eq!(record(&failing).counts, [1, 2, 3, 4, 5]);
    hosted.until_empty().await;
    let failed: Vec<_> = hosted.calls("Scripted").into_iter().filter(|call| call.status == Some(500)).collect();
    assert_eq!(failed.iter().map(|call| call.dequeue_count).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for pair in failed.windows(2) {
        assert_eq!(pair[0].message_id, pair[1].message_id);
        // Azurite counts whole seconds.
        assert!(pair[1].began - pair[0].began >= FAST - Duration::from_secs(1), "{failed:?}");
    }
    assert_eq!(record(&broken).given_up, [("no script".to_owned(), broken.clone())]);
    assert_eq!(hosted.host.violations(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn the_package_runs_on_the_emulators() {
    cosmos().await;
    let (_directory, dist) = package(FUNCTIONS);
    let (endpoint, key, storage) =
        (setting("PLUCKIT_TEST_COSMOS_ENDPOINT"), setting("PLUCKIT_TEST_COSMOS_KEY"), setting("PLUCKIT_TEST_STORAGE"));
    let queue = format!("jobs-{}", Uuid::new_v4());
    let poison = format!("{queue}-poison");
    let settings = [
        ("COSMOS_DB_ENDPOINT", endpoint.as_str()),
        ("COSMOS_DB_KEY", &key),
        ("COSMOS_DB_DATABASE", "PluckItTest"),
        ("AzureWebJobsStorage", &storage),
        ("StorageQueue", &storage),
        ("TASTE_JOB_QUEUE_NAME", &queue),
        ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison),
    ];
    let account = StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap();
    account.create_queue(&queue).await.unwrap();
    let host = Host::start(&dist, Handler::Binary, &settings, Faster::default()).await;
    let ready: serde_json::Value =
        net::services().unwrap().get(host.url("/api/health/ready")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&ready["checks"]["documents"], &ready["checks"]["queue"]), (&json!("ok"), &json!("ok")), "{ready}");
    let started = Instant::now();
    assert_eq!(host.fire(sweeper::FUNCTION).await, Some(200));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((host.exits(), host.violations()), (vec![], vec![]));
}
