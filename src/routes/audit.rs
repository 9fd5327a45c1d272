//! The audit log.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppQuery, Fields, Read};
use crate::model::audit::AuditEntry;
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const PAGE: usize = 50;
const LONGEST_ID: usize = 500;

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_actions))
}

struct ListActionsRequest {
    user: Option<UserId>,
    after: Option<String>,
}

impl Read for ListActionsRequest {
    fn read(fields: &mut Fields) -> Self {
        let user = fields.filled_text("userId", LONGEST_ID);
        Self { user: user.map(UserId::from), after: fields.continuation_token() }
    }
}

described!(ListActionsRequest);

/// What an administrator did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ActionResponse {
    id: String,
    /// The administrator.
    user_id: UserId,
    at: Timestamp,
    method: String,
    /// The route, such as `/api/admin/ban/{target_user_id}`.
    route: String,
    /// The target named in the path, such as a job id.
    target: Option<String>,
    /// Id of the request, as in the log.
    request_id: Option<String>,
    /// Status of the response; null while the action runs, or if it was interrupted.
    status: Option<u16>,
}

impl From<AuditEntry> for ActionResponse {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, user_id, at, method, route, target, request_id, status, other: _ } = entry;
        Self { id, user_id, at, method, route, target, request_id, status }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListActionsResponse {
    actions: Vec<ActionResponse>,
    next_continuation_token: Option<String>,
}

/// Lists actions of administrators, newest first. Entries are kept for a year.
#[utoipa::path(get, path = "/api/admin/audit", params(ListActionsRequest), responses(
    (status = 200, body = ListActionsResponse)
))]
async fn list_actions(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListActionsRequest>,
) -> Result<AppJson<ListActionsResponse>, ApiError> {
    let (entries, next_continuation_token) = app.data.audit.page(request.user.as_ref(), request.after, PAGE).await?;
    let actions = entries.into_iter().map(ActionResponse::from).collect();
    Ok(AppJson(ListActionsResponse { actions, next_continuation_token }))
}
