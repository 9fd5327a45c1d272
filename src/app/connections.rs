//! Open connections: their limit, eviction and time-outs.
//!
//! The number is limited so that file descriptors remain for everything else. At the limit, a new connection replaces
//! the one that has been idle longest, among those of the address with the most connections. A connection with a
//! request in progress is never closed for another.
//!
//! A connection is closed when the head of a request does not arrive within `HEAD_LIMIT`, when no request arrives
//! within `IDLE_LIMIT`, and when the client reads nothing for `WRITE_LIMIT`.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::base::chain::Chain;

/// Time limit for the head of a request, from its first byte.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Time limit between requests. Longer than the minute for which proxies usually keep a connection, so that the proxy
/// closes it, rather than sending a request on a connection that is being closed here.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// Time within which a client must read something.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Interval of the search for overdue connections.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Delay before another attempt when no connection could be closed.
const NO_PLACE_PAUSE: Duration = Duration::from_millis(20);
/// File descriptors reserved for stores, blobs, and connections to other services.
const RESERVE: u64 = 64;
/// Interval between log lines about refused connections.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Raises the limit of open files to the hard limit and returns it.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            debug!(error = %Chain(&error), "limit of open files not raised");
            limit.current
        }
    }
    .unwrap_or(u64::MAX)
}

/// Number of connections under a limit of open files. The reserve exceeds half of a very low limit; then a quarter of
/// the files is for connections.
fn most_under(file_limit: u64) -> usize {
    usize::try_from(file_limit.saturating_sub(RESERVE).max(file_limit / 4)).unwrap_or(usize::MAX)
}

/// All open connections. Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Registry>);

struct Registry {
    begun: Instant,
    places: Arc<Semaphore>,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    connections: HashMap<u64, Arc<Connection>>,
    /// Number of connections by address.
    addresses: HashMap<IpAddr, usize>,
}

/// An open connection.
struct Connection {
    address: IpAddr,
    begun: Instant,
    /// [`BUSY`], [`CLOSING`], or twice the time in milliseconds since which it waits, plus one if part of a head has
    /// arrived.
    state: AtomicU64,
    /// Time in milliseconds since which the client reads nothing; 0 if it does.
    blocked: AtomicU64,
    close: Notify,
}

/// A request is in progress.
const BUSY: u64 = u64::MAX;
/// The connection is being closed and accepts no more requests.
const CLOSING: u64 = u64::MAX - 1;

impl Connections {
    /// Creates a registry for at most `most` connections, or fewer under a low limit of open files. One address may
    /// have half of them, unless all callers come through a proxy.
    pub fn new(most: usize, file_limit: u64, through_proxy: bool) -> Self {
        let most = most.min(most_under(file_limit)).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Registry {
            begun: Instant::now(),
            places: Arc::new(Semaphore::new(most)),
            most_per_address: if through_proxy { most } else { most.div_ceil(2) },
            open: Mutex::default(),
        }))
    }

    /// Waits for a place for a new connection, closing another one if necessary. `None` if the address has its maximum,
    /// all with requests in progress.
    pub async fn admit(&self, address: IpAddr) -> Option<Place> {
        let registry = &self.0;
        let is_over =
            registry.open.lock().addresses.get(&address).is_some_and(|count| *count >= registry.most_per_address);
        if is_over && !registry.make_way(Some(address)) {
            return None;
        }
        let permit = loop {
            if let Ok(permit) = registry.places.clone().try_acquire_owned() {
                break permit;
            }
            registry.make_way(None);
            if let Ok(permit) = timeout(NO_PLACE_PAUSE, registry.places.clone().acquire_owned()).await {
                break permit.expect("nobody closes the semaphore");
            }
        };
        Some(registry.clone().place(address, permit))
    }

    /// Closes a connection to free a file descriptor.
    pub fn make_way(&self) {
        self.0.make_way(None);
    }

    /// Closes overdue connections, forever.
    pub async fn close_overdue(self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = self.0.begun.elapsed();
            for connection in self.0.open.lock().connections.values().filter(|connection| connection.is_overdue(now)) {
                connection.close();
            }
        }
    }
}

impl Registry {
    fn place(self: Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Place {
        let connection = Arc::new(Connection {
            address,
            begun: self.begun,
            state: AtomicU64::new(waiting_since(self.begun.elapsed())),
            blocked: AtomicU64::new(0),
            close: Notify::new(),
        });
        let mut open = self.open.lock();
        let id = open.next_id;
        open.next_id += 1;
        open.connections.insert(id, connection.clone());
        *open.addresses.entry(address).or_default() += 1;
        drop(open);
        Place { id, connection, registry: self, _permit: permit }
    }

    /// Closes the connection that has been idle longest, of this address or of the address with the most connections.
    /// Returns whether there was one.
    fn make_way(&self, address: Option<IpAddr>) -> bool {
        let open = self.open.lock();
        let mut waiting: Vec<_> = open
            .connections
            .values()
            .filter(|connection| address.is_none_or(|address| connection.address == address))
            .filter_map(|connection| {
                let state = connection.state.load(Ordering::Acquire);
                let rank = open.addresses.get(&connection.address).copied().unwrap_or_default();
                (state < CLOSING).then_some((std::cmp::Reverse(rank), state, connection))
            })
            .collect();
        // Some may have started a request meanwhile.
        waiting.sort_unstable_by_key(|(rank, state, _)| (*rank, *state));
        waiting.into_iter().any(|(_, state, connection)| connection.close_if(state))
    }
}

fn waiting_since(time: Duration) -> u64 {
    millis(time) << 1
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or_default().max(1)
}

impl Connection {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Closes the connection if its state is unchanged.
    fn close_if(&self, state: u64) -> bool {
        let changed = self.state.compare_exchange(state, CLOSING, Ordering::AcqRel, Ordering::Relaxed);
        if changed.is_ok() {
            self.close.notify_one();
        }
        changed.is_ok()
    }

    fn close(&self) {
        self.state.store(CLOSING, Ordering::Release);
        self.close.notify_one();
    }

    /// Whether the client has exceeded a time limit.
    fn is_overdue(&self, now: Duration) -> bool {
        let over = |since: u64, limit: Duration| now.saturating_sub(Duration::from_millis(since)) >= limit;
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && over(blocked, WRITE_LIMIT) {
            return true;
        }
        match self.state.load(Ordering::Relaxed) {
            BUSY | CLOSING => false,
            state if state & 1 == 1 => over(state >> 1, HEAD_LIMIT),
            state => over(state >> 1, IDLE_LIMIT),
        }
    }

    /// Records that something was read.
    fn has_read(&self) {
        let state = self.state.load(Ordering::Relaxed);
        if state < CLOSING && state & 1 == 0 {
            let begun = waiting_since(self.now()) | 1;
            // Fails when it is being closed.
            self.state.compare_exchange(state, begun, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
    }

    fn has_written(&self, is_pending: bool) {
        let blocked = self.blocked.load(Ordering::Relaxed);
        if is_pending && blocked == 0 {
            self.blocked.store(millis(self.now()), Ordering::Relaxed);
        } else if !is_pending && blocked != 0 {
            self.blocked.store(0, Ordering::Relaxed);
        }
    }
}

/// Place of an open connection; released on drop.
pub struct Place {
    id: u64,
    connection: Arc<Connection>,
    registry: Arc<Registry>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Resolves when the connection must be closed.
    pub async fn closed(&self) {
        self.connection.close.notified().await;
    }

    /// Returns the handle by which requests report to the connection.
    pub fn requests(&self) -> Requests {
        Requests(self.connection.clone())
    }

    /// Wraps the connection's stream.
    pub fn watch<S>(&self, stream: S) -> WatchedStream<S> {
        WatchedStream { stream, connection: self.connection.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock();
        open.connections.remove(&self.id);
        let address = self.connection.address;
        if let Some(count) = open.addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&address);
            }
        }
    }
}

/// Reports requests to a connection.
#[derive(Clone)]
pub struct Requests(Arc<Connection>);

impl Requests {
    /// Begins a request, which ends when the returned guard is dropped. `None` if the connection is being closed; the
    /// request must then not be processed.
    pub fn begin(&self) -> Option<UnderWay> {
        let begun =
            self.0.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| (state != CLOSING).then_some(BUSY));
        begun.is_ok().then(|| UnderWay(self.0.clone()))
    }
}

/// A request in progress.
pub struct UnderWay(Arc<Connection>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let waiting = waiting_since(self.0.now());
        // Fails when it is being closed.
        self.0.state.compare_exchange(BUSY, waiting, Ordering::AcqRel, Ordering::Relaxed).ok();
    }
}

pin_project! {
    /// A response body that ends its request when it ends.
    pub struct LastOf<B> {
        #[pin]
        body: B,
        under_way: Option<UnderWay>,
    }
}

impl<B> LastOf<B> {
    /// Wraps a body; the request is in progress until it has been sent.
    pub fn new(body: B, under_way: UnderWay) -> Self {
        Self { body, under_way: Some(under_way) }
    }
}

impl<B: Body> Body for LastOf<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A stream that reports reads and blocked writes to its connection.
    pub struct WatchedStream<S> {
        #[pin]
        stream: S,
        connection: Arc<Connection>,
    }
}

impl<S: AsyncRead> AsyncRead for WatchedStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        let read = this.stream.poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.connection.has_read();
        }
        read
    }
}

impl<S: AsyncWrite> AsyncWrite for WatchedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.stream.poll_write(context, bytes);
        this.connection.has_written(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.stream.poll_write_vectored(context, pieces);
        this.connection.has_written(written.is_pending());
        written
    }
}

/// Whether a connection could not be accepted because of the limit of open files.
pub fn is_out_of_files(error: &io::Error) -> bool {
    let errors = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    errors.into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Logs connections that were not accepted, summarised.
#[derive(Default)]
pub struct Refusals {
    said: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// Counts a connection that was not accepted.
    pub fn note(&mut self, error: &io::Error) {
        self.since += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            warn!(error = %Chain(error), count = self.since, "connection not accepted");
            *self = Self { said: Some(Instant::now()), since: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn is_closed(place: &Place) -> bool {
        timeout(Duration::ZERO, place.closed()).await.is_ok()
    }

    #[test]
    fn files_are_left_for_the_rest() {
        assert_eq!(most_under(1024), 960);
        assert_eq!(most_under(64), 16);
        assert_eq!(most_under(0), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_of_the_greediest_makes_way() {
        let connections = Connections::new(6, u64::MAX, true);
        let mut places = Vec::new();
        for address in [ip(1), ip(2), ip(2), ip(2), ip(3), ip(3)] {
            places.push(connections.admit(address).await.unwrap());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // The first connection of the address with the most has a request.
        let under_way = places[1].requests().begin().unwrap();
        let (new, ()) = tokio::join!(connections.admit(ip(4)), async {
            places[2].closed().await;
            places.remove(2);
        });
        let new = new.unwrap();
        assert!(!is_closed(&places[0]).await && !is_closed(&places[1]).await);
        drop((under_way, new));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_half_of_the_places_and_requests_are_not_cut() {
        let connections = Connections::new(4, u64::MAX, false);
        let places = [connections.admit(ip(1)).await.unwrap(), connections.admit(ip(1)).await.unwrap()];
        let busy: Vec<_> = places.iter().map(|place| place.requests().begin().unwrap()).collect();
        assert!(connections.admit(ip(1)).await.is_none());
        assert!(connections.admit(ip(2)).await.is_some());
        drop(busy);
        assert!(connections.admit(ip(1)).await.is_some(), "one of its own makes way");
        assert!(is_closed(&places[0]).await || is_closed(&places[1]).await);
        let open = places.iter().filter(|place| place.requests().begin().is_some()).count();
        assert_eq!(open, 1, "no request begins on a connection that is being closed");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_wait_too_long_are_overdue() {
        let connections = Connections::new(4, u64::MAX, false);
        let place = connections.admit(ip(1)).await.unwrap();
        let connection = &place.connection;
        let is_overdue = || connection.is_overdue(connection.now());
        tokio::time::advance(Duration::from_secs(74)).await;
        assert!(!is_overdue(), "nothing came yet");
        connection.has_read();
        tokio::time::advance(Duration::from_secs(9)).await;
        connection.has_read();
        assert!(!is_overdue());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_overdue(), "more of the head gives it no more time");
        let request = place.requests().begin().unwrap();
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert!(!is_overdue(), "requests have limits of their own");
        connection.has_written(true);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(is_overdue(), "nobody reads the answer");
        connection.has_written(false);
        drop(request);
        assert!(!is_overdue());
        tokio::time::advance(Duration::from_secs(75)).await;
        assert!(is_overdue(), "no other request came");
    }
}
