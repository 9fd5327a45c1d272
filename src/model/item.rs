//! Things found in the feeds and on brands' sites.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::buy_link::{self, BuyLink};
use super::ids::{ScrapedItemId, SourceId};
use super::lenient;
use super::source::SourceType;
use super::timestamp::Timestamp;
use crate::base::hash::sha256_hex;

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
    #[serde(default, deserialize_with = "buy_link::list")]
    pub buy_links: Vec<BuyLink>,
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
    #[serde(default, deserialize_with = "buy_link::list")]
    pub buy_links: Vec<BuyLink>,
    /// What it costs, as the source wrote it.
    #[serde(default)]
    pub price: Value,
    /// Who makes it.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub brand: Option<String>,
    /// Free words.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// All pictures, if there are several.
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

/// A scraped item as it is written when it is found. After that, single fields of its document are edited.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewItem {
    /// Kind of source and a hash; see [`NewItem::id`].
    pub id: ScrapedItemId,
    /// The partition: whose item it is, or `global`.
    pub user_id: String,
    /// Where it was found.
    pub source_id: SourceId,
    /// What that is.
    pub source_type: SourceType,
    /// Its headline.
    pub title: String,
    /// More words.
    pub description: String,
    /// Its picture.
    pub image_url: String,
    /// Its page.
    pub product_url: String,
    /// Where it is sold.
    pub buy_links: Vec<BuyLink>,
    /// What it costs, as the source wrote it.
    pub price: Option<String>,
    /// Who makes it.
    pub brand: Option<String>,
    /// Free words, in lower case.
    pub tags: Vec<String>,
    /// Says so, to Cosmos DB's index of them.
    pub tags_in_lower_case: bool,
    /// All pictures, if there are several.
    pub gallery_images: Vec<String>,
    /// What people said of it.
    pub comment_text: String,
    /// Perceptual hash of its picture, 16 hex digits; `None` if the picture could not be had.
    pub p_hash: Option<String>,
    /// Its vector; empty until somebody fills it.
    pub embedding: Vec<f64>,
    /// Whether somebody should.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_embedding: bool,
    /// Votes at the source.
    pub reddit_score: i64,
    /// Sum of our users' votes.
    pub score_signal: i64,
    /// When it was found.
    pub scraped_at: Timestamp,
    /// When it appeared at the source.
    pub source_created_at: Option<Timestamp>,
    /// Whether the picture is gone.
    pub image_expired: bool,
    /// Who sent it to us; [`NewItem::SERVER`] if we fetched it ourselves.
    pub submitter_id: String,
    /// Whether it is known to be what the source has.
    pub verified: bool,
}

impl NewItem {
    /// Who sent what the service itself has fetched.
    pub const SERVER: &str = "server";

    /// The id of what a source has at `product_url`. The same product is the same item in every scrape.
    pub fn id(source_type: SourceType, source: &SourceId, product_url: &str) -> ScrapedItemId {
        let hash = sha256_hex(format!("{source}:{product_url}").as_bytes());
        format!("{}-{}", source_type.name(), &hash[..HASH_DIGITS]).into()
    }
}

/// Hex digits of the hash in an item's id.
const HASH_DIGITS: usize = 16;

/// The part of an item that de-duplication asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownItem {
    /// Names it.
    pub id: ScrapedItemId,
    /// Its page.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Its vector, of which matters only whether there is one.
    #[serde(default, deserialize_with = "lenient::list")]
    embedding: Vec<f32>,
}

impl KnownItem {
    /// The fields of the document that it is read from.
    pub const FIELDS: &[&str] = &["id", "productUrl", "embedding"];

    /// Whether somebody should fill its vector.
    pub fn lacks_vector(&self) -> bool {
        self.embedding.is_empty()
    }
}
