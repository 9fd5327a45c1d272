//! Reads and discards the rest of a request's body once no handler wants it. A request can be answered before its body
//! has arrived, for example because it is too long or its caller is unknown. If the connection were closed then, a
//! client that is still writing would see a broken pipe instead of our 413. So the rest of the body is read and
//! discarded. Limits prevent abuse: bytes and time per body, and a total rate, since reading takes processor time from
//! other requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

/// Most bytes that are discarded; a longer body closes the connection.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Time limit for discarding.
const LONGEST: Duration = Duration::from_secs(5);
/// Most bytes discarded per second, for all bodies together.
const PACE: u32 = 128 * 1024 * 1024;
/// Assumed size of the first piece of a body, in bytes.
const FIRST_PIECE: usize = 64 * 1024;

/// Discards the rest of bodies. Clones share one rate limit.
#[derive(Clone)]
pub struct Drain {
    tasks: TaskTracker,
    /// When the next bytes may be read.
    next: Arc<Mutex<Instant>>,
}

impl Drain {
    /// Works as tasks of `tasks`.
    pub fn new(tasks: TaskTracker) -> Self {
        Self { tasks, next: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until the rate limit admits this many bytes.
    async fn turn(&self, bytes: usize) {
        let turn = {
            let mut next = self.next.lock();
            let turn = Instant::now().max(*next);
            *next = turn + Duration::from_secs(bytes as u64) / PACE;
            turn
        };
        sleep_until(turn).await;
    }

    async fn discard(self, mut body: impl Body<Data = Bytes> + Unpin) {
        let mut discarded = 0;
        let mut piece = FIRST_PIECE;
        while discarded < MOST_BYTES {
            self.turn(piece).await;
            match body.frame().await {
                Some(Ok(frame)) => piece = frame.data_ref().map_or(0, Bytes::len),
                // The body has ended, or the client has disconnected.
                Some(Err(_)) | None => return,
            }
            discarded += piece;
        }
    }
}

/// A request body that is read to its end even if dropped.
pub struct Lingering {
    body: Option<Incoming>,
    drain: Drain,
}

impl Lingering {
    /// Wraps `body`; its unread rest will be discarded by `drain`.
    pub fn new(body: Incoming, drain: Drain) -> Self {
        Self { body: Some(body), drain }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.drain.tasks.spawn(timeout(LONGEST, self.drain.clone().discard(body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::future::join_all;
    use futures::stream;
    use http_body_util::StreamBody;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Creates a body of this size, in chunks of 64 KiB that are available at once.
    fn body(bytes: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let pieces = bytes / FIRST_PIECE;
        StreamBody::new(stream::iter((0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(&[0; FIRST_PIECE]))))))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_thrown_away_at_one_pace() {
        let drain = Drain::new(TaskTracker::new());
        let begun = Instant::now();
        drain.clone().discard(body(MIB)).await;
        assert!(begun.elapsed() < Duration::from_millis(20), "one alone: {:?}", begun.elapsed());
        let begun = Instant::now();
        join_all((0..512).map(|_| drain.clone().discard(body(MIB)))).await;
        assert!((4..=5).contains(&begun.elapsed().as_secs()), "512 MiB: {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_end_is_given_up() {
        let begun = Instant::now();
        Drain::new(TaskTracker::new()).discard(body(4096 * MIB)).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
