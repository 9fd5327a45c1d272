//! JPEG, with the checks that its decoders lack. There are two decoders: one is a third faster, but holds the whole
//! picture in memory; the other scales down during decoding, for pictures that would take too much memory. Both follow
//! any number of progressive scans, each of which covers the whole picture, and one pads truncated files. So the file's
//! markers are checked first.

use std::io::Read;

use image::metadata::Orientation;
use jpeg_decoder::{Decoder, Error as DecodeError, PixelFormat};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::colour_space::ColourSpace;
use super::decode::{Head, Limits, Raw};
use super::picture::{Layout, Picture};
use super::{Error, Result, decode};

/// Most scans of a file. Cameras and encoders write about ten; 64 coefficients in 4 components, each in its own scan,
/// would be 256.
const MAX_SCANS: usize = 256;
/// Most work for the scans of a picture, in pixels: each scan covers all pixels.
const MAX_SCANNED_PIXELS: u64 = 1_000_000_000;

/// Most memory for decoding a picture at full size if it could be scaled down instead, in bytes: 12 megapixels, which
/// most phones send, take 35 MiB.
const WHOLE_BYTES: u64 = 40 * 1024 * 1024;

/// Appended for the decoder to a file without an end marker: bits that are not a code of any table, so that it fails if
/// it needs more data, and the marker.
const BEHIND_THE_END: [u8; 66] = {
    let mut bytes = [0; 66];
    let mut position = 0;
    while position < bytes.len() {
        bytes[position] = 0xFF;
        position += 2;
    }
    bytes[65] = 0xD9;
    bytes
};

/// Most bytes between segments that the faster decoder skips.
const SMALL_GAP: usize = 3;

/// Information from a file's markers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    width: u32,
    height: u32,
    /// Each component's id in scans, and a bit set of its 64 complete coefficients.
    components: Vec<(u8, u64)>,
    is_progressive: bool,
    /// Samples of all components, subsampling considered.
    samples: u64,
    scans: usize,
    /// Whether the first scan has all components, so that pixels can be output at once.
    is_interleaved: bool,
    has_end: bool,
    /// Whether there are stray bytes between segments.
    has_gaps: bool,
    /// Whether the scans have restart markers, at which a decoder can resynchronise after damage.
    has_restarts: bool,
}

impl Outline {
    /// Whether the file violates the standard but may still contain a whole picture. The faster decoder refuses such
    /// files, or silently outputs grey for damaged parts.
    fn is_odd(&self) -> bool {
        !self.has_end || self.has_gaps || self.has_restarts
    }

    /// Whether the scans, if undamaged, have all coefficients of all components.
    fn has_all_scans(&self) -> bool {
        self.scans > 0 && self.components.iter().all(|(_, complete)| *complete == u64::MAX)
    }

    /// Returns the memory for decoding at full size, in bytes: the pixels, and two bytes per coefficient if pixels are
    /// output only at the end.
    fn whole_bytes(&self) -> u64 {
        let coefficients = if self.is_progressive || !self.is_interleaved { 2 * self.samples } else { 0 };
        u64::from(self.width) * u64::from(self.height) * 3 + coefficients
    }

    /// Returns the memory for decoding scaled down by this factor, in bytes: the resulting samples and pixels, and the
    /// coefficients of a progressive picture, which the decoder copies if some are missing.
    fn reduced_bytes(&self, by: u32) -> u64 {
        let shrunk = u64::from(self.width.div_ceil(by)) * u64::from(self.height.div_ceil(by));
        let copies = match (self.is_progressive, self.has_all_scans()) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        self.samples.div_ceil(u64::from(by * by))
            + shrunk * self.components.len().max(3) as u64
            + 2 * self.samples * copies
    }

    /// Records the coefficients that a scan with this header completes.
    fn read_scan(&mut self, segment: &[u8]) -> Option<()> {
        let (names, rest) = segment.get(1..)?.split_at_checked(2 * usize::from(*segment.first()?))?;
        self.is_interleaved |= self.scans == 0 && names.len() == 2 * self.components.len();
        self.scans += 1;
        // First and last coefficient, and the number of bits left for later scans.
        let [first, last, bits, ..] = *rest else { return None };
        if bits & 15 == 0 && first <= last && last < 64 {
            let complete = (u64::MAX >> (63 - last)) & (u64::MAX << first);
            for (component, done) in &mut self.components {
                if names.chunks_exact(2).any(|name| name[0] == *component) {
                    *done |= complete;
                }
            }
        }
        Some(())
    }
}

/// Reads the markers of a JPEG and checks the limits.
pub fn head(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Head> {
    let outline = checked_outline(bytes, limits)?;
    let (size, whole) = ((outline.width, outline.height), outline.whole_bytes());
    let by = if whole <= WHOLE_BYTES { 1 } else { decode::reduction(size, least_side) };
    let (width, height) = (size.0.div_ceil(by), size.1.div_ceil(by));
    let decoder_bytes = if by == 1 && !outline.is_odd() { whole } else { outline.reduced_bytes(by) };
    Ok(Head { size, width, height, channels: 3, decoder_bytes })
}

/// Decodes a JPEG to RGB of the size in `head`; orientation is returned, not applied.
pub fn decode(bytes: &[u8], head: &Head) -> Result<Raw> {
    let outline = outline(bytes)?;
    if head.size == (head.width, head.height) && !outline.is_odd() {
        return decode_whole(bytes, head);
    }
    // The first byte of a truncated marker.
    let cut = || bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0xFF).count();
    let bytes = if outline.has_end { bytes } else { &bytes[..cut()] };
    // The decoder distributes rows over the threads of the current pool.
    decode_reduced(bytes, head)
}

fn decode_whole(bytes: &[u8], head: &Head) -> Result<Raw> {
    let (width, height) = head.size;
    let options = DecoderOptions::default()
        // Otherwise a damaged file becomes grey from there on.
        .set_strict_mode(true)
        .set_max_width(width as usize)
        .set_max_height(height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().map_err(translate_whole)?;
    // Grey and ink profiles are ignored: pixels are converted as without a profile.
    let has_colours = matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::RGB));
    let profile = decoder.icc_profile().filter(|_| has_colours);
    raw((width, height), pixels, profile, decoder.exif().map(Vec::as_slice))
}

fn decode_reduced(bytes: &[u8], head: &Head) -> Result<Raw> {
    let mut decoder = Decoder::new(bytes.chain(&BEHIND_THE_END[..]));
    // One side selects the decoder's scale: the longer one, or a picture of one row would become a point.
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let (width, height) = match head.width >= head.height {
        true => (side(head.width), u16::MAX),
        false => (u16::MAX, side(head.height)),
    };
    decoder.scale(width, height).map_err(translate_reduced)?;
    let mut pixels = decoder.decode().map_err(translate_reduced)?;
    let info = decoder.info().ok_or_else(|| Error::Corrupt("it has no frame".into()))?;
    let profile = decoder.icc_profile().filter(|_| info.pixel_format == PixelFormat::RGB24);
    match info.pixel_format {
        PixelFormat::RGB24 => {}
        PixelFormat::L8 => pixels = decode::spread(&pixels, |[grey]: &[u8; 1]| [*grey; 3]),
        PixelFormat::CMYK32 => to_rgb(&mut pixels),
        PixelFormat::L16 => return Err(Error::Unsupported("it has 16 bits per sample".into())),
    }
    raw((info.width.into(), info.height.into()), pixels, profile, decoder.exif_data())
}

fn raw((width, height): (u32, u32), pixels: Vec<u8>, profile: Option<Vec<u8>>, exif: Option<&[u8]>) -> Result<Raw> {
    let picture = Picture::new(width, height, Layout::Rgb, pixels);
    Ok(Raw {
        picture: picture.ok_or_else(|| Error::Corrupt("its data does not match its size".into()))?,
        orientation: exif.and_then(decode::exif_orientation).unwrap_or(Orientation::NoTransforms),
        colours: profile.and_then(|profile| ColourSpace::from_icc(&profile)),
    })
}

/// Converts CMYK to RGB in place, treating inks as filters, as usual without an ink profile.
fn to_rgb(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        let [cyan, magenta, yellow, black] = std::array::from_fn(|ink| 255 - u16::from(pixels[4 * pixel + ink]));
        let rgb = [cyan, magenta, yellow].map(|ink| u8::try_from((ink * black + 127) / 255).unwrap_or(u8::MAX));
        pixels[3 * pixel..3 * pixel + 3].copy_from_slice(&rgb);
    }
    pixels.truncate(3 * count);
}

/// Returns the outline of a file, after checking the limits.
fn checked_outline(bytes: &[u8], limits: &Limits) -> Result<Outline> {
    let outline = outline(bytes)?;
    limits.check(outline.width, outline.height)?;
    let pixels = u64::from(outline.width) * u64::from(outline.height);
    if !outline.has_end && !outline.has_all_scans() {
        return Err(Error::Corrupt("the file ends too early".into()));
    }
    if outline.scans > MAX_SCANS || pixels.saturating_mul(outline.scans as u64) > MAX_SCANNED_PIXELS.max(4 * pixels) {
        return Err(Error::Corrupt("too many scans".into()));
    }
    Ok(outline)
}

fn translate_whole(error: DecodeErrors) -> Error {
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

fn translate_reduced(error: DecodeError) -> Error {
    match error {
        DecodeError::Unsupported(_) => Error::Unsupported(Box::new(error)),
        DecodeError::Format(_) | DecodeError::Io(_) | DecodeError::Internal(_) => Error::Corrupt(Box::new(error)),
    }
}

/// Walks the markers from the start of the file to the end of the picture.
fn outline(bytes: &[u8]) -> Result<Outline> {
    let corrupt = |why: &'static str| Error::Corrupt(why.into());
    let mut outline = Outline::default();
    let (mut position, mut in_scan) = (2, false);
    while let Some((marker, after)) = next_marker(bytes, position) {
        outline.has_gaps |= !in_scan && after - 2 - position > SMALL_GAP;
        position = after;
        in_scan = marker == 0xDA || (in_scan && matches!(marker, 0xD0..=0xD7));
        match marker {
            // End of the picture. Data after it (another picture, a video) is ignored.
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
                // Lossless, hierarchical and arithmetic coding are not used in practice.
                if marker > 0xC2 {
                    return Err(Error::Unsupported("its coding is not supported".into()));
                }
                read_frame(segment, &mut outline).ok_or_else(|| corrupt("its frame is empty or broken"))?;
                outline.is_progressive = marker == 0xC2;
            }
            // Restart interval: none, if it is 0.
            0xDD => outline.has_restarts |= segment.iter().any(|byte| *byte != 0),
            0xDA => outline.read_scan(segment).ok_or_else(|| corrupt("a scan's header is broken"))?,
            _ => {}
        }
        position += length.max(2);
    }
    if outline.width == 0 { Err(corrupt("it has no frame")) } else { Ok(outline) }
}

/// Returns the next marker at or after `position`, and the position after it. Other bytes are skipped: within a scan
/// they are picture data, where FF is always followed by 00 or a restart.
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
    let components = segment[6..].chunks_exact(3).take(usize::from(*components));
    outline.components = components.clone().map(|component| (component[0], 0)).collect();
    let factors: Vec<(u64, u64)> = components.map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15))).collect();
    let most = |side: fn(&(u64, u64)) -> u64| factors.iter().map(side).max().filter(|most| *most > 0);
    let whole = most(|factor| factor.0)? * most(|factor| factor.1)?;
    let parts: u64 = factors.iter().map(|(horizontal, vertical)| horizontal * vertical).sum();
    outline.samples = (u64::from(outline.width) * u64::from(outline.height) * parts).div_ceil(whole);
    (outline.width > 0 && outline.height > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform;

    /// A frame of 640 × 480 with 4:2:0 subsampling.
    const FRAME: [u8; 19] = [0xFF, 0xC2, 0, 17, 8, 0x01, 0xE0, 0x02, 0x80, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];

    /// Header of a scan with coefficients 1 to 63 of two components, at full precision.
    const SCAN: [u8; 12] = [0xFF, 0xDA, 0, 10, 2, 1, 0, 3, 0, 1, 63, 0];

    fn file(scans: usize, end: bool) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8];
        bytes.extend(FRAME);
        for _ in 0..scans {
            bytes.extend(SCAN);
            bytes.extend([0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD1, 0x56]);
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
            components: vec![(1, u64::MAX - 1), (2, 0), (3, u64::MAX - 1)],
            is_progressive: true,
            samples: 640 * 480 * 3 / 2,
            scans: 3,
            is_interleaved: false,
            has_end: true,
            has_gaps: false,
            has_restarts: false,
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
        let error = head(&file(MAX_SCANS + 1, true), &Limits::default(), u32::MAX).unwrap_err();
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

    #[test]
    fn what_is_shrunk_meanwhile_looks_like_the_whole_shrunk() {
        for name in ["orientation-1.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"] {
            let path = format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(path).unwrap();
            let head = head(&bytes, &Limits::default(), 10).unwrap();
            let whole = decode(&bytes, &head).unwrap();
            assert_eq!((whole.picture.width(), whole.picture.height()), head.size, "{name}: it is small");
            for by in [2, 4, 8] {
                let head = Head { width: head.size.0.div_ceil(by), height: head.size.1.div_ceil(by), ..head };
                let small = decode(&bytes, &head).unwrap();
                assert_eq!((small.picture.width(), small.picture.height()), (head.width, head.height), "{name}");
                assert_eq!(small.orientation, whole.orientation);
                let expected = transform::shrink(whole.picture.clone(), head.width);
                let apart = small.picture.bytes().iter().zip(expected.bytes()).map(|(one, other)| one.abs_diff(*other));
                // Chroma bleeds where two quarters meet: two pixels along both seams.
                let far = apart.filter(|apart| *apart > 16).count();
                assert!(far <= 2 * 3 * (head.width + head.height) as usize, "{name} by {by}: {far}");
            }
        }
    }

    #[test]
    fn large_pictures_are_shrunk_and_small_ones_are_not() {
        let frame = |width: u16, height: u16, marker: u8| {
            let mut bytes = file(0, false);
            bytes[3] = marker;
            bytes[7..9].copy_from_slice(&height.to_be_bytes());
            bytes[9..11].copy_from_slice(&width.to_be_bytes());
            bytes.extend([0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0x12, 0xFF, 0xD9]);
            bytes
        };
        let found = |bytes: &[u8], least_side: u32| {
            let head = head(bytes, &Limits::default(), least_side).unwrap();
            (head.width, head.height, head.decoder_bytes)
        };
        // Sequential: pixels are made row by row.
        assert_eq!(found(&frame(4000, 3000, 0xC0), 1536), (4000, 3000, 36_000_000));
        assert_eq!(found(&frame(8000, 6000, 0xC0), 1536), (2000, 1500, 2000 * 1500 * 9 / 2));
        assert_eq!(found(&frame(8000, 6000, 0xC0), u32::MAX).0, 8000);
        // Progressive: two bytes for each of its samples, of which there are one and a half per pixel.
        let coefficients = 4000 * 3000 * 3;
        assert_eq!(found(&frame(4000, 3000, 0xC2), 1536), (2000, 1500, 2000 * 1500 * 9 / 2 + coefficients));
        assert_eq!(found(&frame(4000, 3000, 0xC2), 3000), (4000, 3000, 36_000_000 + coefficients));
    }

    fn data(name: &str) -> Vec<u8> {
        let path = format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    fn decoded(bytes: &[u8], least_side: u32) -> Result<Picture> {
        let head = head(bytes, &Limits::default(), least_side)?;
        Ok(decode(bytes, &head)?.picture)
    }

    #[test]
    fn a_file_without_its_end_marker_is_read_if_its_pixels_are_there() {
        for name in ["orientation-1.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"] {
            let whole = data(name);
            let end = whole.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).unwrap();
            let expected = decoded(&whole, u32::MAX).unwrap();
            for lacking in [2, 1] {
                let found = decoded(&whole[..end + 2 - lacking], u32::MAX).unwrap();
                let apart = found.bytes().iter().zip(expected.bytes()).map(|(one, other)| one.abs_diff(*other));
                assert!(apart.max().unwrap() <= 8, "{name}, {lacking} bytes short");
            }
            for lacking in [4, 8, 40, 300] {
                let found = decoded(&whole[..end - lacking], u32::MAX);
                // The last scan of a progressive picture has only the last bits of known coefficients, and no codes for
                // some.
                let is_near = |found: Picture| {
                    let apart = found.bytes().iter().zip(expected.bytes()).map(|(one, other)| one.abs_diff(*other));
                    apart.map(u64::from).sum::<u64>() < 2 * expected.bytes().len() as u64
                };
                let is_right = found.map_or(true, |found| name == "progressive.jpg" && is_near(found));
                assert!(is_right, "{name}, {lacking} bytes of the picture short");
            }
        }
    }

    #[test]
    fn bytes_between_segments_are_passed_over() {
        let whole = data("orientation-1.jpg");
        let tables = whole.windows(2).position(|pair| pair == [0xFF, 0xDB]).unwrap();
        let with_gap = [&whole[..tables], &[0; 9], &whole[tables..]].concat();
        let (found, expected) = (decoded(&with_gap, u32::MAX).unwrap(), decoded(&whole, u32::MAX).unwrap());
        assert!(found.bytes().iter().zip(expected.bytes()).all(|(one, other)| one.abs_diff(*other) <= 8));
    }

    #[test]
    fn a_damaged_stretch_is_refused() {
        // The data of the first scan, with part of it set to bits that are not a code.
        let whole = data("orientation-1.jpg");
        let scan = whole.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
        let mut damaged = whole.clone();
        for pair in damaged[scan + 100..scan + 140].as_chunks_mut::<2>().0 {
            *pair = [0xFF, 0x00];
        }
        assert!(matches!(decoded(&damaged, u32::MAX), Err(Error::Corrupt(_))));
    }

    #[test]
    fn between_restart_markers_damage_is_refused_or_stays_where_it_is() {
        let whole = data("restarts.jpg");
        let expected = decoded(&whole, u32::MAX).unwrap();
        let head = whole.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
        let is_marker = |pair: &[u8]| pair[0] == 0xFF && matches!(pair[1], 0xD0..=0xD7);
        let restarts: Vec<usize> = (head..whole.len() - 1).filter(|at| is_marker(&whole[*at..*at + 2])).collect();
        assert!(restarts.len() > 4);
        let mut recovered = 0;
        for seed in 0..40_usize {
            let mut damaged = whole.clone();
            // Never a marker, so that the file's structure is unchanged.
            let place = restarts[1] + 4 + seed % (restarts[2] - restarts[1] - 8);
            for byte in &mut damaged[place..place + 3] {
                *byte = u8::try_from((usize::from(*byte) * 7 + seed * 13) % 255).unwrap();
            }
            let Ok(found) = decoded(&damaged, u32::MAX) else { continue };
            recovered += 1;
            // Everything below the damaged rows.
            let rows = found.bytes().len() / 2;
            let apart =
                found.bytes()[rows..].iter().zip(&expected.bytes()[rows..]).map(|(one, other)| one.abs_diff(*other));
            assert!(apart.max().unwrap() <= 8, "damage {seed} goes on to the end");
        }
        assert!(recovered > 0);
    }
}
