//! How much, and how recently, items were worn.

use time::OffsetDateTime;

use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WardrobeItem;

/// Days after which a wear has only [`LEAST_FACTOR`] of its weight. Defined by the product.
const FADING_DAYS: f64 = 180.0;

/// Least weight of a wear. Defined by the product.
const LEAST_FACTOR: f64 = 0.1;

/// Fewest worn items for meaningful patterns. Defined by the product.
const FEWEST_WORN: u64 = 5;

/// Returns when the item was last worn, if known.
pub fn last_worn(item: &WardrobeItem) -> Option<Timestamp> {
    item.last_worn_at.or_else(|| item.wear_events.iter().filter_map(|wear| wear.occurred_at).max())
}

/// Whether the item was ever worn.
pub fn has_history(item: &WardrobeItem) -> bool {
    item.wear_count > 0 || !item.wear_events.is_empty() || item.last_worn_at.is_some()
}

/// Whether too few items were ever worn to show patterns.
pub fn is_sparse(worn_items: u64) -> bool {
    worn_items < FEWEST_WORN
}

/// Returns the whole days since the item was last worn, if known. A future date counts as today.
pub fn days_since_worn(item: &WardrobeItem, now: OffsetDateTime) -> Option<i64> {
    last_worn(item).map(|at| (now - at.get()).whole_days().max(0))
}

/// Returns the wear count weighted by recency; 0 if never worn, the least weight if the date is unknown.
pub fn score(item: &WardrobeItem, now: OffsetDateTime) -> f64 {
    let factor = match days_since_worn(item, now) {
        // Far fewer days than a float can hold exactly.
        Some(days) => (1.0 - days as f64 / FADING_DAYS).max(LEAST_FACTOR),
        None => LEAST_FACTOR,
    };
    f64::from(item.wear_count) * factor
}

/// Returns the price divided by the wear count, in the price's currency; `None` without a price or wear.
pub fn cost_per_wear(item: &WardrobeItem) -> Option<f64> {
    let amount = item.price.as_ref()?.amount;
    (item.wear_count > 0 && amount.is_finite()).then(|| round(amount / f64::from(item.wear_count)))
}

/// Rounds to two decimals.
pub fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-10 12:00 UTC);

    fn item(fields: serde_json::Value) -> WardrobeItem {
        let mut document = json!({ "id": "a", "userId": "ada" });
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn the_score_fades_to_a_tenth() {
        let worn = |at: &str| score(&item(json!({ "wearCount": 10, "lastWornAt": at })), NOW);
        assert_eq!(worn("2026-03-10"), 10.0);
        assert_eq!(worn("2025-12-10"), 5.0);
        assert_eq!(worn("2020-01-01"), 1.0);
        assert_eq!(worn("2030-01-01"), 10.0);
        assert_eq!(score(&item(json!({ "wearCount": 10 })), NOW), 1.0);
        assert_eq!(score(&item(json!({ "wearCount": 0, "lastWornAt": "2026-03-01" })), NOW), 0.0);
    }

    #[test]
    fn the_newest_wearing_stands_in_for_a_missing_date() {
        let item = item(json!({
            "wearCount": 2,
            "wearEvents": [{ "occurredAt": "2026-03-01T12:00:00Z" }, { "occurredAt": "2026-03-05T12:00:00Z" }],
        }));
        assert_eq!(days_since_worn(&item, NOW), Some(5));
    }

    #[test]
    fn cost_per_wear_needs_a_price_and_a_wearing() {
        assert_eq!(cost_per_wear(&item(json!({ "price": 100, "wearCount": 3 }))), Some(33.33));
        assert_eq!(cost_per_wear(&item(json!({ "price": 100 }))), None);
        assert_eq!(cost_per_wear(&item(json!({ "wearCount": 3 }))), None);
    }
}
