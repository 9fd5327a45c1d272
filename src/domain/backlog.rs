//! How much work a user may have waiting: long operations and scrapes for subscriptions together. One user's pile would
//! otherwise keep workers busy that belong to everybody.
//!
//! A place is taken before the work is queued and never given back: whoever finds no place free looks whether what has
//! them is done by now. So a process that dies between the two costs a place for a minute at most.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::base::clock::Clock;
use crate::data::{self, Data};
use crate::model::ids::{JobId, SourceId, UserId};
use crate::model::timestamp::Timestamp;

/// How long a place counts as taken before its work can be found in the documents.
const GRACE: Duration = Duration::from_secs(60);
/// Tries against others of the same user. Each one that is lost has taken one of a few places.
const TRIES: usize = 24;
/// What a place for a scrape begins with; the rest is the source.
const SCRAPE: &str = "scrape:";
/// What a place for a long operation begins with; the rest is the job.
const JOB: &str = "job:";

/// What a place for one with an idempotency key begins with; the rest is the key.
const KEYED_JOB: &str = "key:";

/// The users' backlogs. Cheap to clone.
#[derive(Clone)]
pub struct Backlog {
    data: Data,
    clock: Arc<dyn Clock>,
    /// Places of a user; zero for no limit.
    places: usize,
}

/// Work that waits for a user, or is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A long operation.
    Job(JobId),
    /// A long operation that its user asked for with this idempotency key, however often.
    KeyedJob(String),
    /// A scrape of this source, for a subscription.
    Scrape(SourceId),
}

impl Work {
    fn name(&self) -> String {
        match self {
            Self::Job(job) => format!("{JOB}{job}"),
            Self::KeyedJob(key) => format!("{KEYED_JOB}{key}"),
            Self::Scrape(source) => format!("{SCRAPE}{source}"),
        }
    }
}

impl Backlog {
    /// How long a user whose places are taken should wait before they ask again.
    pub const RETRY_AFTER: Duration = Duration::from_secs(10);

    /// Backlogs of so many places for each user; zero for no limit.
    pub fn new(data: Data, clock: Arc<dyn Clock>, places: usize) -> Self {
        Self { data, clock, places }
    }

    /// Takes a place for work that is about to be queued, unless it has one already; `false` if the user has none free.
    ///
    /// # Errors
    /// When the documents fail.
    pub async fn admit(&self, user: &UserId, work: &Work) -> data::Result<bool> {
        if self.places == 0 {
            return Ok(true);
        }
        for _ in 0..TRIES {
            let now = Timestamp::from(self.clock.now());
            let (mut backlog, version) = self.data.backlogs.find(user).await?;
            if backlog.waiting.contains_key(&work.name()) {
                return Ok(true);
            }
            if backlog.waiting.len() >= self.places {
                let waits = backlog.waiting.iter();
                let waits = waits.map(|(name, since)| async move { self.still_waits(user, name, *since, now).await });
                let mut waits = try_join_all(waits).await?.into_iter();
                backlog.waiting.retain(|_, _| waits.next().unwrap_or(true));
                if backlog.waiting.len() >= self.places {
                    return Ok(false);
                }
            }
            backlog.waiting.insert(work.name(), now);
            if self.data.backlogs.save(&backlog, version.as_ref()).await? {
                return Ok(true);
            }
        }
        Err(data::Error::Contended)
    }

    /// Whether what has a place is not done. What cannot be found counts for a while: it may be about to be written.
    async fn still_waits(&self, user: &UserId, name: &str, since: Timestamp, now: Timestamp) -> data::Result<bool> {
        let is_new = since + GRACE > now;
        let job = match (name.strip_prefix(JOB), name.strip_prefix(KEYED_JOB)) {
            (Some(job), _) => Some(job.into()),
            (_, Some(key)) => match self.data.jobs.find_key(user, key).await? {
                Some((key, _)) => Some(key.stands_for),
                None => return Ok(is_new),
            },
            (None, None) => None,
        };
        if let Some(job) = job {
            let found = self.data.jobs.find(user, &job).await?;
            return Ok(found.map_or(is_new, |job| !job.status.is_final()));
        }
        let source = name.strip_prefix(SCRAPE).unwrap_or_default();
        let Some(source) = self.data.sources.find(&source.into()).await? else { return Ok(false) };
        let is_done = source.last_scraped_at.is_some_and(|at| at >= since);
        let is_queued = source.is_queued(now) && source.queued_for.as_ref() == Some(user);
        Ok(!is_done && (is_queued || is_new))
    }
}
