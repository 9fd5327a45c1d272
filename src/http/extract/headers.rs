//! Headers that control the handling of a request.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};

use crate::base::local_offset::LocalOffset;
use crate::base::schema::verbatim;
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
        None => Err(ApiError::BadRequest("Idempotency-Key must have 1 to 128 printable ASCII characters.")),
    }
}

/// Whether the caller asked to run the request in the background (`Prefer: respond-async`).
pub fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|header| header.to_str().ok());
    let names = preferences.flat_map(|list| list.split([',', ';']));
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case("respond-async"))
}

const X_UTC_OFFSET: HeaderName = HeaderName::from_static("x-utc-offset");

/// UTC offset of the caller's clock (`X-UTC-Offset`), which decides what "today" is; UTC without the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerOffset(pub LocalOffset);

impl<S: Send + Sync> FromRequestParts<S> for CallerOffset {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut told = parts.headers.get_all(X_UTC_OFFSET).iter();
        let Some(text) = told.next() else { return Ok(Self(LocalOffset::UTC)) };
        let offset = text.to_str().ok().filter(|_| told.next().is_none()).and_then(LocalOffset::parse);
        offset.map(Self).ok_or(ApiError::BadRequest("X-UTC-Offset must be an offset from -12:00 to +14:00, or Z."))
    }
}

impl IntoParams for CallerOffset {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = json!({
            "type": "string",
            "pattern": r"^([Zz]|\+(0[0-9]|1[0-3]):[0-5][0-9]|\+14:00|-(0[0-9]|1[01]):[0-5][0-9]|-12:00)$",
        });
        let parameter = ParameterBuilder::new()
            .name("X-UTC-Offset")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "UTC offset of the user's clock, such as `-08:00`, which decides what \"today\" is; UTC by default.",
            ))
            .schema(Some(verbatim(schema)));
        vec![parameter.build()]
    }
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
