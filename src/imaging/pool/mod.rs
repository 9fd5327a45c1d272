//! The threads that work on pixels, so that those of the runtime stay free for everything else.
//!
//! So many jobs may wait, and whoever comes then waits for room up to a limit and is told that we are busy. Threads start
//! with the first picture: a service that sees none has none.
//!
//! Between two jobs a picture waits decoded, so the number of threads alone bounds no memory: thirty pictures that are
//! decoded one after the other before the first of them is written are all in memory. Hence each picture holds its part
//! of a bounded [`Memory`] from its decoding to its end, and those that get none wait as the files they came as.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::{Error, Result};

/// Memory for pictures in work, per thread, in bytes. Decoding a JPEG of 12 megapixels and shrinking it takes 48 MiB.
const MEMORY_PER_THREAD: u64 = 60 * 1024 * 1024;
/// Bytes of memory that one permit stands for.
const PERMIT_BYTES: u64 = 64 * 1024;

/// Sizes of a [`PixelPool`].
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Threads at most.
    pub threads: NonZeroUsize,
    /// Memory for all pictures in work, in bytes.
    pub memory: u64,
    /// Callers that have a place in the queue.
    pub queue: usize,
    /// How long others wait for a place in it, and pictures for memory.
    pub patience: Duration,
}

impl Default for PoolOptions {
    /// A thread per core, and a queue that they work off in a few seconds.
    fn default() -> Self {
        Self::with_threads(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl PoolOptions {
    /// The usual sizes for so many threads.
    pub fn with_threads(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            memory: MEMORY_PER_THREAD * threads.get() as u64,
            queue: 16 * threads.get(),
            // The network takes up to a second per picture, one after the other.
            patience: Duration::from_secs(30),
        }
    }
}

/// A bounded pool of threads for pixels.
pub struct PixelPool {
    threads: NonZeroUsize,
    /// Made for the first picture.
    pool: OnceLock<ThreadPool>,
    /// Places: in work or in the queue.
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    all_memory: u32,
    patience: Duration,
}

/// A part of the memory for pictures in work, given back when it is dropped.
#[derive(Debug)]
pub struct Memory(OwnedSemaphorePermit);

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

    /// Waits for memory for a picture that takes so many bytes; if that is more than there is, until no other is in work.
    /// Who came first is served first, so that a large picture does not wait for ever.
    ///
    /// # Errors
    /// [`Error::Busy`] when that takes too long.
    pub async fn memory(&self, bytes: u64) -> Result<Memory> {
        let part = self.memory.clone().acquire_many_owned(permits(bytes).min(self.all_memory));
        timeout(self.patience, part).await.map_err(|_| Error::Busy)?.map(Memory).map_err(|_| Error::Busy)
    }
}

/// Makes this thread give way at once to those that answer requests; pixels get what is left, which is nearly everything.
/// Otherwise, with a pool of all cores, a request waits until the scheduler takes a core from a picture: milliseconds
/// instead of microseconds. The lowest priority alone (nice 19) is not enough: such a thread still ends its turn now and
/// then, up to 4 ms, while another waits.
///
/// Does nothing where there is no such way.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    run_when_idle();
}

#[cfg(target_os = "linux")]
fn run_when_idle() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };

    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        debug!(?error, "priority of image threads not lowered");
    }
}

impl Default for PixelPool {
    fn default() -> Self {
        Self::new(PoolOptions::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn pool(threads: usize, queue: usize, patience_ms: u64) -> Arc<PixelPool> {
        Arc::new(PixelPool::new(PoolOptions {
            memory: 10 * PERMIT_BYTES,
            queue,
            patience: Duration::from_millis(patience_ms),
            ..PoolOptions::with_threads(NonZeroUsize::new(threads).unwrap())
        }))
    }

    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..2000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not happen");
    }

    #[tokio::test]
    async fn no_more_than_its_threads_work_at_once() {
        let pool = pool(3, 100, 10_000);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..50).map(|number| {
            let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
            async move {
                pool.run(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(number)
                })
                .await
                .unwrap()
            }
        });
        let answers = futures::future::join_all(jobs).await;
        assert_eq!(answers, (0..50).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn threads_start_with_work() {
        let pool = pool(2, 4, 1000);
        assert!(pool.pool.get().is_none());
        let names = || Ok(thread::current().name().map(str::to_owned));
        assert!(pool.run(names).await.unwrap().is_some_and(|name| name.starts_with("pixels-")));
        assert_eq!(pool.pool.get().unwrap().current_num_threads(), 2);
    }

    #[tokio::test]
    async fn a_full_queue_answers_busy_and_recovers() {
        let pool = pool(1, 1, 30);
        let (release, blocked) = mpsc::channel::<()>();
        let first = pool.run(move || {
            blocked.recv().ok();
            Ok(1)
        });
        let second = pool.run(|| Ok(2));
        let third = async {
            until(|| pool.places.available_permits() == 0).await;
            let refused = pool.run(|| Ok(3)).await;
            release.send(()).unwrap();
            refused
        };
        let (first, second, third) = tokio::join!(first, second, third);
        assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        assert!(matches!(third, Err(Error::Busy)));
        assert_eq!(pool.run(|| Ok(4)).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_goes_on() {
        let pool = pool(1, 4, 1000);
        for _ in 0..3 {
            let broken = pool.run(|| -> Result<()> { panic!("on purpose") }).await;
            assert!(matches!(broken, Err(Error::Broken)));
        }
        assert_eq!(pool.run(|| Ok(5)).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let pool = pool(1, 4, 1000);
        let (release, blocked) = mpsc::channel::<()>();
        let begun = Arc::new(AtomicUsize::new(0));
        let occupied = Arc::new(AtomicUsize::new(0));
        {
            let occupies = occupied.clone();
            let first = pool.run(move || {
                occupies.fetch_add(1, Ordering::SeqCst);
                blocked.recv().ok();
                Ok(())
            });
            let begun = begun.clone();
            let second = pool.run(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
            tokio::pin!(first, second);
            assert!(futures::poll!(&mut first).is_pending());
            assert!(futures::poll!(&mut second).is_pending());
            until(|| occupied.load(Ordering::SeqCst) == 1).await;
        }
        release.send(()).unwrap();
        until(|| pool.places.available_permits() == 5).await;
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn memory_is_shared_out_in_order_and_never_beyond_what_there_is() {
        let pool = pool(1, 4, 10_000);
        let mut first = pool.memory(7 * PERMIT_BYTES).await.unwrap();
        let huge = pool.memory(u64::MAX);
        let late = pool.memory(1);
        tokio::pin!(huge, late);
        assert!(futures::poll!(&mut huge).is_pending(), "it needs all");
        assert!(futures::poll!(&mut late).is_pending(), "it came later, though there is room for it");
        first.shrink_to(2 * PERMIT_BYTES);
        first.shrink_to(5 * PERMIT_BYTES);
        assert_eq!(first.0.num_permits(), 2);
        assert!(futures::poll!(&mut huge).is_pending());
        drop(first);
        let huge = huge.await.unwrap();
        assert_eq!(huge.0.num_permits(), 10);
        assert!(futures::poll!(&mut late).is_pending());
        drop(huge);
        assert_eq!(late.await.unwrap().0.num_permits(), 1);
        assert_eq!(pool.memory.available_permits(), 10);
    }

    #[tokio::test]
    async fn who_waits_too_long_for_memory_is_told() {
        let pool = pool(1, 4, 20);
        let all = pool.memory(u64::MAX).await.unwrap();
        assert!(matches!(pool.memory(1).await, Err(Error::Busy)));
        drop(all);
        assert!(pool.memory(1).await.is_ok());
    }
}
