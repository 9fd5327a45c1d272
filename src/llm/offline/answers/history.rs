//! Answers about the history of pieces: wears, purchases, costs, and rankings by these.

use serde_json::json;
use time::Duration;

use super::MOST_LISTED;
use super::money::{spent, unpriced};
use super::pieces::list_within;
use super::search::{fitting, limits_label, name, sorted};
use super::wording::{bullets, clean, counted, list, several, spelled, yours};
use crate::base::calendar::ago;
use crate::base::text::{capitalised, times};
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{Garment, shown};
use crate::model::ids::ItemId;
use crate::model::thesaurus::{self, Kind};
use crate::model::tool_results::{CompactItem, FoundItems, WearHistory, WornItem, WornTogether};

/// Most pieces in a ranking, and most pieces described one by one.
const MOST_RANKED: usize = 5;
const MOST_TOLD: usize = 6;

/// Rankings: kind of question, sort key, and order.
const RANKINGS: [(Ask, &str, &str); 10] = [
    ("never", "wear_count", "asc"),
    ("neglected", "last_worn", "asc"),
    ("leastworn", "wear_count", "asc"),
    ("mostworn", "wear_count", "desc"),
    ("dearest", "price", "desc"),
    ("cheapest", "price", "asc"),
    ("newest", "bought", "desc"),
    ("oldest", "bought", "asc"),
    ("bestvalue", "cost_per_wear", "asc"),
    ("worstvalue", "cost_per_wear", "desc"),
];

/// Whether this kind of question is about a ranking.
pub fn is_ranking(ask: Ask) -> bool {
    RANKINGS.iter().any(|(name, ..)| *name == ask)
}

/// Describes a past day: "on 4 April, 8 months ago".
fn on(turn: &Turn<'_>, text: &str) -> String {
    days::read(text).map_or_else(String::new, |date| match ago((turn.today - date).whole_days()) {
        ago if ago == "today" || ago == "yesterday" => ago,
        ago => format!("on {}, {ago}", days::shown(date, turn.today)),
    })
}

/// Answers rankings: most worn, most expensive, never worn.
pub fn ranking(turn: &Turn<'_>, ask: Ask) -> Answer {
    // What was bought, or not worn, in a period is a list rather than a ranking.
    if turn.asked.past.is_some() && matches!(ask, "newest" | "neglected") {
        return list_within(turn);
    }
    let (_, by, order) = RANKINGS.into_iter().find(|(name, ..)| *name == ask).unwrap_or(RANKINGS[0]);
    let found = sorted(turn, by, order)?;
    let mut items = found.items;
    items.retain(|item| match by {
        "wear_count" => ask == "leastworn" || (item.wears() == 0) == (order == "asc"),
        "last_worn" => item.wear_count > 0 && item.last_worn.is_some(),
        "price" => item.price.is_some(),
        "cost_per_wear" => item.price.is_some() && item.wears() > 0,
        _ => item.bought.is_some(),
    });
    let Some(first) = items.first() else {
        let nothing = [ask, by].iter().find_map(|name| turn.may_say(&format!("unranked {name}"), &[]));
        return Ok(nothing.unwrap_or_else(|| turn.say("unranked", &[])));
    };
    // The order is by converted prices; others are at the end of any order.
    let totals = found.totals.unwrap_or_default();
    let is_by_price = matches!(by, "price" | "cost_per_wear") && !totals.spent.without_rate.is_empty();
    let unrated = if is_by_price { unpriced(turn, &totals.spent) } else { None };
    let unrated = unrated.map(|sentence| format!("\n{sentence}")).unwrap_or_default();
    let wants_one = turn.asked.wanted.is_none() && turn.asked.says(&["item", "piece", "thing"]) && by == "price"
        || turn.asked.wanted.is_none()
            && !turn.asked.says(&["pieces", "items", "things", "list", "top", "what", "three", "five"]);
    let note = |item: &CompactItem| note(turn, by, item);
    if wants_one
        && let Some(told) = turn.may_say(&format!("first {ask}"), &[("name", &name(first)), ("note", &note(first))])
    {
        let second = items.get(1).map(|item| turn.say("second", &[("name", &name(item)), ("note", &note(item))]));
        return Ok([Some(told), second].into_iter().flatten().collect::<Vec<_>>().join(" ") + &unrated);
    }
    let kind = match turn.asked.about() {
        Some(named) => several(named),
        None if turn.asked.pointed_at.is_empty() => "pieces".to_owned(),
        // "Your most worn of these".
        None => "of these".to_owned(),
    };
    let kind = kind + &limits_label(turn);
    let all = if ask == "never" { totals.items.max(items.len() as u64) } else { items.len() as u64 };
    let number = capitalised(&spelled(all));
    let one = if ask == "never" && all == 1 { " one" } else { "" };
    let is_list = ask == "never" || turn.asked.says(&["list", "all", "sort", "order", "rank"]);
    let most = if is_list { MOST_LISTED } else { MOST_RANKED };
    let most = turn.asked.wanted.unwrap_or(most);
    let lines = items.iter().take(most).map(|item| format!("your {}, {}", name(item), note(item)));
    let more = all.saturating_sub(most as u64);
    let more = if ask == "never" && more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(turn.say_list(&format!("ranked {ask}{one}"), &[("kind", &kind), ("number", &number)], lines) + &more + &unrated)
}

/// Describes the value by which a piece is ranked.
pub fn note(turn: &Turn<'_>, by: &str, item: &CompactItem) -> String {
    let bought = |otherwise: &str| {
        item.bought.as_deref().map_or_else(|| otherwise.to_owned(), |day| format!("bought {}", on(turn, day)))
    };
    match (by, &item.price) {
        ("wear_count", _) if item.wear_count == 0 => bought("not worn yet"),
        ("wear_count", _) => format!("worn {}", times(item.wears())),
        ("last_worn", _) if item.last_worn.is_none() => bought("not worn yet"),
        ("last_worn", _) => format!("last worn {}", on(turn, item.last_worn.as_deref().unwrap_or_default())),
        ("price", Some(price)) => price.to_string(),
        ("price", None) => "no price on record".to_owned(),
        ("cost_per_wear", Some(price)) => {
            format!("{} per wear ({price}, worn {})", price.per_wear(item.wears()), times(item.wears()))
        }
        _ => bought("no purchase date"),
    }
}

/// Returns the occasion in brackets, if there is one.
fn in_brackets(wear: &WornTogether) -> String {
    let occasion = wear.occasion.as_deref().map(|occasion| format!(" ({})", shown(occasion).to_lowercase()));
    occasion.unwrap_or_default()
}

/// Answers when a piece was worn or bought, how often it was worn, its price and cost per wear.
pub fn about_piece(turn: &Turn<'_>, ask: Ask) -> Answer {
    let named = turn.asked.about();
    let pieces = match named {
        _ if ask == "howoften" && (named.is_some() || !turn.asked.pointed_at.is_empty()) => {
            let found = sorted(turn, "wear_count", "desc")?;
            // The sum of several pieces, or of a period.
            if found.items.len() > 1 || turn.asked.past.is_some() {
                return Ok(wears_in_all(turn, &found));
            }
            found.items
        }
        Some(named) => fitting(turn, named)?.fitting,
        None if !turn.asked.pointed_at.is_empty() => sorted(turn, "wear_count", "desc")?.items,
        None => {
            return match ask {
                "bought" => ranking(turn, "newest"),
                "perwear" => ranking(turn, "bestvalue"),
                "price" => spent(turn),
                _ => worn(turn),
            };
        }
    };
    if ask == "price" && pieces.len() > MOST_TOLD {
        return spent(turn);
    }
    let more = pieces.len().saturating_sub(MOST_TOLD);
    let pieces = &pieces[..pieces.len().min(MOST_TOLD)];
    let mut history = WearHistory::default();
    if matches!(ask, "lastworn" | "howoften") {
        let ids: Vec<&ItemId> = pieces.iter().map(|item| &item.id).collect();
        history = turn.read("get_wear_history", json!({ "item_ids": ids }))?;
    }
    let told: Vec<String> = pieces.iter().map(|item| on_record(turn, ask, item, &history.wears)).collect();
    Ok(match &told[..] {
        [one] => one.clone(),
        _ if more > 0 => format!("{}\nAnd {more} more.", bullets(told)),
        _ => bullets(told),
    })
}

/// Answers how often several pieces were worn together, or pieces in a period.
fn wears_in_all(turn: &Turn<'_>, found: &FoundItems) -> String {
    let least = found.items.len() as u64;
    let (count, sum) = found.totals.as_ref().map_or((least, 0), |totals| (totals.items.max(least), totals.wears));
    let sum = times(u32::try_from(sum).unwrap_or(u32::MAX));
    let period = limits_label(turn);
    if let [one] = &found.items[..] {
        if one.wears() == 0 {
            return turn.say("wears none", &[("what", &name(one)), ("period", &period)]);
        }
        return turn.say("wears of one", &[("name", &name(one)), ("times", &sum), ("period", &period)]);
    }
    let what = counted(turn.asked.about(), count);
    let values: [(&str, &dyn std::fmt::Display); 4] =
        [("count", &count), ("what", &what), ("times", &sum), ("period", &period)];
    let worn = found.items.iter().filter(|item| item.wears() > 0).take(MOST_RANKED);
    turn.say_list("wears", &values, worn.map(|item| format!("your {}, {}", name(item), note(turn, "wear_count", item))))
}

/// Answers which colour is worn most.
pub fn colour_worn(turn: &Turn<'_>) -> Answer {
    let totals = sorted(turn, "wear_count", "desc")?.totals.unwrap_or_default();
    let mut colours: Vec<(&String, &u64)> = totals.wears_by_colour.iter().collect();
    colours.sort_by_key(|(_, wears)| std::cmp::Reverse(**wears));
    let Some(((first, wears), others)) = colours.split_first() else { return Ok(turn.say("unranked", &[])) };
    let others: Vec<String> = others.iter().take(2).map(|(name, wears)| format!("{} ({wears})", shown(name))).collect();
    let next = if others.is_empty() { String::new() } else { format!(", before {}", list(&others)) };
    let values: [(&str, &dyn std::fmt::Display); 5] = [
        ("colour", &shown(first)),
        ("wears", wears),
        ("total", &totals.wears),
        ("next", &next),
        ("period", &limits_label(turn)),
    ];
    Ok(turn.say("colour worn", &values))
}

fn on_record(turn: &Turn<'_>, ask: Ask, item: &CompactItem, wears: &[WornTogether]) -> String {
    let last = wears.iter().find(|wear| wear.items.iter().any(|worn| worn.id == item.id));
    let worn = last.map(|wear| wear.date.as_str()).or(item.last_worn.as_deref());
    let how = last.map(|wear| {
        let weather = wear.weather.as_deref().map(|weather| format!(", at {}", clean(weather)));
        in_brackets(wear) + &weather.unwrap_or_default()
    });
    let sentence = match (ask, &item.price, &item.bought) {
        ("bought", _, Some(_)) => "bought",
        ("bought", _, None) => "bought unknown",
        ("price" | "perwear", None, _) => "price unknown",
        ("price", _, Some(_)) => "price bought",
        ("price", _, None) => "price",
        ("perwear", ..) if item.wear_count == 0 => "perwear unknown",
        ("perwear", ..) => "perwear",
        _ if worn.is_some() => "worn",
        _ if item.wear_count == 0 => "worn never",
        _ => "worn unknown",
    };
    let price = item.price.clone().unwrap_or_default();
    turn.say(
        sentence,
        &[
            ("name", &name(item)),
            ("price", &price),
            ("each", &price.per_wear(item.wear_count)),
            ("bought", &on(turn, item.bought.as_deref().unwrap_or_default())),
            ("worn", &on(turn, worn.unwrap_or_default())),
            ("how", &how.unwrap_or_default()),
            ("times", &times(item.wear_count)),
        ],
    )
}

/// Answers questions about wears on past days.
pub fn worn(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let wanted = asked.occasion.iter().rfind(|term| term.kind() == Kind::Occasion);
    let is_last_time = wanted.is_some() && asked.past.is_none();
    let (first, last, label) = match &asked.past {
        Some(span) => (span.first, span.last, span.label.as_str()),
        None if is_last_time => (turn.today - Duration::days(400), turn.today, "the last time"),
        None => (turn.today - Duration::days(14), turn.today, "in the last two weeks"),
    };
    let mut history: WearHistory =
        turn.read("get_wear_history", json!({ "from": first.to_string(), "to": last.to_string() }))?;
    history.wears.retain(|wear| {
        let is_for = |wanted| {
            thesaurus::terms(wear.occasion.as_deref().unwrap_or_default()).iter().any(|term| term.is_a(wanted))
        };
        let is_it =
            |item: &WornItem| asked.about().is_none_or(|named| named.description.fits(&Garment::described(&item.name)));
        wanted.is_none_or(|wanted| is_for(*wanted)) && wear.items.iter().any(is_it)
    });
    let what_for = wanted.map(|wanted| format!(" for {}", wanted.with_article())).unwrap_or_default();
    if history.wears.is_empty() {
        return Ok(turn.say("wore nothing", &[("what_for", &what_for), ("label", &label)]));
    }
    let lines = history.wears.iter().map(|wear| {
        let date = days::read(&wear.date).map(|date| days::shown(date, turn.today)).unwrap_or_default();
        let names = yours(wear.items.iter().take(8).map(|item| &item.name));
        format!("{} {date}{}: {}.", shown(&wear.weekday), in_brackets(wear), list(&names))
    });
    let most = if is_last_time { 2 } else { 7 };
    let sentence = if is_last_time { "wore last" } else { "wore" };
    let more = history.wears.len().saturating_sub(most);
    let days = if more == 1 { "day" } else { "days" };
    let more = if more > 0 && !is_last_time { format!("\nAnd {more} more {days}.") } else { String::new() };
    Ok(turn.say_list(sentence, &[("what_for", &what_for), ("label", &capitalised(label))], lines.take(most)) + &more)
}
