//! The stylist: a turn of the conversation, streamed while it happens.
//!
//! A [`Turn`] is what the caller sent, [`Chat::prepare`] reads what it needs (the last step that can still fail as an
//! ordinary error), and [`Chat::take_turn`] does it, writing [`ChatEvent`]s to a bounded channel. A reader who leaves ends
//! the turn, the model's answer and the tools that run.

mod follow_up;
mod history;
mod memory;
mod prompt;
pub mod tools;
mod turn;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span};
use uuid::Uuid;

use crate::base::clock::Clock;
use crate::data::{self, Data};
use crate::domain::base::Base;
use crate::llm::{CallContext, Model, ToolSpec};
use crate::model::conversation::Conversation;
use crate::model::ids::{ItemId, UserId};
use crate::model::wardrobe::WardrobeItem;
use crate::telemetry::observe::Observation;
pub use memory::LONGEST_SUMMARY;
use tools::Tool;
pub use tools::preferences::{LONGEST_PREFERENCE, MOST_PREFERENCES};
use utoipa::ToSchema;

/// Longest message of a user, in characters.
pub const LONGEST_MESSAGE: usize = 8_000;
/// Most messages of the conversation before that a turn takes. The newest of them count.
pub const MOST_RECENT_MESSAGES: usize = 500;
/// Most items that a user can select.
pub const MOST_SELECTED_ITEMS: usize = 20;
/// Longest trace id that is carried into the events, in characters.
pub const LONGEST_TRACE_ID: usize = 128;
/// A turn ends after this long, whatever the model does: front ends cut a request off at 230 s.
const TURN_TIMEOUT: Duration = Duration::from_secs(200);

/// What happens in a turn, as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ChatEvent {
    /// A piece of the answer.
    Token {
        /// The piece, as the model sent it.
        content: String,
    },
    /// A tool starts.
    ToolUse {
        /// Its name.
        name: String,
    },
    /// A tool has ended.
    #[schema(rename_all = "camelCase")]
    ToolResult {
        /// Its name.
        name: String,
        /// The first characters of its result.
        summary: String,
        /// How long it took, in milliseconds.
        tool_latency_ms: u64,
    },
    /// The answer is complete; the memory was looked after.
    MemoryUpdate {
        /// Whether it was rewritten.
        updated: bool,
    },
    /// The turn failed.
    Error {
        /// What the user reads.
        content: &'static str,
    },
    /// The last event of every turn.
    #[schema(rename_all = "camelCase")]
    Done {
        /// The model that answered.
        model: String,
        /// Tokens of the answer.
        token_count: u64,
        /// Names the turn in logs and traces.
        run_id: Uuid,
    },
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The stylist.
    Assistant,
}

/// A message of the conversation before this turn.
#[derive(Debug, Clone)]
pub struct RecentMessage {
    /// Who said it.
    pub role: Role,
    /// What.
    pub content: String,
}

/// What a user says, and what was said before.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Who.
    pub user: UserId,
    /// What.
    pub message: String,
    /// The conversation before, oldest first.
    pub recent: Vec<RecentMessage>,
    /// Items that the outfit should be built around.
    pub selected: Vec<ItemId>,
}

/// A turn with all that it needs to know.
pub struct PreparedTurn {
    turn: Turn,
    /// Messages of the conversation before, as the client sent it.
    said_before: usize,
    /// The last of them.
    said_last: Option<RecentMessage>,
    context: CallContext,
    memory: Option<Conversation>,
    selected: Vec<WardrobeItem>,
}

/// The stylist.
pub struct Chat {
    data: Data,
    model: Arc<dyn Model>,
    clock: Arc<dyn Clock>,
    tools: Vec<Arc<dyn Tool>>,
    /// What the model sees of the tools.
    specs: Arc<[ToolSpec]>,
    tool_call_limit: usize,
    /// Cancelled when turns have to end.
    ending: CancellationToken,
}

impl Chat {
    /// A stylist with all tools. Turns that are not over when the grace period is end with an error.
    pub fn new(parts: &Arc<tools::Parts>) -> Self {
        let Base { config, data, model, clock, ending, .. } = &*parts.base;
        let tools = tools::all(parts);
        let specs = tools.iter().map(|tool| tool.spec()).collect();
        Self {
            data: data.clone(),
            model: model.clone(),
            clock: clock.clone(),
            tools,
            specs,
            tool_call_limit: config.stylist.tool_call_limit,
            ending: ending.clone(),
        }
    }

    /// All tools, in the order in which the model sees them.
    pub fn tools(&self) -> &[Arc<dyn Tool>] {
        &self.tools
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Option<&dyn Tool> {
        self.tools.iter().map(|tool| &**tool).find(|tool| tool.spec().name == name)
    }

    /// Reads the memory and the selected items of a turn, which `observation` watches.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub async fn prepare(&self, turn: Turn, observation: Observation) -> data::Result<PreparedTurn> {
        let said_before = turn.recent.len();
        let said_last = turn.recent.iter().rfind(|message| !message.content.trim().is_empty()).cloned();
        let turn = Turn { recent: history::tidy(turn.recent), ..turn };
        let memory = self.data.conversations.find(&turn.user);
        let selected = self.data.wardrobe.find_many(&turn.user, &turn.selected);
        let (memory, selected) = futures::try_join!(memory, selected)?;
        let context = CallContext::user(&turn.user).observed_by(observation);
        Ok(PreparedTurn { turn, said_before, said_last, context, memory, selected })
    }

    /// Does the turn: writes events until `done`, or until nobody reads them any more.
    pub async fn take_turn(self: Arc<Self>, turn: PreparedTurn, events: mpsc::Sender<ChatEvent>) {
        let run_id = Uuid::new_v4();
        let span = info_span!("chat.turn", run.id = %run_id, user.id = turn.turn.user.as_str());
        async {
            // A fault in here must not cost the reader the end of the stream.
            let turn = AssertUnwindSafe(turn::run(&self, turn, run_id, &events)).catch_unwind();
            let is_broken = tokio::select! {
                () = events.closed() => return debug!("client disconnected, turn ended"),
                () = self.ending.cancelled() => true,
                outcome = turn => outcome.is_err(),
            };
            if is_broken {
                turn::apologise(&self, run_id, &events).await;
            }
        }
        .instrument(span)
        .await;
    }
}
