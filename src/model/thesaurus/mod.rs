//! The thesaurus of clothing: garments, colours, materials, styles, occasions and weather, with the words that mean
//! them. The words are in `words.txt`, which explains its columns. Texts are scanned for terms, longest first, so that
//! a rain jacket is neither rain nor just a jacket. Misspelt words are corrected to terms, except ordinary English
//! words that resemble one, which `english.txt` lists.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use super::vocabulary::{self, fold_plural};

/// Words of the longest term.
const LONGEST_TERM: usize = 4;
/// Words shorter than this are corrected for swapped letters only.
const SHORTEST_CORRECTED: usize = 5;
/// Most letter changes between a misspelt word and its correction.
const MOST_CHANGES: usize = 2;

/// Kind of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A piece of clothing, or a group of them.
    Garment,
    /// A colour.
    Colour,
    /// A material, such as wool.
    Material,
    /// A cut, pattern or other feature.
    Feature,
    /// A way to dress.
    Style,
    /// Something to dress for.
    Occasion,
    /// A kind of weather.
    Weather,
    /// A part of the year.
    Season,
    /// A maker.
    Brand,
}

/// Identifies a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(u16);

/// Facts about a term.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Facts {
    /// Range of formality, from 0 (sport) to 5 (black tie).
    pub formality: Option<(u8, u8)>,
    /// Warmth, from 0 (only in the heat) to 3 (only in the cold).
    pub warmth: Option<u8>,
    /// Temperature of a season or weather, in degrees Celsius.
    pub celsius: Option<f64>,
    /// Whether it keeps the rain out.
    pub waterproof: bool,
    /// Whether rain ruins it.
    pub spoils: bool,
    /// Whether it is worn over something else.
    pub layer: bool,
    /// Whether it is for sport.
    pub sport: bool,
    /// Whether it is swimwear.
    pub swim: bool,
    /// Whether the colour goes with every other.
    pub neutral: bool,
    /// Whether the weather is wet.
    pub wet: bool,
    /// Whether an occasion is named without an article.
    pub bare: bool,
    /// Whether an occasion is named with "the".
    pub definite: bool,
}

/// A term.
#[derive(Debug)]
pub struct Term {
    /// The preferred word for it.
    pub name: &'static str,
    /// Kind of the term.
    pub kind: Kind,
    /// Facts about the term.
    pub facts: Facts,
    /// Itself and all broader terms.
    broader: BTreeSet<TermId>,
    /// Words that fitting clothes carry.
    calls_for: Vec<&'static str>,
}

impl TermId {
    /// The term.
    pub fn term(self) -> &'static Term {
        &THESAURUS.terms[usize::from(self.0)]
    }

    /// Returns the preferred word for the term.
    pub fn name(self) -> &'static str {
        self.term().name
    }

    /// Returns the kind of the term.
    pub fn kind(self) -> Kind {
        self.term().kind
    }

    /// Returns an occasion with its article: "a wedding", "the office", "dinner".
    pub fn with_article(self) -> String {
        match self.term() {
            Term { name: "home", .. } => "a day at home".to_owned(),
            Term { name, facts, .. } if facts.bare => (*name).to_owned(),
            Term { name, facts, .. } if facts.definite => format!("the {name}"),
            Term { name, .. } => vocabulary::with_article(name),
        }
    }

    /// Whether it is `other`, or a kind of it.
    pub fn is_a(self, other: Self) -> bool {
        self.term().broader.contains(&other)
    }

    /// Itself and all broader terms.
    pub fn with_broader(self) -> impl Iterator<Item = Self> {
        self.term().broader.iter().copied()
    }

    /// Words that fitting clothes carry.
    pub fn called_for(self) -> impl Iterator<Item = &'static str> {
        self.term().calls_for.iter().copied()
    }

    /// Whether it is the term of this name, or a kind of it.
    pub fn is(self, name: &str) -> bool {
        self.with_broader().any(|term| term.name() == name)
    }

    /// Returns the broadest group of the garment, such as shoes.
    pub fn group(self) -> Self {
        let is_root = |term: &Self| term.term().broader.len() == 1;
        self.with_broader().find(is_root).unwrap_or(self)
    }
}

/// A term in a text, and the position of its words: from `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The term.
    pub term: TermId,
    /// Place of its first word.
    pub start: usize,
    /// Place after its last word.
    pub end: usize,
}

struct Thesaurus {
    terms: Vec<Term>,
    /// Terms by their words, as written and with plurals folded.
    index: HashMap<String, TermId>,
    /// Single words that misspelt words are corrected to.
    correct: Vec<&'static str>,
    /// Ordinary English words that resemble one of those.
    english: HashSet<&'static str>,
}

static THESAURUS: LazyLock<Thesaurus> =
    LazyLock::new(|| Thesaurus::read(include_str!("words.txt"), include_str!("english.txt")));

impl Thesaurus {
    fn read(words: &'static str, english: &'static str) -> Self {
        let mut terms: Vec<Term> = Vec::new();
        let mut names: HashMap<&str, TermId> = HashMap::new();
        let mut spellings: Vec<(&str, TermId)> = Vec::new();
        for line in words.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let mut columns = line.split('|').map(str::trim);
            let mut column = || columns.next().unwrap_or_default();
            let (kind, name, broader, facts, also, calls_for) =
                (column(), column(), column(), column(), column(), column());
            let id = TermId(u16::try_from(terms.len()).expect("a few hundred terms"));
            let list = |text: &'static str| text.split(',').map(str::trim).filter(|word| !word.is_empty());
            let mut all: BTreeSet<TermId> = BTreeSet::from([id]);
            for parent in list(broader) {
                let parent = names.get(parent).expect("a broader term stands above");
                all.extend(&terms[usize::from(parent.0)].broader);
            }
            let kind = kind_of(kind).expect("a known kind of term");
            terms.push(Term {
                name,
                kind,
                facts: read_facts(facts),
                broader: all,
                calls_for: list(calls_for).collect(),
            });
            names.insert(name, id);
            spellings.extend([name].into_iter().chain(list(also)).map(|spelling| (spelling, id)));
        }
        let mut index = HashMap::new();
        for (spelling, id) in &spellings {
            index.insert(vocabulary::words(spelling).join(" "), *id);
        }
        for (spelling, id) in &spellings {
            index.entry(vocabulary::folded_words(spelling).join(" ")).or_insert(*id);
        }
        let mut correct: Vec<&str> = spellings.iter().flat_map(|(spelling, _)| spelling.split([' ', '-'])).collect();
        correct.retain(|word| word.chars().count() >= SHORTEST_CORRECTED - 1);
        correct.sort_unstable();
        correct.dedup();
        let english = english.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        Self { terms, index, correct, english: english.collect() }
    }
}

fn kind_of(text: &str) -> Option<Kind> {
    Some(match text {
        "garment" => Kind::Garment,
        "colour" => Kind::Colour,
        "material" => Kind::Material,
        "feature" => Kind::Feature,
        "style" => Kind::Style,
        "occasion" => Kind::Occasion,
        "weather" => Kind::Weather,
        "season" => Kind::Season,
        "brand" => Kind::Brand,
        _ => return None,
    })
}

fn read_facts(text: &str) -> Facts {
    let mut facts = Facts::default();
    for fact in text.split_whitespace() {
        match fact {
            "waterproof" => facts.waterproof = true,
            "spoils" => facts.spoils = true,
            "layer" => facts.layer = true,
            "sport" => facts.sport = true,
            "swim" => facts.swim = true,
            "neutral" => facts.neutral = true,
            "wet" => facts.wet = true,
            "bare" => facts.bare = true,
            "definite" => facts.definite = true,
            number => {
                let (kind, number) = number.split_at(1);
                let read = |text: &str| text.parse::<u8>().expect("a small number");
                match kind {
                    "f" => facts.formality = number.split_once('-').map(|(least, most)| (read(least), read(most))),
                    "w" => facts.warmth = Some(read(number)),
                    "c" => facts.celsius = Some(number.parse().expect("degrees")),
                    _ => unreachable!("no such fact: {fact}"),
                }
            }
        }
    }
    facts
}

/// The term of this name.
///
/// # Panics
/// When there is none: names are constants of this program.
pub fn named(name: &str) -> TermId {
    lookup(name).unwrap_or_else(|| unreachable!("{name} is a term"))
}

/// The term that a word or a few words (in lower case, single spaces) mean.
pub fn lookup(words: &str) -> Option<TermId> {
    let index = &THESAURUS.index;
    index.get(words).copied().or_else(|| {
        let folded: Vec<String> = words.split(' ').map(fold_plural).collect();
        index.get(&folded.join(" ")).copied()
    })
}

/// Finds the terms in a sequence of lower-case words, preferring the longest, without overlaps, in the order of the
/// text.
pub fn scan<S: AsRef<str>>(words: &[S]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < words.len() {
        let longest = LONGEST_TERM.min(words.len() - start);
        let term = (1..=longest).rev().find_map(|length| {
            let joined = words[start..start + length].iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
            lookup(&joined).map(|term| (term, length))
        });
        let length = term.map_or(1, |(_, length)| length);
        found.extend(term.map(|(term, length)| Found { term, start, end: start + length }));
        start += length;
    }
    found
}

/// The terms in a text.
pub fn terms(text: &str) -> Vec<TermId> {
    scan(&vocabulary::words(text)).into_iter().map(|found| found.term).collect()
}

/// Returns additional search words for a query: preferred words for its terms, and words implied by its occasions,
/// styles, seasons and weather. Each occurs once, at most `limit` in all.
pub fn expansion(query: &str, limit: usize) -> Vec<&'static str> {
    let said = vocabulary::words(query);
    let mut added: Vec<&'static str> = Vec::new();
    let terms: Vec<TermId> = scan(&said).into_iter().map(|found| found.term).collect();
    let names = terms.iter().filter(|term| term.kind() != Kind::Brand).map(|term| term.name());
    let called_for = terms.iter().flat_map(|term| term.called_for());
    let broader = terms.iter().filter(|term| term.kind() == Kind::Garment).map(|term| term.group().name());
    for word in names.chain(called_for).chain(broader) {
        let is_said = vocabulary::words(word).iter().all(|word| said.contains(word));
        if !is_said && !added.contains(&word) && added.len() < limit {
            added.push(word);
        }
    }
    added
}

/// Corrects a misspelt lower-case word to a word of the thesaurus or one of `also`. `None` for words that are known,
/// ordinary English, short, or too far from every candidate.
pub fn correct(word: &str, also: &[&'static str]) -> Option<&'static str> {
    let length = word.chars().count();
    let is_plain = word.chars().all(|letter| letter.is_ascii_lowercase());
    let is_known = THESAURUS.english.contains(word)
        || THESAURUS.correct.binary_search(&word).is_ok()
        || also.contains(&word)
        || vocabulary::is_stop_word(word)
        || lookup(word).is_some();
    if length < SHORTEST_CORRECTED - 1 || !is_plain || is_known {
        return None;
    }
    let distance = |candidate: &&'static str| {
        // Misspellings rarely change the first letter.
        let same_start = candidate.as_bytes().first() == word.as_bytes().first();
        let near_length = candidate.len().abs_diff(word.len()) <= MOST_CHANGES;
        if !same_start || !near_length || candidate.len() < SHORTEST_CORRECTED - 1 {
            return None;
        }
        let changes = strsim::osa_distance(word, candidate);
        let is_swap = changes == 1 && candidate.len() == word.len() && sorted(candidate) == sorted(word);
        let is_long = length >= SHORTEST_CORRECTED && candidate.len() >= SHORTEST_CORRECTED;
        (is_swap || (is_long && changes <= MOST_CHANGES)).then_some((changes, candidate.len().abs_diff(word.len())))
    };
    // The words are sorted, so those with the same first letter are neighbours.
    let before = |most: u8| THESAURUS.correct.partition_point(|known| known.as_bytes().first() < Some(&most));
    let first = word.as_bytes()[0];
    let candidates = THESAURUS.correct[before(first)..before(first + 1)].iter().chain(also).copied();
    candidates.filter_map(|candidate| Some((distance(&candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_read_and_every_word_means_one_thing() {
        let text = include_str!("words.txt");
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let mut count = 0;
        for line in lines {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            assert!((5..=6).contains(&columns.len()), "{line}");
            for word in columns[4].split(',').map(str::trim).chain([columns[1]]).filter(|word| !word.is_empty()) {
                assert!(word.split([' ', '-']).count() <= LONGEST_TERM, "{word}");
                assert_eq!(seen.insert(word, columns[1]), None, "{word}");
            }
            count += 1;
        }
        assert!(count >= 300, "{count}");
        assert!(THESAURUS.terms.len() == count && seen.len() > 1000);
    }

    #[test]
    fn the_longest_term_wins() {
        let names = |text: &str| terms(text).into_iter().map(TermId::name).collect::<Vec<_>>();
        assert_eq!(names("a navy rain jacket for pouring rain"), ["navy", "rain jacket", "rain", "rain"]);
        assert_eq!(names("light blue jumper, jeans and trainers"), ["light blue", "sweater", "jeans", "sneakers"]);
        assert_eq!(names("short shorts"), ["short", "shorts"]);
        assert_eq!(names("What is the capital of France?"), [""; 0]);
        assert!(named("blazer").is("jacket") && named("blazer").is("outerwear") && !named("jacket").is("blazer"));
        assert_eq!(named("chelsea boots").group(), named("shoes"));
        assert!(named("burgundy").is("red") && !named("red").is("burgundy"));
    }

    #[test]
    fn a_query_is_expanded_by_what_it_calls_for() {
        let rain = expansion("something for pouring rain", 12);
        assert!(rain.contains(&"waterproof") && rain.contains(&"rain jacket"), "{rain:?}");
        assert!(expansion("a warm jumper", 12).contains(&"sweater"));
        assert_eq!(expansion("quarterly tax return", 12), [""; 0]);
    }

    #[test]
    fn misspelt_words_are_corrected_and_english_ones_are_not() {
        for (typo, meant) in [
            ("sneekers", "sneakers"),
            ("trowsers", "trousers"),
            ("cardigen", "cardigan"),
            ("blaezr", "blazer"),
            ("interveiw", "interview"),
            ("jaket", "jacket"),
            ("weding", "wedding"),
            ("shrit", "shirt"),
            ("jaens", "jeans"),
        ] {
            assert_eq!(correct(typo, &[]), Some(meant), "{typo}");
        }
        for word in [
            "short", "coast", "boost", "shift", "skill", "dresser", "racket", "pocket", "capital", "france", "where",
            "there", "weather", "would", "should", "about", "spots", "coats", "beach", "lisbon", "arket", "toteme",
            "lining", "bring", "house", "north", "start", "sport", "treat", "great", "swear", "blame", "brain",
            "train", "plants", "paint", "pints", "points", "shore", "share", "showed", "hears", "bolts", "bells",
            "scare", "tires", "light",
        ] {
            assert_eq!(correct(word, &[]), None, "{word}");
        }
        assert_eq!(correct("waer", &["wear"]), Some("wear"));
        assert_eq!(correct("shoud", &["should"]), Some("should"));
    }
}
