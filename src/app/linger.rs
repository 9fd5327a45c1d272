//! Reads on when nobody wants the rest of a request's body any more.
//!
//! A request can be answered before its body has come: it is too long, say, or its caller unknown. To close the
//! connection then would take the answer from a client that is still writing: it would see a broken pipe in place of our
//! 413. So what is left of a body is read and thrown away, up to limits that keep this from being a way to occupy us.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::task::TaskTracker;

/// Bytes that are thrown away at most; a longer body costs its sender the connection.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(5);

/// A request's body that is read to its end, whoever drops it.
pub struct Lingering {
    body: Option<Incoming>,
    tasks: TaskTracker,
}

impl Lingering {
    /// What is left of `body` in the end is read by a task of `tasks`.
    pub fn new(body: Incoming, tasks: TaskTracker) -> Self {
        Self { body: Some(body), tasks }
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
            self.tasks.spawn(tokio::time::timeout(LONGEST, discard(body)));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while discarded < MOST_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => discarded += frame.data_ref().map_or(0, Bytes::len),
            // It is over, or the client has left.
            Some(Err(_)) | None => return,
        }
    }
}
