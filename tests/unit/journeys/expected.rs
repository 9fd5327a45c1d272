//! Answers as they are expected, with marks where a value is not known beforehand.
//!
//! Every field of the pattern must be there, and no other; one whose name ends with `?` may be missing.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, in UTC with milliseconds.
pub const TIME: &str = "<time>";
/// A UUID.
pub const UUID: &str = "<uuid>";
/// A text that is not empty.
pub const TEXT: &str = "<text>";
/// A number.
pub const NUMBER: &str = "<number>";
/// A flag.
pub const FLAG: &str = "<flag>";
/// The id of an uploaded item.
pub const UPLOAD: &str = "<upload>";
/// The address of a picture.
pub const PICTURE: &str = "<picture>";
/// A list of texts.
pub const TEXTS: &str = "<texts>";
/// A list of colours.
pub const COLOURS: &str = "<colours>";
/// Anything.
pub const ANY: &str = "<any>";

/// Fails unless the value fits the pattern.
pub fn assert_fits(at: &str, pattern: &Value, value: &Value) {
    if let Err(fault) = fit("$", pattern, value) {
        panic!("{at}: {fault}\nin {value:#}");
    }
}

fn fit(path: &str, pattern: &Value, value: &Value) -> Result<(), String> {
    let fault = || format!("{path} is {value} and should be {pattern}");
    match (pattern, value) {
        (Value::String(mark), _) if mark.starts_with('<') && mark.ends_with('>') => {
            if fits_mark(mark, value) {
                Ok(())
            } else {
                Err(fault())
            }
        }
        (Value::Array(patterns), Value::Array(values)) if patterns.len() == values.len() => patterns
            .iter()
            .zip(values)
            .enumerate()
            .try_for_each(|(index, (pattern, value))| fit(&format!("{path}[{index}]"), pattern, value)),
        (Value::Object(patterns), Value::Object(values)) => {
            for (name, pattern) in patterns {
                let (name, is_optional) = name.strip_suffix('?').map_or((name.as_str(), false), |name| (name, true));
                match values.get(name) {
                    Some(value) => fit(&format!("{path}.{name}"), pattern, value)?,
                    None if is_optional => {}
                    None => return Err(format!("{path}.{name} is missing")),
                }
            }
            let is_known = |name: &String| patterns.contains_key(name) || patterns.contains_key(&format!("{name}?"));
            match values.keys().find(|name| !is_known(name)) {
                Some(name) => Err(format!("{path}.{name} is not expected")),
                None => Ok(()),
            }
        }
        // 12 and 12.0 are one number.
        (Value::Number(expected), Value::Number(found)) if expected.as_f64() == found.as_f64() => Ok(()),
        _ if pattern == value => Ok(()),
        _ => Err(fault()),
    }
}

fn fits_mark(mark: &str, value: &Value) -> bool {
    let text = value.as_str();
    match mark {
        TIME => text.is_some_and(|text| {
            text.len() == 24 && text.ends_with('Z') && OffsetDateTime::parse(text, &Rfc3339).is_ok()
        }),
        UUID => text.is_some_and(|text| uuid::Uuid::parse_str(text).is_ok()),
        TEXT => text.is_some_and(|text| !text.is_empty()),
        NUMBER => value.is_number(),
        FLAG => value.is_boolean(),
        UPLOAD => text
            .and_then(|text| text.strip_prefix("upload-"))
            .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))),
        PICTURE => text.is_some_and(|text| text.starts_with("http://127.0.0.1:")),
        TEXTS => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        COLOURS => value.as_array().is_some_and(|list| {
            list.iter().all(|colour| {
                let fields = colour.as_object().map(|colour| colour.keys().map(String::as_str).collect::<Vec<_>>());
                fields.is_some_and(|fields| fields == ["hex", "name"])
            })
        }),
        ANY => true,
        _ => panic!("{mark} is no mark"),
    }
}

#[test]
fn a_field_too_many_or_too_few_is_seen() {
    use serde_json::json;

    let pattern = json!({"id": TEXT, "at": TIME, "tags": TEXTS, "brand?": TEXT, "price": 12, "list": [{"a": 1}]});
    let good = json!({"id": "a", "at": "2026-03-01T10:00:00.123Z", "tags": ["x"], "price": 12.0, "list": [{"a": 1}]});
    assert_eq!(fit("$", &pattern, &good), Ok(()));
    for (change, fault) in [
        (json!({"more": 1}), "$.more is not expected"),
        (json!({"brand": ""}), "$.brand is \"\" and should be \"<text>\""),
        (json!({"at": "2026-03-01T10:00:00Z"}), "$.at is \"2026-03-01T10:00:00Z\" and should be \"<time>\""),
        (json!({"list": [{"a": 2}]}), "$.list[0].a is 2 and should be 1"),
        (json!({"list": []}), "$.list is [] and should be [{\"a\":1}]"),
        (json!({"tags": [1]}), "$.tags is [1] and should be \"<texts>\""),
    ] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(fit("$", &pattern, &bad), Err(fault.to_owned()));
    }
    let mut short = good.clone();
    short.as_object_mut().unwrap().remove("id");
    assert_eq!(fit("$", &pattern, &short), Err("$.id is missing".to_owned()));
}
