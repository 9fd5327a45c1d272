//! What clothes have cost.

use serde_json::Value;
use serde_json::json;

use super::history::{on, ranking};
use super::search::{Item, Price, not_owned, owned};
use super::wording::{amount, collective, list, money, spelled, times};
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{is_plural, shown};

/// When a piece was bought, what it cost, or what each wearing has cost.
pub fn about_piece(turn: &Turn<'_>, ask: Ask) -> Answer {
    let Some(named) = turn.asked.about() else {
        return match ask {
            "bought" => ranking(turn, "newest"),
            "perwear" => ranking(turn, "bestvalue"),
            _ => spent(turn),
        };
    };
    let owned = owned(turn, named)?;
    if owned.fitting.is_empty() {
        return Ok(not_owned(turn, named, &owned.close));
    }
    let sentence = |item: &Item| {
        let name = item.name();
        let plural = is_plural(&name);
        let bought = item.bought.as_deref().map(|day| on(turn, day));
        match (ask, &item.price) {
            ("bought", _) => match bought {
                Some(day) => format!("You bought your {name} {day}."),
                None => format!("There's no purchase date on record for your {name}."),
            },
            (_, None) => format!("There's no price on record for your {name}."),
            ("perwear", Some(price)) if item.wear_count > 0 => format!(
                "Your {name} {} cost you {} per wear so far: {}, worn {}.",
                if plural { "have" } else { "has" },
                amount(price.amount / f64::from(item.wear_count), &price.currency),
                money(price),
                times(item.wear_count)
            ),
            ("perwear", Some(price)) => format!(
                "You paid {} for your {name} and haven't worn {} yet, so there is no cost per wear.",
                money(price),
                if plural { "them" } else { "it" }
            ),
            (_, Some(price)) => format!(
                "Your {name} cost {}{}.",
                money(price),
                bought.map(|day| format!(", bought {day}")).unwrap_or_default()
            ),
        }
    };
    match &owned.fitting[..] {
        [one] => Ok(sentence(one)),
        several => {
            Ok(several.iter().take(6).map(|item| format!("- {}", sentence(item))).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What the wardrobe cost, or a part of it.
pub fn spent(turn: &Turn<'_>) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let spent = &result["spent"];
    let currency = spent["currency"].as_str().unwrap_or("USD").to_owned();
    let total = spent["total"].as_f64().unwrap_or_default();
    let priced = spent["items_with_price"].as_u64().unwrap_or_default();
    if priced == 0 {
        return Ok(
            "No prices are on record for your clothes, so I can't add them up. Add them in the app, and I will."
                .to_owned(),
        );
    }
    let by_category: Vec<(String, f64)> = {
        let entries = spent["by_category"].as_object().into_iter().flatten();
        let mut all: Vec<(String, f64)> =
            entries.filter_map(|(name, sum)| Some((shown(name), sum.as_f64()?))).collect();
        all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        all
    };
    if let Some(named) = turn.asked.about() {
        let category = named.description.garment.map(|kind| match kind.group().name() {
            "top" => "tops",
            "dress" => "dresses",
            other => other,
        });
        let is_whole = named.description.colours.is_empty()
            && named.description.words.is_empty()
            && named.description.garment.is_some_and(|kind| kind == kind.group());
        let sum = by_category.iter().find(|(name, _)| Some(name.as_str()) == category);
        if let Some((_, sum)) = sum.filter(|_| is_whole) {
            return Ok(format!(
                "Your {} have cost about {} in all.",
                category.unwrap_or_default(),
                amount(*sum, &currency)
            ));
        }
        let owned = owned(turn, named)?;
        let prices: Vec<&Price> = owned.fitting.iter().filter_map(|item| item.price.as_ref()).collect();
        let Some(first) = prices.first() else { return Ok(not_owned(turn, named, &owned.close)) };
        let same: Vec<&&Price> = prices.iter().filter(|price| price.currency == first.currency).collect();
        let sum: f64 = same.iter().map(|price| price.amount).sum();
        return Ok(format!(
            "{} for {} {}.",
            amount(sum, &first.currency),
            spelled(same.len() as u64),
            collective(named, same.len() as u64)
        ));
    }
    let top: Vec<String> =
        by_category.iter().take(3).map(|(name, sum)| format!("{} for {name}", amount(*sum, &currency))).collect();
    let unpriced = spent["items_without_price"].as_u64().unwrap_or_default();
    let without = match unpriced {
        0 => String::new(),
        1 => " One more has no price on record.".to_owned(),
        count => format!(" {count} more have no price on record."),
    };
    let start = turn.pick(&["You've spent about", "All told, you've spent about", "It adds up to about"]);
    Ok(format!(
        "{start} {} on the {priced} pieces with a price, most of it {}.{without}",
        amount(total, &currency),
        list(&top)
    ))
}
