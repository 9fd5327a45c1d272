//! Searches the owned clothes for those that a message names.

use serde_json::{Map, Value, json};

use super::wording::{clean, distinct, list, noun, second_person, yours};
use crate::llm::offline::phrases::is_listed;
use crate::llm::offline::turn::{Answer, Turn, Unfinished};
use crate::llm::offline::understand::{Deed, Named};
use crate::model::garment::{Description, Fit, Garment, is_plural, shown};
use crate::model::tool_results::{CompactItem, FoundItems};
use crate::model::vocabulary;

/// Items that a search returns at most.
const MOST_FOUND: usize = 30;

/// Returns the display name of a piece.
pub fn name(item: &CompactItem) -> String {
    clean(&item.name)
}

/// Returns the names of pieces as the user's ("your …"), each once.
pub fn names(items: &[CompactItem], most: usize) -> Vec<String> {
    distinct(yours(items.iter().take(most).map(|item| &item.name)))
}

/// Returns the limits of the question as arguments of a search.
fn limits(turn: &Turn<'_>) -> Map<String, Value> {
    let asked = &turn.asked;
    let limits = &asked.limits;
    let mut arguments = Map::new();
    if !asked.pointed_at.is_empty() {
        arguments.insert("only".to_owned(), json!(asked.pointed_at));
    }
    if limits.price.is_given() {
        let price =
            json!({ "price_min": limits.price.least, "price_max": limits.price.most, "currency": limits.currency });
        arguments.extend(price.as_object().cloned().unwrap_or_default());
    }
    let is_list = asked.asks.iter().any(|ask| matches!(*ask, "find" | "count"));
    let (mut least, mut most) = (limits.wears.least, limits.wears.most);
    // When a piece was last worn does not depend on a period.
    if let Some((past, deed)) = asked.past.as_ref().zip(asked.deed()).filter(|_| !asked.asks.contains(&"lastworn")) {
        let days = match deed {
            Deed::Bought => ["bought_from", "bought_to"],
            Deed::Worn | Deed::Unworn => ["worn_from", "worn_to"],
        };
        for (name, day) in days.into_iter().zip([past.first, past.last]) {
            arguments.insert(name.to_owned(), json!(day.to_string()));
        }
        if !limits.wears.is_given() {
            least = (deed == Deed::Worn && is_list).then_some(1.0);
            most = (deed == Deed::Unworn).then_some(0.0);
        }
    } else if asked.asks.contains(&"never") {
        most = Some(0.0);
    }
    for (name, wears) in [("min_wears", least), ("max_wears", most)] {
        if let Some(wears) = wears {
            // A whole number, and never negative.
            arguments.insert(name.to_owned(), json!(wears.max(0.0) as u32));
        }
    }
    arguments.retain(|_, value| !value.is_null());
    arguments
}

/// Returns the limits of the question in words, after the noun: " under 100 euros bought in 2025".
pub fn limits_label(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    let said = match asked.limits.label.as_str() {
        "" => String::new(),
        label if asked.limits.wears.is_given() && !asked.limits.price.is_given() => format!(" worn {label}"),
        label => format!(" {label}"),
    };
    let is_ranked = asked.asks.iter().any(|ask| is_listed("kinds about wearing", ask));
    let past = asked.past.as_ref().zip(asked.deed()).map(|(past, deed)| match deed {
        Deed::Bought => format!(" bought {}", past.label),
        // "Your most worn shirts last month".
        Deed::Worn if is_ranked => format!(" {}", past.label),
        Deed::Worn => format!(" worn {}", past.label),
        Deed::Unworn => format!(" not worn {}", past.label),
    });
    said + &past.unwrap_or_default()
}

/// Searches the wardrobe, within the limits of the question.
pub fn search(turn: &Turn<'_>, query: &str, order: Option<(&str, &str)>) -> Answer<FoundItems> {
    let mut arguments = limits(turn);
    arguments.insert("query".to_owned(), json!(query));
    if let Some((by, order)) = order {
        arguments.insert("sort_by".to_owned(), json!(by));
        arguments.insert("order".to_owned(), json!(order));
    }
    let is_priced = arguments.contains_key("price_min") || arguments.contains_key("price_max");
    let found: FoundItems = turn.read("search_wardrobe", Value::Object(arguments))?;
    match found.totals.as_ref().map(|totals| &totals.spent) {
        Some(spent) if is_priced && found.items.is_empty() && !spent.without_rate.is_empty() => {
            let codes: Vec<String> = spent.without_rate.keys().map(|code| shown(code)).collect();
            Err(Unfinished::Answered(turn.say("no rate", &[("codes", &list(&codes)), ("currency", &spent.currency)])))
        }
        _ => Ok(found),
    }
}

/// Returns the clothes that a message is about, or all of them, sorted. Also the tool's sums are of these.
pub fn sorted(turn: &Turn<'_>, by: &str, order: &str) -> Answer<FoundItems> {
    let about = turn.asked.about();
    let found = within(turn, by, order)?;
    let may_be_none = turn.asked.asks.contains(&"never");
    match about.filter(|_| !may_be_none && (found.note.is_some() || found.items.is_empty())) {
        Some(_) if turn.asked.is_limited() => Err(Unfinished::Answered(nothing_within(turn))),
        Some(named) => Err(Unfinished::Answered(not_owned(turn, named, &[]))),
        None => Ok(found),
    }
}

/// Returns all clothes, each once; of a large wardrobe the most and the least worn.
pub fn all(turn: &Turn<'_>) -> Answer<Vec<CompactItem>> {
    let read = |order: &str| -> Answer<FoundItems> {
        turn.read("search_wardrobe", json!({ "query": "", "sort_by": "wear_count", "order": order }))
    };
    let FoundItems { mut items, totals, .. } = read("desc")?;
    if totals.is_some_and(|totals| totals.items > items.len() as u64) {
        for item in read("asc")?.items {
            if !items.iter().any(|known| known.id == item.id) {
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// Returns the clothes that a message is about, or all of them, within its limits, sorted; they may be none.
pub fn within(turn: &Turn<'_>, by: &str, order: &str) -> Answer<FoundItems> {
    let about = turn.asked.about();
    let mut found = search(turn, about.map_or("", |named| &named.text), Some((by, order)))?;
    let all = found.items.len();
    // The tool does not know brands missing from the thesaurus.
    found.items.retain(|item| about.is_none_or(|named| named.description.fits(&Garment::from(item))));
    if found.note.is_some() {
        found.items.clear();
    }
    if found.items.len() < all && !found.items.is_empty() {
        let ids: Vec<&str> = found.items.iter().map(|item| item.id.as_str()).collect();
        let arguments = json!({ "query": "", "sort_by": by, "order": order, "only": ids });
        return turn.read("search_wardrobe", arguments);
    }
    Ok(found)
}

/// Answers that nothing is within the limits.
pub fn nothing_within(turn: &Turn<'_>) -> String {
    let kind = turn.asked.about().map_or_else(|| "pieces".to_owned(), super::wording::several);
    if !turn.asked.pointed_at.is_empty() {
        return turn.say("none of them", &[]);
    }
    let past = turn.asked.past.as_ref().filter(|_| turn.asked.deed() == Some(Deed::Unworn));
    if let Some(past) = past {
        return turn.say("worn all", &[("kind", &kind), ("period", &past.label)]);
    }
    turn.say("within none", &[("kind", &kind), ("limits", &limits_label(turn))])
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
    let found = search(turn, &named.text, None)?;
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
    if owned.fitting.is_empty() && turn.asked.is_limited() {
        return Err(Unfinished::Answered(nothing_within(turn)));
    }
    if owned.fitting.is_empty() {
        return Err(Unfinished::Answered(not_owned(turn, named, &owned.close)));
    }
    Ok(owned)
}

/// Answers that the user does not own something, and what comes closest.
pub fn not_owned(turn: &Turn<'_>, named: &Named, close: &[CompactItem]) -> String {
    let text = second_person(&named.text);
    let is_mass = text.rsplit(' ').next().is_some_and(|last| is_listed("mass nouns", last));
    let no = if is_plural(&text) || is_mass { format!("any {text}") } else { noun(&text) };
    let is_brand = named.description
        == Description {
            words: named.description.words.clone(),
            text: named.description.text.clone(),
            ..Description::default()
        };
    let no = match named.description.garment {
        _ if is_brand => format!("anything by {text}"),
        // "Anything red?"
        None => format!("anything {text}"),
        Some(_) => no,
    };
    let mut answer = turn.say("not owned", &[("no", &no)]);
    if !close.is_empty() {
        let names = names(close, 3);
        // "The closest are your jeans."
        let closest = if let [one] = &names[..] { one.clone() } else { names.len().to_string() };
        answer = format!("{answer} {}", turn.say("closest", &[("closest", &closest), ("names", &list(&names))]));
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
