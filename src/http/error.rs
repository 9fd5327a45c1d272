//! Errors as callers see them: one enum, one body, for all routes.
//!
//! `Display` is the `detail` that a caller reads, so 5xx variants say nothing of the inside; the cause travels in the
//! response's extensions to the request layer, which logs it once.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::blob;
use crate::data;
use crate::domain::backlog::Backlog;
use crate::domain::budget::BudgetExceeded;
use crate::domain::dead_letters;
use crate::domain::jobs;
use crate::domain::media;
use crate::http::extract::AppJson;
use crate::imaging;
use crate::imaging::segmentation;
use crate::llm;
use crate::queue;
use crate::store;

/// How long a caller should wait when a dependency is down, unless that said otherwise.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// The same when we are busy ourselves.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_secs(1);

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// 400: a value that breaks a rule.
    #[error("{0}")]
    BadRequest(&'static str),
    /// 401: no credential that we accept.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: a known caller who may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: missing, or someone else's.
    #[error("{0}")]
    NotFound(&'static str),
    /// 405: the path is there, the method is not.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// 409: changed meanwhile.
    #[error("{0}")]
    Conflict(&'static str),
    /// 409: the same is being done already; its outcome can be asked for later.
    #[error("{detail}")]
    UnderWay {
        /// What is.
        detail: &'static str,
        /// When to ask.
        retry_after: Duration,
    },
    /// 408: the body arrived too slowly.
    #[error("The request body took too long to arrive.")]
    BodyTooSlow,
    /// 413: the body is longer than the route takes.
    #[error("Request body too large.")]
    TooLarge,
    /// 415: the body is not of the type that the route takes.
    #[error("Unsupported Media Type")]
    UnsupportedMediaType,
    /// 400: a value that breaks a rule, which is told.
    #[error("{0}")]
    BadValue(String),
    /// 416: the bytes that were asked for are behind the end.
    #[error("Range Not Satisfiable")]
    OutOfRange {
        /// How many bytes there are.
        size: u64,
    },
    /// 422: the body or the query does not fit its type.
    #[error("the request does not fit its type")]
    Invalid(Vec<Fault>),
    /// 429: the caller has had as much as one may have.
    #[error("{detail}")]
    TooManyRequests {
        /// What of.
        detail: &'static str,
        /// When there is more.
        retry_after: Duration,
    },
    /// 503: more requests are under way than the process takes.
    #[error("The service is busy. Please try again.")]
    Overloaded,
    /// 503: something we depend on is down.
    #[error("The service is temporarily unavailable. Please try again.")]
    Unavailable(#[source] Arc<dyn StdError + Send + Sync>),
    /// 503: the same, where callers are told which step it was.
    #[error("{detail}")]
    StepUnavailable {
        /// What they are told.
        detail: String,
        /// Why.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// 503: our own time limit passed.
    #[error("The request took too long. Please try again.")]
    TimedOut,
    /// 500: a step of the work failed, which callers are told.
    #[error("{detail}")]
    Failed {
        /// What they are told.
        detail: String,
        /// Why.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// 500: a setting that the route needs is missing or wrong, which its one caller is told.
    #[error("{0}")]
    Misconfigured(&'static str),
    /// 500: a fault of ours.
    #[error("Internal server error.")]
    Internal(#[source] Arc<dyn StdError + Send + Sync>),
    /// 500: a handler panicked.
    #[error("Internal server error.")]
    Panicked,
}

/// One fault of a body, query or path, in the form that clients of the service know (`detail` of a 422).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Fault {
    /// Kind, such as `missing` or `string_too_long`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where: `body`, `query` or `path`, then field names and list positions.
    pub loc: Vec<Step>,
    /// For people.
    pub msg: String,
    /// What was found there.
    pub input: Value,
    /// Numbers and texts behind `msg`, where there are any.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub ctx: Value,
}

/// One step of a [`Fault`]'s place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// A part of the request, or a field.
    Name(&'static str),
    /// A position in a list or text.
    Position(usize),
}

/// Characters of a text that faults show.
const SHOWN_CHARACTERS: usize = 100;
/// Bytes of input that faults show, one alone and all of an answer together.
const SHOWN_BYTES: usize = 1024;
/// Faults that an answer tells.
const MOST_FAULTS: usize = 100;

/// What a fault shows of a value: all of a small one, else the beginning of a text or the names of an object's fields.
pub fn echo(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => text[..end].into(),
            None => value.clone(),
        },
        Value::Object(fields) => echo_fields(fields),
        Value::Array(_) if !is_small(value, &mut SHOWN_BYTES.clone()) => Value::Null,
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The same of an object.
pub fn echo_fields(fields: &Map<String, Value>) -> Value {
    let mut left = SHOWN_BYTES;
    if fields.iter().all(|(name, value)| take(&mut left, name.len() + 4) && is_small(value, &mut left)) {
        return Value::Object(fields.clone());
    }
    let mut left = SHOWN_BYTES;
    let names = fields.keys().map(|name| name.chars().take(SHOWN_CHARACTERS).collect::<String>());
    names.take_while(|name| take(&mut left, name.len() + 3)).map(Value::String).collect()
}

/// Whether the value, as JSON, is some bytes long at most; takes off what it is.
fn is_small(value: &Value, left: &mut usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => take(left, 8),
        Value::String(text) => take(left, text.len() + 3),
        Value::Array(elements) => take(left, 3) && elements.iter().all(|element| is_small(element, left)),
        Value::Object(fields) => {
            let mut is_small = |(name, value): (&String, _)| take(left, name.len() + 4) && is_small(value, left);
            fields.iter().all(&mut is_small)
        }
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or_default();
    rest.is_some()
}

impl ApiError {
    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::BadValue(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) | Self::UnderWay { .. } => StatusCode::CONFLICT,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OutOfRange { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) | Self::StepUnavailable { .. } | Self::TimedOut | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Failed { .. } | Self::Misconfigured(_) | Self::Internal(_) | Self::Panicked => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Whatever went wrong below: a dependency that is down if the error says so anywhere in its chain, else a fault of ours.
    pub fn of(cause: impl StdError + Send + Sync + 'static) -> Self {
        if is_outage(&cause) { Self::unavailable(cause) } else { Self::internal(cause) }
    }

    /// The same where callers are told which step failed, if that was a fault of ours.
    pub fn failed(detail: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        if is_outage(&cause) {
            return Self::unavailable(cause);
        }
        Self::Failed { detail: detail.into(), cause: Arc::new(cause) }
    }

    /// A dependency that is down.
    pub fn unavailable(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    /// A fault of ours.
    pub fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(cause))
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        #[derive(Serialize)]
        struct Body<T> {
            detail: T,
        }
        if let Self::Invalid(faults) = &mut self {
            faults.truncate(MOST_FAULTS);
            let mut left = SHOWN_BYTES;
            for fault in faults.iter_mut().filter(|fault| !fault.input.is_null()) {
                if !is_small(&fault.input, &mut left) {
                    fault.input = Value::Null;
                }
            }
        }
        let status = self.status();
        let mut response = match &self {
            Self::Invalid(faults) => (status, AppJson(Body { detail: faults })).into_response(),
            other => (status, AppJson(Body { detail: other.to_string() })).into_response(),
        };
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let retry_after = match &self {
            Self::TooManyRequests { retry_after, .. } | Self::UnderWay { retry_after, .. } => Some(*retry_after),
            Self::Overloaded => Some(RETRY_AFTER_OVERLOAD),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_OUTAGE),
            _ => None,
        };
        if let Some(wait) = retry_after {
            // Whole seconds, and never too few.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        if let Self::OutOfRange { size } = self
            && let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}"))
        {
            headers.insert(CONTENT_RANGE, range);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<BudgetExceeded> for ApiError {
    fn from(BudgetExceeded { retry_after }: BudgetExceeded) -> Self {
        let detail = "The day's budget for the stylist is used up. Please come back tomorrow.";
        Self::TooManyRequests { detail, retry_after }
    }
}

/// Whether an error says, itself or by what is below it, that something we depend on is down. What that is, the type of the
/// error tells, and not the route that met it.
fn is_outage(error: &(dyn StdError + 'static)) -> bool {
    let is_one = is::<store::Error>(error, |error| matches!(error, store::Error::Unavailable(_)))
        || is::<data::Error>(error, |error| matches!(error, data::Error::Contended))
        || is::<blob::Error>(error, |error| matches!(error, blob::Error::Unavailable(_)))
        || is::<queue::Error>(error, |error| matches!(error, queue::Error::Unavailable(_)))
        || is::<llm::Error>(error, |error| {
            use llm::Error::{Interrupted, RateLimited, Unavailable};
            matches!(error, RateLimited { .. } | Unavailable(_) | Interrupted(_))
        })
        || is::<segmentation::Fault>(error, segmentation::Fault::is_outage)
        || is::<imaging::Error>(error, |error| matches!(error, imaging::Error::Busy))
        || is::<media::Error>(error, |error| matches!(error, media::Error::Busy));
    is_one || error.source().is_some_and(is_outage)
}

/// Whether this is a `T`, shared or not, of which that holds.
fn is<T: StdError + 'static>(error: &(dyn StdError + 'static), holds: impl Fn(&T) -> bool) -> bool {
    let own = error.downcast_ref::<T>().or_else(|| error.downcast_ref::<Arc<T>>().map(Arc::as_ref));
    own.is_some_and(holds)
}

/// Errors that have no status but that of [`ApiError::of`].
macro_rules! of {
    ($($error:ty),*) => {
        $(impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::of(error)
            }
        })*
    };
}

of!(data::Error, queue::Error, llm::Error);

impl From<blob::Error> for ApiError {
    fn from(error: blob::Error) -> Self {
        match error {
            blob::Error::OutOfRange { size } => Self::OutOfRange { size },
            blob::Error::Unavailable(_) | blob::Error::Failed(_) => Self::of(error),
        }
    }
}

impl ApiError {
    /// The caller waits for as much as one may wait for.
    pub const BACKLOG_FULL: Self = Self::TooManyRequests {
        detail: "Too many of your operations are waiting. Please wait until one has ended.",
        retry_after: Backlog::RETRY_AFTER,
    };
}

impl From<jobs::Error> for ApiError {
    fn from(error: jobs::Error) -> Self {
        match error {
            jobs::Error::Data(_) | jobs::Error::Blobs(_) | jobs::Error::Unwritable(_) => Self::of(error),
            jobs::Error::OverBudget(exceeded) => exceeded.into(),
            jobs::Error::BacklogFull => Self::BACKLOG_FULL,
            jobs::Error::KeyReused => Self::Invalid(vec![Fault {
                kind: "idempotency_key_reused",
                loc: vec![Step::Name("header"), Step::Name("Idempotency-Key")],
                msg: "The key was used for another request".to_owned(),
                input: Value::Null,
                ctx: Value::Null,
            }]),
        }
    }
}

impl From<dead_letters::Error> for ApiError {
    fn from(error: dead_letters::Error) -> Self {
        match error {
            dead_letters::Error::Queue(queue::Error::TooLarge { .. }) => {
                Self::BadRequest("The message is too long to be queued again.")
            }
            dead_letters::Error::Data(_) | dead_letters::Error::Queue(_) | dead_letters::Error::Unwritable(_) => {
                Self::of(error)
            }
        }
    }
}

impl From<media::Error> for ApiError {
    fn from(error: media::Error) -> Self {
        let detail = error.to_string();
        match error {
            media::Error::Unreadable(_) => Self::BadRequest("Unsupported or corrupt image."),
            media::Error::TooLarge(_) => Self::TooLarge,
            media::Error::OtherPicture => Self::Conflict("Another picture has this id."),
            // Whoever waited for it reads why, whether or not another try is worth it.
            media::Error::Segmentation { .. } if is_outage(&error) => {
                Self::StepUnavailable { detail, cause: Arc::new(error) }
            }
            media::Error::Segmentation { .. } | media::Error::Conversion(_) | media::Error::Upload(_) => {
                Self::failed(detail, error)
            }
            media::Error::Busy | media::Error::Broken(_) => Self::of(error),
        }
    }
}
