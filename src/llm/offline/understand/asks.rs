//! Finds the kinds of question in a message, and its clauses about clothes that cannot be worn.

use std::ops::Range;

use super::OUTFITS;
use super::clothes::{Token, tokens};
use super::details::without_lead;
use crate::base::text::sentences;
use crate::llm::offline::phrases::{self, Ask, is_listed};
use crate::model::thesaurus::{self, Found, Kind as Word};

/// Returns the kinds of question in a message, and its facts about the user.
pub fn asks(message: &str) -> (Vec<Ask>, Vec<String>) {
    let (mut asks, mut facts) = (Vec::new(), Vec::new());
    let mut before = "";
    for sentence in sentences(message) {
        for (mut ask, part) in asks_of(sentence, &tokens(sentence)) {
            if ask == "dislike" && is_conditional(part) {
                ask = "condition";
            }
            if matches!(ask, "fact" | "remember") {
                // "My feet are always cold. Keep that in mind": the previous sentence.
                let fact =
                    Some(without_lead(part)).filter(|fact| !fact.is_empty()).unwrap_or_else(|| without_lead(before));
                facts.push(fact.to_owned());
            }
            if !asks.contains(&ask) {
                asks.push(ask);
            }
        }
        before = sentence;
    }
    (asks, facts)
}

/// Returns the kinds of question in a sentence with their parts: one, or one for each half of "… and …".
fn asks_of<'a>(sentence: &'a str, words: &[Token]) -> Vec<(Ask, &'a str)> {
    let ask = |words: &[Token]| phrases::kind(words, sentence);
    // "My shirt is in the wash, what can I wear?": the rest of the sentence asks.
    let absent = clauses_about_absence(words);
    if !absent.is_empty() {
        let is_absent = |place: usize| absent.iter().any(|clause| clause.contains(&place));
        let rest: Vec<&str> =
            words.iter().enumerate().filter(|(place, _)| !is_absent(*place)).map(|(_, token)| token.as_ref()).collect();
        match phrases::kind(&rest, sentence) {
            Some(kind) if OUTFITS.contains(&kind) => return vec![(kind, sentence)],
            // "I've got coffee on my chinos" asks for help.
            None if rest.is_empty() && !sentence.ends_with('?') && !phrases::is_said("stained", words) => {
                return vec![("away", sentence)];
            }
            _ => {}
        }
    }
    let conjunction = |word: &'static str| {
        let middle = words.iter().position(|token| token.word == word)?;
        let (left, right) = sentence.split_once(&format!(" {word} "))?;
        Some((middle, left, right))
    };
    if let Some((middle, left, right)) = conjunction("and").or_else(|| conjunction("but")) {
        let halves = [ask(&words[..middle]), ask(&words[middle + 1..])];
        let is_own = |ask: Ask| !is_listed("kinds that stay whole", ask);
        if let [Some(one), Some(other)] = halves
            && one != other
            && (is_own(one) || one == "outfit")
            && is_own(other)
        {
            return vec![(one, left), (other, right)];
        }
    }
    ask(words).map(|ask| (ask, sentence)).into_iter().collect()
}

/// Returns the clauses that say of clothes that they cannot be worn now: "my coat is at the cleaners".
pub fn clauses_about_absence(tokens: &[Token]) -> Vec<Range<usize>> {
    let found = thesaurus::scan(tokens);
    let mut starts: Vec<usize> =
        (0..tokens.len()).filter(|place| *place == 0 || tokens[*place].begins_clause()).collect();
    starts.push(tokens.len());
    let clauses = starts.windows(2).map(|ends| ends[0]..ends[1]);
    let names_clothes = |clause: &Range<usize>| {
        found.iter().any(|found| clause.contains(&found.start) && found.term.kind() == Word::Garment)
    };
    let mut about: Vec<Range<usize>> = Vec::new();
    for clause in clauses {
        let first = tokens[clause.start].word.as_str();
        // "I can't wear my boots, they are wet"
        let goes_on = matches!(first, "they" | "theyre" | "it" | "its")
            && about.last().is_some_and(|last| last.end == clause.start);
        if phrases::is_said("away", &tokens[clause.clone()])
            && (names_clothes(&clause) || goes_on)
            && !is_listed("question words", first)
        {
            about.push(clause);
        }
    }
    about
}

/// Whether a dislike holds only under a condition: "no shorts in winter", "I don't like boots with dresses".
fn is_conditional(sentence: &str) -> bool {
    let tokens = tokens(sentence);
    let found = thesaurus::scan(&tokens);
    let is_after_preposition = |found: &&Found| {
        let before = &tokens[found.start.saturating_sub(2)..found.start];
        before.iter().any(|token| is_listed("conditions", &token.word))
    };
    found.iter().skip(1).filter(is_after_preposition).any(|found| match found.term.kind() {
        Word::Occasion | Word::Season | Word::Weather => true,
        Word::Garment => tokens[found.start.saturating_sub(2)..found.start]
            .iter()
            .any(|token| matches!(token.word.as_str(), "with" | "under" | "over")),
        _ => false,
    })
}
