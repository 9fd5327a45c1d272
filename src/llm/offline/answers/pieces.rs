//! Answers about owned pieces: which, how many, colours, extremes such as the warmest, and care.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::MOST_LISTED;
use super::search::{loose_query, name, names, not_owned, owned, search, sorted};
use super::wording::{clean, collective, list, several, spelled, yours};
use crate::base::text::capitalised;
use crate::llm::offline::advice;
use crate::llm::offline::phrases::{Ask, is_listed};
use crate::llm::offline::sentences::Values;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::named;
use crate::model::garment::{Garment, shown};
use crate::model::thesaurus;
use crate::model::tool_results::CompactItem;
use crate::model::vocabulary::Category;

pub fn find(turn: &Turn<'_>) -> Answer {
    let accepted = turn.accepted_query("search_wardrobe");
    let named = match &accepted {
        Some(query) => Some(named(query)).filter(|named| !named.description.is_empty()),
        None => turn.asked.about().cloned(),
    };
    let Some(named) = named else { return find_loosely(turn, &accepted.unwrap_or_else(|| loose_query(turn))) };
    let owned = owned(turn, &named)?;
    let is_yes_no = turn.asked.words.first().is_some_and(|first| is_listed("yes or no", first));
    if owned.fitting.is_empty() {
        let no = not_owned(turn, &named, &owned.close);
        return Ok(if is_yes_no { format!("No, {no}").replacen("No, You", "No, you", 1) } else { no });
    }
    let colours: Vec<&str> = named.description.colours.iter().map(|colour| colour.name()).collect();
    let sentence = match (is_yes_no, owned.count) {
        _ if owned.is_shade && !colours.is_empty() => "shades",
        (true, 1) => "yes one",
        (true, _) => "yes",
        (false, 1) => "has one",
        (false, _) => "has",
    };
    let (number, what) = (spelled(owned.count), collective(&named, owned.count));
    let values: &Values<'_> =
        &[("colours", &colours.join(" or ")), ("count", &owned.count), ("number", &number), ("what", &what)];
    let more = owned.count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(turn.say_list(sentence, values, names(&owned.fitting, MOST_LISTED)) + &more)
}

/// Finds pieces for words that do not name clothes.
fn find_loosely(turn: &Turn<'_>, query: &str) -> Answer {
    if query.is_empty() {
        return summary(turn, "summary");
    }
    let found = search(turn, query)?;
    if found.items.is_empty() {
        return Ok(turn.say("empty", &[]));
    }
    if found.note.is_some() {
        return Ok(turn.say("nothing like it", &[("query", &query)]));
    }
    // "Everything from arket": pieces with a word that the thesaurus does not know.
    let carries = |item: &&CompactItem| {
        let garment = Garment::from(*item);
        query.split(' ').any(|word| thesaurus::lookup(word).is_none() && garment.says(word))
    };
    let meant: Vec<CompactItem> = found.items.iter().filter(carries).cloned().collect();
    let items = if meant.is_empty() { found.items } else { meant };
    Ok(turn.say_list("like it", &[], names(&items, 5)))
}

pub fn count(turn: &Turn<'_>) -> Answer {
    let counted = yours(&turn.asked.counted);
    if !counted.is_empty() {
        return Ok(format!("{}: {}.", capitalised(&spelled(counted.len() as u64)), list(&counted)));
    }
    let Some(named) = turn.asked.about() else { return summary(turn, "summary") };
    let owned = owned(turn, named)?;
    if owned.count == 0 {
        return Ok(not_owned(turn, named, &owned.close).replacen("You don't own any", "None: you don't own any", 1));
    }
    // "More than five?"
    let words = &turn.asked.words;
    let limit = words.iter().position(|word| word == "than").and_then(|place| days::number(words.get(place + 1)?));
    let yes = match limit.map(u64::from) {
        Some(limit) if turn.asked.says(&["more"]) == (owned.count > limit) => "Yes, you",
        Some(_) => "No, you",
        None => "You",
    };
    let is_many = owned.count > MOST_LISTED as u64;
    let names = names(&owned.fitting, if is_many { 5 } else { MOST_LISTED });
    Ok(turn.say(
        if is_many { "count many" } else { "count" },
        &[("yes", &yes), ("count", &owned.count), ("what", &collective(named, owned.count)), ("names", &list(&names))],
    ))
}

pub fn summary(turn: &Turn<'_>, ask: Ask) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let total = result["total_items"].as_u64().unwrap_or_default();
    if total == 0 {
        return Ok(turn.say("empty", &[]));
    }
    // Categories are free text; "Shorts" are bottoms.
    let kind = |name: &str| Category::of_text(name).map_or_else(|| shown(name), |category| category.name().to_owned());
    let kinds = tally(&result["by_category"], kind);
    let kinds: Vec<String> = kinds.iter().take(7).map(|(name, count)| format!("{count} {name}")).collect();
    let colours = tally(&result["top_colours"], shown);
    let colours: Vec<String> = colours.iter().take(4).map(|(name, count)| format!("{name} ({count})")).collect();
    let colours = list(&colours);
    if ask == "colours" && !colours.is_empty() {
        return Ok(turn.say("colours", &[("colours", &colours), ("total", &total)]));
    }
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", list(&kinds)) };
    let mut text = turn.say("summary", &[("total", &total), ("kinds", &kinds)]);
    if !colours.is_empty() {
        text = format!("{text} {}", turn.say("summary colours", &[("colours", &colours)]));
    }
    Ok(text)
}

/// Sums a JSON object's numbers by name, largest first.
pub fn tally(numbers: &Value, name: impl Fn(&str) -> String) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (key, number) in numbers.as_object().into_iter().flatten() {
        *sums.entry(name(key)).or_default() += number.as_f64().unwrap_or_default();
    }
    let mut sums: Vec<(String, f64)> = sums.into_iter().collect();
    sums.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    sums
}

/// Answers which piece of a kind is the most or least so: the warmest coat.
pub fn extreme(turn: &Turn<'_>, ask: Ask) -> Answer {
    let items = sorted(turn, "wear_count", "desc")?;
    let degree = |item: &CompactItem| {
        let Garment { warmth, formality: (least, most), .. } = item.into();
        match ask {
            "warmest" => i16::from(warmth),
            "lightest" => -i16::from(warmth),
            "dressiest" => i16::from(least) + i16::from(most),
            _ => -i16::from(least) - i16::from(most),
        }
    };
    let Some(most) = items.iter().map(degree).max() else { return Ok(turn.say("nothing to wear", &[])) };
    let best: Vec<CompactItem> = items.into_iter().filter(|item| degree(item) == most).collect();
    let word = if ask == "plainest" { "most casual" } else { ask };
    let kind = turn.asked.about().map_or_else(|| "pieces".to_owned(), several);
    Ok(match &best[..] {
        [one] => turn.say("most", &[("word", &word), ("kind", &kind), ("name", &name(one))]),
        best => turn.say_list("most of several", &[("word", &word), ("kind", &kind)], names(best, 5)),
    })
}

/// Answers how to care for a piece, by its care label and in general.
pub fn care(turn: &Turn<'_>) -> Answer {
    let found = advice::about(&turn.asked.words, |kind| kind != "cannot");
    let general = found.map_or_else(|| turn.say("care usual", &[]), |(_, text)| text.to_owned()) + ".";
    let Some(named) = turn.asked.about() else { return Ok(general) };
    let owned = owned(turn, named)?;
    let labels = owned.fitting.iter().take(3).filter(|item| !item.care.is_empty()).map(|item| {
        let care: Vec<String> = item.care.iter().map(|text| clean(text).to_lowercase()).collect();
        turn.say("care label", &[("name", &name(item)), ("care", &care.join(", "))])
    });
    let mut lines: Vec<String> = labels.collect();
    if owned.fitting.is_empty() && named.is_claimed && named.description.garment.is_some() {
        lines.push(not_owned(turn, named, &[]));
    }
    // Care labels do not help with stains or holes.
    let is_trouble = found.is_some_and(|(kind, _)| kind != "care");
    if lines.is_empty() || is_trouble {
        lines.insert(0, general);
    }
    Ok(lines.join(" "))
}
