//! What was worn and bought when, and which pieces come first by that.

use serde::Deserialize;
use serde_json::json;
use time::Duration;

use super::MOST_LISTED;
use super::search::{Item, not_owned, owned, sorted};
use super::wording::{amount, clean, list, money, sentence_case, several, spelled, times, with_article};
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{is_plural, shown};
use crate::model::thesaurus;
use crate::model::thesaurus::Kind;

/// When a day was, in words: "on 4 April, 8 months ago".
pub fn on(turn: &Turn<'_>, text: &str) -> String {
    days::read(text).map_or_else(String::new, |date| match days::ago(date, turn.today) {
        ago if ago == "today" || ago == "yesterday" => ago,
        ago => format!("on {}, {ago}", days::shown(date, turn.today)),
    })
}

/// How pieces are ranked: the kind of question, what they are sorted by and in which order, what the first of them is, and
/// how a list of them begins.
const RANKINGS: [(Ask, &str, &str, &str, &str); 9] = [
    ("never", "wear_count", "asc", "", ""),
    ("neglected", "last_worn", "asc", "", "You haven't worn these for the longest:"),
    ("mostworn", "wear_count", "desc", "", "Your most worn {kind}:"),
    ("dearest", "price", "desc", "the most expensive", "Your most expensive {kind}:"),
    ("cheapest", "price", "asc", "the cheapest", "Your cheapest {kind}:"),
    ("newest", "bought", "desc", "the newest", "The latest you bought:"),
    ("oldest", "bought", "asc", "the oldest", "What you've had longest:"),
    ("bestvalue", "cost_per_wear", "asc", "the best value so far", "Your best value per wear:"),
    ("worstvalue", "cost_per_wear", "desc", "the worst value so far", "These have cost most per wear so far:"),
];

/// Pieces by a number: what is worn most, what cost most, what was never worn.
pub fn ranking(turn: &Turn<'_>, ask: Ask) -> Answer {
    let about = turn.asked.about();
    let query = about.map(|named| named.text.clone()).unwrap_or_default();
    let ranking = RANKINGS.into_iter().find(|(name, ..)| *name == ask).unwrap_or(RANKINGS[0]);
    let (_, by, order, superlative, head) = ranking;
    let found = sorted(turn, &query, by, order)?;
    if let Some(named) = about.filter(|_| found.note.is_some() || found.items.is_empty()) {
        return Ok(not_owned(turn, named, &[]));
    }
    let is_ranked = |item: &Item| match by {
        "wear_count" => (item.wear_count == 0) == (order == "asc"),
        "last_worn" => item.wear_count > 0 && item.last_worn.is_some(),
        "price" => item.price.is_some(),
        "cost_per_wear" => item.price.is_some() && item.wear_count > 0,
        _ => true,
    };
    let bought = |item: &Item, otherwise: &str| {
        item.bought.as_deref().map_or_else(|| otherwise.to_owned(), |day| format!("bought {}", on(turn, day)))
    };
    let note = |item: &Item| match (by, &item.price) {
        ("wear_count", _) if item.wear_count == 0 => bought(item, "not worn yet"),
        ("wear_count", _) => format!("worn {}", times(item.wear_count)),
        ("last_worn", _) => format!("last worn {}", on(turn, item.last_worn.as_deref().unwrap_or_default())),
        ("price", Some(price)) => money(price),
        ("cost_per_wear", Some(price)) => {
            let per_wear = amount(price.amount / f64::from(item.wear_count.max(1)), &price.currency);
            format!("{per_wear} per wear ({}, worn {})", money(price), times(item.wear_count))
        }
        _ => bought(item, "no purchase date"),
    };
    let items: Vec<Item> = found.items.into_iter().filter(is_ranked).collect();
    let Some(first) = items.first() else {
        let nothing = match by {
            _ if ask == "never" => "Nothing: you have worn everything you own at least once.",
            "price" | "cost_per_wear" => "I have no prices on record for that, so I can't tell.",
            _ => "There's no wear on record for that yet. Log what you wear in the app, and I'll keep count.",
        };
        return Ok(nothing.to_owned());
    };
    let wants_one = turn.asked.says(&["item", "piece", "thing"]) && by == "price"
        || !turn.asked.says(&["pieces", "items", "things", "list", "top", "what", "three", "five"]);
    if wants_one && !superlative.is_empty() {
        let name = first.name();
        let is = if is_plural(&name) { "are" } else { "is" };
        let next = items.get(1).map(|item| format!(" Next comes your {} ({}).", item.name(), note(item)));
        return Ok(format!("Your {name} {is} {superlative}: {}.{}", note(first), next.unwrap_or_default()));
    }
    let kind = about.map(several).unwrap_or_else(|| "pieces".to_owned());
    let head = match items.len() {
        1 if ask == "never" => "One piece has never been worn:".to_owned(),
        count if ask == "never" => format!("{} {kind} have never been worn:", sentence_case(&spelled(count as u64))),
        _ => head.replace("{kind}", &kind),
    };
    let most = if ask == "never" { MOST_LISTED } else { 5 };
    let lines = items.iter().take(most).map(|item| format!("- your {}, {}", item.name(), note(item)));
    Ok(format!("{head}\n{}", lines.collect::<Vec<_>>().join("\n")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct History {
    wears: Vec<Wear>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wear {
    date: String,
    weekday: String,
    occasion: Option<String>,
    weather: Option<String>,
    items: Vec<Item>,
}

/// When a piece was worn last, and how often.
pub fn last_worn(turn: &Turn<'_>) -> Answer {
    let Some(named) = turn.asked.about() else { return worn(turn) };
    let owned = owned(turn, named)?;
    if owned.fitting.is_empty() {
        return Ok(not_owned(turn, named, &owned.close));
    }
    let shown_items = &owned.fitting[..owned.fitting.len().min(5)];
    let ids: Vec<&str> = shown_items.iter().map(|item| item.id.as_str()).collect();
    let history: History = turn.read("get_wear_history", json!({ "item_ids": ids }))?;
    let sentence = |item: &Item| {
        let name = item.name();
        let wears: Vec<&Wear> =
            history.wears.iter().filter(|wear| wear.items.iter().any(|worn| worn.id == item.id)).collect();
        let last = wears.first().map(|wear| wear.date.clone()).or_else(|| item.last_worn.clone());
        let Some(last) = last else {
            return if item.wear_count == 0 {
                format!("You haven't worn your {name} yet.")
            } else {
                format!("You've worn your {name} {}, but no date is on record.", times(item.wear_count))
            };
        };
        let circumstances = wears.first().filter(|wear| wear.date == last).map(|wear| {
            let occasion = wear
                .occasion
                .as_deref()
                .map(|occasion| format!(" ({})", shown(occasion).to_lowercase()))
                .unwrap_or_default();
            let weather = wear.weather.as_deref().map(|weather| format!(", at {}", clean(weather))).unwrap_or_default();
            format!("{occasion}{weather}")
        });
        format!(
            "You last wore your {name} {}{}; in all you've worn {} {}.",
            on(turn, &last),
            circumstances.unwrap_or_default(),
            if is_plural(&name) { "them" } else { "it" },
            times(item.wear_count)
        )
    };
    match shown_items {
        [one] => Ok(sentence(one)),
        several => Ok(several.iter().map(|item| format!("- {}", sentence(item))).collect::<Vec<_>>().join("\n")),
    }
}

/// What was worn on days gone by.
pub fn worn(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let occasion = asked.occasion.iter().rfind(|term| term.kind() == Kind::Occasion);
    let is_last_time = occasion.is_some() && asked.past.is_none();
    let span = asked.past.clone();
    let (first, last, label) = match (&span, is_last_time) {
        (Some(span), _) => (span.first, span.last, span.label.clone()),
        (None, true) => (turn.today - Duration::days(400), turn.today, "the last time".to_owned()),
        (None, false) => (turn.today - Duration::days(14), turn.today, "in the last two weeks".to_owned()),
    };
    let history: History =
        turn.read("get_wear_history", json!({ "from": first.to_string(), "to": last.to_string() }))?;
    let fits = |wear: &&Wear| {
        occasion.is_none_or(|occasion| {
            wear.occasion.as_deref().is_some_and(|name| thesaurus::terms(name).iter().any(|term| term.is_a(*occasion)))
        }) && asked.about().is_none_or(|named| {
            wear.items.iter().any(|item| {
                crate::llm::offline::understand::named(&item.name)
                    .description
                    .garment
                    .is_some_and(|kind| named.description.garment.is_some_and(|wanted| kind.is_a(wanted)))
            })
        })
    };
    let wears: Vec<&Wear> = history.wears.iter().filter(fits).collect();
    let what_for = occasion.map(|occasion| format!(" for {}", with_article(*occasion))).unwrap_or_default();
    if wears.is_empty() {
        return Ok(format!(
            "I have no record of what you wore{what_for} {label}. Log your outfits in the app, and I can tell you next time."
        ));
    }
    let most = if is_last_time { 2 } else { 7 };
    let lines: Vec<String> = wears
        .iter()
        .take(most)
        .map(|wear| {
            let date = days::read(&wear.date);
            let day = date
                .map_or_else(String::new, |date| format!("{} {}", shown(&wear.weekday), days::shown(date, turn.today)));
            let occasion = wear
                .occasion
                .as_deref()
                .map(|occasion| format!(" ({})", shown(occasion).to_lowercase()))
                .unwrap_or_default();
            let names: Vec<String> =
                wear.items.iter().take(8).map(|item| format!("your {}", clean(&item.name))).collect();
            format!("- {day}{occasion}: {}.", list(&names))
        })
        .collect();
    let more = wears.len().saturating_sub(most);
    let more = if more > 0 && !is_last_time { format!("\nAnd {more} more days.") } else { String::new() };
    let head = if is_last_time {
        format!("You last wore this{what_for}:")
    } else {
        format!("{} you wore{what_for}:", sentence_case(&label))
    };
    Ok(format!("{head}\n{}{more}", lines.join("\n")))
}
