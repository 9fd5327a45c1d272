//! Answers about the cost of the wardrobe.

use serde_json::{Value, json};

use super::pieces::tally;
use super::search::{limits_label, not_owned, nothing_within, within};
use super::wording::{counted, list, spelled};
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::garment::shown;
use crate::model::tool_results::{Paid, Spent};

/// Answers how much the wardrobe, or a part of it, cost.
pub fn spent(turn: &Turn<'_>) -> Answer {
    let is_average = turn.asked.says(&["average", "mean"]);
    if is_average || turn.asked.is_limited() || turn.asked.about().is_some_and(|named| whole_kind(named).is_none()) {
        return spent_on(turn);
    }
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let spent = &result["spent"];
    let priced = spent["items_with_price"].as_u64().unwrap_or_default();
    if priced == 0 {
        return Ok(turn.say("no prices", &[]));
    }
    let currency = spent["currency"].as_str().unwrap_or("USD");
    let about = |amount: f64| Paid { amount, currency: currency.to_owned() }.rounded();
    let kinds = tally(&spent["by_category"], shown);
    if let Some(named) = turn.asked.about() {
        let kind = whole_kind(named);
        return match kinds.iter().find(|(name, _)| Some(name.as_str()) == kind) {
            Some((kind, sum)) => Ok(turn.say("spent on kind", &[("kind", kind), ("sum", &about(*sum))])),
            None => spent_on(turn),
        };
    }
    let most: Vec<String> = kinds.iter().take(3).map(|(name, sum)| format!("{} for {name}", about(*sum))).collect();
    let total = about(spent["total"].as_f64().unwrap_or_default());
    let mut text = turn.say("spent", &[("sum", &total), ("priced", &priced), ("most", &list(&most))]);
    let spent: Spent = serde_json::from_value(spent.clone()).unwrap_or_default();
    text.extend(unpriced(turn, &spent).map(|sentence| format!(" {sentence}")));
    Ok(text)
}

/// Answers how much the user saved: nobody knows, but what they spent is on record.
pub fn saved(turn: &Turn<'_>) -> Answer {
    Ok(format!("{}\n{}", turn.say("saved", &[]), spent(turn)?))
}

/// Says which prices are not in a sum: those that are not known, and those without an exchange rate.
pub fn unpriced(turn: &Turn<'_>, spent: &Spent) -> Option<String> {
    let without_rate: u64 = spent.without_rate.values().sum();
    let without_price = spent.items_without_price.saturating_sub(without_rate);
    let number = |count: u64| if count == 1 { "One".to_owned() } else { count.to_string() };
    let price = (without_price > 0)
        .then(|| turn.say("unpriced", &[("number", &number(without_price)), ("count", &without_price)]));
    let codes: Vec<String> = spent.without_rate.keys().map(|code| shown(code)).collect();
    let rate = (without_rate > 0).then(|| {
        let values: [(&str, &dyn std::fmt::Display); 3] =
            [("number", &number(without_rate)), ("count", &without_rate), ("codes", &list(&codes))];
        turn.say("unrated", &values)
    });
    let sentences: Vec<String> = [price, rate].into_iter().flatten().collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Returns the category that is named as a whole, in the summary's wording.
fn whole_kind(named: &Named) -> Option<&'static str> {
    let is_whole = named.description.colours.is_empty() && named.description.words.is_empty();
    let kind = named.description.garment.filter(|kind| is_whole && *kind == kind.group())?;
    Some(match kind.name() {
        "top" => "tops",
        "dress" => "dresses",
        other => other,
    })
}

/// Answers how much the pieces in question cost together.
fn spent_on(turn: &Turn<'_>) -> Answer {
    let about = turn.asked.about();
    let found = within(turn, "price", "desc")?;
    let totals = found.totals.unwrap_or_default();
    let Spent { currency, total, items_with_price: count, .. } = &totals.spent;
    if found.items.is_empty() {
        return Ok(match about.filter(|_| !turn.asked.is_limited()) {
            Some(named) => not_owned(turn, named, &[]),
            None => nothing_within(turn),
        });
    }
    let unpriced = unpriced(turn, &totals.spent).map(|sentence| format!(" {sentence}")).unwrap_or_default();
    if *count == 0 {
        let nothing = turn.say("unranked price", &[]);
        return Ok(if totals.spent.without_rate.is_empty() { nothing } else { unpriced.trim().to_owned() });
    }
    let is_average = turn.asked.says(&["average", "mean"]);
    let amount = if is_average { *total / *count as f64 } else { *total };
    let sum = Paid { amount, currency: currency.clone() };
    let what = counted(about, *count);
    let values: [(&str, &dyn std::fmt::Display); 4] =
        [("sum", &sum), ("number", &spelled(*count)), ("what", &what), ("limits", &limits_label(turn))];
    Ok(turn.say(if is_average { "spent on average" } else { "spent on pieces" }, &values) + &unpriced)
}
