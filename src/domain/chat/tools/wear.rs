//! Wear patterns: favourites, occasions, weather.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{Tally, Tool, ToolError, ToolParts, Traits, check_query, parameters, read_arguments};
use crate::base::local_offset::LocalOffset;
use crate::base::text::{cut, cut_each};
use crate::domain::wear;
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::{WardrobeItem, Wear};

/// Most items considered, newest first.
const MAX_ITEMS: usize = 500;

/// Ranked items in the result.
const MAX_RANKED: usize = 50;

/// Newest wear events considered per item.
const EVENTS_PER_ITEM: usize = 10;

/// Concurrent look-ups for items that do not contain their events.
const CONCURRENT_LOOKUPS: usize = 8;

const TOP_OCCASIONS: usize = 5;
const TOP_CONDITIONS: usize = 3;

/// Too little history. Fields in this order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Sparse {
    sparse: bool,
    message: &'static str,
    total_items: usize,
    category_breakdown: Tally,
}

/// Enough history. Fields in this order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Patterns {
    sparse: bool,
    total_items: usize,
    items_with_wear_history: usize,
    top_occasions: Vec<Counted>,
    top_climate_conditions: Vec<Counted>,
    category_wear_summary: BTreeMap<String, CategoryWear>,
    top_ranked_items: Vec<RankedItem>,
}

/// Result: patterns, or too little history.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum WearPatterns {
    Sparse(Sparse),
    Known(Patterns),
}

/// How often something occurred.
#[derive(Serialize, ToSchema)]
struct Counted {
    name: String,
    count: u64,
}

#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CategoryWear {
    total_wears: u64,
    avg_score: f64,
    #[serde(skip)]
    items: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RankedItem {
    id: ItemId,
    category: Option<String>,
    brand: Option<String>,
    aesthetic_tags: Vec<String>,
    wear_count: u32,
    /// By the clock of the person who asks.
    #[schema(value_type = Option<Timestamp>)]
    last_worn_at: Option<String>,
    /// Days by the calendar: 1 is yesterday.
    days_since_last_worn: Option<i64>,
    score: f64,
    /// Cost per wear.
    cost_per_wear: Option<f64>,
    /// Currency of the cost per wear: that of the price.
    currency: Option<String>,
}

impl RankedItem {
    fn new(item: &WardrobeItem, now: OffsetDateTime, offset: LocalOffset) -> Self {
        let last_worn = wear::last_worn(item);
        let days_since = |at: Timestamp| (offset.day(now) - offset.day(at.get())).whole_days().max(0);
        Self {
            id: item.id.clone(),
            category: item.category.as_deref().map(|category| cut(category, 40)),
            brand: item.brand.as_deref().map(|brand| cut(brand, 60)),
            aesthetic_tags: cut_each(item.aesthetic_tags.iter().flatten(), 40, 8),
            wear_count: item.wear_count,
            last_worn_at: last_worn.map(|at| at.by_clock(offset)),
            days_since_last_worn: last_worn.map(days_since),
            score: wear::round(wear::score(item, now)),
            cost_per_wear: wear::cost_per_wear(item),
            currency: item.price.as_ref().map(|price| cut(&price.original_currency, 12).to_uppercase()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternsArguments {
    query: Option<String>,
}

/// Analyses what the user wears, on which occasions, and in which weather.
pub struct GetWearPatterns(pub(super) Arc<ToolParts>);

impl GetWearPatterns {
    /// Returns the newest wear events of an item: those in the item, or (for older documents without any) the separate
    /// documents.
    async fn events(&self, user: &UserId, item: &WardrobeItem) -> Result<Vec<Wear>, ToolError> {
        let mut events = item.wear_events.clone();
        if events.is_empty() && wear::has_history(item) {
            let stored = self.0.base.data.wear_events.newest_of_item(user, &item.id, EVENTS_PER_ITEM).await?;
            events = stored
                .into_iter()
                .map(|event| Wear {
                    occurred_at: event.occurred_at,
                    occasion: event.occasion,
                    weather_snapshot: event.weather_snapshot,
                })
                .collect();
        }
        events.sort_by_key(|event| Reverse(event.occurred_at));
        events.truncate(EVENTS_PER_ITEM);
        Ok(events)
    }
}

#[async_trait]
impl Tool for GetWearPatterns {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_wear_patterns",
            description: "Returns how the user wears their clothes: most and least worn pieces, cost per wear, occasions and \
                          weather. Use it for habits, favourites and neglected pieces.",
            parameters: parameters(
                json!({
                    "query": {
                        "type": "string",
                        "description": "What the user wants to know. The result covers the whole wardrobe in any case.",
                    },
                }),
                &[],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Find wear patterns").result::<WearPatterns>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let PatternsArguments { query } = read_arguments(arguments)?;
        check_query(&query.unwrap_or_default())?;
        let _turn = self.0.large_reads.wait(user).await;
        let items = self.0.base.data.wardrobe.newest_owned(user, MAX_ITEMS).await?;
        let items_with_wear_history = items.iter().filter(|item| wear::has_history(item)).count();
        if wear::is_sparse(items_with_wear_history as u64) {
            let mut category_breakdown = Tally::default();
            items.iter().for_each(|item| category_breakdown.add(&category_of(item)));
            let sparse = WearPatterns::Sparse(Sparse {
                sparse: true,
                message: "Too few items have a wear history to show patterns.",
                total_items: items.len(),
                category_breakdown: category_breakdown.top(usize::MAX),
            });
            return Ok(serde_json::to_string(&sparse)?);
        }
        let (mut occasions, mut conditions) = (Tally::default(), Tally::default());
        let mut events =
            stream::iter(0..items.len()).map(|index| self.events(user, &items[index])).buffered(CONCURRENT_LOOKUPS);
        while let Some(events) = events.try_next().await? {
            for event in events {
                occasions.add(event.occasion.as_deref().unwrap_or_default());
                let weather = event.weather_snapshot.and_then(|snapshot| snapshot.conditions);
                conditions.add(&weather.unwrap_or_default());
            }
        }
        drop(events);
        let now = self.0.base.clock.now();
        let mut ranked: Vec<RankedItem> = items.iter().map(|item| RankedItem::new(item, now, context.offset)).collect();
        ranked.sort_by(|one, other| {
            let score = other.score.total_cmp(&one.score);
            score.then_with(|| other.last_worn_at.cmp(&one.last_worn_at)).then_with(|| one.id.cmp(&other.id))
        });
        ranked.truncate(MAX_RANKED);
        let patterns = WearPatterns::Known(Patterns {
            sparse: false,
            total_items: items.len(),
            items_with_wear_history,
            top_occasions: counted(occasions.top(TOP_OCCASIONS)),
            top_climate_conditions: counted(conditions.top(TOP_CONDITIONS)),
            category_wear_summary: wear_by_category(&items, now),
            top_ranked_items: ranked,
        });
        Ok(serde_json::to_string(&patterns)?)
    }
}

fn counted(tally: Tally) -> Vec<Counted> {
    tally.0.into_iter().map(|(name, count)| Counted { name, count }).collect()
}

fn category_of(item: &WardrobeItem) -> String {
    let name = item.category.as_deref().map(|category| cut(category, 40).to_lowercase());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "uncategorised".to_owned())
}

fn wear_by_category(items: &[WardrobeItem], now: OffsetDateTime) -> BTreeMap<String, CategoryWear> {
    let mut summary: BTreeMap<String, CategoryWear> = BTreeMap::new();
    for item in items {
        let category = summary.entry(category_of(item)).or_default();
        category.total_wears += u64::from(item.wear_count);
        category.avg_score += wear::score(item, now);
        category.items += 1;
    }
    for category in summary.values_mut() {
        category.avg_score = wear::round(category.avg_score / f64::from(category.items));
    }
    summary
}
