//! Pictures: decoding what phones send, shrinking, cutting out the garment, and WebP.
//!
//! All of it is work for threads, not for the runtime: [`pool`] runs it beside the async threads, and bounds how many
//! pictures are in memory at once. [`pipeline`] is the whole way from an upload to a WebP. Nothing here knows HTTP.

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
pub mod segmentation;
pub mod transform;
pub mod webp;

use std::error::Error as StdError;

pub use self::picture::Picture;

/// Result of work on a picture.
pub type Result<T> = std::result::Result<T, Error>;

/// The error below an [`Error`], whatever made it.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why a picture cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a picture, or of a kind that we do not read.
    #[error("the picture's format is not supported")]
    Unsupported(#[source] Cause),
    /// It begins like a picture and is none: broken, cut off, empty.
    #[error("the picture is corrupt")]
    Corrupt(#[source] Cause),
    /// More pixels than we decode, or so many bytes per pixel that decoding takes too much memory.
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
    /// The background could not be removed; the cause says so in plain words.
    #[error("the picture cannot be segmented")]
    Segmentation(#[source] Cause),
    /// The network for cut-outs was asked for and is not installed.
    #[error("the network for cut-outs is not installed")]
    NoNetwork,
    /// The result cannot be written in its format.
    #[error("the picture cannot be encoded")]
    Encoding(#[source] Cause),
    /// Too many pictures are waiting; worth another try later.
    #[error("too many pictures are waiting to be worked on")]
    Busy,
    /// The work panicked: a bug, of ours or of a decoder.
    #[error("processing of the picture panicked")]
    Broken,
}
