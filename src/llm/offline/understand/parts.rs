//! Splits a message with several requests: outfits for different days, or an outfit and something else.

use ::time::Date;

use super::{OUTFITS, Request, read};
use crate::base::text::sentences;
use crate::llm::offline::phrases::{Ask, is_listed};
use crate::llm::offline::time;
use crate::model::thesaurus::Kind;

/// Most requests of one message.
const MOST_PARTS: usize = 4;

/// Returns the separate requests of a message; `None` if it is a single one.
pub fn requests(message: &str, today: Date) -> Option<Vec<Request>> {
    let whole = read(message, today);
    let is_outfit = whole.asks.iter().all(|ask| matches!(*ask, "outfit" | "find" | "ok"));
    let texts = if is_outfit { by_day(message, &whole, today) } else { by_sentence(message, &whole, today) };
    if !(2..=MOST_PARTS).contains(&texts.len()) {
        return None;
    }
    let mut parts: Vec<Request> = texts.iter().map(|text| read(text, today)).collect();
    let occasion = parts.iter().map(|part| part.occasion.clone()).find(|occasion| !occasion.is_empty());
    let mut when = whole.when.clone();
    for part in &mut parts {
        if is_outfit {
            (part.asks, part.outfits) = (vec!["outfit"], 1);
        }
        let is_to_dress = part.asks.iter().any(|ask| OUTFITS.contains(ask));
        // "To the office on Monday and Tuesday"
        if is_to_dress && part.occasion.is_empty() {
            part.occasion = occasion.clone().unwrap_or_default();
        }
        if is_to_dress || part.asks == ["weather"] {
            part.when = part.when.take().or_else(|| when.clone());
            part.place = part.place.take().or_else(|| whole.place.clone());
            when.clone_from(&part.when);
        }
        // "How much was it?"
        if part.named.is_empty() && !is_to_dress {
            part.named.clone_from(&whole.named);
        }
        part.rejected.clone_from(&whole.rejected);
        part.away.clone_from(&whole.away);
    }
    Some(parts)
}

/// Returns the parts that are about different days, or about sport and something else: "tomorrow office and Friday
/// party", "the gym, and lunch afterwards".
fn by_day(message: &str, whole: &Request, today: Date) -> Vec<String> {
    if whole.outfits > 1 || time::range(&whole.words, today).is_some() {
        return Vec::new();
    }
    let mut texts: Vec<String> = Vec::new();
    let mut last: Option<Request> = None;
    for clause in clauses(message) {
        let own = read(&clause, today);
        // "Saturday and Sunday", unlike "tomorrow, it's Friday".
        let is_day_alone = own.words.len() == 1 || own.words.len() == 2 && own.words[0] == "on";
        let is_apart = last.as_ref().is_some_and(|last| {
            let days = own.when.as_ref().zip(last.when.as_ref());
            let is_other_day = days.is_some_and(|(own, last)| own.first != last.first);
            let is_other = has_occasion(&own) && has_occasion(last) && is_sport(&own) != is_sport(last);
            is_other_day && (has_occasion(&own) || is_day_alone) || is_other
        });
        match texts.last_mut().filter(|_| !is_apart) {
            Some(text) => *text = format!("{text} {clause}"),
            None => texts.push(clause),
        }
        last = texts.last().map(|text| read(text, today));
    }
    texts
}

/// Returns the sentences that ask for an outfit and for something else about other clothes: "What should I wear? Do I
/// need an umbrella?"
fn by_sentence(message: &str, whole: &Request, today: Date) -> Vec<String> {
    let is_to_dress = |ask: &Ask| OUTFITS.contains(ask);
    let is_question = |ask: &Ask| is_listed("kinds about pieces", ask) || matches!(*ask, "weather" | "care");
    let is_both = whole.asks.iter().any(&is_to_dress) && whole.asks.iter().any(&is_question);
    if !is_both || !whole.asks.iter().all(|ask| is_to_dress(ask) || is_question(ask)) {
        return Vec::new();
    }
    let mut texts: Vec<String> = Vec::new();
    let mut asked = None;
    for sentence in sentences(message) {
        let own = read(sentence, today);
        let asks = own.asks.first().map(is_to_dress);
        match texts.last_mut().filter(|_| asked.is_none() || asks.is_none() || asks == asked) {
            Some(text) => *text = format!("{text} {sentence}"),
            None => texts.push(sentence.to_owned()),
        }
        asked = asks.or(asked);
    }
    texts
}

fn has_occasion(request: &Request) -> bool {
    request.occasion.iter().any(|term| term.kind() == Kind::Occasion)
}

fn is_sport(request: &Request) -> bool {
    request.occasion.iter().any(|term| term.term().facts.sport)
}

/// Splits a message at "and", "then" and punctuation.
fn clauses(message: &str) -> Vec<String> {
    let mut clauses = vec![String::new()];
    for word in message.split_whitespace() {
        let is_joint = matches!(word.to_lowercase().as_str(), "and" | "then" | "plus");
        let clause = clauses.last_mut().expect("never empty");
        if is_joint && !clause.is_empty() {
            clauses.push(String::new());
        } else if !is_joint {
            if !clause.is_empty() {
                clause.push(' ');
            }
            clause.push_str(word);
            if word.ends_with([',', ';', '.', '?', '!']) {
                clauses.push(String::new());
            }
        }
    }
    clauses.retain(|clause| !clause.is_empty());
    clauses
}
