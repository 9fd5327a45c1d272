//! Answers about owned pieces: which, how many, colours, extremes such as the warmest, and care.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::MOST_LISTED;
use super::history::note;
use super::search::{
    Owned, limits_label, loose_query, name, names, not_owned, nothing_within, owned, search, sorted, within,
};
use super::wording::{clean, collective, counted, list, several, spelled};
use crate::base::text::capitalised;
use crate::llm::offline::advice;
use crate::llm::offline::phrases::{Ask, is_listed};
use crate::llm::offline::sentences::Values;
use crate::llm::offline::turn::{Answer, Turn, Unfinished};
use crate::llm::offline::understand::{Deed, named};
use crate::model::garment::{Garment, shown};
use crate::model::thesaurus;
use crate::model::tool_results::{CompactItem, FoundItems};
use crate::model::vocabulary::Category;

/// Most categories in a summary.
const MOST_KINDS: usize = 8;

pub fn find(turn: &Turn<'_>) -> Answer {
    let accepted = turn.accepted_query("search_wardrobe");
    let named = match &accepted {
        Some(query) => Some(named(query)).filter(|named| !named.description.is_empty()),
        None => turn.asked.about().cloned(),
    };
    if accepted.is_none() && turn.asked.is_limited() {
        return list_within(turn);
    }
    let Some(named) = named else { return find_loosely(turn, &accepted.unwrap_or_else(|| loose_query(turn))) };
    let mut owned = owned(turn, &named)?;
    let what_for = suiting(turn, &mut owned);
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
    let (number, what) = (spelled(owned.count), collective(&named, owned.count) + &what_for);
    let listed = names(&owned.fitting, MOST_LISTED);
    if listed.len() == 1 && owned.count > 1 {
        // All have the same name, so a list would say nothing.
        let yes = if is_yes_no { "Yes, you" } else { "You" };
        return Ok(turn.say("count alike", &[("yes", &yes), ("count", &owned.count), ("what", &what)]));
    }
    let values: &Values<'_> =
        &[("colours", &colours.join(" or ")), ("count", &owned.count), ("number", &number), ("what", &what)];
    let more = owned.count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(turn.say_list(sentence, values, listed) + &more)
}

/// Keeps the pieces that suit the occasions and seasons in question, and returns these in words; nothing if none does.
fn suiting(turn: &Turn<'_>, owned: &mut Owned) -> String {
    let wanted = &turn.asked.occasion;
    let suits = |item: &&CompactItem| {
        let garment = Garment::from(*item);
        wanted.iter().all(|term| garment.is(*term))
    };
    let fitting: Vec<CompactItem> = owned.fitting.iter().filter(suits).cloned().collect();
    if wanted.is_empty() || fitting.is_empty() {
        return String::new();
    }
    (owned.count, owned.fitting) = (fitting.len() as u64, fitting);
    let names = wanted.iter().map(|term| match term.kind() {
        thesaurus::Kind::Season | thesaurus::Kind::Style => term.name().to_owned(),
        _ => term.with_article(),
    });
    format!(" for {}", list(&names.collect::<Vec<_>>()))
}

/// Lists or counts the pieces within the limits of the question, each with what the limit is about.
pub fn list_within(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let limits = &asked.limits;
    let deed = asked.past.as_ref().and(asked.deed());
    let (by, order) = match deed {
        _ if limits.price.is_given() => ("price", "asc"),
        Some(Deed::Bought) => ("bought", "desc"),
        Some(Deed::Unworn) => ("last_worn", "asc"),
        _ => ("wear_count", "desc"),
    };
    let found = within(turn, by, order)?;
    let least = found.items.len() as u64;
    let count = found.totals.map_or(least, |totals| totals.items.max(least));
    if found.items.is_empty() {
        let nothing = nothing_within(turn);
        return Ok(if limits.price.most.is_some() { format!("{nothing}{}", cheapest(turn)?) } else { nothing });
    }
    if !asked.pointed_at.is_empty() {
        let named = names(&found.items, MOST_LISTED);
        return Ok(format!("{}: {}.", capitalised(&spelled(count)), list(&named)));
    }
    let is_told = deed.is_some() || limits.are_of_pieces();
    let line = |item: &CompactItem| match is_told {
        true => format!("your {}, {}", name(item), note(turn, by, item)),
        false => format!("your {}", name(item)),
    };
    let yes = match limits.pieces {
        pieces if !pieces.is_given() => "You",
        pieces if pieces.contain(count as f64) => "Yes, you",
        _ => "No, you",
    };
    let what = counted(asked.about(), count);
    let values: &Values<'_> =
        &[("yes", &yes), ("number", &spelled(count)), ("what", &what), ("limits", &limits_label(turn))];
    let more = count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    Ok(turn.say_list("within", values, found.items.iter().take(MOST_LISTED).map(line)) + &more)
}

/// Says which piece comes closest to a price that is too low.
fn cheapest(turn: &Turn<'_>) -> Answer {
    let query = turn.asked.about().map_or("", |named| &named.text);
    let arguments = json!({ "query": query, "sort_by": "price", "order": "asc" });
    let found: FoundItems = turn.read("search_wardrobe", arguments)?;
    let cheapest = found.items.iter().find_map(|item| Some((name(item), item.price.as_ref()?)));
    Ok(cheapest.map_or_else(String::new, |(name, price)| {
        format!(" {}", turn.say("cheapest", &[("name", &name), ("price", price)]))
    }))
}

/// Finds pieces for words that do not name clothes.
fn find_loosely(turn: &Turn<'_>, query: &str) -> Answer {
    if query.is_empty() {
        return summary(turn, "summary");
    }
    let found = search(turn, query, None)?;
    if found.items.is_empty() {
        return Err(Unfinished::Answered(turn.say("empty", &[])));
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
    let asked = &turn.asked;
    if asked.is_limited() {
        return list_within(turn);
    }
    let Some(named) = asked.about() else { return summary(turn, "summary") };
    let owned = owned(turn, named)?;
    if owned.count == 0 {
        return Ok(not_owned(turn, named, &owned.close).replacen("You don't own any", "None: you don't own any", 1));
    }
    // "More than five?"
    let yes = match asked.limits.pieces {
        pieces if !pieces.is_given() => "You",
        pieces if pieces.contain(owned.count as f64) => "Yes, you",
        _ => "No, you",
    };
    let is_many = owned.count > MOST_LISTED as u64;
    let names = names(&owned.fitting, if is_many { 5 } else { MOST_LISTED });
    let is_alike = names.len() == 1 && owned.count > 1;
    Ok(turn.say(
        if is_alike {
            "count alike"
        } else if is_many {
            "count many"
        } else {
            "count"
        },
        &[("yes", &yes), ("count", &owned.count), ("what", &collective(named, owned.count)), ("names", &list(&names))],
    ))
}

pub fn summary(turn: &Turn<'_>, ask: Ask) -> Answer {
    let result: Value = turn.read("get_wardrobe_summary", json!({}))?;
    let total = result["total_items"].as_u64().unwrap_or_default();
    if total == 0 {
        return Err(Unfinished::Answered(turn.say("empty", &[])));
    }
    // Categories are free text; "Shorts" are bottoms.
    let kind = |name: &str| Category::of_text(name).map_or_else(|| shown(name), |category| category.name().to_owned());
    let kinds = tally(&result["by_category"], kind);
    let kinds = counted_kinds(&kinds, total);
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

/// Words the numbers of the largest categories and of the rest, which add up to all pieces.
fn counted_kinds(kinds: &[(String, f64)], total: u64) -> Vec<String> {
    let most = if kinds.len() > MOST_KINDS { MOST_KINDS - 1 } else { kinds.len() };
    let mut rest = total;
    let mut told: Vec<String> = Vec::new();
    for (name, count) in kinds.iter().take(most) {
        // Counts are whole numbers.
        let count = *count as u64;
        rest = rest.saturating_sub(count);
        let is_plain = name == "bottoms" && count != 1;
        let noun = if is_plain { name.clone() } else { collective(&named(name), count) };
        told.push(format!("{count} {noun}"));
    }
    if rest > 0 && !told.is_empty() {
        told.push(format!("{rest} {}", if rest == 1 { "other" } else { "others" }));
    }
    told
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
    let items = sorted(turn, "wear_count", "desc")?.items;
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
    let which = match turn.asked.about() {
        Some(named) => format!("your {}", several(named)),
        None if turn.asked.pointed_at.is_empty() => "your pieces".to_owned(),
        None => "these".to_owned(),
    };
    Ok(match &best[..] {
        [one] => turn.say("most", &[("word", &word), ("which", &which), ("name", &name(one))]),
        best => turn.say_list("most of several", &[("word", &word), ("which", &which)], names(best, 5)),
    })
}

/// Answers how to care for a piece, by its care label and in general.
pub fn care(turn: &Turn<'_>) -> Answer {
    let found = advice::about(&turn.asked.words, |kind| !matches!(kind, "cannot" | "label"));
    let general = found.map_or_else(|| turn.say("care usual", &[]), |(_, text)| text.to_owned()) + ".";
    let is_kept = found.is_some_and(|(kind, _)| kind == "keep");
    // "A red wine stain on silk" names no piece.
    let is_trouble = found.is_some_and(|(kind, _)| kind != "care");
    let mut named = turn.asked.named.iter().filter(|named| !is_kept && (named.is_claimed || !is_trouble));
    let Some(named) = named.next() else { return Ok(general) };
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
    if lines.is_empty() || is_trouble {
        lines.insert(0, general);
    }
    Ok(lines.join(" "))
}
