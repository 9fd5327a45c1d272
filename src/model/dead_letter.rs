//! Dead letters: queue messages that failed for good.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ids::{DeadLetterId, TasteJobId};
use super::lease::Lease;
use super::lenient;
use super::timestamp::Timestamp;

/// The longest lease of a replay that any version of the service takes.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// Status of a dead letter.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum DeadLetterStatus {
    /// Not handled yet.
    #[default]
    DeadLettered,
    /// Sent back to its queue.
    Replayed,
}

impl DeadLetterStatus {
    /// Returns the status as written in documents and answers.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Parses a status.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// A queue message that failed for good.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Job id and a hash of the message, so that storing a message twice stores it once.
    pub id: DeadLetterId,
    /// Job id, or `unparsed` for a message that names no job.
    pub job_id: TasteJobId,
    /// Current status.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub status: DeadLetterStatus,
    /// The message as received, or its text as `raw_payload` if it cannot be parsed.
    #[serde(default)]
    pub payload: Value,
    /// When the dead letter was stored.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// Name of the queue that the message came from.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_queue: String,
    /// Reason for the failure.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub reason: String,
    /// Number of deliveries.
    #[serde(default, deserialize_with = "lenient::optional_whole", skip_serializing_if = "Option::is_none")]
    pub dequeue_count: Option<u32>,
    /// When the message was sent back to its queue.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub replayed_at: Option<Timestamp>,
    /// Lease of the request that sends the message back.
    #[serde(flatten)]
    pub lease: Lease,
}
