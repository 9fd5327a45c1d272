//! Messages that no delivery could get done.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ids::{DeadLetterId, TasteJobId};
use super::lenient;
use super::timestamp::Timestamp;

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterStatus {
    /// It waits for somebody to look.
    #[default]
    DeadLettered,
    /// It went back to its queue.
    Replayed,
}

impl DeadLetterStatus {
    /// As documents and callers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeadLettered => "dead_lettered",
            Self::Replayed => "replayed",
        }
    }

    /// The status of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::DeadLettered, Self::Replayed].into_iter().find(|status| status.name() == name)
    }
}

/// A message as it was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The job's id and a hash of the message, so that storing one message twice stores it once.
    pub id: DeadLetterId,
    /// The job, or `unparsed` for a message that names none.
    pub job_id: TasteJobId,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub status: DeadLetterStatus,
    /// The message as received, or its text as `raw_payload` if it cannot be read.
    #[serde(default)]
    pub payload: Value,
    /// When it was given up.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// The queue that it came from.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_queue: String,
    /// Why it was given up.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub reason: String,
    /// How often it was delivered.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub dequeue_count: Option<u32>,
    /// When it went back to its queue.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub replayed_at: Option<Timestamp>,
}
