//! The built-in stylist's answers, by kind of question. They name only pieces from tool results, in the same words.

mod capsule;
mod compare;
mod history;
mod inventory;
mod memory;
mod money;
mod outfits;
mod outside;
mod pairs;
mod pieces;
mod search;
mod weather;
mod why;
mod wording;

use self::capsule::capsule;
use self::compare::compare;
use self::history::{about_piece, colour_worn, ranking, worn};
use self::inventory::{brands, by_label, duplicates, need};
use self::memory::{condition, forget, recall, remember};
use self::money::{saved, spent};
use self::outfits::{outfit, packing};
use self::outside::{gaps, profile, shop, trends};
use self::pairs::{opinion, pair};
use self::pieces::{count, extreme, find, summary};
use self::weather::weather;
use self::why::why;
use self::wording::list;
use super::advice;
use super::phrases::{Ask, is_listed};
use super::turn::{Answer, Turn, Unfinished};
use super::understand::{Request, shown_names};
use crate::model::garment::{Description, Slot};

/// Pieces in a list.
const MOST_LISTED: usize = 12;

/// Answers all questions of a message.
pub fn answer(turn: &Turn<'_>) -> Answer {
    if turn.asked.is_foreign {
        return Ok(turn.say("foreign", &[]));
    }
    if let Some(date) = turn.asked.no_date.as_ref().filter(|_| !turn.asked.asks.is_empty()) {
        return Ok(turn.say("no such date", &[("date", date)]));
    }
    let mut told = Told::default();
    tell(turn, &mut told)?;
    for part in &turn.asked.also {
        // On another day, other clothes.
        let shown = told.paragraphs.iter().flat_map(|text| shown_names(text));
        let unlike = shown.filter(|name| Description::of(name).slot() != Some(Slot::Accessory));
        let part = Request { unlike: unlike.collect(), ..part.clone() };
        tell(&turn.with(part), &mut told)?;
    }
    let Told { mut paragraphs, is_sorry } = told;
    if paragraphs.is_empty() {
        return Ok(small_talk(turn, "lost"));
    }
    // After an accepted offer, give the result without another offer; after a failure, offer nothing.
    let has_list = paragraphs.iter().any(|text| text.contains("\n- "));
    let last = turn.asked.asks.last().filter(|ask| {
        !turn.asked.is_accepted && !is_sorry && (has_list || !matches!(**ask, "pair" | "never" | "neglected"))
    });
    paragraphs.extend(last.and_then(|ask| next_step(turn, ask)));
    Ok(paragraphs.join("\n\n"))
}

/// What is said, in paragraphs.
#[derive(Default)]
struct Told {
    paragraphs: Vec<String>,
    /// Whether something failed, or could not be done.
    is_sorry: bool,
}

/// Answers each question of a request.
fn tell(turn: &Turn<'_>, told: &mut Told) -> Answer<()> {
    let mut asks = turn.asked.asks.clone();
    // A user who selected pieces wants an outfit with them.
    if !turn.selected().is_empty() && asks.iter().all(|ask| matches!(*ask, "find" | "pair" | "weather" | "shop")) {
        asks.insert(0, "outfit");
        asks.retain(|ask| !matches!(*ask, "find" | "pair"));
    }
    for ask in asks.iter().take(3) {
        let text = match one(turn, ask) {
            // A failed part does not affect the others.
            Err(Unfinished::Sorry(text) | Unfinished::Answered(text)) => {
                told.is_sorry = true;
                text
            }
            other => other?,
        };
        let text = if text.is_empty() { text } else { text + &without_limits(turn, ask) };
        if !text.is_empty() && !told.paragraphs.contains(&text) {
            told.paragraphs.push(text);
        }
    }
    Ok(())
}

/// Says so if an answer cannot be limited as the question was.
fn without_limits(turn: &Turn<'_>, ask: Ask) -> String {
    let asked = &turn.asked;
    let is_limited = is_listed("kinds about pieces", ask) || matches!(ask, "shop" | "gaps" | "capsule");
    let limits = match asked.limits.unknown.as_str() {
        "" if !is_limited => &asked.limits.label,
        unknown => unknown,
    };
    if limits.is_empty() {
        return String::new();
    }
    format!("\n{}", turn.say("without limits", &[("limits", &limits)]))
}

/// Suggests what the user could ask next.
fn next_step(turn: &Turn<'_>, ask: Ask) -> Option<String> {
    let is_known = turn.asked.is_variation && matches!(ask, "outfit" | "pair");
    turn.may_say(&format!("after {ask}"), &[]).filter(|_| !is_known)
}

fn one(turn: &Turn<'_>, ask: Ask) -> Answer {
    match ask {
        "outfit" => outfit(turn),
        "pair" => pair(turn),
        "opinion" => opinion(turn),
        "why" => Ok(why(turn)),
        "capsule" => capsule(turn),
        "packing" => packing(turn),
        "find" => find(turn),
        "count" => count(turn),
        "summary" | "colours" => summary(turn, ask),
        "warmest" | "lightest" | "dressiest" | "plainest" => extreme(turn, ask),
        "lastworn" | "howoften" | "bought" | "price" | "perwear" => about_piece(turn, ask),
        "worn" => worn(turn),
        "colourworn" => colour_worn(turn),
        "spent" => spent(turn),
        "saved" => saved(turn),
        "weather" => weather(turn),
        "care" => pieces::care(turn),
        "bylabel" => by_label(turn),
        "duplicates" => duplicates(turn),
        "brands" => brands(turn),
        "need" => need(turn),
        "compare" => compare(turn),
        "condition" => Ok(condition(turn)),
        "dislike" | "like" | "fact" | "remember" => remember(turn, ask),
        "forget" => forget(turn),
        "recall" => Ok(recall(turn)),
        "gaps" => gaps(turn),
        "trends" => trends(turn),
        "shop" => shop(turn),
        "size" | "profile" => profile(turn, ask),
        _ if history::is_ranking(ask) => ranking(turn, ask),
        _ => Ok(small_talk(turn, ask)),
    }
}

/// Answers messages that need no tool.
fn small_talk(turn: &Turn<'_>, ask: Ask) -> String {
    let words = &turn.asked.words;
    let what = advice::about(words, |kind| kind == "cannot").map_or("do that", |(_, text)| text);
    let is_lost_word = ask == "lost" && words.len() <= 2;
    let away: Vec<String> = turn.asked.away.iter().map(|text| format!("your {text}")).collect();
    let sentence = if is_lost_word { "lost in a word" } else { ask };
    turn.may_say(sentence, &[("what", &what), ("away", &list(&away))]).unwrap_or_else(|| small_talk(turn, "lost"))
}
