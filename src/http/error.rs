//! Errors as callers see them: one enum and one body for all routes.
//!
//! `Display` is the `detail` for callers, so 5xx variants reveal nothing internal; the response's extensions carry the
//! cause to the request layer, which logs it once.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::blob;
use crate::data;
use crate::domain::backlog::Backlog;
use crate::domain::budget::BudgetExceeded;
use crate::domain::chat::runs;
use crate::domain::dead_letters;
use crate::domain::drafts;
use crate::domain::jobs;
use crate::domain::media;
use crate::domain::wardrobe::{self, Unfit};
use crate::http::extract::AppJson;
use crate::imaging;
use crate::llm;
use crate::net::segmentation;
use crate::queue;
use crate::store;

/// Default `Retry-After` when a dependency is down.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// `Retry-After` when the service is busy.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_secs(1);

/// An error response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// 400: a value violates a rule.
    #[error("{0}")]
    BadRequest(&'static str),
    /// 401: no valid credential.
    #[error("{detail}")]
    Unauthorized {
        /// Message for the caller.
        detail: &'static str,
        /// What is wrong with the credential, as a code for the log.
        reason: &'static str,
    },
    /// 403: the caller is not allowed to do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: missing, or owned by someone else.
    #[error("{0}")]
    NotFound(&'static str),
    /// 405: the path exists, but not for this method.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// 409: changed in the meantime.
    #[error("{0}")]
    Conflict(&'static str),
    /// 410: it existed but is gone.
    #[error("{0}")]
    Gone(&'static str),
    /// 409: already in progress; try again later for the outcome.
    #[error("{detail}")]
    UnderWay {
        /// Message for the caller.
        detail: &'static str,
        /// Time to wait before the next try.
        retry_after: Duration,
    },
    /// 408: the body arrived too slowly.
    #[error("The request body took too long to arrive.")]
    BodyTooSlow,
    /// 412: the caller has another version than there is (`If-Match`).
    #[error("{0}")]
    PreconditionFailed(&'static str),
    /// 413: the body is too large.
    #[error("Request body too large.")]
    TooLarge,
    /// 413: the picture has too many bytes or pixels.
    #[error("The picture is too large.")]
    PictureTooLarge,
    /// 415: unsupported media type.
    #[error("Unsupported Media Type")]
    UnsupportedMediaType,
    /// 415: the body has a content coding, such as gzip.
    #[error("The Content-Encoding of the request body is not supported. Send the body without encoding.")]
    UnsupportedEncoding,
    /// 400: a value violates a rule; the message is built at run time.
    #[error("{0}")]
    BadValue(String),
    /// 416: the range starts after the end.
    #[error("Range Not Satisfiable")]
    OutOfRange {
        /// Size in bytes.
        size: u64,
    },
    /// 422: the body, query or path does not match its schema.
    #[error("The request does not match its schema.")]
    Invalid(Vec<Fault>),
    /// 429: rate limit exceeded.
    #[error("{detail}")]
    TooManyRequests {
        /// Message for the caller.
        detail: &'static str,
        /// The exceeded limit, as a code for the log.
        reason: &'static str,
        /// Time to wait before the next try.
        retry_after: Duration,
    },
    /// 503: too many concurrent requests.
    #[error("The service is busy. Please try again.")]
    Overloaded,
    /// 503: a dependency is down.
    #[error("The service is temporarily unavailable. Please try again.")]
    Unavailable(#[source] Arc<dyn StdError + Send + Sync>),
    /// 503: a dependency is down; the message names the step that failed.
    #[error("{detail}")]
    StepUnavailable {
        /// Message for the caller.
        detail: String,
        /// Underlying error, for the log.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// 503: the request exceeded its time limit.
    #[error("The request took too long. Please try again.")]
    TimedOut,
    /// 500: a step failed; the message names it.
    #[error("{detail}")]
    Failed {
        /// Message for the caller.
        detail: String,
        /// Underlying error, for the log.
        #[source]
        cause: Arc<dyn StdError + Send + Sync>,
    },
    /// 500: a setting that this route needs is missing or invalid.
    #[error("{0}")]
    Misconfigured(&'static str),
    /// 500: internal error.
    #[error("Internal server error.")]
    Internal(#[source] Arc<dyn StdError + Send + Sync>),
    /// 500: a handler panicked.
    #[error("Internal server error.")]
    Panicked,
}

/// One fault in a body, query or path: an entry of `detail` in a 422.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Fault {
    /// Kind, such as `missing` or `string_too_long`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Location: `body`, `query` or `path`, then field names and list indexes.
    pub loc: Vec<Step>,
    /// Message for people.
    pub msg: String,
    /// The invalid input, shortened.
    pub input: Value,
    /// Parameters of the message, if any.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub ctx: Value,
}

impl fmt::Display for Fault {
    /// Writes location and message: `body.tags.3: Input should be a valid string`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.loc.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            match step {
                Step::Name(name) => write!(f, "{dot}{name}")?,
                Step::Position(position) => write!(f, "{dot}{position}")?,
            }
        }
        write!(f, ": {}", self.msg)
    }
}

/// A step in the location of a [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// A part of the request, or a field.
    Name(&'static str),
    /// An index in a list or text.
    Position(usize),
}

/// Most characters of a text that are shown in a fault.
const SHOWN_CHARACTERS: usize = 100;
/// Most bytes of input shown in a fault, and in all faults together.
const SHOWN_BYTES: usize = 1024;
/// Most faults in one answer.
const MOST_FAULTS: usize = 100;

/// Shortens a value for display: a small one as it is, else the beginning of a text or the field names of an object.
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

/// Shortens an object for display, like [`echo`].
pub fn echo_fields(fields: &Map<String, Value>) -> Value {
    let mut left = SHOWN_BYTES;
    if fields.iter().all(|(name, value)| take(&mut left, name.len() + 4) && is_small(value, &mut left)) {
        return Value::Object(fields.clone());
    }
    let mut left = SHOWN_BYTES;
    let names = fields.keys().map(|name| name.chars().take(SHOWN_CHARACTERS).collect::<String>());
    names.take_while(|name| take(&mut left, name.len() + 3)).map(Value::String).collect()
}

/// Whether the value's JSON fits into the remaining bytes, from which its size is subtracted.
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
    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::BadValue(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) | Self::UnderWay { .. } => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge | Self::PictureTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
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

    /// Returns why the caller was refused (401, 429), as a code for the log.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized { reason, .. } | Self::TooManyRequests { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Converts any error of the lower layers: 503 if its chain contains an outage, else 500.
    pub fn of(cause: impl StdError + Send + Sync + 'static) -> Self {
        if is_outage(&cause) { Self::unavailable(cause) } else { Self::internal(cause) }
    }

    /// Converts an error like [`ApiError::of`], but an internal error names the failed step.
    pub fn failed(detail: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        if is_outage(&cause) {
            return Self::unavailable(cause);
        }
        Self::Failed { detail: detail.into(), cause: Arc::new(cause) }
    }

    /// Creates a 503 for a dependency that is down.
    pub fn unavailable(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    /// Creates a 500 for an internal error.
    pub fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::Internal(Arc::new(cause))
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        /// Error body; some clients read `detail`, others `error`.
        #[derive(Serialize)]
        struct Body<'a, T> {
            detail: T,
            error: &'a str,
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
            Self::Invalid(faults) => {
                let first = faults.first().map(Fault::to_string).unwrap_or_default();
                (status, AppJson(Body { detail: faults, error: &first })).into_response()
            }
            other => {
                let text = other.to_string();
                (status, AppJson(Body { detail: &text, error: &text })).into_response()
            }
        };
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self, Self::UnsupportedEncoding) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let retry_after = match &self {
            Self::TooManyRequests { retry_after, .. } | Self::UnderWay { retry_after, .. } => Some(*retry_after),
            Self::Overloaded => Some(RETRY_AFTER_OVERLOAD),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_OUTAGE),
            _ => None,
        };
        if let Some(wait) = retry_after {
            // Whole seconds, rounded up.
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
        Self::TooManyRequests { detail, reason: "budget", retry_after }
    }
}

impl From<Unfit> for ApiError {
    fn from(Unfit(detail): Unfit) -> Self {
        Self::BadRequest(detail)
    }
}

impl From<wardrobe::Error> for ApiError {
    fn from(error: wardrobe::Error) -> Self {
        match error {
            wardrobe::Error::Unfit(unfit) => unfit.into(),
            wardrobe::Error::Data(error) => error.into(),
        }
    }
}

impl From<runs::Error> for ApiError {
    fn from(error: runs::Error) -> Self {
        match error {
            runs::Error::NotFound => Self::NotFound("Run not found."),
            runs::Error::Busy => Self::Conflict("An answer is still being written."),
            runs::Error::TooManyFollowers => Self::TooManyRequests {
                detail: "Too many clients are following this answer. Try again when one of them has disconnected.",
                reason: "followers",
                retry_after: RETRY_AFTER_OUTAGE,
            },
            runs::Error::Data(error) => error.into(),
        }
    }
}

/// Whether the error or one of its causes is an outage of a dependency. The type of the error decides, not the route.
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

/// Whether the error is a `T`, possibly shared, that satisfies `holds`.
fn is<T: StdError + 'static>(error: &(dyn StdError + 'static), holds: impl Fn(&T) -> bool) -> bool {
    let own = error.downcast_ref::<T>().or_else(|| error.downcast_ref::<Arc<T>>().map(Arc::as_ref));
    own.is_some_and(holds)
}

/// Implements `From` by [`ApiError::of`].
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

impl From<drafts::Error> for ApiError {
    fn from(error: drafts::Error) -> Self {
        match error {
            drafts::Error::TooMany => {
                Self::Conflict("You have 200 photos that are not accepted yet. Accept or delete some first.")
            }
            drafts::Error::Full => Self::Conflict(wardrobe::FULL),
            error => Self::of(error),
        }
    }
}

impl From<blob::Error> for ApiError {
    fn from(error: blob::Error) -> Self {
        match error {
            blob::Error::OutOfRange { size } => Self::OutOfRange { size },
            blob::Error::Unavailable(_) | blob::Error::Failed(_) => Self::of(error),
        }
    }
}

impl ApiError {
    /// The caller has the most waiting jobs allowed.
    pub const BACKLOG_FULL: Self = Self::TooManyRequests {
        detail: "Too many of your operations are waiting. Wait until one of them has ended.",
        reason: "backlog",
        retry_after: Backlog::RETRY_AFTER,
    };
}

impl ApiError {
    /// The caller used an `Idempotency-Key` for another request before.
    pub fn key_reused() -> Self {
        Self::Invalid(vec![Fault {
            kind: "idempotency_key_reused",
            loc: vec![Step::Name("header"), Step::Name("Idempotency-Key")],
            msg: "The key was used for another request".to_owned(),
            input: Value::Null,
            ctx: Value::Null,
        }])
    }
}

impl From<jobs::Error> for ApiError {
    fn from(error: jobs::Error) -> Self {
        match error {
            jobs::Error::Data(_) | jobs::Error::Blobs(_) | jobs::Error::Unwritable(_) => Self::of(error),
            jobs::Error::OverBudget(exceeded) => exceeded.into(),
            jobs::Error::BacklogFull => Self::BACKLOG_FULL,
            jobs::Error::KeyReused => Self::key_reused(),
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

impl From<drafts::CutoutError> for ApiError {
    fn from(error: drafts::CutoutError) -> Self {
        match error {
            drafts::CutoutError::Missing => Self::NotFound("Item not found."),
            drafts::CutoutError::Unfinished => Self::Conflict("The picture is not finished."),
            drafts::CutoutError::NoPhoto => Self::Gone("There is no uploaded photo of this item."),
            drafts::CutoutError::Picture(error) => error.into(),
            drafts::CutoutError::Failed(error) => error.into(),
        }
    }
}

impl From<media::Error> for ApiError {
    fn from(error: media::Error) -> Self {
        let detail = error.to_string();
        match error {
            media::Error::Unreadable(_) => Self::BadRequest("Unsupported or corrupt image."),
            media::Error::TooLarge(_) => Self::PictureTooLarge,
            media::Error::NoNetwork => Self::BadRequest("The background-removal network is not installed."),
            media::Error::OtherPicture => Self::Conflict("Another picture has this id."),
            // The caller gets the reason, whether or not a retry may help.
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
