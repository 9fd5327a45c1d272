//! Limits how much work a user may have waiting: jobs and subscription scrapes together, so that one user cannot occupy
//! the workers. A place is taken before the work is queued and never released: when no place is free, places of
//! finished work are reused. So a crash in between costs a place for at most a minute.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use crate::base::clock::Clock;
use crate::data::{self, Data};
use crate::model::ids::{JobId, SourceId, UserId};
use crate::model::timestamp::Timestamp;

/// How long a place counts as taken before its work can be found in the store.
const GRACE: Duration = Duration::from_secs(60);
/// Attempts against concurrent requests of the same user; each lost race means that one of few places was taken.
const TRIES: usize = 24;
/// Prefix of a place for a scrape, followed by the source id.
const SCRAPE: &str = "scrape:";
/// Prefix of a place for a job, followed by the job id.
const JOB: &str = "job:";

/// Prefix of a place for a job with an idempotency key, followed by the key.
const KEYED_JOB: &str = "key:";

/// Backlogs of all users. Cheap to clone.
#[derive(Clone)]
pub struct Backlog {
    data: Data,
    clock: Arc<dyn Clock>,
    /// Places per user; zero for no limit.
    places: usize,
}

/// Work that waits or is in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A job.
    Job(JobId),
    /// A job that was requested with this idempotency key.
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
    /// `Retry-After` for a user whose places are taken.
    pub const RETRY_AFTER: Duration = Duration::from_secs(10);

    /// Creates backlogs with this many places per user; zero for no limit.
    pub fn new(data: Data, clock: Arc<dyn Clock>, places: usize) -> Self {
        Self { data, clock, places }
    }

    /// Takes a place for work that is about to be queued, unless it has one; `false` if none is free.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admit(&self, user: &UserId, work: &Work) -> data::Result<bool> {
        if self.places == 0 {
            return Ok(true);
        }
        for _ in 0..TRIES {
            let now = Timestamp::from(self.clock.now());
            let (mut backlog, version) = self.data.backlogs.find(user).await?;
            let name = work.name();
            // A place of earlier work of this name, which is done, does not count: then a new one is taken.
            if let Some(since) = backlog.waiting.remove(&name)
                && self.still_waits(user, &name, since, now).await?
            {
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
            backlog.waiting.insert(name, now);
            if self.data.backlogs.save(&backlog, version.as_ref()).await? {
                return Ok(true);
            }
        }
        Err(data::Error::Contended)
    }

    /// Whether the work of a place is unfinished. Work that cannot be found counts as unfinished for a while, because
    /// it may be about to be stored.
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
