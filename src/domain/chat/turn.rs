//! The loop of a turn: stream the model, run the tools it asks for, feed their results back, until it answers.

use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tracing::{Instrument, error, info, info_span, warn};
use uuid::Uuid;

use super::follow_up::{self, FollowUp};
use super::tools::ToolError;
use super::{Chat, ChatEvent, PreparedTurn, Role, TURN_TIMEOUT, history, memory, prompt};
use crate::base::chain::Chain;
use crate::llm::{self, CallContext, ChatRequest, Message, Part, Purpose, ToolCall};
use crate::model::ids::UserId;

/// Longest run of one tool.
const TOOL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest tool result that the model reads, in characters.
const LONGEST_RESULT: usize = 32 * 1024;
/// Characters of a result that clients see.
const SUMMARY_LENGTH: usize = 120;
/// Characters of a tool's name that are repeated: models can make names up.
const LONGEST_NAME: usize = 64;

const FAILED: &str = "Something went wrong. Please try again.";
const LIMIT_REACHED: &str = "Tool-call limit reached. Please retry with a shorter request.";

/// Nobody reads the events any more.
struct ReaderLeft;

/// Why a turn ends without an answer.
enum Stop {
    ReaderLeft,
    LimitReached,
    /// The model had nothing to say: its thoughts at most.
    Silent,
    Model(llm::Error),
}

impl From<ReaderLeft> for Stop {
    fn from(ReaderLeft: ReaderLeft) -> Self {
        Self::ReaderLeft
    }
}

impl From<llm::Error> for Stop {
    fn from(error: llm::Error) -> Self {
        Self::Model(error)
    }
}

/// Does the turn and says everything about it, `done` last.
pub async fn run(chat: &Chat, prepared: PreparedTurn, run_id: Uuid, events: &mpsc::Sender<ChatEvent>) {
    let started = Instant::now();
    let mut conversation = Conversation {
        chat,
        user: &prepared.turn.user,
        context: &prepared.context,
        events: Events(events),
        messages: Vec::new(),
        answer: String::new(),
        pieces: 0,
        output_tokens: 0,
        tool_calls: 0,
    };
    let outcome = tokio::time::timeout(TURN_TIMEOUT, conversation.hold(&prepared)).await;
    let said = match outcome {
        Ok(Ok(())) => {
            prepared.context.observation.output(&conversation.answer);
            let updated = memory::refresh(chat, &prepared, &conversation.answer).await;
            conversation.events.send(ChatEvent::MemoryUpdate { updated }).await
        }
        Ok(Err(Stop::ReaderLeft)) => Err(ReaderLeft),
        Ok(Err(Stop::LimitReached)) => {
            warn!(tools.calls = conversation.tool_calls, "tool-call limit reached");
            conversation.events.send(ChatEvent::Error { content: LIMIT_REACHED }).await
        }
        Ok(Err(Stop::Silent)) => {
            error!("turn failed: the model answered nothing");
            prepared.context.observation.failed("silent");
            conversation.events.send(ChatEvent::Error { content: FAILED }).await
        }
        Ok(Err(Stop::Model(fault))) => {
            error!(error = %Chain(&fault), "turn failed");
            prepared.context.observation.failed("model");
            conversation.events.send(ChatEvent::Error { content: FAILED }).await
        }
        Err(_) => {
            error!(limit_s = TURN_TIMEOUT.as_secs(), "turn took too long");
            conversation.events.send(ChatEvent::Error { content: FAILED }).await
        }
    };
    if said.is_err() {
        return;
    }
    // The server's count if it told one, else the pieces that were streamed.
    let token_count = if conversation.output_tokens > 0 { conversation.output_tokens } else { conversation.pieces };
    let model = chat.model.name(Purpose::Stylist).to_owned();
    let duration_ms = milliseconds(started.elapsed());
    info!(model, tokens = token_count, tools.calls = conversation.tool_calls, duration_ms, "turn ended");
    // A reader who leaves now has everything but this.
    if conversation.events.send(ChatEvent::Done { model, token_count, run_id }).await.is_err() {
        info!("client disconnected before the end of the answer");
    }
}

/// Ends the stream of a turn that broke, as every stream ends.
pub async fn apologise(chat: &Chat, run_id: Uuid, events: &mpsc::Sender<ChatEvent>) {
    let events = Events(events);
    let model = chat.model.name(Purpose::Stylist).to_owned();
    for event in [ChatEvent::Error { content: FAILED }, ChatEvent::Done { model, token_count: 0, run_id }] {
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// The way to the reader.
struct Events<'a>(&'a mpsc::Sender<ChatEvent>);

impl Events<'_> {
    async fn send(&self, event: ChatEvent) -> Result<(), ReaderLeft> {
        self.0.send(event).await.map_err(|_| ReaderLeft)
    }
}

/// A turn while it happens.
struct Conversation<'a> {
    chat: &'a Chat,
    user: &'a UserId,
    context: &'a CallContext,
    events: Events<'a>,
    messages: Vec<Message>,
    answer: String,
    pieces: u64,
    output_tokens: u64,
    tool_calls: usize,
}

impl Conversation<'_> {
    async fn hold(&mut self, prepared: &PreparedTurn) -> Result<(), Stop> {
        let turn = &prepared.turn;
        self.messages.push(Message::System(prompt::system(prepared, self.chat.clock.now())));
        for message in &turn.recent {
            let content = message.content.clone();
            self.messages.push(match message.role {
                Role::User => Message::User(content),
                Role::Assistant => Message::Assistant { content, tool_calls: Vec::new() },
            });
        }
        // A question that was not answered is asked together with this one.
        let message = match self.messages.pop_if(|last| matches!(last, Message::User(_))) {
            Some(Message::User(before)) => history::joined(&before, &turn.message),
            _ => turn.message.clone(),
        };
        self.messages.push(Message::User(message));
        if let Some(accepted) = self.accepted(prepared).await {
            self.do_what_was_accepted(accepted).await?;
        }
        loop {
            let calls = self.stream_answer().await?;
            if calls.is_empty() {
                return Ok(());
            }
            self.run_tools(calls).await?;
        }
    }

    /// What the user's message accepts of the stylist's last one.
    async fn accepted(&self, prepared: &PreparedTurn) -> Option<FollowUp> {
        let offer = prepared.said_last.as_ref().filter(|last| last.role == Role::Assistant)?;
        follow_up::recognise(&*self.chat.model, self.context, &offer.content, &prepared.turn.message).await
    }

    /// Streams one answer of the model to the reader and returns the tools that it asks for.
    async fn stream_answer(&mut self) -> Result<Vec<ToolCall>, Stop> {
        let request = ChatRequest {
            purpose: Purpose::Stylist,
            messages: self.messages.clone(),
            tools: self.chat.specs.clone(),
            max_tokens: None,
        };
        let mut parts = self.chat.model.stream(self.context, request).await?;
        let mut content = String::new();
        let mut calls = Vec::new();
        while let Some(part) = parts.next().await {
            match part? {
                Part::Text(text) => {
                    content.push_str(&text);
                    self.pieces += 1;
                    self.events.send(ChatEvent::Token { content: text }).await?;
                }
                Part::ToolCall(call) => calls.push(call),
                Part::Usage(usage) => self.output_tokens += usage.output_tokens,
            }
        }
        if calls.is_empty() && content.trim().is_empty() {
            return Err(Stop::Silent);
        }
        self.answer.push_str(&content);
        if !calls.is_empty() {
            self.messages.push(Message::Assistant { content, tool_calls: calls.clone() });
        }
        Ok(calls)
    }

    /// Runs the tools of one answer, all at once, and adds their results in the order of the calls.
    async fn run_tools(&mut self, calls: Vec<ToolCall>) -> Result<(), Stop> {
        self.tool_calls += calls.len();
        if self.tool_calls > self.chat.tool_call_limit {
            return Err(Stop::LimitReached);
        }
        for call in &calls {
            self.events.send(ChatEvent::ToolUse { name: shorten(&call.name, LONGEST_NAME) }).await?;
        }
        let (chat, user, context) = (self.chat, self.user, self.context);
        let mut running: FuturesUnordered<_> = calls
            .iter()
            .enumerate()
            .map(|(position, call)| async move {
                let started = Instant::now();
                let result = chat.run_tool(user, context, call).await;
                (position, call, result, started.elapsed())
            })
            .collect();
        let mut results = vec![String::new(); calls.len()];
        while let Some((position, call, result, latency)) = running.next().await {
            let event = ChatEvent::ToolResult {
                name: shorten(&call.name, LONGEST_NAME),
                summary: shorten(&result, SUMMARY_LENGTH),
                tool_latency_ms: milliseconds(latency),
            };
            self.events.send(event).await?;
            results[position] = result;
        }
        drop(running);
        for (call, content) in calls.into_iter().zip(results) {
            self.messages.push(Message::Tool { call_id: call.id, content });
        }
        Ok(())
    }

    /// The user accepted an offer: runs its tool before the model speaks, so that the answer tells results.
    async fn do_what_was_accepted(&mut self, accepted: FollowUp) -> Result<(), Stop> {
        let query = |query: String| serde_json::json!({ "query": query }).to_string();
        let (note, call) = match accepted {
            FollowUp::Outfit => ("They accepted: put the outfit together now.", None),
            FollowUp::Gaps => {
                ("They accepted: the analysis was run.", Some(("analyze_wardrobe_gaps", "{}".to_owned())))
            }
            FollowUp::SearchWardrobe(text) => {
                ("They accepted: the search was run.", Some(("search_wardrobe", query(text))))
            }
            FollowUp::SearchItems(text) => {
                ("They accepted: the search was run.", Some(("search_scraped_items", query(text))))
            }
        };
        if let Some(Message::System(text)) = self.messages.first_mut() {
            text.push_str("\n\nThe person's last message accepts your offer. ");
            text.push_str(note);
            text.push_str(" Tell the actual results; do not offer the same again.");
        }
        let Some((name, arguments)) = call else { return Ok(()) };
        let call = ToolCall { id: format!("accepted-{name}"), name: name.to_owned(), arguments };
        self.messages.push(Message::Assistant { content: String::new(), tool_calls: vec![call.clone()] });
        self.run_tools(vec![call]).await
    }
}

impl Chat {
    /// The tool's result, or what went wrong in words for the model. Nothing that a tool does ends the turn.
    async fn run_tool(&self, user: &UserId, context: &CallContext, call: &ToolCall) -> String {
        let Some(tool) = self.tool(&call.name) else {
            return tool_error("There is no such tool.");
        };
        let name = tool.spec().name;
        let observed = context.observation.tool(name, &call.arguments);
        let span = info_span!("tool", otel.name = format_args!("execute_tool {name}"), gen_ai.tool.name = name);
        let work = tool.run(user, context, &call.arguments).instrument(span);
        let result = tokio::time::timeout(TOOL_TIMEOUT, work).await;
        match &result {
            Ok(Ok(result)) => observed.output(result),
            Ok(Err(_)) => observed.failed("tool_error"),
            Err(_) => observed.failed("timeout"),
        }
        match result {
            Ok(Ok(result)) if result.chars().count() > LONGEST_RESULT => shorten(&result, LONGEST_RESULT),
            Ok(Ok(result)) => result,
            Ok(Err(ToolError::BadArguments(reason))) => tool_error(&format!("The arguments do not fit: {reason}")),
            Ok(Err(fault)) => {
                warn!(tool = tool.spec().name, error = %Chain(&fault), "tool failed");
                tool_error("The tool failed. Answer without it, or try again later.")
            }
            Err(_) => {
                warn!(tool = tool.spec().name, limit_s = TOOL_TIMEOUT.as_secs(), "tool took too long");
                tool_error("The tool took too long. Answer without it.")
            }
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn tool_error(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}

/// The first `most` characters, with `…` if any were cut.
fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
