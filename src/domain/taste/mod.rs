//! Analysis of the pictures that users like: what they show goes into the user's profile.
//!
//! Each analysis is a job: a document that says how far it is, and a message that starts a worker. Document and message
//! have no common transaction, so the document comes first and has a lease: when that runs out and nothing has happened,
//! the message was lost and the job is queued again, by the next vote or by [`Taste::requeue_stale`]. A job that is done
//! twice changes nothing the second time.

mod analysis;
mod dead;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

pub(super) use self::analysis::objects;
pub use self::dead::UNPARSED;
pub use self::work::{WorkError, Worked, read_message};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::config;
use crate::data::update::Edit;
use crate::data::{self, Data};
use crate::domain::dead_letters::DeadLetterOffice;
use crate::domain::pictures::Pictures;
use crate::llm::Model;
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::FeedItem;
use crate::model::lease::Lease;
use crate::model::taste_job::{TasteJob, TasteJobStatus, TasteMessage, TastePayload};
use crate::model::timestamp::Timestamp;
use crate::queue::{self, JobQueue};

/// Stale jobs that one run looks for, of each status.
const STALE_BATCH: usize = 200;
/// How often a job is queued again before it is given up.
const MOST_REQUEUES: u32 = 8;

/// Why a job was not queued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The documents failed.
    #[error("the job's document could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("the job's message could not be queued")]
    Queue(#[from] queue::Error),
    /// A message does not turn into JSON: a fault in this program.
    #[error("the job's message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

/// What came of asking for an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requested {
    /// A message is in the queue.
    Queued,
    /// The job is waiting, running, done a short while ago or given up.
    Duplicate,
    /// The item has no picture.
    NoPicture,
}

/// What the analysis is made of.
pub struct Parts {
    /// The documents.
    pub data: Data,
    /// The model that sees.
    pub model: Arc<dyn Model>,
    /// Where jobs wait.
    pub queue: Arc<dyn JobQueue>,
    /// Where messages go that cannot be done.
    pub dead_letters: DeadLetterOffice,
    /// Where the pictures are.
    pub pictures: Pictures,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Numbers.
    pub settings: config::Taste,
    /// Name of the queue.
    pub queue_name: String,
}

/// Analysis of the pictures that users like. Cheap to clone.
#[derive(Clone)]
pub struct Taste(Arc<Parts>);

impl Taste {
    /// Analysis with these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// Asks for the analysis of an item's picture, or of the one at `gallery_index` of its gallery.
    ///
    /// # Errors
    /// When document or queue fail. Asking again heals it.
    pub async fn request(
        &self,
        user: &UserId,
        item: &FeedItem,
        gallery_index: Option<u64>,
    ) -> Result<Requested, Error> {
        let Some(payload) = payload(user.clone(), item, gallery_index) else { return Ok(Requested::NoPicture) };
        let (now, settings) = (self.now(), &self.0.settings);
        let lease = now + settings.dedupe_ttl;
        let claimed = self
            .0
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

    /// Queues the jobs again whose message got lost or whose worker died: those whose lease has run out. Returns how many;
    /// there may be more.
    ///
    /// # Errors
    /// When documents or queue fail. What is left is found the next time.
    pub async fn requeue_stale(&self) -> Result<usize, Error> {
        let mut requeued = 0;
        for status in [TasteJobStatus::Queued, TasteJobStatus::InFlight] {
            for job in self.0.data.taste_jobs.stale(status, self.now(), STALE_BATCH).await? {
                requeued += usize::from(self.requeue(&job).await?);
            }
        }
        if requeued > 0 {
            info!(jobs = requeued, "taste jobs queued again");
        }
        Ok(requeued)
    }

    /// Queues a job again if its lease has still run out. A message that is merely late makes a second one harmless, but a
    /// long queue must not grow by that: each time the lease is twice as long.
    async fn requeue(&self, stale: &TasteJob) -> Result<bool, Error> {
        let now = self.now();
        let claimed = self
            .0
            .data
            .taste_jobs
            .edit(&stale.id, |found| match found {
                Some(job) if is_stale(&job, now) => {
                    let lease =
                        self.0.settings.dedupe_ttl * 2_u32.pow(job.requeues.saturating_add(1).min(MOST_REQUEUES));
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

    /// Puts a job's message into the queue. When that fails the job's lease ends, so that the next one who asks for it
    /// need not wait.
    async fn send(&self, job: &TasteJob) -> Result<(), Error> {
        let message = TasteMessage {
            payload: job.payload.clone(),
            created_at: Some(self.now()),
            retry_count: job.retry_count.saturating_add(job.requeues),
        };
        let text = serde_json::to_string(&message)?;
        let owner = job.payload.user_id.as_str();
        let sent = self.0.queue.send_for(&self.0.queue_name, owner, &text).await;
        if sent.is_err() {
            let ended = self
                .0
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
                warn!(job.id = %job.id, error = %Chain(&error), "lease of an unsent job not ended");
            }
        }
        Ok(sent?)
    }
}

/// What is to be analysed; `None` if there is no picture. An index that the gallery does not have means the item's own.
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
        // Tried as often as it may be; an administrator can replay it.
        TasteJobStatus::DeadLettered => true,
    }
}

fn is_stale(job: &TasteJob, now: Timestamp) -> bool {
    matches!(job.status, TasteJobStatus::Queued | TasteJobStatus::InFlight) && !job.is_leased(now)
}

/// The job, waiting in the queue until `lease`.
fn waiting(job: TasteJob, now: Timestamp, lease: Timestamp) -> TasteJob {
    TasteJob {
        status: TasteJobStatus::Queued,
        updated_at: Some(now),
        lease: Lease::waiting(lease),
        dead_lettered: None,
        ..job
    }
}
