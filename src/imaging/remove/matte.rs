//! The edge of a garment: how much of each pixel is garment, and what its colour is without the background.

use super::mask::Mask;
use crate::imaging::picture::{Layout, Picture};
use crate::imaging::transform;

/// Half the width of the edge, in pixels of the small copy.
const EDGE: usize = 2;
/// How far the colours on either side of the edge are looked for, in pixels of the small copy.
const REACH: usize = 6;
/// Squared distance of two colours (0 to 255 per channel) that are too near to tell how a third is mixed of them.
const TOO_NEAR: f32 = 24.0 * 24.0;

/// The colours on either side of the edge, near one of its pixels.
struct Sides {
    garment: [f32; 3],
    background: [f32; 3],
}

/// Makes everything but the garment transparent. `mask` is the garment on `small`, a small copy of the picture.
pub fn cut(picture: Picture, mask: &Mask, small: &Picture) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let soft = mask.blurred(EDGE);
    let sides = sides(mask, small);
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
    if let Some(Sides { garment, background }) = sides {
        let channels = || (0..3).map(|channel| (f32::from(pixel[channel]), garment[channel], background[channel]));
        let apart: f32 = channels().map(|(_, garment, background)| (garment - background).powi(2)).sum();
        if apart > TOO_NEAR {
            let along: f32 =
                channels().map(|(value, garment, background)| (value - background) * (garment - background)).sum();
            // The colour decides, but only as far as the place allows: a pattern may look like the background.
            share = (along / apart).clamp((2.0 * expected - 1.0).max(0.0), (2.0 * expected).min(1.0));
        }
        if share > 0.05 {
            for channel in 0..3 {
                let own = (f32::from(pixel[channel]) - (1.0 - share) * background[channel]) / share;
                pixel[channel] = to_byte(own);
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

/// For each pixel of the small copy: the colours on either side, if it is near the edge and both are within reach.
fn sides(mask: &Mask, small: &Picture) -> Vec<Option<Sides>> {
    let (width, height) = (mask.width, mask.height);
    // What is this far from the edge is wholly one or the other.
    let pure = mask.blurred(EDGE);
    // One pixel more than the edge, as scaling it up spreads it.
    let near = mask.blurred(EDGE + 1);
    let channels = small.layout().channels();
    let bytes = small.bytes();
    let around = |x: usize, y: usize| {
        let (mut garment, mut background) = (Mean::default(), Mean::default());
        for y in y.saturating_sub(REACH)..(y + REACH + 1).min(height) {
            for x in x.saturating_sub(REACH)..(x + REACH + 1).min(width) {
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
