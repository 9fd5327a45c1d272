//! What the built-in stylist knows without a tool: care of clothes, and its own limitations. The texts are in
//! `advice.txt`, which explains its format.

/// Finds the first line of advice of a wanted kind with one of these words; returns its kind and text.
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
