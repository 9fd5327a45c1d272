//! Records votes on scraped items.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, parameters, read_arguments};
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::vote::Signal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateArguments {
    item_id: ScrapedItemId,
    signal: Signal,
}

#[derive(Serialize, ToSchema)]
struct Rated {
    item_id: ScrapedItemId,
    signal: Signal,
    /// Up-votes minus down-votes of all users.
    score_signal: i64,
}

/// Votes on an item of the discover feed.
pub struct RateFeedItem(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for RateFeedItem {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "rate_feed_item",
            description: "Votes for the user on a thing found outside the wardrobe. What they like shapes their taste profile. \
                          A later vote replaces the earlier one. Use it when they say that they like or dislike it.",
            parameters: parameters(
                json!({
                    "item_id": { "type": "string", "description": "The thing, by the id that search_scraped_items returned." },
                    "signal": { "type": "string", "enum": ["up", "down"] },
                }),
                &["item_id", "signal"],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::replaces("Rate a find").result::<Rated>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let RateArguments { item_id, signal } = read_arguments(arguments)?;
        let score = self.0.taste.rate(user, &item_id, signal, None).await?;
        let score_signal = score.ok_or_else(ToolError::no_item)?;
        Ok(serde_json::to_string(&Rated { item_id, signal, score_signal })?)
    }
}
