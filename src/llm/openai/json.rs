//! Lenient JSON reader for model servers.
//!
//! Fields may be missing, null, mistyped or repeated; strings may contain halves of a surrogate pair. Only requested
//! fields are examined.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object.
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Fields).map(Self)
    }
}

impl<'a> Object<'a> {
    /// Parses an object; `None` if it is anything else.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Returns a field that is not null; the last one, if repeated.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(field, value)| field == name && value.get() != "null").map(|(_, value)| *value)
    }

    /// Returns a field that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::read(self.get(name)?.get())
    }

    /// Returns the objects of a list, or a single object.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        let Some(value) = self.get(name) else { return Vec::new() };
        match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
            Ok(list) => list.into_iter().filter_map(|value| Self::read(value.get())).collect(),
            Err(_) => Self::read(value.get()).into_iter().collect(),
        }
    }

    /// Returns a field that is an integer.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        let value = self.get(name)?;
        serde_json::from_str(value.get()).ok().or_else(|| plain(value)?.parse().ok())
    }

    /// Returns a short string or number as text.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        plain(self.get(name)?)
    }
}

/// Returns a string or number as text.
pub(super) fn plain(value: &RawValue) -> Option<String> {
    match bytes(value) {
        Some(bytes) => Some(Surrogates::default().all(&bytes)),
        None => serde_json::from_str::<serde_json::Number>(value.get()).ok().map(|number| number.to_string()),
    }
}

/// Returns the text of a string, or of a list of parts with text. Halves of surrogate pairs are three bytes each, so
/// the result may not be UTF-8.
pub(super) fn text(value: &RawValue) -> Option<Vec<u8>> {
    if let Some(text) = bytes(value) {
        return Some(text);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    let part = |part: &RawValue| match bytes(part) {
        Some(text) => Some(text),
        None => bytes(Object::read(part.get())?.get("text")?),
    };
    Some(parts.into_iter().filter_map(part).flatten().collect())
}

fn bytes(value: &RawValue) -> Option<Vec<u8>> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.to_owned())
        }
    }

    // As bytes, because as a string the parser would refuse half a surrogate pair.
    serde_json::Deserializer::from_str(value.get()).deserialize_bytes(Text).ok()
}

/// Joins texts that may be split within a surrogate pair. An unpaired half becomes U+FFFD.
#[derive(Default)]
pub(super) struct Surrogates {
    /// First half of a pair whose second half is missing.
    high: Option<u32>,
}

impl Surrogates {
    /// Returns the text of the next piece, joined with the rest of the last one.
    pub(super) fn take(&mut self, piece: &[u8]) -> String {
        // The common case, without half a pair.
        if self.high.is_none()
            && let Ok(text) = std::str::from_utf8(piece)
        {
            return text.to_owned();
        }
        let mut text = String::with_capacity(piece.len());
        let mut rest = piece;
        while !rest.is_empty() {
            let half = half_of_a_pair(rest);
            if let (Some(high), Some(low @ 0xdc00..)) = (self.high, half) {
                self.high = None;
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = &rest[3..];
                continue;
            }
            text.extend(self.end());
            match half {
                Some(low @ 0xdc00..) => {
                    debug_assert!(low < 0xe000);
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[3..];
                }
                Some(high) => {
                    self.high = Some(high);
                    rest = &rest[3..];
                }
                None => {
                    let next = (1..rest.len()).find(|at| half_of_a_pair(&rest[*at..]).is_some());
                    let (sound, left) = rest.split_at(next.unwrap_or(rest.len()));
                    text.push_str(&String::from_utf8_lossy(sound));
                    rest = left;
                }
            }
        }
        text
    }

    /// Returns the rest at the end.
    pub(super) fn end(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }

    /// Converts a text in one piece.
    fn all(mut self, text: &[u8]) -> String {
        let mut whole = self.take(text);
        whole.extend(self.end());
        whole
    }
}

/// Returns the surrogate at the start of the bytes.
fn half_of_a_pair(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, ..] => {
            Some(0xd000 | (u32::from(second & 0x3f) << 6) | u32::from(third & 0x3f))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, name: &str) -> Option<String> {
        Object::read(json).unwrap().word(name)
    }

    #[test]
    fn fields_are_found_whatever_is_beside_them() {
        assert_eq!(read(r#"{"a": 1, "a": "x"}"#, "a").as_deref(), Some("x"));
        assert_eq!(read(r#"{"a": "x", "a": null}"#, "a").as_deref(), Some("x"));
        assert_eq!(read(r#"{"a": 7, "b": {"a": "\ud83d"}}"#, "a").as_deref(), Some("7"));
        assert_eq!(read(r#"{"a": [1]}"#, "a"), None);
        assert!(Object::read("[]").is_none() && Object::read("{").is_none());
        let object = Object::read(r#"{"one": {"n": "3"}, "many": [{"n": 1}, null, 5, {"n": 2.0}]}"#).unwrap();
        assert_eq!(object.objects("one")[0].integer("n"), Some(3));
        assert_eq!(
            object.objects("many").iter().map(|object| object.integer("n")).collect::<Vec<_>>(),
            [Some(1), None]
        );
    }

    #[test]
    fn halves_of_a_pair_find_each_other() {
        let join = |pieces: &[&str]| {
            let mut surrogates = Surrogates::default();
            let mut whole = String::new();
            for piece in pieces {
                let value: &RawValue = serde_json::from_str(piece).unwrap();
                whole.push_str(&surrogates.take(&text(value).unwrap()));
            }
            whole.extend(surrogates.end());
            whole
        };
        assert_eq!(join(&[r#""Nice \ud83d""#, r#""\udc57 coat""#]), "Nice \u{1f457} coat");
        assert_eq!(join(&[r#""\ud83d\udc57""#]), "\u{1f457}");
        assert_eq!(join(&[r#""a\ud83d""#, r#""b""#]), "a\u{fffd}b");
        assert_eq!(join(&[r#""\udc57a\ud83d""#]), "\u{fffd}a\u{fffd}");
        assert_eq!(join(&[r#""\ud83d""#, r#""""#, r#""\ud83d\udc57""#]), "\u{fffd}\u{1f457}");
        assert_eq!(join(&[r#"[{"type": "text", "text": "\ud83d"}, "\udc57!"]"#]), "\u{1f457}!");
    }
}
