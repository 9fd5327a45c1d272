//! People who may not contribute.

use serde::{Deserialize, Serialize};

use super::ids::UserId;
use super::lenient;
use super::timestamp::Timestamp;

/// A ban. There is one per user at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ban {
    /// Who is banned.
    pub id: UserId,
    /// Why, if somebody said.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub banned_at: Option<Timestamp>,
    /// The administrator who did it; nobody when the service did.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub banned_by: Option<UserId>,
}
