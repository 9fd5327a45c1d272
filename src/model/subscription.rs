//! Which user follows which source.

use serde::{Deserialize, Serialize};

use super::ids::{SourceId, UserId};
use super::lenient;
use super::timestamp::Timestamp;

/// A user's subscription to a source. It stays, inactive, when the user ends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// User and source.
    pub id: String,
    /// Who.
    pub user_id: UserId,
    /// What.
    pub source_id: SourceId,
    /// Since when.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub subscribed_at: Option<Timestamp>,
    /// Whether it goes on.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_active: bool,
}
