//! Threads for image processing, so that those of the runtime stay free.
//!
//! The queue is bounded. When it is full, callers wait for a slot up to a time limit and then fail with a "busy" error.
//! Threads are started by the first picture.
//!
//! Pictures stay decoded between two jobs, so the number of threads does not bound memory: many pictures may be decoded
//! before the first one is encoded. Therefore each picture holds a share of a bounded [`Memory`] from decoding until it
//! is finished; the others wait as encoded files.

mod pixel_pool;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use tracing::debug;

pub use self::pixel_pool::{Memory, PixelPool};

/// Memory for pictures in progress, per thread, in bytes. Decoding a JPEG of 12 megapixels and shrinking it takes 48
/// MiB.
const MEMORY_PER_THREAD: u64 = 60 * 1024 * 1024;

/// Sizes of a [`PixelPool`].
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Number of threads.
    pub threads: NonZeroUsize,
    /// Memory for all pictures in progress, in bytes.
    pub memory: u64,
    /// Slots in the queue.
    pub queue: usize,
    /// How long callers wait for a slot, and pictures for memory.
    pub patience: Duration,
}

impl Default for PoolOptions {
    /// One thread per core, and a queue that they can process in a few seconds.
    fn default() -> Self {
        Self::with_threads(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl PoolOptions {
    /// Returns the usual sizes for this many threads.
    pub fn with_threads(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            memory: MEMORY_PER_THREAD * threads.get() as u64,
            queue: 16 * threads.get(),
            // The network takes about a second per picture and processes one at a time.
            patience: Duration::from_secs(30),
        }
    }
}

/// Lets threads that answer requests preempt this one immediately. Otherwise, with a pool on all cores, a request waits
/// milliseconds instead of microseconds until the scheduler takes a core from a picture. The lowest priority (nice 19)
/// is not enough: such a thread may still finish its time slice, up to 4 ms, while another one waits.
///
/// Does nothing on other systems.
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
