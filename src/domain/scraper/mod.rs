//! The discover feed's sources, Reddit and brands' sites: fetched, and what they have ingested.
//!
//! A run is two steps, each safe to repeat: [`Scraper::fetch`] and [`Scraper::complete`]. [`Scraper::run`] does both under
//! the source's lease; a long operation may do them one by one, each under [`Scraper::with_lease`], and keep what was
//! fetched in between. The daily scrape is a message per source; a source remembers the day that it was done for, so that
//! it is done once however often timer and messages come.

pub mod brand;
pub mod candidate;
mod dedupe;
pub mod ingest;
pub mod lease;
pub mod polite;
pub mod reddit;
pub mod submit;
mod tags;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
use self::reddit::client::Reddit;
use super::backlog::{Backlog, Work};
use super::similarity::known::{KnownHashes, PartitionHashes};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::config;
use crate::data::sources::Finish;
use crate::data::{self, Data};
use crate::domain::pictures::Pictures;
use crate::imaging::pool::PixelPool;
use crate::llm::{self, CallContext, Model};
use crate::model::ids::{SourceId, UserId};
use crate::model::source::{PageVersion, Source, SourceType};
use crate::model::timestamp::Timestamp;
use crate::net::guarded::Validators;
use crate::queue::{self, JobQueue};

/// Time for one run: less than a function has, and than a lease needs to be renewed for ever.
const RUN_TIME: Duration = Duration::from_secs(8 * 60);
/// How long a run waits until fewer others are at work in this process.
const SLOT_PATIENCE: Duration = Duration::from_secs(60);
/// A source that was scraped so shortly before is not scraped again for a new subscriber.
const RECENT: Duration = Duration::from_secs(15 * 60);
/// How long a queued scrape for a subscriber keeps others from being queued, should nothing be heard of it.
const QUEUED: Duration = Duration::from_secs(15 * 60);
/// How long a site's word is believed that its page has not changed. Items expire, and only a page that is read brings them
/// back.
const BELIEVED: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Longest name of a page's version that is kept, in bytes.
const LONGEST_VERSION: usize = 500;
/// Messages that are sent at once.
const CONCURRENT_SENDS: usize = 8;

/// Why a source was not scraped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such source.
    #[error("there is no such source")]
    Missing,
    /// Somebody else is at it, a run or a client.
    #[error("somebody else has the source's lease")]
    Leased,
    /// Somebody else took it over meanwhile. Nothing more is written.
    #[error("the source's lease was lost")]
    LeaseLost,
    /// The user who asked for it waits for enough already.
    #[error("the user waits for enough already")]
    BacklogFull,
    /// This process has enough to do.
    #[error("too many sources are being scraped")]
    Busy,
    /// It took too long.
    #[error("the source was not scraped in time")]
    TimedOut,
    /// The source did not give what it should.
    #[error("the source could not be fetched")]
    Fetch {
        /// Whether another try may succeed.
        is_temporary: bool,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// Whoever asked for it has no tokens left for the model.
    #[error("the day's tokens are spent")]
    OverBudget {
        /// Time until there may be tokens again.
        retry_after: Duration,
    },
    /// The documents failed.
    #[error("the feed's documents could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("the source could not be queued")]
    Queue(#[from] queue::Error),
    /// A message does not turn into JSON: a fault in this program.
    #[error("the message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl Error {
    fn fetch(is_temporary: bool, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Fetch { is_temporary, cause: cause.into() }
    }
}

/// What scraping is made of.
pub struct Parts {
    /// The documents.
    pub data: Data,
    /// Who embeds.
    pub model: Arc<dyn Model>,
    /// Where the pictures are.
    pub pictures: Pictures,
    /// Reddit.
    pub reddit: Reddit,
    /// Brands' sites.
    pub brands: BrandSites,
    /// Threads that hash pictures.
    pub pixels: Arc<PixelPool>,
    /// Where sources wait.
    pub queue: Arc<dyn JobQueue>,
    /// Name of that queue.
    pub queue_name: String,
    /// What users wait for.
    pub backlog: Backlog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Numbers.
    pub settings: config::Scraper,
}

/// Scrapes the discover feed's sources. Cheap to clone.
#[derive(Clone)]
pub struct Scraper(Arc<Inner>);

struct Inner {
    parts: Parts,
    pictures: KnownHashes,
    slots: Semaphore,
}

/// A source that waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The source.
    pub source_id: SourceId,
    /// The day (`2026-03-02`, UTC) whose daily scrape it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// When somebody asked for it; whoever scrapes it after that does what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
}

impl Message {
    /// Reads a message of the queue.
    ///
    /// # Errors
    /// What is wrong with it, for people; without the parser's words, which may quote it.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let message: Self = serde_json::from_str(text).map_err(|_| "the message does not name a source")?;
        let is_day = |day: &String| day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if message.source_id.as_str().is_empty() || !message.day.iter().all(is_day) {
            return Err("the message's source or day is none");
        }
        Ok(message)
    }

    /// Whether what it asks for was done.
    fn is_done(&self, source: &Source) -> bool {
        let is_done_since = |asked: Timestamp| source.last_scraped_at.is_some_and(|done| done >= asked);
        match &self.day {
            Some(day) => source.is_done_for(day),
            None => self.requested_at.is_some_and(is_done_since),
        }
    }
}

/// What a source had when it was fetched: what [`Scraper::ingest`] takes, and what is to be remembered after that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fetched {
    /// What may become items.
    pub candidates: Vec<Candidate>,
    /// The version of the page that they are from, if it has one.
    pub version: Option<PageVersion>,
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// The source was scraped.
    Done(IngestReport),
    /// There was nothing left to do.
    Nothing,
}

impl Scraper {
    /// A scraper made of `parts`.
    pub fn new(parts: Parts) -> Self {
        let pictures = KnownHashes::new(parts.data.clone(), parts.clock.clone());
        let slots = Semaphore::new(parts.settings.max_concurrency);
        Self(Arc::new(Inner { parts, pictures, slots }))
    }

    fn now(&self) -> Timestamp {
        self.0.parts.clock.now().into()
    }

    fn data(&self) -> &Data {
        &self.0.parts.data
    }

    fn model(&self) -> &dyn Model {
        &*self.0.parts.model
    }

    fn pictures(&self) -> &Pictures {
        &self.0.parts.pictures
    }

    fn pixels(&self) -> &PixelPool {
        &self.0.parts.pixels
    }

    async fn known_pictures(&self, partition: &str) -> Result<Arc<PartitionHashes>, Error> {
        Ok(self.0.pictures.of(partition).await?)
    }

    /// Queues every active source that everybody has, as far as its daily scrape is not done. Returns how many. One that is
    /// queued already is queued again, and its second message will find nothing to do.
    ///
    /// # Errors
    /// When documents or queue fail. Doing it again does what is missing.
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

    /// Queues a source for a user who wants to see what it has, unless that was done a short while ago, or somebody else's
    /// wish for the same waits in the queue, or somebody is at it; whether it did.
    ///
    /// # Errors
    /// [`Error::BacklogFull`] when the user waits for enough already; otherwise when documents or queue fail.
    pub async fn queue_for_subscriber(&self, source: &Source, user: &UserId) -> Result<bool, Error> {
        let now = self.now();
        let is_wanted = |source: &Source| {
            let is_fresh = source.last_scraped_at.is_some_and(|at| at + RECENT > now);
            !(is_fresh || source.is_queued(now) || source.is_leased(now))
        };
        if !is_wanted(source) {
            return Ok(false);
        }
        if !self.0.parts.backlog.admit(user, &Work::Scrape(source.id.clone())).await? {
            return Err(Error::BacklogFull);
        }
        let until = now + QUEUED;
        if !self.data().sources.queue(source, user, until, is_wanted).await? {
            return Ok(false);
        }
        let text =
            serde_json::to_string(&Message { source_id: source.id.clone(), day: None, requested_at: Some(now) })?;
        let sent = self.0.parts.queue.send_for(&self.0.parts.queue_name, user.as_str(), &text).await;
        if sent.is_err()
            && let Err(error) = self.data().sources.unqueue(source, until).await
        {
            warn!(source.id = %source.id, error = %Chain(&error), "source not queued, but noted as if it were");
        }
        sent?;
        Ok(true)
    }

    async fn send(&self, message: &Message) -> Result<(), Error> {
        let text = serde_json::to_string(message)?;
        Ok(self.0.parts.queue.send(&self.0.parts.queue_name, &text).await?)
    }

    /// Does what a message asks for. `delivery` is the queue's name for the message: a later delivery of the same one takes
    /// over from an earlier one.
    ///
    /// # Errors
    /// As [`Scraper::run`].
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

    /// Scrapes a source now and returns what came of it.
    ///
    /// # Errors
    /// See [`Error`]. What was written until then stays, and is found the next time.
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
            // As it is under the lease: whoever had that before may have done the work.
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

    /// Ingests what was fetched and writes down that the source was scraped, for a day's scrape if it was one. Gives the lease
    /// back.
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

    /// How to read a brand's site, found out by the model. `user` pays for that.
    ///
    /// # Errors
    /// [`Error::Fetch`], and [`Error::OverBudget`].
    pub async fn suggest(&self, user: &UserId, url: &Url) -> Result<Value, Error> {
        let (page, found_at) =
            self.0.parts.brands.page(url).await.map_err(|error| Error::fetch(error.is_temporary(), error))?;
        let config = generate_config(self.model(), &CallContext::user(user), page, &found_at).await;
        let config = config.map_err(|error| match error {
            GenerateError::Model(llm::Error::OverBudget { retry_after }) => Error::OverBudget { retry_after },
            error => Error::fetch(false, error),
        })?;
        Ok(serde_json::to_value(config)?)
    }

    /// What a source has at present; nothing if its page is still as it was at the last scrape.
    ///
    /// # Errors
    /// [`Error::Fetch`].
    pub async fn fetch(&self, source: &Source) -> Result<Fetched, Error> {
        match source.source_type {
            SourceType::Reddit => {
                let config = RedditConfig::read(&source.config).map_err(|error| Error::fetch(false, error))?;
                let posts = self.0.parts.reddit.fetch(&config).await;
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
                let harvest = self.0.parts.brands.fetch(&config, &validators).await;
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

/// The day of a point in time, in UTC.
fn day_of(at: Timestamp) -> String {
    at.get().date().to_string()
}
