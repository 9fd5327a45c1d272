//! JSON bodies.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::body::read_body;
use super::fields::{Fields, Read, missing};
use crate::http::error::{ApiError, Fault, Step};
use crate::http::layers::bodies::Account;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Values of a body whose memory is not charged; every small body has some.
const FREE_VALUES: usize = 1000;
/// Memory of a parsed value besides its text, at most.
const BYTES_PER_VALUE: usize = 96;

/// A JSON body, as input or output.
#[derive(Debug)]
pub struct AppJson<T>(pub T);

impl<T: Read, S: Send + Sync> FromRequest<S> for AppJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let (parts, body) = request.into_parts();
        read_json(&read_body(&parts.headers, body).await?, parts.extensions.get()).await.map(Self)
    }
}

/// Extracts an optional body; an empty one counts as missing, whatever its type, and so does `null`.
impl<T: Read, S: Send + Sync> OptionalFromRequest<S> for AppJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Option<Self>, ApiError> {
        let is_json = is_json(request.headers());
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        match (bytes.is_empty(), is_json) {
            (true, _) => Ok(None),
            (false, true) if without_mark(&bytes).trim_ascii() == b"null" => Ok(None),
            (false, true) => read_json(&bytes, parts.extensions.get()).await.map(|body| Some(Self(body))),
            (false, false) => Err(ApiError::UnsupportedMediaType),
        }
    }
}

impl<T: Serialize> IntoResponse for AppJson<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => ApiError::internal(error).into_response(),
        }
    }
}

/// Whether the body is JSON. A body without a type counts as JSON, because some clients send none.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let Ok(content_type) = content_type.to_str() else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a JSON body. Its parsed values may take many times the memory of the text, and that is charged to the caller
/// too.
pub async fn read_json<T: Read>(bytes: &[u8], account: Option<&Account>) -> Result<T, ApiError> {
    charge_values(bytes, account).await?;
    parse_json(bytes)
}

/// Charges the memory that the values of a JSON text will take.
pub async fn charge_values(bytes: &[u8], account: Option<&Account>) -> Result<(), ApiError> {
    let Some(account) = account else { return Ok(()) };
    let values = bytes.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    if values > FREE_VALUES {
        account.charge(values * BYTES_PER_VALUE).await?;
    }
    Ok(())
}

pub(super) fn parse_json<T: Read>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = without_mark(bytes);
    if text.is_empty() {
        return Err(ApiError::Invalid(vec![missing(vec![Step::Name("body")], Value::Null)]));
    }
    let body = parse_value(text).map_err(|error| ApiError::Invalid(vec![malformed(text, &error)]))?;
    Fields::read_object("body", body)
}

/// Removes a byte order mark.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Parses JSON as clients write it. Half of a surrogate pair is read as U+FFFD, since JavaScript produces that when a
/// text is cut within an emoji.
pub fn parse_value(text: &[u8]) -> serde_json::Result<Value> {
    let body = serde_json::from_slice(text);
    body.or_else(|error| replace_lone_surrogates(text).map_or(Err(error), |text| serde_json::from_slice(&text)))
}

/// Replaces every escape of half a surrogate pair with `\ufffd`; `None` if there is none.
fn replace_lone_surrogates(text: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut replaced = None;
    let mut at = 0;
    while let Some(step) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += step;
        at += match unit(at) {
            Some(0xD800..0xDC00) if matches!(unit(at + 6), Some(0xDC00..0xE000)) => 12,
            Some(0xD800..0xE000) => {
                // Same length, so that positions in faults stay correct.
                replaced.get_or_insert_with(|| text.to_vec())[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            Some(_) => 6,
            // The escaped character may be a backslash.
            None => 2,
        };
        if at >= text.len() {
            break;
        }
    }
    replaced
}

fn malformed(bytes: &[u8], error: &serde_json::Error) -> Fault {
    let line_start: usize = bytes.split_inclusive(|&byte| byte == b'\n').take(error.line() - 1).map(<[u8]>::len).sum();
    // Columns count from 1; at the end of the text, the column is that of the last byte.
    let column = if error.is_eof() { error.column() } else { error.column().saturating_sub(1) };
    // Byte order marks of other Unicode encodings, and zero bytes as they occur in the first character of JSON in
    // these.
    let is_utf_16 = matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0, ..] | [_, 0, ..]);
    // The parser's message without " at line 1 column 2", which `loc` has already.
    let text = error.to_string();
    let reason = if is_utf_16 { "the body is not UTF-8" } else { text.split(" at line ").next().unwrap_or_default() };
    Fault {
        kind: "json_invalid",
        loc: vec![Step::Name("body"), Step::Position(line_start + column)],
        msg: "JSON decode error".into(),
        input: json!({}),
        ctx: json!({ "error": reason }),
    }
}
