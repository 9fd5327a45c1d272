//! Pictures.
//!
//! `GET /api/media/…` stands in for the address of a storage account when blobs are files: with an account, browsers go
//! there, and the route has nothing. Like an address there it is public, since an `<img>` sends no token, and only the
//! container of finished pictures is shown. Whoever made a picture chose the id in its address.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::blob::{BlobName, Properties, Span};
use crate::error::ApiError;
use crate::extract::AppPath;
use crate::respond::has_match;
use crate::state::AppState;

/// A finished picture is never written again.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NO_PICTURE: ApiError = ApiError::NotFound("Not Found");

/// Routes for everybody.
pub fn public() -> Router<AppState> {
    Router::new().route("/api/media/{container}/{*name}", get(show_picture))
}

/// Shows a finished picture, or a part of it.
async fn show_picture(
    State(app): State<AppState>,
    path: Result<AppPath<(String, String)>, ApiError>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let blobs = app.embedded_blobs.as_ref().ok_or(NO_PICTURE)?;
    // Whatever is wrong with an address, there is no picture.
    let Ok(AppPath((container, name))) = path else { return Err(NO_PICTURE) };
    let name: BlobName = name.parse().map_err(|_| NO_PICTURE)?;
    let archive = &app.config.storage.archive_container;
    if *container != **archive {
        return Err(NO_PICTURE);
    }
    let properties = blobs.properties(archive, &name).await?.ok_or(NO_PICTURE)?;
    if has_match(&headers, &properties.etag) {
        return Ok((StatusCode::NOT_MODIFIED, description(&properties)).into_response());
    }
    let span = wanted_span(&headers, &properties.etag);
    let blob = blobs.get(archive, &name, span).await?.ok_or(NO_PICTURE)?;
    let mut description = description(&blob.properties);
    let (range, size) = (blob.range, blob.properties.size);
    description.insert(CONTENT_LENGTH, (range.end - range.start).into());
    let status = if span == Span::Whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut description, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    insert(&mut description, CONTENT_TYPE, &blob.properties.content_type);
    Ok((status, description, Body::from_stream(blob.content)).into_response())
}

/// What answers with and without content say of a picture.
fn description(properties: &Properties) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(ACCEPT_RANGES, BYTES);
    insert(&mut headers, ETAG, &properties.etag);
    insert(&mut headers, LAST_MODIFIED, &http_date(properties.last_modified));
    headers
}

fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn http_date(time: OffsetDateTime) -> String {
    // The mail format but for the name of the zone.
    time.to_utc().format(&Rfc2822).unwrap_or_default().replace("+0000", "GMT")
}

/// The part that a request asks for. Several parts at once, and what is no range, mean the whole picture; so does a part
/// of another version.
fn wanted_span(headers: &HeaderMap, etag: &str) -> Span {
    let is_other = headers.get(IF_RANGE).is_some_and(|version| version.as_bytes() != etag.as_bytes());
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    range.filter(|_| !is_other).and_then(read_span).unwrap_or_default()
}

/// The span in `bytes=2-5`, `bytes=2-` or `bytes=-5`.
fn read_span(range: &str) -> Option<Span> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    // Not by the parser alone, which takes `+5` too. More digits than fit mean the end of any picture.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first.trim(), last.trim()) {
        ("", last) => number(last).map(Span::Last),
        (first, "") => number(first).map(Span::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Span::Between(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_range_is_read_or_ignored() {
        assert_eq!(read_span("bytes=0-0"), Some(Span::Between(0, 0)));
        assert_eq!(read_span("Bytes= 2 - 5 "), Some(Span::Between(2, 5)));
        assert_eq!(read_span("bytes=2-"), Some(Span::From(2)));
        assert_eq!(read_span("bytes=-5"), Some(Span::Last(5)));
        assert_eq!(read_span("bytes=1-99999999999999999999"), Some(Span::Between(1, u64::MAX)));
        for ignored in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=+1-2"]
        {
            assert_eq!(read_span(ignored), None, "{ignored}");
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(datetime!(2026-03-02 09:05:07 UTC)), "Mon, 02 Mar 2026 09:05:07 GMT");
    }
}
