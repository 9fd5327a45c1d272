//! Time limits for calls to dependencies, independent of the behaviour of a client, driver or disk.

use std::future::Future;
use std::time::Duration;

/// A call exceeded its time limit. It may have taken effect, or still take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs_f64())]
pub struct Elapsed(Duration);

/// Runs `call` with a time limit.
///
/// # Errors
/// [`Elapsed`] when the limit is exceeded; the call is then dropped.
pub async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(limit, call).await.map_err(|_| Elapsed(limit))
}
