//! What a picture shows, as far as its colours tell: they are clustered, and each large cluster gets the name of the
//! nearest colour that the product knows.
//!
//! Distances are taken in Oklab, where equal distances look equally far apart
//! (<https://bottosson.github.io/posts/oklab/>). Everything is deterministic.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use serde_json::json;

use crate::imaging::{self, colours};
use crate::model::vocabulary;

/// More pixels are refused before any of them is read.
const MOST_PIXELS: u64 = 50_000_000;
const LONGEST_SIDE: u32 = 16_384;
const MOST_MEMORY_BYTES: u64 = 512 << 20;
/// Side of the square that is looked at.
const SIDE: u32 = 48;
/// Longest side of the picture whose colours are listed.
const LONGEST_LOOK: u32 = 256;
const CLUSTERS: usize = 6;
const ROUNDS: usize = 12;
/// Share of the picture that a colour must have to be named.
const LEAST_SHARE: f64 = 0.06;
const MOST_COLOURS: usize = 4;
/// Oklab chroma below which a colour looks grey, and from which it looks bright.
const MUTED: f64 = 0.05;
const BRIGHT: f64 = 0.14;

/// The known colours, in the order of [`vocabulary::COLOURS`].
const PALETTE: [[u8; 3]; vocabulary::COLOURS.len()] = [
    [15, 15, 15],    // black
    [250, 250, 250], // white
    [40, 100, 220],  // blue
    [22, 34, 84],    // navy
    [205, 28, 36],   // red
    [40, 140, 60],   // green
    [245, 220, 50],  // yellow
    [240, 130, 30],  // orange
    [245, 150, 185], // pink
    [120, 50, 150],  // purple
    [105, 66, 38],   // brown
    [215, 190, 155], // beige
    [128, 128, 128], // grey
    [248, 240, 215], // cream
    [105, 110, 45],  // olive
    [115, 20, 35],   // maroon
    [15, 125, 125],  // teal
    [205, 165, 60],  // gold
    [192, 192, 196], // silver
];

/// Why a picture cannot be seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the picture cannot be decoded")]
    Unreadable(#[from] image::ImageError),
    #[error("the picture cannot be read")]
    Unread(#[from] imaging::Error),
    #[error("the picture has too many pixels")]
    TooLarge,
    #[error("the picture is transparent throughout")]
    Empty,
}

/// A way to look at the file of a picture.
pub(super) type Look = fn(&[u8]) -> Result<String, Fault>;

/// The description as a vision model would answer it: JSON with `styleKeywords`, `colors`, `garments` and `brand`. Takes
/// tens of milliseconds for a large picture: not for an async thread.
pub(super) fn describe(file: &[u8]) -> Result<String, Fault> {
    let clusters = clusters(&pixels(&decode(file)?)?);
    let mut colours: Vec<&'static str> = Vec::new();
    for cluster in clusters.iter().filter(|cluster| cluster.share >= LEAST_SHARE) {
        let name = name(cluster.centre);
        if !colours.contains(&name) && colours.len() < MOST_COLOURS {
            colours.push(name);
        }
    }
    let styles: Vec<&str> = style(&clusters).into_iter().collect();
    Ok(json!({"styleKeywords": styles, "colors": colours, "garments": [], "brand": null}).to_string())
}

/// The garment's metadata as a vision model would answer them, as far as colours tell: JSON with `brand`, `category`, `tags`
/// and `colours`.
pub(super) fn list_colours(file: &[u8]) -> Result<String, Fault> {
    let picture = imaging::decode::decode_to_fit(file, &imaging::decode::Limits::default(), LONGEST_LOOK)?;
    let colours: Vec<_> = colours::dominant(&picture, MOST_COLOURS)
        .into_iter()
        .map(|colour| json!({"name": colour.name, "hex": colour.hex.to_string()}))
        .collect();
    Ok(json!({"brand": null, "category": null, "tags": [], "colours": colours}).to_string())
}

fn decode(file: &[u8]) -> Result<DynamicImage, Fault> {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(image::ImageError::from)?;
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Fault::TooLarge);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY_BYTES);
    decoder.set_limits(limits)?;
    Ok(DynamicImage::from_decoder(decoder)?)
}

/// A pixel in Oklab, and whether it is one of the picture's corners.
struct Pixel {
    colour: [f64; 3],
    is_corner: bool,
}

fn pixels(image: &DynamicImage) -> Result<Vec<Pixel>, Fault> {
    let small = image.thumbnail_exact(SIDE, SIDE).to_rgba8();
    let is_edge = |at: u32| !(4..SIDE - 4).contains(&at);
    let opaque = small.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] >= 128);
    let pixels: Vec<Pixel> = opaque
        .map(|(x, y, pixel)| {
            let [red, green, blue, _] = pixel.0;
            Pixel { colour: oklab([red, green, blue]), is_corner: is_edge(x) && is_edge(y) }
        })
        .collect();
    if pixels.is_empty() { Err(Fault::Empty) } else { Ok(pixels) }
}

#[derive(Debug, Clone)]
struct Cluster {
    centre: [f64; 3],
    /// Share of the picture.
    share: f64,
    /// Share of the corners.
    corners: f64,
}

/// The clusters, the largest first, but what fills the corners is the background and comes last.
fn clusters(pixels: &[Pixel]) -> Vec<Cluster> {
    let mut centres = starting_points(pixels);
    for _ in 0..ROUNDS {
        let mut sums = vec![([0.0; 3], 0_usize); centres.len()];
        for pixel in pixels {
            let (sum, count) = &mut sums[nearest(&centres, pixel.colour)];
            for (total, part) in sum.iter_mut().zip(pixel.colour) {
                *total += part;
            }
            *count += 1;
        }
        for (centre, (sum, count)) in centres.iter_mut().zip(sums) {
            if count > 0 {
                *centre = sum.map(|total| total / count as f64);
            }
        }
    }
    let corners = pixels.iter().filter(|pixel| pixel.is_corner).count().max(1) as f64;
    let mut clusters: Vec<Cluster> =
        centres.iter().map(|centre| Cluster { centre: *centre, share: 0.0, corners: 0.0 }).collect();
    for pixel in pixels {
        let cluster = &mut clusters[nearest(&centres, pixel.colour)];
        cluster.share += 1.0 / pixels.len() as f64;
        if pixel.is_corner {
            cluster.corners += 1.0 / corners;
        }
    }
    let is_background = |cluster: &Cluster| cluster.corners > 0.7;
    clusters.sort_by(|one, other| {
        is_background(one).cmp(&is_background(other)).then_with(|| other.share.total_cmp(&one.share))
    });
    clusters
}

/// Colours that are as far from each other as can be: each next one is the farthest from those before.
fn starting_points(pixels: &[Pixel]) -> Vec<[f64; 3]> {
    let mut points = vec![pixels[0].colour];
    while points.len() < CLUSTERS {
        let away = |pixel: &Pixel| distance(points[nearest(&points, pixel.colour)], pixel.colour);
        let farthest =
            pixels.iter().map(|pixel| (away(pixel), pixel.colour)).max_by(|(one, _), (other, _)| one.total_cmp(other));
        match farthest {
            Some((distance, colour)) if distance > f64::EPSILON => points.push(colour),
            _ => break,
        }
    }
    points
}

fn nearest(points: &[[f64; 3]], colour: [f64; 3]) -> usize {
    let distances = points.iter().map(|point| distance(*point, colour)).enumerate();
    distances.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(index, _)| index)
}

fn distance(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn name(colour: [f64; 3]) -> &'static str {
    vocabulary::COLOURS[nearest(&PALETTE.map(oklab), colour)]
}

/// The style that the colours alone suggest, if any.
fn style(clusters: &[Cluster]) -> Option<&'static str> {
    let chroma = |cluster: &Cluster| cluster.centre[1].hypot(cluster.centre[2]);
    let share = |test: &dyn Fn(f64) -> bool| -> f64 {
        clusters.iter().filter(|cluster| test(chroma(cluster))).map(|cluster| cluster.share).sum()
    };
    if share(&|chroma| chroma < MUTED) > 0.85 {
        Some("minimalist")
    } else if share(&|chroma| chroma >= BRIGHT) > 0.4 {
        Some("colourful")
    } else {
        None
    }
}

fn oklab(rgb: [u8; 3]) -> [f64; 3] {
    let [red, green, blue] = rgb.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.412_221_470_8 * red + 0.536_332_536_3 * green + 0.051_445_992_9 * blue).cbrt();
    let m = (0.211_903_498_2 * red + 0.680_699_545_1 * green + 0.107_396_956_6 * blue).cbrt();
    let s = (0.088_302_461_9 * red + 0.281_718_837_6 * green + 0.629_978_700_5 * blue).cbrt();
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};
    use serde_json::Value;

    use super::*;

    fn file(format: ImageFormat, paint: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let mut file = Vec::new();
        let image = RgbImage::from_fn(200, 160, |x, y| Rgb(paint(x, y)));
        image.write_to(&mut Cursor::new(&mut file), format).unwrap();
        file
    }

    fn seen(file: &[u8]) -> Value {
        serde_json::from_str(&describe(file).unwrap()).unwrap()
    }

    #[test]
    fn each_known_colour_is_recognised() {
        for (name, colour) in vocabulary::COLOURS.into_iter().zip(PALETTE) {
            assert_eq!(seen(&file(ImageFormat::Png, |_, _| colour))["colors"], json!([name]));
        }
    }

    #[test]
    fn what_is_worn_comes_before_the_background() {
        let paint = |x: u32, y: u32| match (x, y) {
            (60..140, 20..90) => [20, 32, 80],
            (60..140, 90..150) => [214, 188, 150],
            _ => [250, 250, 250],
        };
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            assert_eq!(seen(&file(format, paint))["colors"], json!(["navy", "beige", "white"]), "{format:?}");
        }
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
}
