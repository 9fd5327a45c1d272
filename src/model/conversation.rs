//! The stylist's long-term memory.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::{RunId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// The memory of one user: a short summary of their chats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// User id; each user has one memory.
    pub id: UserId,
    /// User id.
    pub user_id: UserId,
    /// The summary; empty after the user cleared it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub summary: String,
    /// Time of the last change.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub updated_at: Option<Timestamp>,
    /// Number of messages in the conversation when it was last summarised.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub summarised_messages: usize,
    /// Messages since the last summary, in all conversations. Absent in summaries of the older service.
    #[serde(default, deserialize_with = "lenient::optional_whole", skip_serializing_if = "Option::is_none")]
    pub messages_since: Option<u64>,
    /// The newest chat runs that were counted or summarised, so that none is counted twice.
    #[serde(default, deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub counted_runs: Vec<RunId>,
    /// Preferences that the user asked the stylist to remember, oldest first.
    #[serde(default, deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
}

/// Most entries of [`Conversation::counted_runs`].
const MOST_COUNTED_RUNS: usize = 8;

impl Conversation {
    /// Records that a run is counted; returns `false` if it already is.
    pub fn note_counted(&mut self, run: Option<&RunId>) -> bool {
        let Some(run) = run else { return true };
        if self.counted_runs.contains(run) {
            return false;
        }
        self.counted_runs.push(run.clone());
        let excess = self.counted_runs.len().saturating_sub(MOST_COUNTED_RUNS);
        self.counted_runs.drain(..excess);
        true
    }
}

/// Kind of a preference.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
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
        name.trim().to_ascii_lowercase().parse().ok()
    }

    /// Returns the name in documents and on the wire.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// Something that the user asked to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preference {
    /// Text in a few words, such as "brown shoes".
    pub text: String,
    /// Whether the user likes it, dislikes it, or it is a fact.
    pub kind: PreferenceKind,
    /// When it was said.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub since: Option<Timestamp>,
}
