//! The loop of a turn: stream the model, run the tools it calls, feed their results back, until it answers.
//!
//! An answer of the model and the results of its tools are a step. A turn can be resumed after any finished step.

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::follow_up::{self, FollowUp};
use super::runs::Log;
use super::tools::{self, LONGEST_RESULT, ToolOutput, shorten};
use super::{Chat, PreparedTurn, history, prompt};
use crate::base::clock::milliseconds;
use crate::llm::{self, CallContext, ChatRequest, Message, Part, Purpose, ToolCall};
use crate::model::chat_run::{ChatEvent, FinishedCall, FinishedStep, Role};
use crate::model::ids::UserId;

/// Characters of a result that clients see.
const SUMMARY_LENGTH: usize = 120;
/// Longest tool name that is repeated, in characters: models can invent names.
const LONGEST_NAME: usize = 64;

/// Why a turn ends without an answer.
#[derive(Debug)]
pub enum Stop {
    /// The model called more tools than a turn allows.
    LimitReached,
    /// The model gave no answer, at most reasoning.
    Silent,
    /// The model failed.
    Model(llm::Error),
}

impl From<llm::Error> for Stop {
    fn from(error: llm::Error) -> Self {
        Self::Model(error)
    }
}

/// A turn while it happens.
pub struct Conversation<'a> {
    chat: &'a Chat,
    user: &'a UserId,
    context: &'a CallContext,
    log: &'a Log,
    messages: Vec<Message>,
    /// The steps that are finished.
    steps: Vec<FinishedStep>,
    /// Note for the model about the offer that the user has accepted, until a step has stored it.
    accepted: Option<String>,
    /// Text of the model in the current step.
    text: String,
    pieces: u64,
    output_tokens: u64,
    tool_calls: usize,
}

impl<'a> Conversation<'a> {
    /// Creates the loop of `prepared`, after these finished steps, with its events going to `log`.
    pub fn new(chat: &'a Chat, prepared: &'a PreparedTurn, steps: Vec<FinishedStep>, log: &'a Log) -> Self {
        Self {
            chat,
            user: &prepared.turn.user,
            context: &prepared.context,
            log,
            messages: Vec::new(),
            tool_calls: steps.iter().map(|step| step.calls.len()).sum(),
            steps,
            accepted: None,
            text: String::new(),
            pieces: 0,
            output_tokens: 0,
        }
    }

    /// Returns all text of the model so far.
    pub fn answer(&self) -> String {
        let finished = self.steps.iter().map(|step| step.text.as_str());
        finished.chain([self.text.as_str()]).collect()
    }

    /// Returns the tokens of the answer: the server's count, or else the number of streamed chunks.
    pub fn token_count(&self) -> u64 {
        self.steps.iter().map(|step| step.tokens).sum::<u64>() + self.tokens_of_step()
    }

    fn tokens_of_step(&self) -> u64 {
        if self.output_tokens > 0 { self.output_tokens } else { self.pieces }
    }

    /// Returns the number of tool calls that the model requested.
    pub fn tool_calls(&self) -> usize {
        self.tool_calls
    }

    /// Runs until the model has answered.
    pub async fn run(&mut self, prepared: &PreparedTurn) -> Result<(), Stop> {
        self.begin(prepared);
        if self.steps.last().is_some_and(|step| step.calls.is_empty()) {
            return Ok(());
        }
        if self.steps.is_empty()
            && let Some(accepted) = self.recognise_consent(prepared).await
        {
            self.do_what_was_accepted(accepted).await?;
        }
        loop {
            let calls = self.stream_answer().await?;
            let is_last = calls.is_empty();
            let calls = if is_last { Vec::new() } else { self.run_tools(calls).await? };
            self.finish_step(calls).await;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Builds the messages for the model, including the finished steps.
    fn begin(&mut self, prepared: &PreparedTurn) {
        let turn = &prepared.turn;
        self.messages.push(Message::System(prompt::system(prepared, self.chat.clock.now())));
        for message in &turn.recent {
            let content = message.content.clone();
            self.messages.push(match message.role {
                Role::User => Message::User(content),
                Role::Assistant => Message::Assistant { content, tool_calls: Vec::new() },
            });
        }
        // An unanswered question is merged with this one.
        let message = match self.messages.pop_if(|last| matches!(last, Message::User(_))) {
            Some(Message::User(before)) => history::joined(&before, &turn.message),
            _ => turn.message.clone(),
        };
        self.messages.push(Message::User(message));
        for step in self.steps.clone() {
            if let Some(note) = &step.accepted {
                self.tell_of_consent(note);
            }
            self.remember(&step);
        }
    }

    /// Adds a finished step to the messages.
    fn remember(&mut self, step: &FinishedStep) {
        if step.calls.is_empty() {
            return;
        }
        let call = |call: &FinishedCall| ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        };
        let tool_calls = step.calls.iter().map(call).collect();
        self.messages.push(Message::Assistant { content: step.text.clone(), tool_calls });
        let results = step.calls.iter();
        self.messages
            .extend(results.map(|call| Message::Tool { call_id: call.id.clone(), content: call.result.clone() }));
    }

    /// Records a step as finished, so that it is never repeated.
    async fn finish_step(&mut self, calls: Vec<FinishedCall>) {
        let tokens = self.tokens_of_step();
        (self.pieces, self.output_tokens) = (0, 0);
        let (text, accepted) = (std::mem::take(&mut self.text), self.accepted.take());
        let step = FinishedStep { text, calls, accepted, tokens };
        self.remember(&step);
        self.steps.push(step);
        self.log.finish_step(&self.steps).await;
    }

    /// Determines what the user's message accepts of the stylist's last one.
    async fn recognise_consent(&self, prepared: &PreparedTurn) -> Option<FollowUp> {
        let offer = prepared.said_last.as_ref().filter(|last| last.role == Role::Assistant)?;
        follow_up::recognise(&*self.chat.model, self.context, &offer.content, &prepared.turn.message).await
    }

    /// Streams one answer of the model to the log and returns its tool calls.
    async fn stream_answer(&mut self) -> Result<Vec<ToolCall>, Stop> {
        let request = ChatRequest {
            purpose: Purpose::Stylist,
            messages: self.messages.clone(),
            tools: self.chat.specs.clone(),
            max_tokens: None,
        };
        let mut parts = self.chat.model.stream(self.context, request).await?;
        let mut calls = Vec::new();
        while let Some(part) = parts.next().await {
            match part? {
                Part::Text(text) => {
                    self.text.push_str(&text);
                    self.pieces += 1;
                    self.log.say(ChatEvent::Token { content: text }).await;
                }
                Part::ToolCall(call) => calls.push(call),
                Part::Usage(usage) => self.output_tokens += usage.output_tokens,
            }
        }
        if calls.is_empty() && self.text.trim().is_empty() {
            return Err(Stop::Silent);
        }
        Ok(calls)
    }

    /// Runs the tools of one answer concurrently, and returns them with their results in the order of the calls.
    async fn run_tools(&mut self, calls: Vec<ToolCall>) -> Result<Vec<FinishedCall>, Stop> {
        let first = self.tool_calls;
        self.tool_calls += calls.len();
        if self.tool_calls > self.chat.tool_call_limit {
            return Err(Stop::LimitReached);
        }
        // Models reuse call ids in the next step.
        let call_id = |position: usize| format!("call-{}", first + position + 1);
        for (position, call) in calls.iter().enumerate() {
            let name = shorten(&call.name, LONGEST_NAME);
            let input = shorten(&call.arguments, LONGEST_RESULT);
            self.log.say(ChatEvent::ToolUse { name, call_id: call_id(position), input }).await;
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
                call_id: call_id(position),
                summary: shorten(&result.text, SUMMARY_LENGTH),
                output: result.text.clone(),
                is_error: result.is_error,
                tool_latency_ms: milliseconds(latency),
            };
            self.log.say(event).await;
            results[position] = result.text;
        }
        drop(running);
        let finished = |(ToolCall { id, name, arguments }, result)| FinishedCall { id, name, arguments, result };
        Ok(calls.into_iter().zip(results).map(finished).collect())
    }

    /// Runs the tool of an accepted offer before the model speaks, so that its answer can use the result.
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
        self.tell_of_consent(note);
        self.accepted = Some(note.to_owned());
        let Some((name, arguments)) = call else { return Ok(()) };
        let call = ToolCall { id: format!("accepted-{name}"), name: name.to_owned(), arguments };
        let calls = self.run_tools(vec![call]).await?;
        self.finish_step(calls).await;
        Ok(())
    }

    fn tell_of_consent(&mut self, note: &str) {
        if let Some(Message::System(text)) = self.messages.first_mut() {
            text.push_str("\n\nThe person's last message accepts your offer. ");
            text.push_str(note);
            text.push_str(" Tell the actual results; do not offer the same again.");
        }
    }
}

impl Chat {
    /// Runs a tool and returns its result, or an error worded for the model. A failing tool never ends the turn.
    async fn run_tool(&self, user: &UserId, context: &CallContext, call: &ToolCall) -> ToolOutput {
        let Some(tool) = self.tool(&call.name) else {
            return ToolOutput::error("There is no such tool.");
        };
        tools::call(tool, user, context, &call.arguments).await
    }
}
