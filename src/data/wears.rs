//! How an item's document counts wears.

use serde_json::{Map, Value, json};

use crate::model::lenient;
use crate::model::timestamp::Timestamp;
use crate::store::Key;

/// Most wears that an item lists, and most actions that it records.
pub const MOST_REMEMBERED: usize = 30;

/// Field with the wear events that may not have their own document yet.
pub const PENDING_EVENTS: &str = "pendingWearEvents";
/// Field with the clients' ids of the newest wears, oldest first.
const RECENT_ACTIONS: &str = "recentWearActionIds";
/// Field with the client's id of the last wear; another service writes and reads it.
const LAST_ACTION: &str = "lastWearActionId";

/// A wear to be counted.
#[derive(Debug, Clone)]
pub struct NewWear {
    /// The client's id of the wear; repeating it does not count another wear.
    pub action: Option<String>,
    /// When it was worn.
    pub occurred_at: Timestamp,
    /// The wear as the item lists it.
    pub listed: Value,
    /// Id of the wear event, derived from the action if there is one.
    pub event_id: String,
    /// The wear event's document.
    pub event: Value,
}

/// Whether a wear with this action was counted recently.
pub(super) fn has_action(item: &Map<String, Value>, action: &str) -> bool {
    let recent = item.get(RECENT_ACTIONS).and_then(Value::as_array).into_iter().flatten();
    recent.chain(item.get(LAST_ACTION)).any(|known| known.as_str() == Some(action))
}

/// Ids and documents of the wear events that may not have been saved yet.
pub(super) fn pending(item: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    let events = item.get(PENDING_EVENTS).and_then(Value::as_array).into_iter().flatten();
    events.filter_map(|event| {
        // Older versions gave events of items with long ids an invalid id.
        let id = Key::composed_id(event.get("id")?.as_str()?.to_owned());
        let mut event = event.clone();
        event["id"] = id.as_str().into();
        Some((id, event))
    })
}

/// Counts a wear. Wear events that were pending must have been saved.
pub(super) fn count(item: &mut Map<String, Value>, wear: &NewWear) {
    let count: u32 = item.get("wearCount").and_then(lenient::whole_of).unwrap_or_default();
    item.insert("wearCount".to_owned(), count.saturating_add(1).into());
    let last = item.get("lastWornAt").and_then(Value::as_str).and_then(Timestamp::parse);
    if last.is_none_or(|last| last < wear.occurred_at) {
        item.insert("lastWornAt".to_owned(), wear.occurred_at.to_string().into());
    }
    let mut wears = match item.remove("wearEvents") {
        Some(Value::Array(wears)) => wears,
        _ => Vec::new(),
    };
    wears.insert(0, wear.listed.clone());
    let at = |wear: &Value| wear.get("occurredAt").and_then(Value::as_str).and_then(Timestamp::parse);
    wears.sort_by_cached_key(|wear| std::cmp::Reverse(at(wear)));
    wears.truncate(MOST_REMEMBERED);
    item.insert("wearEvents".to_owned(), wears.into());
    match &wear.action {
        Some(action) => {
            let mut recent = match item.remove(RECENT_ACTIONS) {
                Some(Value::Array(recent)) => recent,
                _ => Vec::new(),
            };
            recent.push(action.as_str().into());
            recent.drain(..recent.len().saturating_sub(MOST_REMEMBERED));
            item.insert(RECENT_ACTIONS.to_owned(), recent.into());
            item.insert(LAST_ACTION.to_owned(), action.as_str().into());
        }
        None => drop(item.remove(LAST_ACTION)),
    }
    item.insert(PENDING_EVENTS.to_owned(), json!([wear.event]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wear(action: Option<&str>, at: &str) -> NewWear {
        NewWear {
            action: action.map(str::to_owned),
            occurred_at: Timestamp::parse(at).unwrap(),
            listed: json!({ "occurredAt": at }),
            event_id: format!("wear-{at}"),
            event: json!({ "id": format!("wear-{at}"), "occurredAt": at }),
        }
    }

    fn item(fields: Value) -> Map<String, Value> {
        let Value::Object(fields) = fields else { panic!("an object") };
        fields
    }

    #[test]
    fn a_wear_is_counted_and_the_newest_come_first() {
        let mut coat = item(json!({
            "wearCount": 2.0, "lastWornAt": "2026-03-05T10:00:00+00:00", "odd": {"x": null},
            "wearEvents": [{"occurredAt": "2026-03-01T10:00:00Z"}, {"x": 1}, {"occurredAt": "2026-03-05T10:00:00Z", "y": 2}],
        }));
        count(&mut coat, &wear(Some("a"), "2026-03-03T10:00:00.000Z"));
        let expected = json!({
            "wearCount": 3, "lastWornAt": "2026-03-05T10:00:00+00:00", "odd": {"x": null},
            "wearEvents": [
                {"occurredAt": "2026-03-05T10:00:00Z", "y": 2}, {"occurredAt": "2026-03-03T10:00:00.000Z"},
                {"occurredAt": "2026-03-01T10:00:00Z"}, {"x": 1},
            ],
            "lastWearActionId": "a", "recentWearActionIds": ["a"],
            "pendingWearEvents": [{"id": "wear-2026-03-03T10:00:00.000Z", "occurredAt": "2026-03-03T10:00:00.000Z"}],
        });
        assert_eq!(Value::Object(coat.clone()), expected);
        count(&mut coat, &wear(None, "2026-03-06T10:00:00.000Z"));
        assert_eq!(coat["lastWornAt"], "2026-03-06T10:00:00.000Z");
        assert!(has_action(&coat, "a") && !has_action(&coat, "b"));
        assert_eq!(pending(&coat).map(|(id, _)| id).collect::<Vec<_>>(), ["wear-2026-03-06T10:00:00.000Z"]);
    }

    #[test]
    fn thirty_wears_and_actions_are_remembered() {
        let mut coat = item(json!({"wearCount": "many", "wearEvents": null, "recentWearActionIds": 7}));
        for day in 1..=31 {
            count(&mut coat, &wear(Some(&format!("a{day}")), &format!("2026-03-{day:02}T10:00:00.000Z")));
        }
        assert_eq!((coat["wearCount"].clone(), coat["wearEvents"].as_array().unwrap().len()), (json!(31), 30));
        assert!(has_action(&coat, "a2") && !has_action(&coat, "a1"));
    }
}
