//! Clients that disconnect before the answer.
//!
//! A request that changes something runs in a task of its own and is completed without its client: dropping a handler
//! between two writes would leave one without the other. A request that only reads ends with its connection.

use std::convert::Infallible;
use std::panic::resume_unwind;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::http::error::ApiError;
use crate::state::AppState;

/// The client of a request that changes something, for handlers whose work is worth nothing without it.
#[derive(Debug, Clone, Default)]
pub struct Client(CancellationToken);

impl Client {
    /// Waits until the client has disconnected, or has its answer.
    pub async fn disconnected(&self) {
        self.0.cancelled().await;
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Layer of all routes except probes: completes requests that change something, even if their clients disconnect.
///
/// # Errors
/// 500 when the runtime stops meanwhile.
pub async fn complete_changes(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method().is_safe() {
        return Ok(next.run(request).await);
    }
    let client = Client::default();
    request.extensions_mut().insert(client.clone());
    let _connected = client.0.drop_guard();
    let handling = app.tasks.spawn(async move { next.run(request).await }.in_current_span());
    handling.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => ApiError::internal(error),
    })
}
