//! The UI message stream of Vercel's AI SDK (version 1): requests of `useChat()` to `/api/chat`, and their answers.

mod encoder;
pub mod long;

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use axum::response::sse::Event;
use futures::stream;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use self::encoder::Encoder;
use super::chat_events::event_stream;
use super::extract::{Fields, Read};
use crate::base::schema::verbatim;
use crate::domain::chat::runs::Follower;
use crate::domain::chat::{ChatEvent, LONGEST_MESSAGE, MOST_SELECTED_ITEMS, RecentMessage, Role};
use crate::model::ids::{ChatId, ItemId, RunId};

const UI_MESSAGE_STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
const RESUMABLE_STREAM_ID: HeaderName = HeaderName::from_static("x-resumable-stream-id");
const WORKFLOW_RUN_ID: HeaderName = HeaderName::from_static("x-workflow-run-id");
const TAIL_INDEX: HeaderName = HeaderName::from_static("x-workflow-stream-tail-index");
/// The last frame of a stream.
const DONE: &str = "[DONE]";
/// Most messages that are read; the size of the body is bounded as well.
const MOST_MESSAGES: usize = 10_000;
/// Longest word that is examined, in characters.
const LONGEST_WORD: usize = 64;

/// Body of a request by `useChat()`.
pub struct UiRequest {
    /// The chat id, not yet validated.
    pub chat_id: String,
    /// The text of the user's last message.
    pub message: String,
    /// The texts before it, oldest first.
    pub recent: Vec<RecentMessage>,
    /// Items that the outfit should be built around.
    pub selected: Vec<ItemId>,
}

impl Read for UiRequest {
    fn read(fields: &mut Fields) -> Self {
        let chat_id = fields.text("id", 1, super::extract::chat_id::LONGEST);
        let messages = fields.raw_objects("messages", MOST_MESSAGES);
        fields.optional_text("trigger", LONGEST_WORD);
        fields.rule("trigger", || json!({ "examples": ["submit-message", "regenerate-message"] }));
        fields.optional_text("messageId", usize::MAX);
        let selected = fields.optional_texts("selectedItemIds", MOST_SELECTED_ITEMS, 255).unwrap_or_default();
        let mut said: Vec<RecentMessage> = messages.iter().map(read_message).collect();
        let last = messages.iter().rposition(|message| message["role"] == "user");
        let message = match last {
            Some(last) => {
                // Later messages are to be regenerated.
                said.truncate(last + 1);
                said.pop().map(|message| message.content).unwrap_or_default()
            }
            None => String::new(),
        };
        if message.trim().is_empty() {
            fields.refuse("messages", "missing", "A user message with text is required");
        }
        if message.chars().count() > LONGEST_MESSAGE {
            fields.refuse(
                "messages",
                "string_too_long",
                &format!("The text of the last message should have at most {LONGEST_MESSAGE} characters"),
            );
        }
        Self { chat_id, message, recent: said, selected: selected.into_iter().map(ItemId::from).collect() }
    }
}

/// Reads the role and the text of a message, ignoring other parts.
fn read_message(message: &Value) -> RecentMessage {
    let role = Role::named(message["role"].as_str().unwrap_or_default());
    let parts = message["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = parts.iter().filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str());
    RecentMessage { role, content: texts.collect::<Vec<_>>().join("\n\n") }
}

/// Counts the chunks of these events.
pub fn count_chunks(run: &RunId, chat: Option<&ChatId>, events: Vec<ChatEvent>) -> usize {
    let (mut encoder, _start) = Encoder::begin(run, chat);
    1 + (1..).zip(events).map(|(seq, event)| encoder.encode(seq, event).len()).sum::<usize>()
}

/// A chunk of a UI message stream, for the OpenAPI document.
pub struct UiChunk;

impl PartialSchema for UiChunk {
    fn schema() -> RefOr<Schema> {
        verbatim(json!({
            "type": "object",
            "description": "A chunk of the UI message stream (version 1) of Vercel's AI SDK, which describes the fields of \
                each type. The last block of a stream is `[DONE]`.",
            "properties": { "type": { "type": "string", "enum": [
                "start", "start-step", "text-start", "text-delta", "text-end", "tool-input-start",
                "tool-input-available", "tool-output-available", "tool-output-error", "data-memory", "reset-step",
                "finish-step", "error", "abort", "finish",
            ] } },
            "required": ["type"],
        }))
    }
}

impl ToSchema for UiChunk {
    fn name() -> std::borrow::Cow<'static, str> {
        "UiMessageChunk".into()
    }
}

/// State of a stream of chunks.
struct Chunks<T> {
    follower: Follower,
    encoder: Encoder,
    waiting: VecDeque<String>,
    /// Chunks that the client already has.
    skipped: usize,
    is_over: bool,
    _open: T,
}

impl<T> Chunks<T> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(chunk) = self.waiting.pop_front() {
                return Some(chunk);
            }
            if self.is_over {
                return None;
            }
            let (seq, event) = self.follower.next().await?;
            self.is_over = matches!(event, ChatEvent::Done { .. });
            let chunks = self.encoder.encode(seq, event);
            self.add(chunks);
            if self.is_over {
                self.waiting.push_back(DONE.to_owned());
            }
        }
    }

    fn add(&mut self, chunks: Vec<Value>) {
        for chunk in chunks {
            match self.skipped.checked_sub(1) {
                Some(left) => self.skipped = left,
                None => self.waiting.push_back(chunk.to_string()),
            }
        }
    }
}

/// Answers with the chunks of a run, skipping the first `skipped`; `follower` must be at its first event. `open` is
/// dropped with the stream.
pub fn stream_chunks<T: Send + 'static>(
    follower: Follower,
    chat: Option<&ChatId>,
    skipped: usize,
    tail_index: Option<usize>,
    open: T,
) -> Response {
    let run = follower.run_id().clone();
    let (encoder, start) = Encoder::begin(&run, chat);
    let mut chunks = Chunks { follower, encoder, waiting: VecDeque::new(), skipped, is_over: false, _open: open };
    chunks.add(vec![start]);
    let events = stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(chunk)), chunks))
    });
    let mut response = event_stream(events, &run);
    let headers = response.headers_mut();
    headers.insert(UI_MESSAGE_STREAM, HeaderValue::from_static("v1"));
    if let Ok(id) = HeaderValue::from_str(run.as_str()) {
        headers.insert(RESUMABLE_STREAM_ID, id.clone());
        headers.insert(WORKFLOW_RUN_ID, id);
    }
    if let Some(tail_index) = tail_index {
        headers.insert(TAIL_INDEX, tail_index.into());
    }
    response
}
