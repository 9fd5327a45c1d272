//! Bans: users who may not contribute to the feed.

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::lenient;
use super::timestamp::Timestamp;

/// A ban. Each user has at most one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ban {
    /// The banned user.
    pub id: UserId,
    /// Reason, if one was given.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the user was banned.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub banned_at: Option<Timestamp>,
    /// The administrator who banned the user; `None` if the service did.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub banned_by: Option<UserId>,
}
