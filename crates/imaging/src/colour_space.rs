//! Converts the colours of a file to sRGB: phones write Display P3, which looks pale when shown as sRGB.

use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout as Channels, MatrixCoefficients,
    TransferCharacteristics, TransformOptions,
};
use tracing::debug;

use super::picture::{Layout, Picture};

/// Largest accepted profile, in bytes. Profiles of cameras have less than one kilobyte, those with tables one or two
/// megabytes, which take several times as much in memory.
const LARGEST_PROFILE: usize = 4 * 1024 * 1024;
/// Pixels converted at a time.
const CHUNK: usize = 4096;

/// The code points of sRGB: its primaries are those of BT.709.
const BT_709: u8 = 1;
const SRGB: u8 = 13;

/// Colour space of a picture, if not sRGB.
#[derive(Debug)]
pub(super) struct ColourSpace(Box<ColorProfile>);

impl ColourSpace {
    /// Parses an ICC profile; `None` if it is broken, too large or not RGB, because a slightly wrong colour is better
    /// than no picture.
    pub(super) fn from_icc(profile: &[u8]) -> Option<Self> {
        if profile.len() > LARGEST_PROFILE {
            return None;
        }
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        (profile.color_space == DataColorSpace::Rgb).then(|| Self(Box::new(profile)))
    }

    /// Creates a colour space from code points of ITU-T H.273; unspecified parts are as in sRGB. `None` if they are
    /// unknown or mean sRGB.
    pub(super) fn from_code_points(primaries: u16, transfer: u16) -> Option<Self> {
        let primaries = if matches!(primaries, 0 | 2) { BT_709 } else { u8::try_from(primaries).ok()? };
        // The curves of BT.709, 601 and 2020 are those of television cameras, not the inverse of a display's. Other
        // software shows still pictures with these code points as sRGB.
        let transfer = if matches!(transfer, 0..=2 | 6 | 14 | 15) { SRGB } else { u8::try_from(transfer).ok()? };
        if (primaries, transfer) == (BT_709, SRGB) {
            return None;
        }
        let profile = ColorProfile::new_from_cicp(CicpProfile {
            color_primaries: CicpColorPrimaries::try_from(primaries).ok()?,
            transfer_characteristics: TransferCharacteristics::try_from(transfer).ok()?,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        });
        // The profile has no curves if it could not be created.
        profile.red_trc.is_some().then(|| Self(Box::new(profile)))
    }

    /// Converts a picture to sRGB, or returns it unchanged if the profile cannot be converted.
    pub(super) fn to_srgb(&self, picture: Picture) -> Picture {
        let channels = match picture.layout() {
            Layout::Rgb => Channels::Rgb,
            Layout::Rgba => Channels::Rgba,
        };
        let transform =
            self.0.create_transform_8bit(channels, &ColorProfile::new_srgb(), channels, TransformOptions::default());
        let transform = match transform {
            Ok(transform) => transform,
            Err(error) => {
                debug!(%error, "colour profile of a picture ignored");
                return picture;
            }
        };
        let (width, height, layout) = (picture.width(), picture.height(), picture.layout());
        let mut bytes = picture.into_bytes();
        let mut before = Vec::with_capacity(CHUNK * layout.channels());
        for pixels in bytes.chunks_mut(CHUNK * layout.channels()) {
            before.clear();
            before.extend_from_slice(pixels);
            if let Err(error) = transform.transform(&before, pixels) {
                debug!(%error, "colour profile of a picture ignored");
                break;
            }
        }
        Picture::new(width, height, layout, bytes).expect("neither size nor layout changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISPLAY_P3: u16 = 12;

    fn converted(space: &ColourSpace, pixel: &[u8]) -> Vec<u8> {
        let layout = if pixel.len() == 4 { Layout::Rgba } else { Layout::Rgb };
        // More than a chunk, to test the boundary.
        let (width, height) = (100, 50);
        let picture = Picture::new(width, height, layout, pixel.repeat((width * height) as usize)).unwrap();
        let picture = space.to_srgb(picture);
        assert!(picture.pixels().all(|pixel| pixel == picture.pixels().next().unwrap()));
        picture.bytes()[..layout.channels()].to_vec()
    }

    fn assert_near(found: &[u8], expected: &[u8]) {
        assert!(found.iter().zip(expected).all(|(found, expected)| found.abs_diff(*expected) <= 1), "{found:?}");
    }

    #[test]
    fn display_p3_becomes_srgb() {
        let space = ColourSpace::from_code_points(DISPLAY_P3, SRGB.into()).unwrap();
        // By the matrices and the curve of CSS Color 4: 121.46, 153.94, 95.87.
        assert_near(&converted(&space, &[128, 153, 102]), &[121, 154, 96]);
        assert_near(&converted(&space, &[200, 200, 200]), &[200, 200, 200]);
        assert_near(&converted(&space, &[128, 153, 102, 7]), &[121, 154, 96, 7]);
    }

    #[test]
    fn a_profile_says_the_same_as_code_points() {
        let profile = ColourSpace::from_icc(&ColorProfile::new_display_p3().encode().unwrap()).unwrap();
        assert_near(&converted(&profile, &[128, 153, 102]), &[121, 154, 96]);
    }

    #[test]
    fn what_says_srgb_or_nothing_is_left_alone() {
        for (primaries, transfer) in [(1, 13), (2, 2), (0, 13), (1, 1), (300, 13), (1, 200), (14, 13), (1, 3)] {
            assert!(ColourSpace::from_code_points(primaries, transfer).is_none(), "{primaries} {transfer}");
        }
    }

    #[test]
    fn broken_profiles_and_those_of_inks_are_not_used() {
        assert!(ColourSpace::from_icc(b"").is_none());
        assert!(ColourSpace::from_icc(&[7; 200]).is_none());
        let mut profile = ColorProfile::new_display_p3();
        profile.color_space = DataColorSpace::Cmyk;
        assert!(profile.encode().is_ok_and(|bytes| ColourSpace::from_icc(&bytes).is_none()));
        let whole = ColorProfile::new_display_p3().encode().unwrap();
        let large = [&whole[..], &vec![0; LARGEST_PROFILE]].concat();
        assert!(ColourSpace::from_icc(&whole).is_some() && ColourSpace::from_icc(&large).is_none());
        for length in 0..whole.len() {
            // A broken profile is at worst ignored.
            if let Some(space) = ColourSpace::from_icc(&whole[..length]) {
                converted(&space, &[1, 2, 3]);
            }
        }
    }
}
