//! The audit log of administrators' actions.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Map;
use tracing::warn;
use uuid::Uuid;

use super::auth::CurrentUser;
use super::log::RequestId;
use crate::base::chain::Chain;
use crate::base::text::cut;
use crate::http::error::ApiError;
use crate::model::audit::AuditEntry;
use crate::state::AppState;

/// Longest target of an action, in characters.
const LONGEST_TARGET: usize = 200;

/// Layer of admin routes that change something: records user, action, time and response status. The entry is saved
/// first, so that every action has one. Read-only requests are not recorded.
///
/// # Errors
/// 503 when the entry cannot be saved; then the action is not performed.
pub async fn record_action(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method().is_safe() || !app.config.identity.admins.contains(&user) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let mut entry = AuditEntry {
        id: Uuid::new_v4().simple().to_string(),
        user_id: user,
        at: app.clock.now().into(),
        method: parts.method.to_string(),
        route: parts.extensions.get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned(),
        target: target(&mut parts).await,
        request_id: parts.extensions.get::<RequestId>().and_then(RequestId::text),
        status: None,
        other: Map::new(),
    };
    app.data.audit.save(&entry).await?;
    let response = next.run(Request::from_parts(parts, body)).await;
    entry.status = Some(response.status().as_u16());
    if let Err(error) = app.data.audit.save(&entry).await {
        warn!(audit.id = entry.id, error = %Chain(&error), "outcome of an audited action not recorded");
    }
    Ok(response)
}

/// Returns the target: the values of the path parameters.
async fn target(parts: &mut Parts) -> Option<String> {
    // A parameter that is not UTF-8 once decoded has no target; the handler refuses it.
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let values: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    let target = values.join("/");
    (!target.is_empty()).then(|| cut(&target, LONGEST_TARGET))
}
