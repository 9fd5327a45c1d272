//! Details of a message: numbers, degrees, places, its language.

use crate::llm::offline::phrases::{self, is_listed};
use crate::llm::offline::time;
use crate::model::thesaurus::{self, Found, Kind as Word};
use crate::model::vocabulary;

/// What somebody says, without the words that introduce it: "please remember that".
pub fn without_lead(text: &str) -> &str {
    let mut rest = text.trim();
    loop {
        let word = rest.split_whitespace().next().unwrap_or_default();
        let plain = vocabulary::words(word).join(" ");
        if word.is_empty() || !(plain.is_empty() || is_listed("leads of facts", &plain)) {
            return rest.trim_end_matches(['.', '!', ' ']);
        }
        rest = rest[word.len()..].trim_start();
    }
}

/// Which of the things that were shown a message is about: 1 for "the second one" and for "option 2".
pub fn ordinal(words: &[String]) -> Option<usize> {
    let is_thing = |word: &str| is_listed("shown things", word);
    let place = |word: &str| {
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"].iter().position(|name| *name == word)
    };
    let ends = words.windows(2).find_map(|pair| match (place(&pair[0]), time::number(&pair[1])) {
        (Some(place), _) if is_thing(&pair[1]) => Some(place),
        (_, Some(number)) if is_thing(&pair[0]) && number > 0 => Some(usize::from(number) - 1),
        _ => None,
    });
    ends.or_else(|| words.last().and_then(|word| place(word)))
}

/// Degrees Celsius that a message names.
pub fn degrees(words: &[String], message: &str) -> Option<f64> {
    let is_fahrenheit =
        words.iter().any(|word| matches!(word.as_str(), "fahrenheit" | "f")) || message.contains("\u{b0}F");
    let place = words.iter().position(|word| {
        matches!(word.as_str(), "degrees" | "degree" | "celsius" | "fahrenheit" | "c") || word.ends_with("degrees")
    });
    let place = place.or_else(|| {
        words
            .iter()
            .position(|word| word.len() > 1 && word.ends_with('c') && word[..word.len() - 1].parse::<u8>().is_ok())
    });
    let sign_before = |place: usize| place > 0 && matches!(words[place - 1].as_str(), "minus" | "negative");
    let (number, is_minus) = match place {
        Some(place) if place > 0 && words[place - 1].parse::<f64>().is_ok() => (
            words[place - 1].parse().ok()?,
            sign_before(place - 1) || message.contains(&format!("-{}", words[place - 1])),
        ),
        Some(place) => {
            let digits: String = words[place].chars().take_while(char::is_ascii_digit).collect();
            (digits.parse::<f64>().ok()?, sign_before(place) || message.contains(&format!("-{digits}")))
        }
        None if bare_minus(message).is_some() => (bare_minus(message)?, true),
        None => {
            let place = words.iter().position(|word| word == "minus")?;
            (words.get(place + 1)?.parse::<f64>().ok()?, true)
        }
    };
    let number = if is_minus { -number } else { number };
    let celsius = if is_fahrenheit { (number - 32.0) / 1.8 } else { number };
    (-60.0..=60.0).contains(&celsius).then_some(celsius)
}

/// A number with a minus sign: "it's -5".
fn bare_minus(message: &str) -> Option<f64> {
    let is_digit = |letter: char| letter.is_ascii_digit();
    message
        .split_whitespace()
        .find_map(|word| word.strip_prefix('-')?.trim_end_matches(|letter| !is_digit(letter)).parse().ok())
}

/// How many outfits are asked for.
pub fn outfits(words: &[String]) -> u16 {
    let is_outfit = |word: &String| {
        matches!(
            word.as_str(),
            "outfits" | "looks" | "options" | "ideas" | "combinations" | "suggestions" | "alternatives" | "choices"
        )
    };
    let Some(place) = words.iter().position(is_outfit) else { return 1 };
    let counts = words[place.saturating_sub(3)..place]
        .iter()
        .rev()
        .find_map(|word| time::number(word).filter(|count| *count > 1));
    counts.unwrap_or(0).min(7)
}

/// The place that a message names: "in Oslo", "to New York".
pub fn place(message: &str, words: &[String], found: &[Found]) -> Option<String> {
    let written: Vec<&str> = message
        .split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | '?' | '!' | ';' | '.'))
        .filter(|word| !word.is_empty())
        .collect();
    let is_trip = words.iter().any(|word| is_listed("words about trips", word));
    for (index, word) in written.iter().enumerate() {
        let lower = word.to_lowercase();
        if !matches!(lower.as_str(), "in" | "to" | "for" | "visiting" | "at" | "around" | "near" | "from" | "about") {
            continue;
        }
        let mut name: Vec<String> = Vec::new();
        for next in written.iter().skip(index + 1).take(3) {
            let plain = vocabulary::words(next).join(" ");
            let is_capital = next.chars().next().is_some_and(char::is_uppercase);
            let is_known = vocabulary::is_stop_word(&plain)
                || time::number(&plain).is_some()
                || time::month(&plain).is_some()
                || phrases::is_trigger(&plain)
                || is_listed("no places", &plain)
                || found
                    .iter()
                    .any(|found| words[found.start..found.end].contains(&plain) && found.term.kind() != Word::Brand)
                || (lower == "from" && thesaurus::lookup(&plain).is_some());
            let begins_name = name.is_empty() && is_listed("first words of places", &plain);
            let ends_name = name.len() == 1 && is_listed("first words of places", &name[0].to_lowercase());
            let is_known = is_known && !begins_name && !ends_name;
            let may_be_place = is_capital
                || (is_trip && name.is_empty() && !matches!(lower.as_str(), "for" | "from" | "about" | "at"));
            if is_known || !(may_be_place || ends_name || !name.is_empty() && is_capital) {
                break;
            }
            let mut letters = plain.chars();
            let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
            name.push(if is_capital { (*next).to_owned() } else { first + letters.as_str() });
        }
        if !name.is_empty() {
            return Some(name.join(" "));
        }
    }
    None
}

/// Whether a message is in another language than English.
pub fn is_foreign(message: &str, words: &[String]) -> bool {
    let letters = message.chars().filter(|letter| letter.is_alphabetic()).count();
    let foreign_letters = message.chars().filter(|letter| letter.is_alphabetic() && u32::from(*letter) > 0x24f).count();
    if foreign_letters * 3 > letters {
        return true;
    }
    let plain = vocabulary::words(message);
    let foreign = plain.iter().filter(|word| is_listed("foreign", word)).count();
    let english = words.iter().filter(|word| vocabulary::is_stop_word(word) && !is_listed("foreign", word)).count();
    foreign >= 2 && foreign > english || (plain.len() <= 2 && foreign == plain.len() && foreign > 0 && english == 0)
}
