//! Audit entries: what administrators did.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::UserId;
use super::timestamp::Timestamp;

/// An action of an administrator. It is saved before the action begins and again when it was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// A random id.
    pub id: String,
    /// The administrator.
    pub user_id: UserId,
    /// When the action began.
    pub at: Timestamp,
    /// Method of the request.
    pub method: String,
    /// Route of the request, such as `/api/admin/ban/{target_user_id}`.
    pub route: String,
    /// What the path names, such as the id of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Id of the request, which the log has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Status of the answer; absent while the action runs, and if it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
