//! What is owned: which pieces, how many, of which colours and sizes.

use serde_json::Value;
use serde_json::json;

use super::MOST_LISTED;
use super::outfits::{Plan, nothing_to_wear};
use super::search::{Item, loose_query, not_owned, owned, search, sorted};
use super::wording::{bullets, clean, collective, list, sentence_case, several, spelled};
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::time as days;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::garment::{Garment, shown};
use crate::model::thesaurus;
use crate::model::vocabulary;

pub fn find(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let accepted = turn.accepted_query("search_wardrobe");
    let named = match (&accepted, asked.about()) {
        (Some(query), _) => {
            Some(crate::llm::offline::understand::named(query)).filter(|named| !named.description.is_empty())
        }
        (None, named) => named.cloned(),
    };
    let Some(named) = named else {
        let query = accepted.unwrap_or_else(|| loose_query(turn));
        if query.is_empty() {
            return summary(turn, "summary");
        }
        let found = search(turn, &query)?;
        // "Everything from arket": who carries a word that the thesaurus does not have is meant.
        let unknown: Vec<&str> = query.split(' ').filter(|word| thesaurus::lookup(word).is_none()).collect();
        let carries = |item: &Item| {
            let garment = item.garment();
            unknown.iter().any(|word| garment.says(word))
        };
        let meant: Vec<Item> = found.items.iter().filter(|item| carries(item)).cloned().collect();
        let items = if meant.is_empty() { found.items } else { meant };
        return Ok(match (items.as_slice(), &found.note) {
            ([], _) => nothing_to_wear(&Plan { note: Some("empty".to_owned()), ..Plan::default() }),
            (_, Some(_)) => format!(
                "I found nothing like that among your clothes ({query}). Name a kind of garment, a colour or a brand, and I'll look again."
            ),
            (items, None) => format!(
                "{}\n{}",
                turn.pick(&["These would do:", "Here's what I'd look at:", "These come to mind:"]),
                bullets(&items[..items.len().min(5)])
            ),
        });
    };
    let owned = owned(turn, &named)?;
    if owned.fitting.is_empty() {
        let first = asked.words.first().map(String::as_str).unwrap_or_default();
        let no = if matches!(first, "do" | "have" | "any" | "got" | "is" | "are") { "No. " } else { "" };
        return Ok(format!("{no}{}", not_owned(turn, &named, &owned.close)).replace("No. You", "No, you"));
    }
    let what = collective(&named, owned.count);
    let first = asked.words.first().map(String::as_str).unwrap_or_default();
    let is_yes_no = matches!(first, "do" | "have" | "any" | "got" | "is" | "are" | "can");
    if owned.is_shade && !named.description.colours.is_empty() {
        let colours: Vec<&str> = named.description.colours.iter().map(|colour| colour.name()).collect();
        let intro = format!(
            "Nothing in plain {}, but {} close:",
            colours.join(" or "),
            if owned.count == 1 { "this comes" } else { "these come" }
        );
        return Ok(format!("{intro}\n{}", bullets(&owned.fitting[..owned.fitting.len().min(MOST_LISTED)])));
    }
    let count = spelled(owned.count);
    let head = match (is_yes_no, owned.count) {
        (true, 1) => format!("Yes, {count}:"),
        (true, _) => format!("Yes, you have {count} {what}:"),
        (false, 1) => format!("You have {count} {what}:"),
        (false, _) => match turn.pick(&["have", "own", "here"]) {
            "have" => format!("You have {count} {what}:"),
            "own" => format!("You own {count} {what}:"),
            _ => format!("Here are your {count} {what}:"),
        },
    };
    let more = owned.count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(format!("{head}\n{}{more}", bullets(&owned.fitting[..owned.fitting.len().min(MOST_LISTED)])))
}

pub fn count(turn: &Turn<'_>) -> Answer {
    let shown: Vec<String> = turn.asked.counted.iter().map(|name| format!("your {}", clean(name))).collect();
    if !shown.is_empty() {
        return Ok(format!("{}: {}.", sentence_case(&spelled(shown.len() as u64)), list(&shown)));
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
    let head = format!("{yes} own {} {}", owned.count, collective(named, owned.count));
    let names: Vec<String> =
        owned.fitting.iter().take(MOST_LISTED).map(|item| format!("your {}", item.name())).collect();
    if owned.count <= 12 {
        Ok(format!("{head}: {}.", list(&names)))
    } else {
        Ok(format!("{head}, among them {}.", list(&names[..5])))
    }
}

pub fn summary(turn: &Turn<'_>, ask: Ask) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let total = result.get("total_items").and_then(Value::as_u64).unwrap_or_default();
    if total == 0 {
        return Ok(
            "Your wardrobe is still empty. Add a few pieces in the app, and I'll help you style them.".to_owned()
        );
    }
    // Categories are written as people like; "Shorts" are bottoms.
    let mut kinds: Vec<(String, u64)> = Vec::new();
    for (name, count) in tally(result.get("by_category")) {
        let kind = vocabulary::Category::of_text(&name).map_or(name, |category| category.name().to_owned());
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known += count,
            None => kinds.push((kind, count)),
        }
    }
    kinds.sort_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    let kinds: Vec<String> = kinds.into_iter().take(7).map(|(name, count)| format!("{count} {name}")).collect();
    let colours: Vec<String> =
        tally(result.get("top_colours")).into_iter().take(4).map(|(name, count)| format!("{name} ({count})")).collect();
    if ask == "colours" && !colours.is_empty() {
        return Ok(format!("Mostly {}, out of {total} pieces.", list(&colours)));
    }
    let pieces = if total == 1 { "piece" } else { "pieces" };
    let mut text = format!("You own {total} {pieces}");
    if !kinds.is_empty() {
        text += &format!(": {}", list(&kinds));
    }
    text.push('.');
    if !colours.is_empty() {
        text += &format!(" The colours you have most of are {}.", list(&colours));
    }
    Ok(text)
}

/// Names and numbers of a JSON object, the largest number first.
fn tally(value: Option<&Value>) -> Vec<(String, u64)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    let mut tally: Vec<(String, u64)> =
        entries.filter_map(|(name, count)| Some((shown(name), count.as_u64()?))).collect();
    tally.sort_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    tally
}

/// The piece that is the most or least so of its kind: the warmest coat.
pub fn extreme(turn: &Turn<'_>, ask: Ask) -> Answer {
    let query = turn.asked.about().map(|named| named.text.clone()).unwrap_or_default();
    let found = sorted(turn, &query, "wear_count", "desc")?;
    if let Some(named) = turn.asked.about().filter(|_| found.note.is_some() || found.items.is_empty()) {
        return Ok(not_owned(turn, named, &[]));
    }
    let degree = |item: &Item| {
        let Garment { warmth, formality: (least, most), .. } = item.garment();
        match ask {
            "warmest" => i16::from(warmth),
            "lightest" => -i16::from(warmth),
            "dressiest" => i16::from(least) + i16::from(most),
            _ => -i16::from(least) - i16::from(most),
        }
    };
    let Some(most) = found.items.iter().map(degree).max() else { return Ok(nothing_to_wear(&Plan::default())) };
    let best: Vec<Item> = found.items.into_iter().filter(|item| degree(item) == most).take(5).collect();
    let word = match ask {
        "warmest" => "warmest",
        "lightest" => "lightest",
        "dressiest" => "dressiest",
        _ => "most casual",
    };
    let kind = turn.asked.about().map(several).unwrap_or_else(|| "pieces".to_owned());
    Ok(match &best[..] {
        [one] => format!("The {word} of your {kind}: your {}.", one.name()),
        several => format!("The {word} of your {kind}, about equally so:\n{}", bullets(several)),
    })
}
