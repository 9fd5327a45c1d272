//! Colours of items for statistics.

use crate::model::numbers::ItemNumbers;
use crate::model::vocabulary::COLOURS;

/// Largest spread of the channels of a colourless hex value, of 255.
const LARGEST_SPREAD: u8 = 16;
/// The brightest black, and the darkest white, of 255.
const BRIGHTEST_BLACK: u8 = 40;
const DARKEST_WHITE: u8 = 235;

/// A colour, by its index in [`COLOURS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(u8);

impl Colour {
    /// Returns the item's first known colour: from its colours, by name or else by hex value, and then from its tags.
    pub fn of(item: &ItemNumbers) -> Option<Self> {
        let by_colours =
            item.colours().find_map(|colour| Self::named_in(&colour.name).or_else(|| Self::of_hex(&colour.hex)));
        by_colours.or_else(|| item.tags().find_map(|tag| Self::named_in(tag)))
    }

    /// Returns the index in [`COLOURS`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Returns the colour of the first word that names one.
    fn named_in(text: &str) -> Option<Self> {
        text.split(|letter: char| !letter.is_alphanumeric()).find_map(Self::named)
    }

    fn named(word: &str) -> Option<Self> {
        let word = if word.eq_ignore_ascii_case("gray") { "grey" } else { word };
        (0..).zip(COLOURS).find(|(_, name)| word.eq_ignore_ascii_case(name)).map(|(index, _)| Self(index))
    }

    /// Returns black, white or grey; other colours need a name.
    fn of_hex(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix('#')?.as_bytes();
        let channel = |position: usize| {
            let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
            match digits.len() {
                3 => Some(digit(position)? * 17),
                6 => Some(digit(position * 2)? * 16 + digit(position * 2 + 1)?),
                _ => None,
            }
        };
        let channels = [channel(0)?, channel(1)?, channel(2)?].map(|value| u8::try_from(value).unwrap_or(u8::MAX));
        let (least, most) =
            channels.iter().fold((u8::MAX, 0), |(least, most), &value| (least.min(value), most.max(value)));
        let name = match (least, most) {
            _ if most - least > LARGEST_SPREAD => return None,
            (_, ..=BRIGHTEST_BLACK) => "black",
            (DARKEST_WHITE.., _) => "white",
            _ => "grey",
        };
        Self::named(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn colour(fields: Value) -> Option<&'static str> {
        let mut document = fields;
        document["id"] = json!("a");
        let text = document.to_string();
        let item: ItemNumbers = serde_json::from_str(&text).unwrap();
        Colour::of(&item).map(|colour| COLOURS[colour.index()])
    }

    fn of_colours(colours: Value) -> Option<&'static str> {
        colour(json!({ "colours": colours }))
    }

    #[test]
    fn the_first_known_name_counts() {
        for (colours, expected) in [
            (json!([{"name": "navy", "hex": "#1f2a44"}]), Some("navy")),
            (json!([{"name": "Gray"}]), Some("grey")),
            (json!([{"name": "Off-White"}, {"name": "red"}]), Some("white")),
            (json!([{"name": "dark/NAVY blue"}]), Some("navy")),
            (json!([{"name": "ecru"}, {"name": "Olive green"}]), Some("olive")),
            (json!([{"name": "blackish"}]), None),
            (json!([{"name": ""}, 3, null]), None),
            (json!([]), None),
        ] {
            assert_eq!(of_colours(colours.clone()), expected, "{colours}");
        }
        assert_eq!(colour(json!({"colours": [{"name": "ecru"}], "tags": ["summer", "navy stripes"]})), Some("navy"));
        assert_eq!(colour(json!({"colours": [{"name": "red"}], "tags": ["navy"]})), Some("red"));
        assert_eq!(colour(json!({"tags": ["casual"]})), None);
    }

    #[test]
    fn hex_values_without_much_colour_count_as_black_white_or_grey() {
        for (hex, expected) in [
            ("#000000", Some("black")),
            ("#1a1a1a", Some("black")),
            ("#282828", Some("black")),
            ("#292929", Some("grey")),
            ("#808080", Some("grey")),
            ("#c0c0c0", Some("grey")),
            ("#eaeaea", Some("grey")),
            ("#EBEBEB", Some("white")),
            ("#f5f5f5", Some("white")),
            ("#fff", Some("white")),
            ("#faf5f0", Some("white")),
            ("#808090", Some("grey")),
            ("#808091", None),
            ("#1f2a44", None),
            ("808080", None),
            ("#80808", None),
            ("#gggggg", None),
            ("#ééé", None),
            ("", None),
        ] {
            assert_eq!(of_colours(json!([{"name": "smoke", "hex": hex}])), expected, "{hex}");
        }
        // A name comes before a hex value, and the first colour before the second.
        assert_eq!(of_colours(json!([{"name": "teal", "hex": "#000000"}])), Some("teal"));
        assert_eq!(of_colours(json!([{"hex": "#ffffff"}, {"name": "teal"}])), Some("white"));
    }
}
