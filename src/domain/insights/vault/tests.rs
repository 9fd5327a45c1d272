use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::model::insights::{Badge, WearRateTrend};
use crate::model::numbers::WearNumbers;

const NOW: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);

fn question() -> Question {
    Question::new(90, 100.0).unwrap()
}

fn body(question: Question, currency: &str, items: &[Value], wears: &[Value]) -> Vec<u8> {
    let vault = Vault::new(question, currency.to_owned(), Arc::new(Rates::built_in()), NOW);
    let pieces = items.iter().map(|item| {
        let item: ItemNumbers = serde_json::from_str(&item.to_string()).unwrap();
        vault.piece(&item)
    });
    let mut all_wears = Wears::default();
    for wear in wears {
        let wear: WearNumbers = serde_json::from_str(&wear.to_string()).unwrap();
        if let Some((item, at)) = wear.read() {
            vault.add_wear(&mut all_wears, item, at);
        }
    }
    vault.finish(pieces.collect(), &all_wears).unwrap()
}

fn insights(question: Question, currency: &str, items: &[Value], wears: &[Value]) -> VaultInsights {
    serde_json::from_slice(&body(question, currency, items, wears)).unwrap()
}

fn days_ago(days: i64) -> String {
    Timestamp::from(NOW - Duration::days(days)).to_string()
}

fn wear(item: &str, at: impl Into<Value>) -> Value {
    json!({"id": "w", "itemId": item, "occurredAt": at.into()})
}

fn number(text: &str) -> Number {
    Number(text.parse().unwrap())
}

#[test]
fn an_empty_wardrobe_has_nothing_to_tell() {
    let text = String::from_utf8(body(question(), "USD", &[], &[])).unwrap();
    let expected = concat!(
        r#"{"behavioralInsights":{"mostExpensiveUnworn":null,"sparseHistory":true,"topColorWearShare":null,"#,
        r#""unworn90dPct":null},"conversionStatus":"static_rates","cpwIntel":[],"currency":"USD","#,
        r#""fxDate":"2024-03-01","generatedAt":"2026-03-02T09:15:00.000Z","insufficientData":true}"#,
    );
    assert_eq!(text, expected);
}

#[test]
fn one_item_adds_up() {
    let item = json!({
        "id": "coat", "price": {"amount": 250, "originalCurrency": "EUR"}, "wearCount": 2,
        "dateAdded": "2025-11-20T00:00:00Z", "lastWornAt": days_ago(10), "colours": [{"name": "Navy"}],
    });
    let wears = [wear("coat", days_ago(10)), wear("coat", days_ago(20)), wear("gone", days_ago(5))];
    let text: Value = serde_json::from_slice(&body(question(), "INR", &[item], &wears)).unwrap();
    // 250 × 90 = 22,500 for 2 wearings. 2 wears in 3 months, 2 in 4 calendar months: 0.667 − 0.5 > 0.1.
    // 225 wearings for 100 each, 223 more at 2/3 a month: 334.5, so 335 months after March 2026.
    let expected = json!({
        "badge": "high", "breakEvenReached": false, "breakEvenTargetCpw": 100, "cpw": 11250,
        "forecast": {
            "historicalWearRate": 0.5, "projectedMonth": "2054-02", "projectedWearsNeeded": 223,
            "recentWearRate": 0.67, "targetCpw": 100, "wearRateTrend": "up",
        },
        "historicalWearRate": 0.5, "itemId": "coat", "recentWearRate": 0.67, "wearRateDelta": 0.17,
        "wearRateTrend": "up",
    });
    assert_eq!(text["cpwIntel"], json!([expected]));
    let expected = json!({
        "mostExpensiveUnworn": null, "sparseHistory": true,
        "topColorWearShare": {"color": "navy", "pct": 100}, "unworn90dPct": 0,
    });
    assert_eq!(text["behavioralInsights"], expected);
}

#[test]
fn an_item_without_price_or_wearing_has_no_cost_per_wear() {
    let items = [
        json!({"id": "a", "wearCount": 3}),
        json!({"id": "b", "price": 80}),
        json!({"id": "c", "price": {"amount": 80, "originalCurrency": "JPY"}, "wearCount": 1}),
        json!({"id": "d", "price": -5, "wearCount": 1}),
    ];
    let found = insights(question(), "USD", &items, &[]).cpw_intel;
    let badges: Vec<_> = found.iter().map(|entry| (entry.badge, entry.cpw, entry.forecast.is_some())).collect();
    let unknown = (Badge::Unknown, None, false);
    assert_eq!(badges, [unknown, (Badge::Unworn, None, true), unknown, unknown]);
    let forecast = found[1].forecast.as_ref().unwrap();
    // One wearing at 0.3 a month: four months.
    assert_eq!((forecast.projected_wears_needed, forecast.projected_month.as_deref()), (1, Some("2026-07")));
    assert_eq!(found[1].wear_rate_trend, WearRateTrend::Stable);
}

#[test]
fn the_dearest_unworn_item_is_told_in_the_user_s_currency() {
    let items = [
        json!({"id": "worn", "price": 900, "wearCount": 1}),
        json!({"id": "b", "price": {"amount": 46.005, "originalCurrency": "EUR"}}),
        json!({"id": "a", "price": {"amount": 46.005, "originalCurrency": "EUR"}}),
        json!({"id": "c", "price": 49.6, "wearCount": 0}),
        json!({"id": "d", "price": {"amount": 9999, "originalCurrency": "JPY"}}),
    ];
    let dearest = |currency| insights(question(), currency, &items, &[]).behavioral_insights.most_expensive_unworn;
    let is = |id: &str, amount, currency: &str| {
        Some(UnwornItem { amount: number(amount), currency: currency.into(), item_id: id.into() })
    };
    // 46.005 EUR are 49.6854 USD; unconverted they round up.
    assert_eq!(dearest("USD"), is("a", "49.69", "USD"));
    assert_eq!(dearest("EUR"), is("a", "46.01", "EUR"));
    assert_eq!(dearest("JPY"), is("d", "9999", "JPY"));
}

#[test]
fn unworn_is_what_was_not_worn_for_more_than_ninety_days() {
    let item = |id: &str, wears: u32, last: Option<String>| json!({"id": id, "wearCount": wears, "lastWornAt": last});
    let share = |items: &[Value], wears: &[Value]| {
        insights(Question::new(7, 1.0).unwrap(), "USD", items, wears).behavioral_insights.unworn90d_pct.unwrap()
    };
    let just_over = Timestamp::from(NOW - Duration::days(90) - Duration::seconds(1)).to_string();
    for (item, expected) in [
        (item("a", 1, Some(days_ago(90))), "0"),
        (item("a", 1, Some(just_over)), "100"),
        (item("a", 1, Some(days_ago(-30))), "0"),
        (item("a", 1, None), "100"),
        (item("a", 1, Some("long ago".to_owned())), "100"),
        (item("a", 0, Some(days_ago(3))), "100"),
        (json!({"id": "a", "wearCount": 1, "wearEvents": [{"occurredAt": days_ago(80)}]}), "0"),
    ] {
        assert_eq!(share(std::slice::from_ref(&item), &[]), number(expected), "{item}");
    }
    // Beyond the window of seven days, events have wears that the item lacks.
    assert_eq!(share(&[item("a", 1, None)], &[wear("a", days_ago(80))]), number("0"));
    let three = [item("a", 1, Some(days_ago(1))), item("b", 1, None), item("c", 0, None)];
    assert_eq!(share(&three, &[]), number("66.7"));
}

#[test]
fn the_window_ends_a_day_ahead() {
    let items = [json!({"id": "a", "wearCount": 9})];
    let rate =
        |wears: &[Value]| insights(Question::new(30, 1.0).unwrap(), "USD", &items, wears).cpw_intel[0].recent_wear_rate;
    let beyond = Timestamp::from(NOW - Duration::days(30) - Duration::seconds(1)).to_string();
    for (at, expected) in [
        (json!(days_ago(0)), "1"),
        (json!(days_ago(30)), "1"),
        (json!("2026-02-01"), "1"),
        // The last moment of the window, with a UTC offset that makes it another day.
        (json!("2026-01-30T21:45:00-11:30"), "1"),
        (json!(days_ago(-1)), "1"),
        (json!(beyond), "0"),
        (json!(days_ago(-2)), "0"),
        (json!("some day"), "0"),
        (json!(7), "0"),
        (json!(null), "0"),
    ] {
        assert_eq!(rate(&[wear("a", at.clone())]), number(expected), "{at}");
    }
}

#[test]
fn wearings_that_only_the_item_keeps_count_as_well_and_none_twice() {
    let item = json!({
        "id": "a", "wearCount": 9, "lastWornAt": days_ago(1),
        "wearEvents": [{"occurredAt": days_ago(1)}, {"occurredAt": days_ago(2)}, {"occurredAt": days_ago(200)}],
    });
    let rate = |wears: &[Value]| {
        insights(Question::new(30, 1.0).unwrap(), "USD", std::slice::from_ref(&item), wears).cpw_intel[0]
            .recent_wear_rate
    };
    assert_eq!(rate(&[]), number("2"));
    assert_eq!(rate(&[wear("a", days_ago(1)), wear("a", days_ago(2))]), number("2"));
    assert_eq!(rate(&[1, 2, 3].map(|days| wear("a", days_ago(days)))), number("3"));
}

#[test]
fn the_top_colour_is_the_one_of_most_wearings_that_have_one() {
    let items = [
        json!({"id": "a", "colours": [{"name": "red"}]}),
        json!({"id": "b", "colours": [{"name": "teal"}]}),
        json!({"id": "c", "tags": ["teal"]}),
        json!({"id": "d"}),
    ];
    let top = |wears: &[&str]| {
        let wears: Vec<_> = wears.iter().map(|item| wear(item, days_ago(1))).collect();
        let share = insights(question(), "USD", &items, &wears).behavioral_insights.top_color_wear_share;
        share.map(|share| (share.color, share.pct))
    };
    let is = |colour: &str, pct| Some((colour.to_owned(), number(pct)));
    assert_eq!(top(&["a", "b", "c", "d", "d", "d", "sold"]), is("teal", "66.7"));
    assert_eq!(top(&["b", "a"]), is("red", "50"));
    assert_eq!(top(&["d", "sold"]), None);
    assert_eq!(top(&[]), None);
}

#[test]
fn five_items_that_were_worn_are_enough() {
    let items = |worn: usize| -> Vec<_> {
        (0..9).map(|n| json!({"id": n.to_string(), "wearCount": usize::from(n < worn)})).collect()
    };
    assert!(insights(question(), "USD", &items(4), &[]).behavioral_insights.sparse_history);
    assert!(!insights(question(), "USD", &items(5), &[]).behavioral_insights.sparse_history);
}

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        (0_i64..100_000).prop_map(|hundredths| json!(hundredths as f64 / 100.0)),
        Just(json!(null)),
        Just(json!("12")),
    ]
}

fn any_time() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-400_i64..4000).prop_map(|days| json!(days_ago(days))),
        "[0-9T:Z+-]{0,25}".prop_map(Value::from),
        Just(json!("0001-01-01T00:00:00")),
        Just(json!("9999-12-31T23:59:59-12:00")),
    ]
}

fn any_item() -> impl Strategy<Value = Value> {
    let currency = select(vec![json!("USD"), json!("inr"), json!("JPY"), json!(""), json!(3)]);
    let colour = select(vec!["navy", "ecru", "gray", ""]);
    (0_u8..20, any_number(), currency, any_number(), any_time(), any_time(), colour).prop_map(
        |(id, amount, currency, wears, added, worn, colour)| {
            json!({
                "id": id.to_string(), "price": {"amount": amount, "originalCurrency": currency}, "wearCount": wears,
                "dateAdded": added, "lastWornAt": worn, "colours": [{"name": colour}],
                "wearEvents": [{"occurredAt": worn}],
            })
        },
    )
}

proptest! {
    #[test]
    fn any_wardrobe_gives_a_sound_answer(
        items in vec(any_item(), 0..20),
        wears in vec((0_u8..25, any_time()), 0..40),
        window in 1_i64..=3650,
        target in prop_oneof![0.01_f64..1000.0, any::<f64>().prop_map(f64::abs)],
    ) {
        let Some(question) = Question::new(window, target) else { return Ok(()) };
        let wears: Vec<_> = wears.into_iter().map(|(item, at)| wear(&item.to_string(), at)).collect();
        let text = body(question, "USD", &items, &wears);
        // It is canonical, so its hash is that of the JSON it holds.
        let value: Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(serde_json::to_vec(&value).unwrap(), text.clone());
        let found: VaultInsights = serde_json::from_slice(&text).unwrap();
        let hundred = number("100");
        let shares = [
            found.behavioral_insights.top_color_wear_share.map(|share| share.pct),
            found.behavioral_insights.unworn90d_pct,
        ];
        prop_assert!(shares.into_iter().flatten().all(|share| share >= number("0") && share <= hundred));
        prop_assert_eq!(found.insufficient_data, items.is_empty());
        for entry in &found.cpw_intel {
            prop_assert_eq!(entry.badge == Badge::Low, entry.break_even_reached);
            let is_at_target = entry.cpw.is_some_and(|cpw| cpw <= entry.break_even_target_cpw);
            prop_assert_eq!(entry.break_even_reached, is_at_target);
            prop_assert!(entry.recent_wear_rate >= number("0") && entry.historical_wear_rate >= number("0"));
        }
        // Order makes no difference, as long as the ids are of one item.
        let mut ids = std::collections::HashSet::new();
        let mut items: Vec<_> = items.into_iter().filter(|item| ids.insert(item["id"].to_string())).collect();
        let mut wears = wears;
        let before = body(question, "USD", &items, &wears);
        items.reverse();
        wears.reverse();
        prop_assert_eq!(body(question, "USD", &items, &wears), before);
    }
}
