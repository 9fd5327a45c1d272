//! From the bytes of an upload to a [`Picture`]: by their content, whatever they are called, and within limits that hold
//! before anything is allocated.
//!
//! JPEG (grey, CMYK and progressive ones too), PNG, WebP, GIF (its first frame), BMP, TIFF and HEIC. AVIF is not read: in
//! Rust there is no AV1 decoder without C or assembly, and no phone sends it. Pictures come out upright. Only a HEIC's
//! colours are converted to sRGB; other files' profiles are ignored, as most of them say sRGB anyway.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError};

use super::picture::{Layout, Picture};
use super::{Error, Result, heic, jpeg, transform};

/// The most memory that a PNG's header chunks may take; it has no use for more.
const PNG_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// What decoders take beside their result, in bytes per pixel, measured.
const WEBP_WORK: u64 = 4;
const GIF_WORK: u64 = 4;
const TIFF_WORK: u64 = 0;

/// What is decoded at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file, in bytes.
    pub bytes: usize,
    /// Pixels of the picture.
    pub pixels: u64,
    /// Width and height, in pixels.
    pub side: u32,
    /// Memory that a decoder and its result may take, in bytes.
    pub decoder_bytes: u64,
}

impl Default for Limits {
    /// Those of the contract: 20 MiB and 50 megapixels.
    fn default() -> Self {
        Self { bytes: 20 * 1024 * 1024, pixels: 50_000_000, side: 32_768, decoder_bytes: 512 * 1024 * 1024 }
    }
}

impl Limits {
    /// Refuses a file of this size if it is too large.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_file(&self, bytes: usize) -> Result<()> {
        if bytes > self.bytes { Err(Error::TooLarge { bytes, limit: self.bytes }) } else { Ok(()) }
    }

    /// Refuses a picture of this size if it is too large, or empty.
    pub(super) fn check(&self, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::Corrupt("it has no pixels".into()));
        }
        let is_too_large =
            u64::from(width) * u64::from(height) > self.pixels || width > self.side || height > self.side;
        if is_too_large { Err(Error::TooManyPixels { width, height }) } else { Ok(()) }
    }

    fn for_image_crate(&self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(self.side);
        limits.max_image_height = Some(self.side);
        limits.max_alloc = Some(self.decoder_bytes);
        limits
    }
}

/// A file format, told by the first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// BMP.
    Bmp,
    /// TIFF, of either byte order.
    Tiff,
    /// HEIC, or HEIF that may be one.
    Heic,
}

impl Format {
    /// The format that a file begins like.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.first_chunk::<4>()? {
                b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"mif2" | b"msf1" => Some(Self::Heic),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Decoded, and how it must be turned.
#[derive(Debug)]
pub struct Raw {
    /// As it lies in the file.
    pub(super) picture: Picture,
    /// What EXIF says about it.
    pub(super) orientation: Orientation,
}

/// Decodes a picture and turns it upright.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::Corrupt`], [`Error::TooManyPixels`] and [`Error::TooLarge`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let Raw { picture, orientation } = decode_raw(bytes, limits)?;
    Ok(transform::turn(picture, orientation))
}

/// Decodes a picture and leaves it as it lies in the file, whatever EXIF says. A HEIC's rotation is part of its pixels and
/// is applied.
///
/// # Errors
/// Those of [`decode`].
pub(super) fn decode_as_stored(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    Ok(decode_raw(bytes, limits)?.picture)
}

/// Decodes a picture, shrinks it so that its longest side is at most `longest_side` pixels, and turns it upright. In this
/// order a large picture is in memory only once.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_to_fit(bytes: &[u8], limits: &Limits, longest_side: u32) -> Result<Picture> {
    let Raw { picture, orientation } = decode_raw(bytes, limits)?;
    Ok(transform::turn(transform::shrink(picture, longest_side), orientation))
}

/// The memory that [`decode_to_fit`] takes beside the file, in bytes, by what the file's head says: never much less than
/// it comes to, and at times more.
///
/// # Errors
/// Those of [`decode`], as far as the head tells.
pub fn memory_to_fit(bytes: &[u8], limits: &Limits, longest_side: u32) -> Result<u64> {
    let head = match known_format(bytes, limits)? {
        Format::Jpeg => jpeg::head(bytes, limits)?,
        Format::Png => png_head(&mut png_decoder(bytes), limits)?,
        Format::WebP => other_head(&opened(WebPDecoder::new(Cursor::new(bytes)), limits)?, WEBP_WORK),
        Format::Gif => other_head(&opened(GifDecoder::new(Cursor::new(bytes)), limits)?, GIF_WORK),
        Format::Bmp => other_head(&opened(BmpDecoder::new(Cursor::new(bytes)), limits)?, 0),
        Format::Tiff => other_head(&opened(TiffDecoder::new(Cursor::new(bytes)), limits)?, TIFF_WORK),
        Format::Heic => heic::head(bytes, limits)?,
    };
    let Head { width, height, channels, decoder_bytes } = head;
    // While it is decoded, or while it is shrunk: along its rows first, and then across them.
    let decoded = u64::from(width) * u64::from(height) * channels;
    let shrunk = u64::from(longest_side.min(width)) * u64::from(height) * channels;
    Ok(decoder_bytes.max(decoded + shrunk))
}

/// What the head of a file says.
pub(super) struct Head {
    /// Pixels per row.
    pub(super) width: u32,
    /// Rows.
    pub(super) height: u32,
    /// Bytes per pixel of the decoded picture.
    pub(super) channels: u64,
    /// Memory that decoding takes, its result included, in bytes.
    pub(super) decoder_bytes: u64,
}

fn known_format(bytes: &[u8], limits: &Limits) -> Result<Format> {
    limits.check_file(bytes.len())?;
    Format::of(bytes).ok_or_else(|| Error::Unsupported("it begins like no format that is known here".into()))
}

fn decode_raw(bytes: &[u8], limits: &Limits) -> Result<Raw> {
    match known_format(bytes, limits)? {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => decode_png(bytes, limits),
        Format::WebP => decode_other(opened(WebPDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Gif => decode_other(opened(GifDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Bmp => decode_other(opened(BmpDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Tiff => decode_other(opened(TiffDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Heic => {
            let picture = heic::decode(bytes, limits)?;
            Ok(Raw { picture, orientation: Orientation::NoTransforms })
        }
    }
}

fn translate_png(error: png::DecodingError) -> Error {
    match error {
        png::DecodingError::LimitsExceeded => Error::TooManyPixels { width: 0, height: 0 },
        png::DecodingError::IoError(_) | png::DecodingError::Format(_) | png::DecodingError::Parameter(_) => {
            Error::Corrupt(Box::new(error))
        }
    }
}

fn png_decoder(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: PNG_CHUNK_BYTES });
    // Both may unpack to gigabytes, and nothing here reads them.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // One byte per sample: a picture of 16 bits never takes twice the memory.
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    decoder
}

fn png_head(decoder: &mut png::Decoder<Cursor<&[u8]>>, limits: &Limits) -> Result<Head> {
    let header = decoder.read_header_info().map_err(translate_png)?;
    let (width, height) = (header.width, header.height);
    limits.check(width, height)?;
    // What is decoded, and what is made of it if that is grey. A palette may have alpha.
    let (samples, channels) = match header.color_type {
        png::ColorType::Rgb => (3, 3),
        png::ColorType::Rgba | png::ColorType::Indexed => (4, 4),
        png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha => (2 + 4, 4),
    };
    Ok(Head { width, height, channels, decoder_bytes: u64::from(width) * u64::from(height) * samples })
}

fn decode_png(bytes: &[u8], limits: &Limits) -> Result<Raw> {
    let mut decoder = png_decoder(bytes);
    let Head { width, height, .. } = png_head(&mut decoder, limits)?;
    let mut reader = decoder.read_info().map_err(translate_png)?;
    let too_much = || Error::TooManyPixels { width, height };
    let size = reader.output_buffer_size().ok_or_else(too_much)?;
    if size as u64 > limits.decoder_bytes {
        return Err(too_much());
    }
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(translate_png)?;
    samples.truncate(frame.buffer_size());
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let (layout, pixels) = match frame.color_type {
        png::ColorType::Rgb => (Layout::Rgb, samples),
        png::ColorType::Rgba => (Layout::Rgba, samples),
        png::ColorType::Grayscale => (Layout::Rgb, spread(&samples, |grey: &[u8; 1]| [grey[0]; 3])),
        png::ColorType::GrayscaleAlpha => {
            (Layout::Rgba, spread(&samples, |[grey, alpha]: &[u8; 2]| [*grey, *grey, *grey, *alpha]))
        }
        png::ColorType::Indexed => return Err(Error::Corrupt("its palette is missing".into())),
    };
    let picture = Picture::new(frame.width, frame.height, layout, pixels);
    let picture = picture.ok_or_else(|| Error::Corrupt("its size is not what it says".into()))?;
    Ok(Raw { picture, orientation })
}

/// Makes `TO` bytes of every `FROM`, in memory that is as large as the result: growing would take up to twice that.
fn spread<const FROM: usize, const TO: usize>(samples: &[u8], make: impl Fn(&[u8; FROM]) -> [u8; TO]) -> Vec<u8> {
    let pixels = samples.as_chunks::<FROM>().0;
    let mut bytes = Vec::with_capacity(pixels.len() * TO);
    for pixel in pixels {
        bytes.extend_from_slice(&make(pixel));
    }
    bytes
}

/// A decoder of the `image` crate, if its picture is not too large.
fn opened<D: ImageDecoder>(decoder: image::ImageResult<D>, limits: &Limits) -> Result<D> {
    let decoder = decoder.map_err(|error| translate(error, (0, 0)))?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    if decoder.total_bytes().saturating_add(converted_bytes(&decoder)) > limits.decoder_bytes {
        return Err(Error::TooManyPixels { width, height });
    }
    Ok(decoder)
}

fn converted_bytes(decoder: &impl ImageDecoder) -> u64 {
    let (width, height) = decoder.dimensions();
    let has_our_layout = matches!(decoder.color_type(), image::ColorType::Rgb8 | image::ColorType::Rgba8);
    if has_our_layout { 0 } else { u64::from(width) * u64::from(height) * 4 }
}

/// `work` is what the decoder needs beside its result, in bytes per pixel.
fn other_head(decoder: &impl ImageDecoder, work: u64) -> Head {
    let (width, height) = decoder.dimensions();
    let channels = if decoder.color_type().has_alpha() { 4 } else { 3 };
    let result = decoder.total_bytes();
    let work = u64::from(width) * u64::from(height) * work;
    Head { width, height, channels, decoder_bytes: result + work.max(converted_bytes(decoder)) }
}

/// Decodes with a decoder of the `image` crate.
fn decode_other<D: ImageDecoder>(mut decoder: D, limits: &Limits) -> Result<Raw> {
    let dimensions = decoder.dimensions();
    let translate = |error| translate(error, dimensions);
    decoder.set_limits(limits.for_image_crate()).map_err(translate)?;
    // A picture whose EXIF cannot be read is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(translate)?;
    let picture = Picture::from_image(image).ok_or_else(|| Error::Corrupt("it has no pixels".into()))?;
    Ok(Raw { picture, orientation })
}

fn translate(error: ImageError, (width, height): (u32, u32)) -> Error {
    match error {
        ImageError::Limits(limit)
            if matches!(limit.kind(), LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory) =>
        {
            Error::TooManyPixels { width, height }
        }
        ImageError::Unsupported(_) => Error::Unsupported(Box::new(error)),
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Limits(_)
        | ImageError::IoError(_) => Error::Corrupt(Box::new(error)),
    }
}

#[cfg(test)]
mod tests;
