//! Requests for chat completions and embeddings, and answers with embeddings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::json::Object;
use super::transport::Fault;
use crate::base::hash::sha256_hex;
use crate::llm::{ChatRequest, EMBEDDING_DIMENSIONS, Error, Message, Result, ToolCall, Tools};

/// Length of tool call ids that every server accepts; Mistral requires nine letters or digits.
const ID_LENGTH: usize = 9;

/// Body of a request.
#[derive(Clone, Serialize)]
pub(super) struct Body {
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Tools>,
}

impl Body {
    /// Whether the body has this field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name) || (name == "tools" && self.tools.is_some())
    }
}

/// Builds a chat request. Omits temperature and the like, since newer models refuse any but the default.
pub(super) fn chat(request: &ChatRequest, dialect: &Dialect, model: Option<&str>, streamed: bool) -> Body {
    let mut body = Map::new();
    if let Some(model) = model {
        body.insert("model".to_owned(), model.into());
    }
    body.insert("messages".to_owned(), request.messages.iter().map(message).collect());
    if let Some(tokens) = request.max_tokens {
        dialect.limit(&mut body, tokens);
    }
    if request.purpose.wants_json_object() {
        dialect.ask_for_json(&mut body);
    }
    body.insert("stream".to_owned(), streamed.into());
    if streamed {
        dialect.ask_for_usage(&mut body);
    }
    let has_tools = !request.tools.is_empty() && dialect.has_tools();
    Body { fields: body, tools: has_tools.then(|| request.tools.clone()) }
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
                json!({"id": short_id(&call.id), "type": "function", "function": {
                    "name": call.name, "arguments": sound_arguments(&call.arguments),
                }})
            };
            let content = (!content.is_empty()).then_some(content);
            let calls: Vec<_> = tool_calls.iter().map(call).collect();
            json!({"role": "assistant", "content": content, "tool_calls": calls})
        }
        Message::Tool { call_id, content } => {
            json!({"role": "tool", "tool_call_id": short_id(call_id), "content": content})
        }
    }
}

/// Shortens a tool call id deterministically.
fn short_id(id: &str) -> String {
    let is_short = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_short { id.to_owned() } else { sha256_hex(id).chars().take(ID_LENGTH).collect() }
}

/// Returns arguments that servers can parse; invalid text of the model is quoted in the tool's result.
fn sound_arguments(arguments: &str) -> &str {
    if Object::read(arguments).is_some() { arguments } else { "{}" }
}

/// Builds an embedding request. An empty text, for which servers refuse the whole request, is sent as a space.
pub(super) fn embeddings(texts: &[String], dialect: &Dialect, model: Option<&str>) -> Body {
    let input: Vec<&str> = texts.iter().map(|text| if text.is_empty() { " " } else { text }).collect();
    let mut body = Map::new();
    if let Some(model) = model {
        body.insert("model".to_owned(), model.into());
    }
    body.insert("input".to_owned(), input.into());
    dialect.ask_for_numbers(&mut body);
    Body { fields: body, tools: None }
}

/// Parses `count` embeddings, orders them like their texts, and normalises them.
pub(super) fn read_embeddings(json: &str, count: usize) -> Result<Vec<Vec<f32>>> {
    let answer = Object::read(json).ok_or_else(|| shape("embeddings"))?;
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, embedding) in answer.objects("data").into_iter().enumerate() {
        let place = embedding.integer("index").map_or(Ok(place), usize::try_from);
        let slot = place.ok().and_then(|place| vectors.get_mut(place)).filter(|slot| slot.is_none());
        let slot = slot.ok_or_else(|| shape("number of embeddings"))?;
        let numbers = embedding.get("embedding").and_then(|numbers| serde_json::from_str(numbers.get()).ok());
        *slot = Some(unit_length(numbers.ok_or_else(|| shape("embeddings"))?)?);
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::llm::{Image, Purpose};

    #[test]
    fn a_picture_goes_as_a_data_url_and_json_is_asked_of_those_who_know_it() {
        let image = Image { media_type: "image/png".to_owned(), bytes: Bytes::from_static(b"\x89PNG") };
        let request = ChatRequest {
            purpose: Purpose::AnalyseTaste,
            messages: vec![Message::UserWithImage { text: "Look.".to_owned(), image }],
            tools: [].into(),
            max_tokens: None,
        };
        let original = serde_json::to_value(chat(&request, &Dialect::OPENAI, None, false)).unwrap();
        assert_eq!(
            original,
            json!({"stream": false, "response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Look."},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            ]}]})
        );
        assert!(!chat(&request, &Dialect::COMPATIBLE, None, false).has("response_format"));
    }

    #[test]
    fn ids_of_calls_are_what_every_server_takes() {
        assert_eq!(short_id("D681PevKs"), "D681PevKs");
        for id in ["call_a1", "", "chatcmpl-tool-4711", "nine-char"] {
            let short = short_id(id);
            assert!(short.len() == 9 && short.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{short}");
            assert_eq!(short, short_id(id));
        }
        assert_ne!(short_id("call_1"), short_id("call_2"));
    }
}
