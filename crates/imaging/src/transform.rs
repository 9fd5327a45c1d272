//! Rotating, scaling, encoding JPEG, and applying a segmentation service's answer.

use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;

use super::decode::{self, Format, Limits};
use super::picture::{Layout, Picture};
use super::{Error, Result};

/// Quality of JPEGs for other services: they are not displayed, but edges must be sharp.
pub const JPEG_QUALITY: u8 = 90;

/// Rotates and mirrors a picture according to `orientation`.
pub(super) fn turn(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let mut image = picture.into_image();
    image.apply_orientation(orientation);
    Picture::from_image(image).expect("a turned picture has as many pixels as before")
}

/// Scales a picture down so that its longest side is at most `longest_side` pixels. A smaller one is unchanged.
#[must_use]
pub fn shrink(picture: Picture, longest_side: u32) -> Picture {
    let from = (picture.width(), picture.height());
    let Some(to) = smaller(from, longest_side) else { return picture };
    let layout = picture.layout();
    let bytes = match layout {
        Layout::Rgb => scaling::rgb(picture.bytes(), from, to),
        // In place: a copy of a photo would double its memory.
        Layout::Rgba => scaling::rgba(picture.into_bytes(), from, to),
    };
    scaled(bytes, layout, to)
}

/// Returns a copy of a picture whose longest side is at most `longest_side` pixels.
pub(super) fn shrunk(picture: &Picture, longest_side: u32) -> Picture {
    match smaller((picture.width(), picture.height()), longest_side) {
        Some(to) => stretched(picture, to),
        None => picture.clone(),
    }
}

/// Returns a copy of a picture with exactly this size, ignoring its proportions.
pub(super) fn stretched(picture: &Picture, to: (u32, u32)) -> Picture {
    let from = (picture.width(), picture.height());
    let bytes = match picture.layout() {
        Layout::Rgb => scaling::rgb(picture.bytes(), from, to),
        Layout::Rgba => scaling::rgba(picture.bytes().to_vec(), from, to),
    };
    scaled(bytes, picture.layout(), to)
}

/// Returns the size with these proportions whose longest side is `longest_side`; `None` if the picture is not larger.
fn smaller((width, height): (u32, u32), longest_side: u32) -> Option<(u32, u32)> {
    let longest = width.max(height);
    let side = |side: u32| {
        let scaled = (u64::from(side) * u64::from(longest_side) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
    };
    (longest > longest_side).then(|| (side(width), side(height)))
}

fn scaled(bytes: Vec<u8>, layout: Layout, (width, height): (u32, u32)) -> Picture {
    Picture::new(width, height, layout, bytes).expect("the buffer has the size of the picture")
}

/// Encodes a picture as JPEG, on white where it is transparent.
///
/// # Errors
/// [`Error::Encoding`] when a side has more than 65,535 pixels.
pub fn to_jpeg(picture: Picture, quality: u8) -> Result<Vec<u8>> {
    let picture = picture.into_rgb();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality)
        .write_image(picture.bytes(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
        .map_err(|error| Error::Encoding(Box::new(error)))?;
    Ok(jpeg)
}

/// Encodes a picture as PNG, with its alpha channel if it has one.
///
/// # Errors
/// [`Error::Encoding`] when the encoder fails.
pub fn to_png(picture: &Picture) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(match picture.layout() {
        Layout::Rgb => png::ColorType::Rgb,
        Layout::Rgba => png::ColorType::Rgba,
    });
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(picture.bytes())?;
        writer.finish()
    });
    written.map_err(|error| Error::Encoding(Box::new(error)))?;
    Ok(bytes)
}

/// Creates the cut-out picture from a segmentation service's answer for `sent`: a PNG with alpha. If it has another
/// size, its alpha is applied to the sent picture.
///
/// # Errors
/// [`Error::Segmentation`] when the answer is not a PNG, has no alpha channel, or other proportions.
pub fn from_segmentation(sent: Picture, answer: &[u8], limits: &Limits) -> Result<Picture> {
    let refuse = |why: &'static str| Err(Error::Segmentation(why.into()));
    if Format::of(answer) != Some(Format::Png) {
        return refuse("the segmentation service did not answer with a PNG");
    }
    let Ok(cut) = decode::decode(answer, limits) else {
        return refuse("the segmentation service answered with a PNG that cannot be decoded");
    };
    if !cut.has_alpha() {
        return refuse("the segmentation service answered with a picture without transparency");
    }
    let (from, to) = ((cut.width(), cut.height()), (sent.width(), sent.height()));
    if from == to {
        return Ok(cut);
    }
    if !has_same_proportions(from, to) {
        return refuse("the segmentation service answered with a picture of different proportions");
    }
    let alpha: Vec<u8> = cut.pixels().map(|pixel| pixel[3]).collect();
    drop(cut);
    Ok(with_alpha(sent, &scaling::mask(&alpha, from, to)))
}

/// Replaces the alpha channel of a picture; `alpha` has a byte per pixel.
fn with_alpha(picture: Picture, alpha: &[u8]) -> Picture {
    let (width, height) = (picture.width(), picture.height());
    let mut bytes = picture.into_rgba().into_bytes();
    for (pixel, alpha) in bytes.chunks_exact_mut(4).zip(alpha) {
        pixel[3] = *alpha;
    }
    Picture::new(width, height, Layout::Rgba, bytes).expect("neither size nor layout changed")
}

/// Whether one size is the other scaled and rounded.
fn has_same_proportions(one: (u32, u32), other: (u32, u32)) -> bool {
    let scaled = f64::from(one.0) / f64::from(other.0);
    // Rounding moves a side by at most one pixel, of either picture.
    (f64::from(one.1) - scaled * f64::from(other.1)).abs() <= 1.0 + scaled + f64::from(one.1) * 0.005
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, pixel: &[u8]) -> Picture {
        let layout = if pixel.len() == 4 { Layout::Rgba } else { Layout::Rgb };
        Picture::new(width, height, layout, pixel.repeat((width * height) as usize)).unwrap()
    }

    #[test]
    fn a_png_keeps_every_pixel() {
        for picture in [plain(20, 10, &[9, 200, 30, 100]), plain(7, 11, &[50, 60, 70])] {
            assert_eq!(decode::decode(&to_png(&picture).unwrap(), &Limits::default()).unwrap(), picture);
        }
    }

    #[test]
    fn the_longest_side_fits_and_proportions_stay() {
        for (size, expected) in [
            ((400, 300), (200, 150)),
            ((300, 400), (150, 200)),
            ((200, 10), (200, 10)),
            ((4000, 1), (200, 1)),
            ((401, 401), (200, 200)),
        ] {
            let picture = shrink(plain(size.0, size.1, &[1, 2, 3]), 200);
            assert_eq!((picture.width(), picture.height()), expected);
            assert!(picture.pixels().all(|pixel| pixel == [1, 2, 3]));
        }
    }

    #[test]
    fn colours_of_transparent_pixels_do_not_bleed() {
        // Opaque red on the left, transparent green on the right.
        let row = [&[255_u8, 0, 0, 255].repeat(50)[..], &[0_u8, 255, 0, 0].repeat(50)[..]].concat();
        let picture = shrink(Picture::new(100, 20, Layout::Rgba, row.repeat(20)).unwrap(), 33);
        for pixel in picture.pixels() {
            assert!(pixel[3] == 0 || (pixel[0] > 250 && pixel[1] < 5), "{pixel:?}");
        }
    }

    #[test]
    fn all_eight_orientations_are_undone() {
        // Displayed: A B
        //            C D
        let seen = [b'A', b'B', b'C', b'D'];
        for (value, stored) in [
            (1, *b"ABCD"),
            (2, *b"BADC"),
            (3, *b"DCBA"),
            (4, *b"CDAB"),
            (5, *b"ACBD"),
            (6, *b"BDAC"),
            (7, *b"DBCA"),
            (8, *b"CADB"),
        ] {
            let bytes = stored.iter().flat_map(|letter| [*letter; 3]).collect();
            let picture = Picture::new(2, 2, Layout::Rgb, bytes).unwrap();
            let upright = turn(picture, Orientation::from_exif(value).unwrap());
            let letters: Vec<u8> = upright.pixels().map(|pixel| pixel[0]).collect();
            assert_eq!(letters, seen, "orientation {value}");
        }
    }

    #[test]
    fn a_jpeg_shows_transparency_as_white() {
        let jpeg = to_jpeg(plain(16, 16, &[0, 0, 0, 0]), JPEG_QUALITY).unwrap();
        let picture = decode::decode(&jpeg, &Limits::default()).unwrap();
        assert!(picture.bytes().iter().all(|value| *value > 250));
    }

    #[test]
    fn an_answer_of_the_same_size_is_the_result() {
        let cut = plain(20, 10, &[9, 9, 9, 100]);
        let result =
            from_segmentation(plain(20, 10, &[50, 60, 70]), &to_png(&cut).unwrap(), &Limits::default()).unwrap();
        assert_eq!(result, cut);
    }

    #[test]
    fn an_answer_of_another_size_gives_its_alpha_to_what_was_sent() {
        let cut = plain(10, 5, &[9, 9, 9, 100]);
        let result =
            from_segmentation(plain(21, 10, &[50, 60, 70]), &to_png(&cut).unwrap(), &Limits::default()).unwrap();
        assert_eq!(result, plain(21, 10, &[50, 60, 70, 100]));
    }

    #[test]
    fn other_answers_are_refused_in_plain_words() {
        let limits = Limits::default();
        let whole = to_png(&plain(20, 10, &[9, 9, 9, 100])).unwrap();
        let reason = |answer: &[u8]| match from_segmentation(plain(20, 10, &[1, 2, 3]), answer, &limits) {
            Err(Error::Segmentation(cause)) => cause.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(reason(b"<html>Bad gateway</html>").ends_with("did not answer with a PNG"));
        assert!(reason(&to_jpeg(plain(20, 10, &[1, 2, 3]), 90).unwrap()).ends_with("did not answer with a PNG"));
        assert!(reason(&whole[..whole.len() - 20]).ends_with("cannot be decoded"));
        assert!(reason(&to_png(&plain(20, 10, &[1, 2, 3])).unwrap()).ends_with("without transparency"));
        assert!(reason(&to_png(&plain(10, 20, &[1, 2, 3, 4])).unwrap()).ends_with("different proportions"));
    }
}
