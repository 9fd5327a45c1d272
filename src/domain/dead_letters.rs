//! Dead letters: messages that failed for good are stored with text and reason, and can be replayed.
//!
//! All queues share this; taste analysis also marks its job ([`super::taste`]).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::warn;

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::data::dead_letters::NotClaimed;
use crate::data::lease::{self, Claimed};
use crate::data::{self, Data};
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::ids::DeadLetterId;
use crate::model::lease::Lease;
use crate::queue::{self, JobQueue};
use crate::telemetry::metrics::Metrics;

/// Hex digits of the message's hash in a dead letter's id.
const HASH_DIGITS: usize = 16;
/// Length of a replay's lease: longer than a message takes to be sent.
const REPLAY_LEASE: Duration = Duration::from_secs(30);

/// A message to store as a dead letter.
#[derive(Debug, Clone)]
pub struct FailedMessage {
    /// Text of the message.
    pub text: String,
    /// Id in the queue, if it has one.
    pub message_id: Option<String>,
    /// Name of the queue that the message came from.
    pub source_queue: String,
    /// Reason, if known.
    pub reason: Option<String>,
    /// Number of deliveries; `None` for a message that was not delivered.
    pub dequeue_count: Option<u32>,
}

/// Outcome of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The message was sent back to its queue.
    Queued,
    /// The dead letter was already replayed, or is being replayed.
    AlreadyReplayed,
    /// The dead letter does not exist.
    Missing,
}

/// Why a dead letter was not stored or not replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("a document could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("the message could not be queued")]
    Queue(#[from] queue::Error),
    /// A message cannot be serialized; a bug.
    #[error("the message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

/// Stores and replays the dead letters of all queues. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterService {
    data: Data,
    queue: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl DeadLetterService {
    /// Creates a service for messages of `queue`.
    pub fn new(data: Data, queue: Arc<dyn JobQueue>, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { data, queue, clock, metrics }
    }

    /// Stores a message in `group`, the partition of such dead letters: a job id or a queue name. Storing the same
    /// message again changes nothing.
    ///
    /// # Errors
    /// When the store fails; the message must then stay in its queue.
    pub async fn keep(&self, failed: FailedMessage, group: &str) -> Result<(), Error> {
        let object = queue::read_object(&failed.text);
        let payload = object.unwrap_or_else(|| raw(&failed.text));
        self.store(failed, group, payload).await
    }

    /// Stores a message that cannot be parsed in `group`, as text.
    ///
    /// # Errors
    /// When the store fails; the message must then stay in its queue.
    pub async fn keep_raw(&self, failed: FailedMessage, group: &str) -> Result<(), Error> {
        let payload = raw(&failed.text);
        self.store(failed, group, payload).await
    }

    async fn store(&self, failed: FailedMessage, group: &str, payload: Value) -> Result<(), Error> {
        let FailedMessage { text, message_id, source_queue, reason, dequeue_count } = failed;
        let letter = DeadLetter {
            id: letter_id(group, message_id.as_deref(), &text),
            job_id: group.into(),
            status: DeadLetterStatus::DeadLettered,
            payload,
            created_at: Some(self.clock.now().into()),
            source_queue,
            reason: reason.unwrap_or_else(|| "the process died during every delivery".to_owned()),
            dequeue_count,
            replayed_at: None,
            lease: Lease::default(),
        };
        self.data.dead_letters.add(&letter).await?;
        self.metrics.outcome("message", "dead_letter", 1);
        warn!(
            dead_letter.id = %letter.id,
            queue = letter.source_queue,
            reason = letter.reason,
            "message became a dead letter"
        );
        Ok(())
    }

    /// Sends a dead letter's message back to `queue`, once. The letter counts as replayed only after the message is in
    /// the queue, so that a crash or a cancelled request in between does not lose the message; a lease keeps other
    /// requests from sending it meanwhile.
    ///
    /// # Errors
    /// When the store or queue fails. The letter can then be replayed again, at the latest when the lease has ended. If
    /// only the last write failed, the message is queued twice, which workers allow.
    pub async fn replay(&self, letter: &DeadLetter, queue: &str) -> Result<Replay, Error> {
        let text = text_of(&letter.payload)?;
        let leases = self.data.leases(&self.clock, REPLAY_LEASE);
        let held = match self.data.dead_letters.claim(&leases, letter).await? {
            Claimed::Ours(held) => held,
            Claimed::Left(NotClaimed::Replayed) => return Ok(Replay::AlreadyReplayed),
            Claimed::Left(NotClaimed::Gone) => return Ok(Replay::Missing),
        };
        if let Err(error) = self.queue.send(queue, &text).await {
            if let Err(error) = held.release().await {
                warn!(dead_letter.id = %letter.id, error = %Chain(&error), "lease of a failed replay not released");
            }
            return Err(error.into());
        }
        let now = self.clock.now().into();
        let noted = held.finish(|letter| {
            letter.status = DeadLetterStatus::Replayed;
            letter.replayed_at = Some(now);
        });
        match noted.await {
            // If the lease is lost, somebody deleted the letter or is replaying it again.
            Ok(_) | Err(lease::Error::Lost) => Ok(Replay::Queued),
            Err(lease::Error::Data(error)) => Err(error.into()),
        }
    }
}

/// Returns a payload with the message as text.
fn raw(text: &str) -> Value {
    json!({ "raw_payload": text })
}

/// Returns the text of a dead letter's message.
///
/// # Errors
/// When the payload cannot be serialized; a bug.
pub fn text_of(payload: &Value) -> Result<String, serde_json::Error> {
    match payload.get("raw_payload").and_then(Value::as_str) {
        Some(raw) => Ok(raw.to_owned()),
        None => serde_json::to_string(payload),
    }
}

/// Builds the id of a message's dead letter; the same message always gets the same id.
fn letter_id(group: &str, message_id: Option<&str>, text: &str) -> DeadLetterId {
    let mut hash = sha256_hex(format!("{}\n{text}", message_id.unwrap_or_default()));
    hash.truncate(HASH_DIGITS);
    format!("{group}-{hash}").into()
}
