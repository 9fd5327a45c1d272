//! Candidates: items of a source before de-duplication.

use serde::{Deserialize, Serialize};

use crate::model::timestamp::Timestamp;

/// A possible item of the feed. Parsers create it with texts and lists as in the source; ingestion bounds them. A plain
/// record, so that a job can store it between steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// Title.
    pub title: String,
    /// Description, plain text.
    pub description: String,
    /// Picture: an absolute URL that does not expire.
    pub image_url: String,
    /// Product page: an absolute URL. With the source it identifies the item.
    pub product_url: String,
    /// Offers.
    pub buy_links: Vec<String>,
    /// Price with currency, as written by the source.
    pub price: Option<String>,
    /// Brand.
    pub brand: Option<String>,
    /// Tags, in lower case.
    pub tags: Vec<String>,
    /// All pictures of a gallery in the source's order, including the first; empty for a single picture.
    pub gallery_images: Vec<String>,
    /// Selected comments.
    pub comment_text: String,
    /// Score at the source, or zero.
    pub reddit_score: i64,
    /// Publication time, if known.
    pub source_created_at: Option<Timestamp>,
}

/// Returns the gallery for these pictures; a single one is no gallery.
pub fn gallery(pictures: Vec<String>) -> Vec<String> {
    if pictures.len() > 1 { pictures } else { Vec::new() }
}
