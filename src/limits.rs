//! How much of the service one caller may have: requests per minute by kind of route, requests and chat streams at the same
//! time, and requests of everybody together.
//!
//! These hold per instance: they keep a greedy caller from taking it from the others. What a user may spend on models in a
//! day holds for all instances together and is kept in the store (`domain/budget.rs`).

mod refusals;

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use governor::clock::Clock as _;
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::Semaphore;
use tower::Service;
use tracing::warn;

use crate::auth::CurrentUser;
use crate::bodies::Account;
use crate::clock::Clock;
use crate::config;
use crate::error::ApiError;
use crate::model::ids::UserId;
use crate::state::AppState;
use refusals::{Attempt, Refusals};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The window of all quotas, in seconds.
const WINDOW_SECONDS: u32 = 60;
/// Requests after which callers with a full quota are forgotten.
const TIDY_EVERY: u32 = 4096;

/// A kind of route, with a quota of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sign-in, refresh, sign-out.
    Auth,
    /// What asks a model.
    Model,
    /// Pictures of users.
    Upload,
    /// Pictures of services, and of callers without a credential where everybody may upload.
    ServiceUpload,
    /// Posts that clients send for the feed.
    Ingest,
    /// The rest.
    Other,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Auth, Self::Model, Self::Upload, Self::ServiceUpload, Self::Ingest, Self::Other];

    /// Its name in headers.
    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Model => "model",
            Self::Upload => "upload",
            Self::ServiceUpload => "service-upload",
            Self::Ingest => "ingest",
            Self::Other => "requests",
        }
    }

    /// The kind of a route.
    fn of(route: &str, is_read: bool) -> Self {
        let model = [
            "/api/chat",
            "/api/digest/run",
            "/api/jobs/{job_id}/restart",
            "/api/moods/seed",
            "/api/scraper/sources",
            "/api/scraper/run/{source_id}",
        ];
        match route {
            _ if route.starts_with("/api/auth/") => Self::Auth,
            "/api/process-image" => Self::Upload,
            "/api/scraper/ingest/reddit" => Self::Ingest,
            _ if !is_read && model.contains(&route) => Self::Model,
            _ => Self::Other,
        }
    }
}

/// Who a quota or a share belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A user whose credential was checked.
    User(UserId),
    /// Everybody at an address of whom no more is known.
    Address(IpAddr),
    /// All services that showed their credential: they call for many users.
    Service,
}

/// Our clock, as the limiter wants it: time since the limits were made.
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

/// The quota of one kind of route.
struct Meter {
    limiter: Limiter,
    /// The header that says what it is.
    policy: HeaderValue,
    /// Requests so far, by which it is known when to tidy up.
    counted: AtomicU32,
}

/// All limits of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Parts>);

struct Parts {
    /// In the order of [`Kind::ALL`]; `None` without a limit.
    meters: [Option<Meter>; 6],
    ticks: Ticks,
    refusals: Option<Refusals>,
    streams: Mutex<HashMap<UserId, u32>>,
    streams_per_user: u32,
    /// Requests under way, by the caller's hash: a key that takes no memory of its own.
    under_way: Mutex<HashMap<u64, u32>>,
    hasher: RandomState,
    concurrent_requests_per_caller: u32,
    requests: Arc<Semaphore>,
    /// Whether `X-Forwarded-For` is written by a proxy that we trust.
    trusts_proxy: bool,
    /// Whether somebody was told that it arrives all the same.
    warned_of_proxy: AtomicBool,
}

impl Limits {
    /// These limits, by this clock.
    pub fn new(settings: &config::Limits, clock: Arc<dyn Clock>) -> Self {
        let refusals = NonZeroU32::new(settings.refusals_per_minute).filter(|_| settings.enabled);
        let refusals = refusals.map(|quota| Refusals::new(quota, clock.clone()));
        let ticks = Ticks { begin: clock.instant(), clock };
        let meters = Kind::ALL.map(|kind| {
            let per_minute = match kind {
                Kind::Auth => settings.auth_per_minute,
                Kind::Model => settings.model_per_minute,
                Kind::Upload => settings.uploads_per_minute,
                Kind::ServiceUpload => settings.service_uploads_per_minute,
                Kind::Ingest => settings.ingest_per_minute,
                Kind::Other => settings.requests_per_minute,
            };
            let quota = NonZeroU32::new(per_minute).filter(|_| settings.enabled)?;
            let store = DashMapStateStore::default();
            let limiter: Limiter = RateLimiter::new(Quota::per_minute(quota), store, ticks.clone());
            let policy = format!("\"{}\";q={per_minute};w={WINDOW_SECONDS}", kind.name());
            let policy = HeaderValue::from_str(&policy).expect("a name and numbers are plain text");
            Some(Meter { limiter, policy, counted: AtomicU32::new(0) })
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

    fn meter(&self, kind: Kind) -> Option<&Meter> {
        let position = Kind::ALL.iter().position(|known| *known == kind)?;
        self.0.meters[position].as_ref()
    }

    /// Counts a request. What is said about the quota goes into the answer.
    fn count(&self, kind: Kind, caller: &Caller) -> Result<Option<Remainder>, ApiError> {
        let Some(meter) = self.meter(kind) else { return Ok(None) };
        if meter.counted.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            meter.limiter.retain_recent();
        }
        match meter.limiter.check_key(caller) {
            Ok(snapshot) => Ok(Some(Remainder::new(kind, meter, &snapshot))),
            Err(refusal) => Err(too_many(refusal.wait_time_from(self.0.ticks.now()))),
        }
    }

    /// Counts a request as under way until what this returns is dropped.
    ///
    /// # Errors
    /// 429 when the caller has as many under way as one may have.
    fn enter(&self, caller: &Caller) -> Result<RequestPermit<'_>, ApiError> {
        let caller_hash = self.0.hasher.hash_one(caller);
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(caller_hash).or_default();
        if *count >= self.0.concurrent_requests_per_caller && *caller != Caller::Service {
            return Err(ApiError::TooManyRequests {
                detail: "Too many requests at once. Please wait until one has been answered.",
                retry_after: Duration::from_secs(1),
            });
        }
        *count += 1;
        Ok(RequestPermit { limits: self, caller_hash })
    }

    /// Opens a chat stream for a user, until what this returns is dropped.
    ///
    /// # Errors
    /// 429 when the user has as many as one may have.
    pub fn open_stream(&self, user: &UserId) -> Result<StreamPermit, ApiError> {
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.entry(user.clone()).or_default();
        if *open >= self.0.streams_per_user {
            return Err(ApiError::TooManyRequests {
                detail: "Too many conversations at once. Please wait until one has ended.",
                retry_after: Duration::from_secs(5),
            });
        }
        *open += 1;
        Ok(StreamPermit { limits: self.clone(), user: user.clone() })
    }

    /// Takes, from the address that a request came from, the share of one look at a credential; `None` without a limit.
    ///
    /// # Errors
    /// 429 when too many credentials from there were refused lately. The credential must not be looked at then.
    pub fn begin_check(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<Attempt>, ApiError> {
        let Some(refusals) = &self.0.refusals else { return Ok(None) };
        refusals.begin(self.address(headers, peer)).map(Some).map_err(too_many)
    }

    /// The address that a request came from, as quotas count it: the last that a trusted proxy names, else the peer's.
    pub fn address(&self, headers: &HeaderMap, peer: Option<&Peer>) -> IpAddr {
        let forwarded = headers.get_all(X_FORWARDED_FOR).iter().next_back();
        let forwarded = if self.0.trusts_proxy {
            forwarded.and_then(|all| parse_address(all.to_str().ok()?.rsplit(',').next()?.trim()))
        } else {
            if forwarded.is_some() && !self.0.warned_of_proxy.swap(true, Ordering::Relaxed) {
                warn!(
                    "X-Forwarded-For arrives and is not trusted: everybody behind the proxy shares the quotas of one \
                     address; set TRUST_X_FORWARDED_FOR=true if nobody can reach the service but through that proxy"
                );
            }
            None
        };
        // A call that came over no connection is a test's.
        subscriber(forwarded.or(peer.map(|Peer(address)| address.ip())).unwrap_or(IpAddr::from([127, 0, 0, 1])))
    }
}

fn too_many(retry_after: Duration) -> ApiError {
    ApiError::TooManyRequests { detail: "Too many requests. Please slow down.", retry_after }
}

/// The address that stands for all those of one subscriber. One subscriber of IPv6 has 2^64 addresses, a /64 network at
/// least; an IPv4 address may arrive in its IPv4-mapped form (`::ffff:203.0.113.7`).
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Where the connection of a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// An address, with or without a port: Azure's front ends write the port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or(text);
    text.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bare.parse().ok())
}

/// A request that counts.
struct RequestPermit<'a> {
    limits: &'a Limits,
    caller_hash: u64,
}

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        let mut under_way = self.limits.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.caller_hash) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.caller_hash);
            }
        }
    }
}

/// A chat stream that counts.
pub struct StreamPermit {
    limits: Limits,
    user: UserId,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut streams = self.limits.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = streams.get_mut(&self.user) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.user);
            }
        }
    }
}

/// What is left of a quota, as the answer's headers say it
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).
struct Remainder {
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Remainder {
    fn new(kind: Kind, meter: &Meter, snapshot: &StateSnapshot) -> Self {
        let (left, quota) = (snapshot.remaining_burst_capacity(), snapshot.quota());
        let used = quota.burst_size().get().saturating_sub(left);
        let seconds = (quota.replenish_interval() * used).as_secs_f64().ceil();
        let limit = format!("\"{}\";r={left};t={seconds}", kind.name());
        Self { policy: meter.policy.clone(), limit: HeaderValue::from_str(&limit).expect("plain text") }
    }

    fn write(self, response: &mut Response) {
        response.headers_mut().insert(RATE_LIMIT_POLICY, self.policy);
        response.headers_mut().insert(RATE_LIMIT, self.limit);
    }
}

fn kind_of(request: &Request) -> Kind {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    Kind::of(route, request.method().is_safe())
}

async fn limit(
    app: &AppState,
    kind: Kind,
    caller: &Caller,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let remainder = app.limits.count(kind, caller)?;
    let mut response = admit(app, caller, request, next).await?;
    if let Some(remainder) = remainder {
        remainder.write(&mut response);
    }
    Ok(response)
}

/// Lets a request in as one of the caller's that are under way, with a body that the caller pays for. A stream no longer
/// counts when it has begun.
async fn admit(app: &AppState, caller: &Caller, request: Request, next: Next) -> Result<Response, ApiError> {
    let _permit = app.limits.enter(caller)?;
    if let Some(body) = request.extensions().get::<Account>() {
        body.charge_to(caller);
    }
    Ok(next.run(request).await)
}

/// Layer of what users call, inside the one that knows them: each has a quota.
///
/// # Errors
/// 429 when it is used up.
pub async fn limit_user(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let kind = kind_of(&request);
    limit(&app, kind, &Caller::User(user), request, next).await
}

/// Layer of what everybody may call: each address has a quota.
///
/// # Errors
/// 429 when it is used up.
pub async fn limit_address(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let kind = kind_of(&request);
    let caller = Caller::Address(app.limits.address(request.headers(), request.extensions().get()));
    limit(&app, kind, &caller, request, next).await
}

/// Layer of uploads, inside the one that knows who calls: each user has a quota. Services, and callers without a credential
/// where everybody may upload, call for many users: each address of theirs has another quota.
///
/// # Errors
/// 429 when it is used up.
pub async fn limit_upload(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (kind, caller) = match request.extensions().get::<CurrentUser>() {
        Some(CurrentUser(user)) => (Kind::Upload, Caller::User(user.clone())),
        None => {
            let address = app.limits.address(request.headers(), request.extensions().get());
            (Kind::ServiceUpload, Caller::Address(address))
        }
    };
    let payer = match &caller {
        Caller::Address(_) if !app.config.media.is_open => Caller::Service,
        Caller::User(_) | Caller::Address(_) | Caller::Service => caller.clone(),
    };
    let remainder = app.limits.count(kind, &caller)?;
    let mut response = admit(&app, &payer, request, next).await?;
    if let Some(remainder) = remainder {
        remainder.write(&mut response);
    }
    Ok(response)
}

/// Layer of what only services call, inside the one that knows them. They have no quota.
///
/// # Errors
/// None of its own.
pub async fn admit_service(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    admit(&app, &Caller::Service, request, next).await
}

/// Answers 503 at once when too many requests are under way: better some are asked to come back than all wait. Probes of
/// health are let through.
#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    requests: Arc<Semaphore>,
}

impl<S> Shed<S> {
    /// Guards `inner`.
    pub fn new(inner: S, limits: &Limits) -> Self {
        Self { inner, requests: limits.0.requests.clone() }
    }
}

impl<S> Service<Request> for Shed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.uri().path().starts_with("/api/health") {
            return self.inner.call(request).boxed();
        }
        match self.requests.clone().try_acquire_owned() {
            Ok(permit) => self.inner.call(request).map(move |answer| (answer, permit).0).boxed(),
            Err(_) => futures::future::ready(Ok(ApiError::Overloaded.into_response())).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn routes_have_kinds() {
        assert_eq!(Kind::of("/api/auth/refresh", false), Kind::Auth);
        assert_eq!(Kind::of("/api/chat", false), Kind::Model);
        assert_eq!(Kind::of("/api/scraper/sources", true), Kind::Other, "to list them asks nobody");
        assert_eq!(Kind::of("/api/scraper/sources", false), Kind::Model);
        assert_eq!(Kind::of("/api/process-image", false), Kind::Upload);
        assert_eq!(Kind::of("/api/scraper/ingest/reddit", false), Kind::Ingest);
        assert_eq!(Kind::of("/api/jobs/{job_id}/restart", false), Kind::Model);
        assert_eq!(Kind::of("/api/taste/quiz", true), Kind::Other);
    }
}
