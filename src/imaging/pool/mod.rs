//! The threads that work on pixels, so that those of the runtime stay free for everything else.
//!
//! So many jobs may wait, and whoever comes then waits for room up to a limit and is told that we are busy. Threads
//! start with the first picture: a service that sees none has none.
//!
//! Between two jobs a picture waits decoded, so the number of threads alone bounds no memory: thirty pictures that are
//! decoded one after the other before the first of them is written are all in memory. Hence each picture holds its part
//! of a bounded [`Memory`] from its decoding to its end, and those that get none wait as the files they came as.

mod pixel_pool;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use tracing::debug;

pub use self::pixel_pool::{Memory, PixelPool};

/// Memory for pictures in work, per thread, in bytes. Decoding a JPEG of 12 megapixels and shrinking it takes 48 MiB.
const MEMORY_PER_THREAD: u64 = 60 * 1024 * 1024;

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

/// Makes this thread give way at once to those that answer requests; pixels get what is left, which is nearly
/// everything. Otherwise, with a pool of all cores, a request waits until the scheduler takes a core from a picture:
/// milliseconds instead of microseconds. The lowest priority alone (nice 19) is not enough: such a thread still ends
/// its turn now and then, up to 4 ms, while another waits.
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
