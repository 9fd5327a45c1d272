//! Looking for clothes that a message names among those that are owned.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::wording::{article, list, second_person};
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::garment::{Fit, Garment, Words, is_plural, shown};
use crate::model::vocabulary;

/// An owned piece, as a search returns it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    pub id: String,
    pub category: Option<String>,
    pub brand: Option<String>,
    pub colours: Vec<String>,
    pub tags: Vec<String>,
    pub size: Option<Value>,
    pub name: String,
    pub price: Option<Price>,
    pub bought: Option<String>,
    pub wear_count: u32,
    pub last_worn: Option<String>,
    pub care: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Price {
    pub amount: f64,
    pub currency: String,
}

impl Item {
    pub fn garment(&self) -> Garment {
        let colours: Vec<&str> = self.colours.iter().map(String::as_str).collect();
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let care: Vec<&str> = self.care.iter().map(String::as_str).collect();
        Garment::new(Words {
            id: &self.id,
            category: self.category.as_deref(),
            brand: self.brand.as_deref(),
            colours: &colours,
            tags: &tags,
            care: &care,
        })
    }

    /// What it is called; names come from the tool, which makes them safe to show.
    pub fn name(&self) -> String {
        if self.name.is_empty() {
            self.garment().name
        } else {
            self.name.split_whitespace().map(shown).collect::<Vec<_>>().join(" ")
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Found {
    pub note: Option<String>,
    pub exact_matches: Option<u64>,
    pub items: Vec<Item>,
}

pub fn search(turn: &Turn<'_>, query: &str) -> Answer<Found> {
    turn.read("search_wardrobe", json!({ "query": query }))
}

pub fn sorted(turn: &Turn<'_>, query: &str, by: &str, order: &str) -> Answer<Found> {
    turn.read("search_wardrobe", json!({ "query": query, "sort_by": by, "order": order }))
}

/// What was found for clothes that were named.
pub struct Owned {
    /// Pieces that are just that, or a shade of it.
    pub fitting: Vec<Item>,
    /// Whether only a shade of the colour was found.
    pub is_shade: bool,
    /// Of all pieces those that come closest, when none fits.
    pub close: Vec<Item>,
    /// How many of the whole wardrobe fit.
    pub count: u64,
}

/// Looks for clothes that were named.
pub fn owned(turn: &Turn<'_>, named: &Named) -> Answer<Owned> {
    let found = search(turn, &named.text)?;
    let fits: Vec<(Fit, Item)> =
        found.items.into_iter().map(|item| (named.description.fit(&item.garment()), item)).collect();
    let with = |wanted: fn(Fit) -> bool| -> Vec<Item> {
        fits.iter().filter(|(fit, _)| wanted(*fit)).map(|(_, item)| item.clone()).collect()
    };
    let exact = with(|fit| fit == Fit::Exact);
    let fitting = with(|fit| fit >= Fit::Shade);
    let close = if found.note.is_none() { with(|fit| fit == Fit::Near) } else { Vec::new() };
    let count = found.exact_matches.unwrap_or_default().max(fitting.len() as u64);
    // A maker that only the message knows is counted here, not by the tool.
    let count = if fitting.len() < 30 { fitting.len() as u64 } else { count };
    Ok(Owned { is_shade: exact.is_empty() && !fitting.is_empty(), fitting, close, count })
}

/// Says that something is not owned, and what comes closest.
pub fn not_owned(turn: &Turn<'_>, named: &Named, close: &[Item]) -> String {
    let text = &second_person(&named.text);
    let no = if is_plural(text) { format!("any {text}") } else { format!("{} {text}", article(text)) };
    let start = turn.pick(&["You don't own", "You don't have", "I don't see"]);
    let place = if start == "I don't see" { " among your clothes" } else { "" };
    let mut answer = format!("{start} {no}{place}.");
    match close {
        [] => {}
        [one] => answer += &format!(" The closest is your {}.", one.name()),
        more => {
            let names: Vec<String> = more.iter().take(3).map(|item| format!("your {}", item.name())).collect();
            answer += &format!(" The closest are {}.", list(&names));
        }
    }
    answer
}

/// Words of the message that pieces may be tagged with, when it names no garment.
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
