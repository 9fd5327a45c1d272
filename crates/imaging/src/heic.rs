//! HEIC and HEIF, the format of phones.
//!
//! Only this file uses the decoder, which is young and may be replaced. It rotates and mirrors as the container says,
//! and converts to sRGB (phones write Display P3). EXIF repeats the rotation, and must be ignored.

use std::collections::HashMap;

use heifer::color::{ColorParams, frame_to_rgba_sized};
use heifer::heifer_hevc_dec::decoder::{DecodeOptions, decode_picture};
use heifer::heifer_hevc_dec::nal::{NalUnit, split_annex_b};
use heifer::heifer_hevc_dec::params::ParameterSets;
use heifer::heifer_hevc_dec::recon::Frame;
use heifer::heifer_isobmff::boxes::{ColorInfo, Property};
use heifer::heifer_isobmff::{HeifFile, ItemId};
use image::metadata::Orientation;

use super::colour_space::ColourSpace;
use super::decode::{self, Head, Limits, Raw};
use super::picture::{Layout, Picture};
use super::{Error, Result};

/// Deepest nesting of pictures; the decoder's own limit.
const MAX_DEPTH: u32 = 5;
/// Coded pixels (grids and their tiles, alpha, overlays) per pixel that a picture may have.
const MAX_CODED: u64 = 3;
/// Minimum cost of an item, in pixels, which also bounds the number of items.
const LEAST_COST: u64 = 4096;
/// Largest factor of scaling during decoding. Sides are multiples of 8, those of chroma of 4.
const MOST_REDUCTION: u32 = 4;
/// Transfer characteristics of HDR (ITU-T H.273: PQ and HLG), which need a tone map to be shown.
const HDR_TRANSFERS: [u16; 2] = [16, 18];

/// Memory for decoding a coded picture, in bytes per pixel: three for its planes at two bytes per sample, two for a
/// copy of one plane during filtering, and block data.
const CODED_WORK: u64 = 6;
/// Memory for decoding a picture at full size, in bytes per pixel: planes and pixels.
const WHOLE_WORK: u64 = 8;
/// Copies of a picture's coded data in memory besides the file: as a stream, and without escape bytes.
const COPIES: u64 = 2;

/// Result of the decoder.
type Decoded<T> = std::result::Result<T, heifer::Error>;

/// A picture within the limits.
struct Opened<'a> {
    file: HeifFile<'a>,
    size: (u32, u32),
    /// Factor of scaling during decoding.
    reduction: u32,
    decoder_bytes: u64,
}

/// Reads the container of a picture and checks the limits.
pub fn head(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Head> {
    let Opened { size, reduction, decoder_bytes, .. } = open(bytes, limits, least_side)?;
    let (width, height) = (size.0.div_ceil(reduction), size.1.div_ceil(reduction));
    Ok(Head { size, width, height, channels: 4, decoder_bytes })
}

/// Decodes the main picture, upright.
pub fn decode(bytes: &[u8], limits: &Limits, least_side: u32) -> Result<Raw> {
    let Opened { file, reduction, .. } = open(bytes, limits, least_side)?;
    let colours = colours(&file).map_err(translate)?;
    let image = match reduction {
        1 => heifer::decode_rgba8(bytes, &heifer::Options { max_threads: 1, max_pixels: limits.pixels }),
        by => decode_reduced(&file, by, limits),
    };
    let image = image.map_err(translate)?;
    let (width, height, has_alpha) = (image.width, image.height, image.has_alpha);
    let picture = if has_alpha {
        Picture::new(width, height, Layout::Rgba, image.data)
    } else {
        Picture::new(width, height, Layout::Rgb, image.into_rgb8())
    };
    let picture = picture.ok_or_else(|| Error::Corrupt("it has no pixels".into()))?;
    Ok(Raw { picture, orientation: Orientation::NoTransforms, colours })
}

fn translate(error: heifer::Error) -> Error {
    match error {
        heifer::Error::Unsupported(_) => Error::Unsupported(Box::new(error)),
        heifer::Error::Container(_) | heifer::Error::Hevc(_) | heifer::Error::Encode(_) | heifer::Error::Invalid(_) => {
            Error::Corrupt(Box::new(error))
        }
    }
}

/// Opens a picture whose decoding is within the limits.
fn open<'a>(bytes: &'a [u8], limits: &Limits, least_side: u32) -> Result<Opened<'a>> {
    let file = HeifFile::parse(bytes).map_err(|error| Error::Corrupt(Box::new(error)))?;
    let size = file
        .image_size(file.primary_id)
        .map_err(|error| Error::Corrupt(Box::new(error)))?
        .ok_or_else(|| Error::Corrupt("its size is missing".into()))?;
    limits.check(size.0, size.1)?;
    // A small picture may be a grid of a thousand references to one huge tile, so determine the work first.
    let mut budget = Budget { file: &file, left: MAX_CODED * limits.pixels, known: HashMap::new() };
    budget.spend(file.primary_id, 0).map_err(|cause| match cause {
        Refusal::TooMuch => Error::TooManyPixels { width: size.0, height: size.1 },
        Refusal::Broken(error) => Error::Corrupt(error),
    })?;
    let coded = budget.known;
    let pixels = u64::from(size.0) * u64::from(size.1);
    let (reduction, work) = match Parts::of(&file).map_err(translate)? {
        Some(parts) => {
            let largest = parts.ids.iter().filter_map(|id| coded.get(id)).max().copied().unwrap_or(pixels);
            (parts.reduction(decode::reduction(size, least_side)), CODED_WORK * largest)
        }
        None => (1, 0),
    };
    let decoder_bytes = match reduction {
        1 => WHOLE_WORK * pixels,
        by => work + 4 * pixels / u64::from(by * by),
    };
    Ok(Opened { file, size, reduction, decoder_bytes: decoder_bytes + COPIES * bytes.len() as u64 })
}

/// The coded pictures that make up a picture side by side: itself, or the tiles of a grid.
struct Parts {
    ids: Vec<ItemId>,
    /// Number of tiles in a row.
    columns: u32,
    /// Size of each tile, except those cut by the right and lower edge.
    size: (u32, u32),
    /// Size of the whole picture.
    whole: (u32, u32),
}

impl Parts {
    /// Returns the parts of the main picture; `None` for alpha, nested pictures or cropped edges.
    fn of(file: &HeifFile<'_>) -> Decoded<Option<Self>> {
        let id = file.primary_id;
        let Some(whole) = file.image_size(id)? else { return Ok(None) };
        if has_alpha(file, id)? || file.item_properties(id)?.any(|p| matches!(p, Property::CleanAperture { .. })) {
            return Ok(None);
        }
        match &file.item(id)?.item_type.0 {
            b"hvc1" => Ok(Some(Self { ids: vec![id], columns: 1, size: whole, whole })),
            b"grid" => {
                let (grid, ids) = (file.grid(id)?, file.referenced_items(id, b"dimg").to_vec());
                let is_full = ids.len() == usize::from(grid.rows) * usize::from(grid.columns);
                let Some(size) = ids.first().map(|id| file.image_size(*id)).transpose()?.flatten() else {
                    return Ok(None);
                };
                for tile in &ids {
                    if file.image_size(*tile)? != Some(size) || !is_plain(file, *tile)? {
                        return Ok(None);
                    }
                }
                let is_plain = is_full && whole == (grid.output_width, grid.output_height);
                Ok(is_plain.then(|| Self { ids, columns: u32::from(grid.columns), size, whole }))
            }
            _ => Ok(None),
        }
    }

    /// Returns the largest factor up to `wanted` by which the parts can be scaled so that they still fit side by side.
    fn reduction(&self, wanted: u32) -> u32 {
        let is_alone = self.ids.len() == 1;
        let fits = |by: u32| is_alone || (self.size.0.is_multiple_of(by) && self.size.1.is_multiple_of(by));
        [4, 2].into_iter().find(|by| *by <= wanted.min(MOST_REDUCTION) && fits(*by)).unwrap_or(1)
    }
}

/// Whether an item is a plain coded picture.
fn is_plain(file: &HeifFile<'_>, id: ItemId) -> Decoded<bool> {
    let is_changed = |property: &Property| {
        matches!(property, Property::CleanAperture { .. } | Property::Rotation(_) | Property::Mirror(_))
    };
    Ok(file.item(id)?.item_type.0 == *b"hvc1" && !has_alpha(file, id)? && !file.item_properties(id)?.any(is_changed))
}

fn has_alpha(file: &HeifFile<'_>, id: ItemId) -> Decoded<bool> {
    // The gain map and depth map of a phone's picture are also auxiliary.
    let is_alpha = |property: &Property| matches!(property, Property::AuxiliaryType(name) if name.ends_with(":alpha") || name.ends_with(":auxid:1"));
    for auxiliary in file.referencing_items(id, b"auxl") {
        if file.item_properties(auxiliary)?.any(is_alpha) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Decodes the main picture part by part, scaling each before the next: upright, without alpha.
fn decode_reduced(file: &HeifFile<'_>, by: u32, limits: &Limits) -> Decoded<heifer::Image<u8>> {
    let parts = Parts::of(file)?.ok_or(heifer::Error::Invalid("its parts have changed"))?;
    let mut image = match parts.ids[..] {
        // A grid of one tile may show only part of it.
        [id] => part(file, id, parts.whole, by, limits)?,
        _ => {
            let (width, height) = (parts.whole.0.div_ceil(by), parts.whole.1.div_ceil(by));
            let mut canvas = heifer::Image::filled_samples(width, height, 8, [0, 0, 0, u8::MAX]);
            let mut place = (0, 0);
            for (id, column) in parts.ids.iter().zip((0..parts.columns).cycle()) {
                if column == 0 && place.0 > 0 {
                    place = (0, place.1 + i64::from(parts.size.1 / by));
                }
                canvas.draw(&part(file, *id, parts.size, by, limits)?, place.0, place.1);
                place.0 += i64::from(parts.size.0 / by);
            }
            canvas
        }
    };
    for property in file.item_properties(file.primary_id)? {
        image = match property {
            Property::Rotation(quarters) => image.rotate_ccw(*quarters),
            Property::Mirror(is_top_bottom) => image.mirror(*is_top_bottom),
            _ => image,
        };
    }
    Ok(image)
}

/// Decodes a coded picture of this size, scaled down.
fn part(
    file: &HeifFile<'_>,
    id: ItemId,
    (width, height): (u32, u32),
    by: u32,
    limits: &Limits,
) -> Decoded<heifer::Image<u8>> {
    let options = DecodeOptions { max_pixels: limits.pixels, ..DecodeOptions::default() };
    let frame = decode_picture(&file.hevc_bitstream(id)?, options)?;
    if frame.widths[0] < width || frame.heights[0] < height {
        return Err(heifer::Error::Invalid("a picture is smaller than its container says"));
    }
    let coded = file.item_properties(id)?.find_map(|property| match property {
        Property::Color(ColorInfo::Nclx { matrix, full_range, .. }) => {
            Some(ColorParams { matrix: *matrix, full_range: *full_range })
        }
        _ => None,
    });
    let coding = coded.unwrap_or_else(|| ColorParams::from_frame(&frame));
    Ok(frame_to_rgba_sized(&reduced(frame, by), coding, width.div_ceil(by), height.div_ceil(by)))
}

/// Averages every `by` × `by` samples of a frame, freeing the planes one by one.
fn reduced(frame: Frame, by: u32) -> Frame {
    let (old, chroma) = ([frame.widths, frame.heights], [frame.widths[1], frame.heights[1]]);
    let [widths, heights] = old.map(|sides| sides.map(|side| side.div_ceil(by)));
    // Luma must stay a multiple of chroma, even if this drops a last row without its own chroma.
    let multiple = |small: u32, chroma: u32, luma: u32| match luma.checked_div(chroma) {
        Some(ratio) => small * ratio,
        None => luma.div_ceil(by),
    };
    let widths = [multiple(widths[1], chroma[0], old[0][0]), widths[1], widths[2]];
    let heights = [multiple(heights[1], chroma[1], old[1][0]), heights[1], heights[2]];
    let mut plane = 0;
    let planes = frame.planes.map(|samples| {
        let [width, small_width, small_height] =
            [old[0][plane], widths[plane], heights[plane]].map(|side| side as usize);
        plane += 1;
        reduced_plane(&samples, width, by as usize, (small_width, small_height))
    });
    Frame { planes, widths, heights, ..frame }
}

/// Averages a plane to this size, repeating its edge where samples are missing.
fn reduced_plane(samples: &[u16], width: usize, by: usize, (small_width, small_height): (usize, usize)) -> Vec<u16> {
    let mut small = Vec::with_capacity(small_width * small_height);
    let mut sums: Vec<u32> = vec![0; width.div_ceil(by)];
    for rows in samples.chunks(by * width.max(1)).take(small_height) {
        sums.fill(0);
        for row in rows.chunks_exact(width) {
            for (sum, samples) in sums.iter_mut().zip(row.chunks(by)) {
                *sum += samples.iter().map(|sample| u32::from(*sample)).sum::<u32>();
            }
        }
        let height = rows.len() / width;
        small.extend(sums.iter().take(small_width).enumerate().map(|(column, sum)| {
            let count = (by.min(width - column * by) * height) as u32;
            ((sum + count / 2) / count) as u16
        }));
        if let Some(last) = small.last().copied() {
            small.resize(small.len() + small_width.saturating_sub(sums.len()), last);
        }
    }
    while small.len() < small_width * small_height && small.len() >= small_width {
        small.extend_from_within(small.len() - small_width..);
    }
    small
}

/// Returns the main picture's colour space: from its profile, its code points, or those of its first part.
fn colours(file: &HeifFile<'_>) -> Decoded<Option<ColourSpace>> {
    if let Some(profile) = file.icc_profile(file.primary_id)? {
        return Ok(ColourSpace::from_icc(profile));
    }
    let mut id = file.primary_id;
    for _ in 0..MAX_DEPTH {
        if let Some((primaries, transfer)) = code_points(file, id)? {
            if HDR_TRANSFERS.contains(&transfer) {
                return Err(heifer::Error::Unsupported("it has only HDR colours".to_owned()));
            }
            return Ok(ColourSpace::from_code_points(primaries, transfer));
        }
        match file.referenced_items(id, b"dimg").first() {
            Some(first) => id = *first,
            None => break,
        }
    }
    Ok(None)
}

/// Returns colour primaries and transfer characteristics of an item, from its properties or its bitstream.
fn code_points(file: &HeifFile<'_>, id: ItemId) -> Decoded<Option<(u16, u16)>> {
    let said = file.item_properties(id)?.find_map(|property| match property {
        Property::Color(ColorInfo::Nclx { primaries, transfer, .. }) => Some((*primaries, *transfer)),
        _ => None,
    });
    if said.is_some() {
        return Ok(said);
    }
    let Some(config) = file.hevc_config(id)? else { return Ok(None) };
    let mut sets = ParameterSets::default();
    for unit in &config.nal_units {
        sets.add(&NalUnit::parse(unit)?)?;
    }
    Ok(sets.sps.iter().flatten().find_map(|sps| {
        let vui = sps.vui.as_ref()?;
        Some((u16::from(vui.colour_primaries), u16::from(vui.transfer_characteristics)))
    }))
}

/// Why a picture is not decoded.
enum Refusal {
    TooMuch,
    Broken(super::Cause),
}

/// Budget of decoding work for a file.
struct Budget<'a> {
    file: &'a HeifFile<'a>,
    /// Remaining budget in pixels.
    left: u64,
    /// Cost of each item including its parts. A tile that is used a thousand times is examined once.
    known: HashMap<ItemId, u64>,
}

impl Budget<'_> {
    /// Spends the cost of decoding an item, and returns it.
    fn spend(&mut self, id: ItemId, depth: u32) -> std::result::Result<u64, Refusal> {
        if let Some(cost) = self.known.get(&id).copied() {
            return self.take(cost);
        }
        let broken = |error: heifer::heifer_isobmff::Error| Refusal::Broken(Box::new(error));
        if depth > MAX_DEPTH {
            return Err(Refusal::Broken("its pictures are nested too deeply".into()));
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
        // Only the first alpha plane is decoded, that of the picture or of its parts.
        if let Some(alpha) = self.file.referencing_items(id, b"auxl").first().filter(|alpha| **alpha != id) {
            // The gain map and depth map of a phone's picture are also auxiliary, and not always readable.
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

/// Returns the pixels of a coded item according to its bitstream, because the container may be wrong. If it has more
/// bytes than pixels, the bytes determine the work.
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

#[cfg(test)]
mod tests {
    use heifer::encode::{EncodeOptions, encode_rgba8, encode_with_metadata};
    use heifer::{Image, Metadata};
    use moxcms::ColorProfile;

    use super::*;
    use crate::transform;

    const OPTIONS: EncodeOptions = EncodeOptions { quality: 95, max_threads: 1 };

    fn file(name: &str) -> Vec<u8> {
        let path = format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Creates a picture as phones write it: a grid of 512 × 512 tiles, the last ones cut off, with colours that cross
    /// the seams.
    fn grid((width, height): (u32, u32), alpha: u8) -> Vec<u8> {
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| {
                (0..width).flat_map(move |x| {
                    let wave = (x as f32 / 90.0).sin() + (y as f32 / 70.0).cos();
                    let [red, green, blue] = [wave * 50.0 + 120.0, 230.0 - y as f32 / 5.0, x as f32 / 5.0];
                    [red as u8, green as u8, blue as u8, if x < 10 { alpha } else { 255 }]
                })
            })
            .collect();
        encode_rgba8(width, height, &pixels, &OPTIONS).unwrap()
    }

    fn decoded(bytes: &[u8], least_side: u32) -> Picture {
        decode(bytes, &Limits::default(), least_side).unwrap().picture
    }

    #[test]
    fn a_grid_that_is_shrunk_tile_by_tile_looks_like_the_whole_shrunk() {
        let bytes = grid((1100, 700), 255);
        let whole = decoded(&bytes, u32::MAX);
        assert_eq!((whole.width(), whole.height()), (1100, 700));
        for (least_side, size) in [(550, (550, 350)), (275, (275, 175)), (10, (275, 175))] {
            let small = decoded(&bytes, least_side);
            assert_eq!((small.width(), small.height()), size);
            let expected = transform::shrink(whole.clone(), size.0);
            let apart = small.bytes().iter().zip(expected.bytes()).map(|(one, other)| one.abs_diff(*other));
            let (most, sum) = apart.fold((0, 0), |(most, sum), apart| (most.max(apart), sum + u64::from(apart)));
            let mean = sum as f64 / small.bytes().len() as f64;
            assert!(most <= 12 && mean < 1.0, "{size:?}: at most {most}, {mean} in the mean");
        }
    }

    #[test]
    fn memory_is_that_of_a_tile_and_the_small_picture() {
        let bytes = grid((2048, 1536), 255);
        let limits = Limits::default();
        let pixels = 2048 * 1536;
        let file = COPIES * bytes.len() as u64;
        assert_eq!(head(&bytes, &limits, u32::MAX).unwrap().decoder_bytes, WHOLE_WORK * pixels + file);
        let small = head(&bytes, &limits, 512).unwrap();
        assert_eq!((small.width, small.height), (512, 384));
        assert_eq!(small.decoder_bytes, CODED_WORK * 512 * 512 + 4 * pixels / 16 + file);
    }

    #[test]
    fn a_single_picture_is_shrunk_and_turned() {
        for name in ["plain.heic", "turned.heic"] {
            let (whole, small) = (decoded(&file(name), u32::MAX), decoded(&file(name), 60));
            assert_eq!((small.width(), small.height()), (60, 45), "{name}");
            let expected = transform::shrink(whole, 60);
            let apart = small.bytes().iter().zip(expected.bytes()).map(|(one, other)| one.abs_diff(*other));
            let far = apart.filter(|apart| *apart > 24).count();
            // Chroma of half the size bleeds where two quarters meet.
            assert!(far < small.bytes().len() / 20, "{name}: {far}");
        }
    }

    #[test]
    fn what_has_alpha_is_decoded_as_a_whole() {
        for bytes in [file("alpha.heic"), grid((600, 520), 0)] {
            let picture = decoded(&bytes, 100);
            assert!(picture.has_alpha() && picture.width() > 200);
            assert_eq!(picture.bytes()[3], 0);
        }
    }

    #[test]
    fn colours_are_those_of_its_profile() {
        let image = Image::filled(520, 40, 8, [128, 153, 102, 255]);
        let profile = ColorProfile::new_display_p3().encode().unwrap();
        let metadata = Metadata { icc_profile: Some(profile), ..Metadata::default() };
        let bytes = encode_with_metadata(&image, &metadata, &OPTIONS).unwrap();
        for least_side in [u32::MAX, 130] {
            let raw = decode(&bytes, &Limits::default(), least_side).unwrap();
            let picture = raw.colours.unwrap().to_srgb(raw.picture);
            let expected = [121_u8, 154, 96];
            let is_near = |pixel: &[u8]| pixel.iter().zip(expected).all(|(value, e)| value.abs_diff(e) <= 3);
            assert!(picture.pixels().all(is_near), "{:?}", &picture.bytes()[..3]);
        }
        assert!(decode(&grid((520, 40), 255), &Limits::default(), 130).unwrap().colours.is_none());
    }
}
