//! Builds the service from its settings, listens, and stops. Only here are back ends named.

mod connections;
pub mod groups;
mod linger;
pub mod openapi;
pub mod router;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::Request;
use axum::http;
use axum::http::header::EXPECT;
use axum::response::Response;
use azure_core::credentials::TokenCredential;
use futures::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use secrecy::ExposeSecret;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tracing::{debug, info, warn};
use url::Url;

use self::connections::{Connections, LastOf, Place, Refusals, is_out_of_files, raise_file_limit};
use self::linger::{Drain, Lingering};
use crate::azure::{Identity, StorageAccount};
use crate::base::chain::Chain;
use crate::base::clock::{Clock, SystemClock};
use crate::blob::azure::AzureBlobs;
use crate::blob::local::LocalBlobs;
use crate::blob::{BlobStore, ContainerName};
use crate::config::{self, Config, Documents, Environment, ModelServer};
use crate::data::Data;
use crate::domain::backlog::Backlog;
use crate::domain::budget::{Budget, BudgetedModel};
use crate::domain::chat::Chat;
use crate::domain::chat::tools::{self, weather};
use crate::domain::dead_letters::DeadLetterOffice;
use crate::domain::digest::{self, Digests};
use crate::domain::insights::{self, Insights};
use crate::domain::jobs::{self, Jobs, Kind, kinds};
use crate::domain::media::{self, Media};
use crate::domain::metadata::Describer;
use crate::domain::moods::{self, Moods};
use crate::domain::pictures::Pictures;
use crate::domain::quiz::Quizmaster;
use crate::domain::quota::body_memory::BodyMemory;
use crate::domain::quota::{Limits, subscriber};
use crate::domain::rates::ExchangeRates;
use crate::domain::readiness::{Probe, Readiness};
use crate::domain::scraper::brand::client::BrandSites;
use crate::domain::scraper::polite::{Gates, Visitor};
use crate::domain::scraper::reddit::client::Reddit;
use crate::domain::scraper::{self, Scraper};
use crate::domain::similarity::{self, items::SimilarItems};
use crate::domain::taste::{self, Taste};
use crate::http::layers::flusher::Flusher;
use crate::http::layers::limits::Peer;
use crate::identity::google::GoogleVerifier;
use crate::identity::keys::KeySet;
use crate::identity::service::ServiceVerifier;
use crate::identity::session::SessionService;
use crate::imaging::decode;
use crate::imaging::pipeline::Pipeline;
use crate::imaging::pool::PixelPool;
use crate::imaging::segment::{BuiltIn, Segmenter};
use crate::imaging::segmentation::{SegmentationService, ServiceOptions};
use crate::llm::Model;
use crate::llm::observed::ObservedModel;
use crate::llm::offline::OfflineModel;
use crate::llm::openai::{self, Credential, Deployments, OpenAi, OpenAiOptions, Server};
use crate::net;
use crate::net::guarded::{GuardedClient, GuardedOptions};
use crate::queue::JobQueue;
use crate::queue::azure::AzureQueue;
use crate::queue::local::LocalQueue;
use crate::queue::traced::TracedQueue;
use crate::state::{AppState, Parts};
use crate::store::cosmos::schema::Inspection;
use crate::store::cosmos::{CosmosOptions, CosmosStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{self, DocumentStore};
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;

/// How long open streams may go on when the process should end.
const GRACE: Duration = Duration::from_secs(10);
/// How long the end waits for what is told about it.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);
/// How long streams that are still open after that have to say so.
const FAREWELL: Duration = Duration::from_secs(2);
/// Largest head of a request, and what is read ahead of a body, in bytes: each connection may hold so much.
const LARGEST_HEAD: usize = 80 * 1024;
/// Pause after the system refused a connection, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of an answer that the system keeps for a reader who has not made room for them. By itself it keeps megabytes, which
/// are tokens of a model for nobody when the reader has stopped.
#[cfg(target_os = "linux")]
const MOST_UNSENT_BYTES: u32 = 16 * 1024;
/// Pause between two requests to a site that is scraped.
const HOST_PAUSE: Duration = Duration::from_secs(1);
/// Name of the embedded store's file.
const STORE_FILE: &str = "pluckit.db";
/// Name of the embedded queue's file. Not the store's, so that neither waits for the other's transactions.
const QUEUE_FILE: &str = "queue.db";
/// Name of the directory of embedded blobs.
const BLOB_DIRECTORY: &str = "blobs";
/// Path below which we answer with embedded blobs ourselves.
const MEDIA_PATH: [&str; 2] = ["api", "media"];

/// The back ends that settings chose, and the time.
pub struct Backends {
    /// Where documents are kept.
    pub store: Arc<dyn DocumentStore>,
    /// Where jobs wait.
    pub queue: Arc<dyn JobQueue>,
    /// Where pictures are kept.
    pub blobs: Arc<dyn BlobStore>,
    /// The same, if it is the embedded one: nobody but us can show what is in it.
    pub embedded_blobs: Option<Arc<dyn BlobStore>>,
    /// Threads that work on pixels.
    pub pixels: Arc<PixelPool>,
    /// Who removes backgrounds.
    pub segmenter: Arc<dyn Segmenter>,
    /// Which model answers.
    pub model: Arc<dyn Model>,
    /// What readiness asks beyond documents and model: blobs and the queue.
    pub storage_probes: Vec<(&'static str, Option<Probe>)>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Client for services that we configured.
    pub http: reqwest::Client,
    /// Client for URLs from users, feeds and pages.
    pub web: Arc<GuardedClient>,
    /// Manners towards the sites that are scraped.
    pub gates: Arc<Gates>,
    /// What leaves the process about itself, beside the log.
    pub telemetry: Telemetry,
}

impl Backends {
    /// The back ends that the settings chose, for a service that listens on `address`, without telemetry. Makes no call to any of them; files
    /// and directories are opened.
    ///
    /// # Errors
    /// When a file cannot be opened or a setting cannot be used.
    pub fn open(config: &Config, address: SocketAddr) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = net::services()?;
        let (blobs, embedded_blobs) = open_blobs(config, &clock, address)?;
        let blobs_probe = blobs_probe(blobs.clone(), &config.storage.archive_container);
        let (queue, queue_probe) = open_queue(config, &clock)?;
        let storage_probes = vec![("blobs", Some(blobs_probe)), ("queue", Some(queue_probe))];
        let store = open_store(config, &clock)?;
        let model = open_model(config, &http, &clock)?;
        let web = Arc::new(GuardedClient::new(GuardedOptions::default())?);
        let gates = Arc::new(Gates::new(HOST_PAUSE));
        let pixels = Arc::new(PixelPool::default());
        let segmenter = open_segmenter(config, &http, &pixels);
        Ok(Self {
            store,
            queue,
            blobs,
            embedded_blobs,
            pixels,
            segmenter,
            model,
            storage_probes,
            clock,
            http,
            web,
            gates,
            telemetry: Telemetry::off(),
        })
    }
}

/// The document store that the settings chose, for commands that work on it directly.
///
/// # Errors
/// When its file cannot be opened.
pub fn open_store(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn DocumentStore>> {
    Ok(match &config.documents {
        Documents::Embedded { directory, .. } => Arc::new(open_embedded(directory, clock)?),
        Documents::Cosmos(cosmos) => Arc::new(CosmosStore::new(cosmos_options(config, cosmos))),
    })
}

/// As [`open_store`], for commands that only read. The embedded store then shows one moment, whatever is written meanwhile.
///
/// # Errors
/// When its file cannot be opened.
pub fn open_snapshot(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn DocumentStore>> {
    match &config.documents {
        Documents::Embedded { directory, .. } => Ok(Arc::new(
            open_embedded(directory, clock)?.at_this_moment().context("the embedded store cannot be read")?,
        )),
        Documents::Cosmos(_) => open_store(config, clock),
    }
}

fn open_embedded(directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<SqliteStore> {
    let file = directory.join(STORE_FILE);
    SqliteStore::open(&file, clock.clone())
        .with_context(|| format!("the embedded store {} cannot be opened", file.display()))
}

/// One thing that [`prepare_storage`] looked after.
pub struct Preparation {
    /// Its kind and name, for people.
    pub what: String,
    /// `created`, `existed`, `indexed` or `not configured`.
    pub state: &'static str,
}

impl Preparation {
    fn new(what: impl Into<String>, is_new: bool) -> Self {
        Self { what: what.into(), state: if is_new { "created" } else { "existed" } }
    }

    fn not_configured(what: &str) -> Vec<Self> {
        vec![Self { what: what.to_owned(), state: "not configured" }]
    }
}

/// Makes everything that the service keeps things in, as far as it is configured: the database and its containers (or the
/// embedded store's file, in its newest form), queues and the blob containers. Safe to repeat. Each part is tried, whatever
/// became of those before it.
pub async fn prepare_storage(config: &Config) -> Vec<(&'static str, anyhow::Result<Vec<Preparation>>)> {
    vec![
        ("documents", prepare_documents(config).await),
        ("queues", prepare_queues(config).await),
        ("blobs", prepare_blobs(config).await),
    ]
}

async fn prepare_documents(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    match &config.documents {
        Documents::Embedded { directory, .. } => {
            let file = directory.join(STORE_FILE);
            let is_new = !file.try_exists()?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            open_embedded(directory, &clock)?;
            Ok(vec![Preparation::new(format!("embedded store {}", file.display()), is_new)])
        }
        Documents::Cosmos(cosmos) => {
            let report = Box::pin(CosmosStore::new(cosmos_options(config, cosmos)).init()).await?;
            let mut done = vec![Preparation::new(format!("database {}", cosmos.database), report.database_created)];
            done.extend(report.created.into_iter().map(|name| {
                let remark = if report.without_vectors.contains(&name) { " (without its vector index)" } else { "" };
                Preparation::new(format!("container {name}{remark}"), true)
            }));
            done.extend(report.existing.into_iter().map(|name| {
                match report.indexed.iter().find(|(indexed, _)| *indexed == name) {
                    None => Preparation::new(format!("container {name}"), false),
                    Some((_, added)) => {
                        Preparation { what: format!("container {name}: {}", added.join(", ")), state: "indexed" }
                    }
                }
            }));
            Ok(done)
        }
    }
}

async fn prepare_queues(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    let Some(account) = &config.storage.queues else {
        return Ok(Preparation::not_configured(
            "queues (StorageQueue, StorageQueue__queueServiceUri, STORAGE_ACCOUNT_NAME or AzureWebJobsStorage)",
        ));
    };
    let account = open_storage(config, account)?;
    let mut done = Vec::new();
    for name in config.queues.all().into_iter().flat_map(|queue| [&queue.work, &queue.poison]) {
        let created = Box::pin(account.create_queue(name)).await.with_context(|| format!("queue {name}"))?;
        done.push(Preparation::new(format!("queue {name}"), created));
    }
    Ok(done)
}

async fn prepare_blobs(config: &Config) -> anyhow::Result<Vec<Preparation>> {
    let Some(account) = &config.storage.blobs else {
        return Ok(Preparation::not_configured("blob containers (STORAGE_ACCOUNT_NAME or AzureWebJobsStorage)"));
    };
    let account = open_storage(config, account)?;
    let mut done = Vec::new();
    for name in [&config.storage.archive_container, &config.storage.jobs_container] {
        let created =
            Box::pin(account.create_blob_container(name)).await.with_context(|| format!("blob container {name}"))?;
        done.push(Preparation::new(format!("blob container {name}"), created));
    }
    Ok(done)
}

/// Whether the containers of a Cosmos DB account are as they should be.
///
/// # Errors
/// When the account cannot be asked.
pub async fn inspect_containers(config: &Config, cosmos: &config::Cosmos) -> store::Result<Vec<Inspection>> {
    CosmosStore::new(cosmos_options(config, cosmos)).inspect().await
}

/// What the Cosmos DB store needs to know.
pub fn cosmos_options(config: &Config, cosmos: &config::Cosmos) -> CosmosOptions {
    CosmosOptions {
        endpoint: cosmos.endpoint.clone(),
        key: cosmos.key.clone(),
        identity: identity(config, cosmos.client_id.clone()),
        database: cosmos.database.clone(),
        container_names: cosmos.containers.clone(),
        emulator: cosmos.emulator,
        vector_search: cosmos.vector_search,
    }
}

/// Who signs in where no key is given.
///
/// # Errors
/// When the SDK refuses the settings it finds.
pub fn credential(config: &Config) -> anyhow::Result<Arc<dyn TokenCredential>> {
    let client_id = config.effective.iter().find(|setting| setting.name == "AZURE_CLIENT_ID");
    let client_id = client_id.map(|setting| setting.value.clone()).filter(|id| !id.is_empty());
    Ok(identity(config, client_id).credential()?)
}

/// In development there is no managed identity, but perhaps an account that `az` is signed in with.
fn identity(config: &Config, client_id: Option<String>) -> Identity {
    Identity { client_id, developer_tools: config.environment == Environment::Development }
}

fn open_model(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Model>> {
    let server = match config.model.clone() {
        ModelServer::Offline => {
            let pace = NonZero::new(config.stylist.offline_tokens_per_second);
            return Ok(Arc::new(OfflineModel::paced(pace)));
        }
        ModelServer::Azure {
            endpoint,
            key,
            client_id,
            api_version,
            deployment,
            nano_deployment,
            embedding_deployment,
        } => {
            let credential = match key {
                Some(key) => Credential::ApiKey(key),
                None => {
                    Credential::Entra { credential: identity(config, client_id).credential()?, clock: clock.clone() }
                }
            };
            let deployments = Deployments { main: deployment, nano: nano_deployment, embedding: embedding_deployment };
            Server::Azure { endpoint, api_version, credential, deployments }
        }
        ModelServer::Compatible { base_url, key, model, nano_model, embedding_model } => {
            Server::Compatible { base_url, api_key: key, model, nano_model, embedding_model }
        }
    };
    Ok(Arc::new(OpenAi::new(OpenAiOptions { server, limits: openai::Limits::default() }, http.clone())?))
}

/// The storage account that the settings name.
///
/// # Errors
/// When its connection string or key cannot be used.
pub fn open_storage(config: &Config, account: &config::StorageAccount) -> anyhow::Result<StorageAccount> {
    let sign_in = |client_id: &Option<String>| identity(config, client_id.clone());
    Ok(match account {
        config::StorageAccount::ConnectionString(text) => {
            StorageAccount::from_connection_string(text.expose_secret(), &sign_in(&None))?
        }
        config::StorageAccount::Key { name, key } => StorageAccount::with_key(name, key)?,
        // The setting is one service's address, and only that service's client is asked for anything.
        config::StorageAccount::Identity { service, client_id } => {
            StorageAccount::with_identity(service.clone(), service.clone(), &sign_in(client_id))?
        }
    })
}

fn open_segmenter(config: &Config, http: &reqwest::Client, pixels: &Arc<PixelPool>) -> Arc<dyn Segmenter> {
    match config.media.segmentation.clone() {
        None => Arc::new(BuiltIn::new(pixels.clone())),
        Some(config::Segmentation { endpoint, token }) => {
            let options = ServiceOptions::new(endpoint, token);
            Arc::new(SegmentationService::new(options, http.clone(), pixels.clone()))
        }
    }
}

type OpenBlobs = (Arc<dyn BlobStore>, Option<Arc<dyn BlobStore>>);

fn open_blobs(config: &Config, clock: &Arc<dyn Clock>, address: SocketAddr) -> anyhow::Result<OpenBlobs> {
    if let Some(account) = &config.storage.blobs {
        return Ok((Arc::new(AzureBlobs::new(Arc::new(open_storage(config, account)?))), None));
    }
    let directory = config.data_directory.join(BLOB_DIRECTORY);
    let store = LocalBlobs::open(&directory, media_url(config, address), &**clock)
        .with_context(|| format!("the blob directory {} cannot be used", directory.display()))?;
    let store: Arc<dyn BlobStore> = Arc::new(store);
    Ok((store.clone(), Some(store)))
}

/// Address of the route that answers with embedded blobs, for a service that listens on `address`.
pub fn media_url(config: &Config, address: SocketAddr) -> Url {
    let mut url = config.server.public_base(address);
    url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(MEDIA_PATH);
    url
}

/// Asks a blob store whether it has the container, or can make it.
pub fn blobs_probe(blobs: Arc<dyn BlobStore>, container: &ContainerName) -> Probe {
    let container = container.clone();
    Arc::new(move || {
        let (blobs, container) = (blobs.clone(), container.clone());
        async move {
            match blobs.is_ready(&container).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("it has not been created yet: run pluckit storage init".to_owned()),
                Err(error) => Err(Chain(&error).to_string()),
            }
        }
        .boxed()
    })
}

fn open_queue(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<(Arc<dyn JobQueue>, Probe)> {
    let name = &config.queues.taste.work;
    if let Some(account) = &config.storage.queues {
        let account = Arc::new(open_storage(config, account)?);
        return Ok((Arc::new(AzureQueue::new(account.clone())), account_probe(account, name)));
    }
    let file = config.data_directory.join(QUEUE_FILE);
    let queue = LocalQueue::open(&file, clock.clone())
        .with_context(|| format!("the embedded queue {} cannot be opened", file.display()))?;
    let queue: Arc<dyn JobQueue> = Arc::new(queue);
    Ok((queue.clone(), queue_probe(queue, name)))
}

fn account_probe(account: Arc<StorageAccount>, name: &str) -> Probe {
    let name = name.to_owned();
    Arc::new(move || {
        let (account, name) = (account.clone(), name.clone());
        async move {
            match account.has_queue(&name).await {
                Ok(true) => Ok(()),
                Ok(false) => Err("it has not been created yet: run pluckit storage init".to_owned()),
                Err(error) => Err(Chain(&error).to_string()),
            }
        }
        .boxed()
    })
}

/// Asks an embedded queue, which makes each queue when it is first used, whether it can be written to.
pub fn queue_probe(queue: Arc<dyn JobQueue>, name: &str) -> Probe {
    let name = name.to_owned();
    Arc::new(move || {
        let (queue, name) = (queue.clone(), name.clone());
        async move { queue.ping(&name).await.map_err(|error| Chain(&error).to_string()) }.boxed()
    })
}

/// The state that handlers and workers share. The one way to build it, for the binary and for every test.
pub fn state(config: Config, backends: Backends) -> AppState {
    with_kinds(config, backends, Vec::new())
}

/// The same with more kinds of long operation than the service's own.
pub fn with_kinds(config: Config, backends: Backends, more_kinds: Vec<Kind>) -> AppState {
    let Backends {
        store,
        queue,
        blobs,
        embedded_blobs,
        pixels,
        segmenter,
        model,
        storage_probes,
        clock,
        http,
        web,
        gates,
        telemetry,
    } = backends;
    let queue: Arc<dyn JobQueue> = if telemetry.is_tracing() { Arc::new(TracedQueue(queue)) } else { queue };
    let data = Data::new(store.clone());
    let tasks = TaskTracker::new();
    let budget = Budget::new(data.clone(), clock.clone(), tasks.clone(), config.limits.tokens_per_day);
    let model: Arc<dyn Model> = Arc::new(ObservedModel::new(model, telemetry.metrics.clone()));
    let model: Arc<dyn Model> = Arc::new(BudgetedModel::new(model, budget.clone()));
    let similar = SimilarItems::new(similarity::items::Parts {
        data: data.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        most_items: config.stylist.similarity_max_items,
    });
    let pictures = Pictures::new(web.clone(), blobs.clone(), config.storage.archive_container.clone());
    let rates = Arc::new(open_rates(&config, &data, &http, &clock));
    let parts = tools::Parts {
        data: data.clone(),
        pictures: pictures.clone(),
        similar,
        rates: rates.clone(),
        model: model.clone(),
        clock: clock.clone(),
        http: http.clone(),
        metrics: telemetry.metrics.clone(),
        weather: weather::Endpoints {
            geocoding: config.stylist.geocoding_url.clone(),
            forecast: config.stylist.forecast_url.clone(),
        },
    };
    if config.media.is_open {
        warn!("PROCESS_IMAGE_AUTH_MODE is anonymous: whoever reaches the service may have pictures processed");
    }
    let media = Media::new(media::Parts {
        pipeline: Pipeline::new(pixels.clone(), segmenter, decode::Limits::default()),
        blobs: blobs.clone(),
        container: config.storage.archive_container.clone(),
        tasks: tasks.clone(),
    });
    let insights = open_insights(&config, &data, rates, &clock, &tasks, &telemetry.metrics);
    let services = ServiceVerifier::new(&config.media.service, http.clone(), clock.clone(), tasks.clone());
    let keys = KeySet::new(config.identity.google_jwks_url.clone(), http.clone(), clock.clone(), tasks.clone());
    let mut probes = vec![("documents", Some(documents_probe(store)))];
    probes.extend(storage_probes);
    let model_probe = (!matches!(config.model, ModelServer::Offline)).then(|| model_probe(model.clone()));
    probes.push(("model", model_probe));
    let dead_letters = DeadLetterOffice::new(data.clone(), queue.clone(), clock.clone());
    let taste = Taste::new(taste::Parts {
        dead_letters: dead_letters.clone(),
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        pictures: pictures.clone(),
        clock: clock.clone(),
        settings: config.taste.clone(),
        queue_name: config.queues.taste.work.clone(),
    });
    let Config { scraper: settings, queues, .. } = &config;
    let reddit = Reddit::new(&web, &http, settings.reddit_url.clone(), &settings.reddit_user_agent, gates.clone());
    let visitor = Visitor::new(web.clone(), gates, clock.clone());
    let limits = &config.limits;
    let places = if limits.enabled { limits.pending_jobs_per_user } else { 0 };
    let backlog = Backlog::new(data.clone(), clock.clone(), places);
    let scraper = Scraper::new(scraper::Parts {
        data: data.clone(),
        model: model.clone(),
        pictures: pictures.clone(),
        reddit: reddit.expect("the settings let only printable ASCII through"),
        brands: BrandSites::new(Arc::new(visitor)),
        pixels: pixels.clone(),
        queue: queue.clone(),
        queue_name: queues.scrape.work.clone(),
        backlog: backlog.clone(),
        clock: clock.clone(),
        settings: settings.clone(),
    });
    let moods = Moods::new(moods::Parts {
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        web: web.clone(),
        clock: clock.clone(),
        settings: config.moods.clone(),
        queue_name: config.queues.moods.work.clone(),
    });
    let digests = Digests::new(digest::Parts {
        data: data.clone(),
        model: model.clone(),
        queue: queue.clone(),
        queue_name: config.queues.digest.work.clone(),
        clock: clock.clone(),
        observer: telemetry.observer.clone(),
        settings: config.digest.clone(),
    });
    let (shutdown, ending) = (CancellationToken::new(), CancellationToken::new());
    let parts_of_kinds = kinds::Services {
        data: data.clone(),
        digests: digests.clone(),
        moods: moods.clone(),
        scraper: scraper.clone(),
        observer: telemetry.observer.clone(),
    };
    let jobs = Jobs::new(jobs::Parts {
        data: data.clone(),
        budget: budget.clone(),
        backlog,
        queue: queue.clone(),
        queue_name: config.queues.operations.work.clone(),
        blobs: blobs.clone(),
        container: config.storage.jobs_container.clone(),
        clock: clock.clone(),
        settings: config.operations.clone(),
        kinds: kinds::all(&parts_of_kinds).into_iter().chain(more_kinds).collect(),
        shutdown: shutdown.clone(),
    });
    AppState::from(Parts {
        taste,
        digests,
        insights,
        moods,
        scraper,
        jobs,
        dead_letters,
        quiz: Quizmaster::new(data.clone(), clock.clone()),
        sessions: SessionService::new(data.sessions.clone(), clock.clone()).watched(telemetry.metrics.clone()),
        google: GoogleVerifier::new(&config.identity.google_client_ids, keys, clock.clone()),
        chat: Arc::new(Chat::new(&parts, config.stylist.tool_call_limit, ending.clone())),
        readiness: Readiness::new(clock.clone(), probes),
        services,
        media,
        pictures,
        describer: Describer::new(model.clone(), pixels),
        limits: Limits::new(&config.limits, clock.clone()),
        bodies: BodyMemory::new(config.limits.body_memory),
        budget,
        telemetry,
        tasks,
        shutdown,
        ending,
        config,
        clock,
        data,
        queue,
        blobs,
        embedded_blobs,
        model,
        web,
    })
}

fn documents_probe(store: Arc<dyn DocumentStore>) -> Probe {
    Arc::new(move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| Chain(&error).to_string()) }.boxed()
    })
}

fn model_probe(model: Arc<dyn Model>) -> Probe {
    Arc::new(move || {
        let model = model.clone();
        async move { model.ping().await.map_err(|error| Chain(&error).to_string()) }.boxed()
    })
}

/// What currencies are worth.
pub fn open_rates(config: &Config, data: &Data, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> ExchangeRates {
    ExchangeRates::new(config.insights.feed.clone(), data.exchange_rates.clone(), http.clone(), clock.clone())
}

/// What computes insights, for the service and for commands that work on the store directly. What it keeps is kept by
/// `tasks`.
pub fn open_insights(
    config: &Config,
    data: &Data,
    rates: Arc<ExchangeRates>,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
    metrics: &Metrics,
) -> Insights {
    Insights::new(insights::Parts {
        data: data.clone(),
        rates,
        clock: clock.clone(),
        tasks: tasks.clone(),
        time_to_live: config.insights.time_to_live,
        metrics: metrics.clone(),
    })
}

/// Opens the port. Requests wait in it until [`serve`] takes them.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(config.server.bind, config.server.port);
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Has what is stored on this machine looked over for damage, beside everything else.
pub fn look_for_damage(app: &AppState) {
    let checked = app.clone();
    app.tasks.spawn(async move {
        let app = checked;
        let documents = app.readiness.inspect("documents", app.data.store.find_damage());
        let queue = app.readiness.inspect("queue", app.queue.find_damage());
        tokio::select! {
            _ = futures::future::join(documents, queue) => {}
            () = app.shutdown.cancelled() => {}
        }
    });
}

/// Answers requests until the process is told to end (SIGTERM, SIGINT or SIGHUP), then lets open streams end, for a while.
/// Those that have not ended by then are told to.
///
/// # Errors
/// When signals cannot be received.
pub async fn serve(listener: TcpListener, app: AppState) -> anyhow::Result<()> {
    let mut told_to_end = pin!(told_to_end()?);
    let (shutdown, ending) = (app.shutdown.clone(), app.ending.clone());
    let (tasks, telemetry) = (app.tasks.clone(), app.telemetry.clone());
    let is_hosted = app.config.server.under_functions_host;
    let flusher = is_hosted.then(|| Flusher::start(&telemetry, &tasks, shutdown.clone(), FLUSH_LIMIT)).flatten();
    let limits = &app.config.limits;
    let places = Connections::new(limits.connections, raise_file_limit(), limits.trusts_proxy);
    let connections = GracefulShutdown::new();
    let close_overdue = places.clone().close_overdue();
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(close_overdue));
    let service = router::app(app);
    let service = ServiceExt::<Request>::map_response(service, move |response| match &flusher {
        Some(flusher) => flusher.watch(response),
        None => response,
    });
    let mut refusals = Refusals::default();
    let drain = Drain::new(tasks.clone());
    loop {
        let accepted = async {
            let (stream, peer) = listener.accept().await?;
            let place =
                places.admit(subscriber(peer.ip())).await.ok_or_else(|| io::Error::other("too many of one address"))?;
            Ok((stream, Peer(peer), place))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, peer, place)) => accept(stream, peer, place, service.clone(), &connections, &tasks, &drain),
                Err(error) => {
                    refusals.note(&error);
                    if is_out_of_files(&error) {
                        places.make_way();
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = &mut told_to_end => break,
            () = shutdown.cancelled() => break,
        }
    }
    drop(listener);
    info!(streams = connections.count(), grace_s = GRACE.as_secs(), "stopping");
    shutdown.cancel();
    tasks.close();
    let mut drained = pin!(async {
        connections.shutdown().await;
        tasks.wait().await;
    });
    if tokio::time::timeout(GRACE, &mut drained).await.is_err() {
        ending.cancel();
        let all_ended = tokio::time::timeout(FAREWELL, drained).await.is_ok();
        warn!(all_ended, "streams were still open");
    }
    telemetry.shut_down(FLUSH_LIMIT).await;
    Ok(())
}

/// Resolves when a signal asks the process to end.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    // What `nohup` starts goes on when its terminal is closed.
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    let signals: Vec<_> = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
    Ok(async {
        let waits = signals.into_iter().map(|mut signal| async move { signal.recv().await }.boxed());
        futures::future::select_all(waits).await;
    })
}

/// Whether whoever started the process had SIGHUP ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    // SIGHUP is signal 1, the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

fn accept<S>(
    stream: TcpStream,
    peer: Peer,
    place: Place,
    service: S,
    connections: &GracefulShutdown,
    tasks: &TaskTracker,
    drain: &Drain,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    // A token is worth sending at once, however small.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = %Chain(&error), "connection without no-delay");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT_BYTES) {
        debug!(error = %Chain(&error), "connection without a limit on what is unsent");
    }
    let (requests, drain) = (place.requests(), drain.clone());
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (under_way, mut service) = (requests.begin(), service.clone());
        let request = take_in(request, peer, &drain);
        async move {
            let Some(under_way) = under_way else {
                // The connection is closed before anybody could read an answer.
                return std::future::pending().await;
            };
            let response = service.ready().await?.call(request).await?;
            Ok::<_, Infallible>(response.map(|body| LastOf::new(body, under_way)))
        }
    });
    let connection = http1::Builder::new()
        // The place has a limit for heads, which does not hold between requests as this one would.
        .header_read_timeout(None)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(place.watch(stream)), service);
    let connection = connections.watch(connection);
    tasks.spawn(async move {
        tokio::select! {
            outcome = connection => if let Err(error) = outcome {
                debug!(error = %Chain(&error), "connection broke");
            },
            () = place.closed() => debug!("connection closed by us"),
        }
    });
}

/// A request as routes take it.
fn take_in(mut request: http::Request<Incoming>, peer: Peer, drain: &Drain) -> Request {
    request.extensions_mut().insert(peer);
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    // Who waits for "100 Continue" has not begun to send, and is not asked to.
    if request.headers().contains_key(EXPECT) {
        return request.map(Body::new);
    }
    request.map(|body| Body::new(Lingering::new(body, drain.clone())))
}
