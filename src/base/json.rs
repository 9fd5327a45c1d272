//! Strict reading of JSON fields: an object must be an object. Lengths of JSON texts and limits of numbers.

use std::io::{self, Write};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The largest integer up to which an `f64`, and so JavaScript, represents all integers.
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// Reads a field that is an object, `null` or absent, for `deserialize_with`. Unlike serde's default, it rejects a list
/// of the object's fields.
///
/// # Errors
/// When it is neither.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        object @ Value::Object(_) => serde_json::from_value(object).map(Some).map_err(D::Error::custom),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::custom("not an object"))
        }
    }
}

/// Reads a field that is a list of objects, `null` or absent, like [`object`].
///
/// # Errors
/// When it is neither.
pub fn objects<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let Some(elements) = Option::<Vec<Value>>::deserialize(deserializer)? else { return Ok(None) };
    let read = |element: Value| {
        if element.is_object() {
            serde_json::from_value(element).map_err(D::Error::custom)
        } else {
            Err(D::Error::custom("not an object"))
        }
    };
    elements.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Returns the length of the value's JSON, in bytes.
pub fn length(value: &Value) -> usize {
    struct Counter(usize);

    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("a value is JSON, and counting does not fail");
    counter.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_is_that_of_the_text() {
        for value in [json!(null), json!({"a": ["\u{1}\"ä😀", 1.5, {}]}), json!("plain")] {
            assert_eq!(length(&value), value.to_string().len(), "{value}");
        }
    }
}
