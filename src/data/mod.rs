//! The typed side of the store: for each kind of document its container, partition key, shape and named queries,
//! written once for both back ends.

pub mod backlogs;
pub mod bans;
pub mod contributions;
pub mod conversations;
pub mod dead_letters;
pub mod digest_feedback;
pub mod digests;
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
pub mod sessions;
pub mod sources;
pub mod spending;
pub mod subscriptions;
pub mod taste_jobs;
pub mod timers;
pub mod update;
pub mod votes;
pub mod wardrobe;
pub mod wear_events;

use std::sync::Arc;
use std::time::Duration;

use self::lease::Leases;
use crate::base::clock::Clock;
use crate::store::{self, DocumentStore};

/// Result of a data operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a data operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not do it.
    #[error("the document store failed")]
    Store(#[from] store::Error),
    /// A record does not turn into JSON: a fault in this program.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// Others kept changing the document while we tried to.
    #[error("the document kept changing")]
    Contended,
}

/// All documents, by kind.
#[derive(Clone)]
pub struct Data {
    /// The store below, for what is not about one kind of document.
    pub store: Arc<dyn DocumentStore>,
    /// Sign-ins.
    pub sessions: sessions::Sessions,
    /// Clothes.
    pub wardrobe: wardrobe::Wardrobe,
    /// When clothes were worn.
    pub wear_events: wear_events::WearEvents,
    /// People's sizes, tastes and city.
    pub profiles: profiles::Profiles,
    /// What the stylist remembers.
    pub conversations: conversations::Conversations,
    /// Answers to requests that may be sent again.
    pub idempotency: idempotency::Idempotency,
    /// Tokens that users spent.
    pub spending: spending::SpendingDays,
    /// What is in fashion.
    pub moods: moods::Moods,
    /// Posts that users sent for the feed.
    pub contributions: contributions::Contributions,
    /// What users wait for.
    pub backlogs: backlogs::Backlogs,
    /// Things found in feeds.
    pub items: items::Items,
    /// Where they are found.
    pub sources: sources::Sources,
    /// Who follows which of those.
    pub subscriptions: subscriptions::Subscriptions,
    /// Long operations.
    pub jobs: jobs::Jobs,
    /// How far the timers have come.
    pub timers: timers::Timers,
    /// Who voted what.
    pub votes: votes::Votes,
    /// Pictures to analyse.
    pub taste_jobs: taste_jobs::TasteJobs,
    /// The newest exchange rates.
    pub exchange_rates: exchange_rates::ExchangeRates,
    /// Insights that were computed.
    pub insights_cache: insights_cache::InsightsCache,
    /// Messages that could not be done.
    pub dead_letters: dead_letters::DeadLetters,
    /// Purchase ideas.
    pub digests: digests::Digests,
    /// Thumbs on them.
    pub digest_feedback: digest_feedback::Feedback,
    /// Taste quizzes.
    pub quizzes: quizzes::Quizzes,
    /// People who may not contribute.
    pub bans: bans::Bans,
}

impl Data {
    /// Takes leases of this length on documents of the store.
    pub fn leases(&self, clock: &Arc<dyn Clock>, length: Duration) -> Leases {
        Leases::new(self.store.clone(), clock.clone(), length)
    }

    /// The typed side of `store`.
    pub fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self {
            sessions: sessions::Sessions::new(store.clone()),
            wardrobe: wardrobe::Wardrobe::new(store.clone()),
            wear_events: wear_events::WearEvents::new(store.clone()),
            profiles: profiles::Profiles::new(store.clone()),
            conversations: conversations::Conversations::new(store.clone()),
            idempotency: idempotency::Idempotency::new(store.clone()),
            spending: spending::SpendingDays::new(store.clone()),
            moods: moods::Moods::new(store.clone()),
            contributions: contributions::Contributions::new(store.clone()),
            backlogs: backlogs::Backlogs::new(store.clone()),
            items: items::Items::new(store.clone()),
            sources: sources::Sources::new(store.clone()),
            subscriptions: subscriptions::Subscriptions::new(store.clone()),
            jobs: jobs::Jobs::new(store.clone()),
            timers: timers::Timers::new(store.clone()),
            votes: votes::Votes::new(store.clone()),
            taste_jobs: taste_jobs::TasteJobs::new(store.clone()),
            exchange_rates: exchange_rates::ExchangeRates::new(store.clone()),
            insights_cache: insights_cache::InsightsCache::new(store.clone()),
            dead_letters: dead_letters::DeadLetters::new(store.clone()),
            digests: digests::Digests::new(store.clone()),
            digest_feedback: digest_feedback::Feedback::new(store.clone()),
            quizzes: quizzes::Quizzes::new(store.clone()),
            bans: bans::Bans::new(store.clone()),
            store,
        }
    }
}
