//! One turn of the built-in stylist: the question, the results of the tools that ran, and the next tool.
//!
//! Answers are written as if tools returned at once: [`Turn::call`] returns an existing result, or ends the answer with
//! the call to be made. The turn runs again when the result is available.

use serde::de::DeserializeOwned;
use serde_json::Value;
use time::Date;

use super::answers;
use super::time as days;
use super::understand::{self, Request};
use crate::llm::{ChatRequest, Message, ToolCall};
use crate::model::conversation::PreferenceKind;

/// Most calls in one turn: fewer than the stylist's loop allows.
const MOST_CALLS: usize = 7;
/// Most messages of the user that are interpreted, the newest.
const MOST_TURNS: usize = 10;
/// Bytes of the newest message that are interpreted, and of each earlier one. Longer texts would take seconds.
const LONGEST_MESSAGE: usize = 2_000;
const LONGEST_EARLIER: usize = 500;
/// Delimiters of data in the system prompt: selected pieces, the memory, preferences.
const SELECTED: (&str, &str) = ("<selected_items>", "</selected_items>");
const MEMORY: (&str, &str) = ("<memory>", "</memory>");
const PREFERENCES: (&str, &str) = ("<preferences>", "</preferences>");
/// Text before the date in the stylist's prompt.
const TODAY: &str = "Today is ";

/// Why an answer is not finished.
pub enum Unfinished {
    /// A tool has to run first.
    Call(&'static str, Value),
    /// A tool failed or is missing; the text for the user.
    Sorry(String),
    /// The answer is complete.
    Answered(String),
}

/// An answer, or why it is not finished.
pub type Answer<T = String> = Result<T, Unfinished>;

/// A turn, read from the request.
pub struct Turn<'a> {
    request: &'a ChatRequest,
    /// The understood message of the user.
    pub asked: Request,
    /// The day it is.
    pub today: Date,
    system: &'a str,
    results: Vec<(&'a ToolCall, &'a str)>,
    /// Selects variants of sentences.
    pub(super) seed: u64,
}

impl<'a> Turn<'a> {
    /// Reads the request.
    pub fn new(request: &'a ChatRequest) -> Self {
        let messages = &request.messages[..];
        let last = messages.iter().rposition(|message| message.user_text().is_some());
        let last = last.map_or(messages.len(), |place| place + 1);
        let system = messages.iter().find_map(|message| match message {
            Message::System(text) => Some(text.as_str()),
            _ => None,
        });
        let system = system.unwrap_or_default();
        let today = system.find(TODAY).and_then(|start| {
            let text = &system[start + TODAY.len()..];
            text.split_once(", ").and_then(|(_, date)| days::read(date))
        });
        let today = today.unwrap_or_else(|| Date::from_ordinal_date(1970, 1).expect("the first day of a year"));
        let mut said = Vec::new();
        let mut answer: Option<&str> = None;
        for message in &messages[..last] {
            if let Some(text) = message.user_text() {
                said.push((answer.take(), text));
            } else if let Message::Assistant { content, .. } = message
                && !content.is_empty()
            {
                answer = Some(content);
            }
        }
        let turns = said.len();
        said.drain(..turns.saturating_sub(MOST_TURNS));
        for (age, (_, text)) in said.iter_mut().rev().enumerate() {
            let longest = if age == 0 { LONGEST_MESSAGE } else { LONGEST_EARLIER };
            *text = &text[..text.floor_char_boundary(longest)];
        }
        let asked = understand::conversation(&said, today);
        let mut calls: Vec<&ToolCall> = Vec::new();
        let mut results = Vec::new();
        for message in &messages[last..] {
            match message {
                Message::Assistant { tool_calls, .. } => calls.extend(tool_calls),
                Message::Tool { call_id, content } => {
                    if let Some(call) = calls.iter().find(|call| call.id == *call_id) {
                        results.push((*call, content.as_str()));
                    }
                }
                _ => {}
            }
        }
        let text = said.last().map(|(_, text)| *text).unwrap_or_default();
        let seed = text.bytes().fold(turns as u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self { request, asked, today, system, results, seed }
    }

    /// Returns the turn with another request of the same message.
    pub fn with(&self, asked: Request) -> Self {
        Self { asked, results: self.results.clone(), seed: self.seed.wrapping_add(1), ..*self }
    }

    /// Returns the text, or the tool calls to make first.
    pub fn answer(&self) -> (String, Vec<ToolCall>) {
        match answers::answer(self) {
            Ok(text) | Err(Unfinished::Sorry(text) | Unfinished::Answered(text)) => (text, Vec::new()),
            Err(Unfinished::Call(name, arguments)) => {
                let id = format!("offline-{}", self.results.len() + 1);
                (String::new(), vec![ToolCall { id, name: name.to_owned(), arguments: arguments.to_string() }])
            }
        }
    }

    /// Returns the result of a tool as text.
    pub fn call(&self, name: &'static str, arguments: Value) -> Answer<&'a str> {
        let result = self.results.iter().find(|(call, _)| {
            // An accepted offer already ran, with any arguments.
            call.name == name
                && (call.id.starts_with("accepted-")
                    || serde_json::from_str(&call.arguments).is_ok_and(|known: Value| known == arguments))
        });
        match result {
            Some((_, content)) if is_error(content) => {
                let what = self.may_say(&format!("to {name}"), &[]).unwrap_or_else(|| self.say("to do it", &[]));
                Err(Unfinished::Sorry(self.say("failed", &[("what", &what)])))
            }
            Some((_, content)) => Ok(content),
            None if !self.request.tools.iter().any(|tool| tool.name == name) || self.results.len() >= MOST_CALLS => {
                Err(Unfinished::Sorry(self.say("no such tool", &[])))
            }
            None => Err(Unfinished::Call(name, arguments)),
        }
    }

    /// Returns the parsed result of a tool that answers in JSON.
    pub fn read<T: DeserializeOwned>(&self, name: &'static str, arguments: Value) -> Answer<T> {
        let text = self.call(name, arguments)?;
        serde_json::from_str(text).map_err(|_| Unfinished::Sorry(self.say("unreadable", &[])))
    }

    /// Returns the query of a search that ran because its offer was accepted.
    pub fn accepted_query(&self, name: &str) -> Option<String> {
        let (call, _) = self.results.iter().find(|(call, _)| call.name == name && call.id.starts_with("accepted-"))?;
        let arguments: Value = serde_json::from_str(&call.arguments).ok()?;
        Some(arguments.get("query")?.as_str()?.to_owned())
    }

    /// Returns the ids of the pieces that the user selected.
    pub fn selected(&self) -> Vec<String> {
        let items: Vec<Value> = serde_json::from_str(self.block(SELECTED)).unwrap_or_default();
        items.iter().filter_map(|item| Some(item.get("id")?.as_str()?.to_owned())).collect()
    }

    /// Returns the summary of earlier conversations.
    pub fn memory(&self) -> &'a str {
        self.block(MEMORY)
    }

    /// Returns the user's stated preferences.
    pub fn preferences(&self) -> Vec<(PreferenceKind, &'a str)> {
        let line = |line: &'a str| {
            let (kind, text) = line.split_once(": ")?;
            PreferenceKind::named(kind.trim_end_matches('s')).map(|kind| (kind, text.trim()))
        };
        self.block(PREFERENCES).lines().filter_map(line).collect()
    }

    fn block(&self, (open, close): (&str, &str)) -> &'a str {
        let start = self.system.find(open).map(|start| start + open.len());
        let block = start.and_then(|start| Some(&self.system[start..start + self.system[start..].find(close)?]));
        block.unwrap_or_default().trim()
    }
}

/// Whether a result is a tool's error.
fn is_error(result: &str) -> bool {
    let named = serde_json::from_str::<Value>(result).is_ok_and(|value| value.get("error").is_some());
    let start = result.trim_start().get(..5).unwrap_or_default();
    named || start.eq_ignore_ascii_case("error")
}
