//! State shared by handlers and workers.

use std::ops::Deref;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::base::turns::Turns;
use crate::data;
use crate::domain::base::Base;
use crate::domain::budget::Budget;
use crate::domain::chat::Chat;
use crate::domain::chat::runs::Runs;
use crate::domain::chat::tools::Tool;
use crate::domain::dead_letters::DeadLetterService;
use crate::domain::digest::Digests;
use crate::domain::drafts::Drafts;
use crate::domain::insights::Insights;
use crate::domain::item_blobs::ItemBlobs;
use crate::domain::jobs::Jobs;
use crate::domain::media::Media;
use crate::domain::metadata::Describer;
use crate::domain::moods::Moods;
use crate::domain::pictures::Pictures;
use crate::domain::quiz::QuizService;
use crate::domain::quota::CallerLimits;
use crate::domain::quota::body_memory::BodyMemory;
use crate::domain::readiness::Readiness;
use crate::domain::scraper::Scraper;
use crate::domain::taste::Taste;
use crate::identity::api_token::ApiTokenService;
use crate::identity::google::GoogleVerifier;
use crate::identity::service::ServiceVerifier;
use crate::identity::session::SessionService;
use crate::model::ids::UserId;
use crate::model::schedule::Schedule;
use crate::model::timestamp::Timestamp;

/// State shared by handlers and workers. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<AppParts>);

/// The parts of an [`AppState`].
pub struct AppParts {
    /// Parts that all services share.
    pub base: Arc<Base>,
    /// Sessions.
    pub sessions: SessionService,
    /// API tokens.
    pub api_tokens: ApiTokenService,
    /// Verifier of Google ID tokens.
    pub google: GoogleVerifier,
    /// Verifier of other services' credentials.
    pub services: ServiceVerifier,
    /// Background removal and finished pictures.
    pub media: Media,
    /// Pictures by URL.
    pub pictures: Pictures,
    /// Garment metadata from pictures.
    pub describer: Describer,
    /// The stylist.
    pub chat: Arc<Chat>,
    /// Chat runs: the stylist's turns.
    pub runs: Runs,
    /// Tools for assistants: the stylist's, and those only for other assistants.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Taste analysis of liked pictures.
    pub taste: Taste,
    /// Dead letters.
    pub dead_letters: DeadLetterService,
    /// Wardrobe statistics.
    pub insights: Insights,
    /// Fashion trends.
    pub moods: Moods,
    /// Digests.
    pub digests: Digests,
    /// Wardrobe items created from photos.
    pub drafts: Drafts,
    /// Blobs of wardrobe items.
    pub item_blobs: ItemBlobs,
    /// Scraping of the discover feed.
    pub scraper: Scraper,
    /// Taste quizzes.
    pub quiz: QuizService,
    /// Jobs.
    pub jobs: Jobs,
    /// Readiness checks.
    pub readiness: Readiness,
    /// Limits per caller.
    pub limits: CallerLimits,
    /// Memory budget of request bodies.
    pub bodies: BodyMemory,
    /// Memory budget of answers that are complete, until they are sent.
    pub answers: BodyMemory,
    /// Turns of users for reads of many documents, such as all items of a collection.
    pub large_reads: Arc<Turns<UserId>>,
    /// Token budgets of users.
    pub budget: Budget,
    /// Timers.
    pub timers: TimerControl,
}

/// The timers, for administrators. Routes cannot use the functions directly, so they reach them through this.
pub struct TimerControl {
    /// Names and schedules.
    pub all: Vec<(&'static str, Schedule)>,
    /// Runs a timer once, now.
    pub start: StartTimer,
}

/// Starts the timer of this name, in the background.
pub type StartTimer = for<'a> fn(&'a AppState, &'a str) -> BoxFuture<'a, data::Result<TimerStart>>;

/// Outcome of starting a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerStart {
    /// The timer has started.
    Started,
    /// A process is already running it; its lease ends at this time unless renewed.
    UnderWay(Timestamp),
    /// There is no such timer.
    Missing,
}

impl From<AppParts> for AppState {
    fn from(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

impl Deref for AppParts {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}
