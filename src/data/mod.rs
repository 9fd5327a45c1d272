//! Typed access to the store: container, partition key, shape and named queries of each kind of document, written once
//! for both back ends.

pub mod api_tokens;
pub mod audit;
pub mod backlogs;
pub mod bans;
pub mod chat_runs;
pub mod collections;
pub mod contributions;
pub mod conversations;
mod creations;
pub mod dead_letters;
pub mod digest_feedback;
pub mod digests;
pub mod drafts;
pub mod exchange_rates;
pub mod idempotency;
pub mod insights_cache;
pub mod items;
pub mod jobs;
pub mod lease;
pub mod moods;
pub mod pages;
pub mod profiles;
pub mod quizzes;
mod records;
pub mod sessions;
pub mod sources;
pub mod styling;
pub mod subscriptions;
pub mod taste_jobs;
pub mod timers;
pub mod update;
pub mod usage;
pub mod votes;
pub mod wardrobe;
pub mod wear_events;
pub mod wears;

use std::sync::Arc;
use std::time::Duration;

use self::lease::Leases;
use crate::base::clock::Clock;
use crate::store::{self, DocumentStore};

/// Result of a data operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a data operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the document store failed")]
    Store(#[from] store::Error),
    /// A record cannot be serialized; a bug.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// The document kept changing during the attempts to edit it.
    #[error("the document kept changing")]
    Contended,
}

/// Typed access to all kinds of documents.
#[derive(Clone)]
pub struct Data {
    /// The underlying store, for operations on more than one kind.
    pub store: Arc<dyn DocumentStore>,
    /// Sessions.
    pub sessions: sessions::Sessions,
    /// API tokens.
    pub api_tokens: api_tokens::ApiTokens,
    /// Wardrobe items.
    pub wardrobe: wardrobe::Wardrobe,
    /// Wear events.
    pub wear_events: wear_events::WearEvents,
    /// Styling activities.
    pub styling: styling::StylingActivities,
    /// User profiles.
    pub profiles: profiles::Profiles,
    /// The stylist's memory.
    pub conversations: conversations::Conversations,
    /// Chat runs and their event logs.
    pub chat_runs: chat_runs::ChatRuns,
    /// Answers to requests with an `Idempotency-Key`.
    pub idempotency: idempotency::Idempotency,
    /// Model usage and token budgets.
    pub usage: usage::Usage,
    /// Moods.
    pub moods: moods::Moods,
    /// Submitted posts.
    pub contributions: contributions::Contributions,
    /// Backlogs of users.
    pub backlogs: backlogs::Backlogs,
    /// Items of the discover feed.
    pub items: items::Items,
    /// Sources of the discover feed.
    pub sources: sources::Sources,
    /// Subscriptions to sources.
    pub subscriptions: subscriptions::Subscriptions,
    /// Jobs.
    pub jobs: jobs::Jobs,
    /// State of timers.
    pub timers: timers::Timers,
    /// Votes on the feed.
    pub votes: votes::Votes,
    /// Taste-analysis jobs.
    pub taste_jobs: taste_jobs::TasteJobs,
    /// Exchange rates.
    pub exchange_rates: exchange_rates::ExchangeRates,
    /// Cached wardrobe statistics.
    pub insights_cache: insights_cache::InsightsCache,
    /// Dead letters.
    pub dead_letters: dead_letters::DeadLetters,
    /// Digests.
    pub digests: digests::Digests,
    /// Drafts of wardrobe items.
    pub drafts: drafts::Drafts,
    /// Feedback on digests.
    pub digest_feedback: digest_feedback::Feedback,
    /// Taste quizzes.
    pub quizzes: quizzes::Quizzes,
    /// Bans.
    pub bans: bans::Bans,
    /// Audit log: the actions of administrators.
    pub audit: audit::AuditLog,
    /// Collections of wardrobe items.
    pub collections: collections::Collections,
}

impl Data {
    /// Returns a factory of leases of this length on documents of the store.
    pub fn leases(&self, clock: &Arc<dyn Clock>, length: Duration) -> Leases {
        Leases::new(self.store.clone(), clock.clone(), length)
    }

    /// Creates typed access to `store`.
    pub fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self {
            sessions: sessions::Sessions(store.clone()),
            api_tokens: api_tokens::ApiTokens(store.clone()),
            wardrobe: wardrobe::Wardrobe::new(store.clone()),
            wear_events: wear_events::WearEvents(store.clone()),
            styling: styling::StylingActivities(store.clone()),
            profiles: profiles::Profiles(store.clone()),
            conversations: conversations::Conversations(store.clone()),
            chat_runs: chat_runs::ChatRuns(store.clone()),
            idempotency: idempotency::Idempotency::new(store.clone()),
            usage: usage::Usage(store.clone()),
            moods: moods::Moods(store.clone()),
            contributions: contributions::Contributions(store.clone()),
            backlogs: backlogs::Backlogs(store.clone()),
            items: items::Items(store.clone()),
            sources: sources::Sources(store.clone()),
            subscriptions: subscriptions::Subscriptions(store.clone()),
            jobs: jobs::Jobs(store.clone()),
            timers: timers::Timers(store.clone()),
            votes: votes::Votes::new(store.clone()),
            taste_jobs: taste_jobs::TasteJobs(store.clone()),
            exchange_rates: exchange_rates::ExchangeRates(store.clone()),
            insights_cache: insights_cache::InsightsCache(store.clone()),
            dead_letters: dead_letters::DeadLetters(store.clone()),
            digests: digests::Digests(store.clone()),
            drafts: drafts::Drafts(store.clone()),
            digest_feedback: digest_feedback::Feedback(store.clone()),
            quizzes: quizzes::Quizzes(store.clone()),
            bans: bans::Bans(store.clone()),
            audit: audit::AuditLog(store.clone()),
            collections: collections::Collections(store.clone()),
            store,
        }
    }
}
