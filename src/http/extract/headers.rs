//! Headers that control the handling of a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::http::error::ApiError;

/// Whether the caller asked to run the request in the background (`Prefer: respond-async`), with an optional
/// `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreferAsync {
    /// Answer when done.
    No,
    /// Run in the background. Requests with the same key get the same job.
    Yes(Option<String>),
}

/// Longest `Idempotency-Key`, in characters.
const LONGEST_KEY: usize = 128;
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Header that makes a request repeatable.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl<S: Send + Sync> FromRequestParts<S> for PreferAsync {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if !prefers_async(&parts.headers) {
            return Ok(Self::No);
        }
        idempotency_key(&parts.headers).map(Self::Yes)
    }
}

/// Returns the request's `Idempotency-Key`, if any.
///
/// # Errors
/// 400 if it is empty, too long or has invalid characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(ApiError::BadRequest("Idempotency-Key must be 1 to 128 plain characters.")),
    }
}

/// Whether the caller asked to run the request in the background (`Prefer: respond-async`).
pub fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|header| header.to_str().ok());
    let names = preferences.flat_map(|list| list.split([',', ';']));
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case("respond-async"))
}

/// Headers with a caller's trace id, in order of precedence.
const TRACE_HEADERS: [&str; 3] = ["x-trace-id", "traceparent", "x-request-id"];
/// Longest trace id, in bytes.
const LONGEST_TRACE_NAME: usize = 128;

/// Returns the caller's trace id, if any.
pub fn trace_name(headers: &HeaderMap) -> Option<&str> {
    let texts = TRACE_HEADERS.into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    texts.map(str::trim).find(|text| (1..=LONGEST_TRACE_NAME).contains(&text.len()))
}
