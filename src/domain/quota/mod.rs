//! Limits per caller: requests per minute by kind of route, concurrent requests and chat streams, memory for bodies;
//! and concurrent requests in total.
//!
//! They hold per instance, to keep one caller from starving others. Token budgets are stored and hold across instances
//! ([`budget`](super::budget)).

pub mod body_memory;
mod refusals;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

pub use self::refusals::Attempt;
use self::refusals::Refusals;
use crate::base::clock::Clock;
use crate::config;
use crate::model::ids::UserId;

/// Window of all quotas, in seconds.
pub const WINDOW_SECONDS: u32 = 60;
/// Requests after which callers with a full quota are dropped.
const TIDY_EVERY: u32 = 4096;

/// The caller exceeded a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Too many requests of a kind per minute.
    #[error("the quota is used up")]
    Rate {
        /// Time until the next request is allowed.
        retry_after: Duration,
        /// What remains of the quota: nothing.
        remainder: Remainder,
    },
    /// Too many rejected credentials per minute.
    #[error("too many credentials were rejected")]
    Rejections {
        /// Time until the next credential is checked.
        retry_after: Duration,
    },
    /// Too many concurrent requests.
    #[error("too many requests are in progress")]
    Requests,
    /// Too many open chat streams.
    #[error("too many streams are open")]
    Streams,
}

/// A kind of route with its own quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum QuotaKind {
    /// Sign-in, refresh and sign-out.
    Auth,
    /// Calls to a model.
    Model,
    /// Picture uploads of users.
    Upload,
    /// Picture uploads of services, and of callers without a credential where that is allowed.
    ServiceUpload,
    /// Posts submitted to the feed.
    Ingest,
    /// Everything else.
    #[strum(serialize = "requests")]
    Other,
}

impl QuotaKind {
    const ALL: [Self; 6] = [Self::Auth, Self::Model, Self::Upload, Self::ServiceUpload, Self::Ingest, Self::Other];

    /// Returns the name of the quota in headers.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// The owner of a quota or share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// An authenticated user.
    User(UserId),
    /// An address without a known user.
    Address(IpAddr),
    /// All authenticated services together; they call for many users.
    Service,
}

/// Adapts our clock to the rate limiter.
#[derive(Clone)]
struct Ticks {
    clock: Arc<dyn Clock>,
    begin: Instant,
}

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let since_begin = self.clock.instant().saturating_duration_since(self.begin);
        u64::try_from(since_begin.as_nanos()).unwrap_or(u64::MAX).into()
    }
}

type Limiter = RateLimiter<Caller, DashMapStateStore<Caller>, Ticks, StateInformationMiddleware>;

/// Quota of one kind of route.
struct Meter {
    limiter: Limiter,
    /// Requests per minute.
    per_minute: u32,
    /// Requests so far; determines when to clean up.
    counted: AtomicU32,
}

/// All limits of this instance. Cheap to clone.
#[derive(Clone)]
pub struct CallerLimits(Arc<Parts>);

struct Parts {
    /// Quotas in the order of [`QuotaKind::ALL`]; `None` without a limit.
    meters: [Option<Meter>; 6],
    ticks: Ticks,
    refusals: Option<Refusals>,
    streams: Mutex<HashMap<UserId, u32>>,
    streams_per_user: u32,
    /// Concurrent requests by the caller's hash, which needs no allocation.
    under_way: Mutex<HashMap<u64, u32>>,
    hasher: RandomState,
    concurrent_requests_per_caller: u32,
    requests: Arc<Semaphore>,
    /// Whether a trusted proxy sets `X-Forwarded-For`.
    trusts_proxy: bool,
    /// Whether a warning about an untrusted `X-Forwarded-For` was logged.
    warned_of_proxy: AtomicBool,
}

impl CallerLimits {
    /// Creates the limits.
    pub fn new(settings: &config::Limits, clock: Arc<dyn Clock>) -> Self {
        let refusals = NonZeroU32::new(settings.refusals_per_minute).filter(|_| settings.enabled);
        let refusals = refusals.map(|quota| Refusals::new(quota, clock.clone()));
        let ticks = Ticks { begin: clock.instant(), clock };
        let meters = QuotaKind::ALL.map(|kind| {
            let per_minute = match kind {
                QuotaKind::Auth => settings.auth_per_minute,
                QuotaKind::Model => settings.model_per_minute,
                QuotaKind::Upload => settings.uploads_per_minute,
                QuotaKind::ServiceUpload => settings.service_uploads_per_minute,
                QuotaKind::Ingest => settings.ingest_per_minute,
                QuotaKind::Other => settings.requests_per_minute,
            };
            let quota = NonZeroU32::new(per_minute).filter(|_| settings.enabled)?;
            let store = DashMapStateStore::default();
            let limiter: Limiter = RateLimiter::new(Quota::per_minute(quota), store, ticks.clone());
            Some(Meter { limiter, per_minute, counted: AtomicU32::new(0) })
        });
        let requests = if settings.enabled { settings.concurrent_requests } else { Semaphore::MAX_PERMITS };
        Self(Arc::new(Parts {
            meters,
            ticks,
            refusals,
            streams: Mutex::default(),
            streams_per_user: if settings.enabled { settings.streams_per_user } else { u32::MAX },
            under_way: Mutex::default(),
            hasher: RandomState::new(),
            concurrent_requests_per_caller: if settings.enabled {
                settings.concurrent_requests_per_caller
            } else {
                u32::MAX
            },
            requests: Arc::new(Semaphore::new(requests)),
            trusts_proxy: settings.trusts_proxy,
            warned_of_proxy: AtomicBool::new(false),
        }))
    }

    fn meter(&self, kind: QuotaKind) -> Option<&Meter> {
        let position = QuotaKind::ALL.iter().position(|known| *known == kind)?;
        self.0.meters[position].as_ref()
    }

    /// Counts a request and returns what remains of the quota; `None` without one.
    ///
    /// # Errors
    /// When the quota is exceeded.
    pub fn count(&self, kind: QuotaKind, caller: &Caller) -> Result<Option<Remainder>, Exceeded> {
        let Some(meter) = self.meter(kind) else { return Ok(None) };
        if meter.counted.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            meter.limiter.retain_recent();
        }
        match meter.limiter.check_key(caller) {
            Ok(snapshot) => Ok(Some(Remainder::new(kind, meter.per_minute, &snapshot))),
            Err(refusal) => {
                let quota = meter.per_minute;
                let remainder = Remainder { kind, quota, left: 0, full_after_seconds: WINDOW_SECONDS.into() };
                Err(Exceeded::Rate { retry_after: refusal.wait_time_from(self.0.ticks.now()), remainder })
            }
        }
    }

    /// Counts a concurrent request until the permit is dropped.
    ///
    /// # Errors
    /// When the caller has too many.
    pub fn enter(&self, caller: &Caller) -> Result<RequestPermit, Exceeded> {
        let caller_hash = self.0.hasher.hash_one(caller);
        let mut under_way = self.0.under_way.lock();
        let count = under_way.entry(caller_hash).or_default();
        if *count >= self.0.concurrent_requests_per_caller && *caller != Caller::Service {
            return Err(Exceeded::Requests);
        }
        *count += 1;
        Ok(RequestPermit { limits: self.clone(), caller_hash })
    }

    /// Counts an open chat stream until the permit is dropped.
    ///
    /// # Errors
    /// When the user has too many.
    pub fn open_stream(&self, user: &UserId) -> Result<StreamPermit, Exceeded> {
        let mut streams = self.0.streams.lock();
        let open = streams.entry(user.clone()).or_default();
        if *open >= self.0.streams_per_user {
            return Err(Exceeded::Streams);
        }
        *open += 1;
        Ok(StreamPermit { limits: self.clone(), user: user.clone() })
    }

    /// Reserves one check of a credential for an address; `None` without a limit.
    ///
    /// # Errors
    /// When too many credentials from there were rejected recently. The credential must not be checked then.
    pub fn begin_check(&self, address: IpAddr) -> Result<Option<Attempt>, Exceeded> {
        let Some(refusals) = &self.0.refusals else { return Ok(None) };
        refusals.begin(address).map(Some).map_err(|retry_after| Exceeded::Rejections { retry_after })
    }

    /// Counts a concurrent request of the process; `None` when there are too many.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.requests.clone().try_acquire_owned().ok()
    }

    /// Returns the caller's address: the last one in `X-Forwarded-For` if the proxy is trusted, else the peer's.
    pub fn address(&self, forwarded_for: Option<&str>, peer: Option<IpAddr>) -> IpAddr {
        let forwarded = if self.0.trusts_proxy {
            forwarded_for.and_then(|all| parse_address(all.rsplit(',').next()?.trim()))
        } else {
            if forwarded_for.is_some() && !self.0.warned_of_proxy.swap(true, Ordering::Relaxed) {
                warn!(
                    "X-Forwarded-For is set but not trusted: all callers behind the proxy share the quotas of one \
                     address; set TRUST_X_FORWARDED_FOR=true if the service can be reached only through that proxy"
                );
            }
            None
        };
        // Only tests make requests without a connection.
        subscriber(forwarded.or(peer).unwrap_or(IpAddr::from([127, 0, 0, 1])))
    }
}

/// Returns the address that represents a subscriber: the /64 network for IPv6, and IPv4 for IPv4-mapped addresses
/// (`::ffff:203.0.113.7`).
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Parses an address with or without a port, which Azure's front ends add.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or(text);
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bare.parse().ok())
}

/// Permit of a concurrent request.
pub struct RequestPermit {
    limits: CallerLimits,
    caller_hash: u64,
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let mut under_way = self.limits.0.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.caller_hash) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.caller_hash);
            }
        }
    }
}

/// Permit of an open chat stream.
pub struct StreamPermit {
    limits: CallerLimits,
    user: UserId,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut streams = self.limits.0.streams.lock();
        if let Some(open) = streams.get_mut(&self.user) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.user);
            }
        }
    }
}

/// What remains of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remainder {
    /// Kind of route.
    pub kind: QuotaKind,
    /// Requests allowed per [`WINDOW_SECONDS`].
    pub quota: u32,
    /// Requests remaining.
    pub left: u32,
    /// Seconds until the quota is full.
    pub full_after_seconds: u64,
}

impl Remainder {
    fn new(kind: QuotaKind, quota: u32, snapshot: &StateSnapshot) -> Self {
        let left = snapshot.remaining_burst_capacity();
        let used = snapshot.quota().burst_size().get().saturating_sub(left);
        let full_after = snapshot.quota().replenish_interval() * used;
        let full_after_seconds = full_after.as_secs() + u64::from(full_after.subsec_nanos() > 0);
        Self { kind, quota, left, full_after_seconds }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::base::clock::ManualClock;

    fn limits(name: &str, value: &str) -> (CallerLimits, Arc<ManualClock>) {
        let lookup = |asked: &str| (asked == name).then(|| (value.to_owned(), config::Source::Environment));
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        (CallerLimits::new(&config::Config::read(lookup).unwrap().limits, clock.clone()), clock)
    }

    #[test]
    fn a_quota_is_full_after_a_whole_number_of_seconds_rounded_up() {
        let (limits, _clock) = limits("RATE_LIMIT_REQUESTS_PER_MINUTE", "7");
        let seconds: Vec<_> = (0..7)
            .map(|_| limits.count(QuotaKind::Other, &Caller::Service).unwrap().unwrap().full_after_seconds)
            .collect();
        assert_eq!(seconds, [9, 18, 26, 35, 43, 52, 60]);
    }

    #[test]
    fn callers_with_a_full_quota_take_no_memory() {
        let (limits, clock) = limits("RATE_LIMIT_REQUESTS_PER_MINUTE", "1");
        let count = |number: u32| limits.count(QuotaKind::Other, &Caller::Address(IpAddr::from(number.to_be_bytes())));
        let known = || limits.meter(QuotaKind::Other).unwrap().limiter.len();
        for number in 1..TIDY_EVERY {
            count(number).unwrap();
        }
        assert_eq!(known(), TIDY_EVERY as usize - 1);
        clock.advance(Duration::from_secs(121));
        count(0).unwrap();
        assert_eq!(known(), 1);
    }

    #[test]
    fn a_stream_that_ends_leaves_the_others_counted() {
        let (limits, _clock) = limits("CHAT_STREAMS_PER_USER", "2");
        let ada = UserId::from("ada");
        let (first, second) = (limits.open_stream(&ada).unwrap(), limits.open_stream(&ada).unwrap());
        drop(first);
        let third = limits.open_stream(&ada).unwrap();
        assert!(limits.open_stream(&ada).is_err());
        drop((second, third));
        assert!(limits.0.streams.lock().is_empty());
    }

    #[test]
    fn addresses_come_with_and_without_ports() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(parse_address(text), expected.parse().ok(), "{text}");
        }
        for broken in ["", "unknown", "_hidden", "203.0.113", "203.0.113.7:port"] {
            assert_eq!(parse_address(broken), None, "{broken}");
        }
    }

    #[test]
    fn addresses_of_one_subscriber_are_one() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(subscriber(text.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{text}");
        }
    }
}
