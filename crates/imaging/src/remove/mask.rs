//! A binary mask.

use std::ops::Range;

/// Which pixels belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pixels: Vec<bool>,
}

/// A connected part: its runs in rows as ranges of pixel indices, each with the label of its part.
type Part = [(usize, Range<usize>)];

impl Mask {
    /// Creates an empty mask.
    pub fn empty(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![false; width * height] }
    }

    /// Whether a pixel belongs.
    pub fn has(&self, x: usize, y: usize) -> bool {
        self.pixels[y * self.width + x]
    }

    /// Sets or clears a pixel.
    pub fn set(&mut self, x: usize, y: usize, belongs: bool) {
        self.pixels[y * self.width + x] = belongs;
    }

    /// A row of it.
    pub fn row(&self, y: usize) -> &[bool] {
        &self.pixels[y * self.width..(y + 1) * self.width]
    }

    /// The same, to change.
    pub fn row_mut(&mut self, y: usize) -> &mut [bool] {
        &mut self.pixels[y * self.width..(y + 1) * self.width]
    }

    /// Pixels that belong.
    pub fn count(&self) -> usize {
        self.pixels.iter().filter(|belongs| **belongs).count()
    }

    /// Returns the share of the picture's border that is set, 0 to 1.
    pub fn border_share(&self) -> f32 {
        let (width, height) = (self.width, self.height);
        let rows = [0, height - 1].into_iter().flat_map(|y| (0..width).map(move |x| (x, y)));
        let columns = [0, width - 1].into_iter().flat_map(|x| (0..height).map(move |y| (x, y)));
        let belong = rows.chain(columns).filter(|(x, y)| self.has(*x, *y)).count();
        belong as f32 / (2 * (width + height)) as f32
    }

    /// Everything else.
    pub fn inverted(mut self) -> Self {
        for pixel in &mut self.pixels {
            *pixel = !*pixel;
        }
        self
    }

    /// Closes gaps of up to four pixels (dilation and erosion by two). Areas at the border continue outside.
    pub fn close(&mut self) {
        const REACH: usize = 2;
        *self = self.grown(REACH).inverted().grown(REACH).inverted();
    }

    /// Returns the number of set pixels if gaps of up to twice `reach` pixels were closed.
    pub fn closed_count(&self, reach: usize) -> usize {
        let with = |pixels: Vec<bool>| Self { pixels, ..*self };
        let grown = with(self.blurred(reach).iter().map(|value| *value > 0).collect());
        grown.blurred(reach).iter().filter(|value| **value == 255).count()
    }

    /// Returns the mask dilated by `reach` pixels.
    pub fn grown(&self, reach: usize) -> Self {
        let (width, height) = (self.width, self.height);
        let join = |all: &mut [bool], more: &[bool]| all.iter_mut().zip(more).for_each(|(one, other)| *one |= other);
        let mut across = self.clone();
        for y in 0..height {
            let row = self.row(y);
            for step in 1..=reach.min(width - 1) {
                join(&mut across.row_mut(y)[step..], row);
                join(across.row_mut(y), &row[step..]);
            }
        }
        let mut grown = across.clone();
        for step in 1..=reach.min(height - 1) {
            join(&mut grown.pixels[step * width..], &across.pixels);
            join(&mut grown.pixels, &across.pixels[step * width..]);
        }
        grown
    }

    /// Intersects two masks.
    pub fn and(mut self, other: &Self) -> Self {
        self.pixels.iter_mut().zip(&other.pixels).for_each(|(one, other)| *one &= other);
        self
    }

    /// Returns the runs of a row with this value.
    pub fn runs(&self, y: usize, value: bool) -> impl Iterator<Item = Range<usize>> {
        let mut end = 0;
        let runs = self.row(y).chunk_by(|one, other| one == other);
        runs.filter_map(move |run| {
            end += run.len();
            (run[0] == value).then_some(end - run.len()..end)
        })
    }

    /// Clears parts of fewer pixels than `least`.
    pub fn remove_parts_below(&mut self, least: f64) {
        self.flip_parts(true, |part| (size(part) as f64) < least);
    }

    /// Clears parts without a pixel of `seeds`.
    pub fn remove_parts_without(&mut self, seeds: &Self) {
        self.flip_parts(true, |part| part.iter().all(|(_, run)| !seeds.pixels[run.clone()].contains(&true)));
    }

    /// Fills holes of fewer pixels than `least`; gaps at the border are not holes.
    pub fn fill_holes_below(&mut self, least: f64) {
        let (width, inner) = (self.width, self.width..self.width * (self.height - 1));
        let is_inside = |end: usize| inner.contains(&end) && !end.is_multiple_of(width);
        let is_hole = |part: &Part| part.iter().all(|(_, run)| is_inside(run.start) && is_inside(run.end));
        self.flip_parts(false, |part| (size(part) as f64) < least && is_hole(part));
    }

    /// Flips the connected parts with this value for which `which` returns true.
    fn flip_parts(&mut self, value: bool, which: impl Fn(&Part) -> bool) {
        let runs = self.parts(value);
        for part in runs.chunk_by(|one, other| one.0 == other.0).filter(|part| which(part)) {
            for (_, run) in part {
                self.pixels[run.clone()].fill(!value);
            }
        }
    }

    /// Returns the connected parts with this value.
    fn parts(&self, value: bool) -> Vec<(usize, Range<usize>)> {
        let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
        // Parts that turn out to be connected are joined by label (union-find): each label points to itself or another.
        let mut joined: Vec<usize> = Vec::new();
        let mut above = 0..0;
        for y in 0..self.height {
            let first = runs.len();
            for run in self.runs(y, value) {
                let (start, end) = (y * self.width + run.start, y * self.width + run.end);
                let part = joined.len();
                joined.push(part);
                runs.push((part, start..end));
                // Runs that end before this one cannot touch later ones either.
                let (before, after) = (start - self.width.min(start), end.saturating_sub(self.width));
                while above.start < above.end && runs[above.start].1.end <= before {
                    above.start += 1;
                }
                for (other, _) in runs[above.clone()].iter().take_while(|(_, run)| run.start < after) {
                    let (one, other) = (root(&mut joined, part), root(&mut joined, *other));
                    joined[one.max(other)] = one.min(other);
                }
            }
            above = first..runs.len();
        }
        for (part, _) in &mut runs {
            *part = root(&mut joined, *part);
        }
        runs.sort_by_key(|(part, _)| *part);
        runs
    }

    /// Blurs the mask: for each pixel, from 0 to 255, the share of set pixels in the square that reaches `reach` pixels
    /// to all sides. Beyond the border, the border's pixels are repeated. `reach` is at most 31.
    pub fn blurred(&self, reach: usize) -> Vec<u8> {
        let (width, height) = (self.width, self.height);
        let row = |y: usize| self.row(y.min(height - 1));
        let area = (2 * reach as u32 + 1).pow(2);
        // Division by the area, as a multiplication with 24 binary places.
        let scale = ((255 << 24) + area / 2) / area;
        // Sliding sums of columns, extended beyond the border on both sides.
        let mut columns = vec![0_u32; width + 2 * reach + 1];
        for y in 0..2 * reach + 1 {
            for (sum, belongs) in columns[reach..].iter_mut().zip(row(y.saturating_sub(reach))) {
                *sum += u32::from(*belongs);
            }
        }
        let mut values = vec![0; width * height];
        for (y, values) in values.chunks_exact_mut(width).enumerate() {
            let (first, last) = (columns[reach], columns[reach + width - 1]);
            columns[..reach].fill(first);
            columns[reach + width..].fill(last);
            let mut sum: u32 = columns[..2 * reach + 1].iter().sum();
            for ((value, goes), comes) in values.iter_mut().zip(&columns).zip(&columns[2 * reach + 1..]) {
                *value = ((sum * scale + (1 << 23)) >> 24) as u8;
                sum = sum + comes - goes;
            }
            let (comes, goes) = (row(y + reach + 1), row(y.saturating_sub(reach)));
            for ((sum, comes), goes) in columns[reach..].iter_mut().zip(comes).zip(goes) {
                *sum = *sum + u32::from(*comes) - u32::from(*goes);
            }
        }
        values
    }
}

/// Pixels of a part.
fn size(part: &Part) -> usize {
    part.iter().map(|(_, run)| run.len()).sum()
}

/// Finds the root of a part (union-find), and shortens the path to it.
fn root(joined: &mut [usize], mut part: usize) -> usize {
    while joined[part] != part {
        joined[part] = joined[joined[part]];
        part = joined[part];
    }
    part
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let pixels = rows.iter().flat_map(|row| row.bytes().map(|byte| byte == b'#')).collect();
        Mask { width: rows[0].len(), height: rows.len(), pixels }
    }

    #[test]
    fn cracks_are_closed_and_the_shape_stays() {
        let wide = |row: &str| format!("....{row}....");
        let garment = |row: &str| {
            let rows = ["............", "............", "............", "............"].map(&wide).to_vec();
            let rows = [rows.clone(), vec![wide(row); 6], rows].concat();
            mask(&rows.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let mut cracked = garment("..####..####");
        assert_eq!(cracked.closed_count(2), garment("..##########").count());
        cracked.close();
        assert_eq!(cracked, garment("..##########"));
    }

    #[test]
    fn dust_goes_and_holes_are_filled_but_not_bays() {
        let mut garment = mask(&["#......", ".......", ".#####.", ".#.###.", ".#####.", "######."]);
        garment.remove_parts_below(2.0);
        garment.fill_holes_below(2.0);
        assert_eq!(garment, mask(&[".......", ".......", ".#####.", ".#####.", ".#####.", "######."]));
    }

    #[test]
    fn blurring_is_the_mean_of_the_square() {
        let mut one = Mask::empty(9, 7);
        one.set(4, 3, true);
        let values = one.blurred(1);
        for y in 0..7_usize {
            for x in 0..9_usize {
                let is_near = x.abs_diff(4) <= 1 && y.abs_diff(3) <= 1;
                assert_eq!(values[y * 9 + x], if is_near { 28 } else { 0 }, "{x} {y}");
            }
        }
        assert!(Mask::empty(5, 5).inverted().blurred(2).iter().all(|value| *value == 255));
    }

    fn any_mask() -> impl Strategy<Value = Mask> {
        (1..24_usize, 1..24_usize).prop_flat_map(|(width, height)| {
            let pixels = prop::collection::vec(prop::bool::weighted(0.6), width * height);
            pixels.prop_map(move |pixels| Mask { width, height, pixels })
        })
    }

    /// Returns the pixels of the square around one, repeating border pixels outside.
    fn around(mask: &Mask, pixel: usize, reach: isize) -> Vec<bool> {
        let at = |place: usize, step: isize, end: usize| place.saturating_add_signed(step).min(end - 1);
        let (x, y) = (pixel % mask.width, pixel / mask.width);
        let steps = (-reach..=reach).flat_map(|down| (-reach..=reach).map(move |right| (right, down)));
        steps.map(|(right, down)| mask.has(at(x, right, mask.width), at(y, down, mask.height))).collect()
    }

    /// Returns the part containing a pixel, by flood fill.
    fn flood(mask: &Mask, start: usize) -> BTreeSet<usize> {
        let (mut part, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(pixel) = open.pop() {
            if mask.pixels[pixel] == mask.pixels[start] && part.insert(pixel) {
                let x = pixel % mask.width;
                open.extend((x > 0).then(|| pixel - 1));
                open.extend((x + 1 < mask.width).then_some(pixel + 1));
                open.extend(pixel.checked_sub(mask.width));
                open.extend(Some(pixel + mask.width).filter(|below| *below < mask.pixels.len()));
            }
        }
        part
    }

    proptest! {
        #[test]
        fn parts_are_what_flooding_finds(mask in any_mask(), value: bool) {
            let runs = mask.parts(value);
            let parts = runs.chunk_by(|one, other| one.0 == other.0);
            let parts: BTreeSet<BTreeSet<usize>> =
                parts.map(|part| part.iter().flat_map(|(_, run)| run.clone()).collect()).collect();
            let pixels = (0..mask.pixels.len()).filter(|pixel| mask.pixels[*pixel] == value);
            prop_assert_eq!(parts, pixels.map(|pixel| flood(&mask, pixel)).collect());
        }

        #[test]
        fn growing_and_blurring_look_at_the_square(mask in any_mask(), reach in 1..12_usize) {
            let (grown, blurred) = (mask.grown(reach), mask.blurred(reach));
            for (pixel, (grown, blurred)) in grown.pixels.into_iter().zip(blurred).enumerate() {
                let square = around(&mask, pixel, reach as isize);
                let (count, area) = (square.iter().filter(|belongs| **belongs).count(), square.len());
                prop_assert_eq!(grown, count > 0);
                prop_assert_eq!(usize::from(blurred), (count * 255 + area / 2) / area);
            }
        }
    }

    #[test]
    fn the_widest_blur_is_exact() {
        let wide = |count: usize| Mask { width: 63, height: 63, pixels: (0..63 * 63).map(|n| n < count).collect() };
        for count in (0..=63 * 63).step_by(7) {
            assert_eq!(usize::from(wide(count).blurred(31)[31 * 63 + 31]), (count * 255 + 63 * 63 / 2) / (63 * 63));
        }
    }
}
