//! Requests of the wardrobe API, whose clients show errors as text: invalid requests are refused with 400 and a single
//! message, never with 422 and a list of faults.
//!
//! Names are in camelCase and case-sensitive; unknown fields are ignored; the `Content-Type` does not matter. A field
//! of the wrong type makes the body invalid. `null` counts as absent, so fields of request types are optional.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::json::{charge_values, parse_value, without_mark};
use super::read_body;
use crate::http::error::ApiError;

/// The body is not JSON, or one of its fields has the wrong type.
pub const INVALID_BODY: ApiError = ApiError::BadRequest("Invalid request body.");
/// The body is `null` where an object is needed.
pub const BODY_REQUIRED: ApiError = ApiError::BadRequest("Request body is required.");

/// A JSON body; 400 `"Invalid request body."` if it is not a `T`. `Option<TextJson<T>>` takes a request without a body,
/// `TextJson<Option<T>>` the body `null`.
#[derive(Debug)]
pub struct TextJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for TextJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        <Self as OptionalFromRequest<S>>::from_request(request, state).await?.ok_or(INVALID_BODY)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for TextJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Option<Self>, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        charge_values(&bytes, parts.extensions.get()).await?;
        let body = parse_value(without_mark(&bytes)).map_err(|_| INVALID_BODY)?;
        // serde would also deserialise a struct from an array.
        if !(body.is_object() || body.is_null()) {
            return Err(INVALID_BODY);
        }
        serde_json::from_value(body).map(|body| Some(Self(body))).map_err(|_| INVALID_BODY)
    }
}

/// Path parameters; 404 if one is not UTF-8.
#[derive(Debug)]
pub struct TextPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for TextPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(value)| Self(value)).map_err(|_| ApiError::NotFound("Not Found"))
    }
}

/// Query parameters. Names are case-insensitive, the first of several counts, and an unparsable value counts as absent,
/// so that no query is refused.
#[derive(Debug)]
pub struct LenientQuery(Vec<(String, String)>);

impl LenientQuery {
    /// Parses a query string, without its `?`.
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns a value as it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns a value parsed as a number, a date or the like.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// Whether the value is `true`, in any case.
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for LenientQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Card {
        card_title: Option<String>,
        size: Option<f64>,
    }

    async fn read(content_type: &str, body: &'static [u8]) -> Result<Option<Card>, String> {
        let request = Request::builder().header("content-type", content_type).body(Body::from(body)).unwrap();
        let read = <TextJson<Option<Card>> as FromRequest<()>>::from_request(request, &()).await;
        read.map(|TextJson(card)| card).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_body_is_read_whatever_its_type_or_refused_with_a_text() {
        let card = |title: Option<&str>, size| Ok(Some(Card { card_title: title.map(str::to_owned), size }));
        assert_eq!(read("text/plain", br#"{"cardTitle":"a","size":1,"more":[]}"#).await, card(Some("a"), Some(1.0)));
        assert_eq!(read("", b"\xef\xbb\xbf{\"cardTitle\":null}").await, card(None, None));
        // Names are case-sensitive, and the last of two counts.
        assert_eq!(read("", br#"{"card_title":"a","CardTitle":"b","size":1,"size":2}"#).await, card(None, Some(2.0)));
        assert_eq!(read("", br#"{"cardTitle":"\ud83d"}"#).await, card(Some("\u{fffd}"), None));
        assert_eq!(read("", b"null").await, Ok(None));
        for wrong in [&b""[..], b"{", b"7", b"[]", b"\xff", br#"{"size":"1"}"#, br#"{"cardTitle":7}"#, b"{}{}"] {
            assert_eq!(read("application/json", wrong).await, Err("Invalid request body.".to_owned()), "{wrong:?}");
        }
    }

    #[test]
    fn a_query_is_read_as_far_as_it_can_be() {
        let query = LenientQuery::parse("PAGESIZE=7&pageSize=8&tags=a%2Cb+c&yes=True&no=1&%ff=%ff");
        assert_eq!((query.parsed("pageSize"), query.text("Tags")), (Some(7), Some("a,b c")));
        assert_eq!((query.is_true("yes"), query.is_true("no"), query.is_true("none")), (true, false, false));
        assert_eq!(query.parsed::<u32>("tags"), None);
    }
}
