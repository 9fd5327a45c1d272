//! The processing of a picture: decoding, scaling, background removal, and encoding as WebP.

use std::sync::Arc;

use bytes::Bytes;

use super::decode::{self, Limits};
use super::pool::{Memory, PixelPool};
use super::segment::{CutoutOptions, LONGEST_SIDE, Remover, Segmenter};
use super::{Picture, Result, remove, webp};

/// Memory held for a scaled picture, in bytes: itself, and a segmentation service's answer. Cut-out and encoding take
/// more, about 45 MiB, but only for as many pictures as there are threads.
const SHRUNK_BYTES: u64 = 24 * 1024 * 1024;

/// Decodes a picture on the pool, scaled as by [`decode::decode_to_fit`], when there is memory for it. The file is
/// dropped afterwards; the memory stays reserved for the next steps.
///
/// # Errors
/// Those of [`decode::decode_to_fit`] and of [`PixelPool`].
pub async fn open(pool: &PixelPool, file: Bytes, limits: &Limits, longest_side: u32) -> Result<(Picture, Memory)> {
    // The size alone needs no place in the queue.
    limits.check_file(file.len())?;
    let (head, head_limits) = (file.clone(), limits.clone());
    let needed = pool.run(move || decode::memory_to_fit(&head, &head_limits, longest_side)).await?;
    let mut memory = pool.memory(needed.max(SHRUNK_BYTES)).await?;
    let limits = limits.clone();
    let picture = pool.run(move || decode::decode_to_fit(&file, &limits, longest_side)).await?;
    memory.shrink_to(SHRUNK_BYTES);
    Ok((picture, memory))
}

/// The steps from an upload to the stored picture. All pixel work runs on the pool.
#[derive(Clone)]
pub struct Pipeline {
    pool: Arc<PixelPool>,
    segmenter: Arc<dyn Segmenter>,
    limits: Limits,
}

/// A processed picture.
#[derive(Debug, Clone)]
pub struct Processed {
    /// The file.
    pub webp: Bytes,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Share of transparent pixels, 0 to 1.
    pub transparent_share: f64,
    /// The remover that made the final decision; `None` if none was used.
    pub by: Option<Remover>,
    /// The network's confidence in its cut, 0 to 1, whether accepted or not.
    pub confidence: Option<f32>,
    /// Reason for keeping the background, if it was kept.
    pub kept_whole: Option<remove::Reason>,
}

impl Pipeline {
    /// Creates a pipeline that works on the threads of `pool`.
    pub fn new(pool: Arc<PixelPool>, segmenter: Arc<dyn Segmenter>, limits: Limits) -> Self {
        Self { pool, segmenter, limits }
    }

    /// Returns the maximum number of concurrent jobs.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Returns the background remover.
    pub fn segmenter(&self) -> &dyn Segmenter {
        &*self.segmenter
    }

    /// Creates a WebP from the bytes of a picture, with or without its background.
    ///
    /// # Errors
    /// Any [`Error`](super::Error): decoding errors are the sender's fault, [`Busy`](super::Error::Busy) is overload,
    /// all others come from this service or the segmentation service.
    pub async fn process(&self, bytes: Bytes, options: CutoutOptions) -> Result<Processed> {
        let (picture, _memory) = open(&self.pool, bytes, &self.limits, LONGEST_SIDE).await?;
        let cut = self.segmenter.cut_out(picture, options).await?;
        let work = move || {
            Ok(Processed {
                webp: webp::encode(&cut.picture)?.into(),
                width: cut.picture.width(),
                height: cut.picture.height(),
                transparent_share: cut.picture.transparent_share(),
                by: cut.by,
                confidence: cut.confidence,
                kept_whole: cut.kept_whole,
            })
        };
        self.pool.run(work).await
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::pool::PoolOptions;
    use crate::segment::CutOut;

    /// A segmentation service that holds pictures until released.
    struct Slow {
        taken: AtomicUsize,
        most: AtomicUsize,
        may: Semaphore,
    }

    #[async_trait]
    impl Segmenter for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        fn has_network(&self) -> bool {
            false
        }

        async fn cut_out(&self, picture: Picture, _: CutoutOptions) -> Result<CutOut> {
            self.most.fetch_max(self.taken.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            self.may.acquire().await.unwrap().forget();
            self.taken.fetch_sub(1, Ordering::SeqCst);
            Ok(CutOut { picture, by: Some(Remover::Service), confidence: None, kept_whole: None })
        }
    }

    fn picture() -> Bytes {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/orientation-1.jpg")).unwrap().into()
    }

    #[tokio::test]
    async fn no_more_pictures_are_decoded_than_there_is_memory_for() {
        const FIT: usize = 5;
        const SENT: usize = 30;
        let options = PoolOptions::with_threads(NonZeroUsize::new(2).unwrap());
        let pool = Arc::new(PixelPool::new(PoolOptions { memory: FIT as u64 * SHRUNK_BYTES, ..options }));
        let service = Arc::new(Slow { taken: 0.into(), most: 0.into(), may: Semaphore::new(0) });
        let pipeline = Pipeline::new(pool, service.clone(), Limits::default());
        let results = join_all((0..SENT).map(|_| pipeline.process(picture(), CutoutOptions::default())));
        let watch = async {
            for done in 0..SENT {
                let expected = FIT.min(SENT - done);
                while service.taken.load(Ordering::SeqCst) < expected {
                    tokio::task::yield_now().await;
                }
                service.may.add_permits(1);
            }
        };
        let both = async { tokio::join!(results, watch) };
        let (results, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("nothing hangs");
        assert!(results.iter().all(|result| result.is_ok()));
        assert_eq!(service.most.load(Ordering::SeqCst), FIT);
    }
}
