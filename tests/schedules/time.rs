//! `tokio::time` without a clock: sleeps and timeouts end whenever the schedule says so.

use std::time::Duration;

use crate::explore::draw;

/// Most turns of other threads during a sleep.
const LONGEST: usize = 24;

/// A timeout elapsed.
#[derive(Debug)]
pub struct Elapsed;

/// `tokio::time::sleep`.
pub async fn sleep(_: Duration) {
    for _ in 0..draw(LONGEST) {
        shuttle::future::yield_now().await;
    }
}

/// `tokio::time::timeout`; [`Duration::MAX`] never elapses.
pub async fn timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    if limit == Duration::MAX {
        return Ok(work.await);
    }
    crate::select! {
        biased;
        done = work => Ok(done),
        () = sleep(limit) => Err(Elapsed),
    }
}
