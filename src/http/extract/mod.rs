//! Extractors: bodies, queries and path segments, bounded and checked, with all faults reported in one 422.
//!
//! A request type implements [`Read`] over [`Fields`]; each invalid field adds a [`Fault`], and the value is used only
//! if there is none. Unknown fields are ignored. Fields may be written in `camelCase` or `snake_case`.

mod body;
pub mod chat_id;
pub mod description;
mod fields;
mod headers;
mod json;
pub mod new_id;
pub mod parts;
pub mod text;
pub mod upload;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::form_urlencoded;

pub use self::body::{Gathered, announced_length, check_encoding, read_body};
pub use self::fields::{Fields, LONGEST_CONTINUATION_TOKEN, Read};
pub use self::headers::{CallerOffset, IDEMPOTENCY_KEY, PreferAsync, idempotency_key, prefers_async, trace_name};
pub use self::json::{AppJson, charge_values, is_json, parse_value, read_json};
use crate::http::error::{ApiError, Fault, Step, echo};

/// Query parameters. If a name repeats, the last value counts; all values are strings.
#[derive(Debug)]
pub struct AppQuery<T>(pub T);

impl<T: Read, S: Send + Sync> FromRequestParts<S> for AppQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let object: Map<String, Value> =
            pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        Fields::read_object("query", object.into()).map(Self)
    }
}

/// Path parameters.
#[derive(Debug)]
pub struct AppPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for AppPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::Invalid(vec![Fault {
                kind: "string_unicode",
                loc: vec![Step::Name("path")],
                msg: "Input should be a valid string".into(),
                input: echo(&parts.uri.path().into()),
                ctx: Value::Null,
            }])),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Paging {
        page_size: Option<i64>,
        tags: Option<String>,
    }

    impl Read for Paging {
        fn read(fields: &mut Fields) -> Self {
            Self { page_size: fields.optional_integer("pageSize"), tags: fields.optional_text("tags", 10) }
        }
    }

    async fn query(text: &str) -> Result<Paging, Value> {
        let request = Request::builder().uri(format!("/x?{text}")).body(Body::empty()).unwrap();
        match AppQuery::from_request_parts(&mut request.into_parts().0, &()).await {
            Ok(AppQuery(paging)) => Ok(paging),
            Err(ApiError::Invalid(faults)) => Err(serde_json::to_value(faults).unwrap()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_query_is_read_like_a_body() {
        let paging = |page_size, tags: Option<&str>| Paging { page_size, tags: tags.map(str::to_owned) };
        assert_eq!(query("").await, Ok(paging(None, None)));
        assert_eq!(query("page_size=7&tags=a%2Cb+c&x").await, Ok(paging(Some(7), Some("a,b c"))));
        let fault = query("pageSize=many&tags=12345678901").await.unwrap_err();
        assert_eq!((&fault[0]["type"], &fault[0]["loc"]), (&json!("int_parsing"), &json!(["query", "pageSize"])));
        assert_eq!(fault[1]["type"], "string_too_long");
    }
}
