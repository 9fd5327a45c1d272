//! Taste-analysis messages that failed for good: stored, listed for administrators, and replayed.

use super::{Error, Taste, is_stale, waiting};
use crate::data::update::Edit;
use crate::domain::dead_letters::{self, FailedMessage, Replay};
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::ids::TasteJobId;
use crate::model::lease::Lease;
use crate::model::taste_job::{TasteJob, TasteJobStatus, TasteMessage, TastePayload};
use crate::model::timestamp::Timestamp;
use crate::queue::read_message;

/// Job id of a message without one.
pub const UNPARSED: &str = "unparsed";

impl Taste {
    /// Stores a message as a dead letter and marks its job. Repeating it changes nothing. A message whose job is done
    /// is not stored.
    ///
    /// # Errors
    /// When the store fails; the message must then stay in its queue.
    pub async fn give_up(&self, mut failed: FailedMessage) -> Result<(), Error> {
        let TastePayload { job_id, .. } = match read_message::<TasteMessage>(&failed.text) {
            Ok(message) => message.payload,
            Err(fault) => {
                failed.reason.get_or_insert(fault);
                return self.dead_letters.keep_raw(failed, UNPARSED).await;
            }
        };
        let job = self.base.data.taste_jobs.find(&job_id).await?;
        if job.as_ref().is_some_and(|job| job.status == TasteJobStatus::Completed) {
            return Ok(());
        }
        let last_error = job.and_then(|job| job.last_error);
        failed.reason.get_or_insert_with(|| last_error.unwrap_or_else(|| "delivered too often".to_owned()));
        self.dead_letters.keep(failed, job_id.as_str()).await?;
        self.mark_dead(&job_id).await
    }

    /// Marks a job as failed for good.
    pub(super) async fn abandon(&self, job: &TasteJob, reason: String) -> Result<(), Error> {
        let failed = FailedMessage {
            text: serde_json::to_string(&job.payload)?,
            // Each time a job is abandoned, it creates another dead letter.
            message_id: Some(self.now().to_string()),
            source_queue: self.base.config.queues.taste.work.clone(),
            reason: Some(reason),
            dequeue_count: None,
        };
        self.dead_letters.keep(failed, job.id.as_str()).await?;
        let marked = self.base.data.taste_jobs.edit(&job.id, |found| match found {
            Some(current) if current.updated_at == job.updated_at => Edit::Save(dead(current, self.now()), ()),
            Some(_) | None => Edit::Keep(()),
        });
        Ok(marked.await?)
    }

    /// Marks the job of a dead letter, unless it was queued again or a worker holds it.
    async fn mark_dead(&self, job: &TasteJobId) -> Result<(), Error> {
        let now = self.now();
        let marked = self.base.data.taste_jobs.edit(job, |found| match found {
            Some(job) if job.status == TasteJobStatus::Failed || is_stale(&job, now) => Edit::Save(dead(job, now), ()),
            Some(_) | None => Edit::Keep(()),
        });
        Ok(marked.await?)
    }

    /// Sends a dead letter's message back to its queue, once.
    ///
    /// # Errors
    /// Like [`dead_letters::DeadLetterService::replay`].
    pub async fn replay(&self, letter: &DeadLetter) -> Result<Replay, Error> {
        if letter.status == DeadLetterStatus::Replayed {
            return Ok(Replay::AlreadyReplayed);
        }
        let now = self.now();
        // The job first: after a crash before the message is sent, its lease expires and it is queued again.
        if let Ok(message) = read_message::<TasteMessage>(&dead_letters::text_of(&letter.payload)?) {
            let lease = now + self.base.config.taste.dedupe_ttl;
            let reset = self.base.data.taste_jobs.edit(&message.payload.job_id, |found| match found {
                Some(job) if matches!(job.status, TasteJobStatus::DeadLettered | TasteJobStatus::Failed) => {
                    Edit::Save(TasteJob { requeues: 0, ..waiting(job, now, lease) }, ())
                }
                Some(_) => Edit::Keep(()),
                None => Edit::Save(TasteJob::queued(message.payload.clone(), now, lease), ()),
            });
            reset.await?;
        }
        self.dead_letters.replay(letter, &self.base.config.queues.taste.work).await
    }
}

/// Returns the job, failed for good.
fn dead(job: TasteJob, now: Timestamp) -> TasteJob {
    TasteJob {
        status: TasteJobStatus::DeadLettered,
        dead_lettered: Some(true),
        lease: Lease::default(),
        updated_at: Some(now),
        ..job
    }
}
