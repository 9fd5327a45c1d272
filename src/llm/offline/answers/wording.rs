//! Names, numbers and lists in words.

use super::search::{Item, Price};
use crate::llm::offline::phrases::is_listed;
use crate::llm::offline::understand::Named;
use crate::model::garment::{is_plural, shown};
use crate::model::thesaurus;
use crate::model::thesaurus::{Kind, TermId};
use crate::model::vocabulary;

pub fn article(text: &str) -> &'static str {
    if text.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" }
}

/// An occasion as one speaks of it.
pub fn with_article(occasion: TermId) -> String {
    let name = occasion.name();
    match name {
        "home" => "a day at home".to_owned(),
        name if is_listed("occasions without article", &name.replace(' ', "-")) => name.to_owned(),
        name if is_listed("occasions with the", name) => format!("the {name}"),
        name => format!("{} {name}", article(name)),
    }
}

/// Text of a tool on one line.
pub fn clean(text: &str) -> String {
    text.split_whitespace().filter(|word| !word.contains("://")).take(24).collect::<Vec<_>>().join(" ")
}

/// Several of what was named: "pairs of black shoes", "white shirts".
pub fn collective(named: &Named, count: u64) -> String {
    let text = &named.text;
    match named.description.garment {
        None => {
            let makers = if named.description.words.is_empty() { text.clone() } else { capital(text) };
            format!("{makers} {}", if count == 1 { "piece" } else { "pieces" })
        }
        Some(_) if text.ends_with("wear") => format!("{} of {text}", if count == 1 { "piece" } else { "pieces" }),
        Some(kind) if (kind.is("shoes") && is_plural(text)) || is_pair(text) => {
            format!("{} of {text}", if count == 1 { "pair" } else { "pairs" })
        }
        Some(_) if count == 1 && text.ends_with('s') && !text.ends_with("ss") && !is_pair(text) => {
            text.trim_end_matches('s').to_owned()
        }
        Some(_)
            if count == 1
                || text.ends_with('s') && !text.ends_with("ss")
                || text.ends_with("wear")
                || text.ends_with("knitwear") =>
        {
            text.clone()
        }
        Some(_) if text.ends_with("ss") || text.ends_with("ch") || text.ends_with("sh") => format!("{text}es"),
        Some(_) => format!("{text}s"),
    }
}

/// Several of what was named, without counting them: "black shoes", "white shirts".
pub fn several(named: &Named) -> String {
    let text = collective(named, 2);
    let counted = text.split_once(" of ").filter(|(unit, _)| matches!(*unit, "pairs" | "pieces"));
    counted.map_or_else(|| text.clone(), |(_, text)| text.to_owned())
}

fn is_pair(text: &str) -> bool {
    is_listed("pairs", text.rsplit(' ').next().unwrap_or_default())
}

fn capital(text: &str) -> String {
    text.split(' ').map(sentence_case).collect::<Vec<_>>().join(" ")
}

pub fn spelled(count: u64) -> String {
    let words =
        ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    usize::try_from(count)
        .ok()
        .and_then(|count| words.get(count))
        .map_or_else(|| count.to_string(), |word| (*word).to_owned())
}

pub fn bullets(items: &[Item]) -> String {
    items.iter().map(|item| format!("- your {}", item.name())).collect::<Vec<_>>().join("\n")
}

pub fn money(price: &Price) -> String {
    amount(price.amount, &price.currency)
}

pub fn amount(amount: f64, currency: &str) -> String {
    let digits =
        if amount.fract().abs() < 0.005 && amount < 10_000.0 { format!("{amount:.0}") } else { format!("{amount:.2}") };
    let (whole, cents) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, cents)| (whole, Some(cents)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && whole.len() > 3 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let number = cents.map_or_else(|| grouped.clone(), |cents| format!("{grouped}.{cents}"));
    match currency {
        "EUR" => format!("\u{20ac}{number}"),
        "USD" => format!("${number}"),
        "GBP" => format!("\u{a3}{number}"),
        other => format!("{number} {}", shown(other)),
    }
}

pub fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

pub fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
}

/// What the user says of themselves, said to them.
pub fn second_person(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    // "Carmina loafers": a word that nobody knows, right before a garment.
    let is_name = |pair: &[&str]| {
        thesaurus::lookup(pair[0]).is_none()
            && !vocabulary::is_stop_word(pair[0])
            && pair[0].len() > 3
            && thesaurus::lookup(pair[1]).is_some_and(|term| term.kind() == Kind::Garment)
            && words.len() <= 4
    };
    let names: Vec<&str> = words.windows(2).filter(|pair| is_name(pair)).map(|pair| pair[0]).collect();
    let word = |word: &str| match word.to_lowercase().as_str() {
        "i" => "you".to_owned(),
        "im" | "i'm" => "you're".to_owned(),
        "ive" | "i've" => "you've".to_owned(),
        "my" => "your".to_owned(),
        "me" => "you".to_owned(),
        "am" => "are".to_owned(),
        "dont" => "don't".to_owned(),
        "cant" => "can't".to_owned(),
        // What the thesaurus does not know, or knows as one, is a maker.
        lower if names.contains(&lower) || thesaurus::lookup(lower).is_some_and(|term| term.kind() == Kind::Brand) => {
            capital(word)
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// "a", "a and b", "a, b and c".
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
