//! Further routes for clients of Vercel's AI SDK: resuming and stopping the answer that is being written in a chat.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::chat_runs::ChatRuns;
use crate::domain::chat::runs;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read, chat_id, read_body};
use crate::http::layers::auth::CurrentUser;
use crate::http::ui_messages::{UiChunk, count_chunks, stream_chunks};
use crate::model::ids::{RunId, UserId};
use crate::state::AppState;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(stop_chat))
}

/// Routes for users that answer with streams.
pub fn user_streams() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(resume_chat))
}

struct ResumeChatRequest {
    start_index: i64,
}

impl Read for ResumeChatRequest {
    fn read(fields: &mut Fields) -> Self {
        const MOST: i64 = 1_000_000_000;
        Self { start_index: fields.integer_within("startIndex", 0, -MOST..=MOST) }
    }
}

described!(ResumeChatRequest);

/// Streams the answer that is being written in a chat, from its first chunk, as a UI message stream. The id may be that
/// of a run, which is streamed even if it is over.
#[utoipa::path(get, path = "/api/chat/{chat_id}/stream", params(
    ("chat_id" = String, Path, description = "The chat, or a run.", example = "page-1"),
    ResumeChatRequest
), responses(
    (status = 200, body = UiChunk, content_type = "text/event-stream", headers(
        ("x-vercel-ai-ui-message-stream" = String, description = "`v1`"),
        ("x-workflow-run-id" = String, description = "The run."),
        ("x-workflow-stream-tail-index" = u32, description = "Index of the last chunk so far.")
    )),
    (status = 204, description = "No answer is being written in the chat."),
    (status = 400, description = "The chat's id is a reserved name, blank or too long.")
))]
async fn resume_chat(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<String>,
    AppQuery(request): AppQuery<ResumeChatRequest>,
) -> Result<Response, ApiError> {
    let Some(run) = find_run(&app, &user, id, true).await? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let open = (app.limits.open_stream(&user)?, app.telemetry.metrics.open_stream());
    let (chat, events) = app.runs.snapshot(&user, &run).await?;
    let count = count_chunks(&run, chat.as_ref(), events);
    let skipped = match usize::try_from(request.start_index) {
        Ok(index) => index,
        // Counted from the end.
        Err(_) => count.saturating_sub(usize::try_from(request.start_index.unsigned_abs()).unwrap_or(count)),
    };
    let follower = app.runs.follow(&user, &run, 0).await?;
    Ok(stream_chunks(follower, chat.as_ref(), skipped, Some(count - 1), open))
}

/// Returns the active run of a chat, or the run with this id.
async fn find_run(app: &AppState, user: &UserId, id: String, may_be_over: bool) -> Result<Option<RunId>, ApiError> {
    let chat = chat_id::check(id)?;
    let run = RunId::from(chat.as_str());
    if ChatRuns::is_valid_id(&run) {
        match app.runs.find(user, &run).await {
            Ok(view) => return Ok(Some(run).filter(|_| may_be_over || !view.summary.status.is_final())),
            Err(runs::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(app.runs.running_in(user, &chat).await?)
}

/// What is read of the body; everything else is ignored.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
struct StopChatRequest {
    /// The stream to stop; any other one continues.
    active_stream_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct StopChatResponse {
    success: bool,
}

/// Stops the answer that is being written in a chat; the partial answer is kept. With a stream id, only if it is that
/// stream.
#[utoipa::path(post, path = "/api/chat/{chat_id}/stop", params(
    ("chat_id" = String, Path, description = "The chat, or a run.", example = "page-1")
), request_body(content = Option<StopChatRequest>, example = json!({})), responses(
    (status = 200, body = StopChatResponse),
    (status = 400, description = "The chat's id is a reserved name, blank or too long.")
))]
async fn stop_chat(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<AppJson<StopChatResponse>, ApiError> {
    // Whatever else a client sends is ignored: a page that closes can only send a text.
    let body: Value = serde_json::from_slice(&read_body(&headers, body).await?).unwrap_or_default();
    let meant = ["activeStreamId", "active_stream_id"].into_iter().find_map(|name| body[name].as_str());
    let meant = meant.filter(|id| !id.is_empty());
    if let Some(run) = find_run(&app, &user, id, false).await?
        && meant.is_none_or(|meant| meant == run.as_str())
    {
        match app.runs.stop(&user, &run).await {
            // It was deleted meanwhile.
            Ok(_) | Err(runs::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(AppJson(StopChatResponse { success: true }))
}
