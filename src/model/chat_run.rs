//! Chat runs: a turn of the stylist, the log of its events, and what it cost. A run's document has its progress and
//! everything needed to continue it; its events are stored in pieces, in separate documents. The events of a run are
//! numbered from 1 without gaps. Everything that clients see of a turn, in whatever protocol, is derived from these
//! events.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{ChatId, ItemId, RunId, UserId};
use super::lease::Lease;
use super::lenient;
use super::timestamp::Timestamp;
use super::usage::RunUsage;
use crate::base::local_offset::LocalOffset;

/// Characters of a user's message that lists of runs show.
pub const SHOWN_MESSAGE: usize = 120;

/// Status of a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::IntoStaticStr, strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum RunStatus {
    /// The answer is being written, or waits for an instance to write it.
    Running,
    /// The answer is complete.
    Completed,
    /// Stopped early; the text so far is kept.
    Stopped,
    /// Ended with an error event.
    Failed,
}

impl RunStatus {
    /// Returns the status as documents and callers write it.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Parses a status.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether the status is final.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// What happens to a run when the client that started it disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// The run is stopped.
    Cancel,
    /// The run continues to its end.
    Continue,
}

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum StopReason {
    /// The user stopped it.
    User,
    /// The client that started it disconnected.
    Disconnected,
}

impl StopReason {
    /// Returns the reason as documents and clients have it.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// Author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user.
    User,
    /// The stylist.
    Assistant,
}

impl Role {
    /// Reads the author as clients write it: every role but `assistant` counts as the user.
    pub fn named(role: &str) -> Self {
        if role == "assistant" { Self::Assistant } else { Self::User }
    }
}

/// A message of the conversation before a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentMessage {
    /// Author of the message.
    pub role: Role,
    /// Text of the message.
    pub content: String,
}

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ChatEvent {
    /// A piece of the answer, as the model sent it.
    Token {
        /// The piece.
        content: String,
    },
    /// A tool starts.
    ToolUse {
        /// Name of the tool.
        name: String,
        /// Names the call within the run.
        call_id: String,
        /// Arguments as the model wrote them: normally JSON.
        input: String,
    },
    /// A tool has ended.
    ToolResult {
        /// Name of the tool.
        name: String,
        /// The call that it answers.
        call_id: String,
        /// The first characters of the result.
        summary: String,
        /// The result.
        output: String,
        /// Whether the result is an error message.
        is_error: bool,
        /// Duration of the call in milliseconds.
        tool_latency_ms: u64,
    },
    /// A step was interrupted and is repeated: its events so far are void.
    StepReset {
        /// The first event of the step. This event and all later ones are void.
        from_seq: u64,
    },
    /// The answer is complete, and the memory was updated if necessary.
    MemoryUpdate {
        /// Whether it was rewritten.
        updated: bool,
    },
    /// The run failed.
    Error {
        /// Error message for the user.
        content: Cow<'static, str>,
    },
    /// The last event of every run.
    Done {
        /// The model that answered.
        model: String,
        /// Tokens of the answer.
        token_count: u64,
        /// The run.
        run_id: RunId,
        /// Why it was stopped, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<StopReason>,
        /// Model calls and tokens of the run.
        #[serde(default)]
        usage: RunUsage,
    },
}

/// A [`ChatEvent`] as stored in the event log. Most events are tokens, which take only the space of their text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoggedEvent {
    /// A piece of the answer.
    Token(Box<str>),
    /// Any other event.
    Other(Box<ChatEvent>),
}

impl From<ChatEvent> for LoggedEvent {
    fn from(event: ChatEvent) -> Self {
        match event {
            ChatEvent::Token { content } => Self::Token(content.into()),
            event => Self::Other(Box::new(event)),
        }
    }
}

impl From<LoggedEvent> for ChatEvent {
    fn from(event: LoggedEvent) -> Self {
        match event {
            LoggedEvent::Token(content) => Self::Token { content: content.into() },
            LoggedEvent::Other(event) => *event,
        }
    }
}

impl LoggedEvent {
    /// Whether it is the last event of a run.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Other(event) if matches!(**event, ChatEvent::Done { .. }))
    }
}

/// The parts of a request that are needed to repeat a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// The user's message.
    pub message: String,
    /// The conversation before, oldest first, as models take it.
    pub recent: Vec<RecentMessage>,
    /// Number of messages in the conversation before this turn, as the client sent it.
    #[serde(default)]
    pub said_before: usize,
    /// The last message of that conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_last: Option<RecentMessage>,
    /// Items that the outfit should be built around.
    #[serde(default)]
    pub selected: Vec<ItemId>,
    /// The client's notes on the conversation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_notes: String,
    /// UTC offset of the user's clock.
    #[serde(default, rename = "utcOffset", skip_serializing_if = "LocalOffset::is_utc")]
    pub offset: LocalOffset,
}

/// A tool call of a step that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedCall {
    /// Names the call within the run.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Arguments as the model wrote them.
    pub arguments: String,
    /// The result, as the model reads it.
    pub result: String,
}

/// A step that is finished: an answer of the model, and the results of the tools that it called. A step without
/// tools is the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedStep {
    /// Text that the model wrote.
    pub text: String,
    /// The tools that it called.
    #[serde(default)]
    pub calls: Vec<FinishedCall>,
    /// The note to the model, if the user's consent triggered this first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Tokens that the model generated.
    #[serde(default)]
    pub tokens: u64,
}

/// The document of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatRun {
    /// The run.
    pub id: RunId,
    /// User who asked.
    pub user_id: UserId,
    /// The chat that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<ChatId>,
    /// Whether the run is running, completed, stopped or failed.
    pub status: RunStatus,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last worked on.
    pub updated_at: Timestamp,
    /// The first characters of the user's message.
    #[serde(default)]
    pub message: String,
    /// The request; removed when the run ends.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub request: Option<RunRequest>,
    /// The client's name for the turn, repeated in its events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The finished steps, while the run is active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<FinishedStep>,
    /// Number of the first event of the unfinished step.
    #[serde(default)]
    pub step_seq: u64,
    /// Number of the last event in the log when this document was written.
    #[serde(default)]
    pub last_seq: u64,
    /// The process that works on it.
    #[serde(flatten)]
    pub lease: Lease,
    /// When a stop was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_requested: Option<Timestamp>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// Number of processes that started to work on it, without those that handed it back.
    #[serde(default)]
    pub attempts: u32,
    /// Model calls and tokens so far.
    #[serde(default)]
    pub usage: RunUsage,
    /// The model that answers.
    #[serde(default)]
    pub model: String,
    /// Error message for the user, if the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The whole event log, for a run whose log is not stored in pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<LoggedEvent>>,
    /// Seconds from the last write until the store deletes it.
    pub ttl: i64,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ChatRun {
    /// The run as lists show it.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            id: self.id.clone(),
            chat_id: self.chat_id.clone(),
            status: self.status,
            created_at: self.created_at,
            updated_at: self.updated_at,
            message: self.message.clone(),
            last_seq: self.last_seq,
        }
    }
}

/// A run as lists show it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in `ChatRun`")]
pub struct RunSummary {
    pub id: RunId,
    #[serde(default)]
    pub chat_id: Option<ChatId>,
    pub status: RunStatus,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub last_seq: u64,
}

/// Consecutive events of a run's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPiece {
    /// The run and the number of the first event, see [`LogPiece::id`].
    pub id: String,
    /// The run.
    pub run_id: RunId,
    /// User who asked.
    pub user_id: UserId,
    /// The lease under which it was written.
    pub written_by: String,
    /// Number of the first event.
    pub first_seq: u64,
    /// Number of the last event.
    pub last_seq: u64,
    /// The events.
    pub events: Vec<LoggedEvent>,
    /// Seconds until the store deletes it.
    pub ttl: i64,
}

impl LogPiece {
    /// Id of the piece that begins with this event.
    pub fn id(run: &RunId, first_seq: u64) -> String {
        format!("{run}-{first_seq:08}")
    }
}

/// The newest run of a chat. At most one run of a chat is active.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHead {
    /// `chat-` and a hash of the chat's id.
    pub id: String,
    /// Whose chat it is.
    pub user_id: UserId,
    /// The run.
    pub newest_run: RunId,
    /// Seconds until the store deletes it.
    pub ttl: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_take_the_room_of_their_text() {
        let events = [
            ChatEvent::Token { content: "Wear ".to_owned() },
            ChatEvent::MemoryUpdate { updated: false },
            ChatEvent::Error { content: "No.".into() },
        ];
        let logged: Vec<_> = events.iter().cloned().map(LoggedEvent::from).collect();
        let document = serde_json::to_value(&logged).unwrap();
        let expected =
            json!(["Wear ", {"type": "memory_update", "updated": false}, {"type": "error", "content": "No."}]);
        assert_eq!(document, expected);
        let back: Vec<LoggedEvent> = serde_json::from_value(document).unwrap();
        assert_eq!(back.into_iter().map(ChatEvent::from).collect::<Vec<_>>(), events);
    }
}
