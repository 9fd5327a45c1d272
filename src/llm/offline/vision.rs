//! Describes a picture by its colours alone.

use serde_json::json;

use crate::imaging::colours::{self, Colour};
use crate::imaging::decode::{Limits, decode_to_fit};
use crate::imaging::{self, Picture};

/// Longest side of the examined picture, in pixels.
const LONGEST_LOOK: u32 = 256;
const MOST_COLOURS: usize = 4;
/// Number of colours to find; some share a name.
const MOST_GROUPS: usize = 8;
/// Share of the corners from which a colour is a background, unless it also covers this share of the middle: then the
/// garment fills the picture.
const BACKGROUND_CORNERS: f64 = 0.7;
const GARMENT_MIDDLE: f64 = 0.5;
/// Chroma below which a colour looks muted, and from which it looks bright.
const MUTED: f32 = 0.05;
const BRIGHT: f32 = 0.14;

/// Why a picture cannot be described.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the picture cannot be read")]
    Unreadable(#[from] imaging::Error),
    #[error("the picture is transparent throughout")]
    Empty,
}

/// A function that describes the file of a picture.
pub(super) type Look = fn(&[u8]) -> Result<String, Fault>;

/// Returns a description in the format of a vision model's answer: JSON with `styleKeywords`, `colors`, `garments` and
/// `brand`. Takes tens of milliseconds for a large picture, so do not run it on an async thread.
pub(super) fn describe(file: &[u8]) -> Result<String, Fault> {
    let colours = colours_of_garment(file, MOST_GROUPS)?;
    if colours.is_empty() {
        return Err(Fault::Empty);
    }
    let names: Vec<&str> = one_per_name(&colours).iter().map(|colour| colour.name).collect();
    let styles: Vec<&str> = style(&colours).into_iter().collect();
    Ok(json!({"styleKeywords": styles, "colors": names, "garments": [], "brand": null}).to_string())
}

/// Returns the garment's metadata in the format of a vision model's answer, derived from colours only: JSON with
/// `brand`, `category`, `tags` and `colours`. A picture that is transparent throughout has no colours.
pub(super) fn list_colours(file: &[u8]) -> Result<String, Fault> {
    let colours = colours_of_garment(file, MOST_COLOURS)?;
    let colours: Vec<_> = one_per_name(&colours)
        .iter()
        .map(|colour| json!({"name": colour.name, "hex": colour.hex.to_string()}))
        .collect();
    Ok(json!({"brand": null, "category": null, "tags": [], "colours": colours}).to_string())
}

/// Returns at most `most` colours of the picture without its background, largest share first. A picture of one colour
/// has it.
fn colours_of_garment(file: &[u8], most: usize) -> imaging::Result<Vec<Colour>> {
    let mut colours = colours::dominant(&decode(file)?, most + 1);
    if colours.len() > 1 {
        colours.retain(|colour| colour.corners <= BACKGROUND_CORNERS || colour.middle >= GARMENT_MIDDLE);
    }
    colours.truncate(most);
    Ok(colours)
}

/// Returns the first colour of each name, at most [`MOST_COLOURS`].
fn one_per_name(colours: &[Colour]) -> Vec<&Colour> {
    let mut found: Vec<&Colour> = Vec::new();
    for colour in colours {
        if found.len() < MOST_COLOURS && found.iter().all(|known| known.name != colour.name) {
            found.push(colour);
        }
    }
    found
}

fn decode(file: &[u8]) -> imaging::Result<Picture> {
    decode_to_fit(file, &Limits::default(), LONGEST_LOOK)
}

/// Returns the style that the colours suggest, if any.
fn style(colours: &[Colour]) -> Option<&'static str> {
    let all: f64 = colours.iter().map(|colour| colour.share).sum();
    let share = |test: &dyn Fn(f32) -> bool| -> f64 {
        colours.iter().filter(|colour| test(colour.chroma())).map(|colour| colour.share / all).sum()
    };
    if share(&|chroma| chroma < MUTED) > 0.85 {
        Some("minimalist")
    } else if share(&|chroma| chroma >= BRIGHT) > 0.4 {
        Some("colourful")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};
    use serde_json::Value;

    use super::*;
    use crate::model::vocabulary::COLOURS;

    #[test]
    fn a_colour_is_named_as_the_product_names_it() {
        let names: BTreeSet<_> = colours::LOOKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, BTreeSet::from(COLOURS));
    }

    fn file(format: ImageFormat, paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let mut file = Vec::new();
        let image = RgbImage::from_fn(200, 160, |x, y| Rgb(paint(x, y)));
        image.write_to(&mut Cursor::new(&mut file), format).unwrap();
        file
    }

    fn names_in(file: &[u8]) -> Vec<String> {
        let listed: Value = serde_json::from_str(&list_colours(file).unwrap()).unwrap();
        let colours = listed["colours"].as_array().unwrap();
        colours.iter().map(|colour| colour["name"].as_str().unwrap().to_owned()).collect()
    }

    fn seen(file: &[u8]) -> Value {
        serde_json::from_str(&describe(file).unwrap()).unwrap()
    }

    #[test]
    fn the_background_is_no_colour_of_the_garment() {
        let paint = |x: u32, y: u32| match (x, y) {
            (60..140, 20..90) => [20, 32, 80],
            (60..140, 90..150) => [214, 188, 150],
            _ => [250, 250, 250],
        };
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            assert_eq!(seen(&file(format, paint))["colors"], json!(["navy", "beige"]), "{format:?}");
        }
    }

    #[test]
    fn a_garment_that_fills_the_picture_is_no_background() {
        let knit = |x: u32, y: u32| match (x, y) {
            (80..120, 50..90) => [250, 250, 250],
            _ => [20, 32, 80],
        };
        assert_eq!(names_in(&file(ImageFormat::Png, knit)), ["navy", "white"]);
        assert_eq!(names_in(&file(ImageFormat::Png, |_, _| [250, 250, 250])), ["white"]);
    }

    #[test]
    fn transparent_pixels_of_a_cut_out_have_no_colour() {
        let cut_out = |paint: fn(u32) -> [u8; 4]| {
            let mut file = Vec::new();
            let image = image::RgbaImage::from_fn(120, 90, |x, _| image::Rgba(paint(x)));
            image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
            file
        };
        let red = cut_out(|x| if (30..90).contains(&x) { [170, 20, 30, 255] } else { [255, 255, 255, 0] });
        assert_eq!(names_in(&red), ["red"]);
        let striped = cut_out(|x| match x {
            0..30 => [0, 0, 0, 0],
            30..70 => [20, 32, 80, 255],
            _ => [250, 250, 250, 255],
        });
        assert_eq!(names_in(&striped), ["white", "navy"]);
        assert_eq!(names_in(&cut_out(|_| [255, 255, 255, 0])), Vec::<String>::new());
    }

    #[test]
    fn a_colour_of_several_shades_is_listed_once() {
        let shades = file(ImageFormat::Png, |x, _| {
            [[105, 65, 40], [150, 105, 70], [205, 185, 155], [105, 65, 40]][x as usize / 50]
        });
        assert_eq!(names_in(&shades), ["brown", "beige"]);
    }

    #[test]
    fn muted_and_bright_pictures_suggest_a_style() {
        let grey = file(ImageFormat::Png, |x, _| if x < 100 { [20, 20, 20] } else { [200, 200, 200] });
        assert_eq!(seen(&grey)["styleKeywords"], json!(["minimalist"]));
        let red = file(ImageFormat::Png, |x, _| if x < 100 { [220, 20, 30] } else { [250, 220, 30] });
        assert_eq!(seen(&red)["styleKeywords"], json!(["colourful"]));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(matches!(describe(b""), Err(Fault::Unreadable(_))));
        assert!(matches!(describe(b"\x89PNG\r\n\x1a\nnonsense"), Err(Fault::Unreadable(_))));
        let whole = file(ImageFormat::Png, |_, _| [1, 2, 3]);
        assert!(matches!(describe(&whole[..whole.len() / 2]), Err(Fault::Unreadable(_))));
    }

    #[test]
    fn a_transparent_picture_shows_nothing() {
        let mut nothing = Vec::new();
        let image = image::RgbaImage::new(20, 20);
        image.write_to(&mut Cursor::new(&mut nothing), ImageFormat::Png).unwrap();
        assert!(matches!(describe(&nothing), Err(Fault::Empty)));
    }

    #[test]
    fn pictures_of_phones_are_seen() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/plain.heic");
        let colours = seen(&std::fs::read(path).unwrap())["colors"].clone();
        let found: std::collections::BTreeSet<&str> =
            colours.as_array().unwrap().iter().map(|colour| colour.as_str().unwrap()).collect();
        assert_eq!(found, ["blue", "green", "red", "white"].into());
    }
}
