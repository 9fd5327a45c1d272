//! Shared by tests: the service as the binary builds it, callers of every kind, and the servers it talks to.

pub mod caller;
pub mod collector;
pub mod contract;
pub mod cosmos_proxy;
pub mod counted;
pub mod cutouts;
pub mod events;
pub mod feeds;
pub mod google;
pub mod host;
pub mod hostile;
pub mod intercepted;
pub mod jobs;
pub mod model;
pub mod photos;
pub mod process;
pub mod segmentation;
pub mod service;
pub mod terminal;
pub mod web;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pluckit::app::router::{self, App};
use pluckit::app::{self, Backends};
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::blob::BlobStore;
use pluckit::blob::local::LocalBlobs;
use pluckit::cli::demo::{self, Gallery};
use pluckit::config::{Config, Source};
use pluckit::domain::jobs::JobKind;
use pluckit::domain::scraper::polite::HostThrottle;
use pluckit::imaging::network::Network;
use pluckit::imaging::pool::PixelPool;
use pluckit::imaging::segment::{BuiltIn, Segmenter};
use pluckit::llm::Model;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::openai::{Limits, OpenAi};
use pluckit::model::ids::UserId;
use pluckit::net;
use pluckit::net::guarded::GuardedClient;
use pluckit::net::segmentation::{SegmentationService, ServiceOptions};
use pluckit::queue::local::LocalQueue;
use pluckit::queue::{self, JobQueue};
use pluckit::state::AppState;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use pluckit::telemetry::Telemetry;
use pluckit::workers::{Delivery, FUNCTIONS, Function, QueueRole, QueueTrigger};
use serde_json::Value;
use tempfile::TempDir;
use time::macros::datetime;

use caller::Caller;
use intercepted::{Intercepted, Interceptor};
use model::ModelServer;
use web::Web;

/// The service on a fresh in-memory SQLite store, with a manual clock, called in process.
pub struct TestApp {
    pub state: AppState,
    pub clock: Arc<ManualClock>,
    /// Threads that work on pixels.
    pub pixels: Arc<PixelPool>,
    /// Where blobs are. Kept until the end.
    _files: TempDir,
    service: App,
}

/// Builder of a [`TestApp`].
pub struct Builder {
    settings: BTreeMap<String, String>,
    store: Option<Arc<dyn DocumentStore>>,
    queue: Option<Arc<dyn JobQueue>>,
    clock: Arc<ManualClock>,
    functions: &'static [Function],
    model: Arc<dyn Model>,
    web: Arc<GuardedClient>,
    segmentation: Option<ServiceOptions>,
    has_network: bool,
    blobs: Option<Arc<dyn BlobStore>>,
    blob_interceptor: Option<Arc<dyn Interceptor>>,
    kinds: Vec<JobKind>,
}

impl Builder {
    /// Sets a setting.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Uses this store instead of a fresh one in memory.
    pub fn store(mut self, store: Arc<dyn DocumentStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Uses this queue instead of a fresh one in memory.
    pub fn queue(mut self, queue: Arc<dyn JobQueue>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Shares a clock with others.
    pub fn clock(mut self, clock: Arc<ManualClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Has these functions instead of the service's own.
    pub fn functions(mut self, functions: &'static [Function]) -> Self {
        self.functions = functions;
        self
    }

    /// As the Functions host starts it.
    pub fn under_functions_host(self) -> Self {
        self.setting("FUNCTIONS_CUSTOMHANDLER_PORT", "7071")
    }

    /// Asks this model server instead of the offline model.
    pub fn model_server(mut self, server: &ModelServer) -> Self {
        let limits = Limits { back_off: Duration::from_millis(1), ..Limits::default() };
        self.model = Arc::new(OpenAi::new(server.settings(), None, limits, net::services().unwrap()).unwrap());
        self
    }

    /// Asks this model.
    pub fn model(mut self, model: Arc<dyn Model>) -> Self {
        self.model = model;
        self
    }

    /// Fetches URLs of users, feeds and pages from this internet instead of the real one.
    pub fn web(mut self, web: &Web) -> Self {
        self.web = Arc::new(web.client());
        self
    }

    /// Uses this segmentation service instead of the built-in remover.
    pub fn segmentation(mut self, options: ServiceOptions) -> Self {
        self.segmentation = Some(options);
        self
    }

    /// Adds the background-removal network. `scripts/fetch-models` downloads its file.
    pub fn network(mut self) -> Self {
        self.has_network = true;
        self
    }

    /// Keeps blobs in this store, which others can show as little as files.
    pub fn blobs(mut self, blobs: Arc<dyn BlobStore>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    /// Puts an interceptor between the service and its blobs.
    pub fn intercept_blobs(mut self, interceptor: Arc<dyn Interceptor>) -> Self {
        self.blob_interceptor = Some(interceptor);
        self
    }

    /// Adds these kinds of long operation.
    pub fn kinds(mut self, kinds: Vec<JobKind>) -> Self {
        self.kinds = kinds;
        self
    }

    pub fn start(self) -> TestApp {
        let settings = self.settings;
        let config = Config::read(|name| settings.get(name).map(|value| (value.clone(), Source::Environment))).unwrap();
        let clock = self.clock;
        let store = self.store.unwrap_or_else(|| Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()));
        let queue = self.queue.unwrap_or_else(|| Arc::new(LocalQueue::in_memory(clock.clone()).unwrap()));
        let queue_probe = app::queue_probe(queue.clone(), &config.queues.taste.work);
        let media = app::media_url(&config, SocketAddr::from(([127, 0, 0, 1], 7071)));
        let files = tempfile::tempdir().unwrap();
        let blobs = self.blobs.unwrap_or_else(|| Arc::new(LocalBlobs::open(files.path(), media, &*clock).unwrap()));
        let blobs = match self.blob_interceptor {
            Some(interceptor) => Intercepted::new(blobs, interceptor),
            None => blobs,
        };
        let http = net::services().unwrap();
        let pixels = Arc::new(PixelPool::default());
        let network = self.has_network.then(|| Network::open(&model_file()).unwrap());
        let built_in = BuiltIn::new(pixels.clone(), network);
        let segmenter: Arc<dyn Segmenter> = match self.segmentation {
            Some(options) => Arc::new(SegmentationService::new(options, http.clone(), pixels.clone(), built_in)),
            None => Arc::new(built_in),
        };
        let blobs_probe = app::blobs_probe(blobs.clone(), &config.storage.archive_container);
        let backends = Backends {
            telemetry: Telemetry::off(),
            store,
            queue,
            blobs,
            pixels: pixels.clone(),
            segmenter,
            model: self.model,
            storage_probes: vec![("blobs", Some(blobs_probe)), ("queue", Some(queue_probe))],
            clock: clock.clone(),
            http,
            web: self.web,
            throttle: Arc::new(HostThrottle::new(Duration::ZERO)),
            more_kinds: self.kinds,
        };
        let state = app::state(config, backends);
        let service = router::with_functions(state.clone(), self.functions);
        TestApp { service, state, clock, pixels, _files: files }
    }
}

/// The file of the background-removal network.
pub fn model_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/u2netp.onnx")
}

impl TestApp {
    /// A service in production, where callers sign in, with the embedded store and the offline model.
    pub fn builder() -> Builder {
        let settings = [
            ("AZURE_FUNCTIONS_ENVIRONMENT", "Production"),
            ("PLUCKIT_ALLOW_EMBEDDED", "1"),
            ("RATE_LIMITS", "false"),
            // No test asks the weather service of the world.
            ("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:9"),
            ("OPEN_METEO_FORECAST_URL", "http://127.0.0.1:9"),
        ];
        Builder {
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            store: None,
            queue: None,
            clock: Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC))),
            functions: FUNCTIONS,
            model: Arc::new(OfflineModel::new()),
            web: Arc::new(GuardedClient::new(web::nowhere()).unwrap()),
            segmentation: None,
            has_network: false,
            blobs: None,
            blob_interceptor: None,
            kinds: Vec::new(),
        }
    }

    pub fn new() -> Self {
        Self::builder().start()
    }

    /// Requests without a credential.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.service.clone(), None)
    }

    /// Requests of this user, who has signed in.
    pub async fn user(&self, id: &str) -> Caller {
        let grant = self.state.sessions.open(UserId::from(id)).await.unwrap();
        self.bearer(&grant.access_token)
    }

    /// Requests with this token.
    pub fn bearer(&self, token: &str) -> Caller {
        Caller::new(self.service.clone(), Some(format!("Bearer {token}")))
    }

    /// The service itself.
    pub fn service(&self) -> App {
        self.service.clone()
    }

    /// Loads the demo for a user, pictures included.
    pub async fn load_demo(&self, user: &UserId) {
        let container = &self.state.config.storage.archive_container;
        let gallery = Gallery { blobs: &*self.state.blobs, container };
        let (data, model) = (&self.state.data, &*self.state.model);
        assert!(demo::load_if_empty(data, model, gallery, user, self.clock.now()).await.unwrap());
        assert!(demo::import_pictures(data, gallery, user).await.unwrap() > 0);
    }

    /// Passes the next message of a queue to its function, like a pump. Returns whether there was one.
    pub async fn deliver(&self, trigger: &QueueTrigger) -> queue::Result<bool> {
        let (state, queue) = (&self.state, trigger.queue(&self.state.config));
        let message = state.queue.receive(queue, 1, Duration::from_secs(30)).await?.into_iter().next();
        let Some(mut message) = message else { return Ok(false) };
        let (text, id) = (message.text.clone(), Some(message.id.clone()));
        let delivery = Delivery { text, dequeue_count: message.dequeue_count, id };
        let run = match trigger.role {
            QueueRole::Work { run, .. } => run(state, delivery),
            QueueRole::Poison { give_up } => give_up(state, delivery.into_failed(queue, None)),
        };
        // What the queue does not hear of, it delivers again.
        let _heard = match run.await {
            Ok(()) => state.queue.delete(queue, &message).await,
            Err(_) => state.queue.renew(queue, &mut message, Duration::from_secs(30)).await,
        };
        Ok(true)
    }

    /// Saves a document of a user, as another service would.
    pub async fn save(&self, container: Container, partition: &str, document: Value) {
        let id = document["id"].as_str().unwrap();
        self.state.data.store.upsert(&Key::new(container, partition, id), &document).await.unwrap();
    }
}

/// How often a test repeats something: as its environment says, or by default.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so")]
pub fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Body of an error with this text, which clients read under one of two names.
pub fn refusal(text: &str) -> Value {
    serde_json::json!({ "detail": text, "error": text })
}

/// Time limit of waiting for a condition.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
