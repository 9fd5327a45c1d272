//! Parts that the services of `domain/` share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::clock::Clock;
use crate::blob::BlobStore;
use crate::config::Config;
use crate::data::Data;
use crate::imaging::pool::PixelPool;
use crate::llm::Model;
use crate::net::guarded::GuardedClient;
use crate::queue::JobQueue;
use crate::telemetry::Telemetry;

/// Settings, back ends, clients and lifecycle of the process, shared by all services.
pub struct Base {
    /// Settings.
    pub config: Config,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Typed access to documents.
    pub data: Data,
    /// Job queue.
    pub queue: Arc<dyn JobQueue>,
    /// Blob store.
    pub blobs: Arc<dyn BlobStore>,
    /// Threads that work on pixels.
    pub pixels: Arc<PixelPool>,
    /// Language model.
    pub model: Arc<dyn Model>,
    /// HTTP client for configured services.
    pub http: reqwest::Client,
    /// HTTP client for URLs from users, feeds and pages.
    pub web: Arc<GuardedClient>,
    /// Telemetry besides the log.
    pub telemetry: Telemetry,
    /// Tasks that outlive their request; awaited at shutdown.
    pub tasks: TaskTracker,
    /// Cancelled when the process should stop.
    pub shutdown: CancellationToken,
    /// Cancelled when the grace period is over; open streams end then.
    pub ending: CancellationToken,
}
