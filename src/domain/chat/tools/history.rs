//! Wears by day, with occasion and weather.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use time::{Date, Duration, OffsetDateTime};

use super::{Tool, ToolError, ToolParts, Traits, cut, parameters, read_arguments};
use crate::base::local_offset::LocalOffset;
use crate::llm::{CallContext, ToolSpec};
use crate::model::garment::Garment;
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::{Timestamp, Written};
use crate::model::tool_results::{WearHistory, WornItem, WornTogether};
use crate::model::wardrobe::{WardrobeItem, WearEvent, WeatherSnapshot};

/// Most occasions in a result.
const MAX_WEARS: usize = 120;
/// Most items in a request.
const MAX_ITEMS: usize = 10;
/// Number of days returned when none is named.
const USUAL_DAYS: i64 = 30;
/// Concurrent look-ups.
const CONCURRENT_LOOKUPS: usize = 4;
/// Name of an item that was deleted.
const GONE: &str = "a piece that is no longer in the wardrobe";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryArguments {
    from: Option<String>,
    to: Option<String>,
    item_ids: Option<Vec<ItemId>>,
}

/// Tells what was worn when.
pub struct GetWearHistory(pub(super) Arc<ToolParts>);

impl GetWearHistory {
    /// Returns the wears of one item, newest first: from wear events, or from the item itself.
    async fn of_item(&self, user: &UserId, item: &WardrobeItem) -> Result<Vec<WearEvent>, ToolError> {
        let events = self.0.base.data.wear_events.newest_of_item(user, &item.id, MAX_WEARS).await?;
        if !events.is_empty() {
            return Ok(events);
        }
        let mut kept: Vec<WearEvent> = item.wear_events.iter().map(|wear| of_wear(user, item, wear)).collect();
        kept.sort_by_key(|event| std::cmp::Reverse(event.occurred_at));
        Ok(kept)
    }
}

fn of_wear(user: &UserId, item: &WardrobeItem, wear: &crate::model::wardrobe::Wear) -> WearEvent {
    WearEvent {
        id: String::new(),
        user_id: user.clone(),
        item_id: item.id.clone(),
        occurred_at: wear.occurred_at,
        occasion: wear.occasion.clone(),
        weather_snapshot: wear.weather_snapshot.clone(),
        source: None,
        styling_activity_id: None,
        created_at: None,
        other: serde_json::Map::new(),
    }
}

#[async_trait]
impl Tool for GetWearHistory {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_wear_history",
            description: "Tells what the user wore on which day, with occasion and weather, newest first. Without dates and \
                          items: the last 30 days. With items: when each was worn. Use it for what was worn when.",
            parameters: parameters(
                json!({
                    "from": { "type": "string", "description": "First day, YYYY-MM-DD." },
                    "to": { "type": "string", "description": "Last day, YYYY-MM-DD." },
                    "item_ids": {
                        "type": "array", "items": { "type": "string" }, "maxItems": MAX_ITEMS,
                        "description": "Only these items, by the ids that search_wardrobe returned.",
                    },
                }),
                &[],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("List what was worn").result::<WearHistory>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let HistoryArguments { from, to, item_ids } = read_arguments(arguments)?;
        let offset = context.offset;
        let ids = item_ids.unwrap_or_default();
        if ids.len() > MAX_ITEMS {
            return Err(ToolError::BadArguments(format!("item_ids may have at most {MAX_ITEMS} ids")));
        }
        let last = read_date(to.as_deref(), "to")?.unwrap_or_else(|| offset.day(self.0.base.clock.now()));
        let first = match read_date(from.as_deref(), "from")? {
            None if ids.is_empty() => Some(last.saturating_sub(Duration::days(USUAL_DAYS))),
            first => first,
        };
        let from = first.and_then(|first| offset.start_of(first));
        let until = last.next_day().and_then(|next| offset.start_of(next));
        let (mut events, mut is_cut) = (Vec::new(), false);
        if ids.is_empty() {
            events = self.0.base.data.wear_events.between(user, from, until, MAX_WEARS + 1).await?;
        } else {
            let items = self.0.base.data.wardrobe.find_many(user, &ids).await?;
            let found = stream::iter(0..items.len()).map(|index| self.of_item(user, &items[index]));
            let found = found.buffered(CONCURRENT_LOOKUPS);
            let found: Vec<Vec<WearEvent>> = found.try_collect().await?;
            events.extend(found.into_iter().flatten());
            events.retain(|event| event.occurred_at.is_some_and(|at| at.is_within(from, until)));
            events.sort_by_key(|event| std::cmp::Reverse(event.occurred_at));
        }
        if events.len() > MAX_WEARS {
            events.truncate(MAX_WEARS);
            is_cut = true;
        }
        let names = self.names(user, &events).await?;
        let history = WearHistory {
            note: match (events.is_empty(), is_cut) {
                (true, _) => Some("Nothing is on record for that."),
                (false, true) => Some("There is more; ask for fewer days."),
                (false, false) => None,
            }
            .map(str::to_owned),
            from: first.map_or_else(|| "the beginning".to_owned(), |first| first.to_string()),
            to: last.to_string(),
            wears: grouped(events, &names, offset),
        };
        Ok(serde_json::to_string(&history)?)
    }
}

impl GetWearHistory {
    /// Display names of the worn items.
    async fn names(&self, user: &UserId, events: &[WearEvent]) -> Result<HashMap<ItemId, String>, ToolError> {
        let mut ids: Vec<ItemId> = events.iter().map(|event| event.item_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let items = self.0.base.data.wardrobe.find_many(user, &ids).await?;
        Ok(items.iter().map(|item| (item.id.clone(), Garment::from(item).name)).collect())
    }
}

/// Groups wears with the same time into one occasion.
fn grouped(events: Vec<WearEvent>, names: &HashMap<ItemId, String>, offset: LocalOffset) -> Vec<WornTogether> {
    let mut occasions: Vec<WornTogether> = Vec::new();
    for event in events {
        let name = names.get(&event.item_id).cloned().unwrap_or_else(|| GONE.to_owned());
        let item = WornItem { id: event.item_id, name };
        match occasions.last_mut().filter(|last| last.at == event.occurred_at) {
            Some(last) => last.items.push(item),
            None => {
                let date = offset.day(event.occurred_at.map_or(OffsetDateTime::UNIX_EPOCH, Timestamp::get));
                occasions.push(WornTogether {
                    date: date.to_string(),
                    weekday: date.weekday().to_string(),
                    occasion: event.occasion.map(|occasion| cut(&occasion, 40)).filter(|text| !text.is_empty()),
                    weather: event.weather_snapshot.as_ref().and_then(weather),
                    items: vec![item],
                    at: event.occurred_at,
                });
            }
        }
    }
    occasions
}

fn weather(snapshot: &WeatherSnapshot) -> Option<String> {
    let celsius = snapshot.temp_celsius.map(|celsius| format!("{:.0} \u{b0}C", celsius.round() + 0.0));
    let conditions = snapshot.conditions.as_deref().map(|text| cut(text, 40).to_lowercase());
    let parts: Vec<String> = [celsius, conditions].into_iter().flatten().filter(|text| !text.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Parses a date written by the model.
pub(super) fn read_date(text: Option<&str>, name: &str) -> Result<Option<Date>, ToolError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    Written::parse(text)
        .map(|written| Some(written.day()))
        .ok_or_else(|| ToolError::BadArguments(format!("{name} is a day such as 2026-03-10")))
}
