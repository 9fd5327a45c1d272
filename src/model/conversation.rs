//! What the stylist remembers of past chats.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// What the user asked to be remembered, the oldest first.
    #[serde(default, deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
}

/// What a preference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PreferenceKind {
    /// Something to suggest.
    Like,
    /// Something never to suggest.
    Dislike,
    /// Something to know.
    Fact,
}

impl PreferenceKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "like" => Some(Self::Like),
            "dislike" => Some(Self::Dislike),
            "fact" => Some(Self::Fact),
            _ => None,
        }
    }
}

/// Something that the user asked to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preference {
    /// In a few words, such as "brown shoes".
    pub text: String,
    /// What it is about.
    pub kind: PreferenceKind,
    /// When it was said.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub since: Option<Timestamp>,
}
