//! Pictures: decoding uploads, scaling, cutting out garments, and encoding WebP.
//!
//! All of this is blocking work: [`pool`] runs it outside the async threads, and bounds the number of pictures in
//! memory. [`pipeline`] converts an upload to a WebP. The crate is independent of HTTP.

mod colour_space;
pub mod colours;
pub mod decode;
mod heic;
mod jpeg;
pub mod network;
mod oklab;
pub mod phash;
pub mod picture;
pub mod pipeline;
pub mod pool;
mod reduce;
pub mod remove;
pub mod segment;
pub mod transform;
pub mod webp;

use std::error::Error as StdError;

pub use self::picture::Picture;

/// Result of work on a picture.
pub type Result<T> = std::result::Result<T, Error>;

/// The cause of an [`Error`].
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a picture cannot be processed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a picture, or in an unsupported format.
    #[error("the picture's format is not supported")]
    Unsupported(#[source] Cause),
    /// The file begins like a picture, but is broken, truncated or empty.
    #[error("the picture is corrupt")]
    Corrupt(#[source] Cause),
    /// Too many pixels, or decoding would take too much memory.
    #[error("the picture has too many pixels: {width} × {height}")]
    TooManyPixels {
        /// Pixels per row; 0 when the file was refused before that was known.
        width: u32,
        /// Rows; 0 when the file was refused before that was known.
        height: u32,
    },
    /// The file itself is too large.
    #[error("the picture's file has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Size of the file in bytes.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The background could not be removed; the cause is readable by callers.
    #[error("the picture cannot be segmented")]
    Segmentation(#[source] Cause),
    /// The background-removal network was requested but is not installed.
    #[error("the background-removal network is not installed")]
    NoNetwork,
    /// The result cannot be written in its format.
    #[error("the picture cannot be encoded")]
    Encoding(#[source] Cause),
    /// Too many pictures are waiting; a later retry may succeed.
    #[error("too many pictures are waiting to be processed")]
    Busy,
    /// The work panicked: a bug in this service or a decoder.
    #[error("processing of the picture panicked")]
    Broken,
}
