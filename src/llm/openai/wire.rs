//! The JSON of chat completions and embeddings.
//!
//! Written strictly, read leniently: servers that call themselves compatible leave fields out, send `null` for them, put
//! tool calls without an index, or give arguments as an object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::transport::{Fault, error_code};
use crate::llm::{ChatRequest, EMBEDDING_DIMENSIONS, Error, Message, Result, ToolCall, Usage};

/// Longest text of an answer. Models stop far earlier; a server that does not is broken.
const TEXT_LIMIT_BYTES: usize = 1 << 20;

/// Longest arguments of one tool call.
const ARGUMENTS_LIMIT_BYTES: usize = 256 << 10;

/// Most tool calls in one answer: eight are allowed in a whole turn of the stylist.
const CALLS_LIMIT: usize = 64;

/// What differs between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Azure OpenAI and OpenAI itself, whose newer models refuse `max_tokens`.
    OpenAi,
    /// Everyone else, who often knows nothing but `max_tokens`.
    Compatible,
}

/// The body of a chat request. No temperature and the like: newer models refuse any but the default.
pub(super) fn chat(request: &ChatRequest, dialect: Dialect, model: Option<&str>, streamed: bool) -> Value {
    let mut body = Map::new();
    if let Some(model) = model {
        body.insert("model".to_owned(), model.into());
    }
    body.insert("messages".to_owned(), request.messages.iter().map(message).collect());
    if !request.tools.is_empty() {
        let tool = |tool: &crate::llm::ToolSpec| {
            json!({"type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.parameters,
            }})
        };
        body.insert("tools".to_owned(), request.tools.iter().map(tool).collect());
    }
    if let Some(limit) = request.max_tokens {
        let name = match dialect {
            Dialect::OpenAi => "max_completion_tokens",
            Dialect::Compatible => "max_tokens",
        };
        body.insert(name.to_owned(), limit.into());
    }
    // Not every compatible server knows it, and some refuse what they do not know. The instructions ask for JSON anyway.
    if request.purpose.wants_json_object() && dialect == Dialect::OpenAi {
        body.insert("response_format".to_owned(), json!({"type": "json_object"}));
    }
    body.insert("stream".to_owned(), streamed.into());
    if streamed {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    body.into()
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({"role": "system", "content": text}),
        Message::User(text) => json!({"role": "user", "content": text}),
        Message::UserWithImage { text, image } => {
            let url = format!("data:{};base64,{}", image.media_type, STANDARD.encode(&image.bytes));
            json!({"role": "user", "content": [
                {"type": "text", "text": text},
                {"type": "image_url", "image_url": {"url": url}},
            ]})
        }
        Message::Assistant { content, tool_calls } if tool_calls.is_empty() => {
            json!({"role": "assistant", "content": content})
        }
        Message::Assistant { content, tool_calls } => {
            let call = |call: &ToolCall| {
                json!({"id": call.id, "type": "function", "function": {
                    "name": call.name, "arguments": call.arguments,
                }})
            };
            let content = (!content.is_empty()).then_some(content);
            let calls: Vec<_> = tool_calls.iter().map(call).collect();
            json!({"role": "assistant", "content": content, "tool_calls": calls})
        }
        Message::Tool { call_id, content } => json!({"role": "tool", "tool_call_id": call_id, "content": content}),
    }
}

/// The body of an embedding request. An empty text, which servers refuse together with all beside it, goes as a blank.
pub(super) fn embeddings(texts: &[String], model: Option<&str>) -> Value {
    let input: Vec<&str> = texts.iter().map(|text| if text.is_empty() { " " } else { text }).collect();
    match model {
        Some(model) => json!({"model": model, "input": input, "encoding_format": "float"}),
        None => json!({"input": input, "encoding_format": "float"}),
    }
}

/// A chunk of a streamed answer, or a whole one: they differ in one name.
#[derive(Deserialize)]
pub(super) struct Answer {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Delta>,
    finish_reason: Option<Value>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Value>,
    refusal: Option<Value>,
    tool_calls: Option<Vec<Fragment>>,
}

#[derive(Deserialize)]
struct Fragment {
    index: Option<i64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

/// Puts an answer together from its chunks.
#[derive(Default)]
pub(super) struct Assembler {
    text_bytes: usize,
    calls: Vec<Draft>,
    seen_choice: bool,
    finished: bool,
    usage: Option<Usage>,
}

/// A tool call that may still grow.
#[derive(Default)]
struct Draft {
    index: Option<i64>,
    id: String,
    name: String,
    arguments: String,
}

impl Assembler {
    /// Takes a chunk in; returns the text in it, possibly empty.
    pub(super) fn take(&mut self, json: &str) -> Result<String> {
        let answer: Answer = serde_json::from_str(json).map_err(|_| shape("chunk"))?;
        if let Some(error) = answer.error.filter(|error| !error.is_null()) {
            let code = error_code(&error);
            return Err(match code.as_str() {
                "content_filter" => refused(),
                _ => Error::Interrupted(Fault::Reported(code).into()),
            });
        }
        if let Some(Value::Object(usage)) = answer.usage {
            let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or_default();
            self.usage =
                Some(Usage { input_tokens: count("prompt_tokens"), output_tokens: count("completion_tokens") });
        }
        // Azure's first chunk, about its filters, and the one with the usage have no choice.
        let Some(choice) = answer.choices.unwrap_or_default().into_iter().next() else { return Ok(String::new()) };
        self.seen_choice = true;
        let mut text = String::new();
        if let Some(delta) = choice.delta {
            let said = delta.content.as_ref().and_then(plain_text).filter(|text| !text.is_empty());
            text = said.or_else(|| delta.refusal.as_ref().and_then(plain_text)).unwrap_or_default();
            for fragment in delta.tool_calls.unwrap_or_default() {
                self.grow(fragment)?;
            }
        }
        self.text_bytes += text.len();
        if self.text_bytes > TEXT_LIMIT_BYTES {
            return Err(too_large(TEXT_LIMIT_BYTES));
        }
        match choice.finish_reason {
            Some(Value::String(reason)) if reason == "content_filter" => return Err(refused()),
            Some(Value::String(reason)) if !reason.is_empty() => self.finished = true,
            _ => {}
        }
        Ok(text)
    }

    /// Whether there was anything of an answer in what was taken in.
    pub(super) fn has_choice(&self) -> bool {
        self.seen_choice
    }

    /// Whether the model has said why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The tool calls in their order, and the usage if the server told.
    pub(super) fn finish(mut self) -> Result<(Vec<ToolCall>, Option<Usage>)> {
        self.calls.sort_by_key(|draft| draft.index.unwrap_or(i64::MAX));
        let whole = |draft: Draft| {
            let Draft { id, name, arguments, .. } = draft;
            if name.is_empty() {
                return Err(shape("tool call without a name"));
            }
            let id = if id.is_empty() { format!("call_{}", Uuid::new_v4().simple()) } else { id };
            Ok(ToolCall { id, name, arguments })
        };
        let calls = self.calls.into_iter().map(whole).collect::<Result<_>>()?;
        Ok((calls, self.usage))
    }

    fn grow(&mut self, fragment: Fragment) -> Result<()> {
        let Fragment { index, id, function } = fragment;
        let (name, arguments) = function.map_or((None, None), |function| (function.name, function.arguments));
        let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
        let at = self.draft_for(index, &id, &name)?;
        let draft = &mut self.calls[at];
        if draft.id.is_empty() {
            draft.id = id;
        }
        // Some servers repeat the name with every fragment.
        if draft.name != name {
            draft.name.push_str(&name);
        }
        match arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(arguments)) => draft.arguments.push_str(&arguments),
            Some(arguments) => draft.arguments.push_str(&arguments.to_string()),
        }
        if draft.arguments.len() + draft.name.len() + draft.id.len() > ARGUMENTS_LIMIT_BYTES {
            return Err(too_large(ARGUMENTS_LIMIT_BYTES));
        }
        Ok(())
    }

    /// The place of the call that a fragment belongs to: the one of its index, else the last. A new id together with a
    /// name begins a new call even then, because some servers number all calls 0, or none.
    fn draft_for(&mut self, index: Option<i64>, id: &str, name: &str) -> Result<usize> {
        let known = match index {
            Some(_) => self.calls.iter().rposition(|draft| draft.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let is_another = |draft: &Draft| {
            let other_id = !id.is_empty() && !draft.id.is_empty() && draft.id != id;
            other_id && !name.is_empty()
        };
        match known {
            Some(at) if !is_another(&self.calls[at]) => Ok(at),
            _ if self.calls.len() >= CALLS_LIMIT => Err(shape("too many tool calls")),
            _ => {
                self.calls.push(Draft { index, ..Draft::default() });
                Ok(self.calls.len() - 1)
            }
        }
    }
}

/// A text given as such, or as a list of parts.
fn plain_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()),
        _ => None,
    }
}

#[derive(Deserialize)]
struct EmbeddingAnswer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// Reads `count` vectors, puts them in the order of their texts and makes them unit length.
pub(super) fn read_embeddings(json: &str, count: usize) -> Result<Vec<Vec<f32>>> {
    let answer: EmbeddingAnswer = serde_json::from_str(json).map_err(|_| shape("embeddings"))?;
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, Embedding { index, embedding }) in answer.data.into_iter().enumerate() {
        let slot = vectors.get_mut(index.unwrap_or(place)).filter(|slot| slot.is_none());
        let slot = slot.ok_or_else(|| shape("number of embeddings"))?;
        *slot = Some(unit_length(embedding)?);
    }
    vectors.into_iter().map(|vector| vector.ok_or_else(|| shape("number of embeddings"))).collect()
}

fn unit_length(mut vector: Vec<f32>) -> Result<Vec<f32>> {
    if vector.len() != EMBEDDING_DIMENSIONS {
        return Err(shape("length of an embedding"));
    }
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm <= f64::EPSILON {
        return Err(shape("an embedding without a direction"));
    }
    for x in &mut vector {
        *x = (f64::from(*x) / norm) as f32;
    }
    Ok(vector)
}

fn shape(what: &'static str) -> Error {
    Error::Nonsense(Fault::Shape(what).into())
}

fn too_large(limit_bytes: usize) -> Error {
    Error::Nonsense(Fault::TooLarge(limit_bytes).into())
}

/// A content filter stopped an answer that came with status 200.
fn refused() -> Error {
    Error::Refused { status: 200, cause: Fault::Reported("content_filter".to_owned()).into() }
}
