//! What users do with garments on the style board, and whether it led to a wear.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{ItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A garment that was put on the style board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StylingActivity {
    /// Activity id, unique per user: the client's, if it named one.
    pub id: String,
    /// Owner.
    pub user_id: UserId,
    /// The garment.
    pub item_id: ItemId,
    /// The client's id of the event.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub client_event_id: Option<String>,
    /// `AddedToStyleBoard`, or another kind that a client names.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub activity_type: Option<String>,
    /// Where it was done, such as `dashboard_toggle`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was done.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Whether the user was asked about a wear, and the outcome.
    pub status: ActivityStatus,
    /// Question to the user, instead of the default one.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub suggestion_message: Option<String>,
    /// When the question expires.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The wear event that the activity led to.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub linked_wear_event_id: Option<String>,
    /// When the activity last changed.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub last_updated_at: Option<Timestamp>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Status of a [`StylingActivity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[strum(ascii_case_insensitive, const_into_str)]
pub enum ActivityStatus {
    /// The user may be asked whether the garment was worn.
    Pending,
    /// The garment was worn.
    Accepted,
    /// The user does not want to be asked.
    Dismissed,
    /// Too late to ask.
    Expired,
}

impl ActivityStatus {
    /// Returns the name in documents.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Finds a status by its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}
