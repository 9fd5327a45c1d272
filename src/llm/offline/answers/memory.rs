//! Requests to remember or forget something.

use serde_json::{Value, json};

use super::search::loose_query;
use super::wording::{clean, clean_to, list, second_person};
use crate::base::text::head;
use crate::llm::offline::errands::NOTHING_SAID;
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::turn::{Answer, Turn};
use crate::llm::offline::understand::Named;
use crate::model::conversation::PreferenceKind;
use crate::model::thesaurus::Kind;

/// Longest text to remember, in words and in characters, and longest recited memory, in words.
const MOST_WORDS: usize = 30;
const LONGEST_FACT: usize = 160;
const MOST_WORDS_TOLD: usize = 120;

/// Extracts what a message wants remembered, with its kind: several likes or dislikes, or one fact.
fn subject(turn: &Turn<'_>, ask: Ask) -> (PreferenceKind, Vec<String>) {
    let asked = &turn.asked;
    let texts = |named: &[Named]| -> Vec<String> { named.iter().map(|named| named.text.clone()).collect() };
    match ask {
        // "Remember that I hate wool" is a dislike.
        "dislike" | "remember" | "fact" if !asked.rejected.is_empty() => {
            (PreferenceKind::Dislike, asked.rejected.clone())
        }
        "dislike" => (PreferenceKind::Dislike, texts(&asked.named)),
        "like" => {
            let styles = asked.occasion.iter().filter(|term| term.kind() == Kind::Style);
            let styles = styles.map(|term| term.name().to_owned());
            (PreferenceKind::Like, texts(&asked.named).into_iter().chain(styles).collect())
        }
        _ => {
            let is_like = ask == "remember" && asked.says(&["love", "like", "prefer"]) && !asked.named.is_empty();
            let kind = if is_like { PreferenceKind::Like } else { PreferenceKind::Fact };
            let fact = asked.facts.first().map(|fact| clean_to(fact, MOST_WORDS));
            (kind, fact.into_iter().filter(|fact| !fact.is_empty()).collect())
        }
    }
}

pub fn remember(turn: &Turn<'_>, ask: Ask) -> Answer {
    let (kind, texts) = subject(turn, ask);
    if texts.is_empty() {
        return Ok(turn.say("remember what", &[]));
    }
    let kind = kind.name();
    let texts: Vec<String> = texts.iter().map(|text| head(text, LONGEST_FACT)).collect();
    for text in &texts {
        turn.call("remember_preference", json!({ "text": text, "kind": kind }))?;
    }
    let told: Vec<String> = texts.iter().map(|text| second_person(text)).collect();
    let mut text = turn.say(&format!("remember {kind}"), &[("what", &list(&told))]);
    if ask == "fact" && turn.asked.place.is_some() && turn.asked.says(&["live", "moved"]) {
        text += &format!(" {}", turn.say("remember city", &[]));
    }
    Ok(text)
}

/// Answers that a dislike under a condition cannot be kept.
pub fn condition(turn: &Turn<'_>) -> String {
    turn.say("condition", &[("what", &list(&turn.asked.rejected))])
}

pub fn forget(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let named: Vec<&str> =
        asked.named.iter().map(|named| &named.text).chain(&asked.rejected).map(String::as_str).collect();
    if asked.forgets_all && named.is_empty() {
        turn.call("forget_preference", json!({ "text": "", "everything": true }))?;
        return Ok(turn.say("forget everything", &[]));
    }
    let text = match asked.facts.first().filter(|_| named.is_empty()) {
        Some(fact) => clean_to(fact, MOST_WORDS),
        None if named.is_empty() => told(turn),
        None => named.join(" "),
    };
    if text.is_empty() {
        return Ok(turn.say("forget what", &[]));
    }
    let result: Value = turn.read("forget_preference", json!({ "text": text }))?;
    let gone = result["forgotten"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let gone: Vec<String> = gone.map(|text| second_person(&clean(text))).collect();
    Ok(match &gone[..] {
        [] => turn.say("forget nothing", &[("what", &clean(&text))]),
        gone => turn.say("forget", &[("what", &list(gone))]),
    })
}

/// Returns what a message without clothes wants forgotten: its words without those of the request.
fn told(turn: &Turn<'_>) -> String {
    let words = loose_query(turn);
    words
        .split(' ')
        .filter(|word| !matches!(*word, "forget" | "please" | "hate" | "dislike" | "like" | "love"))
        .collect::<Vec<_>>()
        .join(" ")
}

pub fn recall(turn: &Turn<'_>) -> String {
    let preferences = turn.preferences();
    let mut parts = Vec::new();
    for kind in [PreferenceKind::Like, PreferenceKind::Dislike, PreferenceKind::Fact] {
        let of_kind = preferences.iter().filter(|(of, _)| *of == kind);
        let texts: Vec<String> = of_kind.map(|(_, text)| second_person(&clean(text))).collect();
        if !texts.is_empty() {
            parts.push(turn.say(&format!("recall {}", kind.name()), &[("what", &list(&texts))]));
        }
    }
    let memory = turn.memory();
    if !memory.is_empty() && memory != NOTHING_SAID {
        parts.push(turn.say("recall memory", &[("what", &clean_to(memory, MOST_WORDS_TOLD))]));
    }
    if parts.is_empty() {
        return turn.say("recall nothing", &[]);
    }
    turn.say("recall", &[("what", &parts.join(" "))])
}
