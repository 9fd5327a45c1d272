//! Answers about the cost of the wardrobe.

use serde_json::{Value, json};

use super::pieces::tally;
use super::search::fitting;
use super::wording::{collective, list, spelled};
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::garment::shown;
use crate::model::tool_results::Paid;

/// Answers how much the wardrobe, or a part of it, cost.
pub fn spent(turn: &Turn<'_>) -> Answer {
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
            None => spent_on(turn, named),
        };
    }
    let most: Vec<String> = kinds.iter().take(3).map(|(name, sum)| format!("{} for {name}", about(*sum))).collect();
    let total = about(spent["total"].as_f64().unwrap_or_default());
    let mut text = turn.say("spent", &[("sum", &total), ("priced", &priced), ("most", &list(&most))]);
    let unpriced = spent["items_without_price"].as_u64().unwrap_or_default();
    if unpriced > 0 {
        let number = if unpriced == 1 { "One".to_owned() } else { unpriced.to_string() };
        text = format!("{text} {}", turn.say("unpriced", &[("number", &number), ("count", &unpriced)]));
    }
    Ok(text)
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

/// Answers how much the named pieces cost, in the currency of the first one.
fn spent_on(turn: &Turn<'_>, named: &Named) -> Answer {
    let owned = fitting(turn, named)?;
    let prices: Vec<&Paid> = owned.fitting.iter().filter_map(|item| item.price.as_ref()).collect();
    let Some(first) = prices.first() else {
        return Ok(turn.say("price unknown", &[("name", &named.text)]));
    };
    let amounts: Vec<f64> =
        prices.iter().filter(|price| price.currency == first.currency).map(|price| price.amount).collect();
    let (sum, count) = (Paid { amount: amounts.iter().sum(), currency: first.currency.clone() }, amounts.len() as u64);
    Ok(turn.say("spent on pieces", &[("sum", &sum), ("number", &spelled(count)), ("what", &collective(named, count))]))
}
