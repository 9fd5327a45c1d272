//! The edge of a garment: the garment's share of each pixel, and its colour without the background.

use std::ops::Range;

use super::mask::Mask;
use crate::picture::{Layout, Picture};

/// Half the width of the edge, in pixels of the small copy.
const EDGE: usize = 2;
/// Largest distance of the first outline from the true one, in pixels of the small copy, because growing stops where
/// the colour starts to change.
const SLACK: usize = 4;
/// Squared distance of two colours (0 to 255 per channel) below which the mix of a third cannot be determined.
const TOO_NEAR: f32 = 24.0 * 24.0;

/// The colours on either side of the edge, near one of its pixels.
struct Sides {
    garment: [f32; 3],
    background: [f32; 3],
}

impl Sides {
    /// Returns the garment's share of a pixel by its colour, 0 to 1 or slightly beyond; `None` if both sides look
    /// alike.
    fn share(&self, pixel: &[u8]) -> Option<f32> {
        let (mut apart, mut along) = (0.0, 0.0);
        for ((value, garment), background) in pixel.iter().zip(&self.garment).zip(&self.background) {
            let step = garment - background;
            apart += step * step;
            along += (f32::from(*value) - background) * step;
        }
        (apart > TOO_NEAR).then(|| along / apart)
    }
}

/// Makes everything except the garment transparent. `mask` is the garment on `small`, a small copy of the picture.
pub fn cut(picture: Picture, mask: &Mask, small: &Picture) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let soft = mask.blurred(EDGE);
    let edge = Edge::of(mask, small, EDGE);
    let columns = Scale { small: mask.width, full: width as usize };
    let rows = Scale { small: mask.height, full: height as usize };
    let between_columns: Vec<_> = (0..columns.full).map(|x| columns.between(x)).collect();
    let mut bytes = picture.into_rgba().into_bytes();
    let mut pixels = bytes.as_chunks_mut::<4>().0.chunks_exact_mut(columns.full);
    for small_y in 0..rows.small {
        let sides = edge.row(small_y);
        for (y, pixels) in rows.under(small_y).zip(&mut pixels) {
            for run in edge.garment.runs(small_y, false) {
                let run = columns.under(run.start).start..columns.under(run.end).start;
                pixels[run].iter_mut().for_each(|pixel| pixel[3] = 0);
            }
            let (above, below, down) = rows.between(y);
            let value = |x: usize| {
                let [above, below] = [above, below].map(|y| f32::from(soft[y * columns.small + x]));
                above + (below - above) * down
            };
            for (small_x, sides) in &sides {
                for x in columns.under(*small_x) {
                    let (left, right, to_right) = between_columns[x];
                    match to_byte(value(left) + (value(right) - value(left)) * to_right) {
                        0 => pixels[x][3] = 0,
                        255 => {}
                        wanted => blend(&mut pixels[x], f32::from(wanted) / 255.0, sides.as_ref()),
                    }
                }
            }
        }
    }
    Picture::new(width, height, Layout::Rgba, bytes).expect("neither size nor layout changed")
}

/// Maps rows or columns between a picture and its small copy.
struct Scale {
    small: usize,
    full: usize,
}

impl Scale {
    /// Returns the rows of the picture covered by one of the small copy.
    fn under(&self, small: usize) -> Range<usize> {
        (small * self.full).div_ceil(self.small)..((small + 1) * self.full).div_ceil(self.small)
    }

    /// Returns the two rows of the small copy around one of the picture, and its position between them, 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on the small copy")]
    fn between(&self, full: usize) -> (usize, usize, f32) {
        let place = (full as f32 + 0.5) * self.small as f32 / self.full as f32 - 0.5;
        let place = place.clamp(0.0, (self.small - 1) as f32);
        let first = place as usize;
        (first, (first + 1).min(self.small - 1), place - first as f32)
    }
}

/// Sets alpha and colour of a pixel on the edge. `expected` is the garment's share by position alone.
fn blend(pixel: &mut [u8; 4], expected: f32, sides: Option<&Sides>) {
    let mut share = expected;
    if let Some(sides) = sides {
        if let Some(by_colour) = sides.share(pixel) {
            // The colour decides within the limits set by the position, because a pattern may look like the background.
            share = by_colour.clamp((2.0 * expected - 1.0).max(0.0), (2.0 * expected).min(1.0));
        }
        if share > 0.05 {
            for (value, background) in pixel.iter_mut().zip(&sides.background) {
                *value = to_byte((f32::from(*value) - (1.0 - share) * background) / share);
            }
        }
    }
    let alpha = to_byte(share * 255.0);
    pixel[3] = match alpha {
        0..=5 => 0,
        250..=255 => 255,
        between => between,
    };
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to a byte clamps")]
fn to_byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Moves the outline of a garment on `small` to the actual colour edge.
pub fn refine(mask: &mut Mask, small: &Picture) {
    let channels = small.layout().channels();
    let edge = Edge::of(mask, small, SLACK);
    for y in 0..mask.height {
        for (x, sides) in edge.row(y) {
            let pixel = &small.bytes()[(y * mask.width + x) * channels..];
            if let Some(share) = sides.and_then(|sides| sides.share(pixel)) {
                mask.set(x, y, share >= 0.5);
            }
        }
    }
}

/// Edge of a garment on a small picture.
struct Edge<'a> {
    small: &'a Picture,
    /// Everything except pixels that are certainly background, by distance from the edge.
    garment: Mask,
    /// Everything except pixels that are certainly garment.
    background: Mask,
    /// Pixels near the edge, plus one pixel, because upscaling spreads it.
    near: Mask,
    /// Radius around a pixel in which the colours on either side are sampled.
    reach: usize,
}

impl<'a> Edge<'a> {
    fn of(mask: &Mask, small: &'a Picture, width: usize) -> Self {
        let garment = mask.grown(width);
        let background = mask.clone().inverted().grown(width);
        let near = garment.grown(1).and(&background.grown(1));
        Self { small, garment, background, near, reach: 2 * width + 2 }
    }

    /// Returns the colours on either side for each near pixel of a row, if both are within reach.
    fn row(&self, y: usize) -> Vec<(usize, Option<Sides>)> {
        let (width, height, reach) = (self.near.width, self.near.height, self.reach);
        // Every other pixel is sufficient.
        let around = |at: usize, end: usize| (at.saturating_sub(reach)..(at + reach + 1).min(end)).step_by(2);
        let mut found = Vec::new();
        for run in self.near.runs(y, true) {
            let columns = run.start.saturating_sub(reach)..(run.end + reach).min(width);
            let mut sums = vec![Sums::default(); columns.len()];
            for y in around(y, height) {
                self.add(y, columns.clone(), &mut sums);
            }
            for x in run {
                let mut sum = Sums::default();
                for column in around(x, width) {
                    sum.add(sums[column - columns.start]);
                }
                found.push((x, sum.sides()));
            }
        }
        found
    }

    /// Adds the certain pixels of a row to the sums of their side.
    fn add(&self, y: usize, columns: Range<usize>, sums: &mut [Sums]) {
        let channels = self.small.layout().channels();
        let start = y * self.near.width;
        let bytes = &self.small.bytes()[(start + columns.start) * channels..(start + columns.end) * channels];
        let sides = self.garment.row(y)[columns.clone()].iter().zip(&self.background.row(y)[columns]);
        for ((pixel, (garment, background)), sums) in bytes.chunks_exact(channels).zip(sides).zip(sums) {
            let [red, green, blue] = [0, 1, 2].map(|channel| u64::from(pixel[channel]));
            let pixel = red | green << 16 | blue << 32 | 1 << 48;
            // Branch-free: pixels on neither side add zero.
            sums.garment += pixel * u64::from(garment & !background);
            sums.background += pixel * u64::from(background & !garment);
        }
    }
}

/// Sums of red, green and blue of the pixels on either side, and their number, packed in 16 bits each, so that one
/// addition updates all. At most 121 pixels are added.
#[derive(Clone, Copy, Default)]
struct Sums {
    garment: u64,
    background: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.garment += other.garment;
        self.background += other.background;
    }

    fn sides(self) -> Option<Sides> {
        #[expect(clippy::cast_possible_truncation, reason = "one of four numbers")]
        let mean = |sums: u64| {
            let [red, green, blue, count] = [0, 16, 32, 48].map(|bits| f32::from((sums >> bits) as u16));
            (count > 0.0).then(|| [red / count, green / count, blue / count])
        };
        Some(Sides { garment: mean(self.garment)?, background: mean(self.background)? })
    }
}
