//! Reading a model's answer that surrounds JSON with prose, and quoting data in its prompt.

use serde::Serialize;
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

/// Returns the entries of a list in a text: the elements of the list in an object's field of this name, or the objects
/// themselves.
pub fn entries<'a>(text: &'a str, list: &'a str) -> impl Iterator<Item = Value> + 'a {
    objects(text).flat_map(move |mut object| match object[list].take() {
        Value::Array(entries) => entries,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![object],
    })
}

/// Returns the JSON of data for a delimited block in a prompt. No text in the data can close the block.
///
/// # Errors
/// When the data cannot be serialized; a bug.
pub fn quoted(data: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(data)?.replace('<', "\\u003c"))
}
