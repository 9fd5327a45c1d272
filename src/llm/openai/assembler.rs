//! Assembles an answer from its chunks; a complete answer is one chunk.

use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::json::{Object, Surrogates, plain, text};
use super::transport::{EventData, Fault, error_code, error_code_of};
use crate::llm::{Error, Result, ToolCall, Usage};

/// Longest text of an answer; models stop far earlier.
const TEXT_LIMIT_BYTES: usize = 1 << 20;

/// Longest arguments of one tool call.
const ARGUMENTS_LIMIT_BYTES: usize = 256 << 10;

/// Most tool calls in one answer; eight are allowed per turn of the stylist.
const CALLS_LIMIT: usize = 64;

/// An answer being assembled.
#[derive(Default)]
pub(super) struct Assembler {
    /// Names of the tools in the request.
    tools: Vec<&'static str>,
    text_bytes: usize,
    surrogates: Surrogates,
    calls: Vec<Draft>,
    seen_choice: bool,
    seen_delta: bool,
    finished: bool,
    usage: Option<Usage>,
}

/// The part of an answer that follows its text.
pub(super) struct Ending {
    /// An unpaired half of a surrogate pair.
    pub text: Option<char>,
    /// Tool calls in order.
    pub calls: Vec<ToolCall>,
    /// Usage, if reported.
    pub usage: Option<Usage>,
}

/// A tool call being assembled.
#[derive(Default)]
struct Draft {
    index: Option<i64>,
    id: String,
    name: String,
    arguments: String,
    surrogates: Surrogates,
}

impl Draft {
    /// Whether the arguments are complete.
    fn has_all_arguments(&self) -> bool {
        self.arguments.trim_end().ends_with('}') && Object::read(&self.arguments).is_some()
    }

    /// Whether the call has no content yet.
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.arguments.trim().is_empty()
    }
}

/// A fragment of a tool call.
struct Fragment {
    index: Option<i64>,
    id: String,
    name: String,
    arguments: Vec<u8>,
}

impl Fragment {
    fn read(call: &Object<'_>, function: Option<&Object<'_>>) -> Self {
        let function = function.unwrap_or(call);
        let arguments = function.get("arguments").map(|arguments| match text(arguments) {
            Some(text) => text,
            // Some servers send them as a JSON object instead of a string.
            None => arguments.get().as_bytes().to_owned(),
        });
        Self {
            index: call.integer("index"),
            id: call.word("id").unwrap_or_default(),
            name: function.word("name").unwrap_or_default(),
            arguments: arguments.unwrap_or_default(),
        }
    }
}

impl Assembler {
    /// Starts an answer to a request with these tools.
    pub(super) fn new(tools: Vec<&'static str>) -> Self {
        Self { tools, ..Self::default() }
    }

    /// Adds an event; returns its text, possibly empty.
    pub(super) fn take_event(&mut self, event: &EventData) -> Result<String> {
        if event.is_error {
            let code =
                serde_json::from_str(&event.data).map_or_else(|_| "unknown".to_owned(), |body| error_code(&body));
            return Err(Error::Interrupted(Fault::Reported(code).into()));
        }
        self.take(&event.data)
    }

    /// Adds a chunk; returns its text, possibly empty.
    pub(super) fn take(&mut self, json: &str) -> Result<String> {
        if serde_json::from_str::<&RawValue>(json).is_err() {
            return Err(Error::Nonsense(Fault::NotJson.into()));
        }
        let answer = Object::read(json).ok_or_else(|| shape("chunk"))?;
        if let Some(code) = reported_error(&answer) {
            return Err(match code.as_str() {
                "content_filter" => refused(),
                _ => Error::Interrupted(Fault::Reported(code).into()),
            });
        }
        if let Some(usage) = answer.object("usage") {
            let count = |names: [&str; 2]| {
                let count = names.iter().find_map(|name| usage.integer(name)).unwrap_or_default();
                u64::try_from(count).unwrap_or_default()
            };
            let usage = Usage {
                input_tokens: count(["prompt_tokens", "input_tokens"]),
                output_tokens: count(["completion_tokens", "output_tokens"]),
            };
            // Some servers send growing usage with every chunk, and some send zeros at the end.
            if usage != Usage::default() || self.usage.is_none() {
                self.usage = Some(usage);
            }
        }
        if let Some(choices) = answer.get("choices")
            && !choices.get().starts_with('[')
        {
            return Err(shape("choices"));
        }
        // Azure's first chunk (about its filters) and the usage chunk have no choice.
        let Some(choice) = answer.objects("choices").into_iter().next() else { return Ok(String::new()) };
        self.seen_choice = true;
        if let Some(code) = reported_error(&choice) {
            return Err(Error::Interrupted(Fault::Reported(code).into()));
        }
        // Streams have a delta, complete answers a message. If a stream has both, the message repeats earlier text.
        let delta = choice.object("delta");
        self.seen_delta |= delta.as_ref().is_some_and(has_content);
        let said = if self.seen_delta { delta } else { choice.object("message").or(delta) };
        let mut piece = said.as_ref().map(|said| self.take_text(said)).unwrap_or_default();
        if piece.is_empty()
            && let Some(text) = choice.get("text").and_then(text)
        {
            // The format of plain (non-chat) completions.
            piece = self.surrogates.take(&text);
        }
        if let Some(said) = &said {
            self.take_calls(said)?;
        }
        self.text_bytes += piece.len();
        if self.text_bytes > TEXT_LIMIT_BYTES {
            return Err(too_large(TEXT_LIMIT_BYTES));
        }
        match choice.word("finish_reason").unwrap_or_default().as_str() {
            "content_filter" => return Err(refused()),
            "error" => return Err(Error::Interrupted(Fault::Reported("error".to_owned()).into())),
            // Some servers write null as a text.
            "" | "null" | "None" => {}
            _ => self.finished = true,
        }
        Ok(piece)
    }

    fn take_text(&mut self, said: &Object<'_>) -> String {
        let content = said.get("content").and_then(text).filter(|content| !content.is_empty());
        let content = content.or_else(|| said.get("refusal").and_then(text)).unwrap_or_default();
        self.surrogates.take(&content)
    }

    fn take_calls(&mut self, said: &Object<'_>) -> Result<()> {
        let calls = said.objects("tool_calls");
        for call in &calls {
            self.grow(Fragment::read(call, call.object("function").as_ref()))?;
        }
        // The former format for a single call.
        if calls.is_empty()
            && let Some(function) = said.object("function_call")
        {
            self.grow(Fragment::read(&function, None))?;
        }
        Ok(())
    }

    /// Whether any part of an answer has arrived.
    pub(super) fn has_choice(&self) -> bool {
        self.seen_choice
    }

    /// Whether the model has reported why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Completes the answer; returns what follows the text.
    pub(super) fn finish(mut self) -> Result<Ending> {
        self.calls.sort_by_key(|draft| draft.index.unwrap_or(i64::MAX));
        let mut calls: Vec<ToolCall> = Vec::new();
        for draft in self.calls.into_iter().filter(|draft| !draft.is_empty()) {
            let Draft { id, name, mut arguments, mut surrogates, .. } = draft;
            if name.is_empty() {
                return Err(shape("tool call without a name"));
            }
            arguments.extend(surrogates.end());
            let is_new = !id.is_empty() && calls.iter().all(|call| call.id != id);
            let id = if is_new { id } else { format!("call_{}", Uuid::new_v4().simple()) };
            calls.push(ToolCall { id, name, arguments: mended(arguments) });
        }
        Ok(Ending { text: self.surrogates.end(), calls, usage: self.usage })
    }

    fn grow(&mut self, fragment: Fragment) -> Result<()> {
        let at = self.draft_for(&fragment)?;
        let draft = &mut self.calls[at];
        let Fragment { id, name, arguments, .. } = fragment;
        if draft.id.is_empty() {
            draft.id = id;
        }
        // Some servers repeat the name with every fragment.
        if draft.name != name {
            draft.name.push_str(&name);
        }
        let arguments = draft.surrogates.take(&arguments);
        draft.arguments.push_str(&arguments);
        if draft.arguments.len() + draft.name.len() + draft.id.len() > ARGUMENTS_LIMIT_BYTES {
            return Err(too_large(ARGUMENTS_LIMIT_BYTES));
        }
        Ok(())
    }

    /// Returns the index of the call that a fragment belongs to: by index or id, else the last one.
    fn draft_for(&mut self, fragment: &Fragment) -> Result<usize> {
        let by_index = || self.calls.iter().rposition(|draft| draft.index == fragment.index);
        let by_id = || self.calls.iter().rposition(|draft| !draft.id.is_empty() && draft.id == fragment.id);
        let known = match fragment.index {
            Some(_) => by_index().or_else(|| by_id().filter(|_| fragment.name.is_empty())),
            None => by_id().or_else(|| self.calls.len().checked_sub(1)),
        };
        match known {
            Some(at) if !self.is_another(&self.calls[at], fragment) => Ok(at),
            _ if self.calls.len() >= CALLS_LIMIT => Err(shape("too many tool calls")),
            _ => {
                self.calls.push(Draft { index: fragment.index, ..Draft::default() });
                Ok(self.calls.len() - 1)
            }
        }
    }

    /// Whether a fragment starts a new call despite a known index, since some servers number all calls 0 or not at all.
    /// A new call has a name and another id; without ids, arguments and tool names decide.
    fn is_another(&self, draft: &Draft, fragment: &Fragment) -> bool {
        if fragment.name.is_empty() || draft.name.is_empty() {
            return false;
        }
        if !fragment.id.is_empty() && !draft.id.is_empty() {
            return draft.id != fragment.id;
        }
        if draft.name == fragment.name {
            // Unless the name is merely repeated.
            return draft.has_all_arguments() && !fragment.arguments.trim_ascii().is_empty();
        }
        let is_tool = |name: &str| self.tools.contains(&name);
        !draft.arguments.is_empty() || (is_tool(&draft.name) && is_tool(&fragment.name))
    }
}

fn has_content(said: &Object<'_>) -> bool {
    ["content", "tool_calls", "function_call", "refusal", "role", "reasoning_content", "reasoning"]
        .iter()
        .any(|name| said.get(name).is_some())
}

/// Repairs arguments whose meaning is clear: none, an object within a string, or an empty object before the real one.
/// Others are left for the tool to reject.
fn mended(arguments: String) -> String {
    match arguments.trim() {
        "" | "null" => return "{}".to_owned(),
        text if Object::read(text).is_some() => return arguments,
        _ => {}
    }
    if let Ok(inner) = serde_json::from_str::<String>(&arguments)
        && Object::read(&inner).is_some()
    {
        return inner;
    }
    let several: std::result::Result<Vec<&RawValue>, _> =
        serde_json::Deserializer::from_str(&arguments).into_iter::<&RawValue>().collect();
    match several.as_deref() {
        Ok([first, last]) if first.get() == "{}" && Object::read(last.get()).is_some() => last.get().to_owned(),
        _ => arguments,
    }
}

/// Returns the code of an error in place of, or within, an answer.
fn reported_error(object: &Object<'_>) -> Option<String> {
    if let Some(error) = object.get("error") {
        return match error.get() {
            "false" | "\"\"" | "{}" => None,
            _ => Some(
                serde_json::from_str::<Value>(error.get())
                    .map_or_else(|_| error_code_of(None), |error| error_code(&error)),
            ),
        };
    }
    let is = |name: &str, value: &str| object.get(name).and_then(plain).is_some_and(|found| found == value);
    let is_answer = ["choices", "usage", "delta", "message"]
        .iter()
        .any(|name| object.get(name).is_some_and(|value| value.get().starts_with(['[', '{'])));
    let has_words = ["message", "detail", "error_message", "error_msg"].iter().any(|name| object.get(name).is_some());
    let is_error = is("object", "error") || is("type", "error") || (!is_answer && has_words);
    let codes = || ["code", "type"].iter().find_map(|name| object.get(name).and_then(plain));
    is_error.then(|| error_code_of(codes()))
}

fn shape(what: &'static str) -> Error {
    Error::Nonsense(Fault::Shape(what).into())
}

fn too_large(limit_bytes: usize) -> Error {
    Error::Nonsense(Fault::TooLarge(limit_bytes).into())
}

/// Creates the error of a content filter that stopped an answer with status 200.
fn refused() -> Error {
    Error::Refused { status: 200, cause: Fault::Reported("content_filter".to_owned()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_mended_where_it_is_plain_what_is_meant() {
        for (arguments, expected) in [
            ("", "{}"),
            (" null ", "{}"),
            (r#"{"query": "coat"}"#, r#"{"query": "coat"}"#),
            (r#""{\"query\": \"coat\"}""#, r#"{"query": "coat"}"#),
            (r#"{}{"query": "coat"}"#, r#"{"query": "coat"}"#),
            (r#"{"query": "navy co"#, r#"{"query": "navy co"#),
            ("[]", "[]"),
        ] {
            assert_eq!(mended(arguments.to_owned()), expected, "{arguments}");
        }
    }

    #[test]
    fn errors_are_told_from_answers() {
        let code = |json: &str| reported_error(&Object::read(json).unwrap());
        for (json, expected) in [
            (r#"{"error": {"code": "overloaded"}}"#, Some("overloaded")),
            (r#"{"error": "secret words"}"#, Some("unknown")),
            (r#"{"object": "error", "message": "m", "type": "BadRequestError", "code": 400}"#, Some("400")),
            (r#"{"type": "error", "error": {"type": "overloaded_error"}}"#, Some("overloaded_error")),
            (r#"{"detail": "secret words"}"#, Some("unknown")),
            (r#"{"message": "secret words", "code": "x y"}"#, Some("unknown")),
            (r#"{"error": null, "choices": []}"#, None),
            (r#"{"error": "", "choices": []}"#, None),
            (r#"{"choices": [], "message": "ok"}"#, None),
            (r#"{}"#, None),
            (r#"{"id": "c", "object": "chat.completion.chunk"}"#, None),
        ] {
            assert_eq!(code(json).as_deref(), expected, "{json}");
        }
    }
}
