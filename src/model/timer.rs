//! State of timers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::timestamp::Timestamp;

/// The newest due time of a timer that a process handled, and its outcome. While the lease lives, a process is running
/// it; an expired lease means that the process died.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimerState {
    /// `timer-<FunctionName>`.
    pub id: String,
    /// Partition; always `system`.
    pub user_id: String,
    /// The due time.
    pub last_due: Timestamp,
    /// The process that runs it.
    pub owner: Option<String>,
    /// End of the lease; absent when no process runs the timer.
    pub lease_expires_at: Option<Timestamp>,
    /// Number of attempts.
    #[serde(default)]
    pub attempts: u32,
    /// When the last finished run succeeded, or, before the first run, when the timer was first seen.
    pub completed_at: Option<Timestamp>,
    /// When the last finished run failed for good.
    pub failed_at: Option<Timestamp>,
    /// Reason of the last failure.
    pub last_error: Option<String>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
