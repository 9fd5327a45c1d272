//! Documents as the service sends them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::store::validity::SYSTEM_FIELDS;
use crate::store::{ETag, Stored};

/// Size in bytes that most documents do not exceed.
const USUAL_LENGTH: usize = 1024;

/// A document as returned to callers: without the [`SYSTEM_FIELDS`], all other fields verbatim. Parsed in one pass over
/// the response, with a single copy.
pub(super) struct Document(pub(super) Stored);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields).map(Self)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document with a version")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Stored, A::Error> {
        let (mut json, mut etag) = (String::with_capacity(USUAL_LENGTH), None);
        json.push('{');
        // Names are raw as well, with quotes and escapes; the service writes its own names without escapes.
        while let Some((quoted, value)) = fields.next_entry::<&RawValue, &RawValue>()? {
            let name = quoted.get().trim_matches('"');
            if name == "_etag" {
                etag = Some(serde_json::from_str(value.get()).map_err(A::Error::custom)?);
            }
            if !SYSTEM_FIELDS.contains(&name) {
                let separator = if json.len() > 1 { "," } else { "" };
                json.extend([separator, quoted.get(), ":", value.get()]);
            }
        }
        json.push('}');
        let etag = etag.ok_or_else(|| A::Error::missing_field("_etag"))?;
        Ok(Stored { json, etag: ETag(etag) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_adds_is_not_handed_out() {
        let sent = r#"{"id": "coat", "_etag": "\"7\"", "_rid": "r", "_mine": 1.50, "_self": "s", "_ts": 1,
            "_attachments": "a", "é\t": {"_ts": [1, 2]}}"#;
        let Document(stored) = serde_json::from_str(sent).unwrap();
        assert_eq!(stored.etag, ETag("\"7\"".to_owned()));
        assert_eq!(stored.json, r#"{"id":"coat","_mine":1.50,"é\t":{"_ts": [1, 2]}}"#);
        let only_theirs: Document = serde_json::from_str(r#"{"_etag": "7"}"#).unwrap();
        assert_eq!(only_theirs.0.json, "{}");
        assert!(serde_json::from_str::<Document>(r#"{"id": "coat"}"#).is_err());
    }
}
