//! Opens the back ends that the settings select. Outside `app/`, only tests name a back end.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use azure_core::credentials::TokenCredential;
use secrecy::ExposeSecret;
use url::Url;

use crate::azure::{Identity, StorageAccount};
use crate::base::chain::Chain;
use crate::base::clock::{Clock, SystemClock};
use crate::blob::azure::AzureBlobs;
use crate::blob::local::LocalBlobs;
use crate::blob::{BlobStore, ContainerName};
use crate::config::{self, Config, CutoutModel, Documents, Environment};
use crate::domain::jobs::JobKind;
use crate::domain::readiness::{Probe, probe};
use crate::domain::scraper::polite::HostThrottle;
use crate::imaging::network::{self, Network};
use crate::imaging::pool::PixelPool;
use crate::imaging::segment::{BuiltIn, Segmenter};
use crate::llm::Model;
use crate::llm::offline::OfflineModel;
use crate::llm::openai::{self, OpenAi};
use crate::net;
use crate::net::guarded::{GuardedClient, GuardedOptions};
use crate::net::segmentation::{SegmentationService, ServiceOptions};
use crate::queue::JobQueue;
use crate::queue::azure::AzureQueue;
use crate::queue::local::LocalQueue;
use crate::store::DocumentStore;
use crate::store::cosmos::CosmosStore;
use crate::store::sqlite::SqliteStore;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;

/// Delay between two requests to a scraped site.
const HOST_PAUSE: Duration = Duration::from_secs(1);

/// Name of the embedded store's file.
pub(super) const STORE_FILE: &str = "pluckit.db";

/// Name of the embedded queue's file. Separate from the store, so that neither waits for the other's transactions.
pub(super) const QUEUE_FILE: &str = "queue.db";

/// Directory of embedded blobs.
pub(super) const BLOB_DIRECTORY: &str = "blobs";

/// Directory in the data directory where a restore stages its files.
pub(super) const RESTORING: &str = ".restoring";

/// Path of the route that serves blobs.
const MEDIA_PATH: [&str; 2] = ["api", "media"];

/// The back ends that the settings select, and the clock.
pub struct Backends {
    /// Document store.
    pub store: Arc<dyn DocumentStore>,
    /// Job queue.
    pub queue: Arc<dyn JobQueue>,
    /// Blob store for pictures and the outputs of jobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Thread pool for image processing.
    pub pixels: Arc<PixelPool>,
    /// Background remover.
    pub segmenter: Arc<dyn Segmenter>,
    /// Language model.
    pub model: Arc<dyn Model>,
    /// Readiness probes of blobs and queue.
    pub storage_probes: Vec<(&'static str, Option<Probe>)>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// HTTP client for configured services.
    pub http: reqwest::Client,
    /// HTTP client for URLs from users, feeds and pages.
    pub web: Arc<GuardedClient>,
    /// Rate limits per scraped site.
    pub throttle: Arc<HostThrottle>,
    /// Exported telemetry, in addition to the log.
    pub telemetry: Telemetry,
    /// Kinds of jobs besides the service's own, for tests.
    pub more_kinds: Vec<JobKind>,
}

impl Backends {
    /// Opens the back ends that the settings select, for a service that listens on `address`. Opens files and
    /// directories, but calls no service.
    ///
    /// # Errors
    /// When a file cannot be opened or a setting is invalid.
    pub fn open(config: &Config, address: SocketAddr, telemetry: Telemetry) -> anyhow::Result<Self> {
        check_restored(config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = net::services()?;
        let blobs = open_blobs(config, &clock, address)?;
        let blobs_probe = blobs_probe(blobs.clone(), &config.storage.archive_container);
        let (queue, queue_probe) = open_queue(config, &clock)?;
        let storage_probes = vec![("blobs", Some(blobs_probe)), ("queue", Some(queue_probe))];
        let store = open_store(config, &clock, &telemetry.metrics)?;
        let model = open_model(config, &http, &clock)?;
        let web = Arc::new(GuardedClient::new(GuardedOptions::default())?);
        let throttle = Arc::new(HostThrottle::new(HOST_PAUSE));
        let pixels = Arc::new(PixelPool::default());
        let segmenter = open_segmenter(config, &http, &pixels)?;
        Ok(Self {
            store,
            queue,
            blobs,
            pixels,
            segmenter,
            model,
            storage_probes,
            clock,
            http,
            web,
            throttle,
            telemetry,
            more_kinds: Vec::new(),
        })
    }
}

/// The selected back ends, each with the reason if it cannot be opened. For `pluckit doctor`, which then checks the
/// others.
pub struct EachBackend {
    /// Document store.
    pub store: anyhow::Result<Arc<dyn DocumentStore>>,
    /// Job queue.
    pub queue: anyhow::Result<Arc<dyn JobQueue>>,
    /// Blob store.
    pub blobs: anyhow::Result<Arc<dyn BlobStore>>,
    /// Language model.
    pub model: anyhow::Result<Arc<dyn Model>>,
    /// Background remover.
    pub segmenter: anyhow::Result<Arc<dyn Segmenter>>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// HTTP client for configured services.
    pub http: reqwest::Client,
}

impl EachBackend {
    /// Opens all back ends that can be opened. A `hindrance` is the reason why nothing in the data directory is opened.
    ///
    /// # Errors
    /// When the system has no HTTP client.
    pub fn open(config: &Config, address: SocketAddr, hindrance: Option<&str>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let http = net::services()?;
        let unhindered = |is_embedded: bool| match hindrance {
            Some(hindrance) if is_embedded => Err(anyhow::anyhow!("{hindrance}")),
            Some(_) | None => Ok(()),
        };
        let store = unhindered(matches!(config.documents, Documents::Embedded { .. }))
            .and_then(|()| open_store(config, &clock, &Metrics::off()));
        let queue = unhindered(config.storage.queues.is_none()).and_then(|()| Ok(open_queue(config, &clock)?.0));
        let blobs = unhindered(config.storage.blobs.is_none()).and_then(|()| open_blobs(config, &clock, address));
        let model = open_model(config, &http, &clock);
        let segmenter = open_segmenter(config, &http, &Arc::new(PixelPool::default()));
        Ok(Self { store, queue, blobs, model, segmenter, clock, http })
    }
}

/// Opens the document store, for commands that use it directly.
///
/// # Errors
/// When its file cannot be opened, or a restore into the data directory was interrupted.
pub fn open_store(
    config: &Config,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> anyhow::Result<Arc<dyn DocumentStore>> {
    check_restored(config)?;
    Ok(match &config.documents {
        Documents::Embedded { directory, .. } => Arc::new(open_embedded(directory, clock)?),
        Documents::Cosmos(cosmos) => Arc::new(CosmosStore::new(cosmos.clone(), identity(config)).watched(metrics)),
    })
}

/// Opens the document store for commands that only read: an embedded store that does not exist is not created.
///
/// # Errors
/// When there is no store, or its file cannot be opened.
pub fn open_existing_store(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn DocumentStore>> {
    check_exists(config)?;
    open_store(config, clock, &Metrics::off())
}

/// Whether the embedded store is selected and has no file yet.
pub fn has_no_store(config: &Config) -> bool {
    matches!(&config.documents, Documents::Embedded { directory, .. } if !directory.join(STORE_FILE).exists())
}

/// Whether a restore into the data directory was interrupted: documents come last.
pub(super) fn is_half_restored(config: &Config) -> bool {
    has_no_store(config) && config.data_directory.join(RESTORING).exists()
}

/// Checks that the data directory is not an incomplete restore, which would start as an empty store.
///
/// # Errors
/// When a restore into it was interrupted.
pub fn check_restored(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        !is_half_restored(config),
        "a restore into {} was interrupted: run `pluckit restore` again, or delete {} to start without it",
        config.data_directory.display(),
        config.data_directory.join(RESTORING).display()
    );
    Ok(())
}

/// Checks that a store exists, for commands that do not create one.
///
/// # Errors
/// When the embedded store is selected and has no file yet.
pub fn check_exists(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        !has_no_store(config),
        "there is no store in {}: start the service, import a wardrobe, or name another directory (--data-dir)",
        config.data_directory.display()
    );
    Ok(())
}

/// Opens an empty document store in memory.
///
/// # Errors
/// When SQLite refuses.
pub fn open_empty_store(clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn DocumentStore>> {
    Ok(Arc::new(SqliteStore::in_memory(clock.clone())?))
}

/// Opens the document store for commands that only read. The embedded store is a snapshot; one that does not exist is
/// not created.
///
/// # Errors
/// When there is no store, or its file cannot be opened.
pub fn open_snapshot(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn DocumentStore>> {
    check_exists(config)?;
    match &config.documents {
        Documents::Embedded { directory, .. } => Ok(Arc::new(
            open_embedded(directory, clock)?.at_this_moment().context("the embedded store cannot be read")?,
        )),
        Documents::Cosmos(_) => open_store(config, clock, &Metrics::off()),
    }
}

pub(super) fn open_embedded(directory: &Path, clock: &Arc<dyn Clock>) -> anyhow::Result<SqliteStore> {
    let file = directory.join(STORE_FILE);
    SqliteStore::open(&file, clock.clone())
        .with_context(|| format!("the embedded store {} cannot be opened", file.display()))
}

/// Creates the credential used when no key is given.
///
/// # Errors
/// When the SDK rejects its settings.
pub fn credential(config: &Config) -> anyhow::Result<Arc<dyn TokenCredential>> {
    Ok(identity(config).credential()?)
}

/// Selects the identity: a managed one in production, the account of `az` or `azd` in development.
pub fn identity(config: &Config) -> Identity {
    Identity {
        client_id: config.identity.azure_client_id.clone(),
        developer_tools: config.environment == Environment::Development,
    }
}

fn open_model(config: &Config, http: &reqwest::Client, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Model>> {
    let Some(server) = config.model.clone() else {
        return Ok(Arc::new(OfflineModel::paced(NonZero::new(config.stylist.offline_tokens_per_second))));
    };
    let signs_in = server.azure_version.is_some() && server.key.is_none();
    let identity = signs_in.then(|| identity(config).credential()).transpose()?;
    let identity = identity.map(|identity| (identity, clock.clone()));
    Ok(Arc::new(OpenAi::new(server, identity, openai::Limits::default(), http.clone())?))
}

/// Opens a configured storage account.
///
/// # Errors
/// When its connection string or key is invalid.
pub fn open_storage(config: &Config, account: &config::StorageAccount) -> anyhow::Result<StorageAccount> {
    Ok(match account {
        config::StorageAccount::ConnectionString(text) => {
            StorageAccount::from_connection_string(text.expose_secret(), &identity(config))?
        }
        config::StorageAccount::Key { name, key } => StorageAccount::with_key(name, key)?,
        // The setting is the URL of one service, and only that service's client is used.
        config::StorageAccount::Identity { service } => {
            StorageAccount::with_identity(service.clone(), service.clone(), &identity(config))?
        }
    })
}

fn open_segmenter(
    config: &Config,
    http: &reqwest::Client,
    pixels: &Arc<PixelPool>,
) -> anyhow::Result<Arc<dyn Segmenter>> {
    let model = cutout_model(&config.media.cutout_model, &config.data_directory);
    let built_in = open_removers(model.as_deref(), pixels)?;
    Ok(match config.media.segmentation.clone() {
        None => Arc::new(built_in),
        Some(config::Segmentation { endpoint, token }) => {
            let options = ServiceOptions::new(endpoint, token);
            Arc::new(SegmentationService::new(options, http.clone(), pixels.clone(), built_in))
        }
    })
}

/// Opens the built-in background removers: the rules, and the network if its file exists.
///
/// # Errors
/// When the file cannot be read, is damaged, or is another model.
pub fn open_removers(model: Option<&Path>, pixels: &Arc<PixelPool>) -> anyhow::Result<BuiltIn> {
    let network = model.map(Network::open).transpose().context("CUTOUT_MODEL")?;
    Ok(BuiltIn::new(pixels.clone(), network))
}

/// Returns the file of the background-removal network: the one in the setting, or else `models/u2netp.onnx` beside the
/// data directory or beside the binary.
pub fn cutout_model(setting: &CutoutModel, data_directory: &Path) -> Option<PathBuf> {
    match setting {
        CutoutModel::Off => None,
        CutoutModel::File(path) => Some(path.clone()),
        CutoutModel::IfThere => {
            // If the binary's path is unknown, only the data directory is searched.
            let binary = std::env::current_exe().ok();
            let beside = [Some(data_directory), binary.as_deref()].into_iter().flatten().filter_map(Path::parent);
            beside.map(|directory| directory.join("models").join(network::FILE_NAME)).find(|path| path.exists())
        }
    }
}

fn open_blobs(config: &Config, clock: &Arc<dyn Clock>, address: SocketAddr) -> anyhow::Result<Arc<dyn BlobStore>> {
    if let Some(account) = &config.storage.blobs {
        let account = Arc::new(open_storage(config, account)?);
        let blobs = AzureBlobs::new(account).served_below(media_url(config, address));
        return Ok(Arc::new(blobs.with_public(config.storage.archive_container.clone())));
    }
    let directory = config.data_directory.join(BLOB_DIRECTORY);
    let store = LocalBlobs::open(&directory, media_url(config, address), &**clock)
        .with_context(|| format!("the blob directory {} in PLUCKIT_DATA_DIR cannot be used", directory.display()))?;
    Ok(Arc::new(store))
}

/// Returns the URL of the route that serves blobs, for a service that listens on `address`.
pub fn media_url(config: &Config, address: SocketAddr) -> Url {
    let mut url = config.server.public_base(address);
    url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(MEDIA_PATH);
    url
}

/// Returns a probe that checks that the container exists, or creates it.
pub fn blobs_probe(blobs: Arc<dyn BlobStore>, container: &ContainerName) -> Probe {
    probe((blobs, container.clone()), |(blobs, container)| async move { exists(blobs.is_ready(&container).await) })
}

fn account_probe(account: Arc<StorageAccount>, name: &str) -> Probe {
    probe((account, name.to_owned()), |(account, name)| async move { exists(account.has_queue(&name).await) })
}

/// Returns a probe that checks that the embedded queue is writable.
pub fn queue_probe(queue: Arc<dyn JobQueue>, name: &str) -> Probe {
    probe((queue, name.to_owned()), |(queue, name)| async move {
        queue.ping(&name).await.map_err(|error| Chain(&error).to_string())
    })
}

/// Converts the answer whether a container or queue exists.
fn exists<E: std::error::Error + 'static>(answer: Result<bool, E>) -> Result<(), String> {
    match answer {
        Ok(true) => Ok(()),
        Ok(false) => Err("it has not been created yet: run pluckit storage init".to_owned()),
        Err(error) => Err(Chain(&error).to_string()),
    }
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
