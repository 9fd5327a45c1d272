//! `Idempotency-Key`: a request that is repeated because its answer was lost is executed once and gets the first answer
//! again.
//!
//! For requests of users that change something. The first answer is kept for a day, with a hash of the request; a
//! different request under the same key is an error (422). While the first is in progress, and for some seconds after
//! its process dies, others get 409. A 5xx answer is not kept, and the next attempt executes the request again. All
//! attempts create their document under the same id ([`NewId`]), so a retry never creates a second one. Background work
//! is a job, which stores its key itself.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tracing::warn;

use crate::base::chain::Chain;
use crate::base::hash::sha256_hex_of;
use crate::data::idempotency::{Answer, Begun};
use crate::http::error::{ApiError, Fault, Step};
use crate::http::extract::new_id::NewId;
use crate::http::extract::{IDEMPOTENCY_KEY, idempotency_key, prefers_async, read_body};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::UserId;
use crate::state::AppState;

/// Header that marks a repeated answer.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Largest answer that is kept, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;
/// `Retry-After` while the first request is in progress.
const RETRY_AFTER: Duration = Duration::from_secs(2);
const UNDER_WAY: ApiError =
    ApiError::UnderWay { detail: "A request with this Idempotency-Key is under way.", retry_after: RETRY_AFTER };

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

/// Layer of user routes, inside the one that identifies users. Groups that never repeat answers do not have it.
///
/// # Errors
/// 400 for a bad key, 422 for one that was used for another request, 409 while the first request is under way, 503 when
/// the documents fail.
pub async fn repeat_answers(
    State((app, repeats)): State<(AppState, Repeats)>,
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
    Box::pin(answer_once(&app, &user, &key, request, next)).await
}

/// Executes a request under its key, or repeats its answer.
async fn answer_once(
    app: &AppState,
    user: &UserId,
    key: &str,
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
        Begun::Other => return Err(reused()),
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
        (parts, Limited::new(body, LONGEST_ANSWER).collect().await)
    });
    // Another process took over, or may have while the store was unavailable.
    let (parts, body) = answered.await.map_err(|_| UNDER_WAY)?;
    let body = match body {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            warn!(error = %Chain(&*error), "answer too long to be kept");
            return Err(ApiError::internal(TooLong));
        }
    };
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: text(CONTENT_TYPE),
        location: text(LOCATION),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    // Failed and temporarily refused requests may be retried with the same key.
    let may_change = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
    let noted = held.finish(|record| record.answer = (!may_change).then(|| answer.clone())).await;
    if let Err(error) = noted {
        warn!(error = %Chain(&error), "answer not kept for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {LONGEST_ANSWER} bytes")]
struct TooLong;

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

fn reused() -> ApiError {
    ApiError::Invalid(vec![Fault {
        kind: "value_error",
        loc: vec![Step::Name("header"), Step::Name("Idempotency-Key")],
        msg: "Idempotency-Key was used for another request".to_owned(),
        input: json!(null),
        ctx: json!(null),
    }])
}
