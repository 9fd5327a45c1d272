//! Content of messages as chat clients send it: a text, or a list of parts of several types.

use serde_json::{Value, json};

use super::{Fields, Step};

/// Content of a message.
#[derive(Debug, Default)]
pub struct Content {
    /// The texts, separated by line breaks.
    pub text: String,
    /// Whether there are parts other than text, such as pictures.
    pub has_other: bool,
}

impl Fields {
    /// Reads a text, or a list of parts, each an object with a `type`; those of type `text` have a `text`. May be
    /// missing or null.
    pub fn content(&mut self, name: &'static str) -> Content {
        self.ask(name, false, |_| schema());
        match self.take(name) {
            None | Some(Value::Null) => Content::default(),
            Some(Value::String(text)) => Content { text, has_other: false },
            Some(Value::Array(parts)) => self.parts(name, parts),
            Some(other) => {
                let msg = "Input should be a valid string or list";
                self.fault("string_type", &[Step::Name(name)], msg, other, Value::Null);
                Content::default()
            }
        }
    }

    fn parts(&mut self, name: &'static str, parts: Vec<Value>) -> Content {
        let mut content = Content::default();
        for (position, mut part) in parts.into_iter().enumerate() {
            let steps = [Step::Name(name), Step::Position(position)];
            if !part["type"].is_string() {
                self.fault("model_attributes_type", &steps, "Input should be an object with a type", part, Value::Null);
                continue;
            }
            if part["type"] != "text" {
                content.has_other = true;
                continue;
            }
            match part["text"].take() {
                Value::String(text) if content.text.is_empty() => content.text = text,
                Value::String(text) => {
                    content.text.push('\n');
                    content.text.push_str(&text);
                }
                other => {
                    let [list, at] = steps;
                    let steps = [list, at, Step::Name("text")];
                    self.fault("string_type", &steps, "Input should be a valid string", other, Value::Null);
                }
            }
        }
        content
    }
}

fn schema() -> Value {
    let of_type = |kind: Value, more: Value| {
        let mut schema = json!({ "type": "object", "properties": { "type": kind }, "required": ["type"] });
        if more.is_object() {
            schema["properties"]["text"] = more;
            schema["required"] = json!(["type", "text"]);
        }
        schema
    };
    let text = of_type(json!({ "const": "text" }), json!({ "type": "string" }));
    let other = of_type(json!({ "type": "string", "not": { "const": "text" } }), Value::Null);
    json!({
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "anyOf": [text, other] } }, { "type": "null" }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::Read;
    use super::*;
    use crate::http::error::ApiError;

    struct Message(Content);

    impl Read for Message {
        fn read(fields: &mut Fields) -> Self {
            Self(fields.content("content"))
        }
    }

    fn read(content: Value) -> Result<(String, bool), Vec<String>> {
        let read: Result<Message, ApiError> = Fields::read_object("body", json!({ "content": content }));
        match read {
            Ok(Message(Content { text, has_other })) => Ok((text, has_other)),
            Err(ApiError::Invalid(faults)) => Err(faults.iter().map(|fault| format!("{:?}", fault.loc)).collect()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn texts_are_read_and_other_parts_are_noticed() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        let picture = json!({ "type": "image_url", "image_url": { "url": "data:" } });
        assert_eq!(read(json!("Hello")), Ok(("Hello".to_owned(), false)));
        assert_eq!(read(Value::Null), Ok((String::new(), false)));
        assert_eq!(read(json!([text("a"), picture, text("b")])), Ok(("a\nb".to_owned(), true)));
        assert_eq!(read(json!([])), Ok((String::new(), false)));
        for odd in [json!(7), json!({}), json!(["x"]), json!([{}]), json!([{"type": 1}]), json!([{"type": "text"}])] {
            assert_eq!(read(odd.clone()).map_err(|faults| faults.len()), Err(1), "{odd}");
        }
    }
}
