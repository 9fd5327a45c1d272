//! The request sequences of the web client's screens, against the real binary: on SQLite alone, and on Cosmos DB with
//! Azure Storage. Every answer is compared field by field.

mod expected;
mod garments;
mod screens;
mod shared;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use pluckit::azure::Identity;
use pluckit::base::clock::SystemClock;
use pluckit::config::Cosmos;
use pluckit::net;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::expected::assert_fits;
use crate::process::{BINARY, now, with_google};
use crate::store::cosmos_backend;
use crate::support::feeds::{listing, post};
use crate::support::google::Google;
use crate::support::service::Launch;

/// Time limit of processing a picture.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time between two looks at the drafts. The client takes 5 s.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The subreddit of the discover screen.
const SUBREDDIT: &str = "rawdenim";

/// The running service under test, and its environment.
struct Stage<'a> {
    address: SocketAddr,
    google: &'a Google,
    store: &'a dyn DocumentStore,
}

impl Stage<'_> {
    /// Somebody with an account at Google, in a browser that knows the client.
    fn browser(&self, name: &str) -> Browser {
        let user = format!("{name}-{}", Uuid::new_v4().simple());
        let mut claims = Google::claims(now());
        claims["sub"] = json!(user);
        let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Browser { http, address: self.address, token: self.google.key.sign(&claims), user }
    }

    /// Saves a document, as another service would.
    async fn save(&self, container: Container, partition: &str, document: Value) {
        let key = Key::new(container, partition, document["id"].as_str().unwrap());
        self.store.upsert(&key, &document).await.unwrap();
    }
}

/// A signed-in client. It sends Google's token itself, as the web client does.
#[derive(Clone)]
struct Browser {
    http: reqwest::Client,
    address: SocketAddr,
    token: String,
    user: String,
}

/// What was answered; the body is null if there is none.
#[derive(Debug)]
struct Reply {
    status: u16,
    body: Value,
}

impl Browser {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method.parse().unwrap(), format!("http://{}{path}", self.address))
            .header("accept", "application/json, text/plain, */*")
            .bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, content_type) = (response.status().as_u16(), response.headers().get(CONTENT_TYPE).cloned());
        let bytes = response.bytes().await.unwrap();
        if bytes.is_empty() {
            return Reply { status, body: Value::Null };
        }
        let content_type = content_type.unwrap();
        assert!(content_type.to_str().unwrap().starts_with("application/json"), "{content_type:?}");
        Reply { status, body: serde_json::from_slice(&bytes).unwrap() }
    }

    /// Sends a request and compares its answer, field by field.
    #[track_caller]
    fn expect<'a>(
        &'a self,
        method: &'a str,
        path: &'a str,
        body: Option<Value>,
        status: u16,
        pattern: Value,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let request = self.request(method, path);
            let request = match &body {
                Some(body) => request.json(body),
                None => request,
            };
            let reply = self.send(request).await;
            let at = format!("{caller}: {method} {path}");
            assert_eq!(reply.status, status, "{at}: {}", reply.body);
            assert_fits(&at, &pattern, &reply.body);
            reply.body
        }
    }

    #[track_caller]
    fn get<'a>(&'a self, path: &'a str, pattern: Value) -> impl Future<Output = Value> + 'a {
        self.expect("GET", path, None, 200, pattern)
    }

    /// A request that answers 204 without a body.
    #[track_caller]
    fn done<'a>(&'a self, method: &'a str, path: &'a str, body: Option<Value>) -> impl Future<Output = Value> + 'a {
        self.expect(method, path, body, 204, Value::Null)
    }

    /// Uploads a photo, as a form with one field.
    async fn upload(&self, name: &str, photo: &[u8]) -> Reply {
        const BOUNDARY: &str = "----WebKitFormBoundaryA1b2C3d4";
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\nContent-Type: image/jpeg\r\n\r\n"
        );
        let tail = format!("\r\n--{BOUNDARY}--\r\n");
        let form = [head.as_bytes(), photo, tail.as_bytes()].concat();
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send(self.request("POST", "/api/wardrobe/upload").header("content-type", content_type).body(form)).await
    }
}

/// Runs the requests of all screens. Each journey builds on the previous one, like one evening in the app.
async fn take_all_journeys(stage: &Stage<'_>) {
    let ada = stage.browser("ada");
    screens::open_dashboard(&ada).await;
    screens::edit_profile(&ada).await;
    let uploaded = garments::upload_photos(&ada).await;
    garments::see_a_draft_fail(&ada).await;
    garments::browse(stage).await;
    garments::edit_and_delete(&ada, &uploaded).await;
    screens::ask_the_stylist(&ada, &uploaded).await;
    garments::log_wears(&ada, &uploaded).await;
    screens::read_a_digest(&ada).await;
    shared::keep_collections(stage, &ada, &uploaded).await;
    screens::discover(stage, &ada).await;
    screens::open_on_a_phone(&ada).await;
    shared::see_nothing_of_another(stage, &ada).await;
}

/// A photograph of the demo.
fn photo(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/photographs").join(name)).unwrap()
}

/// A Reddit with one subreddit. It ends when it is dropped.
struct FakeReddit {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for FakeReddit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeReddit {
    #[expect(clippy::disallowed_methods, reason = "the server belongs to the test and ends with it")]
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posts = listing(&[post(SUBREDDIT, "one"), post(SUBREDDIT, "two")]);
        let show = async |State(posts): State<Value>| {
            ([(CONTENT_TYPE, "application/json")], posts.to_string()).into_response()
        };
        let router = Router::new().route(&format!("/r/{SUBREDDIT}/hot.json"), get(show)).with_state(posts);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task }
    }
}

/// A client as a build tool leaves it.
fn built_client() -> tempfile::TempDir {
    let root = tempfile::TempDir::new().unwrap();
    std::fs::write(root.path().join("index.html"), "<!doctype html><title>PluckIt</title>").unwrap();
    root
}

fn with_client(launch: Launch, reddit: &FakeReddit, root: &tempfile::TempDir) -> Launch {
    launch
        .setting("WEB_ROOT", root.path().to_str().unwrap())
        .setting("REDDIT_BASE_URL", &reddit.url)
        .setting("INGEST_SPOT_CHECK_RATE", "0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screens_work_on_sqlite() {
    let (google, reddit, root) = (Google::start().await, FakeReddit::start().await, built_client());
    let launch = with_client(with_google(Launch::production(BINARY), &google), &reddit, &root);
    let (service, address) = launch.start();
    // Beside the process, on the same file.
    let store = SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap();
    take_all_journeys(&Stage { address, google: &google, store: &store }).await;
    assert_no_fault(&service.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn the_screens_work_on_cosmos_db_and_azure_storage() {
    let (google, reddit, root) = (Google::start().await, FakeReddit::start().await, built_client());
    // Nobody else's messages, pictures and documents.
    let own = Uuid::new_v4().simple().to_string();
    let options = Cosmos { database: format!("Journeys{own}"), ..cosmos_backend::options() };
    let mut launch = with_client(with_google(Launch::production(BINARY), &google), &reddit, &root)
        .setting("COSMOS_DB_ENDPOINT", options.endpoint.as_str())
        .setting("COSMOS_DB_KEY", &cosmos_backend::setting("PLUCKIT_TEST_COSMOS_KEY"))
        .setting("COSMOS_DB_DATABASE", &options.database)
        .setting("AzureWebJobsStorage", &cosmos_backend::setting("PLUCKIT_TEST_STORAGE"));
    for (name, kind) in [
        ("TASTE_JOB_QUEUE_NAME", "taste"),
        ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", "taste-poison"),
        ("DIGEST_BATCH_QUEUE_NAME", "digest"),
        ("MOOD_CHUNK_QUEUE_NAME", "mood"),
        ("SCRAPE_QUEUE_NAME", "scrape"),
        ("LONG_OPERATION_QUEUE_NAME", "long"),
        ("IMAGE_JOB_QUEUE_NAME", "image"),
        ("ARCHIVE_CONTAINER_NAME", "archive"),
        ("JOBS_CONTAINER_NAME", "jobs"),
        ("UPLOADS_CONTAINER_NAME", "uploads"),
    ] {
        launch = launch.setting(name, &format!("{kind}-{own}"));
    }
    let prepared = launch.command().args(["storage", "init"]).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let (service, address) = launch.start();
    let store = CosmosStore::new(options, Identity::default());
    take_all_journeys(&Stage { address, google: &google, store: &store }).await;
    assert_no_fault(&service.log());
}

fn assert_no_fault(log: &str) {
    let worst = log.lines().find(|line| line.contains("\"level\":\"ERROR\"") || line.contains("\"http.status\":5"));
    assert_eq!(worst, None);
}
