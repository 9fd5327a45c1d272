//! Wording of names, numbers and lists.

use std::fmt;

use crate::base::text::capitalised;
use crate::llm::offline::phrases::is_listed;
use crate::llm::offline::understand::Named;
use crate::model::garment::{is_plural, shown};
use crate::model::thesaurus::{self, Kind};
use crate::model::tool_results::Paid;
use crate::model::vocabulary;

/// Most words of a tool's text.
const MOST_WORDS: usize = 24;
/// Numbers that are written as words.
const NUMBERS: [&str; 13] =
    ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
/// First-person words and their second-person counterparts.
const SECOND_PERSON: &str =
    "i=you im=you're i'm=you're ive=you've i've=you've my=your me=you am=are dont=don't cant=can't";

impl Paid {
    /// The price of each wear.
    pub fn per_wear(&self, wears: u32) -> Self {
        Self { amount: self.amount / f64::from(wears.max(1)), currency: self.currency.clone() }
    }

    /// The price without cents.
    pub fn rounded(&self) -> Self {
        Self { amount: self.amount.round(), currency: self.currency.clone() }
    }
}

/// Formats the price for people.
impl fmt::Display for Paid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole = self.amount.fract().abs() < 0.005;
        let digits = if is_whole { format!("{:.0}", self.amount) } else { format!("{:.2}", self.amount) };
        let (whole, cents) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
        let mut number = String::new();
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                number.push(',');
            }
            number.push(digit);
        }
        match self.currency.as_str() {
            "EUR" => write!(formatter, "\u{20ac}{number}{cents}"),
            "USD" => write!(formatter, "${number}{cents}"),
            "GBP" => write!(formatter, "\u{a3}{number}{cents}"),
            other => write!(formatter, "{number}{cents} {}", shown(other)),
        }
    }
}

/// Returns a noun with its article if singular: "a coat", "jeans".
pub fn noun(noun: &str) -> String {
    if is_plural(noun) { noun.to_owned() } else { vocabulary::with_article(noun) }
}

/// Returns a tool's text on one line.
pub fn clean(text: &str) -> String {
    clean_to(text, MOST_WORDS)
}

/// Returns a text on one line, limited to a number of words, without URLs.
pub fn clean_to(text: &str, most_words: usize) -> String {
    text.split_whitespace().filter(|word| !word.contains("://")).take(most_words).collect::<Vec<_>>().join(" ")
}

/// Returns the noun for a count of what a question is about: of the named clothes, or pieces.
pub fn counted(about: Option<&Named>, count: u64) -> String {
    match about {
        Some(named) => collective(named, count),
        None if count == 1 => "piece".to_owned(),
        None => "pieces".to_owned(),
    }
}

/// Returns the noun for a count of the named clothes: "pairs of black shoes", "white shirts", "white shirt".
pub fn collective(named: &Named, count: u64) -> String {
    let Named { text, description, .. } = named;
    let last = text.rsplit(' ').next().unwrap_or_default();
    let unit = match description.garment {
        Some(_) if text.ends_with("wear") => Some("piece"),
        Some(kind) if is_listed("pairs", last) || kind.is("shoes") && is_plural(text) => Some("pair"),
        _ => None,
    };
    match unit {
        Some(unit) if count == 1 => format!("{unit} of {text}"),
        Some(unit) => format!("{unit}s of {text}"),
        None if count == 1 => singular(&several(named)),
        None => several(named),
    }
}

fn singular(text: &str) -> String {
    // The singular of "hoodies" is not "hoody"; that of "accessories" is "accessory".
    let is_word = |stem: &&str| stem.rsplit(' ').next().is_some_and(|word| thesaurus::lookup(word).is_some());
    text.strip_suffix('s')
        .filter(|stem| stem.ends_with("ie"))
        .filter(is_word)
        .map_or_else(|| vocabulary::fold_plural(text), str::to_owned)
}

/// Returns the plural of the named clothes: "black shoes", "white shirts".
pub fn several(named: &Named) -> String {
    let Named { text, description, .. } = named;
    if description.garment.is_none() {
        let is_maker = !description.words.is_empty();
        let capitals = text.split(' ').map(capitalised).collect::<Vec<_>>().join(" ");
        return format!("{} pieces", if is_maker { capitals } else { text.clone() });
    }
    let is_hissing = ["ss", "ch", "sh"].iter().any(|ending| text.ends_with(ending));
    match text {
        text if is_hissing => format!("{text}es"),
        text if text.ends_with('s') || text.ends_with("wear") => text.clone(),
        text => format!("{text}s"),
    }
}

/// Spells out a number if it is small.
pub fn spelled(count: u64) -> String {
    let word = usize::try_from(count).ok().and_then(|count| NUMBERS.get(count));
    word.map_or_else(|| count.to_string(), |word| (*word).to_owned())
}

/// Rewrites the user's words about themselves in the second person.
pub fn second_person(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let term = |word: &str| thesaurus::lookup(&word.to_lowercase());
    // "Carmina loafers": an unknown word right before a garment is a brand.
    let is_maker = |place: usize| {
        let word = words[place];
        term(word).is_none()
            && !vocabulary::is_stop_word(word)
            && word.len() > 3
            && words.len() <= 4
            && words.get(place + 1).and_then(|next| term(next)).is_some_and(|term| term.kind() == Kind::Garment)
    };
    let said = words.iter().enumerate().map(|(place, word)| {
        let is_brand = term(word).is_some_and(|term| term.kind() == Kind::Brand);
        let lower = word.to_lowercase();
        let mut pairs = SECOND_PERSON.split(' ').filter_map(|pair| pair.split_once('='));
        match pairs.find(|(first, _)| *first == lower) {
            Some((_, second)) => second.to_owned(),
            None if is_brand || is_maker(place) => capitalised(word),
            None => (*word).to_owned(),
        }
    });
    said.collect::<Vec<_>>().join(" ")
}

/// Joins names: "a", "a and b", "a, b and c".
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Returns each text once, in the order of the first.
pub fn distinct(texts: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for text in texts {
        if !once.contains(&text) {
            once.push(text);
        }
    }
    once
}

/// Formats lines with a dash before each.
pub fn bullets(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns pieces as the user's: "your navy coat".
pub fn yours<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Vec<String> {
    names.into_iter().map(|name| format!("your {}", clean(name.as_ref()))).collect()
}
