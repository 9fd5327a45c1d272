//! The stylist for clients of OpenAI's chat API: as one model, below `/api/v1`.
//!
//! A turn is that of `POST /api/chat`: its tools run here, its memory and budget are the user's. Clients see text only.
//! Parameters without a meaning here are ignored. Errors have OpenAI's form.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::local_offset::LocalOffset;
use crate::domain::chat::runs::{FAILED, NewRun};
use crate::domain::chat::{self, ChatEvent, LONGEST_MESSAGE, MOST_RECENT_MESSAGES, RecentMessage, Role, Turn};
use crate::http::chat_events::event_stream;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::parts::Content;
use crate::http::extract::{AppJson, AppPath, CallerOffset, Fields, Read, trace_name};
use crate::http::layers::auth::CurrentUser;
use crate::http::layers::disconnect::Client;
use crate::http::layers::openai_errors::{ErrorBody, OpenAiError};
use crate::model::chat_run::OnDisconnect;
use crate::model::ids::UserId;
use crate::model::usage::RunUsage;
use crate::state::AppState;

/// Name of the stylist among models.
const MODEL: &str = "pluckit-stylist";
/// Creation date of the model that clients show: 2026-01-01.
const MODEL_CREATED: i64 = 1_767_225_600;
/// Most messages in a request; only the newest are used.
const MOST_MESSAGES: usize = 4_000;
/// Longest name of a model or role that is examined, in characters.
const LONGEST_NAME: usize = 256;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_models)).routes(routes!(find_model))
}

/// The chat completion route for users.
pub fn user_completions() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create_completion))
}

/// A model.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiModel)]
struct Model {
    id: &'static str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

const STYLIST: Model = Model { id: MODEL, object: "model", created: MODEL_CREATED, owned_by: "pluckit" };

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiModels)]
struct Models {
    object: &'static str,
    data: [Model; 1],
}

/// Lists the models that clients of OpenAI's API can use: the stylist.
#[utoipa::path(get, path = "/api/v1/models", responses((status = 200, body = Models)))]
async fn list_models() -> AppJson<Models> {
    AppJson(Models { object: "list", data: [STYLIST] })
}

/// Returns a model, for clients of OpenAI's API.
#[utoipa::path(get, path = "/api/v1/models/{model}", params(("model" = String, Path, example = "pluckit-stylist")), responses(
    (status = 200, body = Model),
    (status = 404, description = "Unknown model.")
))]
async fn find_model(AppPath(name): AppPath<String>) -> Result<AppJson<Model>, OpenAiError> {
    check_model(&name)?;
    Ok(AppJson(STYLIST))
}

fn check_model(name: &str) -> Result<(), OpenAiError> {
    if name == MODEL {
        return Ok(());
    }
    let error = ApiError::NotFound("The model does not exist: use 'pluckit-stylist'.");
    Err(OpenAiError::from(error).param("model").code("model_not_found"))
}

struct CompletionRequest {
    model: Option<String>,
    messages: Vec<Message>,
    is_streamed: bool,
    wants_usage: bool,
    shows_tools: bool,
    answers: Option<i64>,
    /// The parameter with the caller's tools, if any.
    tools: Option<&'static str>,
}

impl Read for CompletionRequest {
    fn read(fields: &mut Fields) -> Self {
        let model = fields.optional_text("model", LONGEST_NAME);
        fields.rule("model", || json!({ "enum": [MODEL] }));
        let messages = fields.objects("messages", MOST_MESSAGES);
        fields.rule("messages", || json!({ "minItems": 1 }));
        let is_streamed = fields.optional_flag("stream").unwrap_or_default();
        let options = fields.optional_object::<StreamOptions>("stream_options");
        let metadata = fields.optional_object::<Metadata>("metadata");
        let answers = fields.optional_integer("n");
        fields.rule("n", || json!({ "enum": [1] }));
        let [tools, functions] = ["tools", "functions"].map(|name| {
            let given = fields.objects::<Ignored>(name, MOST_TOOLS);
            fields.rule(name, || json!({ "maxItems": 0 }));
            (!given.is_empty()).then_some(name)
        });
        Self {
            model,
            messages,
            is_streamed,
            wants_usage: options.is_some_and(|options| options.include_usage),
            shows_tools: metadata.is_some_and(|metadata| metadata.show_tools),
            answers,
            tools: tools.or(functions),
        }
    }
}

described!(CompletionRequest);

/// Most tools that are counted before they are refused.
const MOST_TOOLS: usize = 1_000;

/// An object whose content is ignored.
struct Ignored;

impl Read for Ignored {
    fn read(_fields: &mut Fields) -> Self {
        Self
    }
}

struct StreamOptions {
    include_usage: bool,
}

impl Read for StreamOptions {
    fn read(fields: &mut Fields) -> Self {
        Self { include_usage: fields.optional_flag("include_usage").unwrap_or_default() }
    }
}

struct Metadata {
    show_tools: bool,
}

impl Read for Metadata {
    fn read(fields: &mut Fields) -> Self {
        Self { show_tools: fields.optional_flag("show_tools").unwrap_or_default() }
    }
}

struct Message {
    role: String,
    content: Content,
}

impl Read for Message {
    fn read(fields: &mut Fields) -> Self {
        Self { role: fields.text("role", 1, LONGEST_NAME), content: fields.content("content") }
    }
}

impl CompletionRequest {
    /// Converts the messages to a turn: the user's last message, the conversation before it, and the client's notes.
    fn turn(self, user: UserId, offset: LocalOffset) -> Result<Turn, OpenAiError> {
        let bad = |detail: &'static str, param| OpenAiError::from(ApiError::BadRequest(detail)).param(param);
        check_model(self.model.as_deref().unwrap_or(MODEL))?;
        if self.answers.is_some_and(|answers| answers != 1) {
            return Err(bad("Only one answer can be requested: n must be 1.", "n").code("unsupported_value"));
        }
        if let Some(param) = self.tools {
            let detail = "Tools of the caller are not supported: the stylist has its own.";
            return Err(bad(detail, param).code("unsupported_value"));
        }
        let (mut recent, mut notes) = (Vec::new(), Vec::new());
        let last = self.messages.iter().rposition(|message| message.role == "user");
        let mut question = None;
        for (position, Message { role, content }) in self.messages.into_iter().enumerate() {
            match &*role {
                "system" | "developer" => notes.push(content.text),
                "user" if last == Some(position) => question = Some(content),
                "user" if question.is_none() => recent.push(RecentMessage { role: Role::User, content: content.text }),
                "assistant" if question.is_none() => {
                    recent.push(RecentMessage { role: Role::Assistant, content: content.text });
                }
                // Messages after the question, and tool calls of the client.
                _ => {}
            }
        }
        let Content { text: message, has_other } = question.unwrap_or_default();
        if has_other {
            let detail = "The stylist reads only text. Remove images, audio and files from the last message.";
            return Err(bad(detail, "messages").code("unsupported_value"));
        }
        if message.trim().is_empty() {
            return Err(bad("The request must contain a non-empty user message.", "messages"));
        }
        if message.chars().count() > LONGEST_MESSAGE {
            let detail = "The last user message must have at most 8000 characters.";
            return Err(bad(detail, "messages").code("context_length_exceeded"));
        }
        recent.drain(..recent.len().saturating_sub(MOST_RECENT_MESSAGES));
        Ok(Turn { user, message, recent, selected: Vec::new(), client_notes: notes.join("\n\n"), offset })
    }
}

/// Tokens of a turn: of all model calls that it took.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = OpenAiUsage)]
struct TokenUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl From<RunUsage> for TokenUsage {
    fn from(RunUsage { input_tokens, output_tokens, .. }: RunUsage) -> Self {
        Self {
            prompt_tokens: input_tokens,
            completion_tokens: output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
        }
    }
}

/// A complete answer.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiCompletion)]
struct Completion {
    id: String,
    object: &'static str,
    created: i64,
    model: &'static str,
    choices: [CompletionChoice; 1],
    usage: TokenUsage,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiChoice)]
struct CompletionChoice {
    index: u32,
    message: AssistantMessage,
    /// Always null.
    logprobs: Option<String>,
    finish_reason: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiMessage)]
struct AssistantMessage {
    role: &'static str,
    content: String,
    /// Always null.
    refusal: Option<String>,
}

/// A piece of a streamed answer.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiChunk)]
struct Chunk {
    id: String,
    object: &'static str,
    created: i64,
    model: &'static str,
    /// Empty in the chunk with the usage.
    choices: Vec<ChunkChoice>,
    /// Only with `stream_options.include_usage`: null but in the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TokenUsage>)]
    usage: Option<Option<TokenUsage>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiChunkChoice)]
struct ChunkChoice {
    index: u32,
    delta: Delta,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize, ToSchema)]
#[schema(as = OpenAiDelta)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Answers a conversation, streaming or not, for clients of OpenAI's API.
#[utoipa::path(post, path = "/api/v1/chat/completions", params(CallerOffset), request_body(content = CompletionRequest, example = json!({"model": "pluckit-stylist", "messages": [{"role": "user", "content": "What goes with my camel coat?"}]})), responses(
    (status = 200, content((Completion = "application/json"), (Chunk = "text/event-stream"))),
    (status = 400, description = "There is no user message, the request uses an unsupported feature, or `X-UTC-Offset` is invalid."),
    (status = 404, description = "Unknown model.")
))]
async fn create_completion(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    CallerOffset(offset): CallerOffset,
    client: Client,
    headers: HeaderMap,
    AppJson(body): AppJson<CompletionRequest>,
) -> Result<Response, OpenAiError> {
    let (is_streamed, wants_usage, shows_tools) = (body.is_streamed, body.wants_usage, body.shows_tools);
    let turn = body.turn(user.clone(), offset)?;
    let observation = app.telemetry.observer.begin(&chat::subject(&user, trace_name(&headers), &turn.message));
    let open = (app.limits.open_stream(&user)?, app.telemetry.metrics.open_stream());
    app.budget.check(&user).await?.map_err(|exceeded| OpenAiError::from(exceeded).code("insufficient_quota"))?;
    // When the client disconnects, the reader of the events is dropped, which ends the turn.
    let on_disconnect = OnDisconnect::Cancel;
    let new = NewRun { turn, chat_id: None, on_disconnect, trace_id: None, observation, permit: None };
    let mut events = app.runs.begin(new).await?;
    let mut answer = Answer {
        id: format!("chatcmpl-{}", events.run_id()),
        created: app.clock.now().unix_timestamp(),
        usage: TokenUsage::default(),
        wants_usage,
        shows_tools,
        is_at_line_start: true,
        failure: None,
        is_done: false,
    };
    if !is_streamed {
        let mut text = String::new();
        let reading = async {
            while let Some((_, event)) = events.next().await {
                text.extend(answer.text_of(event));
            }
        };
        tokio::select! {
            () = reading => {}
            () = client.disconnected() => {}
        }
        return match answer.failure() {
            Some(detail) => Err(ApiError::StepUnavailable { detail, cause: Arc::new(TurnFailed) }.into()),
            None => Ok(AppJson(answer.complete(text)).into_response()),
        };
    }
    let run = events.run_id().clone();
    let first = stream::iter([answer.first()]);
    let rest = stream::unfold((events, answer, open), async |(mut events, mut answer, open)| {
        let (_, event) = events.next().await?;
        let encoded = answer.encode(event);
        Some((stream::iter(encoded), (events, answer, open)))
    });
    Ok(event_stream(first.chain(rest.flatten()).map(Ok::<_, Infallible>), &run))
}

/// The turn ended with an error event, which was logged where it happened.
#[derive(Debug, thiserror::Error)]
#[error("the turn failed")]
struct TurnFailed;

/// An answer that is being written.
struct Answer {
    id: String,
    created: i64,
    usage: TokenUsage,
    wants_usage: bool,
    shows_tools: bool,
    is_at_line_start: bool,
    /// Error message for the user, if the turn failed.
    failure: Option<String>,
    is_done: bool,
}

impl Answer {
    /// Returns the text that an event adds.
    fn text_of(&mut self, event: ChatEvent) -> Option<String> {
        let text = match event {
            ChatEvent::Token { content } => content,
            ChatEvent::ToolUse { name, .. } if self.shows_tools => {
                let gap = if self.is_at_line_start { "" } else { "\n\n" };
                format!("{gap}[{name}]\n\n")
            }
            ChatEvent::Error { content } => {
                self.failure = Some(content.into_owned());
                return None;
            }
            ChatEvent::Done { usage, .. } => {
                self.usage = usage.into();
                self.is_done = true;
                return None;
            }
            // Clients cannot discard text that they have read.
            ChatEvent::StepReset { .. } => {
                self.failure = Some(FAILED.to_owned());
                return None;
            }
            ChatEvent::ToolUse { .. } | ChatEvent::ToolResult { .. } | ChatEvent::MemoryUpdate { .. } => return None,
        };
        if !text.is_empty() {
            self.is_at_line_start = text.ends_with('\n');
        }
        Some(text)
    }

    /// Returns the message for the user if the turn failed or ended unexpectedly.
    fn failure(&mut self) -> Option<String> {
        self.failure.take().or_else(|| (!self.is_done).then(|| FAILED.to_owned()))
    }

    fn complete(self, content: String) -> Completion {
        Completion {
            usage: self.usage,
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: MODEL,
            choices: [CompletionChoice {
                index: 0,
                message: AssistantMessage { role: "assistant", content, refusal: None },
                logprobs: None,
                finish_reason: "stop",
            }],
        }
    }

    /// The chunk before all text.
    fn first(&self) -> Event {
        self.delta(Delta { role: Some("assistant"), content: Some(String::new()) }, None)
    }

    /// Returns the events that clients see for an event of the turn.
    fn encode(&mut self, event: ChatEvent) -> Vec<Event> {
        let is_done = matches!(event, ChatEvent::Done { .. });
        let text = self.text_of(event);
        if !is_done {
            let delta = |content| self.delta(Delta { role: None, content: Some(content) }, None);
            return text.map(delta).into_iter().collect();
        }
        let mut events = Vec::new();
        match self.failure() {
            Some(message) => events.push(json_event(&ErrorBody::broken(message))),
            None => {
                events.push(self.delta(Delta::default(), Some("stop")));
                if self.wants_usage {
                    events.push(json_event(&self.chunk(Vec::new(), Some(self.usage))));
                }
            }
        }
        events.push(Event::default().data("[DONE]"));
        events
    }

    fn delta(&self, delta: Delta, finish_reason: Option<&'static str>) -> Event {
        json_event(&self.chunk(vec![ChunkChoice { index: 0, delta, finish_reason }], None))
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<TokenUsage>) -> Chunk {
        Chunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: MODEL,
            choices,
            usage: self.wants_usage.then_some(usage),
        }
    }
}

fn json_event<T: Serialize>(body: &T) -> Event {
    Event::default().json_data(body).expect("a chunk is plain text and numbers")
}
