//! What the built-in stylist knows without a tool: how to look after clothes, and what it cannot do. It stands in
//! `advice.txt`, which says how it is written.

/// The first line of the advice with one of these words, of those whose kind is wanted: its kind and its text.
pub fn about(words: &[String], is_wanted: impl Fn(&str) -> bool) -> Option<(&'static str, &'static str)> {
    let lines = include_str!("advice.txt").lines().filter(|line| !line.starts_with('#'));
    let mut entries = lines.filter_map(|line| {
        let (kind, rest) = line.split_once(" | ")?;
        let (names, text) = rest.split_once(" | ")?;
        Some((kind, names, text))
    });
    let says = |names: &str| words.iter().any(|word| names.split(' ').any(|name| name == word));
    let found = entries.find(|(kind, names, _)| is_wanted(kind) && says(names));
    found.map(|(kind, _, text)| (kind, text))
}
