//! Bounds of the texts and lists that users edit.
//!
//! Documents of other services and of older versions may exceed them. Their owners must be able to save what they read,
//! so an excess counts only if it is new.

use std::collections::HashSet;

use serde_json::Value;

/// The kind of value that exceeds its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// A text, alone or in an object.
    Text,
    /// The number of a list's entries, or a text among them.
    List,
}

/// Bounds of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest text, in characters.
    pub text: usize,
    /// Most entries of a list.
    pub entries: usize,
    /// Longest text in a list or an object, in characters.
    pub entry: usize,
}

impl Bounds {
    /// Finds what exceeds the bounds in `value`, unless it does so in `stored`, which it replaces.
    pub fn exceeded(self, value: &Value, stored: Option<&Value>) -> Option<Excess> {
        if stored == Some(value) {
            return None;
        }
        match value {
            Value::String(text) => (!is_short(text, self.text)).then_some(Excess::Text),
            Value::Object(_) => self.has_new_text(value, stored.unwrap_or(&Value::Null)).then_some(Excess::Text),
            Value::Array(list) => {
                self.excess_of_list(list, stored.and_then(Value::as_array).map_or(&[], Vec::as_slice))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    fn excess_of_list(self, list: &[Value], stored: &[Value]) -> Option<Excess> {
        if list.len() > self.entries.max(stored.len()) {
            return Some(Excess::List);
        }
        let is_long = |entry: &&Value| match entry {
            Value::String(text) => !is_short(text, self.entry),
            entry => self.has_new_text(entry, &Value::Null),
        };
        let mut long = list.iter().filter(is_long).peekable();
        long.peek()?;
        let known: HashSet<String> = stored.iter().filter(is_long).map(Value::to_string).collect();
        let new = long.find(|entry| !known.contains(&entry.to_string()))?;
        Some(if new.is_string() { Excess::List } else { Excess::Text })
    }

    /// Whether an object has a text that is too long and not the one in `stored`.
    fn has_new_text(self, object: &Value, stored: &Value) -> bool {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter_map(|(name, part)| Some((name, part.as_str()?)))
            .any(|(name, text)| !is_short(text, self.entry) && stored.get(name).and_then(Value::as_str) != Some(text))
    }
}

fn is_short(text: &str, most: usize) -> bool {
    text.chars().count() <= most
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { text: 4, entries: 2, entry: 3 };

    fn exceeded(value: &Value, stored: &Value) -> Option<Excess> {
        BOUNDS.exceeded(value, Some(stored))
    }

    #[test]
    fn what_is_too_long_or_too_many_exceeds_them() {
        for (value, excess) in [
            (json!("ÄÖÜß"), None),
            (json!("12345"), Some(Excess::Text)),
            (json!(["ÄÖÜ", "b"]), None),
            (json!(["a", "b", "c"]), Some(Excess::List)),
            (json!(["a", "1234"]), Some(Excess::List)),
            (json!({ "a": "123", "b": 12345 }), None),
            (json!({ "a": "1234" }), Some(Excess::Text)),
            (json!([{ "a": "123" }]), None),
            (json!([{ "a": "1234" }]), Some(Excess::Text)),
            (json!(null), None),
            (json!(12345), None),
            (json!(true), None),
        ] {
            assert_eq!(BOUNDS.exceeded(&value, None), excess, "{value}");
            assert_eq!(exceeded(&value, &value), None, "{value}");
        }
    }

    #[test]
    fn what_was_stored_so_does_not_count() {
        let many = json!(["a", "b", "c", "12345"]);
        for (value, excess) in [
            (json!(["a", "c", "12345", "d"]), None),
            (json!(["12345"]), None),
            (json!(["a", "b", "c", "12345", "d"]), Some(Excess::List)),
            (json!(["54321"]), Some(Excess::List)),
        ] {
            assert_eq!(exceeded(&value, &many), excess, "{value}");
        }
        let long = json!({ "a": "12345" });
        assert_eq!(exceeded(&json!({ "a": "12345", "b": "1" }), &long), None);
        assert_eq!(exceeded(&json!({ "b": "12345" }), &long), Some(Excess::Text));
        assert_eq!(exceeded(&json!([long]), &json!([long, "x"])), None);
        assert_eq!(exceeded(&json!("12345"), &json!("123456")), Some(Excess::Text));
    }
}
