//! Search terms, and how well items match them.

use serde_json::Value;

use crate::base::text::{cut, cut_each};
use crate::model::garment::Garment;
use crate::model::thesaurus::{self, TermId};
use crate::model::vocabulary::{self, Category};
use crate::model::wardrobe::{WardrobeItem, condition};

/// Most search terms taken from one expansion, and the longest of them, in characters.
const MAX_TERMS: usize = 24;
const MAX_TERM: usize = 60;

/// Most terms that the thesaurus adds to a query's own words.
const MAX_EXPANSION: usize = 12;

/// A search term.
#[derive(Debug, PartialEq, Eq)]
enum Term {
    /// To be of a category.
    Category(Category),
    /// To be in a condition.
    Condition(&'static str),
    /// The item is of this kind, colour or material in the thesaurus, or contains its words.
    Known(TermId, Vec<String>),
    /// The item contains these consecutive words, with plurals folded.
    Words(Vec<String>),
}

/// The distinct terms of a search.
pub(super) struct Terms(Vec<Term>);

impl Terms {
    pub(super) fn new(texts: &[String]) -> Self {
        let mut terms = Vec::new();
        for text in texts {
            let words = vocabulary::folded_words(text);
            let joined = words.join(" ");
            let condition = condition(&joined);
            let term = match (Category::of_search_term(&joined), condition) {
                (Some(category), _) => Term::Category(category),
                (None, Some(condition)) => Term::Condition(condition),
                (None, None) if words.is_empty() => continue,
                (None, None) => match one_term(text) {
                    Some(term) => Term::Known(term, words),
                    None => Term::Words(words),
                },
            };
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
        Self(terms)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of search terms that the item matches.
    pub(super) fn score(&self, item: &WardrobeItem, garment: &Garment) -> usize {
        let category = item.category.as_deref().and_then(Category::of_text);
        let colours = item.colours.iter().map(|colour| colour.name.as_str());
        let texts: Vec<Vec<String>> = [item.id.as_str()]
            .into_iter()
            .chain(item.category.as_deref())
            .chain(item.brand.as_deref())
            .chain(item.tags.iter().chain(item.aesthetic_tags.iter().flatten()).map(String::as_str))
            .chain(colours)
            .chain(item.notes.as_deref())
            .map(vocabulary::folded_words)
            .collect();
        let says = |words: &[String]| texts.iter().any(|text| text.windows(words.len()).any(|window| window == words));
        let matches = |term: &&Term| match term {
            Term::Category(wanted) => category == Some(*wanted),
            Term::Condition(wanted) => {
                item.condition.as_deref().is_some_and(|condition| condition.trim().eq_ignore_ascii_case(wanted))
            }
            Term::Known(term, words) => garment.is(*term) || says(words),
            Term::Words(words) => says(words),
        };
        self.0.iter().filter(matches).count()
    }
}

/// Returns the thesaurus term if the text consists of exactly one.
pub(super) fn one_term(text: &str) -> Option<TermId> {
    thesaurus::lookup(&vocabulary::words(text).join(" "))
}

/// Returns the query's own words as terms, without stop words.
pub(super) fn own_terms(query: &str) -> Vec<String> {
    let tellings = query.split_whitespace().filter(|word| {
        let words = vocabulary::words(word);
        !words.iter().all(|word| vocabulary::is_stop_word(word))
    });
    let own = tellings.take(MAX_TERMS).map(|word| cut(word, MAX_TERM));
    own.chain(thesaurus::expansion(query, MAX_EXPANSION).into_iter().map(str::to_owned)).collect()
}

/// Parses the terms in a model's answer: a JSON list of strings, possibly within an object, a code fence or prose.
/// `None` if there is none.
pub(super) fn read_terms(answer: &str) -> Option<Vec<String>> {
    let list = answer.match_indices('[').find_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&answer[start..]).into_iter::<Vec<Value>>();
        values.next()?.ok()
    })?;
    let terms = cut_each(list.iter().filter_map(Value::as_str), MAX_TERM, MAX_TERMS);
    (!terms.is_empty()).then_some(terms)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn item(fields: Value) -> WardrobeItem {
        let mut document = json!({ "id": "w-17", "userId": "ada" });
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    fn score(terms: &[&str], item: &WardrobeItem) -> usize {
        Terms::new(&strings(terms)).score(item, &Garment::from(item))
    }

    #[test]
    fn terms_match_whole_words_only() {
        let blazer = item(json!({ "category": "Outerwear", "brand": "Reiss", "notes": "For the topmost occasions" }));
        assert_eq!(score(&["reiss"], &blazer), 1);
        assert_eq!(score(&["rei", "most", "outer space"], &blazer), 0);
        assert_eq!(score(&["occasion", "REISS", "w-17"], &blazer), 3);
    }

    #[test]
    fn a_term_of_two_words_matches_them_in_a_row() {
        let shoe = item(json!({ "brand": "New Balance", "tags": ["smart-casual", "dinner date"] }));
        assert_eq!(score(&["new balance", "smart casual", "dinner dates"], &shoe), 3);
        assert_eq!(score(&["balance new", "casual dinner"], &shoe), 0);
    }

    #[test]
    fn aliases_and_conditions_match_their_own_field() {
        let tee = item(json!({ "category": "TOPS", "condition": "Excellent", "notes": "good trousers needed" }));
        assert_eq!(score(&["t-shirts", "tee", "top"], &tee), 1, "one demand, said three times");
        assert_eq!(score(&["excellent"], &tee), 1);
        assert_eq!(score(&["good", "trousers"], &tee), 0);
    }

    #[test]
    fn letters_of_every_script_match() {
        let item = item(json!({ "brand": "Sézane", "tags": ["ПАЛЬТО"], "colours": [{ "name": "Écru" }] }));
        assert_eq!(score(&["SÉZANE", "пальто", "écru"], &item), 3);
    }

    #[test]
    fn expansions_are_read_leniently() {
        let expected = Some(strings(&["navy", "blazer"]));
        assert_eq!(read_terms(r#"["navy", "blazer"]"#), expected);
        assert_eq!(read_terms("Sure [as asked]:\n```json\n[\"navy\", 3, \" \", \"blazer\"]\n```\nEnjoy!"), expected);
        assert_eq!(read_terms(r#"{"terms": ["navy", "blazer"]}"#), expected);
        assert_eq!(read_terms("navy, blazer"), None);
        assert_eq!(read_terms("[]"), None);
    }

    #[test]
    fn the_querys_own_words_leave_out_the_small_ones() {
        let terms = own_terms("what should i wear with my white t-shirt?");
        assert_eq!(terms[..2], strings(&["white", "t-shirt?"]));
        assert!(terms.contains(&"tee".to_owned()), "{terms:?}");
    }
}
