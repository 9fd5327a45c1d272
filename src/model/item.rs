//! Items of the discover feed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::buy_link::{self, BuyLink};
use super::ids::{ScrapedItemId, SourceId};
use super::lenient;
use super::source::SourceType;
use super::timestamp::Timestamp;
use crate::base::hash::sha256_hex;

/// A scraped item as similarity search reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapedItem {
    /// Source type and a hash.
    pub id: String,
    /// Source id.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_id: String,
    /// Title.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub title: String,
    /// Picture URL.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_url: String,
    /// Product page URL.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Offers.
    #[serde(default, deserialize_with = "buy_link::list")]
    pub buy_links: Vec<BuyLink>,
    /// Tags.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// Sum of user votes.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub score_signal: i64,
    /// Embedding; empty until the next run computes it.
    #[serde(default, deserialize_with = "lenient::numbers", skip_serializing)]
    pub embedding: Vec<f32>,
}

/// A scraped item as the feed shows it: without embedding, picture hash and submitter.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedItem {
    /// Source type and a hash.
    pub id: ScrapedItemId,
    /// Source id.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_id: String,
    /// `reddit` or `brand_site`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub source_type: String,
    /// Title.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub title: String,
    /// Description.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// Picture URL.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_url: String,
    /// Product page URL.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Offers.
    #[serde(default, deserialize_with = "buy_link::list")]
    pub buy_links: Vec<BuyLink>,
    /// Price as written by the source.
    #[serde(default)]
    pub price: Value,
    /// Brand.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub brand: Option<String>,
    /// Tags.
    #[serde(default, deserialize_with = "lenient::list")]
    pub tags: Vec<String>,
    /// All pictures of a gallery.
    #[serde(default, deserialize_with = "lenient::list")]
    pub gallery_images: Vec<String>,
    /// Selected comments.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub comment_text: String,
    /// Score at Reddit.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub reddit_score: i64,
    /// Sum of user votes.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub score_signal: i64,
    /// Time of scraping.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub scraped_at: Option<Timestamp>,
    /// Publication time at the source.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub source_created_at: Option<Timestamp>,
    /// Whether the picture is no longer available.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image_expired: bool,
    /// Whether the item was verified against its source.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub verified: bool,
}

impl FeedItem {
    /// Returns the kind of source as clients know it; the stored text if it is no known kind.
    pub fn shown_source_type(&self) -> &str {
        match SourceType::parse(&self.source_type) {
            Some(known) => known.shown(),
            None => &self.source_type,
        }
    }

    /// Document fields that are read.
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

/// A scraped item as first written. Later changes edit single fields of its document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewItem {
    /// Source type and a hash; see [`NewItem::id`].
    pub id: ScrapedItemId,
    /// Partition: the owner, or `global`.
    pub user_id: String,
    /// Source id.
    pub source_id: SourceId,
    /// Source type.
    pub source_type: SourceType,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// Picture URL.
    pub image_url: String,
    /// Product page URL.
    pub product_url: String,
    /// Offers.
    pub buy_links: Vec<BuyLink>,
    /// Price as written by the source.
    pub price: Option<String>,
    /// Brand.
    pub brand: Option<String>,
    /// Tags, in lower case.
    pub tags: Vec<String>,
    /// Marks the tags as lower case for queries on Cosmos DB.
    pub tags_in_lower_case: bool,
    /// All pictures of a gallery.
    pub gallery_images: Vec<String>,
    /// Selected comments.
    pub comment_text: String,
    /// Perceptual hash of the picture, 16 hex digits; `None` if the picture is not available.
    pub p_hash: Option<String>,
    /// Embedding; empty until it is computed.
    pub embedding: Vec<f64>,
    /// Whether the embedding is still to be computed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_embedding: bool,
    /// Score at Reddit.
    pub reddit_score: i64,
    /// Sum of user votes.
    pub score_signal: i64,
    /// Time of scraping.
    pub scraped_at: Timestamp,
    /// Publication time at the source.
    pub source_created_at: Option<Timestamp>,
    /// Whether the picture is no longer available.
    pub image_expired: bool,
    /// User who submitted the item; [`NewItem::SERVER`] if the service fetched it.
    pub submitter_id: String,
    /// Whether the item was verified against its source.
    pub verified: bool,
}

impl NewItem {
    /// Submitter of items that the service fetched.
    pub const SERVER: &str = "server";

    /// Returns the id of the item at `product_url`. The same product gets the same id in every scrape.
    pub fn id(source_type: SourceType, source: &SourceId, product_url: &str) -> ScrapedItemId {
        let hash = sha256_hex(format!("{source}:{product_url}").as_bytes());
        format!("{}-{}", source_type.name(), &hash[..HASH_DIGITS]).into()
    }
}

/// Number of hash digits in an item id.
const HASH_DIGITS: usize = 16;

/// The part of an item that de-duplication reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownItem {
    /// Item id.
    pub id: ScrapedItemId,
    /// Product page URL.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Embedding; only whether it is empty matters.
    #[serde(default, deserialize_with = "lenient::list")]
    embedding: Vec<f32>,
}

impl KnownItem {
    /// Document fields that are read.
    pub const FIELDS: &[&str] = &["id", "productUrl", "embedding"];

    /// Whether the embedding is still to be computed.
    pub fn lacks_vector(&self) -> bool {
        self.embedding.is_empty()
    }
}
