//! The stylist: runs a turn of the conversation, and reports its events as they happen. A [`Turn`] is the caller's
//! request. `Chat::prepare` reads the data it needs, the last step that can fail with an ordinary error.
//! [`Runs`](runs::Runs) executes it as a run, with an event log that any number of readers can follow and that outlives
//! connections and processes.

mod follow_up;
mod history;
mod memory;
mod prompt;
pub mod runs;
pub mod tools;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::local_offset::LocalOffset;
use crate::data::{self, Data};
use crate::domain::base::Base;
use crate::llm::{CallContext, Meter, Model, Tools};
use crate::model::chat_run::RunRequest;
pub use crate::model::chat_run::{ChatEvent, RecentMessage, Role};
use crate::model::conversation::Conversation;
use crate::model::ids::{ItemId, UserId};
use crate::model::usage::RunUsage;
use crate::model::wardrobe::WardrobeItem;
use crate::telemetry::observe::{Observation, Subject};
pub use memory::LONGEST_SUMMARY;
use tools::Tool;
pub use tools::preferences::{LONGEST_PREFERENCE, MOST_PREFERENCES};

/// Longest message of a user, in characters.
pub const LONGEST_MESSAGE: usize = 8_000;
/// Most earlier messages that a turn accepts; only the newest are used.
pub const MOST_RECENT_MESSAGES: usize = 500;
/// Most earlier messages that a model is told.
pub const MOST_TOLD_MESSAGES: usize = 50;
/// Most items that a user can select.
pub const MOST_SELECTED_ITEMS: usize = 20;
/// Longest notes of a client, in characters; the rest is ignored.
const LONGEST_NOTES: usize = 8_000;
/// Longest trace id that is carried into the events, in characters.
pub const LONGEST_TRACE_ID: usize = 128;
/// Time limit of a turn: front ends abort requests after 230 s.
const TURN_TIMEOUT: Duration = Duration::from_secs(200);

/// Describes the trace of a turn.
pub fn subject<'a>(user: &'a UserId, trace_id: Option<&'a str>, message: &'a str) -> Subject<'a> {
    // All turns of a user belong to one session.
    Subject { name: "chat-turn", trace_id, user: Some(user.as_str()), session: Some(user.as_str()), input: message }
}

/// A user's message, with the conversation before it.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Author of the message.
    pub user: UserId,
    /// Text of the message.
    pub message: String,
    /// The conversation before, oldest first.
    pub recent: Vec<RecentMessage>,
    /// Items that the outfit should be built around.
    pub selected: Vec<ItemId>,
    /// The client's notes on the conversation: data for the model, after its instructions.
    pub client_notes: String,
    /// UTC offset of the author's clock, which decides what "today" is.
    pub offset: LocalOffset,
}

/// A turn with all the data it needs.
pub struct PreparedTurn {
    turn: Turn,
    /// Number of messages in the conversation before this turn, as the client sent it.
    said_before: usize,
    /// The last message of that conversation.
    said_last: Option<RecentMessage>,
    context: CallContext,
    /// Adds up the usage of the turn's model calls.
    meter: Meter,
    memory: Option<Conversation>,
    selected: Vec<WardrobeItem>,
}

/// The stylist.
pub struct Chat {
    data: Data,
    model: Arc<dyn Model>,
    clock: Arc<dyn Clock>,
    tools: Vec<Arc<dyn Tool>>,
    /// The tools as the model sees them.
    specs: Tools,
    tool_call_limit: usize,
}

impl Chat {
    /// A stylist with all tools.
    pub fn new(parts: &Arc<tools::ToolParts>) -> Self {
        let Base { config, data, model, clock, .. } = &*parts.base;
        let tools = tools::all(parts);
        let specs = tools.iter().map(|tool| tool.spec()).collect();
        Self {
            data: data.clone(),
            model: model.clone(),
            clock: clock.clone(),
            tools,
            specs,
            tool_call_limit: config.stylist.tool_call_limit,
        }
    }

    /// All tools, in the order in which the model sees them.
    pub fn tools(&self) -> &[Arc<dyn Tool>] {
        &self.tools
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Option<&dyn Tool> {
        let position = self.specs.iter().position(|spec| spec.name == name)?;
        self.tools.get(position).map(|tool| &**tool)
    }

    /// Reads the memory and the selected items of a turn, which `observation` watches.
    ///
    /// # Errors
    /// When the documents cannot be read.
    async fn prepare(&self, turn: Turn, observation: Observation) -> data::Result<PreparedTurn> {
        let request = RunRequest {
            said_before: turn.recent.len(),
            said_last: turn.recent.iter().rfind(|message| !message.content.trim().is_empty()).cloned(),
            recent: history::tidy(turn.recent),
            message: turn.message,
            selected: turn.selected,
            client_notes: turn.client_notes.chars().take(LONGEST_NOTES).collect(),
            offset: turn.offset,
        };
        self.prepare_again(turn.user, request, RunUsage::default(), observation).await
    }

    /// Prepares a turn that is resumed from `request`, with its usage so far.
    async fn prepare_again(
        &self,
        user: UserId,
        request: RunRequest,
        usage: RunUsage,
        observation: Observation,
    ) -> data::Result<PreparedTurn> {
        let RunRequest { message, recent, said_before, said_last, selected, client_notes, offset } = request;
        let turn = Turn { user, message, recent, selected, client_notes, offset };
        let memory = self.data.conversations.find(&turn.user);
        let selected = self.data.wardrobe.find_many(&turn.user, &turn.selected);
        let (memory, selected) = futures::try_join!(memory, selected)?;
        let meter = Meter::starting_at(usage);
        let context = CallContext::user(&turn.user).observed_by(observation).metered_by(meter.clone());
        let context = context.by_clock(turn.offset);
        Ok(PreparedTurn { turn, said_before, said_last, context, meter, memory, selected })
    }
}

impl PreparedTurn {
    /// Returns the data needed to resume the turn.
    fn request(&self) -> RunRequest {
        RunRequest {
            message: self.turn.message.clone(),
            recent: history::newest_within(&self.turn.recent, LONGEST_HISTORY),
            said_before: self.said_before,
            said_last: self.said_last.clone().filter(|last| last.content.len() <= LONGEST_HISTORY),
            selected: self.turn.selected.clone(),
            client_notes: self.turn.client_notes.clone(),
            offset: self.turn.offset,
        }
    }
}

/// Longest history stored with a run, in bytes; well below the limit of documents (2 MB).
const LONGEST_HISTORY: usize = 512 * 1024;
