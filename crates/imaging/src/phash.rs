//! Perceptual hashes: 64 bits that hardly change when a picture is scaled or recompressed. They are compatible with
//! `imagehash.phash` in Python with Pillow, which created the stored hashes. A picture is converted to grey, scaled to
//! 32 × 32, and transformed (DCT-II); comparing the 8 × 8 lowest frequencies with their median gives the 64 bits.
//! Rounding is the same as in Pillow, so that only decoders cause differences: at most two bits, mostly none, on the
//! pictures of `tests/unit/fixtures/phash`. As in Python, alpha and EXIF orientation are ignored.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::Result;
use super::decode::{self, Limits};
use super::picture::Picture;
use super::pool::PixelPool;

/// Width and height of the transformed picture.
const SIDE: usize = 32;
/// Width and height of the used frequencies.
const FREQUENCIES: usize = 8;
/// Longest side that a picture keeps when scaled during decoding, in pixels: many times the final size, so that the
/// hash is the same.
const LEAST_SIDE: u32 = 1024;
/// Pillow's fixed point for 8-bit samples: 32 bits less 8 of the sample and 2 for overshooting.
const PRECISION_BITS: u32 = 22;
/// Lobes of Lanczos' filter on each side.
const SUPPORT: f64 = 3.0;

/// A perceptual hash, stored as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PerceptualHash(pub u64);

impl PerceptualHash {
    /// Returns the Hamming distance, 0 to 64.
    pub const fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is not 16 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not a perceptual hash of 16 hexadecimal digits")]
pub struct NotAHash;

impl FromStr for PerceptualHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> std::result::Result<Self, NotAHash> {
        // `from_str_radix` would also accept a sign.
        let is_hash = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_hash);
        number.map(Self).ok_or(NotAHash)
    }
}

/// Decodes a picture on a thread of `pool`, when there is memory for it, and hashes it.
///
/// # Errors
/// Those of [`decode::decode`] and of [`PixelPool`].
pub async fn hash(pool: &PixelPool, bytes: Bytes, limits: &Limits) -> Result<PerceptualHash> {
    // Checking the size needs no slot in the queue.
    limits.check_file(bytes.len())?;
    let (head, limits) = (bytes.clone(), limits.clone());
    let head_limits = limits.clone();
    let needed = pool.run(move || decode::memory_as_stored(&head, &head_limits, LEAST_SIDE)).await?;
    let _memory = pool.memory(needed).await?;
    pool.run(move || Ok(hash_picture(&decode::decode_as_stored(&bytes, &limits, LEAST_SIDE)?))).await
}

/// Hashes a picture as it is.
pub fn hash_picture(picture: &Picture) -> PerceptualHash {
    let small = shrink(picture);
    let mut table = small.map(|row| row.map(f64::from));
    // Columns, then rows, as in the original.
    table = transpose(&table);
    table.iter_mut().for_each(dct);
    table = transpose(&table);
    table.iter_mut().take(FREQUENCIES).for_each(dct);
    let low: Vec<f64> = table[..FREQUENCIES].iter().flat_map(|row| row[..FREQUENCIES].iter().copied()).collect();
    let mut sorted = low.clone();
    sorted.sort_by(f64::total_cmp);
    let median = (sorted[low.len() / 2 - 1] + sorted[low.len() / 2]) / 2.0;
    PerceptualHash(low.iter().fold(0, |hash, frequency| hash << 1 | u64::from(*frequency > median)))
}

/// Pillow's conversion from RGB to L.
fn grey(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    // The weights add up to 1 << 16, so it never overflows a byte.
    u8::try_from((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16).unwrap_or(u8::MAX)
}

/// Scales the picture to 32 × 32 in grey like Pillow's Lanczos filter: horizontally, then vertically.
fn shrink(picture: &Picture) -> [[u8; SIDE]; SIDE] {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let channels = picture.layout().channels();
    let (across, down) = (windows(width), windows(height));
    let mut narrow: Vec<[u8; SIDE]> = Vec::with_capacity(height);
    let mut row = Vec::with_capacity(width);
    for pixels in picture.bytes().chunks_exact(width * channels) {
        row.clear();
        row.extend(pixels.chunks_exact(channels).map(grey));
        narrow.push(std::array::from_fn(|x| across[x].apply(&row)));
    }
    let mut column = Vec::with_capacity(height);
    let mut small = [[0; SIDE]; SIDE];
    for x in 0..SIDE {
        column.clear();
        column.extend(narrow.iter().map(|row| row[x]));
        for (row, window) in small.iter_mut().zip(&down) {
            row[x] = window.apply(&column);
        }
    }
    small
}

/// The source samples of one resulting sample, and their weights.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

impl Window {
    fn apply(&self, samples: &[u8]) -> u8 {
        let products = self.weights.iter().zip(&samples[self.first..]);
        let sum: i32 = products.map(|(weight, sample)| weight * i32::from(*sample)).sum();
        let rounded = (sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS;
        u8::try_from(rounded.clamp(0, 255)).unwrap_or(u8::MAX)
    }
}

/// Returns the windows for a line of this many samples.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Pillow cuts fractions off; none of these numbers is negative or larger than the picture, weights are below 2"
)]
fn windows(length: usize) -> Vec<Window> {
    let scale = length as f64 / SIDE as f64;
    // Upscaling does not blur.
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    let window = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(length);
        let weights: Vec<f64> =
            (first..end).map(|sample| lanczos((sample as f64 - centre + 0.5) / filter_scale)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let scaled = weight / sum * f64::from(1 << PRECISION_BITS);
            (scaled + 0.5_f64.copysign(scaled)) as i32
        };
        Window { first, weights: weights.iter().map(fixed).collect() }
    };
    (0..SIDE).map(window).collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if (-SUPPORT..SUPPORT).contains(&x) { sinc(x) * sinc(x / SUPPORT) } else { 0.0 }
}

fn transpose(table: &[[f64; SIDE]; SIDE]) -> [[f64; SIDE]; SIDE] {
    std::array::from_fn(|y| std::array::from_fn(|x| table[x][y]))
}

/// Computes the DCT-II by splitting a line into sums and differences. Unlike a plain sum of cosines, this gives exact
/// zeros for plain or symmetric pictures, and the median is often among them.
fn dct(line: &mut [f64; SIDE]) {
    let transformed = dct_of(line);
    line.copy_from_slice(&transformed);
}

fn dct_of(line: &[f64]) -> Vec<f64> {
    let length = line.len();
    if length == 1 {
        return line.to_vec();
    }
    let half = length / 2;
    let mirrored = || line[..half].iter().zip(line[half..].iter().rev());
    let sums: Vec<f64> = mirrored().map(|(one, other)| one + other).collect();
    let differences: Vec<f64> = mirrored()
        .enumerate()
        .map(|(place, (one, other))| (one - other) * 2.0 * (PI * (place as f64 + 0.5) / length as f64).cos())
        .collect();
    let even = dct_of(&sums);
    let odd = dct_of(&differences);
    let mut transformed = Vec::with_capacity(length);
    // Odd coefficients come as sums of neighbours; the first is half of itself.
    let mut last = odd[0] / 2.0;
    for place in 0..half {
        transformed.push(even[place]);
        if place > 0 {
            last = odd[place] - last;
        }
        transformed.push(last);
    }
    transformed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::picture::Layout;
    use super::*;

    fn file(name: &str) -> Vec<u8> {
        let path = format!("{}/../../tests/unit/fixtures/phash/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn a_hash_is_sixteen_digits() {
        let hash = PerceptualHash(0x00ab_0000_0000_0001);
        assert_eq!(hash.to_string(), "00ab000000000001");
        assert_eq!("00AB000000000001".parse::<PerceptualHash>().unwrap(), hash);
        for text in ["", "ab", "+0ab00000000001", "+0ab000000000001", "00ab00000000000g", "000ab000000000001"] {
            assert!(text.parse::<PerceptualHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn distance_counts_bits() {
        assert_eq!(PerceptualHash(0b1011).distance(PerceptualHash(0b0010)), 2);
        assert_eq!(PerceptualHash(0).distance(PerceptualHash(u64::MAX)), 64);
    }

    #[tokio::test]
    async fn hashes_are_those_of_the_python_package() {
        let references: BTreeMap<String, String> = serde_json::from_slice(&file("hashes.json")).unwrap();
        assert_eq!(references.len(), 50);
        let pool = PixelPool::default();
        let mut distances = BTreeMap::new();
        for (name, reference) in &references {
            let found = hash(&pool, file(name).into(), &Limits::default()).await.unwrap();
            distances.insert(name, found.distance(reference.parse().unwrap()));
        }
        let apart: Vec<_> = distances.iter().filter(|(_, distance)| **distance > 0).collect();
        assert!(apart.len() <= 5 && apart.iter().all(|(_, distance)| **distance <= 2), "{apart:?}");
    }

    #[tokio::test]
    async fn a_large_picture_has_the_same_hash_though_it_is_never_seen_as_a_whole() {
        let (width, height) = (2100, 1400);
        let pixels = (0..height).flat_map(|y| {
            (0..width).flat_map(move |x| {
                let wave = (x as f32 / 290.0).sin() * (y as f32 / 170.0).cos() + (x + 2 * y) as f32 / 4900.0;
                [wave * 90.0 + 90.0, wave * 60.0 + 80.0, 200.0 - wave * 80.0].map(|value| value as u8)
            })
        });
        let picture = Picture::new(width, height, Layout::Rgb, pixels.collect()).unwrap();
        let whole = hash_picture(&picture);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(picture.bytes()).unwrap();
        let limits = Limits::default();
        let seen = decode::decode_as_stored(&file, &limits, LEAST_SIDE).unwrap();
        assert_eq!((seen.width(), seen.height()), (1050, 700));
        let found = hash(&PixelPool::default(), file.into(), &limits).await.unwrap();
        assert!(found.distance(whole) <= 1, "{found:?} {whole:?}");
    }

    #[tokio::test]
    async fn files_that_are_too_large_or_not_pictures_have_no_hash() {
        let pool = Arc::new(PixelPool::default());
        let limits = Limits { pixels: 1000, ..Limits::default() };
        let large = hash(&pool, file("gradient.png").into(), &limits).await;
        assert!(matches!(large, Err(super::super::Error::TooManyPixels { .. })));
        let long = hash(&pool, Bytes::from(vec![0; 100]), &Limits { bytes: 99, ..limits.clone() }).await;
        assert!(matches!(long, Err(super::super::Error::TooLarge { .. })));
        let text = hash(&pool, Bytes::from_static(b"<html>"), &limits).await;
        assert!(matches!(text, Err(super::super::Error::Unsupported(_))));
    }

    #[test]
    fn plain_and_symmetric_pictures_have_no_chance_bits() {
        for value in [0, 1, 77, 254, 255] {
            let picture = Picture::new(50, 41, Layout::Rgb, vec![value; 50 * 41 * 3]).unwrap();
            let expected = if value == 0 { 0 } else { 1 << 63 };
            assert_eq!(hash_picture(&picture).0, expected, "{value}");
        }
        let columns: Vec<u8> = (0..32).flat_map(|_| (0..32_u8).flat_map(|x| [8 * x.min(31 - x); 3])).collect();
        let hash = hash_picture(&Picture::new(32, 32, Layout::Rgb, columns).unwrap()).0;
        assert_eq!(hash & 0x00ff_ffff_ffff_ffff, 0, "all rows are the same");
        assert_eq!(hash & 0x5500_0000_0000_0000, 0, "left and right are the same");
    }

    #[test]
    fn alpha_is_ignored() {
        let rgb: Vec<u8> = (0..40 * 30 * 3).map(|n| u8::try_from(n * n % 251).unwrap()).collect();
        let rgba = rgb.chunks_exact(3).enumerate().flat_map(|(n, p)| [p[0], p[1], p[2], (n % 256) as u8]).collect();
        let opaque = Picture::new(40, 30, Layout::Rgb, rgb).unwrap();
        assert_eq!(hash_picture(&opaque), hash_picture(&Picture::new(40, 30, Layout::Rgba, rgba).unwrap()));
    }

    #[test]
    fn a_line_becomes_its_frequencies() {
        let mut line: [f64; SIDE] = std::array::from_fn(|n| ((n * 37 + 11) % 256) as f64);
        let plain: Vec<f64> = (0..SIDE)
            .map(|k| {
                let angle = |n: usize| PI / SIDE as f64 * (n as f64 + 0.5) * k as f64;
                line.iter().enumerate().map(|(n, sample)| sample * angle(n).cos()).sum()
            })
            .collect();
        dct(&mut line);
        for (one, other) in line.iter().zip(&plain) {
            assert!((one - other).abs() < 1e-9, "{one} {other}");
        }
    }

    #[test]
    fn the_smallest_and_longest_pictures_have_hashes() {
        for (width, height) in [(1, 1), (1, 5000), (5000, 1), (31, 33)] {
            let picture = Picture::new(width, height, Layout::Rgb, vec![9; (width * height * 3) as usize]).unwrap();
            assert_eq!(hash_picture(&picture).0, 1 << 63);
        }
    }
}
