//! Messages that no delivery could get done: stored with their text, shown to administrators, replayed.

use serde_json::{Value, json};
use tracing::warn;

use super::work::read_message;
use super::{Error, Taste, is_stale, waiting};
use crate::data::Data;
use crate::data::update::Edit;
use crate::hash::sha256_hex;
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::ids::{DeadLetterId, TasteJobId};
use crate::model::taste_job::{TasteJob, TasteJobStatus};
use crate::model::timestamp::Timestamp;
use crate::telemetry::Chain;

/// Stands for the job of a message that names none.
pub const UNPARSED: &str = "unparsed";
/// Hexadecimal digits of the message's hash in a dead letter's id.
const HASH_DIGITS: usize = 16;

/// A message that is given up.
#[derive(Debug, Clone)]
pub struct Burial {
    /// Its text.
    pub text: String,
    /// The queue's name for it, if it has one.
    pub message_id: Option<String>,
    /// The queue that it came from.
    pub source_queue: String,
    /// Why; without it, the job's last failure.
    pub reason: Option<String>,
    /// How often it was delivered.
    pub dequeue_count: u32,
}

/// What came of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The message is in its queue again.
    Queued,
    /// Somebody has done that before.
    AlreadyReplayed,
    /// There is no such dead letter.
    Missing,
}

impl Taste {
    /// Stores a message as a dead letter and marks its job. Storing the same message again changes nothing. A message
    /// whose job was done after all leaves nothing to look at and is not stored.
    ///
    /// # Errors
    /// When the documents fail; the message must then stay where it is.
    pub async fn bury(&self, burial: Burial) -> Result<(), Error> {
        let Burial { text, message_id, source_queue, reason, dequeue_count } = burial;
        let message = read_message(&text);
        let job = match &message {
            Ok(message) => self.0.data.taste_jobs.find(&message.payload.job_id).await?,
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
            id: letter_id(&job_id, message_id.as_deref(), &text),
            job_id,
            status: DeadLetterStatus::DeadLettered,
            payload,
            created_at: Some(self.now()),
            source_queue,
            reason,
            dequeue_count: Some(dequeue_count),
            replayed_at: None,
        };
        self.0.data.dead_letters.add(&letter).await?;
        warn!(dead_letter.id = %letter.id, job.id = %letter.job_id, reason = letter.reason, "message became a dead letter");
        if message.is_ok() {
            self.mark_dead(&letter.job_id).await?;
        }
        Ok(())
    }

    /// Gives a job up that is never finished.
    pub(super) async fn abandon(&self, job: &TasteJob, reason: String) -> Result<(), Error> {
        let text = serde_json::to_string(&job.payload)?;
        let letter = DeadLetter {
            id: letter_id(&job.id, None, &format!("{text}{}", self.now())),
            job_id: job.id.clone(),
            status: DeadLetterStatus::DeadLettered,
            payload: serde_json::to_value(&job.payload)?,
            created_at: Some(self.now()),
            source_queue: self.0.queue_name.clone(),
            reason,
            dequeue_count: None,
            replayed_at: None,
        };
        self.0.data.dead_letters.add(&letter).await?;
        let marked = self.0.data.taste_jobs.edit(&job.id, |found| match found {
            Some(current) if current.updated_at == job.updated_at => Edit::Save(dead(current, self.now()), ()),
            Some(_) | None => Edit::Keep(()),
        });
        Ok(marked.await?)
    }

    /// Marks a job whose message became a dead letter, unless it was queued again meanwhile or somebody works on it.
    async fn mark_dead(&self, job: &TasteJobId) -> Result<(), Error> {
        let now = self.now();
        let marked = self.0.data.taste_jobs.edit(job, |found| match found {
            Some(job) if job.status == TasteJobStatus::Failed || is_stale(&job, now) => Edit::Save(dead(job, now), ()),
            Some(_) | None => Edit::Keep(()),
        });
        Ok(marked.await?)
    }

    /// Puts a dead letter's message back into its queue, once.
    ///
    /// # Errors
    /// When documents or queue fail; the dead letter can then be replayed again.
    pub async fn replay(&self, id: &DeadLetterId) -> Result<Replay, Error> {
        let Data { dead_letters, taste_jobs, .. } = &self.0.data;
        let Some(letter) = dead_letters.find(id).await? else { return Ok(Replay::Missing) };
        if letter.status == DeadLetterStatus::Replayed {
            return Ok(Replay::AlreadyReplayed);
        }
        let text = text_of(&letter.payload)?;
        let now = self.now();
        // The job first: should we die before the message is sent, its lease runs out and it is queued again.
        if let Ok(message) = read_message(&text) {
            let lease = now + self.0.settings.dedupe_ttl;
            let reset = taste_jobs.edit(&message.payload.job_id, |found| match found {
                Some(job) if matches!(job.status, TasteJobStatus::DeadLettered | TasteJobStatus::Failed) => {
                    Edit::Save(TasteJob { requeues: 0, ..waiting(job, now, lease) }, ())
                }
                Some(_) => Edit::Keep(()),
                None => Edit::Save(TasteJob::queued(message.payload.clone(), now, lease), ()),
            });
            reset.await?;
        }
        let mark = |status: DeadLetterStatus| {
            move |letter: DeadLetter| {
                if letter.status == status {
                    return Edit::Keep(false);
                }
                let replayed_at = (status == DeadLetterStatus::Replayed).then_some(now);
                Edit::Save(DeadLetter { status, replayed_at, ..letter }, true)
            }
        };
        match dead_letters.edit(&letter, mark(DeadLetterStatus::Replayed)).await? {
            Some(true) => {}
            Some(false) => return Ok(Replay::AlreadyReplayed),
            None => return Ok(Replay::Missing),
        }
        if let Err(error) = self.0.queue.send(&self.0.queue_name, &text).await {
            if let Err(error) = dead_letters.edit(&letter, mark(DeadLetterStatus::DeadLettered)).await {
                warn!(dead_letter.id = %letter.id, error = %Chain(&error), "failed replay not taken back");
            }
            return Err(error.into());
        }
        Ok(Replay::Queued)
    }
}

/// The job, given up.
fn dead(job: TasteJob, now: Timestamp) -> TasteJob {
    TasteJob {
        status: TasteJobStatus::DeadLettered,
        dead_lettered: Some(true),
        lease_owner: None,
        lease_expires_at: None,
        updated_at: Some(now),
        ..job
    }
}

/// The message as it was received, as JSON.
fn payload(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str::<Value>(text) {
        Ok(payload @ Value::Object(_)) => Ok(payload),
        // It was in base64.
        Ok(_) | Err(_) => match read_message(text) {
            Ok(message) => serde_json::to_value(message),
            Err(_) => Ok(json!({ "raw_payload": text })),
        },
    }
}

/// The text to put back into the queue.
fn text_of(payload: &Value) -> Result<String, serde_json::Error> {
    match payload.get("raw_payload").and_then(Value::as_str) {
        Some(raw) => Ok(raw.to_owned()),
        None => serde_json::to_string(payload),
    }
}

fn letter_id(job: &TasteJobId, message_id: Option<&str>, text: &str) -> DeadLetterId {
    let mut hash = sha256_hex(format!("{}\n{text}", message_id.unwrap_or_default()));
    hash.truncate(HASH_DIGITS);
    format!("{job}-{hash}").into()
}
