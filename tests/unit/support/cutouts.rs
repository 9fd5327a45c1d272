//! A test set for background removal: the demo's garments laid on drawn grounds, so that it is known which pixels are
//! theirs.
//!
//! Every picture is made of a garment, a ground and a number alone, the same on every machine. Grounds are what people
//! lay or hang clothes on at home. Light, shadow, grain and JPEG are added as a phone's camera adds them.

use pluckit::imaging::decode::{Limits, decode};
use pluckit::imaging::picture::{Layout, Picture};
use pluckit::imaging::transform::to_jpeg;

/// Pixels per row of a sample.
const WIDTH: usize = 720;
/// Rows of a sample.
const HEIGHT: usize = 960;
/// How far apart two outlines may be to count as the same, in pixels.
const OUTLINE_SLACK: usize = 3;

/// What garments lie on, and which of them lie there.
const GROUNDS: [(&str, Ground, [&str; 5]); 12] = [
    (
        "plain wall",
        |_, _, _| [226.0, 221.0, 212.0],
        [
            "navy-oxford-shirt",
            "charcoal-unstructured-blazer",
            "brown-suede-loafers",
            "terracotta-camp-collar-shirt",
            "indigo-denim-jacket",
        ],
    ),
    (
        "wall in window light",
        window_light,
        ["sage-linen-shirt", "black-slip-dress", "camel-wool-coat", "striped-breton-tee", "olive-puffer-jacket"],
    ),
    (
        "wooden boards",
        boards,
        [
            "light-blue-oversized-shirt",
            "white-leather-sneakers",
            "grey-wide-leg-trousers",
            "black-leather-jacket",
            "cream-cable-knit",
        ],
    ),
    (
        "parquet",
        parquet,
        [
            "burgundy-derby-shoes",
            "navy-pique-polo",
            "rust-mohair-cardigan",
            "indigo-straight-jeans",
            "black-crossbody-bag",
        ],
    ),
    (
        "bed linen",
        linen,
        [
            "black-heavyweight-tee",
            "mustard-chunky-roll-neck",
            "beige-pleated-chinos",
            "navy-rain-jacket",
            "grey-running-shoes",
        ],
    ),
    (
        "tiles",
        tiles,
        ["navy-tailored-shorts", "tan-leather-sandals", "grey-graphic-tee", "black-chelsea-boots", "stone-trench-coat"],
    ),
    (
        "checked blanket",
        checks,
        ["white-poplin-shirt", "black-midi-skirt", "forest-green-knit-vest", "olive-cargo-pants", "ecru-silk-blouse"],
    ),
    (
        "dotted cloth",
        dots,
        [
            "black-cashmere-crewneck",
            "dusty-pink-wedding-guest-dress",
            "black-slim-jeans",
            "white-linen-trousers",
            "navy-ribbed-beanie",
        ],
    ),
    (
        "rug",
        rug,
        [
            "white-heavyweight-tee",
            "blue-striped-shirt-dress",
            "navy-lambswool-sweater",
            "brown-leather-belt",
            "burgundy-wrap-top",
        ],
    ),
    (
        "stained concrete",
        concrete,
        [
            "olive-long-sleeve-tee",
            "black-fine-rib-turtleneck",
            "black-block-heel-pumps",
            "grey-wool-overshirt",
            "indigo-denim-jacket",
        ],
    ),
    (
        "cloth of nearly its colour",
        |at, seed, garment| near_colour(at, seed, garment, 0.86),
        [
            "grey-merino-crewneck",
            "camel-wool-coat",
            "olive-puffer-jacket",
            "charcoal-wool-trousers",
            "sage-linen-shirt",
        ],
    ),
    (
        "wood of nearly its colour",
        near_wood,
        [
            "rust-mohair-cardigan",
            "brown-suede-loafers",
            "camel-wool-coat",
            "terracotta-camp-collar-shirt",
            "tan-leather-sandals",
        ],
    ),
];

/// The colour of a ground at a place (in widths of the picture), for a seed and the mean colour of the garment on it.
type Ground = fn((f32, f32), u32, Colour) -> Colour;

/// Red, green and blue, 0 to 255.
type Colour = [f32; 3];

/// A picture, and which of its pixels are garment.
pub struct Sample {
    /// What the garment lies on.
    pub ground: &'static str,
    /// The demo's garment.
    pub garment: &'static str,
    /// The picture, as a phone sends it.
    pub picture: Picture,
    /// For each pixel, whether it is garment.
    pub truth: Vec<bool>,
}

/// The samples whose ground and garment are wanted, one after the other.
pub fn samples(mut wanted: impl FnMut(&str, &str) -> bool) -> impl Iterator<Item = Sample> {
    let named = GROUNDS
        .iter()
        .flat_map(|(name, ground, garments)| garments.iter().map(move |garment| (*name, *ground, *garment)));
    let numbered = named.zip(1..).filter(move |((name, _, garment), _)| wanted(name, garment));
    numbered.map(|((name, ground, garment), seed)| Sample::new(name, ground, garment, seed))
}

impl Sample {
    fn new(name: &'static str, ground: Ground, garment: &'static str, seed: u32) -> Self {
        let laid = Laid::new(garment, seed);
        let colour = laid.mean_colour();
        let shadow = laid.shadow();
        let mut random = Random(seed);
        let [light_x, light_y, warmth] = [random.next(), random.next() * 0.5, random.next() * 0.08 - 0.04];
        let mut bytes = Vec::with_capacity(WIDTH * HEIGHT * 3);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (u, v) = (x as f32 / WIDTH as f32, y as f32 / WIDTH as f32);
                let [red, green, blue, alpha] = laid.pixels[y * WIDTH + x];
                let behind = ground((u, v), seed, colour).map(|value| value * (1.0 - 0.45 * shadow[y * WIDTH + x]));
                let near = 1.0 - (u - light_x).hypot(v - light_y) / 1.6;
                let vignette = 1.0 - 0.3 * ((u - 0.5).powi(2) + (v / 1.333 - 0.5).powi(2));
                let light = (0.78 + 0.3 * near) * vignette;
                let grain = random.grain() * 3.5;
                for ((garment, behind), tint) in
                    [red, green, blue].into_iter().zip(behind).zip([1.0 + warmth, 1.0, 1.0 - warmth])
                {
                    let value = (garment * alpha + behind * (1.0 - alpha)) * light * tint + grain;
                    bytes.push(value.round().clamp(0.0, 255.0) as u8);
                }
            }
        }
        let truth = laid.pixels.iter().map(|pixel| pixel[3] >= 0.5).collect();
        let picture = Picture::new(WIDTH as u32, HEIGHT as u32, Layout::Rgb, bytes).expect("it has this size");
        let jpeg = to_jpeg(picture, 82).expect("it can be written");
        let picture = decode(&jpeg, &Limits::default()).expect("it was just written");
        Self { ground: name, garment, picture, truth }
    }

    /// How well a picture that was cut out fits the garment.
    pub fn fit(&self, cut: &Picture) -> Fit {
        let found: Vec<bool> = if cut.has_alpha() {
            cut.pixels().map(|pixel| pixel[3] >= 128).collect()
        } else {
            vec![true; WIDTH * HEIGHT]
        };
        let (mut both, mut either) = (0_u32, 0_u32);
        for (found, is_garment) in found.iter().zip(&self.truth) {
            both += u32::from(*found && *is_garment);
            either += u32::from(*found || *is_garment);
        }
        let (found, truth) = (outline(&found), outline(&self.truth));
        let (precision, recall) = (share_near(&found, &truth), share_near(&truth, &found));
        let outline = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Fit { overlap: f64::from(both) / f64::from(either.max(1)), outline }
    }
}

/// How well a cut fits.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// Intersection over union, 0 to 1.
    pub overlap: f64,
    /// F-score of the outline: of its pixels within three pixels of the true ones, and the reverse.
    pub outline: f64,
}

/// The pixels that have another beside them that differs.
fn outline(mask: &[bool]) -> Vec<bool> {
    let differs = |at: usize| {
        let (x, y) = (at % WIDTH, at / WIDTH);
        mask[at]
            && ((x > 0 && !mask[at - 1])
                || (x + 1 < WIDTH && !mask[at + 1])
                || (y > 0 && !mask[at - WIDTH])
                || (y + 1 < HEIGHT && !mask[at + WIDTH]))
    };
    (0..mask.len()).map(differs).collect()
}

/// The part of some pixels that have one of others near.
fn share_near(pixels: &[bool], others: &[bool]) -> f64 {
    let (mut near, mut all) = (0_u32, 0_u32);
    for at in (0..pixels.len()).filter(|at| pixels[*at]) {
        let (x, y) = (at % WIDTH, at / WIDTH);
        let rows = y.saturating_sub(OUTLINE_SLACK)..(y + OUTLINE_SLACK + 1).min(HEIGHT);
        let columns = x.saturating_sub(OUTLINE_SLACK)..(x + OUTLINE_SLACK + 1).min(WIDTH);
        all += 1;
        near += u32::from(rows.into_iter().any(|row| others[row * WIDTH..][columns.clone()].contains(&true)));
    }
    f64::from(near) / f64::from(all.max(1))
}

/// A garment where it lies in the picture: colours and alpha (0 to 1) of all its pixels.
struct Laid {
    pixels: Vec<[f32; 4]>,
}

impl Laid {
    fn new(garment: &str, seed: u32) -> Self {
        let path = format!("{}/demo/pictures/demo-{garment}.webp", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let picture = decode(&file, &Limits::default()).expect("the demo's pictures can be read").into_rgba();
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9));
        let scale = 1.3 + 0.35 * random.next();
        let (sin, cos) = (random.next() * 0.3 - 0.15).sin_cos();
        let (right, down) = ((random.next() - 0.5) * 50.0, (random.next() - 0.5) * 60.0);
        let (middle_x, middle_y) = (picture.width() as f32 / 2.0, picture.height() as f32 / 2.0);
        let mut pixels = Vec::with_capacity(WIDTH * HEIGHT);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let (x, y) = (x as f32 - WIDTH as f32 / 2.0 - right, y as f32 - HEIGHT as f32 / 2.0 - down);
                pixels.push(sample(
                    &picture,
                    middle_x + (x * cos + y * sin) / scale,
                    middle_y + (y * cos - x * sin) / scale,
                ));
            }
        }
        Self { pixels }
    }

    fn mean_colour(&self) -> Colour {
        let mut sums = [0.0; 4];
        for pixel in self.pixels.iter().filter(|pixel| pixel[3] > 0.9) {
            sums = std::array::from_fn(|channel| sums[channel] + f64::from(pixel[channel]));
        }
        [0, 1, 2].map(|channel| (sums[channel] / sums[3].max(1.0)) as f32)
    }

    /// How much light the garment takes from each pixel beside it, 0 to 1: a dark narrow shadow and a wide soft one.
    fn shadow(&self) -> Vec<f32> {
        let alpha: Vec<f32> = self.pixels.iter().map(|pixel| pixel[3]).collect();
        let (narrow, wide) = (blurred(&alpha, 4), blurred(&alpha, 22));
        let from = |values: &[f32], x: usize, y: usize, by: usize| {
            values[y.saturating_sub(by) * WIDTH + x.saturating_sub(by * 2 / 3)]
        };
        let places = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
        places.map(|(x, y)| (0.5 * from(&narrow, x, y, 4) + 0.5 * from(&wide, x, y, 18)).min(1.0)).collect()
    }
}

/// A picture's pixel between four others; transparent beyond its border.
fn sample(picture: &Picture, x: f32, y: f32) -> [f32; 4] {
    let (left, top) = ((x - 0.5).floor(), (y - 0.5).floor());
    let (across, along) = (x - 0.5 - left, y - 0.5 - top);
    let mut sums = [0.0; 4];
    for (down, right, share) in [
        (0.0, 0.0, (1.0 - across) * (1.0 - along)),
        (0.0, 1.0, across * (1.0 - along)),
        (1.0, 0.0, (1.0 - across) * along),
        (1.0, 1.0, across * along),
    ] {
        let (column, row) = (left + right, top + down);
        if column < 0.0 || row < 0.0 || column >= picture.width() as f32 || row >= picture.height() as f32 {
            continue;
        }
        let at = (row as usize * picture.width() as usize + column as usize) * 4;
        let pixel = &picture.bytes()[at..at + 4];
        let alpha = share * f32::from(pixel[3]) / 255.0;
        for channel in 0..3 {
            sums[channel] += f32::from(pixel[channel]) * alpha;
        }
        sums[3] += alpha;
    }
    let alpha = sums[3].max(1e-6);
    [sums[0] / alpha, sums[1] / alpha, sums[2] / alpha, sums[3].min(1.0)]
}

/// The mean of the square around each pixel, twice.
fn blurred(values: &[f32], reach: usize) -> Vec<f32> {
    let along = |values: &[f32], length: usize, lines: usize, step: usize, next: usize| {
        let mut result = vec![0.0; values.len()];
        for line in 0..lines {
            let at = |place: usize| line * next + place.min(length - 1) * step;
            let mut sum: f32 = (0..=reach).map(|place| values[at(place)]).sum::<f32>() + values[at(0)] * reach as f32;
            for place in 0..length {
                result[at(place)] = sum / (2 * reach + 1) as f32;
                sum += values[at(place + reach + 1)] - values[at(place.saturating_sub(reach))];
            }
        }
        result
    };
    let across = along(values, WIDTH, HEIGHT, 1, WIDTH);
    let once = along(&across, HEIGHT, WIDTH, WIDTH, 1);
    let across = along(&once, WIDTH, HEIGHT, 1, WIDTH);
    along(&across, HEIGHT, WIDTH, WIDTH, 1)
}

/// Numbers that look random and are the same each time.
struct Random(u32);

impl Random {
    /// From 0 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        mixed(self.0)
    }

    /// About normally distributed, with a deviation of about one.
    fn grain(&mut self) -> f32 {
        (self.next() + self.next() + self.next() - 1.5) * 2.0
    }
}

fn mixed(value: u32) -> f32 {
    let value = ((value >> ((value >> 28) + 4)) ^ value).wrapping_mul(277_803_737);
    ((value >> 22) ^ value) as f32 / u32::MAX as f32
}

/// A random number, 0 to 1, for each place of a grid.
fn scatter(x: f32, y: f32, seed: u32) -> f32 {
    let (x, y) = (x as i32 as u32, y as i32 as u32);
    let value = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    mixed(mixed_bits(value))
}

fn mixed_bits(value: u32) -> u32 {
    let value = (value ^ (value >> 15)).wrapping_mul(0x2C1B_3C6D);
    let value = (value ^ (value >> 12)).wrapping_mul(0x297A_2D39);
    value ^ (value >> 15)
}

/// Smooth noise, -1 to 1.
fn cloud(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (across, along) = (smooth(x - left), smooth(y - top));
    let corner = |right: f32, down: f32| scatter(left + right, top + down, seed);
    let above = corner(0.0, 0.0) * (1.0 - across) + corner(1.0, 0.0) * across;
    let below = corner(0.0, 1.0) * (1.0 - across) + corner(1.0, 1.0) * across;
    2.0 * (above * (1.0 - along) + below * along) - 1.0
}

/// Clouds of several sizes, about -1 to 1.
fn clouds(x: f32, y: f32, seed: u32) -> f32 {
    0.55 * cloud(x, y, seed) + 0.3 * cloud(x * 2.1, y * 2.1, seed + 11) + 0.15 * cloud(x * 4.3, y * 4.3, seed + 23)
}

fn lit(colour: Colour, light: f32) -> Colour {
    colour.map(|value| value * light)
}

fn mixed_colours(one: Colour, other: Colour, part: f32) -> Colour {
    std::array::from_fn(|channel| one[channel] * (1.0 - part) + other[channel] * part)
}

/// From 0 to 1 while `value` goes from `from` to `to`.
fn ramp(value: f32, from: f32, to: f32) -> f32 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

/// Plaster, with two panes of sun on it and the shadow of a bar between them.
fn window_light((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let (across, along) = (x * 0.9 + y * 0.4, y * 0.9 - x * 0.4);
    let pane = |t: f32, from: f32, to: f32| ramp(t, from, from + 0.03) * (1.0 - ramp(t, to - 0.03, to));
    let sun = (pane(across, 0.15, 0.62) + pane(across, 0.68, 1.2)) * (pane(along, -0.3, 0.28) + pane(along, 0.34, 0.9));
    lit([198.0, 190.0, 178.0], 0.88 + 0.27 * sun + 0.03 * clouds(x * 30.0, y * 30.0, seed))
}

/// Wood, its grain along `along`; both in widths of the picture.
fn wood(across: f32, along: f32, seed: u32, colour: Colour) -> Colour {
    let bend = 0.03 * cloud(along * 2.0, across * 3.0, seed + 5);
    let veins = (across * 55.0 + 50.0 * bend + 1.5 * clouds(across * 12.0, along * 1.5, seed)).sin();
    let pores = cloud(across * 260.0, along * 9.0, seed + 9);
    lit(colour, 1.0 + 0.07 * veins + 0.09 * pores)
}

fn boards((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    plank((x, y), seed, [164.0, 122.0, 82.0])
}

fn plank((x, y): (f32, f32), seed: u32, colour: Colour) -> Colour {
    let width = 0.17;
    let board = (x / width).floor();
    let end = (y + scatter(board, 3.0, seed) * 0.9) / 0.9;
    let (gap_x, gap_y) = (x / width - board, end - end.floor());
    let tone = 0.86 + 0.28 * scatter(board, end.floor(), seed);
    let gap = gap_x.min(1.0 - gap_x) * width < 0.0022 || gap_y.min(1.0 - gap_y) * 0.9 < 0.002;
    lit(wood(x, y, seed + mixed_bits(board as i32 as u32) % 97, colour), if gap { 0.4 } else { tone })
}

/// Blocks of wood in squares, every other one turned.
fn parquet((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let size = 0.21;
    let (column, row) = ((x / size).floor(), (y / size).floor());
    let is_turned = (column + row) as i32 % 2 != 0;
    let (across, along) = if is_turned { (y, x) } else { (x, y) };
    let strip = (across / (size / 4.0)).floor();
    let place = across / (size / 4.0) - strip;
    let tone = 0.84 + 0.3 * scatter(strip, column * 31.0 + row, seed);
    let gap = place.min(1.0 - place) < 0.03;
    lit(wood(across, along, seed, [186.0, 138.0, 88.0]), if gap { 0.55 } else { tone })
}

/// A sheet with creases.
fn linen((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let fold = |turn: f32, often: f32, number: u32| {
        let across = x * turn.cos() + y * turn.sin();
        let along = y * turn.cos() - x * turn.sin();
        let wave = (across * often + 3.0 * clouds(across * 2.0, along * 1.3, seed + number)).sin();
        wave.abs().powf(0.6) * wave.signum()
    };
    let folds = 0.5 * fold(0.5, 13.0, 1) + 0.3 * fold(2.1, 21.0, 2) + 0.2 * fold(1.3, 34.0, 3);
    let weave = 0.02 * ((x * 900.0).sin() + (y * 900.0).sin());
    lit([206.0, 212.0, 217.0], 1.0 + 0.13 * folds + weave)
}

fn tiles((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let size = 0.165;
    let (column, row) = ((x / size).floor(), (y / size).floor());
    let (across, along) = (x / size - column, y / size - row);
    let edge = across.min(1.0 - across).min(along).min(1.0 - along);
    if edge < 0.022 {
        return lit([128.0, 124.0, 118.0], 1.0 + 0.1 * cloud(x * 200.0, y * 200.0, seed));
    }
    let shine = 0.05 * (across - along);
    lit(
        [214.0, 212.0, 206.0],
        0.93 + 0.1 * scatter(column, row, seed) + shine + 0.02 * clouds(x * 14.0, y * 14.0, seed),
    )
}

/// A woollen check in red, dark blue and cream.
fn checks((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let (x, y) = (x * 0.98 + y * 0.2 + 0.004 * cloud(x * 9.0, y * 9.0, seed), y * 0.98 - x * 0.2);
    let band = |t: f32| {
        let t = t * 5.0 - (t * 5.0).floor();
        if t < 0.42 {
            [168.0, 44.0, 46.0]
        } else if t < 0.5 {
            [228.0, 216.0, 190.0]
        } else if t < 0.86 {
            [38.0, 48.0, 74.0]
        } else {
            [228.0, 216.0, 190.0]
        }
    };
    let is_warp = ((x * 300.0).floor() + (y * 300.0).floor()) as i32 % 2 == 0;
    let thread = if is_warp { mixed_colours(band(x), band(y), 0.3) } else { mixed_colours(band(y), band(x), 0.3) };
    lit(thread, 1.0 + 0.1 * cloud(x * 250.0, y * 250.0, seed))
}

fn dots((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let size = 0.085;
    let row = (y / size).floor();
    let x_row = x / size + if row as i32 % 2 == 0 { 0.0 } else { 0.5 };
    let (right, down) = (x_row - x_row.floor() - 0.5, y / size - row - 0.5);
    let inside = 1.0 - ramp(right.hypot(down), 0.24, 0.27);
    let cloth = mixed_colours([222.0, 196.0, 190.0], [92.0, 116.0, 142.0], inside);
    lit(cloth, 1.0 + 0.05 * clouds(x * 4.0, y * 4.0, seed) + 0.03 * cloud(x * 300.0, y * 300.0, seed))
}

/// A worn oriental rug: a border, a field of motifs, and pile.
fn rug((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let (right, down) = ((x * 5.0).fract() - 0.5, (y * 5.0).fract() - 0.5);
    let star = right.abs() + down.abs() + 0.12 * ((right.abs() - down.abs()) * 26.0).sin();
    let motif = if star < 0.16 {
        [196.0, 164.0, 116.0]
    } else if star < 0.3 {
        [64.0, 74.0, 92.0]
    } else {
        [132.0, 62.0, 52.0]
    };
    let worn = mixed_colours(motif, [150.0, 128.0, 110.0], 0.25 + 0.2 * clouds(x * 6.0, y * 6.0, seed));
    lit(worn, 1.0 + 0.17 * cloud(x * 180.0, y * 260.0, seed + 3))
}

fn concrete((x, y): (f32, f32), seed: u32, _: Colour) -> Colour {
    let stain = ramp(clouds(x * 4.0, y * 4.0, seed), 0.05, 0.45);
    let pits = ramp(cloud(x * 90.0, y * 90.0, seed + 7), 0.75, 0.95);
    lit([158.0, 156.0, 152.0], (1.0 - 0.26 * stain) * (1.0 - 0.35 * pits) + 0.07 * clouds(x * 22.0, y * 22.0, seed + 2))
}

/// Cloth in the garment's colour, a little lighter or darker, with creases.
fn near_colour(at: (f32, f32), seed: u32, garment: Colour, light: f32) -> Colour {
    let [red, green, blue] = linen(at, seed, garment);
    let shade = (red / 206.0 + green / 212.0 + blue / 217.0) / 3.0;
    let light = if garment.iter().sum::<f32>() > 3.0 * 110.0 { light } else { 1.0 / light + 0.12 };
    lit(garment, light * shade).map(|value| value + 6.0)
}

fn near_wood(at: (f32, f32), seed: u32, garment: Colour) -> Colour {
    plank(at, seed, mixed_colours(garment, [164.0, 122.0, 82.0], 0.45))
}
