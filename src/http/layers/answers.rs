//! Holds the memory and the permit of responses that are complete in memory until their clients have read them: a
//! client that does not read cannot send further requests without limit. The bytes are charged to a separate
//! [`BodyMemory`], unless the response is short, so that unread responses take no memory from uploads. A response that
//! gets no memory within `PATIENCE` becomes a 503.
//!
//! Event streams and files are sent as they are read. They have limits of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::domain::quota::body_memory::{BodyMemory, Charge, NoRoom};
use crate::domain::quota::{Caller, RequestPermit};
use crate::http::error::ApiError;

/// Largest answer that is not charged, in bytes.
const SHORT: usize = 64 * 1024;
/// Largest body chunk that is sent, in bytes.
const PIECE: usize = 64 * 1024;
/// How long an answer waits for memory. It is in memory already, so this is short.
const PATIENCE: Duration = Duration::from_secs(5);

impl From<NoRoom> for ApiError {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::TooLarge => Self::Misconfigured("The answer is too large for BODY_MEMORY_MIB."),
            NoRoom::TimedOut => Self::Overloaded,
        }
    }
}

/// Charges an answer to its caller and holds the request's permit, both until the answer is sent or dropped.
///
/// # Errors
/// 503 when there is no memory for the answer.
pub async fn hold(
    memory: &BodyMemory,
    caller: &Caller,
    permit: RequestPermit,
    mut response: Response,
) -> Result<Response, ApiError> {
    // Streams do not know their size.
    let Some(size) = response.body().size_hint().exact() else { return Ok(response) };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let charge = match response.extensions_mut().remove::<Charged>() {
        Some(Charged(charge)) => Some(charge),
        None if size > SHORT => {
            let charge = memory.charge(caller.clone());
            charge.take(size, &mut PATIENCE.clone()).await?;
            Some(Arc::new(charge))
        }
        None => None,
    };
    let held = Arc::new(Held { _permit: permit, _charge: charge });
    Ok(response.map(|body| Body::new(HeldBody { body, piece: Bytes::new(), held })))
}

/// What an answer keeps until it is sent.
struct Held {
    _permit: RequestPermit,
    _charge: Option<Arc<Charge>>,
}

/// Bytes of an answer. The server may hold them after it has dropped the body, until they are written.
struct HeldBytes {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of an answer, sent in pieces of [`PIECE`].
struct HeldBody {
    body: Body,
    /// The rest of the frame that is being sent.
    piece: Bytes,
    held: Arc<Held>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.piece.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(bytes) => self.piece = Bytes::from_owner(HeldBytes { bytes, _held: self.held.clone() }),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.piece.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint().exact().unwrap_or_default();
        SizeHint::with_exact(rest + self.piece.len() as u64)
    }
}

/// The memory of an answer that its handler charged while it wrote it.
#[derive(Clone)]
struct Charged(Arc<Charge>);

/// A JSON answer with a list that may be large. It is written one element at a time and charged as it grows, so that a
/// list for which there is no memory is not in memory.
pub struct LargeList {
    charge: Charge,
    /// Parts of the answer whose bytes are charged.
    pieces: Vec<Bytes>,
    /// The part that is being written, not charged yet.
    open: Vec<u8>,
    is_empty: bool,
}

impl LargeList {
    /// Begins an object whose only field, of this name, is the list.
    pub fn new(memory: &BodyMemory, caller: Caller, field: &str) -> Self {
        let open = format!("{{\"{field}\":[").into_bytes();
        Self { charge: memory.charge(caller), pieces: Vec::new(), open, is_empty: true }
    }

    /// Adds an element.
    ///
    /// # Errors
    /// 503 when there is no memory for it.
    pub async fn push(&mut self, element: &impl Serialize) -> Result<(), ApiError> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.open.push(b',');
        }
        serde_json::to_writer(&mut self.open, element).map_err(ApiError::internal)?;
        if self.open.len() >= SHORT { self.charge_open().await } else { Ok(()) }
    }

    async fn charge_open(&mut self) -> Result<(), ApiError> {
        self.charge.take(self.open.len(), &mut PATIENCE.clone()).await?;
        // Without the spare capacity, which is not charged.
        self.pieces.push(std::mem::take(&mut self.open).into_boxed_slice().into());
        Ok(())
    }

    /// Ends the list and returns the answer.
    ///
    /// # Errors
    /// 503 when there is no memory for it.
    pub async fn finish(mut self) -> Result<Response, ApiError> {
        self.open.extend_from_slice(b"]}");
        self.charge_open().await?;
        let body = Body::new(Pieces(self.pieces.into_iter()));
        let json = HeaderValue::from_static("application/json");
        let mut response = ([(CONTENT_TYPE, json)], body).into_response();
        response.extensions_mut().insert(Charged(Arc::new(self.charge)));
        Ok(response)
    }
}

/// A body in pieces.
struct Pieces(std::vec::IntoIter<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Poll::Ready(self.0.next().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_slice().iter().map(|bytes| bytes.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::config::{Config, Source};
    use crate::domain::quota::CallerLimits;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    fn user(name: &str) -> Caller {
        Caller::User(name.into())
    }

    fn limits(requests_per_caller: &str) -> CallerLimits {
        let setting = |name: &str| {
            (name == "MAX_CONCURRENT_REQUESTS_PER_CALLER")
                .then(|| (requests_per_caller.to_owned(), Source::Environment))
        };
        let clock = ManualClock::new(datetime!(2026-03-02 09:15 UTC));
        CallerLimits::new(&Config::read(setting).unwrap().limits, Arc::new(clock))
    }

    /// Answers a request of this caller, and returns the status of a refusal.
    async fn answer(
        memory: &BodyMemory,
        limits: &CallerLimits,
        caller: &str,
        response: Response,
    ) -> Result<Response, u16> {
        let permit = limits.enter(&user(caller)).map_err(|_| 429_u16)?;
        hold(memory, &user(caller), permit, response).await.map_err(|error| error.status().as_u16())
    }

    fn of_bytes(count: usize) -> Response {
        vec![b'x'; count].into_response()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_charged_until_it_is_sent() {
        let (memory, limits) = (BodyMemory::new(64 * MIB), limits("32"));
        let response = answer(&memory, &limits, "ada", of_bytes(3 * MIB + 1)).await.unwrap();
        assert_eq!((memory.held(), response.body().size_hint().exact()), (3 * MIB + 1, Some(3 * MIB as u64 + 1)));
        let mut body = response.into_body();
        let mut sent = Vec::new();
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            assert!((1..=PIECE).contains(&bytes.len()), "{}", bytes.len());
            sent.push(bytes);
        }
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(memory.held(), 3 * MIB + 1, "the server has not written it yet");
        assert_eq!(sent.concat(), vec![b'x'; 3 * MIB + 1]);
        drop(sent);
        assert!(memory.held() == 0 && memory.has_no_shares());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_reads_are_bounded_and_others_get_theirs() {
        let (memory, limits) = (BodyMemory::new(64 * MIB), limits("32"));
        let mut unread = Vec::new();
        let refused = loop {
            match answer(&memory, &limits, "ada", of_bytes(2 * MIB)).await {
                Ok(response) => unread.push(response),
                Err(status) => break status,
            }
        };
        // The share of a caller, and one that may exceed it.
        assert_eq!((refused, unread.len(), memory.held()), (503, 5, 10 * MIB));
        let _others = answer(&memory, &limits, "eve", of_bytes(2 * MIB)).await.unwrap();
        let short = answer(&memory, &limits, "ada", of_bytes(SHORT)).await.unwrap();
        assert_eq!(short.status(), 200, "short ones are not charged");
        let free = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            drop(unread);
        };
        let (waited, ()) = tokio::join!(answer(&memory, &limits, "ada", of_bytes(2 * MIB)), free);
        assert!(waited.is_ok(), "one that waits gets what comes free");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_answer_counts_as_a_request_and_a_stream_does_not() {
        let (memory, limits) = (BodyMemory::new(64 * MIB), limits("2"));
        let respond = async |response| answer(&memory, &limits, "ada", response).await;
        let first = respond(of_bytes(10)).await.unwrap();
        let second = respond(of_bytes(MIB)).await.unwrap();
        assert_eq!(respond(of_bytes(10)).await.unwrap_err(), 429);
        assert!(answer(&memory, &limits, "eve", of_bytes(10)).await.is_ok());
        drop(first);
        let stream = || Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>()).into_response();
        let streams = [respond(stream()).await.unwrap(), respond(stream()).await.unwrap()];
        let third = respond(of_bytes(10)).await.unwrap();
        assert_eq!(respond(of_bytes(10)).await.unwrap_err(), 429);
        drop((second, third, streams));
        assert!(respond(of_bytes(10)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_list_is_charged_while_it_is_written() {
        let (memory, limits) = (BodyMemory::new(64 * MIB), limits("32"));
        let element = json!({ "notes": "x".repeat(100 * KIB) });
        let mut list = LargeList::new(&memory, user("ada"), "items");
        for _ in 0..5 {
            list.push(&element).await.unwrap();
        }
        assert!(memory.held() > 500 * KIB, "{}", memory.held());
        let charged = list.finish().await.unwrap();
        let before = memory.held();
        let response = answer(&memory, &limits, "ada", charged).await.unwrap();
        assert_eq!(memory.held(), before, "once");
        let size = response.body().size_hint().exact().unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((bytes.len() as u64, bytes.len()), (size, before));
        let list: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(list, json!({ "items": vec![element; 5] }));
        drop(bytes);
        assert_eq!(memory.held(), 0);
        let empty = LargeList::new(&memory, user("ada"), "items").finish().await.unwrap();
        assert_eq!(empty.into_body().collect().await.unwrap().to_bytes(), r#"{"items":[]}"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_without_memory_is_not_written() {
        let memory = BodyMemory::new(64 * MIB);
        let element = "x".repeat(MIB);
        let mut list = LargeList::new(&memory, user("ada"), "items");
        let refused = loop {
            if let Err(error) = list.push(&element).await {
                break error.status().as_u16();
            }
        };
        assert_eq!((refused, memory.held() / MIB), (500, 47), "it could never be sent");
        let mut other = LargeList::new(&memory, user("eve"), "items");
        let mut pushes = 0;
        while other.push(&element).now_or_never().is_some() {
            pushes += 1;
        }
        assert!((7..9).contains(&pushes), "{pushes}");
        drop(list);
        assert!(other.push(&element).await.is_ok());
    }
}
