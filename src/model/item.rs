//! Things found in the feeds and on brands' sites.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient;

/// A scraped item, as similarity search reads and shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapedItem {
    /// Kind of source and a hash.
    pub id: String,
    /// Where it was found.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_id: String,
    /// Its headline.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub title: String,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_url: String,
    /// Its page.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Where it is sold.
    #[serde(default, deserialize_with = "lenient::list")]
    pub buy_links: Vec<Value>,
    /// Free words.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// Sum of the votes.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub score_signal: i64,
    /// Its vector; empty until the next run fills it.
    #[serde(default, deserialize_with = "lenient::list", skip_serializing)]
    pub embedding: Vec<f32>,
}
