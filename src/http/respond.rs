//! Shared responses: conditional GET, and 202 for background jobs.

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::base::hash::sha256_hex;
use crate::domain::jobs::Jobs;
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::model::ids::{JobId, UserId};
use crate::store;

/// Cache policy that forces revalidation.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache, no-store, max-age=0, must-revalidate");

/// The header of a conditional GET, for the OpenAPI document, which then adds a 304 to the route.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
pub struct IfNoneMatch {
    /// `ETag`s that the caller has, or `*`.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Header of a conditional PUT, for the OpenAPI document, which then lists 412 for the route.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
pub struct IfMatchHeader {
    /// Versions that the caller may overwrite: a list of tags, or `*`.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// The versions that a PUT may overwrite according to `If-Match`; any version without that header.
#[derive(Debug, Clone)]
pub struct IfMatch(Option<Vec<String>>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let headers = parts.headers.get_all(IF_MATCH);
        let lists = headers.iter().map(|header| header.to_str().unwrap_or_default());
        let tags: Vec<String> = lists.flat_map(|list| list.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Ok(Self((!tags.is_empty()).then_some(tags)))
    }
}

impl IfMatch {
    /// Whether a document of this version may be overwritten; `None` means that it is not stored yet.
    pub fn admits(&self, version: Option<&store::ETag>) -> bool {
        let Some(tags) = &self.0 else { return true };
        let current = version_tag(version);
        tags.iter().any(|tag| tag == "*" || *tag == current)
    }
}

/// 412: the stored version does not match `If-Match`.
pub const STALE_VERSION: ApiError = ApiError::PreconditionFailed("The document has changed since you read it.");

/// Returns the strong `ETag` of a document's version. A default document that is not stored yet has one too.
pub fn version_tag(version: Option<&store::ETag>) -> String {
    let hash = sha256_hex(version.map_or("", |version| version.0.as_str()));
    format!("\"{}\"", &hash[..32])
}

/// Layer that adds the charset to JSON answers.
pub async fn say_charset(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.get(CONTENT_TYPE).is_some_and(|content_type| content_type == "application/json") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    response
}

/// Interval for polling a job, in seconds.
pub const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("2");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");

/// A job that was accepted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedResponse<'a> {
    id: &'a JobId,
    /// Path of the job.
    status_uri: String,
}

/// Answers 202 with the job's location.
pub fn accepted(job: &JobId) -> Response {
    let status_uri = format!("/api/jobs/{job}");
    let location = HeaderValue::from_str(&status_uri);
    let mut response = (StatusCode::ACCEPTED, AppJson(AcceptedResponse { id: job, status_uri })).into_response();
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, LOOK_AGAIN);
    if let Ok(location) = location {
        headers.insert(LOCATION, location);
    }
    response
}

/// Submits a job for a caller who requested it ([`crate::http::extract::PreferAsync`]), and answers 202.
///
/// # Errors
/// 422 when the key was used for another request; 503 when the store is unavailable.
pub async fn accept<T: Serialize>(
    jobs: &Jobs,
    user: &UserId,
    kind: &str,
    input: &T,
    key: Option<&str>,
) -> Result<Response, ApiError> {
    let input = serde_json::to_value(input).map_err(ApiError::internal)?;
    let job = jobs.accept(user, kind, input, key).await?;
    let mut response = accepted(&job);
    response.headers_mut().insert(PREFERENCE_APPLIED, RESPOND_ASYNC);
    Ok(response)
}

/// Answers with `body`, or with 304 if the caller has it.
///
/// The `ETag` is strong: the quoted SHA-256, in hex, of the body's JSON with sorted keys.
pub fn conditional<T: Serialize>(request: &HeaderMap, body: &T) -> Response {
    // A `Value` keeps its keys sorted, so this is the canonical form.
    let canonical = match serde_json::to_value(body).and_then(|value| serde_json::to_vec(&value)) {
        Ok(canonical) => canonical,
        Err(error) => return ApiError::internal(error).into_response(),
    };
    answer(request, &sha256_hex(&canonical), || AppJson(body).into_response())
}

/// Answers like [`conditional`], with a body that already is canonical JSON, and its SHA-256 in hex.
pub fn conditional_text(request: &HeaderMap, canonical: Bytes, sha256: &str) -> Response {
    answer(request, sha256, || {
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], canonical).into_response()
    })
}

fn answer(request: &HeaderMap, sha256: &str, body: impl FnOnce() -> Response) -> Response {
    let etag = format!("\"{sha256}\"");
    let mut response = if has_match(request, &etag) { StatusCode::NOT_MODIFIED.into_response() } else { body() };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, REVALIDATE);
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// Whether `If-None-Match` matches: a list of tags, possibly in several headers and weak, or `*`.
pub fn has_match(request: &HeaderMap, etag: &str) -> bool {
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(if_none_match: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(tags) = if_none_match {
            headers.insert(IF_NONE_MATCH, tags.parse().unwrap());
        }
        conditional(&headers, &json!({"b": 1, "a": [2]}))
    }

    #[test]
    fn what_the_caller_has_is_not_sent_again() {
        let first = ask(None);
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        // printf '{"a":[2],"b":1}' | sha256sum
        assert_eq!(etag, "\"63c9663de90ee828bbda6cd9acf02d0c653986c1ec25aa239920641edc9a1de5\"");
        for tags in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let again = ask(Some(&tags));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{tags}");
            assert_eq!(again.headers()[ETAG].to_str().unwrap(), etag);
            assert_eq!(again.headers()[CACHE_CONTROL], REVALIDATE);
        }
        for tags in ["\"x\"", "e3", ""] {
            assert_eq!(ask(Some(tags)).status(), StatusCode::OK, "{tags}");
        }
    }
}
