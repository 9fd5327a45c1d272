//! What the built-in stylist says, kind by kind. Pieces are named as tools named them; nothing else is.

mod history;
mod memory;
mod money;
mod outfits;
mod outside;
mod pairs;
mod pieces;
mod search;
mod wording;

use self::history::{last_worn, ranking, worn};
use self::memory::{forget, recall, remember};
use self::money::{about_piece, spent};
use self::outfits::{outfit, packing};
use self::outside::{care, gaps, profile, shop, trends, weather};
use self::pairs::{opinion, pair};
use self::pieces::{count, extreme, find, summary};
use super::advice;
use super::phrases::Ask;
use super::turn::{Answer, Turn, Unfinished};

/// Pieces in a list.
pub const MOST_LISTED: usize = 12;

/// The answer to everything that a message asks.
pub fn answer(turn: &Turn<'_>) -> Answer {
    if turn.asked.is_foreign {
        return Ok("Sorry, I only understand English: I'm PluckIt's built-in model, not a large language model. \
                   (Ich verstehe nur Englisch. Je ne comprends que l'anglais. Solo entiendo inglés.) Ask me in English what to wear, \
                   or about the clothes you own."
            .to_owned());
    }
    let mut asks = turn.asked.asks.clone();
    // Whoever picked pieces wants them worn.
    if !turn.selected().is_empty() && asks.iter().all(|ask| matches!(*ask, "find" | "pair" | "weather" | "shop")) {
        asks.insert(0, "outfit");
        asks.retain(|ask| !matches!(*ask, "find" | "pair"));
    }
    let mut paragraphs: Vec<String> = Vec::new();
    let mut is_sorry = false;
    for ask in asks.iter().take(3) {
        let text = match one(turn, ask) {
            // What failed does not spoil what worked.
            Err(Unfinished::Sorry(text)) => {
                is_sorry = true;
                text
            }
            other => other?,
        };
        if !text.is_empty() && !paragraphs.contains(&text) {
            paragraphs.push(text);
        }
    }
    if paragraphs.is_empty() {
        return Ok(advice::lost(turn));
    }
    // Somebody who just accepted an offer gets the result, not the next offer; nor does what failed lead on to more.
    let last = asks.last().filter(|ask| {
        !turn.asked.is_accepted && !is_sorry && (**ask != "pair" || paragraphs.iter().any(|text| text.contains("\n- ")))
    });
    paragraphs.extend(last.and_then(|ask| next_step(turn, ask)).map(str::to_owned));
    Ok(paragraphs.join("\n\n"))
}

/// What could come next.
fn next_step(turn: &Turn<'_>, ask: Ask) -> Option<&'static str> {
    match ask {
        "summary" | "spent" => Some("Want me to check your wardrobe for gaps?"),
        "trends" => Some("Want me to put together an outfit in that mood from your wardrobe?"),
        "weather" => Some("Want me to put together an outfit for it?"),
        "greet" => Some("Want me to put together an outfit for today?"),
        "never" | "neglected" => Some("Want me to put together an outfit with one of them?"),
        "outfit" | "pair" if !turn.asked.is_variation => Some(turn.pick(&[
            "If something isn't right, tell me which piece, or say \"another one\".",
            "Not quite it? Tell me what to leave out, or ask for something warmer or smarter.",
            "Say the word if you'd rather have another one.",
        ])),
        _ => None,
    }
}

fn one(turn: &Turn<'_>, ask: Ask) -> Answer {
    match ask {
        "outfit" => outfit(turn),
        "pair" => pair(turn),
        "opinion" => opinion(turn),
        "packing" => packing(turn),
        "find" => find(turn),
        "count" => count(turn),
        "summary" | "colours" => summary(turn, ask),
        "never" | "neglected" | "mostworn" | "dearest" | "cheapest" | "newest" | "oldest" | "bestvalue"
        | "worstvalue" => ranking(turn, ask),
        "warmest" | "lightest" | "dressiest" | "plainest" => extreme(turn, ask),
        "lastworn" | "howoften" => last_worn(turn),
        "worn" => worn(turn),
        "bought" | "price" | "perwear" => about_piece(turn, ask),
        "spent" => spent(turn),
        "weather" => weather(turn),
        "care" => care(turn),
        "dislike" | "like" | "fact" | "remember" => remember(turn, ask),
        "forget" => forget(turn),
        "recall" => Ok(recall(turn)),
        "gaps" => gaps(turn),
        "trends" => trends(turn),
        "shop" => shop(turn),
        "size" | "profile" => profile(turn, ask),
        other => Ok(advice::small_talk(turn, other)),
    }
}
