//! HEIC and HEIF, the format of phones.
//!
//! The only file that names the decoder: it is young, and could be replaced. It turns and mirrors as the container says,
//! and converts to sRGB (phones write Display P3). EXIF says the same turn once more, and must be ignored.

use std::collections::HashMap;

use heifer::heifer_hevc_dec::nal::{NalUnit, split_annex_b};
use heifer::heifer_hevc_dec::params::ParameterSets;
use heifer::heifer_isobmff::{HeifFile, ItemId};

use super::decode::{Head, Limits};
use super::picture::{Layout, Picture};
use super::{Error, Result};

/// How deep a picture may be made of others; the decoder goes no deeper.
const MAX_DEPTH: u32 = 5;
/// Coded pixels (grids and their tiles, alpha, overlays) per pixel that a picture may have.
const MAX_CODED: u64 = 3;
/// What an item costs at least, in pixels, so that the number of items is bounded, too.
const LEAST_COST: u64 = 4096;

/// What decoding takes, in bytes per pixel, measured.
const WORK: u64 = 9;

/// What the container of a picture that may be decoded says.
pub fn head(bytes: &[u8], limits: &Limits) -> Result<Head> {
    let (width, height) = checked(bytes, limits)?;
    Ok(Head { width, height, channels: 4, decoder_bytes: u64::from(width) * u64::from(height) * WORK })
}

/// Decodes the main picture, upright, in sRGB.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    checked(bytes, limits)?;
    let options = heifer::Options { max_threads: 1, max_pixels: limits.pixels };
    let image = heifer::decode_srgb_rgba8(bytes, &options).map_err(|error| match error {
        heifer::Error::Unsupported(_) => Error::Unsupported(Box::new(error)),
        heifer::Error::Container(_) | heifer::Error::Hevc(_) | heifer::Error::Encode(_) | heifer::Error::Invalid(_) => {
            Error::Corrupt(Box::new(error))
        }
    })?;
    let (width, height, has_alpha) = (image.width, image.height, image.has_alpha);
    let picture = if has_alpha {
        Picture::new(width, height, Layout::Rgba, image.data)
    } else {
        Picture::new(width, height, Layout::Rgb, image.into_rgb8())
    };
    picture.ok_or_else(|| Error::Corrupt("it has no pixels".into()))
}

/// Width and height of a picture whose decoding is within the limits.
fn checked(bytes: &[u8], limits: &Limits) -> Result<(u32, u32)> {
    let file = HeifFile::parse(bytes).map_err(|error| Error::Corrupt(Box::new(error)))?;
    let (width, height) = file
        .image_size(file.primary_id)
        .map_err(|error| Error::Corrupt(Box::new(error)))?
        .ok_or_else(|| Error::Corrupt("its size is missing".into()))?;
    limits.check(width, height)?;
    // A small picture may be a grid of a thousand references to one huge tile: know the work before it is begun.
    let mut budget = Budget { file: &file, left: MAX_CODED * limits.pixels, known: HashMap::new() };
    budget.spend(file.primary_id, 0).map_err(|cause| match cause {
        Refusal::TooMuch => Error::TooManyPixels { width, height },
        Refusal::Broken(error) => Error::Corrupt(error),
    })?;
    Ok((width, height))
}

/// Why a picture is not worth beginning.
enum Refusal {
    TooMuch,
    Broken(super::Cause),
}

/// The work that a file may make.
struct Budget<'a> {
    file: &'a HeifFile<'a>,
    /// What is left of it, in pixels.
    left: u64,
    /// What each item costs with all that it is made of. A tile that is used a thousand times is looked at once.
    known: HashMap<ItemId, u64>,
}

impl Budget<'_> {
    /// Takes what must be decoded for an item, and returns it.
    fn spend(&mut self, id: ItemId, depth: u32) -> std::result::Result<u64, Refusal> {
        if let Some(cost) = self.known.get(&id).copied() {
            return self.take(cost);
        }
        let broken = |error: heifer::heifer_isobmff::Error| Refusal::Broken(Box::new(error));
        if depth > MAX_DEPTH {
            return Err(Refusal::Broken("pictures in pictures, too deep".into()));
        }
        let is_coded = self.file.item(id).map_err(broken)?.item_type.0 == *b"hvc1";
        let own = if is_coded {
            coded_pixels(self.file, id)?
        } else {
            let (width, height) = self.file.image_size(id).map_err(broken)?.unwrap_or((1, 1));
            u64::from(width) * u64::from(height)
        };
        let mut cost = self.take(own.max(LEAST_COST))?;
        if !is_coded {
            for part in self.file.referenced_items(id, b"dimg") {
                cost += self.spend(*part, depth + 1)?;
            }
        }
        // A picture has one alpha plane; only the first is decoded, and only that of the picture, of its parts perhaps.
        if let Some(alpha) = self.file.referencing_items(id, b"auxl").first().filter(|alpha| **alpha != id) {
            // The gain map and the depth of a phone's picture are auxiliary, too, and not always what we read.
            match self.spend(*alpha, depth + 1) {
                Ok(alpha) => cost += alpha,
                Err(Refusal::Broken(_)) => {}
                Err(Refusal::TooMuch) => return Err(Refusal::TooMuch),
            }
        }
        self.known.insert(id, cost);
        Ok(cost)
    }

    fn take(&mut self, cost: u64) -> std::result::Result<u64, Refusal> {
        self.left = self.left.checked_sub(cost).ok_or(Refusal::TooMuch)?;
        Ok(cost)
    }
}

/// Pixels of a coded item, by its own bitstream: what the container says about it may be anything. If it has more bytes
/// than pixels, they are what makes the work.
fn coded_pixels(file: &HeifFile<'_>, id: ItemId) -> std::result::Result<u64, Refusal> {
    let stream = file.hevc_bitstream(id).map_err(|error| Refusal::Broken(Box::new(error)))?;
    let broken = |error: heifer::heifer_hevc_dec::Error| Refusal::Broken(Box::new(error));
    let mut sets = ParameterSets::default();
    for unit in split_annex_b(&stream) {
        sets.add(&NalUnit::parse(unit).map_err(broken)?).map_err(broken)?;
    }
    let sizes = sets.sps.iter().flatten();
    let pixels =
        sizes.map(|sps| u64::from(sps.pic_width_in_luma_samples) * u64::from(sps.pic_height_in_luma_samples)).max();
    let pixels = pixels.ok_or_else(|| Refusal::Broken("a picture without parameters".into()))?;
    Ok(pixels.max(stream.len() as u64))
}
