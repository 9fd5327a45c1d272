//! How far a timer has come.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::timestamp::Timestamp;

/// The newest due time of a timer that any process has seen to, and what became of it. Somebody runs it for as long as
/// the lease lives; with a lease that ran out, whoever ran it died.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimerState {
    /// `timer-<FunctionName>`.
    pub id: String,
    /// The partition, which is nobody's: `system`.
    pub user_id: String,
    /// The due time.
    pub last_due: Timestamp,
    /// The process that runs it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Until when nobody else may run it. Absent when nobody does.
    #[serde(default)]
    pub lease_expires_at: Option<Timestamp>,
    /// How many processes began to run it.
    #[serde(default)]
    pub attempts: u32,
    /// When its work was done.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// When it was given up.
    #[serde(default)]
    pub failed_at: Option<Timestamp>,
    /// Why its last try failed.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
