//! The pool: slots for jobs, memory for pictures, and threads.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::super::{Error, Result};
use super::{PoolOptions, give_way};

/// Bytes of memory per permit.
pub(super) const PERMIT_BYTES: u64 = 64 * 1024;

/// A bounded thread pool for image processing.
pub struct PixelPool {
    threads: NonZeroUsize,
    /// Created for the first picture.
    pub(super) pool: OnceLock<ThreadPool>,
    /// Slots of jobs, running or queued.
    pub(super) places: Arc<Semaphore>,
    pub(super) memory: Arc<Semaphore>,
    all_memory: u32,
    patience: Duration,
}

/// A share of the memory for pictures in progress; released on drop.
#[derive(Debug)]
pub struct Memory(pub(super) OwnedSemaphorePermit);

impl Memory {
    /// Releases the memory beyond this many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let beyond = self.0.num_permits().saturating_sub(permits(bytes) as usize);
        drop(self.0.split(beyond));
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

impl PixelPool {
    /// Creates a pool; its threads are started later.
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

    /// Returns the number of threads, which is the most concurrent jobs.
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
            // The caller sees a closed channel; the panic hook has logged the panic.
            .panic_handler(|_| ())
            .build()
            .map_err(|_| Error::Busy)?;
        Ok(self.pool.get_or_init(|| made))
    }

    /// Runs `work` on one of the threads. If the caller leaves, work that has not started is skipped; work that has
    /// started is finished.
    ///
    /// # Errors
    /// [`Error::Busy`] when no slot became free in time, [`Error::Broken`] when the work panicked, and the error of the
    /// work itself.
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
            // Fails if the caller has left meanwhile.
            drop(sender.send(work()));
        });
        receiver.await.map_err(|_| Error::Broken)?
    }

    /// Waits for memory for a picture of this many bytes; if it needs more than the total, until no other is in
    /// progress. First come, first served, so that a large picture is not starved.
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
