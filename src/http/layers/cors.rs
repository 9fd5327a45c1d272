//! CORS: the origins whose pages may send requests, and the headers for browsers.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::error::ApiError;
use crate::state::AppState;

/// How long browsers keep the answer to a preflight.
const PREFLIGHT_LIFE: Duration = Duration::from_secs(600);
/// Response headers that pages may read.
const EXPOSED_HEADERS: [&str; 13] = [
    "etag",
    "location",
    "retry-after",
    "x-request-id",
    "ratelimit",
    "ratelimit-policy",
    "preference-applied",
    "idempotency-replayed",
    "x-run-id",
    "x-vercel-ai-ui-message-stream",
    "x-resumable-stream-id",
    "x-workflow-run-id",
    "x-workflow-stream-tail-index",
];

/// Creates the layer that sends CORS headers for the allowed origins.
pub fn allow_origins(app: &AppState) -> CorsLayer {
    let allows = {
        let app = app.clone();
        move |origin: &HeaderValue, _: &Parts| app.config.server.allowed_origins.allows(origin.as_bytes())
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allows.clone()))
        .allow_credentials(AllowCredentials::predicate(allows))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(PREFLIGHT_LIFE)
        .expose_headers(EXPOSED_HEADERS.map(HeaderName::from_static))
}

/// Layer of all routes, outside [`allow_origins`]: refuses preflights for pages of foreign origins.
///
/// # Errors
/// 400 for such a preflight, if any origin is allowed at all.
pub async fn refuse_preflight(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (headers, origins) = (request.headers(), &app.config.server.allowed_origins);
    if request.method() == Method::OPTIONS
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && !origins.is_empty()
        && headers.get(ORIGIN).is_some_and(|origin| !origins.allows(origin.as_bytes()))
    {
        return Err(ApiError::BadRequest("Disallowed CORS origin."));
    }
    Ok(next.run(request).await)
}
