//! Limits in a message: prices, numbers of pieces, numbers of wears.
//!
//! They are read first and taken out of the message, so that no other part of it is misunderstood: "no more than six
//! pieces" is no dislike, and "under 100" no layer under another.

use crate::llm::offline::time;
use crate::model::thesaurus::{self, Kind};
use crate::model::vocabulary;

/// Smallest number without a unit that is a price rather than a number of pieces.
const LEAST_PRICE: f64 = 15.0;
/// Smallest difference of prices.
const CENT: f64 = 0.01;

/// Comparisons: the words, whether they give the upper bound, and whether the number itself is outside.
const COMPARISONS: [(&str, bool, bool); 35] = [
    ("budget is", true, false),
    ("no room for", true, true),
    ("no space for", true, true),
    ("a budget of", true, false),
    ("budget of", true, false),
    ("no more than", true, false),
    ("not more than", true, false),
    ("not over", true, false),
    ("no less than", false, false),
    ("no fewer than", false, false),
    ("not less than", false, false),
    ("a maximum of", true, false),
    ("maximum of", true, false),
    ("a minimum of", false, false),
    ("minimum of", false, false),
    ("at most", true, false),
    ("at least", false, false),
    ("up to", true, false),
    ("less than", true, true),
    ("fewer than", true, true),
    ("cheaper than", true, true),
    ("lower than", true, true),
    ("more expensive than", false, true),
    ("dearer than", false, true),
    ("higher than", false, true),
    ("more than", false, true),
    ("maximum", true, false),
    ("max", true, false),
    ("minimum", false, false),
    ("under", true, true),
    ("below", true, true),
    ("above", false, true),
    ("over", false, true),
    ("only", true, false),
    ("just", true, false),
];
/// Comparisons that follow a number.
const AFTER: [(&str, bool, bool); 10] = [
    ("to spend", true, false),
    ("or less", true, false),
    ("or fewer", true, false),
    ("or cheaper", true, false),
    ("or under", true, false),
    ("or more", false, false),
    ("or over", false, false),
    ("at most", true, false),
    ("maximum", true, false),
    ("max", true, false),
];
/// Words for currencies.
const CURRENCIES: &str = "\u{20ac}=EUR eur=EUR euro=EUR euros=EUR $=USD usd=USD dollar=USD dollars=USD bucks=USD \
    \u{a3}=GBP gbp=GBP pound=GBP pounds=GBP quid=GBP chf=CHF franc=CHF francs=CHF jpy=JPY yen=JPY \u{a5}=JPY";
/// Words before a limit that make no sense without it.
const LEADS: [&str; 6] = ["for", "costing", "priced", "worth", "a", "of"];

/// A range of numbers with its ends.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// The least number.
    pub least: Option<f64>,
    /// The greatest number.
    pub most: Option<f64>,
}

impl Bounds {
    /// Whether it limits anything.
    pub fn is_given(self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    /// Whether a number is within.
    pub fn contain(self, number: f64) -> bool {
        self.least.is_none_or(|least| least <= number) && self.most.is_none_or(|most| number <= most)
    }

    fn set(&mut self, number: f64, is_upper: bool, is_strict: bool, step: f64) {
        let step = if is_strict { step } else { 0.0 };
        if is_upper {
            self.most = Some(number - step);
        } else {
            self.least = Some(number + step);
        }
    }
}

/// The limits of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Price of a piece.
    pub price: Bounds,
    /// Currency of the price, if the message names one.
    pub currency: Option<&'static str>,
    /// Number of wears of a piece.
    pub wears: Bounds,
    /// Number of pieces.
    pub pieces: Bounds,
    /// Words of limits that answers cannot apply: "no more than two colours".
    pub unknown: String,
    /// The words about price and wears, as the user said them: "under 100 euros".
    pub label: String,
}

impl Limits {
    /// Whether they limit which pieces are meant.
    pub fn are_of_pieces(&self) -> bool {
        self.price.is_given() || self.wears.is_given()
    }
}

/// The unit of a number in a message.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Money(Option<&'static str>),
    Wears,
    Pieces,
    /// A limit that answers cannot apply.
    Unknown,
    /// Days, degrees and the like, which are not limits in this sense.
    Other,
    None,
}

/// Takes the limits out of a message: returns the rest of it, and the limits.
pub fn take(message: &str) -> (String, Limits) {
    let written: Vec<&str> = message.split_whitespace().collect();
    let words: Vec<String> = written.iter().map(|word| plain(word)).collect();
    let is_about_money = words.iter().any(|word| {
        matches!(word.as_str(), "cost" | "costs" | "price" | "priced" | "paid" | "pay" | "spend" | "spent" | "budget")
            || word.starts_with("cheap")
            || word.starts_with("expensive")
    });
    let mut limits = Limits::default();
    let mut rest: Vec<&str> = Vec::new();
    let mut place = 0;
    while place < words.len() {
        let Some(found) = at(&words, place, is_about_money) else {
            rest.push(written[place]);
            place += 1;
            continue;
        };
        let said = written[place..found.end].join(" ").to_lowercase();
        let said = said.trim_end_matches(['.', ',', '?', '!']);
        // "A budget of 50 euros", "50 euros to spend".
        let budget = said.strip_suffix(" to spend").or_else(|| {
            said.split_once("budget of ").or_else(|| said.split_once("budget is ")).map(|(_, amount)| amount)
        });
        let said = budget.map_or_else(|| said.to_owned(), |amount| format!("up to {amount}"));
        let mut unknown = Bounds::default();
        let bounds = match found.unit {
            Unit::Unknown => {
                limits.unknown.clone_from(&said);
                &mut unknown
            }
            Unit::Money(currency) => {
                limits.currency = limits.currency.or(currency);
                &mut limits.price
            }
            Unit::Wears => &mut limits.wears,
            _ => &mut limits.pieces,
        };
        let step = if matches!(found.unit, Unit::Money(_)) { CENT } else { 1.0 };
        for (number, is_upper, is_strict) in found.ends {
            bounds.set(number, is_upper, is_strict, step);
        }
        while rest.last().is_some_and(|last| LEADS.contains(&plain(last).as_str())) {
            rest.pop();
        }
        if !matches!(found.unit, Unit::Pieces | Unit::Unknown) {
            let joint = if limits.label.is_empty() { "" } else { " and " };
            // "Shirts under 50 euros", but "shirts for less than 50 euros".
            let is_joined = ["under", "over", "below", "above", "between", "cheaper"].contains(&words[place].as_str());
            let lead = if is_joined || found.unit == Unit::Wears { "" } else { "for " };
            limits.label = format!("{}{joint}{lead}{said}", limits.label);
        }
        // What ended the sentence still ends it.
        if let Some(mark) = written[found.end - 1].chars().last().filter(|mark| ['.', ',', '?', '!'].contains(mark)) {
            rest.push(match mark {
                '.' => ".",
                ',' => ",",
                '!' => "!",
                _ => "?",
            });
        }
        place = found.end;
    }
    let mut text = String::new();
    for word in rest {
        if !text.is_empty() && !matches!(word, "." | "," | "!" | "?") {
            text.push(' ');
        }
        text += word;
    }
    (text, limits)
}

fn plain(word: &str) -> String {
    word.to_lowercase().trim_matches(['.', ',', '?', '!', ';', ':', '(', ')', '"']).to_owned()
}

/// A limit in a message.
struct Limit {
    /// Ends of the range: the number, whether it is the upper end, and whether the number itself is outside.
    ends: Vec<(f64, bool, bool)>,
    unit: Unit,
    /// Index of the word after it.
    end: usize,
}

/// Reads a limit that begins with this word.
fn at(words: &[String], start: usize, is_about_money: bool) -> Option<Limit> {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    if word(start) == "between" {
        let (first, _, next) = number(words, start + 1)?;
        let (last, unit, end) = number(words, next + 1).filter(|_| matches!(word(next), "and" | "to"))?;
        // "Between 3 and 7 January"
        if time::month(word(end)).is_some() {
            return None;
        }
        let unit = counted(unit, last, is_about_money)?;
        return Some(Limit { ends: vec![(first, false, false), (last, true, false)], unit, end });
    }
    let begins = |place: usize, phrase: &str| {
        let length = phrase.split(' ').count();
        phrase.split(' ').enumerate().all(|(index, part)| word(place + index) == part).then_some(length)
    };
    if let Some((length, is_upper, is_strict)) =
        COMPARISONS.iter().find_map(|(phrase, upper, strict)| Some((begins(start, phrase)?, *upper, *strict)))
    {
        let (amount, unit, end) = number(words, start + length)?;
        let is_bare = matches!(word(start), "only" | "just");
        // "Only 6 pieces" limits, "only 100" does not say what.
        if is_bare && !matches!(unit, Unit::Pieces | Unit::Wears) {
            return None;
        }
        let unit = counted(unit, amount, is_about_money)?;
        let ends = if is_bare && unit == Unit::Wears {
            vec![(amount, true, false), (amount, false, false)]
        } else {
            vec![(amount, is_upper, is_strict)]
        };
        return Some(Limit { ends, unit, end });
    }
    // "No second pair of shoes"
    if (word(start), word(start + 1)) == ("no", "second") {
        let of = if word(start + 2) == "pair" && word(start + 3) == "of" { 2 } else { 0 };
        let is_of_clothes = is_garment(word(start + 2 + of));
        return is_of_clothes.then_some(Limit {
            ends: vec![(1.0, true, false)],
            unit: Unit::Pieces,
            end: start + 2 + of,
        });
    }
    // "Worn once".
    if start > 0 && matches!(word(start), "once" | "twice") && matches!(word(start - 1), "worn" | "wore") {
        let (times, unit, end) = number(words, start)?;
        return Some(Limit { ends: vec![(times, true, false), (times, false, false)], unit, end });
    }
    let (amount, unit, end) = number(words, start)?;
    let (length, is_upper, is_strict) =
        AFTER.iter().find_map(|(phrase, upper, strict)| Some((begins(end, phrase)?, *upper, *strict)))?;
    let unit = counted(unit, amount, is_about_money)?;
    Some(Limit { ends: vec![(amount, is_upper, is_strict)], unit, end: end + length })
}

/// Returns what a number without a unit counts; `None` if it is no limit.
fn counted(unit: Unit, number: f64, is_about_money: bool) -> Option<Unit> {
    match unit {
        Unit::Other => None,
        Unit::None if is_about_money || number >= LEAST_PRICE => Some(Unit::Money(None)),
        Unit::None => Some(Unit::Pieces),
        unit => Some(unit),
    }
}

/// Reads a number with its unit; returns also the index of the word after them.
fn number(words: &[String], start: usize) -> Option<(f64, Unit, usize)> {
    let word = words.get(start)?;
    match word.as_str() {
        "once" => return Some((1.0, Unit::Wears, start + 1)),
        "twice" => return Some((2.0, Unit::Wears, start + 1)),
        _ => {}
    }
    let currency = |word: &str| {
        let mut names = CURRENCIES.split_whitespace().filter_map(|entry| entry.split_once('='));
        names.find(|(name, _)| *name == word).map(|(_, code)| code)
    };
    let digits = word.trim_matches(|letter: char| !letter.is_ascii_digit());
    let (before, after) = match word.find(digits) {
        Some(place) if !digits.is_empty() => (&word[..place], &word[place + digits.len()..]),
        _ => ("", ""),
    };
    let amount = if digits.is_empty() {
        f64::from(time::number(word).filter(|_| !matches!(word.as_str(), "a" | "an"))?)
    } else {
        digits.replace(',', "").parse().ok()?
    };
    if let Some(code) = currency(before).or_else(|| currency(after)) {
        return Some((amount, Unit::Money(Some(code)), start + 1));
    }
    if !before.is_empty() || !after.is_empty() {
        return None;
    }
    let next = words.get(start + 1).map_or("", String::as_str);
    if let Some(code) = currency(next) {
        return Some((amount, Unit::Money(Some(code)), start + 2));
    }
    Some(match next {
        "times" | "wears" | "wearings" => (amount, Unit::Wears, start + 2),
        "pair" | "pairs" => {
            let of = usize::from(words.get(start + 2).is_some_and(|word| word == "of"));
            (amount, Unit::Pieces, start + 2 + of)
        }
        "colours" | "colors" | "brands" | "layers" => (amount, Unit::Unknown, start + 2),
        "items" | "item" | "pieces" | "piece" | "things" | "garments" | "clothes" => (amount, Unit::Pieces, start + 2),
        "degrees" | "c" | "f" | "celsius" | "fahrenheit" | "day" | "days" | "week" | "weeks" | "month" | "months"
        | "year" | "years" | "hours" | "minutes" | "outfits" | "looks" | "kg" | "kilos" | "percent" | "nights" => {
            (amount, Unit::Other, start + 1)
        }
        // "More than five shirts": the shirts stay in the message.
        next if is_garment(next) || words.get(start + 2).is_some_and(|word| is_garment(word)) => {
            (amount, Unit::Pieces, start + 1)
        }
        _ => (amount, Unit::None, start + 1),
    })
}

fn is_garment(word: &str) -> bool {
    let words = vocabulary::words(word);
    words.len() == 1 && thesaurus::lookup(&words[0]).is_some_and(|term| term.kind() == Kind::Garment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_taken_out_of_a_message() {
        let price = |least, most| Limits { price: Bounds { least, most }, ..Limits::default() };
        let pieces = |least, most| Limits { pieces: Bounds { least, most }, ..Limits::default() };
        let wears = |least, most| Limits { wears: Bounds { least, most }, ..Limits::default() };
        for (message, rest, expected) in [
            ("show me my shoes under 100 euros", "show me my shoes", price(None, Some(99.99))),
            ("list everything I own under \u{20ac}50", "list everything I own", price(None, Some(49.99))),
            ("which bags cost more than 1,200?", "which bags cost?", price(Some(1200.01), None)),
            ("shirts between 50 and 80 euros", "shirts", price(Some(50.0), Some(80.0))),
            ("a coat for $200 or less", "a coat", price(None, Some(200.0))),
            ("pack for Paris, no more than 6 items", "pack for Paris,", pieces(None, Some(6.0))),
            ("pack for Paris, max six pieces please", "pack for Paris, please", pieces(None, Some(6.0))),
            ("do I have more than five black shirts?", "do I have black shirts?", pieces(Some(6.0), None)),
            ("what have I worn less than 3 times?", "what have I worn?", wears(None, Some(2.0))),
            ("what did I wear only once", "what did I wear", wears(Some(1.0), Some(1.0))),
            ("do I have more than 5 pairs of jeans?", "do I have jeans?", pieces(Some(6.0), None)),
            ("pieces I have worn twice", "pieces I have worn", wears(Some(2.0), Some(2.0))),
        ] {
            let (text, limits) = take(message);
            let limits = Limits { currency: None, label: String::new(), ..limits };
            assert_eq!((text.as_str(), limits), (rest, expected), "{message}");
        }
        for message in [
            "no more jeans please",
            "a knit under my coat",
            "It's over",
            "below 5 degrees",
            "more than just a shirt",
            "up to now",
            "at least it's dry",
            "Paris in 5 days",
        ] {
            assert_eq!(take(message), (message.to_owned(), Limits::default()), "{message}");
        }
        assert_eq!(take("bags under $90.").1.currency, Some("USD"));
        assert_eq!(take("bags under $90.").1.label, "under $90");
        assert_eq!(take("bags that cost less than $90").1.label, "for less than $90");
        assert_eq!(take("no more than two colours, please").1.unknown, "no more than two colours");
    }
}
