//! Removes backgrounds: plain ones by rules (a wall, a floor, a table, with a soft shadow and uneven light), others
//! with the network. The rules take the background's appearance from the border of a picture. If it has one slowly
//! changing colour, the background is grown inwards from the border up to edges. When in doubt, the picture stays
//! whole: if the border is not uniform, the remainder is implausible, or its edge cannot be distinguished from the
//! background. This runs on a copy of at most `WORK_SIDE` pixels, so that its time is bounded. Only the edge is
//! computed on the full picture: the garment's share of each pixel, by the colours on either side.

mod backdrop;
mod mask;
mod matte;
mod salient;

use std::fmt;

use self::backdrop::Backdrop;
use self::mask::Mask;
use super::Cause;
use super::network::Network;
use super::oklab::{Converter, Lab, distance};
use super::picture::Picture;
use super::transform;

/// Longest side of the copy in which the background is searched, in pixels.
const WORK_SIDE: u32 = 576;
/// Shortest side of a picture with a usable border, in pixels.
const LEAST_SIDE: u32 = 24;
/// Transparent share above which a picture counts as already cut out.
const CUT_ALREADY: f64 = 0.005;
/// Minimum share of the picture that must remain.
const LEAST_LEFT: f64 = 0.01;
/// … and less than this.
const MOST_LEFT: f64 = 0.97;
/// Parts below this share of the picture are ignored.
const DUST: f64 = 0.001;
/// Holes below this share of the picture are closed.
const SMALL_HOLE: f64 = 0.003;
/// Largest growth of the remainder when narrow gaps are closed: a garment with stripes in the colour of its background
/// would otherwise come out in shreds.
const TORN: f64 = 1.25;
/// Largest share of the outline that may look the same on both sides. More means that the background was grown into the
/// garment.
const UNCLEAR_OUTLINE: f64 = 0.2;

/// Sure cut: largest share of the outline that may look the same on both sides.
const SURE_OUTLINE: f64 = 0.1;
/// Sure cut: largest deviation of the background from its fitted surface.
const SURE_NOISE: f32 = 0.015;
/// Sure cut: largest share of the picture's border that may be garment.
const SURE_BORDER: f32 = 0.01;
/// Sure cut: largest growth of the garment when notches are closed; a rough background, such as a rug, frays the
/// outline.
const SURE_FRAY: f64 = 0.004;
/// Radius of closing notches, in pixels of the small copy.
const NOTCH: usize = 2;
/// Sure cut: largest share of the garment in small parts.
const SURE_CRUMBS: f64 = 0.01;
/// Share of the picture below which a part counts as small.
const CRUMB: f64 = 0.01;

/// Result of removing a background.
#[derive(Debug, Clone, PartialEq)]
pub enum Removal {
    /// The background was removed and is transparent.
    Cut {
        /// The picture, with alpha.
        picture: Picture,
        /// Share of the background, 0 to 1.
        background_share: f64,
    },
    /// The picture was not changed.
    KeptWhole {
        /// The picture.
        picture: Picture,
        /// Why.
        reason: Reason,
    },
}

/// Why a picture keeps its background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The picture already has no background.
    AlreadyTransparent,
    /// The picture is too small.
    TooSmall,
    /// The border of the picture does not have one colour.
    BusyBackground,
    /// Everything would go.
    NothingLeft,
    /// Nothing would go.
    NoBackground,
    /// The garment's edge looks like the background.
    UnclearEdge,
    /// The network's confidence is too low.
    LowConfidence,
    /// The caller wants it so.
    AsAsked,
}

impl Reason {
    /// Whether every other remover would also keep the picture whole.
    pub fn is_final(self) -> bool {
        match self {
            Self::AlreadyTransparent | Self::TooSmall | Self::AsAsked => true,
            Self::BusyBackground | Self::NothingLeft | Self::NoBackground | Self::UnclearEdge | Self::LowConfidence => {
                false
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyTransparent => "it is transparent already",
            Self::TooSmall => "it is too small",
            Self::BusyBackground => "its background is not plain",
            Self::NothingLeft => "nothing stands out from its background",
            Self::NoBackground => "it has hardly any background",
            Self::UnclearEdge => "its edge cannot be told from the background",
            Self::LowConfidence => "it is not clear what belongs to the garment",
            Self::AsAsked => "as asked",
        })
    }
}

/// Removes the background of a picture if it is plain enough.
pub fn remove_background(picture: Picture) -> Removal {
    match find_garment(&picture) {
        Ok((garment, small)) => cut(picture, &garment.mask, &small),
        Err(reason) => Removal::KeptWhole { picture, reason },
    }
}

/// Removes the background of a picture like [`remove_background`], but only if the cut is sure, because the network
/// copes better with light and patterns on a wall.
pub fn remove_surely_plain(picture: Picture) -> Removal {
    match find_garment(&picture) {
        Ok((garment, small)) if garment.is_sure => cut(picture, &garment.mask, &small),
        Ok(_) => Removal::KeptWhole { picture, reason: Reason::UnclearEdge },
        Err(reason) => Removal::KeptWhole { picture, reason },
    }
}

fn cut(picture: Picture, mask: &Mask, small: &Picture) -> Removal {
    let picture = matte::cut(picture, mask, small);
    let background_share = picture.transparent_share();
    Removal::Cut { picture, background_share }
}

/// Result of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The picture.
    pub removal: Removal,
    /// The network's confidence in its cut, 0 to 1, if it was used.
    pub confidence: Option<f32>,
}

/// Removes any background of a picture, if the network's confidence is at least `threshold`.
///
/// # Errors
/// When the network cannot be read or does not run.
pub fn remove_by_network(picture: Picture, network: &Network, threshold: f32) -> Result<Found, Cause> {
    let kept = |picture, reason, confidence| Ok(Found { removal: Removal::KeptWhole { picture, reason }, confidence });
    let small = match small_copy(&picture) {
        Ok(small) => small,
        Err(reason) => return kept(picture, reason, None),
    };
    let saliency = network.find(&small)?;
    let mask = match salient::find_garment(&saliency, &small) {
        Ok(mask) => mask,
        Err(reason) => return kept(picture, reason, None),
    };
    let confidence = salient::confidence(&saliency, &mask, &small);
    if confidence < threshold {
        return kept(picture, Reason::LowConfidence, Some(confidence));
    }
    Ok(Found { removal: cut(picture, &mask, &small), confidence: Some(confidence) })
}

/// Returns the copy of a picture in which the garment is searched.
fn small_copy(picture: &Picture) -> Result<Picture, Reason> {
    if picture.transparent_share() > CUT_ALREADY {
        return Err(Reason::AlreadyTransparent);
    }
    if picture.width().min(picture.height()) < LEAST_SIDE {
        return Err(Reason::TooSmall);
    }
    let small = transform::shrunk(picture, WORK_SIDE);
    if small.width().min(small.height()) < LEAST_SIDE { Err(Reason::TooSmall) } else { Ok(small) }
}

/// A garment on a plain background.
struct Garment {
    /// The garment on the small copy of the picture.
    mask: Mask,
    /// Whether nothing speaks against it.
    is_sure: bool,
}

/// Finds the garment by the rules; returns it with the small copy of the picture.
fn find_garment(picture: &Picture) -> Result<(Garment, Picture), Reason> {
    let small = small_copy(picture)?;
    let field = Field::of(&small);
    let backdrop = Backdrop::find(&field).ok_or(Reason::BusyBackground)?;
    let background = grow(&field, &backdrop);
    let pixels = (field.width * field.height) as f64;
    let mut garment = background.inverted();
    garment.close();
    garment.remove_parts_below(pixels * DUST);
    garment.fill_holes_below(pixels * SMALL_HOLE);
    // Twice, because at sharp corners the first outline hides the colours on both sides.
    matte::refine(&mut garment, &small);
    matte::refine(&mut garment, &small);
    garment.remove_parts_below(pixels * DUST);
    garment.fill_holes_below(pixels * SMALL_HOLE);
    let left = garment.count() as f64 / pixels;
    if left < LEAST_LEFT {
        return Err(Reason::NothingLeft);
    }
    if left > MOST_LEFT {
        return Err(Reason::NoBackground);
    }
    let is_torn =
        garment.closed_count(small.width().max(small.height()) as usize / 36) as f64 > garment.count() as f64 * TORN;
    let unclear = unclear_share(&field, &garment, backdrop.noise);
    if is_torn || unclear > UNCLEAR_OUTLINE {
        return Err(Reason::UnclearEdge);
    }
    let mut large = garment.clone();
    large.remove_parts_below(pixels * CRUMB);
    let crumbs = 1.0 - large.count() as f64 / garment.count() as f64;
    let is_sure = unclear <= SURE_OUTLINE
        && backdrop.noise <= SURE_NOISE
        && garment.border_share() <= SURE_BORDER
        && garment.closed_count(NOTCH) as f64 <= garment.count() as f64 * (1.0 + SURE_FRAY)
        && crumbs <= SURE_CRUMBS;
    Ok((Garment { mask: garment, is_sure }, small))
}

/// The colours of a picture, channel by channel and row by row, slightly smoothed.
struct Field {
    width: usize,
    height: usize,
    channels: [Vec<f32>; 3],
}

impl Field {
    fn of(picture: &Picture) -> Self {
        const THIRD: f32 = 1.0 / 3.0;
        let converter = Converter::new();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        // 3 × 3 mean: along the rows, then across them, with border pixels counted twice.
        let mut channels = [0; 3].map(|_| Vec::with_capacity(width * (height + 1)));
        let mut row = [0; 3].map(|_| vec![0.0; width + 2]);
        for pixels in picture.bytes().chunks_exact(width * picture.layout().channels()) {
            for (x, pixel) in pixels.chunks_exact(picture.layout().channels()).enumerate() {
                let colour = converter.lab(pixel);
                for (row, value) in row.iter_mut().zip(colour) {
                    row[x + 1] = value;
                }
            }
            for (channel, row) in channels.iter_mut().zip(&mut row) {
                (row[0], row[width + 1]) = (row[1], row[width]);
                let three = row.iter().zip(&row[1..]).zip(&row[2..]);
                channel.extend(three.map(|((left, here), right)| (left + here + right) * THIRD));
            }
        }
        for channel in &mut channels {
            channel.extend_from_within(width * (height - 1)..);
            let mut above = channel[..width].to_vec();
            for y in 0..height {
                let (row, below) = channel[y * width..].split_at_mut(width);
                for ((here, above), below) in row.iter_mut().zip(&mut above).zip(&*below) {
                    let mean = (*above + *here + below) * THIRD;
                    *above = *here;
                    *here = mean;
                }
            }
            channel.truncate(width * height);
        }
        Self { width, height, channels }
    }

    fn at(&self, x: usize, y: usize) -> Lab {
        [0, 1, 2].map(|channel| self.channels[channel][y * self.width + x])
    }

    /// The channels of a row.
    fn row(&self, y: usize) -> [&[f32]; 3] {
        [0, 1, 2].map(|channel| &self.channels[channel][y * self.width..(y + 1) * self.width])
    }

    /// Returns the change of colour per pixel at this point.
    fn change(&self, x: usize, y: usize) -> f32 {
        let (right, below) = ((x + 1).min(self.width - 1), (y + 1).min(self.height - 1));
        let (left, above) = (x.saturating_sub(1), y.saturating_sub(1));
        let across = distance(self.at(left, y), self.at(right, y));
        let along = distance(self.at(x, above), self.at(x, below));
        across.max(along) / 2.0
    }
}

/// Grows the background: everything reachable from the border without crossing an edge.
fn grow(field: &Field, backdrop: &Backdrop) -> Mask {
    let (width, height) = (field.width, field.height);
    let (mut background, mut border) = (Mask::empty(width, height), Mask::empty(width, height));
    let mut has_shade = vec![false; width];
    for y in 0..height {
        let has_colour = background.row_mut(y);
        backdrop.compare(field, y, has_colour, &mut has_shade);
        if y == 0 || y == height - 1 {
            border.row_mut(y).copy_from_slice(has_colour);
        } else {
            for x in [0, width - 1] {
                border.set(x, y, has_colour[x]);
            }
        }
        for (x, (belongs, has_shade)) in has_colour.iter_mut().zip(&has_shade).enumerate() {
            *belongs = *belongs || *has_shade && field.change(x, y) <= backdrop.most_change;
        }
    }
    background.remove_parts_without(&border);
    background
}

/// Returns the share of the garment's outline that looks the same on both sides, 0 to 1.
fn unclear_share(field: &Field, garment: &Mask, noise: f32) -> f64 {
    const STEP: f32 = 4.0;
    let blurred = garment.blurred(3);
    let (mut outline, mut unclear) = (0_u32, 0_u32);
    let margin = 5;
    for y in margin..field.height.saturating_sub(margin) {
        for x in margin..field.width.saturating_sub(margin) {
            let is_outline = garment.has(x, y)
                && !(garment.has(x - 1, y) && garment.has(x + 1, y) && garment.has(x, y - 1) && garment.has(x, y + 1));
            if !is_outline {
                continue;
            }
            let value = |x: usize, y: usize| f32::from(blurred[y * field.width + x]);
            let (inwards_x, inwards_y) = (value(x + 1, y) - value(x - 1, y), value(x, y + 1) - value(x, y - 1));
            let length = inwards_x.hypot(inwards_y);
            if length < 1.0 {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the margin")]
            let along = |sign: f32| {
                let x = x as f32 + sign * STEP * inwards_x / length;
                let y = y as f32 + sign * STEP * inwards_y / length;
                field.at(x.round() as usize, y.round() as usize)
            };
            outline += 1;
            if distance(along(1.0), along(-1.0)) < 0.025 + noise {
                unclear += 1;
            }
        }
    }
    if outline == 0 { 0.0 } else { f64::from(unclear) / f64::from(outline) }
}

#[cfg(test)]
mod tests;
