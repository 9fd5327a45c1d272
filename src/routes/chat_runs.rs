//! Chat runs: list, show, follow, stop, delete.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::json::MAX_SAFE_INTEGER;
use crate::domain::chat::runs::{RunView, ToolView};
use crate::http::chat_events::{Form, WireEvent, last_event_id, stream_events};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read, chat_id};
use crate::http::layers::auth::CurrentUser;
use crate::model::chat_run::{RunStatus, RunSummary, StopReason};
use crate::model::ids::{ChatId, RunId};
use crate::model::timestamp::Timestamp;
use crate::model::usage::RunUsage;
use crate::state::AppState;

const DEFAULT_PAGE: i64 = 20;
const LARGEST_PAGE: i64 = 100;
const LONGEST_STATUS: usize = 20;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_runs)).routes(routes!(find_run, delete_run)).routes(routes!(stop_run))
}

/// Routes for users that answer with streams.
pub fn user_streams() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(follow_run))
}

struct ListRunsRequest {
    chat_id: Option<String>,
    status: Option<String>,
    page_size: i64,
    after: Option<String>,
}

impl Read for ListRunsRequest {
    fn read(fields: &mut Fields) -> Self {
        let chat_id = fields.optional_chat_id("chatId");
        let status = fields.filled_text("status", LONGEST_STATUS);
        fields.rule("status", || json!({ "enum": ["", "running", "completed", "stopped", "failed"] }));
        Self {
            chat_id,
            status,
            page_size: fields.integer_within("pageSize", DEFAULT_PAGE, 1..=LARGEST_PAGE),
            after: fields.continuation_token(),
        }
    }
}

described!(ListRunsRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunSummaryResponse {
    id: RunId,
    chat_id: Option<ChatId>,
    status: RunStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// The first 120 characters of the user's message.
    message: String,
    /// Number of the last event that is stored.
    last_seq: u64,
}

impl From<RunSummary> for RunSummaryResponse {
    fn from(run: RunSummary) -> Self {
        let RunSummary { id, chat_id, status, created_at, updated_at, message, last_seq } = run;
        Self { id, chat_id, status, created_at, updated_at, message, last_seq }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListRunsResponse {
    runs: Vec<RunSummaryResponse>,
    next_continuation_token: Option<String>,
}

/// Lists the caller's runs, newest first.
#[utoipa::path(get, path = "/api/chat/runs", params(ListRunsRequest), responses(
    (status = 200, body = ListRunsResponse),
    (status = 400, description = "Unknown status, or the chat id is a reserved name.")
))]
async fn list_runs(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppQuery(request): AppQuery<ListRunsRequest>,
) -> Result<AppJson<ListRunsResponse>, ApiError> {
    const EXPECTED: &str = "status must be 'running', 'completed', 'stopped' or 'failed'";
    let status = request.status.as_deref().map(|name| RunStatus::parse(name).ok_or(ApiError::BadRequest(EXPECTED)));
    let (status, chat) = (status.transpose()?, request.chat_id.map(chat_id::check).transpose()?);
    let limit = usize::try_from(request.page_size).unwrap_or_default();
    let (runs, next_continuation_token) = app.runs.page(&user, chat.as_ref(), status, request.after, limit).await?;
    let runs = runs.into_iter().map(RunSummaryResponse::from).collect();
    Ok(AppJson(ListRunsResponse { runs, next_continuation_token }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ToolResponse {
    /// Name of the tool.
    name: String,
    /// The first characters of its result, when it has ended.
    summary: Option<String>,
    tool_latency_ms: Option<u64>,
}

impl From<ToolView> for ToolResponse {
    fn from(tool: ToolView) -> Self {
        let (summary, tool_latency_ms) = tool.result.unzip();
        Self { name: tool.name, summary, tool_latency_ms }
    }
}

/// Usage of a run so far.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunUsageResponse {
    /// The model that answers.
    model: Option<String>,
    /// Model calls, including those of tools and of the memory.
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunResponse {
    id: RunId,
    chat_id: Option<ChatId>,
    status: RunStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// The first 120 characters of the user's message.
    message: String,
    /// Number of the last event.
    last_seq: u64,
    /// The text so far.
    answer: String,
    /// The tools so far.
    tools: Vec<ToolResponse>,
    usage: RunUsageResponse,
    /// Error message for the user, if the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Why the run was stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<StopReason>,
}

impl From<RunView> for RunResponse {
    fn from(view: RunView) -> Self {
        let RunSummary { id, chat_id, status, created_at, updated_at, message, last_seq } = view.summary;
        let RunUsage { calls, input_tokens, output_tokens, .. } = view.usage;
        Self {
            id,
            chat_id,
            status,
            created_at,
            updated_at,
            message,
            last_seq,
            answer: view.answer,
            tools: view.tools.into_iter().map(ToolResponse::from).collect(),
            usage: RunUsageResponse { model: view.model, calls, input_tokens, output_tokens },
            error: view.error,
            stopped: view.stopped,
        }
    }
}

/// Shows a run with its answer so far.
#[utoipa::path(get, path = "/api/chat/runs/{run_id}", params(("run_id" = RunId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 200, body = RunResponse),
    (status = 404, description = "Run not found.")
))]
async fn find_run(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<RunId>,
) -> Result<AppJson<RunResponse>, ApiError> {
    Ok(AppJson(app.runs.find(&user, &id).await?.into()))
}

struct FollowRunRequest {
    after: u64,
}

impl Read for FollowRunRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { after: fields.integer_within("after", 0, 0..=MAX_SAFE_INTEGER).unsigned_abs() }
    }
}

described!(FollowRunRequest);

/// Streams a run's events, each with its number as `id`: first the stored ones, then new ones as they happen, until
/// `done`.
#[utoipa::path(get, path = "/api/chat/runs/{run_id}/events", params(
    ("run_id" = RunId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d"),
    FollowRunRequest,
    ("Last-Event-ID" = Option<String>, Header, description = "Like `after`; the larger of the two counts.")
), responses(
    (status = 200, body = WireEvent, content_type = "text/event-stream"),
    (status = 204, description = "The run is over, and has no later event."),
    (status = 404, description = "Run not found.")
))]
async fn follow_run(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<RunId>,
    headers: HeaderMap,
    AppQuery(request): AppQuery<FollowRunRequest>,
) -> Result<Response, ApiError> {
    let after = request.after.max(last_event_id(&headers));
    let open = (app.limits.open_stream(&user)?, app.telemetry.metrics.open_stream());
    let follower = app.runs.follow(&user, &id, after).await?;
    if follower.is_at_end() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(stream_events(follower, Form::Resumable, open))
}

#[derive(Serialize, ToSchema)]
struct StopRunResponse {
    /// The resulting status. A final run keeps its own.
    status: RunStatus,
}

/// Stops a run; the partial answer is kept. A final run is not changed.
#[utoipa::path(post, path = "/api/chat/runs/{run_id}/stop", params(("run_id" = RunId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 200, body = StopRunResponse),
    (status = 404, description = "Run not found.")
))]
async fn stop_run(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<RunId>,
) -> Result<AppJson<StopRunResponse>, ApiError> {
    Ok(AppJson(StopRunResponse { status: app.runs.stop(&user, &id).await? }))
}

/// Deletes a run and its events; an active run is stopped first.
#[utoipa::path(delete, path = "/api/chat/runs/{run_id}", params(("run_id" = RunId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 204, description = "Deleted."),
    (status = 404, description = "Run not found.")
))]
async fn delete_run(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<RunId>,
) -> Result<StatusCode, ApiError> {
    app.runs.delete(&user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
