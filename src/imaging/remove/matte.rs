//! The edge of a garment: how much of each pixel is garment, and what its colour is without the background.

use super::mask::Mask;
use crate::imaging::picture::{Layout, Picture};
use crate::imaging::transform;

/// Half the width of the edge, in pixels of the small copy.
const EDGE: usize = 2;
/// How far the first outline may be from the true one, in pixels of the small copy: growing stops where a colour begins
/// to change.
const SLACK: usize = 4;
/// Squared distance of two colours (0 to 255 per channel) that are too near to tell how a third is mixed of them.
const TOO_NEAR: f32 = 24.0 * 24.0;

/// The colours on either side of the edge, near one of its pixels.
struct Sides {
    garment: [f32; 3],
    background: [f32; 3],
}

impl Sides {
    /// How much of a pixel is garment, 0 to 1 or a little beyond, by its colour; `None` where both sides look alike.
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

/// Makes everything but the garment transparent. `mask` is the garment on `small`, a small copy of the picture.
pub fn cut(picture: Picture, mask: &Mask, small: &Picture) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let soft = mask.blurred(EDGE);
    let sides = sides(mask, small, EDGE);
    let wanted = transform::resize_mask(&soft, (small.width(), small.height()), (width, height));
    let mut bytes = picture.into_rgba().into_bytes();
    let (columns, rows) = (width as usize, height as usize);
    for (number, (pixel, wanted)) in bytes.chunks_exact_mut(4).zip(&wanted).enumerate() {
        match wanted {
            0 => pixel[3] = 0,
            255 => {}
            edge => {
                let (x, y) = (number % columns, number / columns);
                let place = (y * mask.height / rows) * mask.width + x * mask.width / columns;
                blend(pixel, f32::from(*edge) / 255.0, sides[place].as_ref());
            }
        }
    }
    Picture::new(width, height, Layout::Rgba, bytes).expect("neither size nor layout changed")
}

/// Sets alpha and colour of a pixel on the edge. `expected` is its share of garment by its place alone.
fn blend(pixel: &mut [u8], expected: f32, sides: Option<&Sides>) {
    let mut share = expected;
    if let Some(sides) = sides {
        if let Some(by_colour) = sides.share(pixel) {
            // The colour decides, but only as far as the place allows: a pattern may look like the background.
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn to_byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Moves the outline of a garment on `small` to where the colours on either side meet.
pub fn refine(mask: &mut Mask, small: &Picture) {
    let channels = small.layout().channels();
    let found = sides(mask, small, SLACK);
    let places = (0..mask.height).flat_map(|y| (0..mask.width).map(move |x| (x, y)));
    let places: Vec<_> = places.zip(found).filter_map(|(place, sides)| Some((place, sides?))).collect();
    for ((x, y), sides) in places {
        let pixel = &small.bytes()[(y * mask.width + x) * channels..];
        if let Some(share) = sides.share(pixel) {
            mask.set(x, y, share >= 0.5);
        }
    }
}

/// For each pixel of the small copy: the colours on either side, if it is as near to the edge as `edge` says and both
/// are within reach.
fn sides(mask: &Mask, small: &Picture, edge: usize) -> Vec<Option<Sides>> {
    let (width, height) = (mask.width, mask.height);
    // What is this far from the edge is wholly one or the other.
    let pure = mask.blurred(edge);
    // One pixel more than the edge, as scaling it up spreads it.
    let near = mask.blurred(edge + 1);
    let channels = small.layout().channels();
    let bytes = small.bytes();
    let reach = 2 * edge + 2;
    let around = |x: usize, y: usize| {
        let (mut garment, mut background) = (Mean::default(), Mean::default());
        // Every other pixel says as much as all of them.
        for y in (y.saturating_sub(reach)..(y + reach + 1).min(height)).step_by(2) {
            for x in (x.saturating_sub(reach)..(x + reach + 1).min(width)).step_by(2) {
                let place = y * width + x;
                match pure[place] {
                    0 => background.add(&bytes[place * channels..]),
                    255 => garment.add(&bytes[place * channels..]),
                    _ => {}
                }
            }
        }
        Some(Sides { garment: garment.value()?, background: background.value()? })
    };
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    places.map(|(x, y)| if matches!(near[y * width + x], 0 | 255) { None } else { around(x, y) }).collect()
}

/// The mean of colours.
#[derive(Default)]
struct Mean {
    sums: [u32; 3],
    count: u32,
}

impl Mean {
    fn add(&mut self, pixel: &[u8]) {
        for (sum, value) in self.sums.iter_mut().zip(pixel) {
            *sum += u32::from(*value);
        }
        self.count += 1;
    }

    fn value(&self) -> Option<[f32; 3]> {
        (self.count > 0).then(|| self.sums.map(|sum| sum as f32 / self.count as f32))
    }
}
