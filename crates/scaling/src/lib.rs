//! Scaling of pictures, by `fast_image_resize`.
//!
//! That library is generic: it is compiled anew for each kind of pixel, which takes as long as the rest of the pictures'
//! code together. In a crate of its own, it is compiled once and not after each change in `imaging`.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageView, MulDiv, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// Width and height in pixels.
pub type Size = (u32, u32);

/// Sharp enough, without the halos that a wider filter adds around a garment on a plain wall.
const SHARP: FilterType = FilterType::CatmullRom;

const ONE_PICTURE: &str = "the bytes are one picture of this size";
const HAS_ALPHA: &str = "RGBA is of a kind that has alpha";

/// Scales RGB pixels.
///
/// # Panics
/// If `pixels` is not a picture of size `from`, or a size is empty.
#[must_use]
pub fn rgb(pixels: &[u8], from: Size, to: Size) -> Vec<u8> {
    let source = TypedImageRef::<U8x3>::from_buffer(from.0, from.1, pixels).expect(ONE_PICTURE);
    scale(&source, to, SHARP)
}

/// Scales RGBA pixels. Colours of transparent pixels do not bleed.
///
/// # Panics
/// If `pixels` is not a picture of size `from`, or a size is empty.
#[must_use]
pub fn rgba(mut pixels: Vec<u8>, from: Size, to: Size) -> Vec<u8> {
    let alpha = MulDiv::new();
    let mut source = view::<U8x4>(&mut pixels, from);
    alpha.multiply_alpha_inplace_typed(&mut source).expect(HAS_ALPHA);
    let mut scaled = scale(&source, to, SHARP);
    drop(pixels);
    alpha.divide_alpha_inplace_typed(&mut view::<U8x4>(&mut scaled, to)).expect(HAS_ALPHA);
    scaled
}

/// Scales one channel, smoothly: a mask.
///
/// # Panics
/// If `mask` is not a mask of size `from`, or a size is empty.
#[must_use]
pub fn mask(mask: &[u8], from: Size, to: Size) -> Vec<u8> {
    let source = TypedImageRef::<U8>::from_buffer(from.0, from.1, mask).expect(ONE_PICTURE);
    scale(&source, to, FilterType::Bilinear)
}

fn view<P: PixelTrait>(bytes: &mut [u8], (width, height): Size) -> TypedImage<'_, P> {
    TypedImage::from_buffer(width, height, bytes).expect(ONE_PICTURE)
}

/// Scales pixels of one kind, each channel for itself.
fn scale<P: PixelTrait>(source: &impl ImageView<Pixel = P>, to: Size, filter: FilterType) -> Vec<u8> {
    let mut scaled = vec![0; to.0 as usize * to.1 as usize * P::size()];
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    Resizer::new().resize_typed(source, &mut view::<P>(&mut scaled, to), &options).expect("neither picture is empty");
    scaled
}
