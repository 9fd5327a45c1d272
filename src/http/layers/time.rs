//! Time limit of handlers.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::error::ApiError;

/// Layer of routes that must start to answer within the limit. A stream may last longer.
///
/// # Errors
/// 503 when the limit is exceeded.
pub async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| ApiError::TimedOut)
}
