//! Events of a chat run as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::base::json::MAX_SAFE_INTEGER;
use crate::base::schema::verbatim;
use crate::domain::chat::ChatEvent;
use crate::domain::chat::runs::Follower;
use crate::model::chat_run::StopReason;
use crate::model::ids::RunId;

/// Silence after which a comment keeps the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Names the run of an answer.
pub const X_RUN_ID: HeaderName = HeaderName::from_static("x-run-id");

/// An event on the wire.
#[derive(Serialize)]
pub struct WireEvent<'a> {
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(rename = "traceId", skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Kind<'a> {
    Token {
        content: &'a str,
    },
    ToolUse {
        name: &'a str,
    },
    ToolResult {
        name: &'a str,
        summary: &'a str,
        tool_latency_ms: u64,
    },
    StepReset {
        from_seq: u64,
    },
    MemoryUpdate {
        updated: bool,
    },
    Error {
        content: &'a str,
    },
    Done {
        model: &'a str,
        token_count: u64,
        run_id: &'a RunId,
        #[serde(skip_serializing_if = "Option::is_none")]
        stopped: Option<StopReason>,
    },
}

impl<'a> WireEvent<'a> {
    fn new(event: &'a ChatEvent, trace_id: Option<&'a str>) -> Self {
        let kind = match event {
            ChatEvent::Token { content } => Kind::Token { content },
            ChatEvent::ToolUse { name, .. } => Kind::ToolUse { name },
            ChatEvent::ToolResult { name, summary, tool_latency_ms, .. } => {
                Kind::ToolResult { name, summary, tool_latency_ms: *tool_latency_ms }
            }
            ChatEvent::StepReset { from_seq } => Kind::StepReset { from_seq: *from_seq },
            ChatEvent::MemoryUpdate { updated } => Kind::MemoryUpdate { updated: *updated },
            ChatEvent::Error { content } => Kind::Error { content },
            ChatEvent::Done { model, token_count, run_id, stopped, .. } => {
                Kind::Done { model, token_count: *token_count, run_id, stopped: *stopped }
            }
        };
        Self { kind, trace_id }
    }
}

/// Name, JSON type and meaning of a field; optional ones have a name that ends with `?`.
type Field = (&'static str, &'static str, &'static str);

/// The kinds of events, for the OpenAPI document: schema name, `type`, meaning and fields.
const KINDS: [(&str, &str, &str, &[Field]); 7] = [
    ("TokenEvent", "token", "A piece of the answer, as the model sent it.", &[("content", "string", "The piece.")]),
    ("ToolUseEvent", "tool_use", "A tool starts.", &[("name", "string", "Name of the tool.")]),
    (
        "ToolResultEvent",
        "tool_result",
        "A tool has ended.",
        &[
            ("name", "string", "Name of the tool."),
            ("summary", "string", "The first characters of the result."),
            ("toolLatencyMs", "integer", "How long it took, in milliseconds."),
        ],
    ),
    (
        "StepResetEvent",
        "step_reset",
        "A step was interrupted and is repeated. Only in streams that can be resumed.",
        &[("fromSeq", "integer", "The events from this one on, up to here, are void.")],
    ),
    (
        "MemoryUpdateEvent",
        "memory_update",
        "The answer is complete.",
        &[("updated", "boolean", "Whether the memory was rewritten.")],
    ),
    ("ErrorEvent", "error", "The turn failed.", &[("content", "string", "What the user reads.")]),
    (
        "DoneEvent",
        "done",
        "The last event of every turn.",
        &[
            ("model", "string", "The model that answered."),
            ("tokenCount", "integer", "Tokens of the answer."),
            ("runId", "string", "The run, named in logs and traces too."),
            ("stopped?", "string", "Why the turn was stopped, if it was: `user` or `disconnected`."),
        ],
    ),
];

impl PartialSchema for WireEvent<'_> {
    fn schema() -> RefOr<Schema> {
        let choices: Vec<Value> =
            KINDS.iter().map(|(name, ..)| json!({ "$ref": Ref::from_schema_name(*name).ref_location })).collect();
        let mapping: Map<String, Value> = KINDS
            .iter()
            .map(|(name, kind, ..)| ((*kind).to_owned(), Ref::from_schema_name(*name).ref_location.into()))
            .collect();
        verbatim(json!({ "oneOf": choices, "discriminator": { "propertyName": "type", "mapping": mapping } }))
    }
}

impl ToSchema for WireEvent<'_> {
    fn name() -> std::borrow::Cow<'static, str> {
        "ChatEvent".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, kind, description, fields) in KINDS {
            let mut properties = Map::new();
            properties.insert("type".to_owned(), json!({ "type": "string", "enum": [kind] }));
            let mut required = vec!["type"];
            for (field, field_type, meaning) in fields {
                let field_name = field.trim_end_matches('?');
                if field_name == *field {
                    required.push(field);
                }
                properties.insert(field_name.to_owned(), json!({ "type": field_type, "description": meaning }));
            }
            let trace_id = json!({ "type": "string", "description": "The caller's trace id, if there is one." });
            properties.insert("traceId".to_owned(), trace_id);
            let schema = json!({
                "type": "object", "description": description, "properties": properties, "required": required,
            });
            schemas.push((name.to_owned(), verbatim(schema)));
        }
    }
}

/// The form of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Events without numbers; the stream ends when it cannot continue.
    Plain,
    /// Numbered events; a client can resume after any of them.
    Resumable,
}

/// Answers with the events of a run. `open` is dropped with the stream.
pub fn stream_events<T: Send + 'static>(follower: Follower, form: Form, open: T) -> Response {
    let run = follower.run_id().clone();
    let events = stream::unfold((follower, open), move |(mut follower, open)| async move {
        let (seq, event) = follower.next().await?;
        if form == Form::Plain && matches!(event, ChatEvent::StepReset { .. }) {
            return None;
        }
        let line = match form {
            Form::Plain => Event::default(),
            Form::Resumable => Event::default().id(seq.to_string()),
        };
        let line = line.json_data(WireEvent::new(&event, follower.trace_id()));
        Some((Ok::<_, Infallible>(line.expect("an event is plain text and numbers")), (follower, open)))
    });
    event_stream(events, &run)
}

/// Returns the number of the last event that a client has seen, 0 if there is none. An `EventSource` sends the header
/// when it reconnects.
pub fn last_event_id(headers: &HeaderMap) -> u64 {
    let sent = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let number = sent.and_then(|id| id.trim().parse::<u64>().ok());
    number.filter(|number| *number <= MAX_SAFE_INTEGER.unsigned_abs()).unwrap_or_default()
}

/// Answers with server-sent events.
pub fn server_sent_events(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"));
    let headers =
        [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (X_ACCEL_BUFFERING, HeaderValue::from_static("no"))];
    (headers, stream).into_response()
}

/// Answers with server-sent events about a run.
pub fn event_stream(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static, run: &RunId) -> Response {
    let mut response = server_sent_events(events);
    if let Ok(run) = HeaderValue::from_str(run.as_str()) {
        response.headers_mut().insert(X_RUN_ID, run);
    }
    response
}
