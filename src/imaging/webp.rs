//! WebP, through libwebp: the only encoder of lossy WebP. Never to decode: the libwebp inside the crate is old.

use webp::{Encoder, WebPConfig};

use super::picture::{Layout, Picture};
use super::{Error, Result};

/// Quality of the colours, of 100. Alpha is kept without loss.
const QUALITY: f32 = 85.0;
/// Effort, of 6: the files are read far more often than written.
const METHOD: i32 = 6;
/// The longest side that the format has room for.
const MAX_SIDE: u32 = 16_383;

/// A lossy WebP of a picture, with its alpha channel if it has one.
///
/// # Errors
/// [`Error::Encoding`] when a side has more than 16,383 pixels, or libwebp fails.
pub fn encode(picture: &Picture) -> Result<Vec<u8>> {
    if picture.width().max(picture.height()) > MAX_SIDE {
        return Err(Error::Encoding("a WebP has at most 16,383 pixels on a side".into()));
    }
    let mut config = WebPConfig::new().map_err(|()| Error::Encoding("libwebp has another version".into()))?;
    config.quality = QUALITY;
    config.method = METHOD;
    let encoder = match picture.layout() {
        Layout::Rgb => Encoder::from_rgb(picture.bytes(), picture.width(), picture.height()),
        Layout::Rgba => Encoder::from_rgba(picture.bytes(), picture.width(), picture.height()),
    };
    let encoded = encoder.encode_advanced(&config);
    // The error of the crate is not an error by its type.
    Ok(encoded.map_err(|error| Error::Encoding(format!("libwebp says {error:?}").into()))?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::decode::{Format, Limits, decode};

    /// A disc with a soft edge, in a colour that changes.
    fn disc(layout: Layout) -> Picture {
        let mut bytes = Vec::new();
        for y in 0..96_i32 {
            for x in 0..128_i32 {
                let distance = f64::from((x - 64).pow(2) + (y - 48).pow(2)).sqrt();
                let alpha = ((40.0 - distance) * 25.0).clamp(0.0, 255.0);
                bytes.extend([x as u8 * 2, y as u8 * 2, 90]);
                if layout == Layout::Rgba {
                    bytes.push(alpha as u8);
                }
            }
        }
        Picture::new(128, 96, layout, bytes).unwrap()
    }

    #[test]
    fn alpha_is_kept_exactly_and_colours_nearly() {
        let picture = disc(Layout::Rgba);
        let encoded = encode(&picture).unwrap();
        assert_eq!(Format::of(&encoded), Some(Format::WebP));
        let decoded = decode(&encoded, &Limits::default()).unwrap();
        assert_eq!((decoded.width(), decoded.height(), decoded.has_alpha()), (128, 96, true));
        for (before, after) in picture.pixels().zip(decoded.pixels()) {
            assert_eq!(before[3], after[3]);
            let is_near = (0..3).all(|channel| before[channel].abs_diff(after[channel]) <= 24);
            assert!(before[3] < 255 || is_near, "{before:?} {after:?}");
        }
    }

    #[test]
    fn it_is_lossy_and_small() {
        let encoded = encode(&disc(Layout::Rgb)).unwrap();
        assert!(encoded.len() < 2000, "{}", encoded.len());
        assert!(!decode(&encoded, &Limits::default()).unwrap().has_alpha());
    }

    #[test]
    fn what_does_not_fit_the_format_is_refused() {
        let wide = Picture::new(MAX_SIDE + 1, 1, Layout::Rgb, vec![0; 3 * (MAX_SIDE as usize + 1)]).unwrap();
        assert!(matches!(encode(&wide), Err(Error::Encoding(_))));
    }
}
