//! Long requests of `useChat()`. It sends back all messages of a chat with all of their parts, so after some dozens of
//! turns the results of tools make up most of a request. Of a long one, only the texts of the newest messages are
//! parsed, since the parsed form of everything would take many times the memory of the text.

use std::collections::VecDeque;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::base::text::head;
use crate::domain::chat::MOST_TOLD_MESSAGES;
use crate::http::extract::parse_value;

/// Newest messages that are kept: those that are read, and some behind the user's last one.
const MOST_KEPT: usize = MOST_TOLD_MESSAGES + 16;
/// Longest text of a message that is kept, in characters, far above what is read of it.
const LONGEST_KEPT: usize = 64 * 1024;
/// Longest role, in bytes of JSON.
const LONGEST_ROLE: usize = 64;
/// Longest field besides the messages, in bytes of JSON.
const LONGEST_FIELD: usize = 64 * 1024;

/// Reduces a request to its fields and the texts of its newest messages; `None` if it is no such request.
pub fn reduce(body: &[u8]) -> Option<Value> {
    let request: Request<'_> = serde_json::from_slice(body).ok()?;
    let mut reduced = Map::new();
    let fields = [
        ("id", request.id),
        ("trigger", request.trigger),
        ("messageId", request.message_id),
        ("selectedItemIds", request.selected_item_ids),
    ];
    for (name, field) in fields.into_iter().filter_map(|(name, field)| Some((name, field?))) {
        if field.get().len() > LONGEST_FIELD {
            return None;
        }
        reduced.insert(name.to_owned(), parse_value(field.get().as_bytes()).ok()?);
    }
    let messages: Vec<Value> = request.messages.0.into_iter().map(reduce_message).collect();
    reduced.insert("messages".to_owned(), messages.into());
    Some(reduced.into())
}

/// Reduces a message to its role and its text, as one part.
fn reduce_message(message: &RawValue) -> Value {
    let Ok(message) = serde_json::from_str::<Message<'_>>(message.get()) else { return json!({}) };
    let role = message.role.filter(|role| role.get().len() <= LONGEST_ROLE);
    let role = role.and_then(|role| parse_value(role.get().as_bytes()).ok()).unwrap_or_default();
    let texts = message.parts.and_then(|parts| serde_json::from_str::<Texts>(parts.get()).ok());
    json!({ "role": role, "parts": [{ "type": "text", "text": texts.unwrap_or_default().joined }] })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    messages: Newest<'a>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    trigger: Option<&'a RawValue>,
    #[serde(borrow, alias = "message_id")]
    message_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "selected_item_ids")]
    selected_item_ids: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// The last elements of a list.
struct Newest<'a>(VecDeque<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Newest<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NewestVisitor).map(Self)
    }
}

struct NewestVisitor;

impl<'de> Visitor<'de> for NewestVisitor {
    type Value = VecDeque<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut newest = VecDeque::with_capacity(MOST_KEPT + 1);
        while let Some(message) = list.next_element()? {
            newest.push_back(message);
            if newest.len() > MOST_KEPT {
                newest.pop_front();
            }
        }
        Ok(newest)
    }
}

/// The texts in a list of parts, joined.
#[derive(Default)]
struct Texts {
    joined: String,
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of parts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Texts, A::Error> {
        let mut texts: Option<String> = None;
        while let Some(part) = parts.next_element::<&RawValue>()? {
            let Ok(part) = serde_json::from_str::<Part<'_>>(part.get()) else { continue };
            let Some(text) = part.text.filter(|_| part.kind.is_some_and(|kind| kind.get() == r#""text""#)) else {
                continue;
            };
            let Ok(Value::String(text)) = parse_value(text.get().as_bytes()) else { continue };
            let text = head(&text, LONGEST_KEPT);
            match &mut texts {
                None => texts = Some(text),
                Some(joined) if joined.len() < LONGEST_KEPT => {
                    joined.push_str("\n\n");
                    joined.push_str(&text);
                }
                Some(_) => {}
            }
        }
        Ok(Texts { joined: texts.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_texts_of_the_newest_messages_stay() {
        let output = json!({ "type": "dynamic-tool", "output": { "text": "no", "list": vec![1; 1000] } });
        let message = |number: usize| {
            let text = format!("text {number}");
            json!({ "id": "m", "role": "assistant", "parts": [
                output, { "type": "text", "text": text }, 7, { "type": "text" }, { "type": "text", "text": "b 😀" },
            ] })
        };
        let mut messages: Vec<Value> = (0..100).map(message).collect();
        messages.push(json!({ "role": "user", "parts": [{ "type": "text", "text": "x".repeat(500_000) }] }));
        messages.push(json!({ "role": 7, "parts": "none" }));
        messages.push(json!(null));
        let body =
            json!({ "id": "c", "messages": messages, "selectedItemIds": ["a"], "other": [[[]]], "trigger": null });
        let reduced = reduce(body.to_string().as_bytes()).unwrap();
        let kept = reduced["messages"].as_array().unwrap();
        assert_eq!((kept.len(), &reduced["id"], &reduced["selectedItemIds"]), (MOST_KEPT, &json!("c"), &json!(["a"])));
        let first = json!({ "role": "assistant", "parts": [{ "type": "text", "text": "text 37\n\nb 😀" }] });
        assert_eq!(kept[0], first);
        let said = kept[MOST_KEPT - 3]["parts"][0]["text"].as_str().unwrap();
        assert_eq!(said.len(), LONGEST_KEPT);
        assert_eq!(kept[MOST_KEPT - 2], json!({ "role": 7, "parts": [{ "type": "text", "text": "" }] }));
        assert_eq!(reduced.get("other"), None);
        for wrong in ["", "[]", "{}", r#"{"messages": {}}"#, r#"{"message": "x"}"#, r#"{"messages": []"#] {
            assert_eq!(reduce(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
