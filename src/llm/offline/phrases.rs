//! Phrases and word lists for understanding messages. They are in `phrases.txt`, which explains its format.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use crate::model::thesaurus;

/// Most words that `*` in a pattern matches.
const WIDEST_GAP: usize = 6;

/// A kind of question, by its name in `phrases.txt`.
pub type Ask = &'static str;

struct Phrases {
    /// Kinds of question with their patterns; the first match decides.
    kinds: Vec<(Ask, Vec<Pattern>)>,
    /// Patterns that modify the previous question.
    changes: HashMap<&'static str, Vec<Pattern>>,
    lists: HashMap<&'static str, HashSet<&'static str>>,
    /// Words of all patterns, as candidates for correcting misspelt words.
    triggers: Vec<&'static str>,
}

type Pattern = Vec<Slot>;

enum Slot {
    /// Exactly one of these words.
    One(Vec<&'static str>),
    /// Optionally one of these words.
    Maybe(Vec<&'static str>),
    /// Any word except these.
    Other(Vec<&'static str>),
    /// A few words of any kind.
    Gap,
}

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let (mut kinds, mut changes, mut lists) = (Vec::new(), HashMap::new(), HashMap::<_, HashSet<_>>::new());
    let lines = include_str!("phrases.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    for (name, text) in lines.filter_map(|line| line.split_once(':')) {
        match name.split_at(1) {
            ("=", name) => lists.entry(name).or_default().extend(text.split_whitespace()),
            ("~", name) => drop(changes.insert(name, patterns(text))),
            _ => kinds.push((name, patterns(text))),
        }
    }
    let mut triggers: BTreeSet<&'static str> = lists["triggers"].iter().copied().collect();
    for slot in kinds.iter().flat_map(|(_, patterns)| patterns).flatten() {
        if let Slot::One(choices) | Slot::Maybe(choices) = slot {
            triggers.extend(choices);
        }
    }
    Phrases { kinds, changes, lists, triggers: triggers.into_iter().collect() }
});

fn patterns(text: &'static str) -> Vec<Pattern> {
    let slot = |token: &'static str| {
        let choices = token.trim_start_matches(['?', '!']).split('|').collect();
        match token.as_bytes()[0] {
            b'*' => Slot::Gap,
            b'?' => Slot::Maybe(choices),
            b'!' => Slot::Other(choices),
            _ => Slot::One(choices),
        }
    };
    let texts = text.split(';').map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| text.split_whitespace().map(slot).collect()).collect()
}

/// Returns candidates for correcting misspelt words.
pub fn triggers() -> &'static [&'static str] {
    &PHRASES.triggers
}

/// Whether a pattern contains this word.
pub fn is_trigger(word: &str) -> bool {
    PHRASES.triggers.binary_search(&word).is_ok()
}

/// The words of a list.
pub fn list(name: &str) -> &'static HashSet<&'static str> {
    &PHRASES.lists[name]
}

/// Whether a list contains this word.
pub fn is_listed(name: &str, word: &str) -> bool {
    list(name).contains(word)
}

/// Returns the word that a short form stands for: "something" for "smth".
pub fn spelt_out(word: &str) -> Option<&'static str> {
    list("spelt out")
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .find(|(short, _)| *short == word)
        .map(|(_, long)| long)
}

/// Whether a word for clothes has another meaning next to these words: "what does this work with".
pub fn is_verb(word: &str, before: &str, after: &str) -> bool {
    let is_in = |place: &str, other: &str| {
        let list = PHRASES.lists.get(format!("{word} no garment {place}").as_str());
        list.is_some_and(|words| words.contains(other))
    };
    // "A dress for summer", unlike "dress for the weather".
    let is_noun = word == "dress" && matches!(before, "a" | "my" | "the" | "this" | "that");
    is_listed("never garments", word) || !is_noun && (is_in("after", before) || is_in("before", after))
}

/// Whether a message matches a pattern of this name.
pub fn is_said<W: AsRef<str>>(name: &str, words: &[W]) -> bool {
    has_one(&PHRASES.changes[name], words)
}

/// Whether words begin with a pattern of this name.
pub fn begins<W: AsRef<str>>(name: &str, words: &[W]) -> bool {
    PHRASES.changes[name].iter().any(|pattern| matches_here(pattern, words))
}

/// Returns the kind of question of a sentence or a part of one.
pub fn kind<W: AsRef<str>>(words: &[W], sentence: &str) -> Option<Ask> {
    let holds = |ask: Ask, patterns: &[Pattern]| may_be(ask, words, sentence) && has_one(patterns, words);
    PHRASES.kinds.iter().find(|(ask, patterns)| holds(ask, patterns)).map(|(ask, _)| *ask)
}

/// Whether a sentence can be a request of this kind.
fn may_be<W: AsRef<str>>(ask: Ask, words: &[W], sentence: &str) -> bool {
    let asks = || {
        let first = words.first().map_or("", AsRef::as_ref);
        sentence.trim_end().ends_with('?') || is_listed("question words", first) || is_listed("requests", first)
    };
    match ask {
        // Statements about oneself are not questions.
        "dislike" | "fact" | "remember" => !asks(),
        "wearing" => !asks() && !words.iter().any(|word| is_listed("wishes", word.as_ref())),
        // "I wore this yesterday, give me something else"
        "worn" => !words.iter().any(|word| is_listed("alternatives", word.as_ref())),
        "forget" => !has_one(&PHRASES.changes["not forgetting"], words),
        "like" => !asks() && words.iter().any(|word| thesaurus::lookup(word.as_ref()).is_some()),
        // "It's 30 degrees today"
        "weather" => asks() || !words.iter().any(|word| word.as_ref() == "degrees"),
        // "What should I wear for my boyfriend?"
        "others" => !words.windows(2).any(|pair| pair[0].as_ref() == "i" && pair[1].as_ref() == "wear"),
        "opinion" => !words.iter().any(|word| is_listed("open questions", word.as_ref())),
        _ => true,
    }
}

fn has_one<W: AsRef<str>>(patterns: &[Pattern], words: &[W]) -> bool {
    patterns.iter().any(|pattern| (0..words.len()).any(|start| matches_here(pattern, &words[start..])))
}

fn matches_here<W: AsRef<str>>(pattern: &[Slot], words: &[W]) -> bool {
    let Some((slot, rest)) = pattern.split_first() else { return true };
    let is_one = |choices: &[&str]| words.first().is_some_and(|word| choices.contains(&word.as_ref()));
    match slot {
        Slot::One(choices) => is_one(choices) && matches_here(rest, &words[1..]),
        Slot::Maybe(choices) => (is_one(choices) && matches_here(rest, &words[1..])) || matches_here(rest, words),
        Slot::Other(choices) => !words.is_empty() && !is_one(choices) && matches_here(rest, &words[1..]),
        Slot::Gap => (0..=WIDEST_GAP.min(words.len())).any(|width| matches_here(rest, &words[width..])),
    }
}
