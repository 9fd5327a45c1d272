//! `Idempotency-Key`: a request that is repeated because its answer was lost is executed once and gets the first answer
//! again.
//!
//! For requests of users that change something. The first answer is kept for a day, with a hash of the request; a
//! different request under the same key is an error (422, or 400 in the wardrobe API). While the first is in progress,
//! and for up to 10 s after its process died, others get 409. A 5xx answer and one of more than 1.5 MiB are not kept,
//! and the next attempt executes the request again. All attempts create their document under the same id ([`NewId`]),
//! so a retry never creates a second one. Background work is a job, which stores its key itself.

use std::future::ready;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use crate::base::chain::Chain;
use crate::base::hash::sha256_hex_of;
use crate::data::idempotency::{Answer, Begun};
use crate::http::error::ApiError;
use crate::http::extract::new_id::NewId;
use crate::http::extract::{IDEMPOTENCY_KEY, idempotency_key, prefers_async, read_body};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::UserId;
use crate::state::AppState;
use crate::store::MAX_DOCUMENT_BYTES;

/// Header that marks a repeated answer.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Largest answer that is kept, in bytes of its JSON text: a record is a document.
const LONGEST_ANSWER: usize = MAX_DOCUMENT_BYTES * 3 / 4;
/// `Retry-After` while the first request is in progress.
const RETRY_AFTER: Duration = Duration::from_secs(2);
const UNDER_WAY: ApiError =
    ApiError::UnderWay { detail: "A request with this Idempotency-Key is under way.", retry_after: RETRY_AFTER };

const KEY_REUSED: ApiError = ApiError::BadRequest("The Idempotency-Key was used for another request.");

/// The requests of a group whose answers are repeated for the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// All requests that change something.
    All,
    /// All synchronous requests that change something. With `Prefer: respond-async` the key belongs to the job.
    UnlessAsync,
    /// None, because streams cannot be repeated.
    Never,
}

/// What the layer needs to know of a group.
#[derive(Clone)]
pub struct Rules {
    /// The service.
    pub app: AppState,
    /// The requests whose answers are repeated.
    pub repeats: Repeats,
    /// Whether the group's clients show errors as text, so that a list of faults is not for them.
    pub refuses_with_text: bool,
}

/// Layer of user routes, inside the one that identifies users. Groups that never repeat answers do not have it.
///
/// # Errors
/// 400 for a bad key, 422 (or 400, with a text) for one that was used for another request, 409 while the first request
/// is under way, 503 when the documents fail.
pub async fn repeat_answers(
    State(Rules { app, repeats, refuses_with_text }): State<Rules>,
    CurrentUser(user): CurrentUser,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return Ok(next.run(request).await);
    }
    let is_job = repeats == Repeats::UnlessAsync && prefers_async(request.headers());
    if request.method().is_safe() || is_job {
        return Ok(next.run(request).await);
    }
    let Some(key) = idempotency_key(request.headers())? else { return Ok(next.run(request).await) };
    // Boxed, because otherwise every request's future, with or without a key, would reserve space for it.
    Box::pin(answer_once(&app, &user, &key, refuses_with_text, request, next)).await
}

/// Executes a request under its key, or repeats its answer.
async fn answer_once(
    app: &AppState,
    user: &UserId,
    key: &str,
    refuses_with_text: bool,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body).await?;
    let uri = parts.uri.to_string();
    let fingerprint = sha256_hex_of([parts.method.as_str().as_bytes(), b"\n", uri.as_bytes(), b"\n", &body]);
    let kept = &app.data.idempotency;
    let held = match kept.begin(user, key, &fingerprint, &app.clock).await? {
        Begun::First(held) => held,
        Begun::UnderWay => return Err(UNDER_WAY),
        Begun::Other if refuses_with_text => return Err(KEY_REUSED),
        Begun::Other => return Err(ApiError::key_reused()),
        Begun::Answered(answer) => return Ok(replay(answer)),
    };
    parts.extensions.insert(NewId::of_repeatable(held.document().operation));
    if kept.is_tidying_due(user) {
        let (kept, user) = (kept.clone(), user.clone());
        app.tasks.spawn(async move {
            if let Err(error) = kept.tidy(&user).await {
                warn!(user.id = %user, error = %Chain(&error), "old answers not deleted");
            }
        });
    }
    let answered = held.keep(async {
        let (parts, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
        (parts, read_answer(body).await)
    });
    // Another process took over, or may have while the store was unavailable.
    let (parts, body) = answered.await.map_err(|_| UNDER_WAY)?;
    let (text, body) = match body {
        Ok(ReadAnswer::Whole(bytes)) => (Some(String::from_utf8_lossy(&bytes).into_owned()), Body::from(bytes)),
        Ok(ReadAnswer::TooLong(body)) => (None, body),
        Err(error) => {
            if let Err(error) = held.release().await {
                warn!(error = %Chain(&error), "Idempotency-Key not released");
            }
            return Err(ApiError::internal(error));
        }
    };
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // Failed and temporarily refused requests may be retried with the same key.
    let may_change = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
    let answer = text.filter(|text| !may_change && json_length(text) <= LONGEST_ANSWER).map(|body| Answer {
        status: parts.status.as_u16(),
        content_type: header(CONTENT_TYPE),
        location: header(LOCATION),
        body,
    });
    let noted = held.finish(|record| record.answer = answer.clone()).await;
    if let Err(error) = noted {
        warn!(error = %Chain(&error), "answer not stored for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, body))
}

/// An answer, read to be kept.
enum ReadAnswer {
    Whole(Bytes),
    /// The answer is too long to be stored; the body is complete.
    TooLong(Body),
}

/// Reads an answer up to [`LONGEST_ANSWER`].
async fn read_answer(body: Body) -> Result<ReadAnswer, axum::Error> {
    if body.size_hint().lower() > LONGEST_ANSWER as u64 {
        return Ok(ReadAnswer::TooLong(body));
    }
    let mut rest = body.into_data_stream();
    let mut read = BytesMut::new();
    while let Some(bytes) = rest.try_next().await? {
        read.extend_from_slice(&bytes);
        if read.len() > LONGEST_ANSWER {
            let begin = stream::once(ready(Ok(read.freeze())));
            return Ok(ReadAnswer::TooLong(Body::from_stream(begin.chain(rest))));
        }
    }
    Ok(ReadAnswer::Whole(read.freeze()))
}

/// Returns the length of a text within a JSON document, where some characters are escaped.
fn json_length(text: &str) -> usize {
    let escapes = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    let controls = text.bytes().filter(|byte| *byte < 0x20).count();
    text.len() + escapes + 5 * controls
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    for (name, value) in [(CONTENT_TYPE, answer.content_type), (LOCATION, answer.location)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
