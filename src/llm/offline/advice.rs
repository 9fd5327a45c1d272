//! What the built-in stylist knows without a tool: small talk, what it cannot do, how to look after clothes, and which
//! colours go together.

use super::phrases::Ask;
use super::turn::Turn;
use crate::model::garment::{Description, is_plural};
use crate::model::thesaurus::TermId;

/// What it says of itself, wherever a sentence has `{self}`.
const SELF: &str = "I'm PluckIt's built-in model, which understands English and knows your wardrobe";

/// Sentences that need no tool, by a name; several ways to say the same are separated by `|`.
fn sentence(turn: &Turn<'_>, name: &str) -> Option<String> {
    let lines = include_str!("sentences.txt").lines().filter_map(|line| line.split_once(": "));
    let (_, ways) = lines.into_iter().find(|(known, _)| *known == name)?;
    let ways: Vec<&'static str> = ways.split(" | ").collect();
    Some(turn.pick(&ways).replace("{self}", SELF))
}

/// The answer to what needs no tool.
pub fn small_talk(turn: &Turn<'_>, ask: Ask) -> String {
    let name = if ask == "cannot" {
        return format!("I can't {}. {SELF}.", about("cannot", &turn.asked.words).map_or("do that", |(_, text)| text));
    } else if turn.asked.words.len() <= 2 && ask == "lost" {
        "lost in a word"
    } else {
        ask
    };
    sentence(turn, name).unwrap_or_else(|| lost(turn))
}

/// What it says when it does not understand.
pub fn lost(turn: &Turn<'_>) -> String {
    small_talk(turn, "lost")
}

/// The first line of the advice with a word of the message: of this kind, or of any but what it cannot do.
fn about(wanted: &str, words: &[String]) -> Option<(&'static str, &'static str)> {
    let lines = include_str!("advice.txt").lines().filter(|line| !line.starts_with('#'));
    let entries =
        lines.filter_map(|line| line.split_once(" | ").and_then(|(kind, rest)| Some((kind, rest.split_once(" | ")?))));
    let says = |names: &str| words.iter().any(|word| names.split(' ').any(|name| name == word));
    let fits = |kind: &str| (kind == "cannot") == (wanted == "cannot");
    entries.into_iter().find(|(kind, (names, _))| fits(kind) && says(names)).map(|(kind, (_, text))| (kind, text))
}

/// How to treat what a message is about, and whether something went wrong, which no care label helps with.
pub fn care(words: &[String]) -> (String, bool) {
    let found = about("care", words);
    let usual = "Follow the care label; when in doubt wash it cold, inside out and gently, and let it air-dry";
    (format!("{}.", found.map_or(usual, |(_, text)| text)), found.is_some_and(|(kind, _)| kind != "care"))
}

/// Whether two things go together, by their colours.
pub fn together(one: &Description, other: &Description, first: &str, second: &str) -> String {
    let (mine, theirs) = (one.colours.first(), other.colours.first());
    let go = if is_plural(first) { "go" } else { "goes" };
    let is_neutral = |colour: &TermId| colour.term().facts.neutral;
    match (mine, theirs) {
        (Some(mine), Some(theirs)) if is_neutral(mine) || is_neutral(theirs) => {
            let neutral = if is_neutral(mine) { mine } else { theirs };
            format!(
                "Yes, {first} {go} well with {second}: {} is neutral and gets along with nearly everything.",
                neutral.name()
            )
        }
        (Some(mine), Some(theirs)) if mine.with_broader().any(|broad| theirs.is_a(broad)) => {
            format!("Yes, {first} {go} with {second}, tone on tone; keep some contrast between the shades.")
        }
        (Some(mine), Some(theirs)) => format!(
            "It's bold: {} and {} compete. Keep everything else neutral, or swap one of them for navy, grey or white.",
            mine.name(),
            theirs.name()
        ),
        _ => format!(
            "Yes, {first} {go} with {second}, as long as the rest stays simple and one of them is in a quiet colour."
        ),
    }
}

/// What a kind of garment goes with, as a rule.
pub fn goes_with(garment: TermId, colours: &[TermId]) -> String {
    let with = match garment.group().name() {
        "shoes" => "straight trousers or jeans in a quiet colour and a simple top",
        "outerwear" => "a plain shirt or fine knit, straight trousers and clean shoes",
        "bottoms" => "a plain top that is closer to the body, and shoes as formal as the cloth",
        "dress" => "plain shoes and one layer over it",
        "accessories" => "plain clothes that let it stand out",
        _ => "straight trousers or a plain skirt, and simple shoes",
    };
    let loud = colours.iter().any(|colour| !colour.term().facts.neutral);
    let neutral = if loud { ", all of it in neutral colours" } else { "" };
    let name = garment.name();
    let (name, go) = if is_plural(name) { (name.to_owned(), "go") } else { (format!("a {name}"), "goes") };
    format!("{name} {go} with {with}{neutral}")
}
