//! Searches the owned clothes for those that a message names.

use serde_json::json;

use super::wording::{clean, list, noun, second_person, yours};
use crate::llm::offline::turn::{Answer, Turn, Unfinished};
use crate::llm::offline::understand::Named;
use crate::model::garment::{Fit, Garment, is_plural};
use crate::model::tool_results::{CompactItem, FoundItems};
use crate::model::vocabulary;

/// Items that a search returns at most.
const MOST_FOUND: usize = 30;

/// Returns the display name of a piece.
pub fn name(item: &CompactItem) -> String {
    clean(&item.name)
}

/// Returns the names of pieces as the user's ("your …").
pub fn names(items: &[CompactItem], most: usize) -> Vec<String> {
    yours(items.iter().take(most).map(|item| &item.name))
}

pub fn search(turn: &Turn<'_>, query: &str) -> Answer<FoundItems> {
    turn.read("search_wardrobe", json!({ "query": query }))
}

/// Returns the clothes that a message is about, or all of them, sorted.
pub fn sorted(turn: &Turn<'_>, by: &str, order: &str) -> Answer<Vec<CompactItem>> {
    let about = turn.asked.about();
    let query = about.map(|named| named.text.as_str()).unwrap_or_default();
    let found: FoundItems = turn.read("search_wardrobe", json!({ "query": query, "sort_by": by, "order": order }))?;
    let is_missing = found.note.is_some() || found.items.is_empty();
    match about.filter(|_| is_missing) {
        Some(named) => Err(Unfinished::Answered(not_owned(turn, named, &[]))),
        None => Ok(found.items),
    }
}

/// Search results for the clothes that a message names.
pub struct Owned {
    /// Pieces that match exactly or in a shade of the colour.
    pub fitting: Vec<CompactItem>,
    /// Whether only a shade of the colour was found.
    pub is_shade: bool,
    /// The closest pieces, if none matches.
    pub close: Vec<CompactItem>,
    /// Number of matching pieces in the whole wardrobe.
    pub count: u64,
}

/// Searches for named clothes.
pub fn owned(turn: &Turn<'_>, named: &Named) -> Answer<Owned> {
    let found = search(turn, &named.text)?;
    let (mut fitting, mut close, mut is_shade) = (Vec::new(), Vec::new(), true);
    for item in found.items {
        match named.description.fit(&Garment::from(&item)) {
            Fit::None => {}
            Fit::Near => close.push(item),
            fit => {
                is_shade &= fit != Fit::Exact;
                fitting.push(item);
            }
        }
    }
    if found.note.is_some() {
        close.clear();
    }
    // The tool does not know brands missing from the thesaurus, so count them here.
    let count = fitting.len() as u64;
    let count = if fitting.len() < MOST_FOUND { count } else { count.max(found.exact_matches.unwrap_or_default()) };
    Ok(Owned { is_shade: is_shade && !fitting.is_empty(), fitting, close, count })
}

/// Searches for named clothes; if none matches, answers so.
pub fn fitting(turn: &Turn<'_>, named: &Named) -> Answer<Owned> {
    let owned = owned(turn, named)?;
    if owned.fitting.is_empty() {
        return Err(Unfinished::Answered(not_owned(turn, named, &owned.close)));
    }
    Ok(owned)
}

/// Answers that the user does not own something, and what comes closest.
pub fn not_owned(turn: &Turn<'_>, named: &Named, close: &[CompactItem]) -> String {
    let text = second_person(&named.text);
    let no = if is_plural(&text) { format!("any {text}") } else { noun(&text) };
    let mut answer = turn.say("not owned", &[("no", &no)]);
    if !close.is_empty() {
        let names = names(close, 3);
        answer = format!("{answer} {}", turn.say("closest", &[("count", &names.len()), ("names", &list(&names))]));
    }
    answer
}

/// Returns words of the message that may be tags of pieces, if it names no garment.
pub fn loose_query(turn: &Turn<'_>) -> String {
    let telling = turn.asked.words.iter().filter(|word| {
        !vocabulary::is_stop_word(word)
            && !matches!(
                word.as_str(),
                "search" | "find" | "list" | "which" | "check" | "closet" | "clothes" | "stuff" | "wardrobe" | "things"
            )
    });
    telling.take(12).cloned().collect::<Vec<_>>().join(" ")
}
