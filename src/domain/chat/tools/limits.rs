//! Limits of a wardrobe search: certain items, a price, a period of purchases or of wears, a number of wears.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::Date;

use super::history::read_date;
use super::wardrobe::SearchArguments;
use super::{ToolError, ToolParts, cut};
use crate::base::local_offset::LocalOffset;
use crate::base::text::cut_each;
use crate::model::garment::Garment;
use crate::model::ids::{ItemId, UserId};
use crate::model::wardrobe::WardrobeItem;

/// Most wears in a period that are counted, the newest.
const MAX_WEARS: usize = 20_000;
/// Most items that `only` names, and the longest name, in characters.
const MAX_NAMES: usize = 60;
const MAX_NAME: usize = 200;

/// Schemas of the arguments.
pub(super) fn parameters() -> Map<String, Value> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number = |description: &str| json!({ "type": "number", "description": description });
    let wears = |description: &str| json!({ "type": "integer", "minimum": 0, "description": description });
    let parameters = json!({
        "only": {
            "type": "array", "items": { "type": "string" }, "maxItems": MAX_NAMES,
            "description": "Only these items, by the ids or names in an earlier result.",
        },
        "price_min": number("Least price."),
        "price_max": number("Highest price."),
        "currency": text("Currency of these prices, as a code such as EUR; the user's without it."),
        "bought_from": text("Bought on this day, YYYY-MM-DD, or later."),
        "bought_to": text("Bought on this day or earlier."),
        "worn_from": text("Wears are counted from this day on."),
        "worn_to": text("Wears are counted up to this day."),
        "min_wears": wears("Worn at least so often, in the period if there is one."),
        "max_wears": wears("Worn at most so often; 0 for what was not worn."),
    });
    match parameters {
        Value::Object(parameters) => parameters,
        _ => Map::new(),
    }
}

/// A range of days.
type Days = (Option<Date>, Option<Date>);

fn contains((first, last): Days, day: Date) -> bool {
    first.is_none_or(|first| first <= day) && last.is_none_or(|last| day <= last)
}

/// The limits of a search.
pub(super) struct Limits {
    only: Vec<String>,
    price: (Option<f64>, Option<f64>),
    bought: Days,
    worn: Days,
    /// UTC offset of the clock by which days of wears are counted.
    offset: LocalOffset,
    wears: (Option<u32>, Option<u32>),
    /// Wears of the period by item, if there is a period.
    worn_times: Option<HashMap<ItemId, u32>>,
}

impl Limits {
    /// Reads the limits, and the wears of their period, for a person whose clock has this UTC offset.
    pub(super) async fn read(
        parts: &ToolParts,
        user: &UserId,
        offset: LocalOffset,
        arguments: &SearchArguments,
    ) -> Result<Self, ToolError> {
        let day = |text: &Option<String>, name| read_date(text.as_deref(), name);
        let bought = (day(&arguments.bought_from, "bought_from")?, day(&arguments.bought_to, "bought_to")?);
        let worn = (day(&arguments.worn_from, "worn_from")?, day(&arguments.worn_to, "worn_to")?);
        let mut worn_times = None;
        if worn != (None, None) {
            let last = worn.1.unwrap_or_else(|| offset.day(parts.base.clock.now()));
            let from = worn.0.and_then(|first| offset.start_of(first));
            let until = last.next_day().and_then(|next| offset.start_of(next));
            let events = parts.base.data.wear_events.between(user, from, until, MAX_WEARS).await?;
            let mut times: HashMap<ItemId, u32> = HashMap::new();
            for event in events {
                *times.entry(event.item_id).or_default() += 1;
            }
            worn_times = Some(times);
        }
        Ok(Self {
            only: cut_each(&arguments.only, MAX_NAME, MAX_NAMES),
            price: (arguments.price_min, arguments.price_max),
            bought,
            worn,
            offset,
            wears: (arguments.min_wears, arguments.max_wears),
            worn_times,
        })
    }

    /// Whether there are any.
    pub(super) fn are_given(&self) -> bool {
        !self.only.is_empty()
            || self.price != (None, None)
            || self.bought != (None, None)
            || self.wears != (None, None)
            || self.worn_times.is_some()
    }

    /// Returns the wears of an item in the period; `None` without a period. Items of the older service have their
    /// wears within themselves only.
    pub(super) fn wears_of(&self, item: &WardrobeItem) -> Option<u32> {
        let times = self.worn_times.as_ref()?;
        let days = item.wear_events.iter().filter_map(|wear| wear.occurred_at).map(|at| self.offset.day(at.get()));
        let own = u32::try_from(days.filter(|day| contains(self.worn, *day)).count()).unwrap_or(u32::MAX);
        Some(times.get(&item.id).copied().unwrap_or_default().max(own))
    }

    /// Whether a price is within the limits of prices.
    pub(super) fn admit_price(&self, price: Option<f64>) -> bool {
        self.price.0.is_none_or(|least| price.is_some_and(|price| price >= least))
            && self.price.1.is_none_or(|most| price.is_some_and(|price| price <= most))
    }

    /// Whether an item with these wears is within the other limits.
    pub(super) fn admit(&self, item: &WardrobeItem, garment: &Garment, wears: u32) -> bool {
        let is_meant = |name: &String| item.id.as_str() == name || garment.name.eq_ignore_ascii_case(name);
        let is_bought_then =
            self.bought == (None, None) || item.bought_on().is_some_and(|day| contains(self.bought, day));
        (self.only.is_empty() || self.only.iter().any(is_meant))
            && is_bought_then
            && self.wears.0.is_none_or(|least| wears >= least)
            && self.wears.1.is_none_or(|most| wears <= most)
    }
}

/// Returns the name under which a colour is counted.
pub(super) fn first_colour(item: &WardrobeItem) -> Option<String> {
    item.colours.iter().map(|colour| cut(&colour.name, 30).to_lowercase()).find(|name| !name.is_empty())
}
