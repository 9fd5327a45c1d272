//! A value that is created once, by a remote call, and then cached.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::base::deadline;
use crate::store::{Error, Result};

/// A value that is created by the first call that needs it. Concurrent callers wait for the same attempt and share its
/// outcome, so an unresponsive service delays each of them by the time limit only once. An attempt makes progress only
/// while somebody waits for it. A failure is not cached; the next call tries again.
pub(super) struct Once<T> {
    value: OnceLock<T>,
    attempt: Mutex<Option<Attempt<T>>>,
}

struct Attempt<T> {
    began: Instant,
    outcome: Shared<BoxFuture<'static, std::result::Result<T, Failure>>>,
}

/// An error of which every waiting caller gets a copy.
#[derive(Clone)]
struct Failure {
    is_outage: bool,
    cause: Arc<dyn StdError + Send + Sync>,
}

impl<T: Clone + Send + Sync + 'static> Once<T> {
    pub(super) const fn new() -> Self {
        Self { value: OnceLock::new(), attempt: Mutex::new(None) }
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns the value. If there is none and no attempt is in progress, `make` creates it within `limit`.
    pub(super) async fn get_or_make<F>(&self, limit: Duration, make: impl FnOnce() -> F) -> Result<&T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let outcome = {
            let mut attempt = self.attempt.lock();
            // An attempt that all callers have left makes no progress and may have timed out.
            if attempt.as_ref().is_none_or(|attempt| attempt.began.elapsed() >= limit) {
                let making = make();
                let limited = async move {
                    let made = deadline::within(limit, making).await;
                    made.map_err(Error::from).flatten().map_err(Failure::from)
                };
                *attempt = Some(Attempt { began: Instant::now(), outcome: limited.boxed().shared() });
            }
            attempt.as_ref().map(|attempt| attempt.outcome.clone())
        };
        let outcome = outcome.expect("an attempt was put there");
        let made = outcome.clone().await;
        let mut attempt = self.attempt.lock();
        if attempt.as_ref().is_some_and(|attempt| attempt.outcome.ptr_eq(&outcome)) {
            *attempt = None;
        }
        drop(attempt);
        made.map(|value| self.value.get_or_init(|| value)).map_err(Error::from)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { is_outage: matches!(error, Error::Unavailable(_)), cause: Arc::new(error) }
    }
}

impl From<Failure> for Error {
    fn from(Failure { is_outage, cause }: Failure) -> Self {
        if is_outage { Self::Unavailable(cause.into()) } else { Self::Failed(cause.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(8);

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_one_attempt_and_its_verdict() {
        let (once, attempts, began) = (Once::<u8>::new(), Arc::new(AtomicUsize::new(0)), Instant::now());
        let ask = || {
            once.get_or_make(LIMIT, || {
                attempts.fetch_add(1, Ordering::SeqCst);
                std::future::pending()
            })
        };
        let verdicts = join_all((0..40).map(|_| ask())).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Err(Error::Unavailable(_)))));
        assert_eq!((attempts.load(Ordering::SeqCst), began.elapsed()), (1, LIMIT));
        // The failure is not cached; the value is.
        assert_eq!(once.get_or_make(LIMIT, || async { Ok(7) }).await.unwrap(), &7);
        assert_eq!(ask().await.unwrap(), &7);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_outlives_the_caller_who_began_it() {
        let once = Once::<u8>::new();
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(7)
        };
        let first = tokio::time::timeout(Duration::from_secs(3), once.get_or_make(LIMIT, slow));
        let second = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            once.get_or_make(LIMIT, || async { Ok(8) }).await.copied()
        };
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err());
        assert_eq!(second.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_everybody_left_is_begun_anew() {
        let once = Once::<u8>::new();
        let left = tokio::time::timeout(Duration::from_secs(1), once.get_or_make(LIMIT, std::future::pending)).await;
        assert!(left.is_err());
        tokio::time::advance(LIMIT).await;
        assert_eq!(once.get_or_make(LIMIT, || async { Ok(7) }).await.unwrap(), &7);
    }
}
