//! Purchase ideas by rules: first gaps according to the numbers in the prompt, then more of the most worn categories.
//!
//! The same prompt gives the same ideas. Text in the data is only quoted, never interpreted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::base::text::capitalised;
use crate::model::garment::{Description, Garment};
use crate::model::vocabulary::{self, Category};

/// The block of the prompt that holds the data.
const DATA: (&str, &str) = ("<wardrobe_data>", "</wardrobe_data>");
/// Fewest ideas (if there is anything to suggest), and most.
const FEWEST_IDEAS: usize = 3;
const MOST_IDEAS: usize = 5;

/// The data of the prompt; missing parts are empty.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    climate_zone: Option<String>,
    styles: Vec<String>,
    preferred_colours: Vec<String>,
    dislikes: Vec<String>,
    gaps: Vec<Gap>,
    favourites: Vec<Favourite>,
    feedback: Feedback,
}

#[derive(Deserialize)]
struct Gap {
    category: String,
    owned: u64,
    recommended: u64,
    examples: Vec<String>,
}

#[derive(Deserialize)]
struct Favourite {
    category: String,
    wears: u64,
    examples: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Feedback {
    liked: Vec<String>,
    disliked: Vec<String>,
}

/// Writes the ideas as a JSON object.
pub fn write(prompt: &str) -> String {
    let told = data(prompt).and_then(|data| serde_json::from_str::<Told>(data).ok()).unwrap_or_default();
    let mut ideas: Vec<(String, String)> = Vec::new();
    let mut gaps: Vec<&Gap> = told.gaps.iter().collect();
    // Liked categories come first; the order is otherwise unchanged.
    gaps.sort_by_key(|gap| !told.likes(&gap.category));
    for gap in gaps.into_iter().take(MOST_IDEAS) {
        let pieces = if gap.owned == 1 { "piece" } else { "pieces" };
        let caller = match told.styles.as_slice() {
            [] => "a rounded wardrobe calls".to_owned(),
            [style] => format!("{style} calls"),
            [_, ..] => "your styles call".to_owned(),
        };
        let mut rationale =
            format!("You own {} {pieces} of {}; {caller} for {}.", gap.owned, gap.category, gap.recommended);
        if told.likes(&gap.category) {
            rationale += " You liked an idea like this before.";
        }
        told.suggest(&mut ideas, &gap.examples, &rationale);
    }
    // One idea for each of the most worn categories, then another round, until there are enough.
    for _ in 0..FEWEST_IDEAS {
        for favourite in &told.favourites {
            if ideas.len() < FEWEST_IDEAS {
                let rationale = format!(
                    "You wear {} more than most ({} wears): one more gives the others a rest.",
                    favourite.category, favourite.wears
                );
                told.suggest(&mut ideas, &favourite.examples, &rationale);
            }
        }
    }
    if ideas.is_empty() {
        ideas.push((
            "A piece in your favourite colour".to_owned(),
            "There is little to go by yet: log what you wear, and the ideas will follow it.".to_owned(),
        ));
    }
    let ideas: Vec<_> =
        ideas.into_iter().map(|(item, rationale)| BTreeMap::from([("item", item), ("rationale", rationale)])).collect();
    json!({ "suggestions": ideas }).to_string()
}

/// Returns the text of the prompt's data block.
pub(super) fn data(prompt: &str) -> Option<&str> {
    let start = prompt.find(DATA.0)? + DATA.0.len();
    let end = prompt.rfind(DATA.1).filter(|end| *end >= start)?;
    Some(&prompt[start..end])
}

impl Told {
    /// Adds the first piece that is new, suits the climate and is not disliked.
    fn suggest(&self, ideas: &mut Vec<(String, String)>, pieces: &[String], rationale: &str) {
        let named = pieces.iter().filter(|piece| self.suits(piece)).map(|piece| self.name(piece));
        if let Some(item) = { named }.find(|item| !ideas.iter().any(|(known, _)| known == item)) {
            ideas.push((item, rationale.to_owned()));
        }
    }

    /// Returns the piece in the favourite colour, capitalised.
    fn name(&self, piece: &str) -> String {
        let is_wanted = |colour: &&String| self.is_wanted(&format!("{colour} {piece}"));
        match self.preferred_colours.iter().find(is_wanted) {
            Some(colour) => capitalised(&format!("{} {piece}", colour.to_lowercase())),
            None => capitalised(piece),
        }
    }

    /// Whether the user has not stated a dislike of it.
    fn is_wanted(&self, piece: &str) -> bool {
        let piece = Garment::described(piece);
        !self.dislikes.iter().any(|dislike| Description::of(dislike).fits(&piece))
    }

    /// Whether it suits the climate and the user does not dislike it.
    fn suits(&self, piece: &str) -> bool {
        let warmth = Garment::described(piece).warmth;
        let is_needed = match self.climate_zone.as_deref() {
            Some("tropical" | "arid") => warmth < 2,
            Some("continental" | "polar") => warmth > 0,
            _ => true,
        };
        let words = vocabulary::folded_words(piece);
        let is_disliked = self.feedback.disliked.iter().any(|idea| {
            let idea = vocabulary::folded_words(idea);
            words.iter().all(|word| idea.contains(word))
        });
        is_needed && !is_disliked && self.is_wanted(piece)
    }

    fn likes(&self, category: &str) -> bool {
        let category = Category::of_text(category);
        category.is_some() && self.feedback.liked.iter().any(|idea| Category::of_text(idea) == category)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn items(told: &Value) -> Vec<String> {
        let answer = write(&format!("Before\n<wardrobe_data>\n{told}\n</wardrobe_data>\nafter"));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let items = answer["suggestions"].as_array().unwrap().iter();
        items.map(|idea| idea["item"].as_str().unwrap().to_owned()).collect()
    }

    fn told() -> Value {
        json!({
            "climateZone": "temperate", "styles": ["classic"],
            "gaps": [
                {"category": "shoes", "owned": 1, "recommended": 3, "examples": ["boots", "loafers"]},
                {"category": "outerwear", "owned": 1, "recommended": 2, "examples": ["puffer jacket", "bomber jacket"]},
            ],
            "favourites": [{"category": "tops", "wears": 90, "examples": ["graphic tee", "polo shirt"]}],
            "feedback": {"liked": [], "disliked": []},
        })
    }

    #[test]
    fn gaps_come_first_and_favourites_fill_up() {
        assert_eq!(items(&told()), ["Boots", "Puffer jacket", "Graphic tee"]);
    }

    #[test]
    fn what_is_disliked_or_does_not_suit_the_climate_is_left_out() {
        let mut told = told();
        told["feedback"]["disliked"] = json!(["Brown leather boots", "A bomber jacket in navy"]);
        assert_eq!(items(&told)[..2], ["Loafers", "Puffer jacket"]);
        told["climateZone"] = "tropical".into();
        assert_eq!(items(&told), ["Loafers", "Graphic tee", "Polo shirt"]);
    }

    #[test]
    fn ideas_are_in_the_favourite_colour() {
        let mut told = told();
        told["preferredColours"] = json!(["Navy", "black"]);
        assert_eq!(items(&told)[0], "Navy boots");
    }

    #[test]
    fn what_is_liked_comes_first() {
        let mut told = told();
        told["feedback"]["liked"] = json!(["Waxed jacket"]);
        assert_eq!(items(&told)[0], "Puffer jacket");
    }

    #[test]
    fn a_prompt_without_data_still_gives_an_idea() {
        for prompt in ["", "<wardrobe_data>x</wardrobe_data>", "</wardrobe_data><wardrobe_data>"] {
            assert!(write(prompt).contains("\"rationale\""), "{prompt}");
        }
    }
}
