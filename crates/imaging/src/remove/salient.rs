//! Converts the network's output, a map of 320 × 320 points, to a mask on the small copy of the picture.

use super::mask::Mask;
use super::{LEAST_LEFT, MOST_LEFT, Reason, SMALL_HOLE};
use crate::network::{SIDE, Saliency};
use crate::picture::Picture;

/// Confidence from which a point belongs to the garment.
const BELONGS: f32 = 0.5;

/// Parts below this share of the picture are dropped.
const SMALL_PART: f64 = 0.004;
/// Width of the bands on either side of the outline that sample garment and background, in pixels of the small copy.
const BAND: usize = 14;
/// Ratio of a colour's frequency outside to inside from which it counts as background.
const GROUND_COLOUR: f32 = 3.0;

/// Returns the confidence in the network's cut, 0 to 1. Three things lower it: a blurred map (sharpness is its overlap
/// with the resulting mask), a garment that touches the border of the picture, and background within the outline, as in
/// a rolled-up belt.
pub fn confidence(saliency: &Saliency, garment: &Mask, small: &Picture) -> f32 {
    let (mut both, mut either) = (0.0, 0.0);
    for value in saliency.values() {
        let belongs = *value >= BELONGS;
        both += if belongs { *value } else { 0.0 };
        either += if belongs { 1.0 } else { *value };
    }
    let sharpness = both / f32::max(either, 1e-6);
    sharpness * (1.0 - garment.border_share()) * (1.0 - ground_within(garment, small))
}

/// Returns the share of the garment's interior that has colours of the surrounding background rather than of its own
/// edge.
fn ground_within(garment: &Mask, small: &Picture) -> f32 {
    let shrunk = |by: usize| garment.clone().inverted().grown(by).inverted();
    let (edge, deep) = (shrunk(2), shrunk(BAND));
    let (near, far) = (garment.grown(3), garment.grown(BAND + 8));
    // Sixteen levels of each of red, green and blue.
    let bin = |pixel: &[u8]| pixel[..3].iter().fold(0, |bin, value| bin << 4 | usize::from(value >> 4));
    let bins: Vec<usize> = small.pixels().map(bin).collect();
    let histogram = |is_in: &dyn Fn(usize, usize) -> bool| {
        let (mut counts, mut sum) = (vec![0.0_f32; 16 * 16 * 16], 0.0);
        for y in 0..garment.height {
            for x in (0..garment.width).filter(|x| is_in(*x, y)) {
                counts[bins[y * garment.width + x]] += 1.0;
                sum += 1.0;
            }
        }
        (counts, f32::max(sum, 1.0))
    };
    let (inside, inside_sum) = histogram(&|x, y| edge.has(x, y) && !deep.has(x, y));
    let (outside, outside_sum) = histogram(&|x, y| far.has(x, y) && !near.has(x, y));
    let mut ground = 0;
    for y in 0..garment.height {
        for x in (0..garment.width).filter(|x| deep.has(*x, y)) {
            let bin = bins[y * garment.width + x];
            let is_ground = outside[bin] / outside_sum > GROUND_COLOUR * (inside[bin] + 1.0) / inside_sum;
            ground += usize::from(is_ground);
        }
    }
    ground as f32 / garment.count().max(1) as f32
}

/// Returns the garment as a mask on the small copy of the picture. The outline is that of the map: moving it to colour
/// edges, as for plain backgrounds, makes it worse on backgrounds with their own edges.
pub fn find_garment(saliency: &Saliency, small: &Picture) -> Result<Mask, Reason> {
    let mut garment = enlarged(saliency, small.width() as usize, small.height() as usize);
    let pixels = (garment.width * garment.height) as f64;
    garment.remove_parts_below(pixels * SMALL_PART);
    garment.fill_holes_below(pixels * SMALL_HOLE);
    let left = garment.count() as f64 / pixels;
    if left < LEAST_LEFT {
        return Err(Reason::NothingLeft);
    }
    if left > MOST_LEFT {
        return Err(Reason::NoBackground);
    }
    Ok(garment)
}

/// Interpolates the map to a mask of another size.
fn enlarged(saliency: &Saliency, width: usize, height: usize) -> Mask {
    let side = SIDE as usize;
    let between = |at: usize, length: usize| {
        let place = ((at as f32 + 0.5) * side as f32 / length as f32 - 0.5).clamp(0.0, (side - 1) as f32);
        let first = place.floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on the map")]
        let first_place = first as usize;
        (first_place, (first_place + 1).min(side - 1), place - first)
    };
    let columns: Vec<_> = (0..width).map(|x| between(x, width)).collect();
    let mut mask = Mask::empty(width, height);
    for y in 0..height {
        let (above, below, down) = between(y, height);
        let [above, below] = [above, below].map(|y| &saliency.values()[y * side..(y + 1) * side]);
        for (belongs, (left, right, to_right)) in mask.row_mut(y).iter_mut().zip(&columns) {
            let [above, below] = [above, below].map(|row| row[*left] + (row[*right] - row[*left]) * to_right);
            *belongs = above + (below - above) * down >= BELONGS;
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    /// Creates a disc of this radius and edge width around a point.
    fn disc((middle_x, middle_y): (f32, f32), radius: f32, edge: f32) -> Saliency {
        let side = SIDE as usize;
        let value = |at: usize| {
            let (x, y) = ((at % side) as f32, (at / side) as f32);
            ((radius - (x - middle_x).hypot(y - middle_y)) / edge + 0.5).clamp(0.0, 1.0)
        };
        Saliency::from_values((0..side * side).map(value).collect())
    }

    #[test]
    fn a_sharp_map_away_from_the_border_is_trusted_most() {
        let small = Picture::new(320, 320, Layout::Rgb, vec![90; 3 * 320 * 320]).unwrap();
        let of = |disc: Saliency| confidence(&disc, &find_garment(&disc, &small).unwrap(), &small);
        let sharp = of(disc((160.0, 160.0), 100.0, 1.0));
        let soft = of(disc((160.0, 160.0), 100.0, 60.0));
        let vague = of(disc((160.0, 160.0), 100.0, 300.0));
        let beyond = of(disc((160.0, 300.0), 100.0, 1.0));
        assert!(sharp > 0.98 && sharp > soft && soft > vague && vague < 0.7, "{sharp} {soft} {vague}");
        assert!(beyond < 0.9, "{beyond}");
    }

    #[test]
    fn ground_within_the_outline_is_not_trusted() {
        let map = disc((160.0, 160.0), 120.0, 1.0);
        let confidence_of = |hole: f32| {
            let pixels = (0..320 * 320).flat_map(|at| {
                let distance = ((at % 320) as f32 - 160.0).hypot((at / 320) as f32 - 160.0);
                if (hole..120.0).contains(&distance) { [60, 40, 30] } else { [200, 40, 40] }
            });
            let small = Picture::new(320, 320, Layout::Rgb, pixels.collect()).unwrap();
            confidence(&map, &find_garment(&map, &small).unwrap(), &small)
        };
        let (full, ring) = (confidence_of(0.0), confidence_of(95.0));
        assert!(full > 0.95 && ring < 0.5, "{full} {ring}");
    }

    #[test]
    fn a_map_becomes_a_mask_in_the_proportions_of_the_picture() {
        // Red where the disc is, so that the colours agree with the map.
        let (width, height) = (480_usize, 576_usize);
        let pixels = (0..width * height).flat_map(|at| {
            let (x, y) = ((at % width) as f32 / width as f32, (at / width) as f32 / height as f32);
            if (x - 0.5).hypot(y - 0.5) < 0.3 { [200, 30, 30] } else { [220, 220, 210] }
        });
        let small = Picture::new(width as u32, height as u32, Layout::Rgb, pixels.collect()).unwrap();
        let garment = find_garment(&disc((160.0, 160.0), 96.0, 8.0), &small).unwrap();
        let expected = std::f64::consts::PI * 0.3 * 0.3;
        assert!((garment.count() as f64 / (width * height) as f64 - expected).abs() < 0.005);
        assert!(garment.has(240, 288) && garment.has(240, 120) && !garment.has(240, 108) && !garment.has(90, 288));
    }

    #[test]
    fn nothing_and_everything_are_no_garment() {
        let small = Picture::new(64, 64, Layout::Rgb, vec![90; 64 * 64 * 3]).unwrap();
        let all = |value| Saliency::from_values(vec![value; (SIDE * SIDE) as usize]);
        assert_eq!(find_garment(&all(0.0), &small), Err(Reason::NothingLeft));
        assert_eq!(find_garment(&all(1.0), &small), Err(Reason::NoBackground));
    }
}
