//! Extracts the pieces listed in an earlier answer from its text.

use super::named;
use crate::base::text::sentences;

/// Returns the pieces that an answer lists.
pub fn shown_names(answer: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, rest) = line.strip_prefix("- ")?.split_once("your ")?;
        let end = rest.find([',', ';', ':', '(']).or_else(|| rest.find(". ")).unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('.').trim().to_owned())
    };
    answer.lines().filter_map(name).filter(|name| !name.is_empty()).collect()
}

/// Returns the pieces of an outfit in an answer with the reasons for them: "- Shoes: your black boots, a favourite."
pub fn reasons(answer: &str) -> Vec<(String, String)> {
    let reason = |line: &str| {
        let (slot, rest) = line.strip_prefix("- ")?.split_once(": your ")?;
        let (name, why) = rest.split_once(", ").filter(|_| !slot.starts_with(|first: char| first.is_ascii_digit()))?;
        Some((name.to_owned(), why.trim_end_matches('.').to_owned()))
    };
    answer.lines().filter_map(reason).collect()
}

/// Returns the pieces of each outfit in an answer; outfits are separated by blank lines.
pub fn shown_outfits(answer: &str) -> Vec<Vec<String>> {
    answer.split("\n\n").map(shown_names).filter(|names| !names.is_empty()).collect()
}

/// Returns all pieces of an answer: those in its lists, also several on one line ("- 2 tops: your white tee and your
/// navy polo."), or without lists those in its sentences.
pub fn all_names(answer: &str) -> Vec<String> {
    let of_line = |line: &str| match line.split_once(": ") {
        Some((head, _)) if head.starts_with(|first: char| first.is_ascii_digit()) => names_in(line),
        _ => shown_names(&format!("- {line}")),
    };
    let listed: Vec<String> = answer.lines().filter_map(|line| line.strip_prefix("- ")).flat_map(of_line).collect();
    if !listed.is_empty() {
        return listed;
    }
    let mut names: Vec<String> = Vec::new();
    // Offers name nothing.
    for name in sentences(answer).into_iter().filter(|sentence| !sentence.ends_with('?')).flat_map(names_in) {
        if named(&name).description.garment.is_some() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns what follows each "your", up to the end of the name.
fn names_in(sentence: &str) -> Vec<String> {
    const ENDS: [&str; 14] =
        [",", ";", ":", " (", ". ", " are ", " is ", " has ", " have ", " goes ", " go ", " cost ", " yet", " on "];
    let after = sentence.split("your ").enumerate().filter(|(place, _)| *place > 0).map(|(_, rest)| rest);
    let first = sentence.strip_prefix("Your ").map(|rest| rest.split("your ").next().unwrap_or(rest));
    let name = |rest: &str| {
        // "Your coat and your belt".
        let rest = rest.trim_end().strip_suffix(" and").unwrap_or(rest);
        let end = ENDS.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        rest[..end].trim_end_matches('.').trim().to_owned()
    };
    first.into_iter().chain(after).map(name).filter(|name| !name.is_empty()).collect()
}

/// Whether an answer lists only some of the pieces.
pub fn is_shortened(answer: &str) -> bool {
    answer.contains(", among them ") || answer.lines().any(|line| line.starts_with("And ") && line.ends_with(" more."))
}

/// Returns what an answer about gaps recommends: "a navy cap or a navy bag would be a good start".
pub fn recommended(answer: &str) -> Vec<String> {
    let examples = |line: &str| {
        let (_, rest) = line.strip_prefix("- ")?.split_once("; ")?;
        rest.split_once(" would be a good start").map(|(examples, _)| examples.to_owned())
    };
    let strip = |text: &str| text.strip_prefix("a ").or_else(|| text.strip_prefix("an ")).unwrap_or(text).to_owned();
    answer.lines().filter_map(examples).flat_map(|texts| texts.split(" or ").map(strip).collect::<Vec<_>>()).collect()
}
