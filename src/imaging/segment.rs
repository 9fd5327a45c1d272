//! Cutting a garment out of its picture: what a segmentation service does, or the built-in remover.

use std::sync::Arc;

use async_trait::async_trait;

use super::pool::PixelPool;
use super::remove::{self, Removal};
use super::{Picture, Result};

/// Longest side of a picture that is segmented, in pixels, and so of the result.
pub const LONGEST_SIDE: u32 = 1536;

/// What became of a picture's background.
#[derive(Debug, Clone, PartialEq)]
pub struct CutOut {
    /// The picture, transparent where its background was removed.
    pub picture: Picture,
    /// Why nothing was removed, if so.
    pub kept_whole: Option<remove::Reason>,
}

/// Removes backgrounds.
#[async_trait]
pub trait Segmenter: Send + Sync {
    /// Name in logs and ready checks.
    fn name(&self) -> &str;

    /// Removes the background of a picture, whose longest side is at most [`LONGEST_SIDE`] pixels.
    ///
    /// # Errors
    /// [`Segmentation`](super::Error::Segmentation) with a cause in plain words, which callers read; and those of
    /// [`PixelPool::run`].
    async fn cut_out(&self, picture: Picture) -> Result<CutOut>;
}

/// The remover for plain backgrounds, which is always there.
pub struct BuiltIn {
    pool: Arc<PixelPool>,
}

impl BuiltIn {
    /// It works on the threads of `pool`.
    pub fn new(pool: Arc<PixelPool>) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Segmenter for BuiltIn {
    fn name(&self) -> &str {
        "builtin"
    }

    async fn cut_out(&self, picture: Picture) -> Result<CutOut> {
        let work = move || {
            Ok(match remove::remove_background(picture) {
                Removal::Cut { picture, .. } => CutOut { picture, kept_whole: None },
                Removal::KeptWhole { picture, reason } => CutOut { picture, kept_whole: Some(reason) },
            })
        };
        self.pool.run(work).await
    }
}
