//! Extracts JSON from a model's answer that surrounds it with prose.

use serde_json::Value;

/// Returns the outermost JSON objects in a text.
pub fn objects(text: &str) -> impl Iterator<Item = Value> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        while let Some(start) = rest.find('{') {
            let mut values = serde_json::Deserializer::from_str(&rest[start..]).into_iter::<Value>();
            if let Some(Ok(object)) = values.next() {
                rest = &rest[start + values.byte_offset()..];
                return Some(object);
            }
            rest = &rest[start + 1..];
        }
        None
    })
}
