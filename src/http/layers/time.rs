//! The time that a handler may take.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::error::ApiError;

/// Layer of routes that must begin to answer within the limit. A stream may go on for longer.
///
/// # Errors
/// 503 when the time is over.
pub async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| ApiError::TimedOut)
}
