//! The dominant colours of a picture, with names.
//!
//! Its pixels are clustered in a perceptual colour space (k-means with a deterministic start, so the same picture gives
//! the same result); similar groups are merged. Transparent pixels do not count.

use std::fmt;

use super::oklab::{Converter, Lab, distance};
use super::picture::Picture;
use super::transform;

/// Longest side, in pixels, of the copy whose colours are counted.
const WORK_SIDE: u32 = 96;
/// Groups at first.
const GROUPS: usize = 8;
/// Rounds of moving the groups' centres.
const ROUNDS: usize = 12;
/// Distance below which groups look like one colour.
const ALIKE: f32 = 0.09;
/// Part of a picture's width and height that its corners take on each side.
const CORNER: u32 = 12;
/// Minimum share of the picture that a colour must cover.
const LEAST_SHARE: f64 = 0.04;

/// Reference colours of the product's colour names; a name may have several.
pub const LOOKS: [(&str, [u8; 3]); 36] = [
    ("black", [16, 16, 16]),
    ("black", [36, 35, 37]),
    ("white", [250, 250, 250]),
    ("white", [232, 233, 235]),
    ("grey", [128, 128, 128]),
    ("grey", [85, 86, 88]),
    ("grey", [170, 171, 172]),
    ("silver", [200, 203, 207]),
    ("navy", [22, 32, 72]),
    ("navy", [35, 45, 80]),
    ("navy", [0, 0, 128]),
    ("blue", [20, 40, 235]),
    ("blue", [40, 80, 190]),
    ("blue", [90, 140, 210]),
    ("blue", [160, 195, 230]),
    ("blue", [75, 100, 140]),
    ("teal", [0, 128, 128]),
    ("teal", [60, 150, 145]),
    ("green", [40, 140, 60]),
    ("green", [25, 80, 45]),
    ("green", [140, 190, 130]),
    ("olive", [105, 105, 50]),
    ("yellow", [245, 220, 60]),
    ("gold", [205, 165, 55]),
    ("orange", [235, 130, 35]),
    ("red", [205, 30, 40]),
    ("maroon", [110, 20, 40]),
    ("pink", [240, 150, 180]),
    ("pink", [245, 200, 210]),
    ("pink", [225, 60, 130]),
    ("purple", [110, 50, 140]),
    ("purple", [165, 130, 195]),
    ("brown", [105, 65, 40]),
    ("brown", [150, 105, 70]),
    ("beige", [205, 185, 155]),
    ("cream", [243, 234, 212]),
];

/// A colour of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Colour {
    /// Name of the colour, one of those in [`LOOKS`].
    pub name: &'static str,
    /// The colour itself.
    pub hex: Hex,
    /// Share of the picture that it covers, 0 to 1.
    pub share: f64,
    /// Share of the picture's corners that it covers, 0 to 1; a background covers most.
    pub corners: f64,
    /// Share of the middle third of the picture, across and down, that it covers, 0 to 1; a garment covers most.
    pub middle: f64,
}

impl Colour {
    /// Returns the distance from grey in `OKLab`: 0 to about 0.3.
    pub fn chroma(&self) -> f32 {
        let [_, a, b] = Converter::new().lab(&self.hex.0);
        a.hypot(b)
    }
}

/// A colour, shown as `#rrggbb` in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex(pub [u8; 3]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Returns the product's name for a colour.
pub fn name(colour: [u8; 3]) -> &'static str {
    let converter = Converter::new();
    let wanted = converter.lab(&colour);
    let apart = |look: &[u8; 3]| distance(converter.lab(look), wanted);
    let nearest = LOOKS.iter().min_by(|one, other| apart(&one.1).total_cmp(&apart(&other.1)));
    nearest.map_or("grey", |(name, _)| name)
}

/// Returns at most `most` colours of a picture, largest share first; none if it is completely transparent.
pub fn dominant(picture: &Picture, most: usize) -> Vec<Colour> {
    let small = transform::shrunk(picture, WORK_SIDE);
    let converter = Converter::new();
    let (width, height) = (small.width(), small.height());
    let is_end = |at: u32, side: u32| at < side.div_ceil(CORNER) || at + side.div_ceil(CORNER) >= side;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let is_inner = |at: u32, side: u32| at >= side / 3 && at < side - side / 3;
    let seen = places.zip(small.pixels()).filter(|(_, pixel)| pixel.get(3).is_none_or(|alpha| *alpha >= 128));
    let pixels: Vec<Pixel> = seen
        .map(|((x, y), pixel)| Pixel {
            lab: converter.lab(pixel),
            rgb: [pixel[0], pixel[1], pixel[2]],
            is_corner: is_end(x, width) && is_end(y, height),
            is_middle: is_inner(x, width) && is_inner(y, height),
        })
        .collect();
    if pixels.is_empty() {
        return Vec::new();
    }
    let mut groups = group(&pixels);
    merge(&mut groups);
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let share = |group: &Group| group.count as f64 / pixels.len() as f64;
    // Transparent pixels count here, so that a sleeve in one corner of a cut-out is no background.
    let area = |side: &dyn Fn(u32, u32) -> bool| -> u64 {
        [width, height].map(|length| (0..length).filter(|at| side(*at, length)).count() as u64).iter().product()
    };
    let (all_corners, whole_middle) = (area(&is_end), area(&is_inner));
    let shown = groups.iter().enumerate().filter(|(place, group)| *place == 0 || share(group) >= LEAST_SHARE);
    shown
        .take(most)
        .map(|(_, group)| Colour {
            name: name(group.colour()),
            hex: Hex(group.colour()),
            share: share(group),
            corners: group.corners as f64 / all_corners as f64,
            middle: group.middle as f64 / whole_middle as f64,
        })
        .collect()
}

struct Pixel {
    lab: Lab,
    rgb: [u8; 3],
    is_corner: bool,
    is_middle: bool,
}

/// Pixels that look alike.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    lab: [f64; 3],
    rgb: [u64; 3],
    count: u64,
    corners: u64,
    middle: u64,
}

impl Group {
    fn add(&mut self, pixel: &Pixel) {
        for channel in 0..3 {
            self.lab[channel] += f64::from(pixel.lab[channel]);
            self.rgb[channel] += u64::from(pixel.rgb[channel]);
        }
        self.count += 1;
        self.corners += u64::from(pixel.is_corner);
        self.middle += u64::from(pixel.is_middle);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a colour needs no more")]
    fn centre(&self) -> Lab {
        self.lab.map(|sum| (sum / self.count.max(1) as f64) as f32)
    }

    fn colour(&self) -> [u8; 3] {
        let count = self.count.max(1);
        self.rgb.map(|sum| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX))
    }
}

/// Clusters by k-means. The first centre is the mean, each further one the pixel farthest from all previous ones.
fn group(pixels: &[Pixel]) -> Vec<Group> {
    let mut all = Group::default();
    pixels.iter().for_each(|pixel| all.add(pixel));
    let mut centres = vec![all.centre()];
    let mut gaps: Vec<f32> = pixels.iter().map(|pixel| distance(pixel.lab, centres[0])).collect();
    while centres.len() < GROUPS {
        let farthest = gaps.iter().zip(pixels).max_by(|one, other| one.0.total_cmp(other.0));
        let Some((_, next)) = farthest.filter(|(gap, _)| **gap > ALIKE / 2.0) else { break };
        centres.push(next.lab);
        gaps.iter_mut().zip(pixels).for_each(|(gap, pixel)| *gap = gap.min(distance(pixel.lab, next.lab)));
    }
    let mut groups = Vec::new();
    for _ in 0..ROUNDS {
        groups = vec![Group::default(); centres.len()];
        for pixel in pixels {
            let apart = |centre: &Lab| distance(*centre, pixel.lab);
            let nearest =
                (0..centres.len()).min_by(|one, other| apart(&centres[*one]).total_cmp(&apart(&centres[*other])));
            groups[nearest.unwrap_or(0)].add(pixel);
        }
        groups.retain(|group| group.count > 0);
        let moved: Vec<Lab> = groups.iter().map(Group::centre).collect();
        if moved == centres {
            break;
        }
        centres = moved;
    }
    groups
}

/// Merges similar groups, nearest first.
fn merge(groups: &mut Vec<Group>) {
    loop {
        let pairs = (0..groups.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let apart = |(one, other): &(usize, usize)| distance(groups[*one].centre(), groups[*other].centre());
        let nearest = pairs.min_by(|first, second| apart(first).total_cmp(&apart(second)));
        let Some((one, other)) = nearest.filter(|pair| apart(pair) < ALIKE) else { return };
        // `one` is the later of the two, so `other` stays where it is.
        let gone = groups.swap_remove(one);
        let kept = &mut groups[other];
        for channel in 0..3 {
            kept.lab[channel] += gone.lab[channel];
            kept.rgb[channel] += gone.rgb[channel];
        }
        kept.count += gone.count;
        kept.corners += gone.corners;
        kept.middle += gone.middle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    fn names(colours: &[Colour]) -> Vec<&str> {
        colours.iter().map(|colour| colour.name).collect()
    }

    /// Creates a picture of columns of these widths and colours.
    fn columns(parts: &[(u32, [u8; 4])]) -> Picture {
        let row: Vec<u8> = parts.iter().flat_map(|(width, pixel)| pixel.repeat(*width as usize)).collect();
        Picture::new(row.len() as u32 / 4, 40, Layout::Rgba, row.repeat(40)).unwrap()
    }

    #[test]
    fn a_reference_colour_has_its_own_name() {
        for (name, look) in LOOKS {
            assert_eq!(super::name(look), name);
        }
    }

    #[test]
    fn named_colours_of_the_web_have_their_names() {
        for (colour, expected) in [
            ([0, 0, 0], "black"),
            ([255, 255, 255], "white"),
            ([255, 0, 0], "red"),
            ([0, 0, 255], "blue"),
            ([0, 128, 0], "green"),
            ([0, 0, 128], "navy"),
            ([128, 0, 0], "maroon"),
            ([128, 128, 0], "olive"),
            ([0, 128, 128], "teal"),
            ([255, 165, 0], "orange"),
            ([255, 255, 0], "yellow"),
            ([128, 0, 128], "purple"),
            ([245, 245, 220], "cream"),
            ([255, 192, 203], "pink"),
            ([192, 192, 192], "silver"),
            ([139, 69, 19], "brown"),
            ([212, 175, 55], "gold"),
        ] {
            assert_eq!(name(colour), expected, "{colour:?}");
        }
    }

    #[test]
    fn the_largest_colour_comes_first_with_its_hex_and_share() {
        let picture = columns(&[(60, [28, 35, 79, 255]), (30, [240, 240, 238, 255]), (9, [200, 30, 40, 255])]);
        let found = dominant(&picture, 5);
        assert_eq!(names(&found), ["navy", "white", "red"]);
        assert_eq!(found[0].hex.to_string(), "#1c234f");
        assert!((found[0].share - 0.6).abs() < 0.02, "{found:?}");
        assert_eq!(dominant(&picture, 2).len(), 2);
    }

    #[test]
    fn transparent_pixels_do_not_count() {
        let picture = columns(&[(80, [0, 255, 0, 0]), (19, [30, 30, 32, 255])]);
        assert_eq!(names(&dominant(&picture, 5)), ["black"]);
        assert_eq!(dominant(&columns(&[(50, [9, 9, 9, 0])]), 5), []);
    }

    #[test]
    fn what_fills_the_corners_is_told() {
        let row = |colours: &[(u32, [u8; 4])]| -> Vec<u8> {
            colours.iter().flat_map(|(width, pixel)| pixel.repeat(*width as usize)).collect()
        };
        let (wall, coat) = ([245, 245, 245, 255], [20, 30, 75, 255]);
        let rows = [row(&[(60, wall)]).repeat(10), row(&[(5, wall), (50, coat), (5, wall)]).repeat(40)];
        let bytes = [&rows[0][..], &rows[1], &rows[0]].concat();
        let found = dominant(&Picture::new(60, 60, Layout::Rgba, bytes).unwrap(), 5);
        assert_eq!(names(&found), ["navy", "white"]);
        assert_eq!((found[0].corners, found[1].corners), (0.0, 1.0));
        assert_eq!((found[0].middle, found[1].middle), (1.0, 0.0));
        assert!(found[0].chroma() > 0.05 && found[1].chroma() < 0.01, "{found:?}");
    }

    #[test]
    fn a_garment_at_one_side_of_a_cut_out_is_in_half_of_the_corners() {
        let found = dominant(&columns(&[(20, [20, 30, 75, 255]), (60, [0, 0, 0, 0])]), 5);
        assert_eq!((found[0].name, found[0].corners, found[0].middle), ("navy", 0.5, 0.0));
    }

    #[test]
    fn shades_of_one_garment_are_one_colour() {
        let parts: Vec<(u32, [u8; 4])> = (0..40).map(|step| (2, [20 + step, 60 + step, 150 + step, 255])).collect();
        assert_eq!(names(&dominant(&columns(&parts), 5)), ["blue"]);
    }

    #[test]
    fn the_same_picture_gives_the_same_answer() {
        let parts: Vec<(u32, [u8; 4])> =
            (0..90_u32).map(|x| (1, [(x * 37 % 256) as u8, (x * 91 % 256) as u8, (x * 53 % 256) as u8, 255])).collect();
        let picture = columns(&parts);
        assert_eq!(dominant(&picture, 8), dominant(&picture, 8));
    }
}
