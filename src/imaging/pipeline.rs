//! The whole way of a picture: decoded, shrunk, its background removed, and written as WebP.

use std::sync::Arc;

use bytes::Bytes;

use super::decode::{self, Limits};
use super::pool::PixelPool;
use super::segment::{LONGEST_SIDE, Segmenter};
use super::{Result, remove, webp};

/// The steps from an upload to what is kept of it. Pixels are worked on by the pool alone.
#[derive(Clone)]
pub struct Pipeline {
    pool: Arc<PixelPool>,
    segmenter: Arc<dyn Segmenter>,
    limits: Limits,
}

/// A picture as it is kept.
#[derive(Debug, Clone)]
pub struct Processed {
    /// The file.
    pub webp: Bytes,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Part of the pixels, 0 to 1, that are transparent.
    pub transparent_share: f64,
    /// Why the background is still there, if it is.
    pub kept_whole: Option<remove::Reason>,
}

impl Pipeline {
    /// Works on the threads of `pool`.
    pub fn new(pool: Arc<PixelPool>, segmenter: Arc<dyn Segmenter>, limits: Limits) -> Self {
        Self { pool, segmenter, limits }
    }

    /// Who removes the backgrounds.
    pub fn segmenter(&self) -> &dyn Segmenter {
        &*self.segmenter
    }

    /// Makes a WebP without background from the bytes of a picture.
    ///
    /// # Errors
    /// Any [`Error`](super::Error): those of decoding are the sender's fault, [`Busy`](super::Error::Busy) is nobody's,
    /// the others are ours or the segmentation service's.
    pub async fn process(&self, bytes: Bytes) -> Result<Processed> {
        // The size alone needs no place in the queue.
        self.limits.check_file(bytes.len())?;
        let limits = self.limits.clone();
        let picture = self.pool.run(move || decode::decode_to_fit(&bytes, &limits, LONGEST_SIDE)).await?;
        let cut = self.segmenter.cut_out(picture).await?;
        let work = move || {
            Ok(Processed {
                webp: webp::encode(&cut.picture)?.into(),
                width: cut.picture.width(),
                height: cut.picture.height(),
                transparent_share: cut.picture.transparent_share(),
                kept_whole: cut.kept_whole,
            })
        };
        self.pool.run(work).await
    }
}
