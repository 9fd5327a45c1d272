//! Flushes telemetry after requests.
//!
//! The Functions host may stop an idle process at once, while batches take seconds to fill.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::Telemetry;

/// Time between two flushes, which collects requests that end close together.
const PAUSE: Duration = Duration::from_secs(1);

/// Notified when a request has ended.
#[derive(Clone)]
pub struct Flusher(Arc<Notify>);

impl Flusher {
    /// Starts flushing after requests, until `shutdown`. Does nothing when telemetry is off. `limit` bounds a flush.
    pub fn start(
        telemetry: &Telemetry,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
        limit: Duration,
    ) -> Option<Self> {
        if !telemetry.is_on() {
            return None;
        }
        let (telemetry, ended) = (telemetry.clone(), Arc::new(Notify::new()));
        let flusher = Self(ended.clone());
        tasks.spawn(async move {
            let flushes = async {
                loop {
                    ended.notified().await;
                    telemetry.flush(limit).await;
                    tokio::time::sleep(PAUSE).await;
                }
            };
            shutdown.run_until_cancelled(flushes).await
        });
        Some(flusher)
    }

    /// Returns the response; the request counts as ended when its body has been sent or dropped.
    pub fn watch(&self, response: Response) -> Response {
        let end = End(self.0.clone());
        response.map(|body| Body::new(Watched { body, _end: end }))
    }
}

/// Signals the end of a request on drop.
struct End(Arc<Notify>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

struct Watched {
    body: Body,
    _end: End,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
