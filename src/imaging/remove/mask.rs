//! A picture of yes and no.

/// Which pixels belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pixels: Vec<bool>,
}

impl Mask {
    /// A mask to which nothing belongs.
    pub fn empty(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![false; width * height] }
    }

    /// Whether a pixel belongs.
    pub fn has(&self, x: usize, y: usize) -> bool {
        self.pixels[y * self.width + x]
    }

    /// Puts a pixel in or out.
    pub fn set(&mut self, x: usize, y: usize, belongs: bool) {
        self.pixels[y * self.width + x] = belongs;
    }

    /// Pixels that belong.
    pub fn count(&self) -> usize {
        self.pixels.iter().filter(|belongs| **belongs).count()
    }

    /// Everything else.
    pub fn inverted(mut self) -> Self {
        for pixel in &mut self.pixels {
            *pixel = !*pixel;
        }
        self
    }

    /// Closes cracks of up to four pixels: grows by two, and shrinks by two. What touches the border goes on outside.
    pub fn close(&mut self) {
        self.spread(true);
        self.spread(false);
    }

    /// How many pixels would belong if gaps of up to twice `reach` pixels were closed.
    pub fn closed_count(&self, reach: usize) -> usize {
        let with = |pixels: Vec<bool>| Self { pixels, ..*self };
        let grown = with(self.blurred(reach).iter().map(|value| *value > 0).collect());
        grown.blurred(reach).iter().filter(|value| **value == 255).count()
    }

    /// Grows (or shrinks) what belongs by two pixels to all sides.
    fn spread(&mut self, value: bool) {
        const REACH: usize = 2;
        let (width, height) = (self.width, self.height);
        let mut across = self.pixels.clone();
        for y in 0..height {
            let row = &self.pixels[y * width..(y + 1) * width];
            for x in 0..width {
                let near = &row[x.saturating_sub(REACH)..(x + REACH + 1).min(width)];
                across[y * width + x] = near.contains(&value) == value;
            }
        }
        for y in 0..height {
            let rows = y.saturating_sub(REACH)..(y + REACH + 1).min(height);
            for x in 0..width {
                let is_near = rows.clone().any(|y| across[y * width + x] == value);
                self.pixels[y * width + x] = is_near == value;
            }
        }
    }

    /// Takes out parts of fewer pixels than `least`.
    pub fn remove_parts_below(&mut self, least: f64) {
        for part in self.parts(true) {
            if (part.len() as f64) < least {
                for pixel in part {
                    self.pixels[pixel] = false;
                }
            }
        }
    }

    /// Puts in holes of fewer pixels than `least`; a gap at the border is no hole.
    pub fn fill_holes_below(&mut self, least: f64) {
        let (width, height) = (self.width, self.height);
        let is_on_border = |pixel: usize| {
            let (x, y) = (pixel % width, pixel / width);
            x == 0 || y == 0 || x == width - 1 || y == height - 1
        };
        for part in self.parts(false) {
            if (part.len() as f64) < least && !part.iter().any(|pixel| is_on_border(*pixel)) {
                for pixel in part {
                    self.pixels[pixel] = true;
                }
            }
        }
    }

    /// Connected parts of pixels that belong, or do not.
    fn parts(&self, value: bool) -> Vec<Vec<usize>> {
        let mut is_open: Vec<bool> = self.pixels.iter().map(|pixel| *pixel == value).collect();
        let mut parts = Vec::new();
        for start in 0..is_open.len() {
            if !is_open[start] {
                continue;
            }
            is_open[start] = false;
            let mut part = vec![start];
            let mut done = 0;
            while let Some(pixel) = part.get(done).copied() {
                done += 1;
                let x = pixel % self.width;
                let neighbours = [
                    (x > 0).then(|| pixel - 1),
                    (x + 1 < self.width).then_some(pixel + 1),
                    pixel.checked_sub(self.width),
                    Some(pixel + self.width).filter(|below| *below < is_open.len()),
                ];
                for neighbour in neighbours.into_iter().flatten() {
                    if is_open[neighbour] {
                        is_open[neighbour] = false;
                        part.push(neighbour);
                    }
                }
            }
            parts.push(part);
        }
        parts
    }

    /// Values from 0 to 255: the part of the square around each pixel, `reach` to all sides, that belongs.
    pub fn blurred(&self, reach: usize) -> Vec<u8> {
        let (width, height) = (self.width, self.height);
        // Sums along the rows, then across them; beyond the border goes on what is at it.
        let mut sums = vec![0_u32; width * height];
        for y in 0..height {
            let row = &self.pixels[y * width..(y + 1) * width];
            let at = |x: usize| u32::from(row[x.min(width - 1)]);
            let mut sum = u32::from(row[0]) * reach as u32 + (0..=reach).map(at).sum::<u32>();
            for x in 0..width {
                sums[y * width + x] = sum;
                sum = sum + at(x + reach + 1) - at(x.saturating_sub(reach));
            }
        }
        let side = 2 * reach as u32 + 1;
        let mut values = vec![0; width * height];
        let row = |y: usize| {
            let y = y.min(height - 1);
            &sums[y * width..(y + 1) * width]
        };
        let mut totals: Vec<u32> = row(0).iter().map(|sum| sum * reach as u32).collect();
        for y in 0..=reach {
            totals.iter_mut().zip(row(y)).for_each(|(total, sum)| *total += sum);
        }
        for y in 0..height {
            for (value, total) in values[y * width..(y + 1) * width].iter_mut().zip(&totals) {
                *value = u8::try_from((total * 255 + side * side / 2) / (side * side)).unwrap_or(u8::MAX);
            }
            let (comes, goes) = (row(y + reach + 1), row(y.saturating_sub(reach)));
            for ((total, comes), goes) in totals.iter_mut().zip(comes).zip(goes) {
                *total = *total + comes - goes;
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
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
}
