//! What the user wants remembered or forgotten.

use serde_json::Value;
use serde_json::json;

use super::search::loose_query;
use super::wording::{clean, list, second_person};
use crate::llm::offline::phrases::Ask;
use crate::llm::offline::turn::{Answer, Turn};
use crate::model::conversation::PreferenceKind;
use crate::model::thesaurus::Kind;

/// Longest text that is asked to be remembered, in characters.
const LONGEST_FACT: usize = 160;

/// What a message wants remembered, in a few words.
fn subject(turn: &Turn<'_>, ask: Ask) -> Option<String> {
    let asked = &turn.asked;
    if ask == "dislike" {
        let rejected: Vec<String> = asked.rejected.clone();
        if !rejected.is_empty() {
            return Some(rejected.join(", "));
        }
        let named: Vec<String> = asked.named.iter().map(|named| named.text.clone()).collect();
        return (!named.is_empty()).then(|| named.join(", "));
    }
    if ask == "like" {
        let named: Vec<String> = asked.named.iter().map(|named| named.text.clone()).collect();
        let styles = asked.occasion.iter().filter(|term| term.kind() == Kind::Style).map(|term| term.name().to_owned());
        let all: Vec<String> = named.into_iter().chain(styles).collect();
        return (!all.is_empty()).then(|| all.join(", "));
    }
    let fact = asked.facts.first().map(|fact| fact.split_whitespace().take(30).collect::<Vec<_>>().join(" "));
    fact.filter(|fact| !fact.is_empty())
}

pub fn remember(turn: &Turn<'_>, ask: Ask) -> Answer {
    let Some(text) = subject(turn, ask) else {
        return Ok("What exactly? Name a colour, a garment or a brand, and I'll remember it.".to_owned());
    };
    let kind = match ask {
        "dislike" => "dislike",
        "like" => "like",
        // "Remember that I hate wool": of its kind.
        "remember" if !turn.asked.rejected.is_empty() => "dislike",
        "remember" if turn.asked.says(&["love", "like", "prefer"]) && !turn.asked.named.is_empty() => "like",
        _ => "fact",
    };
    let text = if kind == "dislike" && ask != "dislike" { turn.asked.rejected.join(", ") } else { text };
    let text = text.chars().take(LONGEST_FACT).collect::<String>();
    for part in if kind == "fact" { vec![text.as_str()] } else { text.split(", ").collect() } {
        turn.call("remember_preference", json!({ "text": part, "kind": kind }))?;
    }
    let told = list(&second_person(&text).split(", ").map(str::to_owned).collect::<Vec<_>>());
    Ok(match kind {
        "dislike" => match turn.pick(&["noted", "leave", "wont"]) {
            "noted" => format!("Noted: no more {told}. I'll leave that out from now on."),
            "leave" => format!("All right, I'll leave out {told} from now on, and remember it."),
            _ => format!("Understood. I won't suggest {told} again."),
        },
        "like" => format!("{} I'll remember that you like {told}.", turn.pick(&["Good to know.", "Noted.", "Lovely."])),
        _ => format!("{} I'll remember: {told}.", turn.pick(&["Noted.", "All right.", "Good to know."])),
    })
}

pub fn forget(turn: &Turn<'_>) -> Answer {
    let asked = &turn.asked;
    let named: Vec<String> =
        asked.named.iter().map(|named| named.text.clone()).chain(asked.rejected.iter().cloned()).collect();
    let text = if named.is_empty() { loose_query(turn) } else { named.join(" ") };
    if text.is_empty() {
        return Ok("What should I forget? Name it, or edit what I remember in the app.".to_owned());
    }
    let result: Value = turn.read("forget_preference", json!({ "text": text }))?;
    let gone: Vec<String> = result["forgotten"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| second_person(&clean(text)))
        .collect();
    Ok(if gone.is_empty() {
        format!("I had nothing noted about that ({}).", clean(&text))
    } else {
        format!("Forgotten: {}.", list(&gone))
    })
}

pub fn recall(turn: &Turn<'_>) -> String {
    let preferences = turn.preferences();
    let of = |wanted: PreferenceKind| -> Vec<String> {
        preferences.iter().filter(|(kind, _)| *kind == wanted).map(|(_, text)| second_person(&clean(text))).collect()
    };
    let (likes, dislikes, facts) = (of(PreferenceKind::Like), of(PreferenceKind::Dislike), of(PreferenceKind::Fact));
    let mut parts = Vec::new();
    if !likes.is_empty() {
        parts.push(format!("You like {}.", list(&likes)));
    }
    if !dislikes.is_empty() {
        parts.push(format!("You don't want {}.", list(&dislikes)));
    }
    if !facts.is_empty() {
        parts.push(format!("And: {}.", list(&facts)));
    }
    let memory = turn.memory();
    if !memory.is_empty() && memory != crate::llm::offline::errands::NOTHING_SAID {
        parts.push(format!("From earlier conversations: {}", clean_long(memory)));
    }
    if parts.is_empty() {
        return "Nothing yet. Tell me what you like or never want to wear, as in \"never suggest brown shoes\", and I'll remember it.".to_owned();
    }
    format!("{} You can change all of it in the app.", parts.join(" "))
}

fn clean_long(text: &str) -> String {
    text.split_whitespace().filter(|word| !word.contains("://")).take(120).collect::<Vec<_>>().join(" ")
}
