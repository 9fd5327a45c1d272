//! Links to shops that sell an item.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::lenient;

/// A shop's offer of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuyLink {
    /// The shop's host without `www.`, or the name that the source gives.
    pub platform: String,
    /// URL of the offer.
    pub url: String,
    /// Text of the link.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl BuyLink {
    /// Creates an offer from a URL; `None` if the URL is invalid.
    pub fn at(url: &str) -> Option<Self> {
        let parsed = Url::parse(url).ok()?;
        let host = parsed.host_str()?;
        let platform = host.strip_prefix("www.").unwrap_or(host).to_owned();
        Some(Self { platform, url: url.to_owned(), label: None, other: Map::new() })
    }

    /// Reads an element of a document's list. Some older documents hold bare URLs.
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::String(url) => Self::at(url.trim()),
            Value::Object(mut fields) => {
                let named = fields.get("platform").is_some_and(Value::is_string);
                let host = fields.get("url").and_then(Value::as_str).and_then(Self::at);
                if let Some(Self { platform, .. }) = host.filter(|_| !named) {
                    fields.insert("platform".to_owned(), platform.into());
                }
                serde_json::from_value(Value::Object(fields)).ok()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        }
    }
}

/// Reads the offers in a document's list; invalid ones are skipped.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BuyLink>, D::Error> {
    let values: Vec<Value> = lenient::list(deserializer)?;
    Ok(values.into_iter().filter_map(BuyLink::read).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn offers_are_read_in_every_shape_that_was_written() {
        #[derive(Deserialize)]
        struct Item(#[serde(deserialize_with = "list")] Vec<BuyLink>);
        let read = |value: Value| serde_json::to_value(serde_json::from_value::<Item>(value).unwrap().0).unwrap();
        assert_eq!(
            read(json!([
                "https://www.shop.example/p/7", {"url": "https://b.example/1"}, "shop", 7, {"platform": "x"},
                {"platform": "Depop", "url": "https://depop.example/1", "label": "Used", "price": 3},
            ])),
            json!([
                {"platform": "shop.example", "url": "https://www.shop.example/p/7"},
                {"platform": "b.example", "url": "https://b.example/1"},
                {"platform": "Depop", "url": "https://depop.example/1", "label": "Used", "price": 3},
            ])
        );
        assert_eq!(read(json!("https://a.example/")), json!([]));
    }
}
