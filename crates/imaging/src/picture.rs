//! A decoded picture: rows of 8-bit RGB or RGBA, sRGB.

use image::{DynamicImage, RgbImage, RgbaImage};

/// Memory layout of the pixels of a [`Picture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha; not premultiplied.
    Rgba,
}

impl Layout {
    /// Bytes per pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// A picture in memory, upright, with at least one pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    layout: Layout,
    bytes: Vec<u8>,
}

impl Picture {
    /// Creates a picture from bytes, row by row; `None` if they are not exactly `width` × `height` pixels, or empty.
    pub fn new(width: u32, height: u32, layout: Layout, bytes: Vec<u8>) -> Option<Self> {
        let pixels = usize::try_from(u64::from(width) * u64::from(height)).ok()?;
        let expected = pixels.checked_mul(layout.channels())?;
        (pixels > 0 && bytes.len() == expected).then_some(Self { width, height, layout, bytes })
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the layout of the pixels in memory.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the bytes, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Converts the picture into its bytes, row by row.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Iterates over the pixels, three or four bytes each.
    pub fn pixels(&self) -> std::slice::ChunksExact<'_, u8> {
        self.bytes.chunks_exact(self.layout.channels())
    }

    /// Whether it has an alpha channel, used or not.
    pub fn has_alpha(&self) -> bool {
        self.layout == Layout::Rgba
    }

    /// Returns the share of visibly transparent pixels (alpha below 250), 0 to 1.
    pub fn transparent_share(&self) -> f64 {
        match self.layout {
            Layout::Rgb => 0.0,
            Layout::Rgba => {
                let pixels = self.bytes.as_chunks::<4>().0;
                // A sum of narrow integers rather than a count, so that it vectorises.
                let transparent: u32 = pixels.iter().map(|[_, _, _, alpha]| u32::from(*alpha < 250)).sum();
                f64::from(transparent) / pixels.len() as f64
            }
        }
    }

    /// Adds an opaque alpha channel if there is none.
    #[must_use]
    pub fn into_rgba(self) -> Self {
        match self.layout {
            Layout::Rgba => self,
            Layout::Rgb => {
                let bytes = self.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
                Self { layout: Layout::Rgba, bytes, ..self }
            }
        }
    }

    /// Removes the alpha channel, blending with white.
    #[must_use]
    pub fn into_rgb(self) -> Self {
        match self.layout {
            Layout::Rgb => self,
            Layout::Rgba => {
                let on_white = |value: u8, alpha: u8| {
                    let (value, alpha) = (u32::from(value), u32::from(alpha));
                    u8::try_from((value * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
                };
                let mut bytes = Vec::with_capacity(self.bytes.len() / 4 * 3);
                for pixel in self.pixels() {
                    bytes.extend(pixel[..3].iter().map(|value| on_white(*value, pixel[3])));
                }
                Self { layout: Layout::Rgb, bytes, ..self }
            }
        }
    }

    /// Converts to the type of the `image` crate, without copying.
    pub(super) fn into_image(self) -> DynamicImage {
        let wrong = "a picture's bytes fit its size";
        match self.layout {
            Layout::Rgb => {
                DynamicImage::ImageRgb8(RgbImage::from_raw(self.width, self.height, self.bytes).expect(wrong))
            }
            Layout::Rgba => {
                DynamicImage::ImageRgba8(RgbaImage::from_raw(self.width, self.height, self.bytes).expect(wrong))
            }
        }
    }

    /// Converts from the `image` crate, without copying if the layout is supported. `None` if it is empty.
    pub(super) fn from_image(image: DynamicImage) -> Option<Self> {
        let (width, height) = (image.width(), image.height());
        if image.color().has_alpha() {
            Self::new(width, height, Layout::Rgba, image.into_rgba8().into_raw())
        } else {
            Self::new(width, height, Layout::Rgb, image.into_rgb8().into_raw())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_fit_the_size() {
        assert!(Picture::new(2, 1, Layout::Rgb, vec![0; 6]).is_some());
        assert!(Picture::new(2, 1, Layout::Rgba, vec![0; 6]).is_none());
        assert!(Picture::new(0, 1, Layout::Rgb, Vec::new()).is_none());
        assert!(Picture::new(u32::MAX, u32::MAX, Layout::Rgba, Vec::new()).is_none());
    }

    #[test]
    fn transparency_is_shown_on_white() {
        let picture = Picture::new(3, 1, Layout::Rgba, vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128]).unwrap();
        assert!((picture.transparent_share() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(picture.into_rgb().into_bytes(), [10, 20, 30, 255, 255, 255, 127, 127, 127]);
    }

    #[test]
    fn an_opaque_picture_gets_an_opaque_alpha_channel() {
        let picture = Picture::new(1, 2, Layout::Rgb, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert!(!picture.has_alpha());
        let picture = picture.into_rgba();
        assert_eq!(picture.bytes(), [1, 2, 3, 255, 4, 5, 6, 255]);
        assert_eq!(picture.clone().into_rgb().into_rgba(), picture);
    }
}
