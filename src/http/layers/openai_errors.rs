//! Errors in OpenAI's format, for the routes of its API: `{"error":{"message","type","param","code"}}`.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{ApiError, Fault, Step};

/// Path prefix of the routes.
const PATH: &str = "/api/v1";
/// Most errors of a body that the message names.
const MOST_FAULTS: usize = 5;

/// Whether errors of a path have this format.
pub fn applies_to(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An error of a route of OpenAI's API.
#[derive(Debug)]
pub struct OpenAiError {
    error: ApiError,
    details: Details,
}

/// Details that distinguish errors of the same status.
#[derive(Debug, Clone, Copy, Default)]
struct Details {
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl OpenAiError {
    /// Sets the invalid parameter of the request.
    pub fn param(self, param: &'static str) -> Self {
        Self { details: Details { param: Some(param), ..self.details }, ..self }
    }

    /// Sets the code.
    pub fn code(self, code: &'static str) -> Self {
        Self { details: Details { code: Some(code), ..self.details }, ..self }
    }
}

impl<E: Into<ApiError>> From<E> for OpenAiError {
    fn from(error: E) -> Self {
        Self { error: error.into(), details: Details::default() }
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        response.extensions_mut().insert(self.details);
        response
    }
}

/// An error.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub struct ErrorBody {
    error: ErrorObject,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiErrorObject)]
struct ErrorObject {
    /// Error message for people.
    message: String,
    /// Kind of the error, such as `invalid_request_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The invalid parameter of the request.
    param: Option<String>,
    /// The error, for programs.
    code: Option<&'static str>,
}

impl ErrorBody {
    /// Creates an error for a failure after the start of the answer.
    pub fn broken(message: impl Into<String>) -> Self {
        Self { error: ErrorObject { message: message.into(), kind: "server_error", param: None, code: None } }
    }

    fn new(error: &ApiError, details: Details) -> Self {
        let status = error.status();
        let (kind, code) = match status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", Some("invalid_api_key")),
            StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("rate_limit_exceeded")),
            _ if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        let (message, param) = match error {
            ApiError::Invalid(faults) => (message_of(faults), faults.first().and_then(place)),
            other => (other.to_string(), None),
        };
        let param = details.param.map(str::to_owned).or(param);
        Self { error: ErrorObject { message, kind, param, code: details.code.or(code) } }
    }
}

fn message_of(faults: &[Fault]) -> String {
    let lines = faults.iter().take(MOST_FAULTS).map(|fault| match place(fault) {
        Some(place) => format!("{place}: {}", fault.msg),
        None => fault.msg.clone(),
    });
    let more = if faults.len() > MOST_FAULTS { "; …" } else { "" };
    lines.collect::<Vec<_>>().join("; ") + more
}

/// Returns the location of an error, without the part of the request.
fn place(fault: &Fault) -> Option<String> {
    let steps = fault.loc.iter().skip(1).map(|step| match step {
        Step::Name(name) => (*name).to_owned(),
        Step::Position(position) => position.to_string(),
    });
    // The position of a JSON syntax error is not a parameter.
    Some(steps.collect::<Vec<_>>().join(".")).filter(|place| !place.is_empty() && fault.kind != "json_invalid")
}

/// Layer of all routes, outside every layer that can refuse a request: converts errors of OpenAI's routes to their
/// format.
pub async fn write_openai_errors(request: Request, next: Next) -> Response {
    let applies = applies_to(request.uri().path());
    let mut response = next.run(request).await;
    if !applies {
        return response;
    }
    let details = response.extensions().get().copied().unwrap_or_default();
    let Some(error) = response.extensions().get::<ApiError>() else { return response };
    let Ok(body) = serde_json::to_vec(&ErrorBody::new(error, details)) else { return response };
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_for_the_paths_of_openai() {
        for path in ["/api/v1", "/api/v1/", "/api/v1/models", "/api/v1/x/y"] {
            assert!(applies_to(path), "{path}");
        }
        for path in ["/", "/api", "/api/v10", "/api/v1x/models", "/v1/models", "/api/chat"] {
            assert!(!applies_to(path), "{path}");
        }
    }
}
