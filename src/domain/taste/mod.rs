//! Taste analysis: adds styles and brands of liked pictures to the user's profile.
//!
//! Each analysis is a job: a document with its progress, and a message that starts a worker. The document is written
//! first and has a lease; when that expires without progress, the message was lost, and the job is queued again by the
//! next vote or by [`Taste::requeue_stale`]. Running a job twice is harmless.

mod analysis;
mod dead;
mod rate;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

pub use self::dead::UNPARSED;
pub use self::work::Worked;
use crate::base::chain::Chain;
use crate::data::update::Edit;
use crate::domain::base::Base;
use crate::domain::dead_letters::DeadLetterService;
pub use crate::domain::dead_letters::Error;
use crate::domain::pictures::Pictures;
use crate::domain::work::Failures;
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::FeedItem;
use crate::model::lease::Lease;
use crate::model::taste_job::{TasteJob, TasteJobStatus, TasteMessage, TastePayload};
use crate::model::timestamp::Timestamp;

/// Most stale jobs per run, of each status.
const STALE_BATCH: usize = 200;
/// Times that a lost message is sent again before the job fails for good.
const MOST_REQUEUES: u32 = 8;

/// Outcome of requesting an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// A message is in the queue.
    Queued,
    /// The job is waiting, running, recently finished, or failed for good.
    Duplicate,
    /// The item has no picture.
    NoPicture,
}

/// Analyses liked pictures. Cheap to clone.
#[derive(Clone)]
pub struct Taste {
    base: Arc<Base>,
    dead_letters: DeadLetterService,
    pictures: Pictures,
}

impl Taste {
    /// Creates the service.
    pub fn new(base: Arc<Base>, dead_letters: DeadLetterService, pictures: Pictures) -> Self {
        Self { base, dead_letters, pictures }
    }

    fn now(&self) -> Timestamp {
        self.base.clock.now().into()
    }

    /// Requests the analysis of an item's picture, or of the one at `gallery_index`.
    ///
    /// # Errors
    /// When the store or queue fails. Requesting again recovers.
    pub async fn request(
        &self,
        user: &UserId,
        item: &FeedItem,
        gallery_index: Option<u64>,
    ) -> Result<Requested, Error> {
        let Some(payload) = payload(user.clone(), item, gallery_index) else { return Ok(Requested::NoPicture) };
        let (now, settings) = (self.now(), &self.base.config.taste);
        let lease = now + settings.dedupe_ttl;
        let claimed = self
            .base
            .data
            .taste_jobs
            .edit(&payload.job_id, |found| match found {
                Some(job) if is_duplicate(&job, now, settings.completed_ttl) => Edit::Keep(None),
                Some(job) => {
                    let tastes = job.tastes.clone().filter(|_| job.payload.image_url == payload.image_url);
                    let job = TasteJob { payload: payload.clone(), tastes, requeues: 0, ..waiting(job, now, lease) };
                    Edit::Save(job.clone(), Some(job))
                }
                None => {
                    let job = TasteJob::queued(payload.clone(), now, lease);
                    Edit::Save(job.clone(), Some(job))
                }
            })
            .await?;
        let Some(job) = claimed else { return Ok(Requested::Duplicate) };
        self.send(&job).await?;
        Ok(Requested::Queued)
    }

    /// Queues jobs again whose lease has expired: their message was lost or their worker died. Returns how many; there
    /// may be more. One that fails does not stop the others.
    ///
    /// # Errors
    /// When the store or queue fails. The rest is found the next time.
    pub async fn requeue_stale(&self) -> Result<usize, Error> {
        let mut requeued = 0;
        let mut failures = Failures::none();
        for status in [TasteJobStatus::Queued, TasteJobStatus::InFlight] {
            for job in self.base.data.taste_jobs.stale(status, self.now(), STALE_BATCH).await? {
                match self.requeue(&job).await {
                    Ok(is_queued) => requeued += usize::from(is_queued),
                    Err(error) => failures.pass_over(&job.id, error)?,
                }
            }
        }
        if requeued > 0 {
            info!(jobs = requeued, "taste jobs queued again");
        }
        failures.into_result().map(|()| requeued)
    }

    /// Queues a job again if its lease is still expired. If the first message is only late, a second one is harmless.
    /// The lease doubles each time, so that a long queue does not keep growing.
    async fn requeue(&self, stale: &TasteJob) -> Result<bool, Error> {
        let now = self.now();
        let claimed = self
            .base
            .data
            .taste_jobs
            .edit(&stale.id, |found| match found {
                Some(job) if is_stale(&job, now) => {
                    let lease = self.base.config.taste.dedupe_ttl
                        * 2_u32.pow(job.requeues.saturating_add(1).min(MOST_REQUEUES));
                    let requeues = job.requeues.saturating_add(1);
                    let job = TasteJob { requeues, ..waiting(job, now, now + lease) };
                    Edit::Save(job.clone(), Some(job))
                }
                Some(_) | None => Edit::Keep(None),
            })
            .await?;
        let Some(job) = claimed else { return Ok(false) };
        if job.requeues > MOST_REQUEUES {
            let reason = format!("the job was queued again {MOST_REQUEUES} times and never finished");
            self.abandon(&job, reason).await?;
            return Ok(false);
        }
        self.send(&job).await?;
        Ok(true)
    }

    /// Sends a job's message. If that fails, the lease ends, so that the next request need not wait.
    async fn send(&self, job: &TasteJob) -> Result<(), Error> {
        let message = TasteMessage {
            payload: job.payload.clone(),
            created_at: Some(self.now()),
            retry_count: job.retry_count.saturating_add(job.requeues),
        };
        let text = serde_json::to_string(&message)?;
        let owner = job.payload.user_id.as_str();
        let sent = self.base.queue.send_for(&self.base.config.queues.taste.work, owner, &text).await;
        if sent.is_err() {
            let ended = self
                .base
                .data
                .taste_jobs
                .edit(&job.id, |found| match found {
                    Some(current)
                        if current.status == TasteJobStatus::Queued && current.updated_at == job.updated_at =>
                    {
                        Edit::Save(TasteJob { lease: Lease::waiting(self.now()), ..current }, ())
                    }
                    Some(_) | None => Edit::Keep(()),
                })
                .await;
            if let Err(error) = ended {
                warn!(job.id = %job.id, error = %Chain(&error), "lease of an unsent job not released");
            }
        }
        Ok(sent?)
    }
}

/// Builds the payload; `None` if there is no picture. An invalid index means the item's main picture.
fn payload(user: UserId, item: &FeedItem, gallery_index: Option<u64>) -> Option<TastePayload> {
    let in_gallery = gallery_index.and_then(|index| {
        let picture = item.gallery_images.get(usize::try_from(index).ok()?)?;
        Some((picture.clone(), Some(index)))
    });
    let (url, index) = in_gallery.unwrap_or_else(|| (item.image_url.clone(), None));
    let item: ScrapedItemId = item.id.clone();
    (!url.trim().is_empty()).then(|| TastePayload::new(user, item, url, index))
}

fn is_duplicate(job: &TasteJob, now: Timestamp, completed_ttl: Duration) -> bool {
    match job.status {
        TasteJobStatus::Completed => job.last_completed_at.is_some_and(|at| at + completed_ttl > now),
        TasteJobStatus::Queued | TasteJobStatus::InFlight => job.is_leased(now),
        TasteJobStatus::Failed => false,
        // All attempts are used up; an administrator can replay it.
        TasteJobStatus::DeadLettered => true,
    }
}

fn is_stale(job: &TasteJob, now: Timestamp) -> bool {
    matches!(job.status, TasteJobStatus::Queued | TasteJobStatus::InFlight) && !job.is_leased(now)
}

/// Returns the job, waiting in the queue until `lease`.
fn waiting(job: TasteJob, now: Timestamp, lease: Timestamp) -> TasteJob {
    TasteJob {
        status: TasteJobStatus::Queued,
        updated_at: Some(now),
        lease: Lease::waiting(lease),
        dead_lettered: None,
        ..job
    }
}
