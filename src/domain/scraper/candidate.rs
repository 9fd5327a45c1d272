//! What a source offers, before anybody knows whether the feed has it already.

use serde::{Deserialize, Serialize};

use crate::model::timestamp::Timestamp;

/// Something that may become an item of the feed. Parsers make it; its texts and lists are as the source wrote them, and
/// ingest bounds them. A plain record, so that a long operation can keep candidates between its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Candidate {
    /// Its headline.
    pub title: String,
    /// More words, plain text.
    pub description: String,
    /// Its picture: an absolute address without a token that expires.
    pub image_url: String,
    /// Its page: an absolute address. Together with the source it is what names the item.
    pub product_url: String,
    /// Addresses of where it is sold.
    pub buy_links: Vec<String>,
    /// What it costs, as the source wrote it, with its currency.
    pub price: Option<String>,
    /// Who makes it.
    pub brand: Option<String>,
    /// Words to find it by, in lower case.
    pub tags: Vec<String>,
    /// Addresses of all pictures if there are several, the first one included, in the source's order.
    pub gallery_images: Vec<String>,
    /// What people said of it.
    pub comment_text: String,
    /// Votes at the source; zero where there are none.
    pub reddit_score: i64,
    /// When it appeared at the source, if that says so.
    pub source_created_at: Option<Timestamp>,
}

/// What [`Candidate::gallery_images`] is for these pictures: one alone is no gallery.
pub fn gallery(pictures: Vec<String>) -> Vec<String> {
    if pictures.len() > 1 { pictures } else { Vec::new() }
}
