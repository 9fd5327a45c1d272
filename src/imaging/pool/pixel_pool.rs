//! The pool: places for work, memory for pictures, and the threads.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::{PoolOptions, give_way};
use crate::imaging::{Error, Result};

/// Bytes of memory that one permit stands for.
pub(super) const PERMIT_BYTES: u64 = 64 * 1024;

/// A bounded pool of threads for pixels.
pub struct PixelPool {
    threads: NonZeroUsize,
    /// Made for the first picture.
    pub(super) pool: OnceLock<ThreadPool>,
    /// Places: in work or in the queue.
    pub(super) places: Arc<Semaphore>,
    pub(super) memory: Arc<Semaphore>,
    all_memory: u32,
    patience: Duration,
}

/// A part of the memory for pictures in work, given back when it is dropped.
#[derive(Debug)]
pub struct Memory(pub(super) OwnedSemaphorePermit);

impl Memory {
    /// Gives back what is beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let beyond = self.0.num_permits().saturating_sub(permits(bytes) as usize);
        drop(self.0.split(beyond));
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

impl PixelPool {
    /// A pool without threads yet.
    pub fn new(options: PoolOptions) -> Self {
        let PoolOptions { threads, memory, queue, patience } = options;
        let all_memory = permits(memory);
        Self {
            threads,
            pool: OnceLock::new(),
            places: Arc::new(Semaphore::new(threads.get() + queue)),
            memory: Arc::new(Semaphore::new(all_memory as usize)),
            all_memory,
            patience,
        }
    }

    /// Jobs that may be in work at once.
    pub fn threads(&self) -> usize {
        self.threads.get()
    }

    fn pool(&self) -> Result<&ThreadPool> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let made = ThreadPoolBuilder::new()
            .num_threads(self.threads.get())
            .thread_name(|number| format!("pixels-{number}"))
            .start_handler(|_| give_way())
            // Who waits for the work is told by the answer that never comes; the panic hook has logged it.
            .panic_handler(|_| ())
            .build()
            .map_err(|_| Error::Busy)?;
        Ok(self.pool.get_or_init(|| made))
    }

    /// Does `work` on one of the threads. Work that nobody waits for any more is not begun; begun, it is finished.
    ///
    /// # Errors
    /// [`Error::Busy`] when there was no place in the queue for too long, [`Error::Broken`] when the work panicked, and
    /// the error of the work itself.
    pub async fn run<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T> + Send + 'static,
    {
        let place = timeout(self.patience, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        let (sender, receiver) = oneshot::channel();
        self.pool()?.spawn(move || {
            // Held until the work is done, even if the caller has left.
            let _place = place;
            if sender.is_closed() {
                return;
            }
            // Fails when the caller left meanwhile: then nobody wants it.
            drop(sender.send(work()));
        });
        receiver.await.map_err(|_| Error::Broken)?
    }

    /// Waits for memory for a picture that takes so many bytes; if that is more than there is, until no other is in
    /// work. Who came first is served first, so that a large picture does not wait for ever.
    ///
    /// # Errors
    /// [`Error::Busy`] when that takes too long.
    pub async fn memory(&self, bytes: u64) -> Result<Memory> {
        let part = self.memory.clone().acquire_many_owned(permits(bytes).min(self.all_memory));
        timeout(self.patience, part).await.map_err(|_| Error::Busy)?.map(Memory).map_err(|_| Error::Busy)
    }
}

impl Default for PixelPool {
    fn default() -> Self {
        Self::new(PoolOptions::default())
    }
}
