//! Audit entries: actions of administrators.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::UserId;
use super::timestamp::Timestamp;

/// An action of an administrator. It is saved before the action begins and again after the response.
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
    /// The target named in the path, such as a job id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Id of the request, as in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Status of the response; absent while the action runs, or if it was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
