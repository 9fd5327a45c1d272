//! Tokenizes a message, and finds the clothes that it names and rejects.

use super::Named;
use crate::llm::offline::phrases::{self, is_listed};
use crate::llm::offline::time;
use crate::model::garment::Description;
use crate::model::thesaurus::{self, Found, Kind as Word};
use crate::model::vocabulary;

/// Most words between a "not" and the rejected clothes.
const REACH_OF_NOT: usize = 5;

/// A word of a message.
pub struct Token {
    /// In lower case, corrected.
    pub word: String,
    /// The original word.
    written: String,
    /// Whether punctuation stands before it.
    is_after_break: bool,
}

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.word
    }
}

impl Token {
    /// Whether a new clause may begin with it.
    pub fn begins_clause(&self) -> bool {
        self.is_after_break || matches!(self.word.as_str(), "so" | "but")
    }
}

fn words_of(tokens: &[Token]) -> String {
    tokens.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ").replace("t shirt", "T-shirt")
}

pub fn tokens(message: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut is_after_break = true;
    for part in message.split_whitespace() {
        for (place, piece) in part.split(['-', '/']).enumerate() {
            let written = piece.trim_matches(|letter: char| !letter.is_alphanumeric());
            let ends = piece.ends_with([',', '.', '!', '?', ';', ':', ')']);
            for word in vocabulary::words(written) {
                let word = phrases::spelt_out(&word).map_or(word, str::to_owned);
                let is_name = written.chars().next().is_some_and(char::is_uppercase) && !is_after_break;
                let corrected = if is_name { None } else { thesaurus::correct(&word, phrases::triggers()) };
                let word = corrected.map_or(word, str::to_owned);
                tokens.push(Token { word, written: written.to_owned(), is_after_break: is_after_break && place == 0 });
                is_after_break = false;
            }
            is_after_break |= ends;
        }
    }
    tokens
}

/// Drops words that are garments in other contexts, but verbs or something else here.
pub fn without_verbs(mut found: Vec<Found>, words: &[String]) -> Vec<Found> {
    let word = |place: usize| words.get(place).map_or("", String::as_str);
    found.retain(|found| {
        if found.end - found.start != 1 {
            return true;
        }
        let before = if found.start > 0 { word(found.start - 1) } else { "" };
        let after = word(found.end);
        let this = word(found.start);
        !phrases::is_verb(this, before, after) && (this != "top" || time::number(after).is_none())
    });
    found
}

/// Returns the clothes that a message names, and those that it rejects.
pub fn clothes(tokens: &[Token], found: &[Found]) -> (Vec<Named>, Vec<String>, bool) {
    let describes = |kind| matches!(kind, Word::Garment | Word::Colour | Word::Material | Word::Feature | Word::Brand);
    let (mut all, mut rejected, mut rejects_shown) = (Vec::new(), Vec::new(), false);
    let mut index = 0;
    while let Some(first) = found.get(index) {
        let is_bare_style = first.term.kind() == Word::Style
            && found.get(index + 1).is_some_and(|next| next.start == first.end && next.term.kind() == Word::Garment);
        if !describes(first.term.kind()) && !is_bare_style {
            index += 1;
            continue;
        }
        // A phrase: "light blue linen shirt", "black and white striped tee".
        let (mut start, mut end) = (first.start, first.end);
        let mut last = index;
        while let Some(next) = found.get(last + 1) {
            let gap = &tokens[end..next.start];
            let are_colours = [found[last], *next].iter().all(|found| found.term.kind() == Word::Colour);
            let joins = match gap {
                [] => true,
                [one] => matches!(one.word.as_str(), "and" | "or") && are_colours || is_name(one),
                _ => false,
            };
            let is_whole = found[last].term.kind() == Word::Garment;
            if !joins || is_whole || !describes(next.term.kind()) || tokens[next.start].is_after_break {
                break;
            }
            end = next.end;
            last += 1;
        }
        // An unknown brand right before: "my Carmina loafers".
        if start > 0 && is_name(&tokens[start - 1]) && !tokens[start].is_after_break {
            start -= 1;
        }
        // "A coat from Arket".
        let brand = found.get(last + 1).filter(|next| next.start == end + 1 && next.term.kind() == Word::Brand);
        if let Some(brand) = brand.filter(|_| matches!(tokens[end].word.as_str(), "from" | "by")) {
            end = brand.end;
            last += 1;
        }
        let text = words_of(&tokens[start..end]);
        let mut description = Description::of(&text);
        let makers = tokens[start..end].iter().filter(|token| is_name(token)).map(|token| &token.word);
        let makers: Vec<String> = makers.filter(|maker| !description.words.contains(maker)).cloned().collect();
        description.words.extend(makers);
        let before = if start > 0 { tokens[start - 1].word.as_str() } else { "" };
        // "My white shirt and grey trousers"
        let goes_on =
            before == "and" && all.last().is_some_and(|last: &Named| last.is_claimed && last.end + 1 == start);
        let is_claimed = is_listed("claims", before)
            || goes_on
            || is_listed("claimed qualities", before) && tokens[start.saturating_sub(2)].word == "my";
        let named = Named { text, description, is_claimed, start, end };
        if is_rejected(tokens, start, end) {
            rejects_shown |= named.is_claimed;
            rejected.push(without(&named, before));
        } else {
            all.push(named);
        }
        index = last + 1;
    }
    (all, rejected, rejects_shown)
}

/// Returns the rejected description: "without a jacket" also rejects coats.
fn without(named: &Named, before: &str) -> String {
    let is_any = matches!(before, "a" | "any" | "without" | "no") && named.description.colours.is_empty();
    let is_outer = named.description.garment.is_some_and(|kind| matches!(kind.name(), "jacket" | "coat"));
    if is_any && is_outer { "outerwear".to_owned() } else { named.text.clone() }
}

/// Whether a word looks like a brand: capitalised and unknown.
fn is_name(token: &Token) -> bool {
    token.written.chars().next().is_some_and(char::is_uppercase)
        && !token.is_after_break
        && thesaurus::lookup(&token.word).is_none()
        && !vocabulary::is_stop_word(&token.word)
        && time::month(&token.word).is_none()
        && !phrases::is_trigger(&token.word)
        && token.word.len() > 2
}

/// Whether words before or after these clothes reject them.
pub fn is_rejected(tokens: &[Token], start: usize, end: usize) -> bool {
    let word = |place: usize| tokens.get(place).map_or("", |token| token.word.as_str());
    for place in (start.saturating_sub(REACH_OF_NOT)..start).rev() {
        // "No, other shoes"
        if tokens[place + 1].is_after_break {
            break;
        }
        let before = if place > 0 { word(place - 1) } else { "" };
        // "I don't have", "I never wear".
        let states = tokens[place + 1..start].iter().any(|token| is_listed("states", &token.word));
        let denies = is_listed("denials", word(place)) && (!states || before == "i" && word(place + 1) == "wear");
        if denies || phrases::begins("negation", &tokens[place..end]) {
            return true;
        }
        let ends_reach = match word(place) {
            "but" => !matches!(before, "anything" | "everything"),
            "with" | "in" => before != "nothing",
            _ => false,
        };
        if ends_reach {
            return false;
        }
    }
    // "Loafers are not my thing", "the loafers look awful", "the shoes are too formal".
    phrases::begins("complaint", &tokens[end..]) && !is_listed("plain questions", word(0))
}

/// Parses a description as named clothes.
pub fn named(text: &str) -> Named {
    let mut description = Description::of(text);
    for word in text.split_whitespace().filter(|word| word.chars().next().is_some_and(char::is_uppercase)) {
        let word = word.to_lowercase();
        if thesaurus::lookup(&word).is_none() {
            description.words.push(word);
        }
    }
    Named { text: text.to_owned(), description, is_claimed: true, start: 0, end: 0 }
}
