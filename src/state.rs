//! What a handler or a worker may use.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::clock::Clock;
use crate::blob::BlobStore;
use crate::config::Config;
use crate::data::Data;
use crate::domain::budget::Budget;
use crate::domain::chat::Chat;
use crate::domain::dead_letters::DeadLetterOffice;
use crate::domain::digest::Digests;
use crate::domain::insights::Insights;
use crate::domain::jobs::Jobs;
use crate::domain::media::Media;
use crate::domain::metadata::Describer;
use crate::domain::moods::Moods;
use crate::domain::pictures::Pictures;
use crate::domain::quiz::Quizmaster;
use crate::domain::quota::Limits;
use crate::domain::quota::body_memory::BodyMemory;
use crate::domain::readiness::Readiness;
use crate::domain::scraper::Scraper;
use crate::domain::taste::Taste;
use crate::identity::google::GoogleVerifier;
use crate::identity::service::ServiceVerifier;
use crate::identity::session::SessionService;
use crate::llm::Model;
use crate::net::guarded::GuardedClient;
use crate::queue::JobQueue;
use crate::telemetry::Telemetry;

/// Everything that a handler or a worker may use. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of an [`AppState`].
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Documents.
    pub data: Data,
    /// Jobs that wait for a worker.
    pub queue: Arc<dyn JobQueue>,
    /// Pictures.
    pub blobs: Arc<dyn BlobStore>,
    /// The same, if only we can show what is in it.
    pub embedded_blobs: Option<Arc<dyn BlobStore>>,
    /// Sign-ins.
    pub sessions: SessionService,
    /// Google's ID tokens.
    pub google: GoogleVerifier,
    /// Credentials of other services.
    pub services: ServiceVerifier,
    /// Finished pictures.
    pub media: Media,
    /// Pictures by their addresses.
    pub pictures: Pictures,
    /// What pictures show.
    pub describer: Describer,
    /// The language model.
    pub model: Arc<dyn Model>,
    /// The stylist.
    pub chat: Arc<Chat>,
    /// What users, feeds and pages point to.
    pub web: Arc<GuardedClient>,
    /// Analysis of the pictures that users like.
    pub taste: Taste,
    /// Messages that could not be done.
    pub dead_letters: DeadLetterOffice,
    /// Numbers about wardrobes.
    pub insights: Insights,
    /// What the press says is in fashion.
    pub moods: Moods,
    /// Purchase ideas.
    pub digests: Digests,
    /// Scraping of the feed's sources.
    pub scraper: Scraper,
    /// Taste quizzes.
    pub quiz: Quizmaster,
    /// Long operations.
    pub jobs: Jobs,
    /// Whether what we depend on answers.
    pub readiness: Readiness,
    /// How much of the service one caller may have.
    pub limits: Limits,
    /// Memory for the bodies of requests.
    pub bodies: BodyMemory,
    /// What a user may spend on models.
    pub budget: Budget,
    /// What leaves the process about itself, beside the log.
    pub telemetry: Telemetry,
    /// Work that outlives its request; waited for at the end.
    pub tasks: TaskTracker,
    /// Cancelled when the process should end.
    pub shutdown: CancellationToken,
    /// Cancelled when it has waited for open streams for long enough: they end now.
    pub ending: CancellationToken,
}

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
