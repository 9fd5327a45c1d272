//! What the stylist remembers of past chats.

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::lenient;
use super::timestamp::Timestamp;

/// The memory of one user's chats: a few sentences.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// The user: there is one memory each.
    pub id: UserId,
    /// The user.
    pub user_id: UserId,
    /// The sentences; empty when the user cleared them.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub summary: String,
    /// When they were written.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// How many messages the conversation had when it was last summarised.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub summarised_messages: usize,
    /// How many messages were said since, in whatever conversation. Summaries of the older service do not tell.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub messages_since: Option<u64>,
}
