//! Bounds on request bodies, applied before any parser sees a byte. [`bound_body`] wraps every group of routes and
//! gives each request that has a body an [`Account`]. The body then streams through it:
//! - The body may have as many bytes as the group allows, by default [`DEFAULT_LIMIT`]. More is a 413.
//! - It must keep arriving at `SLOWEST_RATE`, with `GRACE` to spare. A slower one is a 408.
//! - Bytes are charged to [`BodyMemory`], one budget for the whole process in which each caller has a share, as they
//!   arrive and not as they are announced. A body for which there is no memory waits for at most `PATIENCE` in total
//!   and is then a 503. Memory is released when the handler has answered and no copy of the bytes is
//!   [held](Account::hold).
//!
//! A body that breaks a bound ends with a [`Refusal`] for its reader. Parsers wrap such errors in their own, so
//! [`bound_body`] answers with the refusal's status whatever the handler returned.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::limits::address_of;
use crate::domain::quota::Caller;
use crate::domain::quota::body_memory::{BodyMemory, Charge, NoRoom};
use crate::http::error::ApiError;
use crate::http::extract::announced_length;
use crate::state::AppState;

/// Default limit of a body, in bytes.
pub const DEFAULT_LIMIT: usize = 64 * 1024;
/// How far a body may fall behind `SLOWEST_RATE`; also the longest pause.
const GRACE: Duration = Duration::from_secs(10);
/// Slowest average rate of a body, in bytes per second.
const SLOWEST_RATE: u32 = 64 * 1024;
/// How long a body may wait for memory in total.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body was not read completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body exceeds the limit.
    #[error("the body is too large")]
    TooLarge,
    /// The body arrived too slowly.
    #[error("the body arrived too slowly")]
    TooSlow,
    /// Not enough memory was available.
    #[error("not enough memory for the body")]
    NoMemory,
    /// The connection broke.
    #[error("the body ended early")]
    Broken,
}

impl Refusal {
    /// Finds the refusal among the causes of a reader's error.
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref() {
                return Some(*refusal);
            }
            next = error.source();
        }
        None
    }
}

impl From<NoRoom> for Refusal {
    fn from(reason: NoRoom) -> Self {
        match reason {
            NoRoom::TooLarge => Self::TooLarge,
            NoRoom::TimedOut => Self::NoMemory,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::TooSlow => Self::BodyTooSlow,
            Refusal::NoMemory => Self::Overloaded,
            // The caller disconnected and will not read this answer.
            Refusal::Broken => Self::BadRequest("The request body could not be read."),
        }
    }
}

/// Limit and memory of one request's body. Clones share them.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    charge: Charge,
    announced: Option<usize>,
    limit: usize,
    refusal: OnceLock<Refusal>,
}

impl Account {
    fn new(memory: &BodyMemory, caller: Caller, announced: Option<usize>, limit: usize) -> Self {
        Self(Arc::new(Inner { charge: memory.charge(caller), announced, limit, refusal: OnceLock::new() }))
    }

    /// Charges the body's memory to this caller from now on; before, it is charged to the address.
    pub fn charge_to(&self, caller: &Caller) {
        self.0.charge.move_to(caller);
    }

    /// Charges memory for data derived from the body; it is released together with the body's own.
    ///
    /// # Errors
    /// 503 when memory stays unavailable, 413 when the amount could never be available.
    pub async fn charge(&self, bytes: usize) -> Result<(), ApiError> {
        Ok(self.0.charge.take(bytes, &mut PATIENCE.clone()).await.map_err(Refusal::from)?)
    }

    /// Returns the bytes; their memory stays charged until the last copy is dropped.
    pub fn hold(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _account: self.clone() })
    }

    fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }

    /// Applies the limits to a body.
    fn bound(self, body: Body) -> Body {
        let reader = Reader { body, account: self, received: 0, deadline: None, patience: PATIENCE };
        Body::from_stream(stream::unfold(Some(reader), async |reader| {
            let mut reader = reader?;
            match reader.next().await {
                Ok(piece) => piece.map(|piece| (Ok(piece), Some(reader))),
                Err(refusal) => {
                    // Only the first refusal counts.
                    reader.account.0.refusal.get_or_init(|| refusal);
                    Some((Err(refusal), None))
                }
            }
        }))
    }
}

struct Held {
    bytes: Bytes,
    _account: Account,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body within its limits.
struct Reader {
    body: Body,
    account: Account,
    received: usize,
    /// Deadline of the next chunk; set at the first poll.
    deadline: Option<Instant>,
    patience: Duration,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let account = &self.account.0;
        if account.announced.is_some_and(|announced| announced > account.limit) {
            return Err(Refusal::TooLarge);
        }
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + GRACE);
        let piece = loop {
            match timeout_at(deadline, self.body.frame()).await {
                Err(_) => return Err(Refusal::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Broken),
                Ok(Some(Ok(frame))) => {
                    // Trailers do not count.
                    if let Ok(piece) = frame.into_data() {
                        break piece;
                    }
                }
            }
        };
        self.received += piece.len();
        if self.received > account.limit {
            return Err(Refusal::TooLarge);
        }
        account.charge.take(piece.len(), &mut self.patience).await?;
        // Fast senders earn time, but at most the grace period, or a body could pause for minutes near its end.
        let earned = Duration::from_secs(1) * u32::try_from(piece.len()).unwrap_or(u32::MAX) / SLOWEST_RATE;
        self.deadline = Some((deadline + earned).min(Instant::now() + GRACE));
        Ok(Some(piece))
    }
}

/// Layer that limits the bodies of a group of routes to `limit` bytes. It must be outside everything that reads them.
pub async fn bound_body(State((app, limit)): State<(AppState, usize)>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let address = address_of(&app.limits, request.headers(), request.extensions().get());
    let account = Account::new(&app.bodies, Caller::Address(address), announced_length(request.headers()), limit);
    let mut request = request.map(|body| account.clone().bound(body));
    request.extensions_mut().insert(account.clone());
    // The account is held while the handler uses the body or data derived from it.
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let refusal = account.refusal().map(ApiError::from);
    let refusal = refusal.filter(|refusal| is_error && refusal.status() != response.status());
    refusal.map_or(response, ApiError::into_response)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::HeaderMap;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn user(name: &str) -> Caller {
        Caller::User(name.into())
    }

    fn account(memory: &BodyMemory, caller: Caller) -> Account {
        Account::new(memory, caller, None, DEFAULT_LIMIT)
    }

    async fn charge(account: &Account, bytes: usize) -> Result<(), u16> {
        account.charge(bytes).await.map_err(|error| error.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_share_and_one_body_that_may_outgrow_it() {
        let memory = BodyMemory::new(64 * MIB);
        let (first, second, third) =
            (account(&memory, user("ada")), account(&memory, user("ada")), account(&memory, user("ada")));
        assert_eq!(charge(&first, 7 * MIB).await, Ok(()));
        assert_eq!(charge(&second, 20 * MIB).await, Ok(()), "one may");
        assert_eq!(charge(&third, MIB).await, Ok(()), "the share is not touched by it");
        assert_eq!(charge(&first, MIB).await, Err(503), "a second one may not");
        assert_eq!(charge(&account(&memory, user("eve")), 8 * MIB).await, Ok(()), "others have theirs");
        drop(second);
        assert_eq!(charge(&first, 20 * MIB).await, Ok(()));
        drop((first, third));
        assert_eq!(memory.held(), 0);
        assert!(memory.has_no_shares());
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_leave_memory_to_small_ones() {
        let memory = BodyMemory::new(64 * MIB);
        let large = ["ada", "eve"].map(|name| account(&memory, user(name)));
        for account in &large {
            assert_eq!(charge(account, 24 * MIB).await, Ok(()));
        }
        let bob = account(&memory, user("bob"));
        assert_eq!(charge(&bob, 9 * MIB).await, Err(503));
        assert_eq!(charge(&bob, 8 * MIB).await, Ok(()));
        assert_eq!(charge(&account(&memory, user("dan")), MIB).await, Err(503), "an eighth is for ordinary requests");
        assert_eq!(charge(&account(&memory, user("dan")), 64 * 1024).await, Ok(()), "as this one");
        assert_eq!(charge(&account(&memory, user("dan")), 49 * MIB).await, Err(413), "it could never fit");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_that_comes_free_goes_to_who_waits() {
        let memory = BodyMemory::new(40 * MIB);
        let first = account(&memory, user("ada"));
        assert_eq!(charge(&first, 30 * MIB).await, Ok(()));
        let second = account(&memory, user("eve"));
        let free = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop(first);
        };
        let (taken, ()) = tokio::join!(charge(&second, 20 * MIB), free);
        assert_eq!(taken, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_address_sent_becomes_the_user_s() {
        let memory = BodyMemory::new(64 * MIB);
        let address = Caller::Address([192, 0, 2, 7].into());
        let moved = account(&memory, address.clone());
        assert_eq!(charge(&moved, 9 * MIB).await, Ok(()));
        moved.charge_to(&user("ada"));
        assert_eq!(charge(&account(&memory, address), 9 * MIB).await, Ok(()), "it has no large body any more");
        drop(moved);
        assert_eq!(memory.held(), 0);
        assert!(memory.has_no_shares());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_held_stay_charged() {
        let memory = BodyMemory::new(64 * MIB);
        let account = account(&memory, user("ada"));
        let body = account.clone().bound(Body::from("0123456789"));
        let bytes = body.collect().await.unwrap().to_bytes();
        let (held, copy) = (account.hold(bytes.clone()), bytes);
        drop((account, copy));
        assert_eq!((memory.held(), held.len()), (10, 10));
        drop(held.clone());
        assert_eq!(memory.held(), 10);
        drop(held);
        assert_eq!(memory.held(), 0);
    }

    /// Sends pieces of these sizes, each after a pause in seconds, and returns how the body ended and when.
    async fn send(limit: usize, pieces: Vec<(u64, usize)>) -> (Option<Refusal>, u64) {
        let memory = BodyMemory::new(64 * MIB);
        let account = Account::new(&memory, user("ada"), None, limit);
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        let mut body = account.clone().bound(Body::from_stream(ReceiverStream::new(receiver))).into_data_stream();
        let begun = Instant::now();
        let sending = async move {
            for (pause, size) in pieces {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if sender.send(Ok(Bytes::from(vec![0; size]))).await.is_err() {
                    return;
                }
            }
            // The connection stays open until the body ends or is refused.
            sender.closed().await;
        };
        let reading = async {
            while let Some(Ok(_)) = body.next().await {}
            drop(body);
            begun.elapsed().as_secs()
        };
        let ((), ended) = tokio::join!(sending, reading);
        (account.refusal(), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_keep_coming() {
        let slow = Some(Refusal::TooSlow);
        assert_eq!(send(MIB, vec![]).await, (slow, 10), "nothing comes");
        assert_eq!(send(MIB, vec![(1, 1); 1000]).await, (slow, 10), "a byte a second");
        // 32 KiB a second earn half a second each.
        let (refusal, ended) = send(MIB, vec![(1, 32 * 1024); 32]).await;
        assert!(refusal == slow && (18..=21).contains(&ended), "{refusal:?} after {ended} s");
        let fast_then_nothing = vec![(0, 64 * 1024); 300];
        assert_eq!(send(28 * MIB, fast_then_nothing).await, (slow, 10), "speed is not saved up");
        let steady = send(MIB, vec![(1, 64 * 1024); 17]).await;
        assert_eq!(steady, (Some(Refusal::TooLarge), 17), "the rate itself is fast enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_at_its_limit() {
        assert_eq!(send(100, vec![(0, 100), (0, 1)]).await, (Some(Refusal::TooLarge), 0));
        let memory = BodyMemory::new(64 * MIB);
        let announced = Account::new(&memory, user("ada"), Some(101), 100);
        let mut body = announced.clone().bound(Body::from("x"));
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!((announced.refusal(), memory.held()), (Some(Refusal::TooLarge), 0));
        let fits = Account::new(&memory, user("ada"), Some(100), 100).bound(Body::from(vec![0; 100]));
        assert_eq!(fits.collect().await.unwrap().to_bytes().len(), 100);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let memory = BodyMemory::new(64 * MIB);
        let account = account(&memory, user("ada"));
        let pieces = [Ok(Bytes::from_static(b"[1,")), Err("connection reset")];
        let mut body = account.clone().bound(Body::from_stream(stream::iter(pieces))).into_data_stream();
        assert!(body.next().await.unwrap().is_ok());
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!((Refusal::behind(&error), account.refusal()), (Some(Refusal::Broken), Some(Refusal::Broken)));
        assert!(body.next().await.is_none());
        assert_eq!(Refusal::behind(&std::io::Error::other("another fault")), None);
    }

    #[tokio::test]
    async fn trailers_are_no_part_of_a_body() {
        let memory = BodyMemory::new(64 * MIB);
        let account = Account::new(&memory, user("ada"), None, 2);
        let trailers = [Frame::trailers(HeaderMap::new()), Frame::data(Bytes::from_static(b"{}"))];
        let body = StreamBody::new(stream::iter(trailers.map(Ok::<_, Infallible>)));
        let body = account.clone().bound(Body::new(body));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
    }

    #[test]
    fn each_refusal_has_its_status() {
        for (refusal, status) in
            [(Refusal::TooLarge, 413), (Refusal::TooSlow, 408), (Refusal::NoMemory, 503), (Refusal::Broken, 400)]
        {
            assert_eq!(ApiError::from(refusal).status().as_u16(), status, "{refusal}");
        }
    }
}
