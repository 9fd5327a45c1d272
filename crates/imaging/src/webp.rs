//! Encodes WebP with libwebp, the only encoder of lossy WebP. It is never used to decode, because the crate's libwebp
//! is old.

use webp::{Encoder, WebPConfig};

use super::picture::{Layout, Picture};
use super::{Error, Result};

/// Quality of the colours, of 100.
const QUALITY: f32 = 85.0;
/// Effort, of 6: the files are read far more often than written.
const METHOD: i32 = 6;
/// Quality of the alpha channel, of 100. At 99 libwebp keeps 248 levels: all levels of the built-in remover, and others
/// within one of 255. At 100, which keeps all 256, method 6 tries every compression of them, which takes ten times as
/// long as everything else and saves a kilobyte (requirements/media.md).
const ALPHA_QUALITY: i32 = 99;
/// Prediction filter of the alpha channel: none. The default tries one that may save a twentieth of the file for soft
/// edges and nothing for sharp ones, at a quarter of the total time and twice the memory.
const ALPHA_FILTERING: i32 = 0;
/// Longest side that the format supports.
const MAX_SIDE: u32 = 16_383;

/// Encodes a picture as lossy WebP, with its alpha channel if it has one.
///
/// # Errors
/// [`Error::Encoding`] when a side has more than 16,383 pixels, or libwebp fails.
pub fn encode(picture: &Picture) -> Result<Vec<u8>> {
    let (width, height) = (picture.width(), picture.height());
    if width.max(height) > MAX_SIDE {
        return Err(failed("a WebP has at most 16,383 pixels on a side"));
    }
    let mut config = WebPConfig::new().map_err(|()| failed("libwebp has an unexpected version"))?;
    config.quality = QUALITY;
    config.method = METHOD;
    config.alpha_quality = ALPHA_QUALITY;
    config.alpha_filtering = ALPHA_FILTERING;
    let encoder = match picture.layout() {
        Layout::Rgb => Encoder::from_rgb(picture.bytes(), width, height),
        Layout::Rgba => Encoder::from_rgba(picture.bytes(), width, height),
    };
    let encoded = encoder.encode_advanced(&config);
    // The crate's error type does not implement `Error`.
    Ok(encoded.map_err(|error| Error::Encoding(format!("libwebp says {error:?}").into()))?.to_vec())
}

fn failed(why: &'static str) -> Error {
    Error::Encoding(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Format, Limits, decode};

    /// Creates a disc with a soft edge and a colour gradient.
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
    fn an_opaque_alpha_channel_takes_no_room() {
        let rgb = disc(Layout::Rgb);
        assert_eq!(encode(&rgb.clone().into_rgba()).unwrap(), encode(&rgb).unwrap());
    }

    #[test]
    fn any_alpha_is_kept_to_one_level() {
        // All 256 of them, more than are kept exactly.
        let bytes = (0..128 * 96_u32).flat_map(|n| [90, 120, 200, (n % 256) as u8]).collect();
        let picture = Picture::new(128, 96, Layout::Rgba, bytes).unwrap();
        let decoded = decode(&encode(&picture).unwrap(), &Limits::default()).unwrap();
        for (before, after) in picture.pixels().zip(decoded.pixels()) {
            assert!(before[3].abs_diff(after[3]) <= 1, "{} {}", before[3], after[3]);
            let is_extreme = matches!(before[3], 0 | 255);
            assert!(!is_extreme || before[3] == after[3], "{} {}", before[3], after[3]);
        }
    }

    #[test]
    fn what_does_not_fit_the_format_is_refused() {
        let wide = Picture::new(MAX_SIDE + 1, 1, Layout::Rgb, vec![0; 3 * (MAX_SIDE as usize + 1)]).unwrap();
        assert!(matches!(encode(&wide), Err(Error::Encoding(_))));
    }
}
