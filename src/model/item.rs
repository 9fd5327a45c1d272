//! Things found in the feeds and on brands' sites.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::ScrapedItemId;
use super::lenient;
use super::timestamp::Timestamp;

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
    #[serde(default, deserialize_with = "lenient::numbers", skip_serializing)]
    pub embedding: Vec<f32>,
}

/// A scraped item, as the feed shows it: without its vector, its picture's hash and whoever submitted it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedItem {
    /// Kind of source and a hash.
    pub id: ScrapedItemId,
    /// Where it was found.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_id: String,
    /// `reddit` or `brand_site`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_type: String,
    /// Its headline.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub title: String,
    /// More words.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// Its picture.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_url: String,
    /// Its page.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Where it is sold.
    #[serde(default, deserialize_with = "lenient::list")]
    pub buy_links: Vec<Value>,
    /// What it costs, as the source wrote it.
    #[serde(default)]
    pub price: Value,
    /// Who makes it.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub brand: Option<String>,
    /// Free words.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// More pictures.
    #[serde(default, deserialize_with = "lenient::list")]
    pub gallery_images: Vec<String>,
    /// What people said of it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub comment_text: String,
    /// Votes at the source.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub reddit_score: i64,
    /// Sum of our users' votes.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub score_signal: i64,
    /// When it was found.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub scraped_at: Option<Timestamp>,
    /// When it appeared at the source.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub source_created_at: Option<Timestamp>,
    /// Whether the picture is gone.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_expired: bool,
    /// Whether it was compared with its source.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub verified: bool,
}

impl FeedItem {
    /// The fields of the document that it is read from.
    pub const FIELDS: &[&str] = &[
        "id",
        "sourceId",
        "sourceType",
        "title",
        "description",
        "imageUrl",
        "productUrl",
        "buyLinks",
        "price",
        "brand",
        "tags",
        "galleryImages",
        "commentText",
        "redditScore",
        "scoreSignal",
        "scrapedAt",
        "sourceCreatedAt",
        "imageExpired",
        "verified",
    ];
}
