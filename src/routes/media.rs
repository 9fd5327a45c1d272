//! Pictures: background removal, garment metadata, and finished pictures.
//!
//! `GET /api/media/…` replaces the URLs of a storage account when blobs are files, or when nothing can sign those URLs.
//! It is public, because an `<img>` sends no token, and serves only the container of finished pictures. The uploader
//! chose the id in the URL, or it has 128 random bits.

use axum::Extension;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use httpdate::fmt_http_date;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracing::{Instrument, info_span};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::schema::verbatim;
use crate::blob::{BlobName, Properties, Span};
use crate::domain::media::{LARGEST_FILE, MEDIA_TYPE, PictureId};
use crate::domain::metadata::Metadata;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::upload::{FORM_OVERHEAD, LONGEST_FIELD, Part, PictureFile, Upload};
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read, trace_name};
use crate::http::items::BAD_MODE;
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{IfNoneMatch, has_match};
use crate::imaging::segment::{CutoutMode, CutoutOptions};
use crate::llm::CallContext;
use crate::state::AppState;
use crate::telemetry::observe::Subject;

/// Largest body with a picture as base64 in JSON, in bytes.
pub const LARGEST_ENCODED: usize = LARGEST_FILE.div_ceil(3) * 4 + FORM_OVERHEAD;
/// Longest trace header, in bytes.
const LONGEST_TRACE: usize = 128;
/// Pattern of picture ids in the OpenAPI document; excludes `.` and `..`. The empty text means none.
const PICTURE_ID: &str = concat!(
    r"^\s*([A-Za-z0-9_-][A-Za-z0-9._-]{0,127}|\.[A-Za-z0-9_-][A-Za-z0-9._-]{0,126}|",
    r"\.\.[A-Za-z0-9._-]{1,126})?\s*$"
);
/// Pattern of base64 pictures in the OpenAPI document, optionally as a `data:` URL.
const BASE64: &str =
    "^(data:[^,]*,)?([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)$";
const BAD_ID: ApiError =
    ApiError::BadRequest("item_id must have 1 to 128 characters from A-Z, a-z, 0-9, '.', '_' and '-'.");
/// Longest name of a cut-out mode, in characters.
const LONGEST_MODE: usize = 16;
/// Cache policy of finished pictures, which are never overwritten.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
const NO_PICTURE: ApiError = ApiError::NotFound("Not Found");

/// Routes for everybody.
pub fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_picture))
}

/// Routes for users and other services.
pub fn user_or_service() -> OpenApiRouter<AppState> {
    // The handler has its own limit, so disable that of multipart extractors.
    OpenApiRouter::new().routes(routes!(process_picture)).layer(DefaultBodyLimit::disable())
}

/// Routes for other services.
pub fn service() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(extract_metadata))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PictureResponse {
    id: String,
    image_url: String,
    media_type: &'static str,
}

/// Removes the background of a picture. The picture is a form field or the whole body.
#[utoipa::path(post, path = "/api/process-image", params(ProcessQuery), request_body(content(
    (PictureForm = "multipart/form-data"),
    (PictureFile = "image/*")
)), responses(
    (status = 201, body = PictureResponse),
    (status = 400, description = "The picture is missing or cannot be decoded, or the id is invalid."),
    (status = 409, description = "The caller has another picture with this id.")
))]
async fn process_picture(
    State(app): State<AppState>,
    AppQuery(query): AppQuery<ProcessQuery>,
    user: Option<Extension<CurrentUser>>,
    request: Request,
) -> Result<(StatusCode, AppJson<PictureResponse>), ApiError> {
    let given = query.item_id.as_deref().map(picture_id).transpose()?;
    let mode: CutoutMode = query.mode.parse().map_err(|_| BAD_MODE)?;
    let upload = Upload::read(request, &BAD_ID, |name, _| match name {
        Some("image") => Part::File,
        Some("item_id" | "itemId") => Part::Text,
        _ => Part::Other,
    });
    let upload = upload.await?;
    let id = upload.text(&["item_id", "itemId"]).map(picture_id).transpose()?.or(given);
    let id = id.unwrap_or_else(|| PictureId::for_file(upload.file_name.as_deref()));
    let owner = user.as_ref().map(|Extension(CurrentUser(user))| user);
    let finished = app.media.finish(owner, &id, upload.picture, CutoutOptions::from(mode)).await?;
    let body = PictureResponse { id: id.as_str().to_owned(), image_url: finished.url.into(), media_type: MEDIA_TYPE };
    Ok((StatusCode::CREATED, AppJson(body)))
}

fn picture_id_rule() -> Value {
    json!({ "type": "string", "pattern": PICTURE_ID })
}

fn picture_id_schema() -> RefOr<Schema> {
    verbatim(picture_id_rule())
}

/// A form with a picture.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
struct PictureForm {
    /// Picture file.
    image: PictureFile,
    /// Id of the result; by default generated from the file name.
    #[schema(schema_with = picture_id_schema)]
    item_id: Option<String>,
}

struct ProcessQuery {
    item_id: Option<String>,
    mode: String,
}

impl Read for ProcessQuery {
    fn read(fields: &mut Fields) -> Self {
        let item_id = fields.optional_text("item_id", LONGEST_FIELD).filter(|id| !id.trim().is_empty());
        fields.rule("item_id", picture_id_rule);
        let mode = fields.optional_text("mode", LONGEST_MODE);
        fields.rule("mode", || json!({ "type": "string", "enum": CutoutMode::ALL.map(CutoutMode::name) }));
        Self { item_id, mode: mode.unwrap_or_else(|| CutoutMode::default().name().to_owned()) }
    }
}

described!(ProcessQuery);

fn picture_id(text: &str) -> Result<PictureId, ApiError> {
    text.trim().parse().map_err(|_| BAD_ID)
}

struct ExtractRequest {
    item_id: String,
    image: String,
}

impl Read for ExtractRequest {
    fn read(fields: &mut Fields) -> Self {
        // The type is detected from the content; this field is ignored.
        fields.optional_text("media_type", LONGEST_FIELD);
        let item_id = fields.text("item_id", 0, LONGEST_FIELD);
        let image = fields.text("image_bytes_base64", 0, usize::MAX);
        fields.rule("image_bytes_base64", || json!({ "contentEncoding": "base64", "pattern": BASE64 }));
        Self { item_id, image }
    }
}

described!(ExtractRequest);

/// Describes the garment in a picture.
#[utoipa::path(post, path = "/api/extract-clothing-metadata", params(("X-Trace-Id" = Option<String>, Header)), request_body(content = ExtractRequest, example = json!({"item_id": "shirt", "image_bytes_base64": "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR42mNQMEiAIwbiOAAaQwsBvkrdpwAAAABJRU5ErkJggg==", "media_type": "image/png"})), responses(
    (status = 200, body = Metadata),
    (status = 400, description = "The picture is missing or not base64.")
))]
async fn extract_metadata(
    State(app): State<AppState>,
    headers: HeaderMap,
    AppJson(body): AppJson<ExtractRequest>,
) -> Result<AppJson<Metadata>, ApiError> {
    let span = info_span!(
        "extract_metadata",
        trace.id = traced(&headers, "x-trace-id"),
        trace.parent = traced(&headers, "traceparent"),
        item.id = body.item_id.as_str(),
    );
    let observed = app.telemetry.observer.begin(&Subject {
        name: "extract-metadata",
        trace_id: trace_name(&headers),
        user: None,
        session: None,
        input: "",
    });
    let picture = decode_base64(&body.image)?;
    drop(body);
    if picture.len() > LARGEST_FILE {
        return Err(ApiError::PictureTooLarge);
    }
    // The calling service has no budget; this service pays for its drafts.
    let context = CallContext::service().observed_by(observed);
    let description = app.describer.describe(&context, picture.into()).instrument(span).await;
    Ok(AppJson(description))
}

fn decode_base64(text: &str) -> Result<Vec<u8>, ApiError> {
    let text = text.trim();
    let encoded = match text.split_once(',') {
        Some((prefix, encoded)) if prefix.starts_with("data:") => encoded,
        _ => text,
    };
    if encoded.is_empty() {
        return Err(ApiError::BadRequest("image_bytes_base64 is required."));
    }
    STANDARD
        .decode(encoded)
        .map_err(|error| ApiError::BadValue(format!("Invalid image_bytes_base64 payload: {}", fault_of(&error))))
}

fn fault_of(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::InvalidByte(..) => "it has characters that are not base64",
        DecodeError::InvalidLength(_) => "its length is wrong",
        DecodeError::InvalidLastSymbol { .. } => "its last character is wrong",
        DecodeError::InvalidPadding => "its padding is wrong",
    }
}

/// Returns the caller's trace header, if valid.
fn traced<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?;
    let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (text.len() <= LONGEST_TRACE && text.bytes().all(is_sane)).then_some(text)
}

/// Returns a finished picture, or a range of it.
#[utoipa::path(get, path = "/api/media/{container}/{*name}", params(
    ("container" = String, Path, example = "archive"),
    ("name" = String, Path, example = "demo/feed/reddit-b9c118a72858709f.webp"),
    ("Range" = Option<String>, Header),
    ("If-Range" = Option<String>, Header),
    IfNoneMatch
), responses(
    (status = 200, body = PictureFile, content_type = "image/webp"),
    (status = 206, body = PictureFile, content_type = "image/webp", description = "The requested range."),
    (status = 404, description = "Picture not found."),
    (status = 416, description = "The range starts after the end.")
))]
async fn show_picture(
    State(app): State<AppState>,
    path: Result<AppPath<(String, String)>, ApiError>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // An invalid path is a missing picture.
    let Ok(AppPath((container, name))) = path else { return Err(NO_PICTURE) };
    let name: BlobName = name.parse().map_err(|_| NO_PICTURE)?;
    let archive = &app.config.storage.archive_container;
    if *container != **archive {
        return Err(NO_PICTURE);
    }
    // Only conditional requests need the version before the picture is read.
    let mut span = wanted_span(&headers, None);
    if headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_RANGE) {
        let properties = app.blobs.properties(archive, &name).await?.ok_or(NO_PICTURE)?;
        if has_match(&headers, &properties.etag) {
            return Ok((StatusCode::NOT_MODIFIED, description(&properties)).into_response());
        }
        span = wanted_span(&headers, Some(&properties.etag));
    }
    let blob = app.blobs.get(archive, &name, span).await?.ok_or(NO_PICTURE)?;
    let mut description = description(&blob.properties);
    let (range, size) = (blob.range, blob.properties.size);
    description.insert(CONTENT_LENGTH, (range.end - range.start).into());
    let status = if span == Span::Whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut description, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    description.insert(CONTENT_TYPE, HeaderValue::from_static(picture_type(&blob.properties.content_type)));
    Ok((status, description, Body::from_stream(blob.content)).into_response())
}

/// Returns the content type of a picture for browsers. Other services may have stored blobs of any type, and this
/// origin must not serve anything that a browser would execute.
fn picture_type(stored: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "image/webp",
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/avif",
        "image/heic",
        "image/heif",
        "image/bmp",
        "image/tiff",
    ];
    KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(stored.trim())).unwrap_or("application/octet-stream")
}

/// Builds the headers that describe a picture.
fn description(properties: &Properties) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(ACCEPT_RANGES, BYTES);
    insert(&mut headers, ETAG, &properties.etag);
    insert(
        &mut headers,
        LAST_MODIFIED,
        &fmt_http_date(properties.last_modified.max(OffsetDateTime::UNIX_EPOCH).into()),
    );
    headers
}

fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns the requested range. Multiple, invalid and outdated ranges mean the whole picture.
fn wanted_span(headers: &HeaderMap, etag: Option<&str>) -> Span {
    let is_other = headers.get(IF_RANGE).is_some_and(|version| Some(version.as_bytes()) != etag.map(str::as_bytes));
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    range.filter(|_| !is_other).and_then(read_span).unwrap_or_default()
}

/// Parses `bytes=2-5`, `bytes=2-` or `bytes=-5`.
fn read_span(range: &str) -> Option<Span> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    // The parser alone would also accept `+5`. Numbers that overflow are beyond the end of any picture.
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
}
