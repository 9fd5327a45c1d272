//! Similarity search in scraped items.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, check_query, parameters, read_arguments};
use crate::base::text::{cut, cut_each};
use crate::domain::pictures::Pictures;
use crate::domain::quota::QuotaKind;
use crate::domain::similarity::items::Found as Similar;
use crate::llm::{self, CallContext, ToolSpec};
use crate::model::buy_link::BuyLink;
use crate::model::ids::UserId;
use crate::model::item::ScrapedItem;

/// Items in a result.
const MAX_RESULTS: usize = 5;

/// Minimum cosine similarity of a result. Defined by the product.
const LEAST_SIMILARITY: f32 = 0.3;

/// Longest URL that is passed on, in bytes. A longer one is omitted, because a truncated URL would be wrong.
const MAX_LINK_BYTES: usize = 1000;

/// An item as the model sees it. Fields in this order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// Id of the item, for votes.
    id: String,
    title: String,
    image_url: String,
    product_url: String,
    #[schema(value_type = Vec<Object>)]
    buy_links: Vec<BuyLink>,
    tags: Vec<String>,
    source_id: String,
    score_signal: i64,
}

impl Found {
    fn new(item: ScrapedItem, pictures: &Pictures) -> Self {
        let link = |link: String| if link.len() > MAX_LINK_BYTES { String::new() } else { link };
        let is_short = |link: &BuyLink| serde_json::to_string(link).is_ok_and(|json| json.len() <= MAX_LINK_BYTES);
        let buy_links = item.buy_links.into_iter().filter(is_short);
        Self {
            id: item.id,
            title: cut(&item.title, 200),
            image_url: link(pictures.shown(item.image_url)),
            product_url: link(item.product_url),
            buy_links: buy_links.take(5).collect(),
            tags: cut_each(&item.tags, 40, 12),
            source_id: cut(&item.source_id, 100),
            score_signal: item.score_signal,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ItemsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    items: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemsArguments {
    query: String,
}

/// Finds items to buy or as inspiration.
pub struct SearchScrapedItems(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for SearchScrapedItems {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "search_scraped_items",
            description: "Finds up to 5 things outside the wardrobe, from fashion feeds and brands, that resemble the query. \
                          Use it when the user wants to discover or buy something.",
            parameters: parameters(
                json!({
                    "query": {
                        "type": "string",
                        "description": "What to look for, for example: brown suede loafers.",
                    },
                }),
                &["query"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Search for finds").counts_as(QuotaKind::Model).result::<ItemsResult>()
    }

    async fn run(&self, _user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let ItemsArguments { query } = read_arguments(arguments)?;
        check_query(&query)?;
        if query.trim().is_empty() {
            return Err(ToolError::BadArguments("query says what to look for; it is empty".into()));
        }
        let vectors = self.0.base.model.embed(context, &[self.0.base.model.query_text(&query)]).await?;
        let Some(wanted) = vectors.into_iter().next().filter(|wanted| wanted.len() == llm::EMBEDDING_DIMENSIONS) else {
            return Err(llm::Error::Nonsense("an embedding of the wrong length".into()).into());
        };
        let Similar { items, is_complete } = self.0.similar.search(&wanted, MAX_RESULTS, LEAST_SIMILARITY).await?;
        let items: Vec<Found> = items.into_iter().map(|item| Found::new(item, &self.0.pictures)).collect();
        let note = match (is_complete, items.is_empty()) {
            (true, true) => Some("Nothing similar was found."),
            (true, false) => None,
            (false, _) => Some("Not all items could be looked at yet; there may be better ones in a minute."),
        };
        Ok(serde_json::to_string(&ItemsResult { note, items })?)
    }
}
