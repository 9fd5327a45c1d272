//! Scraping of the discover feed's sources: Reddit and brands' sites.
//!
//! A run has two repeatable steps: [`Scraper::fetch`] and [`Scraper::complete`]. [`Scraper::run`] does both under the
//! source's lease; a job does them one by one, each under [`Scraper::with_lease`], and stores what was fetched in
//! between. The daily scrape is a message per source; a source records the day, so it is scraped once however often
//! messages are delivered. A scrape for a new subscriber is recorded in the source before its message is sent, and the
//! record is removed when the source was scraped or the message became a dead letter. If the record remains for too
//! long, the message was lost, and [`Scraper::requeue_overdue`] sends another.

pub mod brand;
pub mod candidate;
mod dedupe;
pub mod ingest;
pub mod lease;
pub mod polite;
pub mod reddit;
pub mod submit;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Date;
use time::format_description::well_known::Iso8601;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use url::Url;

use self::brand::SelectorConfig;
use self::brand::client::BrandSites;
use self::brand::generate::{GenerateError, generate_config};
use self::candidate::Candidate;
use self::ingest::{IngestReport, Origin};
use self::lease::{LeasedSource, Owner};
use self::reddit::RedditConfig;
use self::reddit::client::{Reddit, RedditError};
use super::backlog::{Backlog, Work};
use super::similarity::known::{KnownHashes, PartitionHashes};
use super::work::Failures;
use crate::base::chain::{Cause, Chain};
use crate::data::sources::Finish;
use crate::data::{self, Data};
use crate::domain::base::Base;
use crate::domain::pictures::Pictures;
use crate::imaging::pool::PixelPool;
use crate::llm::{self, CallContext, Model};
use crate::model::ids::{SourceId, UserId};
use crate::model::source::{PageVersion, Source, SourceType};
use crate::model::timestamp::Timestamp;
use crate::net::guarded::Validators;
use crate::queue::{self, QueueMessage};

/// Time limit of a run.
const RUN_TIME: Duration = Duration::from_secs(8 * 60);
/// How long a run waits for others in this process.
const SLOT_PATIENCE: Duration = Duration::from_secs(60);
/// A source scraped this recently is not scraped again for a new subscriber.
const RECENT: Duration = Duration::from_secs(15 * 60);
/// How long a queued scrape for a subscriber suppresses others.
const QUEUED: Duration = Duration::from_secs(15 * 60);
/// Times that a scrape for a subscriber is queued again when nothing is heard of it.
const MOST_REQUEUES: u32 = 3;
/// Most sources that are queued again in one sweep.
const SWEPT: usize = 200;
/// How long an unchanged page is not read. Items expire, and only reading renews them.
const BELIEVED: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Longest validator that is stored, in bytes.
const LONGEST_VERSION: usize = 500;
/// Concurrent sends.
const CONCURRENT_SENDS: usize = 8;

/// Why a source was not scraped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source does not exist.
    #[error("there is no such source")]
    Missing,
    /// Another worker holds the lease.
    #[error("another client or worker holds the source's lease")]
    Leased,
    /// The lease was taken over; nothing more is written.
    #[error("the source's lease was lost")]
    LeaseLost,
    /// The user has too much waiting work.
    #[error("the user has too many waiting jobs")]
    BacklogFull,
    /// This process is at its limit.
    #[error("too many sources are being scraped")]
    Busy,
    /// The run took too long.
    #[error("the source was not scraped in time")]
    TimedOut,
    /// The source could not be fetched.
    #[error("the source could not be fetched")]
    Fetch {
        /// Whether another attempt may succeed.
        is_temporary: bool,
        /// Underlying error.
        #[source]
        cause: Cause,
    },
    /// The user has no tokens left for the model.
    #[error("the day's token budget is used up")]
    OverBudget {
        /// Time until tokens may be available.
        retry_after: Duration,
    },
    /// The store failed.
    #[error("the feed's documents could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("the source could not be queued")]
    Queue(#[from] queue::Error),
    /// A message cannot be serialized; a bug.
    #[error("the message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl Error {
    fn fetch(is_temporary: bool, cause: impl Into<Cause>) -> Self {
        Self::Fetch { is_temporary, cause: cause.into() }
    }
}

/// Scrapes sources. Cheap to clone.
#[derive(Clone)]
pub struct Scraper(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    backlog: Backlog,
    reddit: Reddit,
    brands: BrandSites,
    pictures: Pictures,
    known_pictures: KnownHashes,
    slots: Semaphore,
}

/// A queued source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The source.
    pub source_id: SourceId,
    /// Day of a daily scrape (`2026-03-02`, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Time of the request; a later scrape fulfils it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
}

impl QueueMessage for Message {
    fn check(&self) -> Result<(), String> {
        let is_day = |day: &String| Date::parse(day, &Iso8601::DATE).is_ok_and(|date| date.to_string() == *day);
        if self.source_id.as_str().is_empty() || !self.day.iter().all(is_day) {
            return Err("the message's source or day is not valid".to_owned());
        }
        Ok(())
    }
}

impl Message {
    /// Whether the source was scraped since the request.
    fn is_done(&self, source: &Source) -> bool {
        let is_done_since = |asked: Timestamp| source.last_scraped_at.is_some_and(|done| done >= asked);
        match &self.day {
            Some(day) => source.is_done_for(day),
            None => self.requested_at.is_some_and(is_done_since),
        }
    }
}

/// Result of fetching a source: input for [`Scraper::ingest`], and what to record afterwards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fetched {
    /// Possible items.
    pub candidates: Vec<Candidate>,
    /// Version of the page, if known.
    pub version: Option<PageVersion>,
}

/// Outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// The source was scraped.
    Done(IngestReport),
    /// Nothing was left to do.
    Nothing,
}

impl Scraper {
    /// Creates the service.
    pub fn new(base: Arc<Base>, backlog: Backlog, reddit: Reddit, brands: BrandSites, pictures: Pictures) -> Self {
        let known_pictures = KnownHashes::new(base.data.clone(), base.clock.clone());
        let slots = Semaphore::new(base.config.scraper.max_concurrency);
        Self(Arc::new(Inner { base, backlog, reddit, brands, pictures, known_pictures, slots }))
    }

    fn now(&self) -> Timestamp {
        self.0.base.clock.now().into()
    }

    fn data(&self) -> &Data {
        &self.0.base.data
    }

    fn model(&self) -> &dyn Model {
        &*self.0.base.model
    }

    fn pictures(&self) -> &Pictures {
        &self.0.pictures
    }

    fn pixels(&self) -> &PixelPool {
        &self.0.base.pixels
    }

    async fn known_pictures(&self, partition: &str) -> Result<Arc<PartitionHashes>, Error> {
        Ok(self.0.known_pictures.of(partition).await?)
    }

    /// Queues every active global source whose daily scrape is not done. Returns how many. Queueing a source twice is
    /// harmless.
    ///
    /// # Errors
    /// When the store or queue fails. Repeating it continues.
    pub async fn queue_daily(&self) -> Result<usize, Error> {
        let day = day_of(self.now());
        let sources = self.data().sources.global();
        let sends = sources.map_err(Error::from).try_filter_map(|source| {
            let day = day.clone();
            async move { Ok((!source.is_done_for(&day)).then_some((source.id, day))) }
        });
        sends
            .map_ok(|(source_id, day)| async move {
                self.send(&Message { source_id, day: Some(day), requested_at: None }).await
            })
            .try_buffer_unordered(CONCURRENT_SENDS)
            .try_fold(0, |count, ()| async move { Ok(count + 1) })
            .await
    }

    /// Queues a source for a new subscriber, unless it was scraped recently, is queued, or is leased; returns whether
    /// it did. If the process dies before the message is sent, [`Self::requeue_overdue`] sends another.
    ///
    /// # Errors
    /// [`Error::BacklogFull`] when the user has too much waiting work; otherwise when the store or queue fails.
    pub async fn queue_for_subscriber(&self, source: &Source, user: &UserId) -> Result<bool, Error> {
        let now = self.now();
        let is_wanted = |source: &Source| {
            let is_fresh = source.last_scraped_at.is_some_and(|at| at + RECENT > now);
            !(is_fresh || source.is_queued(now) || source.is_leased(now))
        };
        if !is_wanted(source) {
            return Ok(false);
        }
        if !self.0.backlog.admit(user, &Work::Scrape(source.id.clone())).await? {
            return Err(Error::BacklogFull);
        }
        if !self.data().sources.queue(source, user, now + QUEUED, is_wanted).await? {
            return Ok(false);
        }
        let sent = self.send_for(user, &source.id, now).await;
        if sent.is_err()
            && let Err(error) = self.data().sources.unqueue(source, now + QUEUED).await
        {
            warn!(source.id = %source.id, error = %Chain(&error), "source not queued, but marked as queued");
        }
        sent.map(|()| true)
    }

    /// Queues sources again whose scrape for a subscriber is overdue: its message was never sent, or was lost. After
    /// three times the scrape is given up, so that the queue does not grow while no worker runs. One source that fails
    /// does not stop the others. Returns how many were queued; there may be more.
    ///
    /// # Errors
    /// When the store or queue fails. The rest is found the next time.
    pub async fn requeue_overdue(&self) -> Result<usize, Error> {
        let mut queued = 0;
        let mut failures = Failures::none();
        for source in self.data().sources.overdue(self.now(), SWEPT).await? {
            match self.requeue(&source).await {
                Ok(is_queued) => queued += usize::from(is_queued),
                Err(error) => failures.pass_over(&source.id, error)?,
            }
        }
        if queued > 0 {
            info!(sources = queued, "sources queued again");
        }
        failures.into_result().map(|()| queued)
    }

    async fn requeue(&self, source: &Source) -> Result<bool, Error> {
        let Some(until) = source.queued_until else { return Ok(false) };
        let is_wanted = source.is_active && source.requeues < MOST_REQUEUES;
        let Some(user) = source.queued_for.as_ref().filter(|_| is_wanted) else {
            self.data().sources.unqueue(source, until).await?;
            return Ok(false);
        };
        let now = self.now();
        // The message first: if the process dies before the record is written, another message is sent, which is
        // harmless.
        self.send_for(user, &source.id, now).await?;
        self.data().sources.queue_again(source, now + QUEUED).await?;
        Ok(true)
    }

    /// Records that a message became a dead letter: its source is no longer queued.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_given_up(&self, message: &Message) -> Result<(), Error> {
        let Some(requested_at) = message.requested_at else { return Ok(()) };
        if let Some(source) = self.data().sources.find(&message.source_id).await? {
            self.data().sources.unqueue(&source, requested_at + QUEUED).await?;
        }
        Ok(())
    }

    /// Sends the message of a scrape that a subscriber requested at this time.
    async fn send_for(&self, user: &UserId, source: &SourceId, requested_at: Timestamp) -> Result<(), Error> {
        let message = Message { source_id: source.clone(), day: None, requested_at: Some(requested_at) };
        let text = serde_json::to_string(&message)?;
        Ok(self.0.base.queue.send_for(&self.0.base.config.queues.scrape.work, user.as_str(), &text).await?)
    }

    async fn send(&self, message: &Message) -> Result<(), Error> {
        let text = serde_json::to_string(message)?;
        Ok(self.0.base.queue.send(&self.0.base.config.queues.scrape.work, &text).await?)
    }

    /// Processes a message. `delivery` is its id in the queue, by which a redelivery takes over from an earlier one.
    ///
    /// # Errors
    /// When the source cannot be scraped or its lease is not available, as for [`Scraper::run`].
    pub async fn work(&self, message: &Message, delivery: Option<&str>) -> Result<Worked, Error> {
        let Some(source) = self.data().sources.find(&message.source_id).await? else {
            info!(source.id = %message.source_id, "source is gone");
            return Ok(Worked::Nothing);
        };
        let is_wanted = source.is_active && (message.day.is_none() || source.is_global);
        if !is_wanted || message.is_done(&source) {
            return Ok(Worked::Nothing);
        }
        let owner = delivery.map_or_else(Owner::unique, Owner::of_message);
        self.scrape(&source, &owner, Some(message)).await
    }

    /// Scrapes a source now.
    ///
    /// # Errors
    /// See [`Error`]. What was written is found the next time.
    pub async fn run(&self, source: &Source, owner: &Owner) -> Result<IngestReport, Error> {
        match self.scrape(source, owner, None).await? {
            Worked::Done(report) => Ok(report),
            Worked::Nothing => Ok(IngestReport::default()),
        }
    }

    async fn scrape(&self, source: &Source, owner: &Owner, message: Option<&Message>) -> Result<Worked, Error> {
        let slot = tokio::time::timeout(SLOT_PATIENCE, self.0.slots.acquire()).await;
        let _slot = slot.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        let work = |leased: LeasedSource| async move {
            // Check under the lease: its previous owner may have done the work.
            if message.is_some_and(|message| message.is_done(&leased.source)) {
                return Ok(Worked::Nothing);
            }
            let fetched = self.fetch(&leased.source).await?;
            let day = message.and_then(|message| message.day.as_deref());
            self.complete(&leased, fetched, day).await.map(Worked::Done)
        };
        let scraped = tokio::time::timeout(RUN_TIME, Box::pin(self.with_lease(source, owner, work))).await;
        let outcome = scraped.map_err(|_| Error::TimedOut)?;
        if let Ok(Worked::Done(report)) = &outcome {
            info!(source.id = %source.id, ?report, "source scraped");
        }
        outcome
    }

    /// Ingests the fetched items, records the scrape (with its day, for a daily scrape), and releases the lease.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] and [`Error::Data`].
    pub async fn complete(
        &self,
        leased: &LeasedSource,
        fetched: Fetched,
        day: Option<&str>,
    ) -> Result<IngestReport, Error> {
        let Fetched { candidates, version } = fetched;
        let report = self.ingest(&leased.source, candidates, &Origin::FETCHED).await?;
        let finish = Finish { at: self.now(), day, version: version.as_ref() };
        match leased.held.finish(|document| document.note_scrape(&finish)).await {
            Ok(_) => Ok(report),
            Err(data::lease::Error::Lost) => Err(Error::LeaseLost),
            Err(data::lease::Error::Data(error)) => Err(error.into()),
        }
    }

    /// Finds selectors for a brand's site with the model, at `user`'s expense.
    ///
    /// # Errors
    /// [`Error::Fetch`], and [`Error::OverBudget`].
    pub async fn suggest(&self, user: &UserId, url: &Url) -> Result<Value, Error> {
        let (page, found_at) =
            self.0.brands.page(url).await.map_err(|error| Error::fetch(error.is_temporary(), error))?;
        let config = generate_config(self.model(), &CallContext::user(user), page, &found_at).await;
        let config = config.map_err(|error| match error {
            GenerateError::Model(llm::Error::OverBudget { retry_after }) => Error::OverBudget { retry_after },
            error => Error::fetch(false, error),
        })?;
        Ok(serde_json::to_value(config)?)
    }

    /// Fetches a subreddit's listing unchanged, for clients that submit its posts.
    ///
    /// # Errors
    /// When Reddit does not answer with a listing.
    pub async fn listing(&self, config: &RedditConfig) -> Result<Bytes, RedditError> {
        self.0.reddit.listing(config).await
    }

    /// Fetches the current items of a source; none if its page is unchanged.
    ///
    /// # Errors
    /// [`Error::Fetch`].
    pub async fn fetch(&self, source: &Source) -> Result<Fetched, Error> {
        match source.source_type {
            SourceType::Reddit => {
                let config = RedditConfig::read(&source.config).map_err(|error| Error::fetch(false, error))?;
                let posts = self.0.reddit.fetch(&config).await;
                let candidates = posts.map_err(|error| Error::fetch(error.is_temporary(), error))?;
                Ok(Fetched { candidates, version: None })
            }
            SourceType::BrandSite => {
                let config = SelectorConfig::deserialize(&source.config).map_err(|error| Error::fetch(false, error))?;
                let now = self.now();
                let known = source.page_version.clone().filter(|known| known.read_at + BELIEVED > now);
                let validators =
                    known.clone().map_or_else(Validators::default, |PageVersion { etag, last_modified, .. }| {
                        Validators { etag, last_modified }
                    });
                let harvest = self.0.brands.fetch(&config, &validators).await;
                let harvest = harvest.map_err(|error| Error::fetch(error.is_temporary(), error))?;
                if harvest.is_unchanged {
                    return Ok(Fetched { candidates: Vec::new(), version: known });
                }
                let short = |header: Option<String>| header.filter(|header| header.len() <= LONGEST_VERSION);
                let Validators { etag, last_modified } = harvest.validators;
                let version = PageVersion { etag: short(etag), last_modified: short(last_modified), read_at: now };
                Ok(Fetched { candidates: harvest.candidates, version: Some(version) })
            }
        }
    }
}

/// Returns the UTC day of a point in time.
fn day_of(at: Timestamp) -> String {
    at.get().date().to_string()
}
