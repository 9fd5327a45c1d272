//! Things found in feeds and on brands' sites, by similarity.
//!
//! The search walks the whole global pool and holds only the best: exact, and good enough until an index in memory
//! takes its place.

use std::cmp::Ordering;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Breather, Parts, Tool, ToolError, check_query, cut, read_arguments};
use crate::data::Data;
use crate::domain::best::Best;
use crate::llm::{self, Model, ToolSpec};
use crate::model::ids::UserId;
use crate::model::item::ScrapedItem;

/// Items in a result.
const MAX_RESULTS: usize = 5;

/// The least cosine at which an item resembles the query. The product's number.
const LEAST_SIMILARITY: f32 = 0.3;

/// The longest URL or link that is passed on, in bytes. A longer one is left out: cut, it would lead astray.
const MAX_LINK_BYTES: usize = 1000;

/// An item as the model sees it. Fields in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    title: String,
    image_url: String,
    product_url: String,
    buy_links: Vec<Value>,
    tags: Vec<String>,
    source_id: String,
    score_signal: i64,
}

impl From<ScrapedItem> for Found {
    fn from(item: ScrapedItem) -> Self {
        let link = |link: String| if link.len() > MAX_LINK_BYTES { String::new() } else { link };
        let buy_links = item.buy_links.into_iter().filter(|link| link.to_string().len() <= MAX_LINK_BYTES);
        Self {
            title: cut(&item.title, 200),
            image_url: link(item.image_url),
            product_url: link(item.product_url),
            buy_links: buy_links.take(5).collect(),
            tags: item.tags.iter().map(|tag| cut(tag, 40)).filter(|tag| !tag.is_empty()).take(12).collect(),
            source_id: cut(&item.source_id, 100),
            score_signal: item.score_signal,
        }
    }
}

#[derive(Serialize)]
struct ItemsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    items: Vec<Found>,
}

#[derive(Deserialize)]
struct ItemsArguments {
    query: String,
}

/// Finds things to buy or to be inspired by.
pub struct SearchScrapedItems {
    data: Data,
    model: Arc<dyn Model>,
}

impl SearchScrapedItems {
    /// The tool, made of `parts`.
    pub fn new(parts: &Parts) -> Self {
        Self { data: parts.data.clone(), model: parts.model.clone() }
    }
}

#[async_trait]
impl Tool for SearchScrapedItems {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search_scraped_items",
            description: "Finds up to 5 things outside the wardrobe, from fashion feeds and brands, that resemble the query. \
                          Use it when the user wants to discover or buy something.",
            parameters: json!({
                "type": "object",
                "properties": {
                    "query": {
                        "type": "string",
                        "description": "What to look for, for example: brown suede loafers.",
                    },
                },
                "required": ["query"],
                "additionalProperties": false,
            }),
        }
    }

    async fn run(&self, _user: &UserId, arguments: &str) -> Result<String, ToolError> {
        let ItemsArguments { query } = read_arguments(arguments)?;
        check_query(&query)?;
        if query.trim().is_empty() {
            return Err(ToolError::BadArguments("query says what to look for; it is empty".into()));
        }
        let vectors = self.model.embed(&[query]).await?;
        let Some(wanted) = vectors.into_iter().next().filter(|wanted| wanted.len() == llm::EMBEDDING_DIMENSIONS) else {
            return Err(llm::Error::Nonsense("an embedding of the wrong length".into()).into());
        };
        let mut best = Best::new(MAX_RESULTS);
        let mut breather = Breather::with_vectors();
        let mut items = pin!(self.data.items.global_with_vectors());
        while let Some(mut item) = items.try_next().await? {
            let vector = std::mem::take(&mut item.embedding);
            if let Some(similarity) = cosine(&wanted, &vector).filter(|similarity| *similarity >= LEAST_SIMILARITY) {
                best.offer(Ranked { similarity, item });
            }
            breather.breathe().await;
        }
        let items: Vec<Found> = best.into_sorted().into_iter().map(|ranked| ranked.item.into()).collect();
        let note = items.is_empty().then_some("Nothing similar was found.");
        Ok(serde_json::to_string(&ItemsResult { note, items })?)
    }
}

/// An item in the order of a search: the more similar first, then the better voted, then the smaller id.
struct Ranked {
    similarity: f32,
    item: ScrapedItem,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let similarity = self.similarity.total_cmp(&other.similarity);
        let votes = || self.item.score_signal.cmp(&other.item.score_signal);
        similarity.then_with(votes).then_with(|| other.item.id.cmp(&self.item.id))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// The cosine of the angle between two vectors; none if one is missing, zero, not finite, or of another length.
fn cosine(one: &[f32], other: &[f32]) -> Option<f32> {
    if one.len() != other.len() {
        return None;
    }
    let (mut product, mut one_square, mut other_square) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (one, other) in one.iter().zip(other) {
        product += one * other;
        one_square += one * one;
        other_square += other * other;
    }
    let cosine = product / (one_square * other_square).sqrt();
    cosine.is_finite().then_some(cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proper_vectors_have_a_cosine() {
        assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), Some(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Some(0.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]), None);
        assert_eq!(cosine(&[1.0, 0.0], &[]), None);
        assert_eq!(cosine(&[1.0, 0.0], &[f32::NAN, 0.0]), None);
    }
}
