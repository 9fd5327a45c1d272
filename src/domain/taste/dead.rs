//! Taste-analysis messages that failed for good: stored, listed for administrators, and replayed.

use serde_json::{Value, json};
use tracing::warn;

use super::{Error, Taste, is_stale, waiting};
use crate::data::update::Edit;
use crate::domain::dead_letters::{self, FailedMessage, Replay, letter_id};
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::ids::TasteJobId;
use crate::model::lease::Lease;
use crate::model::taste_job::{TasteJob, TasteJobStatus, TasteMessage};
use crate::model::timestamp::Timestamp;
use crate::queue::read_message;

/// Job id of a message that names none.
pub const UNPARSED: &str = "unparsed";
impl Taste {
    /// Stores a message as a dead letter and marks its job. Repeating it changes nothing. A message whose job is done
    /// is not stored.
    ///
    /// # Errors
    /// When the store fails; the message must then stay in its queue.
    pub async fn give_up(&self, failed: FailedMessage) -> Result<(), Error> {
        let FailedMessage { text, message_id, source_queue, reason, dequeue_count } = failed;
        let message = read_message::<TasteMessage>(&text);
        let job = match &message {
            Ok(message) => self.base.data.taste_jobs.find(&message.payload.job_id).await?,
            Err(_) => None,
        };
        if job.as_ref().is_some_and(|job| job.status == TasteJobStatus::Completed) {
            return Ok(());
        }
        let last_error = job.and_then(|job| job.last_error);
        let reason = match (&message, reason) {
            (_, Some(reason)) => reason,
            (Err(fault), None) => fault.clone(),
            (Ok(_), None) => last_error.unwrap_or_else(|| "delivered too often".to_owned()),
        };
        let (job_id, payload) = match &message {
            Ok(message) => (message.payload.job_id.clone(), payload(&text)?),
            Err(_) => (UNPARSED.into(), json!({ "raw_payload": text })),
        };
        let letter = DeadLetter {
            id: letter_id(job_id.as_str(), message_id.as_deref(), &text),
            job_id,
            status: DeadLetterStatus::DeadLettered,
            payload,
            created_at: Some(self.now()),
            source_queue,
            reason,
            dequeue_count: Some(dequeue_count),
            replayed_at: None,
        };
        self.base.data.dead_letters.add(&letter).await?;
        warn!(dead_letter.id = %letter.id, job.id = %letter.job_id, reason = letter.reason, "message became a dead letter");
        if message.is_ok() {
            self.mark_dead(&letter.job_id).await?;
        }
        Ok(())
    }

    /// Marks a job as failed for good.
    pub(super) async fn abandon(&self, job: &TasteJob, reason: String) -> Result<(), Error> {
        let text = serde_json::to_string(&job.payload)?;
        let letter = DeadLetter {
            id: letter_id(job.id.as_str(), None, &format!("{text}{}", self.now())),
            job_id: job.id.clone(),
            status: DeadLetterStatus::DeadLettered,
            payload: serde_json::to_value(&job.payload)?,
            created_at: Some(self.now()),
            source_queue: self.base.config.queues.taste.work.clone(),
            reason,
            dequeue_count: None,
            replayed_at: None,
        };
        self.base.data.dead_letters.add(&letter).await?;
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
    /// When the store or queue fails; it can then be replayed again.
    pub async fn replay(&self, letter: &DeadLetter) -> Result<Replay, dead_letters::Error> {
        if letter.status == DeadLetterStatus::Replayed {
            return Ok(Replay::AlreadyReplayed);
        }
        let now = self.now();
        // The job first: should we die before the message is sent, its lease runs out and it is queued again.
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

/// Returns the message as JSON.
fn payload(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str::<Value>(text) {
        Ok(payload @ Value::Object(_)) => Ok(payload),
        // It was in base64.
        Ok(_) | Err(_) => match read_message::<TasteMessage>(text) {
            Ok(message) => serde_json::to_value(message),
            Err(_) => Ok(json!({ "raw_payload": text })),
        },
    }
}
