//! WebP, through libwebp: the only encoder of lossy WebP. Never to decode: the libwebp inside the crate is old.

use std::ops::Range;

use webp::{Encoder, WebPConfig};

use super::picture::{Layout, Picture};
use super::{Error, Result};

/// Quality of the colours, of 100. Alpha is kept without loss.
const QUALITY: f32 = 85.0;
/// Effort for the colours, of 6: the files are read far more often than written.
const METHOD: i32 = 6;
/// Effort for the alpha channel, libwebp's default. At 6, a soft edge takes ten times as long as all the colours, and gets
/// a tenth smaller; but libwebp knows only one effort for both, so each is encoded in a file of its own.
const ALPHA_METHOD: i32 = 4;
/// The longest side that the format has room for.
const MAX_SIDE: u32 = 16_383;
/// Where a file's chunks begin: after `RIFF`, its size, and `WEBP`.
const CHUNKS: usize = 12;
/// Name and size of a chunk.
const CHUNK_HEAD: usize = 8;
const ALPHA: &[u8] = b"ALPH";

/// A lossy WebP of a picture, with its alpha channel if it has one.
///
/// # Errors
/// [`Error::Encoding`] when a side has more than 16,383 pixels, or libwebp fails.
pub fn encode(picture: &Picture) -> Result<Vec<u8>> {
    let (width, height) = (picture.width(), picture.height());
    if width.max(height) > MAX_SIDE {
        return Err(failed("a WebP has at most 16,383 pixels on a side"));
    }
    let config = |quality: f32, method: i32| {
        let mut config = WebPConfig::new().map_err(|()| failed("libwebp has another version"))?;
        config.quality = quality;
        config.method = method;
        Ok(config)
    };
    let mut colours = config(QUALITY, METHOD)?;
    if picture.layout() == Layout::Rgb {
        return run(&Encoder::from_rgb(picture.bytes(), width, height), &colours);
    }
    // With the alpha channel as it is, since libwebp looks at it to leave out colours that nobody sees.
    colours.alpha_compression = 0;
    let encoded = run(&Encoder::from_rgba(picture.bytes(), width, height), &colours)?;
    if alpha_chunk(&encoded).is_none() {
        // Opaque throughout.
        return Ok(encoded);
    }
    let alpha_only: Vec<u8> = picture.pixels().flat_map(|pixel| [0, 0, 0, pixel[3]]).collect();
    let alpha = run(&Encoder::from_rgba(&alpha_only, width, height), &config(0.0, ALPHA_METHOD)?)?;
    with_alpha_of(&encoded, &alpha).ok_or_else(|| failed("libwebp left out the alpha channel"))
}

fn failed(why: &'static str) -> Error {
    Error::Encoding(why.into())
}

fn run(encoder: &Encoder<'_>, config: &WebPConfig) -> Result<Vec<u8>> {
    let encoded = encoder.encode_advanced(config);
    // The error of the crate is not an error by its type.
    Ok(encoded.map_err(|error| Error::Encoding(format!("libwebp says {error:?}").into()))?.to_vec())
}

/// Where the alpha channel lies in a file: its chunk, head and padding too.
fn alpha_chunk(file: &[u8]) -> Option<Range<usize>> {
    let mut start = CHUNKS;
    loop {
        let head = file.get(start..start + CHUNK_HEAD)?;
        let size = u32::from_le_bytes(*head.last_chunk()?);
        // Chunks begin at even places.
        let end = start + CHUNK_HEAD + usize::try_from(size).ok()?.checked_next_multiple_of(2)?;
        if head.starts_with(ALPHA) {
            return (end <= file.len()).then_some(start..end);
        }
        start = end;
    }
}

/// The file `colours` with the alpha channel of another one of the same size.
fn with_alpha_of(colours: &[u8], alpha: &[u8]) -> Option<Vec<u8>> {
    let (old, new) = (alpha_chunk(colours)?, &alpha[alpha_chunk(alpha)?]);
    let mut file = [&colours[..old.start], new, &colours[old.end..]].concat();
    let size = u32::try_from(file.len() - CHUNK_HEAD).ok()?;
    file[4..CHUNK_HEAD].copy_from_slice(&size.to_le_bytes());
    Some(file)
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
    fn an_opaque_alpha_channel_takes_no_room() {
        let rgb = disc(Layout::Rgb);
        assert_eq!(encode(&rgb.clone().into_rgba()).unwrap(), encode(&rgb).unwrap());
    }

    #[test]
    fn colours_are_encoded_as_if_all_were_in_one_file() {
        let picture = disc(Layout::Rgba);
        let ours = encode(&picture).unwrap();
        let mut config = WebPConfig::new().unwrap();
        (config.quality, config.method) = (QUALITY, METHOD);
        let whole = run(&Encoder::from_rgba(picture.bytes(), 128, 96), &config).unwrap();
        let colours = |file: &[u8]| file[alpha_chunk(file).unwrap().end..].to_vec();
        assert_eq!(colours(&ours), colours(&whole));
        assert_eq!(u32::from_le_bytes(ours[4..8].try_into().unwrap()) as usize, ours.len() - 8);
        assert!(ours.len() < whole.len() * 5 / 4, "{} {}", ours.len(), whole.len());
    }

    #[test]
    fn a_file_without_an_alpha_channel_has_none_to_give() {
        let plain = encode(&disc(Layout::Rgb)).unwrap();
        assert_eq!(alpha_chunk(&plain), None);
        let whole = encode(&disc(Layout::Rgba)).unwrap();
        assert_eq!(with_alpha_of(&whole, &plain), None);
        for length in 0..alpha_chunk(&whole).unwrap().end {
            assert_eq!(alpha_chunk(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_the_format_is_refused() {
        let wide = Picture::new(MAX_SIDE + 1, 1, Layout::Rgb, vec![0; 3 * (MAX_SIDE as usize + 1)]).unwrap();
        assert!(matches!(encode(&wide), Err(Error::Encoding(_))));
    }
}
