//! Reading documents that other services, or older versions, wrote: a field of an unexpected shape counts as absent
//! instead of costing the whole document.

use std::fmt;

use serde::de::{self, DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field; `None` if it has another shape.
pub fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Reads a field; the type's default if it has another shape.
pub fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(optional(deserializer)?.unwrap_or_default())
}

/// Reads a list; elements of another shape are skipped, and anything but a list is empty.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Array(elements) => {
            Ok(elements.into_iter().filter_map(|element| serde_json::from_value(element).ok()).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Ok(Vec::new()),
    }
}

/// Reads a list like [`list`]; `None` if it is not a list.
pub fn optional_list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.is_array() { list(value).map(Some).map_err(de::Error::custom) } else { Ok(None) }
}

/// Reads a list of numbers; anything but a list is empty. Unlike [`list`], it does not allocate a [`Value`] per
/// element, which matters for embeddings.
pub fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Numbers(numbers) => numbers,
        Loose::Number(_) | Loose::Other => Vec::new(),
    })
}

/// A number, a list of numbers, or anything else.
enum Loose {
    Number(f32),
    Numbers(Vec<f32>),
    Other,
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

#[expect(clippy::cast_possible_truncation, reason = "a vector's numbers are short anyway")]
impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Number(number as f32))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose, A::Error> {
        let mut numbers = Vec::new();
        while let Some(element) = list.next_element()? {
            if let Loose::Number(number) = element {
                numbers.push(number);
            }
        }
        Ok(Loose::Numbers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Loose, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_a_list() {
        let read = |text: &str| numbers(&mut serde_json::Deserializer::from_str(text)).unwrap();
        assert_eq!(read("[0.25, -3, 7, 1e-3]"), [0.25, -3.0, 7.0, 0.001]);
        assert_eq!(read(r#"[1, "x", null, true, [2], {"a": 3}, 4]"#), [1.0, 4.0]);
        for text in ["[]", "null", "5", "0.5", "-1", "\"x\"", "false", r#"{"a": [1]}"#] {
            assert!(read(text).is_empty(), "{text}");
        }
    }
}
