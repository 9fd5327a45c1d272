//! The stylist's sentences. They are in `sentences.txt`, which explains its format.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;

use super::turn::Turn;
use crate::model::garment::is_plural;

/// Variants of sentences, by name.
static SENTENCES: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let lines = include_str!("sentences.txt").lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter_map(|line| line.split_once(": "));
    lines.flat_map(|(names, ways)| names.split(", ").map(|name| (name, ways.split(" | ").collect()))).collect()
});

/// Values for the placeholders in a sentence.
pub type Values<'a> = [(&'a str, &'a dyn Display)];

impl Turn<'_> {
    /// Returns a variant of a sentence, always the same one for the same conversation.
    ///
    /// # Panics
    /// When there is none: names are constants of this program.
    pub fn say(&self, name: &str, values: &Values<'_>) -> String {
        self.may_say(name, values).unwrap_or_else(|| unreachable!("{name} is a sentence"))
    }

    /// Returns a sentence if one of this name exists.
    pub fn may_say(&self, name: &str, values: &Values<'_>) -> Option<String> {
        let ways = SENTENCES.get(name)?;
        let way = ways[usize::try_from(self.seed % ways.len() as u64).unwrap_or_default()];
        Some(self.fill(way, values))
    }

    /// Returns a sentence followed by a bulleted list; without lines, the sentence that says so.
    pub fn say_list(&self, name: &str, values: &Values<'_>, lines: impl IntoIterator<Item = String>) -> String {
        let lines: Vec<String> = lines.into_iter().map(|line| format!("\n- {line}")).collect();
        if lines.is_empty() {
            self.say(&format!("{name} none"), values)
        } else {
            self.say(name, values) + &lines.concat()
        }
    }

    /// Fills in values: `{name}` is a value, `[name:one/many]` agrees with it in number. A name without a value is
    /// another sentence.
    fn fill(&self, way: &str, values: &Values<'_>) -> String {
        let mut text = String::new();
        let mut rest = way;
        while let Some((before, (inside, after))) =
            rest.split_once(['{', '[']).and_then(|(before, rest)| Some((before, rest.split_once(['}', ']'])?)))
        {
            let value = |name: &str| {
                let value = values.iter().find(|(known, _)| *known == name);
                value.map_or_else(|| self.say(name, values), |(_, value)| value.to_string())
            };
            text += before;
            text += &match inside.split_once(':') {
                None => value(inside),
                Some((name, forms)) => {
                    let (one, many) = forms.split_once('/').unwrap_or((forms, forms));
                    let value = value(name);
                    let is_one = value.parse::<u64>().map_or(!is_plural(&value), |count| count == 1);
                    if is_one { one } else { many }.to_owned()
                }
            };
            rest = after;
        }
        text + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::garment::Slot;

    /// The files that say something.
    const SOURCES: [&str; 14] = [
        include_str!("turn.rs"),
        include_str!("answers/capsule.rs"),
        include_str!("answers/compare.rs"),
        include_str!("answers/history.rs"),
        include_str!("answers/inventory.rs"),
        include_str!("answers/memory.rs"),
        include_str!("answers/mod.rs"),
        include_str!("answers/money.rs"),
        include_str!("answers/outfits.rs"),
        include_str!("answers/outside.rs"),
        include_str!("answers/pairs.rs"),
        include_str!("answers/pieces.rs"),
        include_str!("answers/weather.rs"),
        include_str!("answers/why.rs"),
    ];

    #[test]
    fn every_sentence_that_is_said_exists() {
        let said = SOURCES.iter().flat_map(|source| source.split("say(\"").skip(1));
        let said: Vec<&str> = said.filter_map(|rest| rest.split('"').next()).collect();
        assert!(said.len() > 50);
        let lists = SOURCES.iter().flat_map(|source| source.split("say_list(\"").skip(1));
        let lists = lists.filter_map(|rest| rest.split('"').next());
        for name in said.into_iter().chain(lists) {
            assert!(SENTENCES.contains_key(name), "{name}");
        }
        for slot in Slot::ALL {
            for kind in ["slot", "packed", "with"] {
                assert!(SENTENCES.contains_key(format!("{kind} {}", slot.name()).as_str()), "{kind} {slot:?}");
            }
        }
    }

    #[test]
    fn sentences_are_well_formed() {
        for (name, ways) in SENTENCES.iter() {
            for way in ways {
                assert!(!way.is_empty() && way.trim() == *way, "{name}: {way:?}");
                assert_eq!(way.matches(['{', '[']).count(), way.matches(['}', ']']).count(), "{name}: {way:?}");
            }
        }
    }
}
