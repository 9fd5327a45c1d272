//! Scales a picture down row by row during decoding, averaging squares of pixels.

/// Weight of a level of alpha, relative to a transparent pixel.
const OPACITY: u32 = 256;

/// Averages `by` × `by` pixels from consecutive rows.
pub(super) struct Reducer {
    by: usize,
    width: usize,
    channels: usize,
    /// Sums of the channels of each pixel of the current row. Colours are weighted by alpha, so that transparent pixels
    /// do not bleed; their weight is not quite zero, so that a fully transparent square keeps its mean colour.
    sums: Vec<u32>,
    /// Rows in `sums`.
    rows: usize,
    bytes: Vec<u8>,
}

impl Reducer {
    /// Creates a reducer for a picture of this size, with three channels, or four with alpha. `by` is at most 8.
    pub(super) fn new((width, height): (u32, u32), channels: usize, by: u32) -> Self {
        let (columns, rows) = (width.div_ceil(by) as usize, height.div_ceil(by) as usize);
        Self {
            by: by as usize,
            width: width as usize,
            channels,
            sums: vec![0; columns * channels],
            rows: 0,
            bytes: Vec::with_capacity(columns * rows * channels),
        }
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: &[u8]) {
        let squares = row.chunks(self.by * self.channels);
        if self.channels == 4 {
            for (sums, pixels) in self.sums.as_chunks_mut::<4>().0.iter_mut().zip(squares) {
                for [red, green, blue, alpha] in pixels.as_chunks::<4>().0.iter().map(|pixel| pixel.map(u32::from)) {
                    // At most 255 × 65,281 × 64, which is 2³⁰.
                    let weight = OPACITY * alpha + 1;
                    sums[0] += red * weight;
                    sums[1] += green * weight;
                    sums[2] += blue * weight;
                    sums[3] += weight;
                }
            }
        } else {
            for (sums, pixels) in self.sums.as_chunks_mut::<3>().0.iter_mut().zip(squares) {
                for pixel in pixels.as_chunks::<3>().0 {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += u32::from(*value);
                    }
                }
            }
        }
        self.rows += 1;
        if self.rows == self.by {
            self.end_row();
        }
    }

    fn end_row(&mut self) {
        let (by, width, rows) = (self.by, self.width, self.rows);
        for (column, sums) in self.sums.chunks_exact(self.channels).enumerate() {
            let count = u32::try_from(by.min(width - column * by) * rows).unwrap_or(u32::MAX);
            let mean = |sum: u32, count: u32| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX);
            match *sums {
                [red, green, blue, weight] => {
                    self.bytes.extend([red, green, blue].map(|colour| mean(colour, weight)));
                    self.bytes.push(mean(weight / OPACITY, count));
                }
                _ => self.bytes.extend(sums.iter().map(|sum| mean(*sum, count))),
            }
        }
        self.sums.fill(0);
        self.rows = 0;
    }

    /// Returns the pixels of the scaled picture.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.rows > 0 {
            self.end_row();
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(size: (u32, u32), channels: usize, by: u32, bytes: &[u8]) -> Vec<u8> {
        let mut reducer = Reducer::new(size, channels, by);
        bytes.chunks(size.0 as usize * channels).for_each(|row| reducer.push(row));
        reducer.finish()
    }

    #[test]
    fn a_square_becomes_its_mean_and_so_does_what_is_left_at_the_edges() {
        // 3 × 3 pixels, each with ten times its index.
        let bytes: Vec<u8> = (0..9).flat_map(|number| [number * 10, 7, 255]).collect();
        assert_eq!(reduced((3, 3), 3, 2, &bytes), [20, 7, 255, 35, 7, 255, 65, 7, 255, 80, 7, 255]);
        assert_eq!(reduced((3, 3), 3, 8, &bytes), [40, 7, 255]);
        assert_eq!(reduced((3, 3), 3, 1, &bytes), bytes);
    }

    #[test]
    fn transparent_pixels_lend_no_colour() {
        let bytes = [[200, 0, 100, 255], [9, 99, 9, 0], [9, 99, 9, 0], [100, 0, 200, 255]].concat();
        assert_eq!(reduced((2, 2), 4, 2, &bytes), [150, 0, 150, 128]);
        assert_eq!(reduced((2, 1), 4, 2, &[5, 6, 7, 0, 7, 8, 9, 0]), [6, 7, 8, 0]);
        assert_eq!(reduced((8, 8), 4, 8, &[255; 256]), [255; 4]);
    }
}
