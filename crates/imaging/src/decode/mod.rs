//! Decodes the bytes of an upload to a [`Picture`]. The format is detected from the content, and limits are checked
//! before memory is allocated.
//!
//! Formats: JPEG (including grey, CMYK and progressive), PNG, WebP, GIF (first frame), BMP, TIFF and HEIC. AVIF is not
//! supported: Rust has no AV1 decoder without C or assembly, and phones do not send it. Pictures come out upright, in
//! sRGB.
//!
//! Formats of phones (JPEG, HEIC, PNG) are scaled down during decoding if the target is half the size or less, because
//! fifty megapixels would exceed the memory limit per picture. Other formats, and some rare variants of these
//! (interlaced, progressive, HEIC with alpha), are limited to the number of pixels that fit.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError};

use super::colour_space::ColourSpace;
use super::picture::{Layout, Picture};
use super::reduce::Reducer;
use super::{Error, Result, heic, jpeg, transform};

/// Most memory for a PNG's header chunks.
const PNG_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Memory of decoders in addition to their result, in bytes per pixel, measured.
const WEBP_WORK: u64 = 4;
const GIF_WORK: u64 = 4;
const TIFF_WORK: u64 = 0;

/// Limits on decoded pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file, in bytes.
    pub bytes: usize,
    /// Pixels of the picture.
    pub pixels: u64,
    /// Width and height, in pixels.
    pub side: u32,
    /// Most memory for the file, a decoder and its result, in bytes.
    pub decoder_bytes: u64,
}

impl Default for Limits {
    /// Limits of the contract: 20 MiB and 50 megapixels. A picture may take 96 MiB in total, part of which is left for
    /// its request.
    fn default() -> Self {
        Self { bytes: 20 * 1024 * 1024, pixels: 50_000_000, side: 32_768, decoder_bytes: 92 * 1024 * 1024 }
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

/// A file format, detected from the first bytes of a file.
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
    /// TIFF of either byte order, and `BigTIFF`.
    Tiff,
    /// HEIC, or HEIF that may contain it.
    Heic,
}

impl Format {
    /// Detects the format from the beginning of a file.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.first_chunk::<4>()? {
                b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"mif2" | b"msf1" => Some(Self::Heic),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A decoded picture with its orientation.
#[derive(Debug)]
pub struct Raw {
    /// The picture as stored in the file.
    pub(super) picture: Picture,
    /// Orientation from EXIF.
    pub(super) orientation: Orientation,
    /// Colour space of the picture, if known not to be sRGB.
    pub(super) colours: Option<ColourSpace>,
}

impl Raw {
    /// Converts to the final picture: with a longest side of at most `longest_side` pixels, upright, in sRGB.
    fn finish(self, longest_side: u32) -> Picture {
        let Self { picture, orientation, colours } = self;
        let picture = transform::shrink(picture, longest_side);
        let picture = match colours {
            Some(colours) => colours.to_srgb(picture),
            None => picture,
        };
        transform::turn(picture, orientation)
    }
}

/// Tells decoders not to scale down.
const WHOLE: u32 = u32::MAX;

/// Decodes a picture at full size: upright, in sRGB.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::Corrupt`], [`Error::TooManyPixels`] and [`Error::TooLarge`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    Ok(decode_raw(bytes, limits, WHOLE)?.finish(WHOLE))
}

/// Decodes a picture as stored, ignoring EXIF orientation and colour profile. The rotation of a HEIC is applied. A
/// large picture may be scaled down, but its longest side keeps `least_side` pixels.
///
/// # Errors
/// Those of [`decode`].
pub(super) fn decode_as_stored(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Picture> {
    Ok(decode_raw(bytes, limits, least_side)?.picture)
}

/// Returns the memory that [`decode_as_stored`] needs in addition to the file, in bytes, according to the file's
/// header.
///
/// # Errors
/// Those of [`decode`], as far as the head tells.
pub(super) fn memory_as_stored(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<u64> {
    Ok(head_of(known_format(bytes, limits)?, bytes, limits, least_side)?.decoder_bytes)
}

/// Decodes a picture, shrinks it so that its longest side is at most `longest_side` pixels, and turns it upright, in
/// sRGB. Where the decoder can, a large picture is never in memory as a whole.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_to_fit(bytes: &[u8], limits: &Limits, longest_side: u32) -> Result<Picture> {
    Ok(decode_raw(bytes, limits, longest_side)?.finish(longest_side))
}

/// Returns the memory that [`decode_to_fit`] needs in addition to the file, in bytes, according to the file's header:
/// never much too low, sometimes too high.
///
/// # Errors
/// Those of [`decode`], as far as the head tells.
pub fn memory_to_fit(bytes: &[u8], limits: &Limits, longest_side: u32) -> Result<u64> {
    Ok(head_of(known_format(bytes, limits)?, bytes, limits, longest_side)?.memory(longest_side))
}

/// Returns the factor by which a picture of this size can be scaled down during decoding so that its longest side keeps
/// `least_side` pixels. A better filter does the rest, by a factor from one to less than two.
pub(super) fn reduction((width, height): (u32, u32), least_side: u32) -> u32 {
    [8, 4, 2].into_iter().find(|by| width.max(height).div_ceil(*by) >= least_side).unwrap_or(1)
}

/// Information from the header of a file.
#[derive(Debug)]
pub(super) struct Head {
    /// Width and height of the picture in the file.
    pub(super) size: (u32, u32),
    /// Pixels per row of the decoded picture.
    pub(super) width: u32,
    /// Rows of the decoded picture.
    pub(super) height: u32,
    /// Bytes per pixel of the decoded picture.
    pub(super) channels: u64,
    /// Memory for decoding, including the result, in bytes.
    pub(super) decoder_bytes: u64,
}

impl Head {
    /// Returns the memory for decoding and scaling to a side of `longest_side` pixels, in bytes.
    fn memory(&self, longest_side: u32) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        // It is scaled horizontally first, then vertically.
        let is_shrunk = self.width.max(self.height) > longest_side;
        let shrunk = if is_shrunk { u64::from(longest_side.min(self.width)) * u64::from(self.height) } else { 0 };
        self.decoder_bytes.max((pixels + shrunk) * self.channels)
    }
}

/// Reads the header of a picture and checks the limits.
fn head_of(format: Format, bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Head> {
    let head = match format {
        Format::Jpeg => jpeg::head(bytes, limits, least_side)?,
        Format::Png => png_head(&mut png_decoder(bytes), limits, least_side)?,
        Format::WebP => other_head(&opened(WebPDecoder::new(Cursor::new(bytes)), limits)?, WEBP_WORK),
        Format::Gif => other_head(&opened(GifDecoder::new(Cursor::new(bytes)), limits)?, GIF_WORK),
        Format::Bmp => other_head(&opened(BmpDecoder::new(Cursor::new(bytes)), limits)?, 0),
        Format::Tiff => other_head(&opened(TiffDecoder::new(Cursor::new(bytes)), limits)?, TIFF_WORK),
        Format::Heic => heic::head(bytes, limits, least_side)?,
    };
    if head.memory(least_side).saturating_add(bytes.len() as u64) > limits.decoder_bytes {
        let (width, height) = head.size;
        return Err(Error::TooManyPixels { width, height });
    }
    Ok(head)
}

fn known_format(bytes: &[u8], limits: &Limits) -> Result<Format> {
    limits.check_file(bytes.len())?;
    Format::of(bytes).ok_or_else(|| Error::Unsupported("not a picture format that can be read".into()))
}

fn decode_raw(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Raw> {
    let format = known_format(bytes, limits)?;
    let head = head_of(format, bytes, limits, least_side)?;
    match format {
        Format::Jpeg => jpeg::decode(bytes, &head),
        Format::Png => decode_png(bytes, least_side),
        Format::WebP => decode_other(opened(WebPDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Gif => decode_other(opened(GifDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Bmp => decode_other(opened(BmpDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Tiff => decode_other(opened(TiffDecoder::new(Cursor::new(bytes)), limits)?, limits),
        Format::Heic => heic::decode(bytes, limits, least_side),
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
    // Text chunks may decompress to gigabytes, and are not needed.
    decoder.set_ignore_text_chunk(true);
    // One byte per sample, so that a 16-bit picture does not take twice the memory.
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    decoder
}

/// Returns the factor by which a PNG is scaled down during decoding; 1 if interlaced, because its rows are out of
/// order.
fn png_reduction(header: &png::Info<'_>, least_side: u32) -> u32 {
    if header.interlaced { 1 } else { reduction((header.width, header.height), least_side) }
}

fn png_head(decoder: &mut png::Decoder<Cursor<&[u8]>>, limits: &Limits, least_side: u32) -> Result<Head> {
    let header = decoder.read_header_info().map_err(translate_png)?;
    let size = (header.width, header.height);
    limits.check(size.0, size.1)?;
    // Decoded samples and, if grey, the resulting channels. A palette may have alpha.
    let (samples, channels) = match header.color_type {
        png::ColorType::Rgb => (3, 3),
        png::ColorType::Rgba | png::ColorType::Indexed => (4, 4),
        png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha => (2 + 4, 4),
    };
    let by = png_reduction(header, least_side);
    let (width, height) = (size.0.div_ceil(by), size.1.div_ceil(by));
    Ok(Head { size, width, height, channels, decoder_bytes: u64::from(width) * u64::from(height) * samples })
}

fn decode_png(bytes: &[u8], least_side: u32) -> Result<Raw> {
    let mut reader = png_decoder(bytes).read_info().map_err(translate_png)?;
    let by = png_reduction(reader.info(), least_side);
    let (width, height) = (reader.info().width, reader.info().height);
    let (colour_type, _) = reader.output_color_type();
    let (layout, pixels) = if by > 1 {
        let layout = if colour_type.samples() % 2 == 0 { Layout::Rgba } else { Layout::Rgb };
        let mut reducer = Reducer::new((width, height), layout.channels(), by);
        while let Some(row) = reader.next_row().map_err(translate_png)? {
            reducer.push(&in_colour(row.data().to_vec(), colour_type)?.1);
        }
        (layout, reducer.finish())
    } else {
        let size = reader.output_buffer_size().ok_or(Error::TooManyPixels { width, height })?;
        let mut samples = vec![0; size];
        let frame = reader.next_frame(&mut samples).map_err(translate_png)?;
        samples.truncate(frame.buffer_size());
        in_colour(samples, frame.color_type)?
    };
    let info = reader.info();
    let orientation = info.exif_metadata.as_deref().and_then(exif_orientation);
    let colours = info.icc_profile.as_deref().and_then(ColourSpace::from_icc);
    let picture = Picture::new(width.div_ceil(by), height.div_ceil(by), layout, pixels);
    let picture = picture.ok_or_else(|| Error::Corrupt("its data does not match its size".into()))?;
    Ok(Raw { picture, orientation: orientation.unwrap_or(Orientation::NoTransforms), colours })
}

/// Returns the EXIF orientation. Some programs write JPEG's `Exif` prefix into files of other formats, and some use the
/// wrong number type.
pub(super) fn exif_orientation(exif: &[u8]) -> Option<Orientation> {
    const TAG: u16 = 0x0112;
    let tiff = exif.strip_prefix(b"Exif\0").map_or(exif, |rest| rest.get(1..).unwrap_or_default());
    let is_little = match tiff.first_chunk::<4>()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<4>()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let start = long(4)? as usize;
    let entries = usize::from(short(start)?);
    let entry = (0..entries).map(|number| start + 2 + 12 * number).find(|entry| short(*entry) == Some(TAG))?;
    let value = match short(entry + 2)? {
        // A byte, short or long, at the start of the field.
        1 => u32::from(*tiff.get(entry + 8)?),
        3 => u32::from(short(entry + 8)?),
        4 => long(entry + 8)?,
        _ => return None,
    };
    Orientation::from_exif(u8::try_from(value).ok()?)
}

/// Converts samples of a PNG to pixels.
fn in_colour(samples: Vec<u8>, colour_type: png::ColorType) -> Result<(Layout, Vec<u8>)> {
    Ok(match colour_type {
        png::ColorType::Rgb => (Layout::Rgb, samples),
        png::ColorType::Rgba => (Layout::Rgba, samples),
        png::ColorType::Grayscale => (Layout::Rgb, spread(&samples, |grey: &[u8; 1]| [grey[0]; 3])),
        png::ColorType::GrayscaleAlpha => {
            (Layout::Rgba, spread(&samples, |[grey, alpha]: &[u8; 2]| [*grey, *grey, *grey, *alpha]))
        }
        png::ColorType::Indexed => return Err(Error::Corrupt("its palette is missing".into())),
    })
}

/// Expands every `FROM` bytes to `TO` bytes, in memory of the size of the result; growing would take up to twice that.
pub(super) fn spread<const FROM: usize, const TO: usize>(
    samples: &[u8],
    make: impl Fn(&[u8; FROM]) -> [u8; TO],
) -> Vec<u8> {
    let pixels = samples.as_chunks::<FROM>().0;
    let mut bytes = Vec::with_capacity(pixels.len() * TO);
    for pixel in pixels {
        bytes.extend_from_slice(&make(pixel));
    }
    bytes
}

/// Opens a decoder of the `image` crate, if its picture is within the limits.
fn opened<D: ImageDecoder>(decoder: image::ImageResult<D>, limits: &Limits) -> Result<D> {
    let decoder = decoder.map_err(|error| translate(error, (0, 0)))?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
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
    let decoder_bytes = result + work.max(converted_bytes(decoder));
    Head { size: (width, height), width, height, channels, decoder_bytes }
}

/// Decodes with a decoder of the `image` crate.
fn decode_other<D: ImageDecoder>(mut decoder: D, limits: &Limits) -> Result<Raw> {
    let dimensions = decoder.dimensions();
    let translate = |error| translate(error, dimensions);
    decoder.set_limits(limits.for_image_crate()).map_err(translate)?;
    // Unreadable EXIF is ignored. Formats without EXIF store the orientation elsewhere.
    let orientation = match decoder.exif_metadata().ok().flatten() {
        Some(exif) => exif_orientation(&exif),
        None => decoder.orientation().ok(),
    };
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let colours = decoder.icc_profile().ok().flatten().and_then(|profile| ColourSpace::from_icc(&profile));
    let image = DynamicImage::from_decoder(decoder).map_err(translate)?;
    let picture = Picture::from_image(image).ok_or_else(|| Error::Corrupt("it has no pixels".into()))?;
    Ok(Raw { picture, orientation, colours })
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
