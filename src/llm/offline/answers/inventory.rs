//! Answers about the wardrobe as a whole: care labels, pieces that are alike, brands, and whether more is needed.

use std::collections::BTreeMap;

use super::MOST_LISTED;
use super::search::{all, name, names, owned};
use super::wording::{collective, counted, list, spelled, yours};
use crate::base::text::capitalised;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::{advice, most_frequent};
use crate::model::garment::{Garment, shown};
use crate::model::thesaurus::TermId;
use crate::model::tool_results::CompactItem;

/// Most groups of pieces that are alike, and most brands, in an answer.
const MOST_GROUPS: usize = 8;
const MOST_BRANDS: usize = 3;

/// Answers which pieces have something on their care label: "which need dry cleaning?"
pub fn by_label(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let wanted = advice::about(&asked.words, |kind| kind == "label").map_or("wash", |(_, text)| text);
    let is_denied = asked.says(&["not", "cant", "cannot", "never", "shouldnt"]);
    let carries = |item: &CompactItem| {
        item.care.iter().map(|care| care.to_lowercase()).any(|care| care.contains(wanted) && !care.contains("not "))
    };
    let mut items = all(turn)?;
    items.retain(|item| asked.about().is_none_or(|named| named.description.fits(&Garment::from(item))));
    items.retain(|item| !item.care.is_empty() && carries(item) != is_denied);
    let count = items.len() as u64;
    let what = counted(asked.about(), count);
    let sentence = if is_denied { "label without" } else { "label" };
    let more = count.saturating_sub(MOST_LISTED as u64);
    let more = if more > 0 { format!("\nAnd {more} more.") } else { String::new() };
    let number = capitalised(&spelled(count));
    let values: [(&str, &dyn std::fmt::Display); 4] =
        [("number", &number), ("count", &count), ("what", &what), ("label", &wanted)];
    Ok(turn.say_list(sentence, &values, names(&items, MOST_LISTED)) + &more)
}

/// Answers which pieces are of the same kind and colour.
pub fn duplicates(turn: &Turn<'_>) -> Answer {
    let mut items = all(turn)?;
    items.retain(|item| turn.asked.about().is_none_or(|named| named.description.fits(&Garment::from(item))));
    let mut groups: BTreeMap<(TermId, TermId), Vec<String>> = BTreeMap::new();
    for item in &items {
        let garment = Garment::from(item);
        if let (Some(kind), Some(colour)) = (garment.kind(), garment.colours.first()) {
            groups.entry((kind, *colour)).or_default().push(name(item));
        }
    }
    let alike = groups.into_values().filter(|names| names.len() > 1).take(MOST_GROUPS);
    Ok(turn.say_list("alike", &[], alike.map(|names| list(&yours(&names)))))
}

/// Answers which brands there are most pieces of.
pub fn brands(turn: &Turn<'_>) -> Answer {
    let items = all(turn)?;
    let brands: Vec<String> = items.iter().filter_map(|item| item.brand.as_deref()).map(shown).collect();
    let count = |brand: &String| brands.iter().filter(|other| *other == brand).count();
    let ranked: Vec<String> = most_frequent(brands.clone()).into_iter().take(MOST_BRANDS + 1).collect();
    let Some((first, others)) = ranked.split_first() else { return Ok(turn.say("brands none", &[])) };
    let others: Vec<String> = others.iter().map(|brand| format!("{brand} ({})", count(brand))).collect();
    let next = if others.is_empty() { String::new() } else { format!(", before {}", list(&others)) };
    Ok(turn.say("brands", &[("brand", first), ("count", &count(first)), ("next", &next)]))
}

/// Answers whether more of a kind is needed: with what there is.
pub fn need(turn: &Turn<'_>) -> Answer {
    let Some(named) = turn.asked.about() else { return Ok(turn.say("need what", &[])) };
    if named.is_claimed {
        return Ok(turn.say("need it", &[("what", &named.text)]));
    }
    let owned = owned(turn, named)?;
    if owned.count == 0 {
        return Ok(turn.say("need none", &[("what", &named.text)]));
    }
    let (number, what) = (spelled(owned.count), collective(named, owned.count));
    let names = names(&owned.fitting, MOST_LISTED);
    Ok(turn.say("need", &[("number", &number), ("what", &what), ("names", &list(&names))]))
}
