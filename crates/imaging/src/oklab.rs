//! `OKLab`, a perceptually uniform colour space, with look-up tables for speed.

use std::sync::LazyLock;

/// A colour: lightness 0 to 1, then green–red and blue–yellow, each about -0.3 to 0.3.
pub type Lab = [f32; 3];

/// Steps of the table of cube roots.
const ROOTS: usize = 8192;

/// Linear light of an sRGB value.
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|value| {
        let value = value as f32 / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
});

/// Cube roots of 0 to 1, each with the difference to the next.
static ROOT: LazyLock<Vec<[f32; 2]>> = LazyLock::new(|| {
    let root = |step: usize| (step as f32 / ROOTS as f32).cbrt();
    (0..=ROOTS).map(|step| [root(step), root(step + 1) - root(step)]).collect()
});

/// Converts many colours with the same tables.
pub struct Converter {
    linear: &'static [f32; 256],
    root: &'static [[f32; 2]],
}

impl Converter {
    /// Creates a converter, computing the shared tables if necessary.
    pub fn new() -> Self {
        Self { linear: &LINEAR, root: &ROOT }
    }

    /// Converts an sRGB pixel; bytes after its three values are ignored.
    #[expect(clippy::many_single_char_names, reason = "the names of the colour space")]
    pub fn lab(&self, pixel: &[u8]) -> Lab {
        let [r, g, b] = [0, 1, 2].map(|channel| self.linear[usize::from(pixel[channel])]);
        // From Björn Ottosson's definition, https://bottosson.github.io/posts/oklab/
        let l = self.cube_root(0.412_221_47 * r + 0.536_332_54 * g + 0.051_445_993 * b);
        let m = self.cube_root(0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b);
        let s = self.cube_root(0.088_302_46 * r + 0.281_718_84 * g + 0.629_978_7 * b);
        [
            0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
            1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
            0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
        ]
    }

    /// Returns the cube root of a value from 0 to 1, accurate to 0.001 except in the deepest black.
    fn cube_root(&self, value: f32) -> f32 {
        let place = value * ROOTS as f32;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the size of the table")]
        let step = (place as u16).min(ROOTS as u16);
        let [root, to_next] = self.root[usize::from(step)];
        root + to_next * (place - f32::from(step))
    }
}

/// Returns the perceived difference of two colours: 0.02 is just noticeable. Hue and chroma count twice, because the
/// space underestimates them.
pub fn distance(one: Lab, other: Lab) -> f32 {
    distance_squared(one, other).sqrt()
}

/// The square of their [`distance`].
pub fn distance_squared(one: Lab, other: Lab) -> f32 {
    let [lightness, a, b] = [0, 1, 2].map(|channel| one[channel] - other[channel]);
    lightness * lightness + 4.0 * (a * a + b * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_have_known_places() {
        let converter = Converter::new();
        for (pixel, expected) in [
            ([255, 255, 255], [1.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 0, 0], [0.627_96, 0.224_86, 0.125_85]),
            ([0, 255, 0], [0.866_44, -0.233_89, 0.179_5]),
            ([0, 0, 255], [0.452_01, -0.032_46, -0.311_53]),
        ] {
            let found = converter.lab(&pixel);
            for channel in 0..3 {
                assert!((found[channel] - expected[channel]).abs() < 0.001, "{pixel:?}: {found:?}");
            }
        }
    }
}
