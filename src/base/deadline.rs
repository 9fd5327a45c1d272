//! Time limits around calls to the outside: whatever a client, a driver or a disk does within, the caller is told in time.

use std::future::Future;
use std::time::Duration;

/// The other side did not answer in time. What was asked of it may have been done, or still be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f64())]
pub struct Elapsed(Duration);

/// Waits for `call`, and no longer than `limit`.
///
/// # Errors
/// [`Elapsed`] when the time is over; the call is given up then.
pub async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(limit, call).await.map_err(|_| Elapsed(limit))
}
