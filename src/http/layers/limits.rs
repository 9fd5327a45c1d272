//! Layers that enforce limits: requests per minute and concurrent requests per caller, and concurrent requests in
//! total. The counters are in [`quota`](crate::domain::quota).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answers;
use super::auth::CurrentUser;
use super::bodies::Account;
use crate::domain::quota::{Caller, CallerLimits, Exceeded, QuotaKind, Remainder, WINDOW_SECONDS};
use crate::http::error::ApiError;
use crate::state::AppState;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Address of the peer.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Returns the caller's address, as quotas count it.
pub fn address_of(limits: &CallerLimits, headers: &HeaderMap, peer: Option<&Peer>) -> IpAddr {
    let forwarded = headers.get_all(X_FORWARDED_FOR).iter().next_back();
    let forwarded = forwarded.map(|all| all.to_str().unwrap_or_default());
    limits.address(forwarded, peer.map(|Peer(address)| address.ip()))
}

impl From<Exceeded> for ApiError {
    fn from(limit: Exceeded) -> Self {
        let (detail, reason, retry_after) = match limit {
            Exceeded::Rate { retry_after, remainder } => {
                ("Too many requests. Please slow down.", remainder.kind.name(), retry_after)
            }
            Exceeded::Rejections { retry_after } => {
                ("Too many requests. Please slow down.", "rejected_credentials", retry_after)
            }
            Exceeded::Requests => {
                let detail = "Too many concurrent requests. Wait until one of them has finished.";
                (detail, "requests_at_once", Duration::from_secs(1))
            }
            Exceeded::Streams => {
                let detail = "Too many open chat streams. Wait until one of them has ended.";
                (detail, "streams_at_once", Duration::from_secs(5))
            }
        };
        Self::TooManyRequests { detail, reason, retry_after }
    }
}

/// Adds the rate limit headers (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).
fn write(remainder: Remainder, response: &mut Response) {
    let Remainder { kind, quota, left, full_after_seconds } = remainder;
    let policy = format!("\"{}\";q={quota};w={WINDOW_SECONDS}", kind.name());
    let limit = format!("\"{}\";r={left};t={full_after_seconds}", kind.name());
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
        let value = HeaderValue::from_str(&value).expect("a name and numbers are plain text");
        response.headers_mut().insert(name, value);
    }
}

/// Enforces the caller's quota. `payer` is charged for the concurrent request and its bodies.
async fn limit(
    app: &AppState,
    kind: QuotaKind,
    caller: &Caller,
    payer: &Caller,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut response, remainder) = match app.limits.count(kind, caller) {
        Ok(remainder) => (admit(app, payer, request, next).await?, remainder),
        Err(exceeded @ Exceeded::Rate { remainder, .. }) => (ApiError::from(exceeded).into_response(), Some(remainder)),
        Err(exceeded) => return Err(exceeded.into()),
    };
    if let Some(remainder) = remainder {
        write(remainder, &mut response);
    }
    Ok(response)
}

/// Counts the request as one of the caller's concurrent requests and charges its body to the caller, and then its
/// [answer](answers). A stream stops counting when it begins.
async fn admit(app: &AppState, caller: &Caller, request: Request, next: Next) -> Result<Response, ApiError> {
    let permit = app.limits.enter(caller)?;
    if let Some(body) = request.extensions().get::<Account>() {
        body.charge_to(caller);
    }
    let response = next.run(request).await;
    answers::hold(&app.answers, caller, permit, response).await
}

/// Layer for routes of users, inside the one that authenticates them: enforces the user's quota.
///
/// # Errors
/// 429 when the quota is exceeded.
pub async fn limit_user(
    State((app, kind)): State<(AppState, QuotaKind)>,
    CurrentUser(user): CurrentUser,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = Caller::User(user);
    limit(&app, kind, &caller, &caller, request, next).await
}

/// Layer of public routes: enforces a quota per address.
///
/// # Errors
/// 429 when it is used up.
pub async fn limit_address(
    State((app, kind)): State<(AppState, QuotaKind)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = Caller::Address(address_of(&app.limits, request.headers(), request.extensions().get()));
    limit(&app, kind, &caller, &caller, request, next).await
}

/// Layer of upload routes for users and services, inside the one that identifies callers: enforces a quota per user.
/// Services, and callers without a credential where that is allowed, act for many users; they have a separate quota per
/// address.
///
/// # Errors
/// 429 when it is used up.
pub async fn limit_upload(
    State((app, kind)): State<(AppState, QuotaKind)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (kind, caller) = match request.extensions().get::<CurrentUser>() {
        Some(CurrentUser(user)) => (kind, Caller::User(user.clone())),
        None => {
            let address = address_of(&app.limits, request.headers(), request.extensions().get());
            (QuotaKind::ServiceUpload, Caller::Address(address))
        }
    };
    let payer = match &caller {
        Caller::Address(_) if !app.config.media.is_open => Caller::Service,
        Caller::User(_) | Caller::Address(_) | Caller::Service => caller.clone(),
    };
    limit(&app, kind, &caller, &payer, request, next).await
}

/// Layer for routes of services, inside the one that authenticates them. There is no quota.
///
/// # Errors
/// Only those of the routes behind it.
pub async fn admit_service(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    admit(&app, &Caller::Service, request, next).await
}

/// Layer of all routes except probes: sheds requests beyond the number that the service can process concurrently, so
/// that the others stay fast.
///
/// # Errors
/// 503 when too many are under way.
pub async fn shed(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let _permit = app.limits.admit().ok_or(ApiError::Overloaded)?;
    Ok(next.run(request).await)
}
