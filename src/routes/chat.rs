//! The stylist, over server-sent events, and its memory.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::schema::verbatim;
use crate::domain::chat::runs::NewRun;
use crate::domain::chat::{
    self, LONGEST_MESSAGE, LONGEST_PREFERENCE, LONGEST_SUMMARY, LONGEST_TRACE_ID, MOST_PREFERENCES,
    MOST_RECENT_MESSAGES, MOST_SELECTED_ITEMS, RecentMessage, Role, Turn,
};
use crate::http::chat_events::{Form, WireEvent, stream_events};
use crate::http::error::ApiError;
use crate::http::extract::description::{body_schema, described};
use crate::http::extract::{AppJson, CallerOffset, Fields, Read, chat_id, is_json, read_body, read_json, trace_name};
use crate::http::layers::auth::CurrentUser;
use crate::http::ui_messages::{UiRequest, long, stream_chunks};
use crate::model::chat_run::OnDisconnect;
use crate::model::conversation::{Preference, PreferenceKind};
use crate::model::ids::ItemId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Longest choice that is examined, in characters.
const LONGEST_CHOICE: usize = 20;

/// Largest body of a turn, in bytes; it holds the conversation so far.
pub const LARGEST_TURN: usize = 1024 * 1024;
/// Largest body of a turn by `useChat()`, in bytes; it also holds the results of tools.
pub const LARGEST_UI_TURN: usize = 8 * 1024 * 1024;

/// The chat route for users, with bodies of up to [`LARGEST_UI_TURN`].
pub fn user_turns() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(take_turn))
}

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_memory, set_memory))
}

struct ChatRequest {
    message: String,
    recent: Vec<RecentMessage>,
    selected: Vec<ItemId>,
    trace_id: Option<String>,
    chat_id: Option<String>,
    on_disconnect: Option<String>,
}

impl Read for ChatRequest {
    fn read(fields: &mut Fields) -> Self {
        let request = Self {
            message: fields.text("message", 1, LONGEST_MESSAGE),
            recent: fields.objects("recentMessages", MOST_RECENT_MESSAGES),
            selected: fields
                .optional_texts("selectedItemIds", MOST_SELECTED_ITEMS, 255)
                .unwrap_or_default()
                .into_iter()
                .map(ItemId::from)
                .collect(),
            trace_id: fields.optional_text("traceId", LONGEST_TRACE_ID),
            chat_id: fields.optional_chat_id("chatId"),
            on_disconnect: fields.on_disconnect(),
        };
        fields.describe(&[
            ("message", "What the user says."),
            ("recentMessages", "The conversation so far, oldest message first; the newest 50 are read."),
            ("selectedItemIds", "Garments that the message is about."),
            ("traceId", "Repeated in every event."),
            ("chatId", "Groups answers; only one of a chat is written at a time."),
            (
                "onDisconnect",
                "`continue`: the answer goes on if the connection breaks; `cancel` (default): it is stopped.",
            ),
        ]);
        request
    }
}

/// A turn in either client format.
enum TakeTurnRequest {
    Plain(ChatRequest),
    Ui(UiRequest),
}

impl Read for TakeTurnRequest {
    fn read(fields: &mut Fields) -> Self {
        if fields.has("messages") { Self::Ui(UiRequest::read(fields)) } else { Self::Plain(ChatRequest::read(fields)) }
    }
}

/// A turn's body. One of more than [`LARGEST_TURN`] can only be of `useChat()`, and only what is read of it is parsed.
struct TurnBody(TakeTurnRequest);

impl<S: Send + Sync> FromRequest<S> for TurnBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        if bytes.len() <= LARGEST_TURN {
            return read_json(&bytes, parts.extensions.get()).await.map(Self);
        }
        let reduced = tokio::task::spawn_blocking(move || long::reduce(&bytes)).await.map_err(ApiError::internal)?;
        Fields::read_object("body", reduced.ok_or(ApiError::TooLarge)?).map(Self)
    }
}

impl PartialSchema for TakeTurnRequest {
    fn schema() -> RefOr<Schema> {
        let form = |name: &str| json!({ "$ref": Ref::from_schema_name(name).ref_location });
        verbatim(json!({ "anyOf": [form(PLAIN_FORM), form(UI_FORM)] }))
    }
}

impl ToSchema for TakeTurnRequest {
    fn name() -> std::borrow::Cow<'static, str> {
        "ChatRequest".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((PLAIN_FORM.to_owned(), verbatim(body_schema::<ChatRequest>())));
        schemas.push((UI_FORM.to_owned(), verbatim(body_schema::<UiRequest>())));
    }
}

/// Schema names of the two formats of a turn.
const PLAIN_FORM: &str = "PlainChatRequest";
const UI_FORM: &str = "UiChatRequest";

impl Fields {
    /// What becomes of the answer when the client leaves, which is still to be checked.
    fn on_disconnect(&mut self) -> Option<String> {
        let choice = self.optional_text("onDisconnect", LONGEST_CHOICE);
        self.rule("onDisconnect", || json!({ "enum": ["", "cancel", "continue"] }));
        choice.filter(|choice| !choice.is_empty())
    }
}

impl Read for RecentMessage {
    fn read(fields: &mut Fields) -> Self {
        let role = fields.text("role", 0, 64);
        Self {
            role: Role::named(&role),
            // Any length: longer texts are truncated.
            content: fields.text("content", 0, usize::MAX),
        }
    }
}

/// Asks the stylist; the answer is streamed.
#[utoipa::path(post, path = "/api/chat", params(("X-Trace-Id" = Option<String>, Header, description = "Trace id, repeated in every event; the body may have one instead."), CallerOffset), request_body(content = TakeTurnRequest, example = json!({"message": "What should I wear to a casual dinner?"})), responses(
    (status = 200, body = WireEvent, content_type = "text/event-stream", headers(
        ("x-run-id" = String, description = "The run: what to resume or stop.")
    )),
    (status = 400, description = "The chat id is a reserved name, or `onDisconnect` or `X-UTC-Offset` is invalid."),
    (status = 409, description = "An answer is still being written in this chat.")
))]
async fn take_turn(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    CallerOffset(offset): CallerOffset,
    headers: HeaderMap,
    TurnBody(body): TurnBody,
) -> Result<Response, ApiError> {
    let (form, body) = match body {
        TakeTurnRequest::Plain(body) => (Some(Form::Plain), body),
        TakeTurnRequest::Ui(body) => (None, body.into()),
    };
    let trace_id = body.trace_id.filter(|id| !id.is_empty()).or_else(|| trace_id_header(&headers));
    let chat_id = body.chat_id.map(chat_id::check).transpose()?;
    let on_disconnect = match body.on_disconnect.as_deref() {
        None | Some("cancel") => OnDisconnect::Cancel,
        Some("continue") => OnDisconnect::Continue,
        Some(_) => return Err(ApiError::BadRequest("onDisconnect must be 'cancel' or 'continue'.")),
    };
    let trace_name = trace_id.as_deref().or_else(|| trace_name(&headers));
    let observation = app.telemetry.observer.begin(&chat::subject(&user, trace_name, &body.message));
    let stream = Arc::new(app.limits.open_stream(&user)?);
    let permit = (on_disconnect == OnDisconnect::Continue).then(|| stream.clone());
    let open = (stream, app.telemetry.metrics.open_stream());
    app.budget.check(&user).await??;
    let ChatRequest { message, recent, selected, .. } = body;
    let turn = Turn { user, message, recent, selected, client_notes: String::new(), offset };
    let new = NewRun { turn, chat_id: chat_id.clone(), on_disconnect, trace_id, observation, permit };
    // The last place that can still answer with an ordinary error.
    let events = app.runs.begin(new).await?;
    Ok(match form {
        Some(form) => stream_events(events, form, open),
        None => stream_chunks(events.resumable(), chat_id.as_ref(), 0, None, open),
    })
}

impl From<UiRequest> for ChatRequest {
    fn from(request: UiRequest) -> Self {
        let UiRequest { chat_id, message, recent, selected } = request;
        // The client returns for an answer that it lost.
        let on_disconnect = Some("continue".to_owned());
        Self { message, recent, selected, trace_id: None, chat_id: Some(chat_id), on_disconnect }
    }
}

/// Returns the caller's trace id, if it is valid.
fn trace_id_header(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_TRACE_ID)?.to_str().ok()?.trim();
    (!id.is_empty() && id.len() <= LONGEST_TRACE_ID).then(|| id.to_owned())
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemoryResponse {
    summary: String,
    updated_at: Option<Timestamp>,
    /// Stated preferences, oldest first.
    preferences: Vec<Preference>,
}

/// Returns the stylist's memory.
#[utoipa::path(get, path = "/api/chat/memory", responses((status = 200, body = MemoryResponse)))]
async fn show_memory(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<MemoryResponse>, ApiError> {
    let memory = app.data.conversations.find(&user).await?;
    Ok(AppJson(match memory {
        Some(memory) => {
            MemoryResponse { summary: memory.summary, updated_at: memory.updated_at, preferences: memory.preferences }
        }
        None => MemoryResponse { summary: String::new(), updated_at: None, preferences: Vec::new() },
    }))
}

struct SetMemoryRequest {
    summary: String,
    preferences: Option<Vec<SetPreference>>,
}

impl Read for SetMemoryRequest {
    fn read(fields: &mut Fields) -> Self {
        let summary = fields.text("summary", 0, usize::MAX);
        fields.rule("summary", || json!({ "maxLength": LONGEST_SUMMARY }));
        Self { summary, preferences: fields.optional_objects("preferences", MOST_PREFERENCES) }
    }
}

struct SetPreference {
    text: String,
    kind: String,
}

impl Read for SetPreference {
    fn read(fields: &mut Fields) -> Self {
        let preference =
            Self { text: fields.text("text", 1, LONGEST_PREFERENCE), kind: fields.text("kind", 0, usize::MAX) };
        fields.rule("kind", || json!({ "enum": ["like", "dislike", "fact"] }));
        preference
    }
}

described!(SetMemoryRequest);

#[derive(Serialize, ToSchema)]
struct StatusResponse {
    status: &'static str,
}

/// Replaces the stylist's memory; an empty text clears the summary, an empty list the preferences. Without preferences
/// in the body, they are kept.
#[utoipa::path(put, path = "/api/chat/memory", request_body(content = SetMemoryRequest, example = json!({"summary": "Prefers navy."})), responses(
    (status = 200, body = StatusResponse),
    (status = 400, description = "The summary is too long, or the kind of a preference is unknown.")
))]
async fn set_memory(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppJson(body): AppJson<SetMemoryRequest>,
) -> Result<AppJson<StatusResponse>, ApiError> {
    if body.summary.chars().count() > LONGEST_SUMMARY {
        return Err(ApiError::BadRequest("Summary must be 2000 characters or fewer."));
    }
    let preferences =
        body.preferences.map(|preferences| preferences.into_iter().map(preference).collect::<Result<Vec<_>, _>>());
    let preferences = preferences.transpose()?;
    // An acknowledged write is stored; any failure is reported to the caller.
    let (conversations, now) = (&app.data.conversations, app.clock.now().into());
    let saved = conversations.set_memory(&user, body.summary.trim(), preferences.as_deref(), now).await;
    saved.map_err(ApiError::unavailable)?;
    Ok(AppJson(StatusResponse { status: "updated" }))
}

fn preference(sent: SetPreference) -> Result<Preference, ApiError> {
    let kind =
        PreferenceKind::named(&sent.kind).ok_or(ApiError::BadRequest("kind must be 'like', 'dislike' or 'fact'."))?;
    let text = sent.text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Err(ApiError::BadRequest("A preference must not be blank."));
    }
    Ok(Preference { text, kind, since: None })
}
