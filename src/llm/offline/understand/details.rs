//! Details of a message: numbers, temperatures, places, language.

use crate::base::text::capitalised;
use crate::llm::offline::phrases::{self, is_listed};
use crate::llm::offline::time;
use crate::model::thesaurus::{self, Found, Kind as Word};
use crate::model::vocabulary;

/// Strips an introduction such as "please remember that".
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

/// Returns the index of the shown thing that a message refers to: 1 for "the second one" and for "option 2".
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

/// Returns the temperature in a message, in degrees Celsius: "8 degrees", "46F", "-5", "minus 5".
pub fn degrees(message: &str) -> Option<f64> {
    let lower = message.to_lowercase().replace('\u{b0}', " ").replace(['\u{2212}', '\u{2013}'], "-");
    let words: Vec<&str> = lower
        .split_whitespace()
        .map(|word| word.trim_end_matches(|letter: char| !letter.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .collect();
    let degrees = |place: usize| -> Option<f64> {
        let word = words[place].trim_start_matches('-');
        let is_minus = words[place].starts_with('-') || place > 0 && matches!(words[place - 1], "minus" | "negative");
        let end = word.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(word.len());
        let number: f64 = word[..end].parse().ok()?;
        // "-3 days"
        if words.get(place + 1).is_some_and(|next| matches!(*next, "day" | "days" | "night" | "nights")) {
            return None;
        }
        let unit = Some(&word[end..]).filter(|unit| !unit.is_empty()).or(words.get(place + 1).copied());
        let unit = unit.filter(|unit| unit.starts_with("deg") || matches!(*unit, "c" | "celsius" | "f" | "fahrenheit"));
        if unit.is_none() && !is_minus {
            return None;
        }
        let number = if is_minus { -number } else { number };
        let is_fahrenheit = words.iter().any(|word| matches!(*word, "f" | "fahrenheit")) || unit == Some("f");
        Some(if is_fahrenheit { (number - 32.0) / 1.8 } else { number })
    };
    (0..words.len()).find_map(degrees).filter(|celsius| (-60.0..=60.0).contains(celsius))
}

/// Returns the number of requested outfits.
pub fn outfits(words: &[String]) -> u16 {
    let Some(place) = words.iter().position(|word| is_listed("several outfits", word)) else { return 1 };
    let counts = words[place.saturating_sub(3)..place]
        .iter()
        .rev()
        .find_map(|word| time::number(word).filter(|count| *count > 1));
    counts.unwrap_or(0)
}

/// Returns the place in a message: "in Oslo", "to New York".
pub fn place(message: &str, words: &[String], found: &[Found]) -> Option<String> {
    let written: Vec<&str> = message
        .split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | '?' | '!' | ';' | '.'))
        .filter(|word| !word.is_empty())
        .collect();
    let is_trip = words.iter().any(|word| is_listed("words about trips", word));
    let is_known_term = |plain: &String| {
        found.iter().any(|found| words[found.start..found.end].contains(plain) && found.term.kind() != Word::Brand)
    };
    (0..written.len()).find_map(|place| {
        let before = written[place].to_lowercase();
        if !is_listed("before places", &before) {
            return None;
        }
        let mut name: Vec<String> = Vec::new();
        for next in written[place + 1..].iter().take(3) {
            let plain = vocabulary::words(next).join(" ");
            let is_known = vocabulary::is_stop_word(&plain)
                || time::number(&plain).is_some()
                || time::month(&plain).is_some()
                || phrases::is_trigger(&plain)
                || is_listed("no places", &plain)
                || is_known_term(&plain)
                || (matches!(before.as_str(), "from" | "about") && thesaurus::lookup(&plain).is_some());
            let begins_name = name.is_empty() && is_listed("first words of places", &plain);
            let ends_name = name.len() == 1 && is_listed("first words of places", &name[0].to_lowercase());
            let is_capital = next.starts_with(char::is_uppercase);
            let may_be_place = is_capital
                || ends_name
                || is_trip && name.is_empty() && !matches!(before.as_str(), "for" | "from" | "about" | "at");
            if is_known && !begins_name && !ends_name || !may_be_place {
                break;
            }
            name.push(if is_capital { (*next).to_owned() } else { capitalised(&plain) });
        }
        (!name.is_empty()).then(|| name.join(" "))
    })
}

/// Whether a message is in a language other than English.
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
