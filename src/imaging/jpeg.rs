//! JPEG, with the checks that its decoder leaves to us.
//!
//! The decoder fills up what a cut-off file lacks, and follows as many progressive scans as a file likes to have, each
//! of which goes through all of the picture. So the file's markers are walked first.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::decode::{Head, Limits, Raw};
use super::picture::{Layout, Picture};
use super::{Error, Result};

/// The most scans a file may have. Cameras and encoders write about ten; 64 coefficients in 4 components, each in a scan
/// of its own, would be 256.
const MAX_SCANS: usize = 256;
/// The most work that scans may make of a picture, in pixels: each goes through all of them.
const MAX_SCANNED_PIXELS: u64 = 1_000_000_000;

/// What the markers of a file say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    width: u32,
    height: u32,
    is_progressive: bool,
    /// Samples of all components, subsampling considered; each takes two bytes while a progressive picture is decoded.
    samples: u64,
    scans: usize,
    has_end: bool,
}

impl Outline {
    /// Memory that decoding takes, in bytes.
    fn decoder_bytes(&self) -> u64 {
        let coefficients = if self.is_progressive { 2 * self.samples } else { 0 };
        u64::from(self.width) * u64::from(self.height) * 3 + coefficients
    }
}

/// What the markers of a JPEG that may be decoded say.
pub fn head(bytes: &[u8], limits: &Limits) -> Result<Head> {
    let outline = checked_outline(bytes, limits)?;
    let Outline { width, height, .. } = outline;
    Ok(Head { width, height, channels: 3, decoder_bytes: outline.decoder_bytes() })
}

/// Decodes a JPEG to RGB; orientation is told, not applied.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw> {
    let outline = checked_outline(bytes, limits)?;
    let side = usize::try_from(limits.side).unwrap_or(usize::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().map_err(translate)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let picture = Picture::new(outline.width, outline.height, Layout::Rgb, pixels)
        .ok_or_else(|| Error::Corrupt("its size is not what it says".into()))?;
    Ok(Raw { picture, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
}

/// The outline of a file that may be decoded.
fn checked_outline(bytes: &[u8], limits: &Limits) -> Result<Outline> {
    let outline = outline(bytes)?;
    limits.check(outline.width, outline.height)?;
    let too_much = || Error::TooManyPixels { width: outline.width, height: outline.height };
    let pixels = u64::from(outline.width) * u64::from(outline.height);
    if outline.decoder_bytes() > limits.decoder_bytes {
        return Err(too_much());
    }
    if !outline.has_end {
        return Err(Error::Corrupt("the file ends too early".into()));
    }
    if outline.scans > MAX_SCANS || pixels.saturating_mul(outline.scans as u64) > MAX_SCANNED_PIXELS.max(4 * pixels) {
        return Err(Error::Corrupt("too many scans".into()));
    }
    Ok(outline)
}

fn translate(error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(_) => Error::Unsupported(Box::new(error)),
        DecodeErrors::Format(_)
        | DecodeErrors::FormatStatic(_)
        | DecodeErrors::IllegalMagicBytes(_)
        | DecodeErrors::HuffmanDecode(_)
        | DecodeErrors::ZeroError
        | DecodeErrors::DqtError(_)
        | DecodeErrors::SosError(_)
        | DecodeErrors::SofError(_)
        | DecodeErrors::MCUError(_)
        | DecodeErrors::ExhaustedData
        | DecodeErrors::LargeDimensions(_)
        | DecodeErrors::TooSmallOutput(..)
        | DecodeErrors::IoErrors(_) => Error::Corrupt(Box::new(error)),
    }
}

/// Walks the markers from the start of the file to the end of the picture.
fn outline(bytes: &[u8]) -> Result<Outline> {
    let corrupt = |why: &'static str| Error::Corrupt(why.into());
    let mut outline = Outline::default();
    let mut position = 2;
    while let Some(next) = next_marker(bytes, position) {
        let (marker, after) = next;
        position = after;
        match marker {
            // End of the picture. What follows (another picture, a film) is not ours.
            0xD9 => {
                outline.has_end = true;
                break;
            }
            // Markers without a segment: restarts, the start again.
            0x01 | 0xD0..=0xD8 => continue,
            _ => {}
        }
        let Some(length) = bytes.get(position..position + 2).map(|two| usize::from(two[0]) << 8 | usize::from(two[1]))
        else {
            break;
        };
        let Some(segment) = bytes.get(position + 2..position + length.max(2)) else { break };
        match marker {
            // Start of a frame: any but the tables DHT (C4), JPG (C8) and DAC (CC).
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                if outline.width != 0 {
                    return Err(corrupt("more than one frame"));
                }
                read_frame(segment, &mut outline).ok_or_else(|| corrupt("its frame is empty or broken"))?;
                outline.is_progressive = matches!(marker, 0xC2 | 0xC6 | 0xCA | 0xCE);
            }
            0xDA => outline.scans += 1,
            _ => {}
        }
        position += length.max(2);
    }
    if outline.width == 0 { Err(corrupt("it has no frame")) } else { Ok(outline) }
}

/// The next marker at or after `position`, and the position behind it. Bytes that are not one are skipped: in a scan
/// they are the picture, where FF is always followed by 00 or a restart.
fn next_marker(bytes: &[u8], position: usize) -> Option<(u8, usize)> {
    let mut position = position;
    loop {
        position += bytes.get(position..)?.iter().position(|byte| *byte == 0xFF)?;
        match *bytes.get(position + 1)? {
            0x00 => position += 2,
            0xFF => position += 1,
            marker => return Some((marker, position + 2)),
        }
    }
}

fn read_frame(segment: &[u8], outline: &mut Outline) -> Option<()> {
    // Sample precision (which the decoder checks), height, width, number of components.
    let [_, high, low, wide_high, wide_low, components] = segment.first_chunk::<6>()?;
    outline.height = u32::from(u16::from_be_bytes([*high, *low]));
    outline.width = u32::from(u16::from_be_bytes([*wide_high, *wide_low]));
    let factors = segment[6..].chunks_exact(3).take(usize::from(*components));
    let factors: Vec<(u64, u64)> = factors.map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15))).collect();
    let most = |side: fn(&(u64, u64)) -> u64| factors.iter().map(side).max().filter(|most| *most > 0);
    let whole = most(|factor| factor.0)? * most(|factor| factor.1)?;
    let parts: u64 = factors.iter().map(|(horizontal, vertical)| horizontal * vertical).sum();
    outline.samples = (u64::from(outline.width) * u64::from(outline.height) * parts).div_ceil(whole);
    (outline.width > 0 && outline.height > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 640 × 480 with 4:2:0 subsampling.
    const FRAME: [u8; 19] = [0xFF, 0xC2, 0, 17, 8, 0x01, 0xE0, 0x02, 0x80, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];

    fn file(scans: usize, end: bool) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8];
        bytes.extend(FRAME);
        for _ in 0..scans {
            bytes.extend([0xFF, 0xDA, 0, 3, 1, 0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD1, 0x56]);
        }
        if end {
            bytes.extend([0xFF, 0xD9]);
        }
        bytes
    }

    #[test]
    fn markers_tell_the_size_and_what_decoding_takes() {
        let found = outline(&file(3, true)).unwrap();
        let expected = Outline {
            width: 640,
            height: 480,
            is_progressive: true,
            samples: 640 * 480 * 3 / 2,
            scans: 3,
            has_end: true,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn an_end_inside_a_segment_is_not_the_end() {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 0, 0];
        bytes.extend(&file(1, false)[2..]);
        assert!(!outline(&bytes).unwrap().has_end);
    }

    #[test]
    fn endless_scans_are_refused() {
        let error = decode(&file(MAX_SCANS + 1, true), &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Corrupt(cause) if cause.to_string() == "too many scans"));
    }

    #[test]
    fn broken_frames_are_refused() {
        for length in 2..FRAME.len() {
            let bytes = &file(0, false)[..length + 2];
            assert!(outline(bytes).is_err(), "{length}");
        }
        let mut empty = file(1, true);
        empty[7..9].fill(0);
        assert!(outline(&empty).is_err());
    }
}
