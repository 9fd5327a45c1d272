//! Metrics in Prometheus text format.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Scraping;
use crate::http::error::ApiError;
use crate::http::layers::auth::development::{Bypass, decide};
use crate::http::layers::auth::{Evidence, bearer_token};
use crate::state::AppState;

/// Version 0.0.4 of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Routes for Prometheus. They are not part of the API, so the OpenAPI document omits them.
#[expect(clippy::disallowed_methods, reason = "the page is not described")]
pub fn page() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/metrics", get(show_metrics))
}

/// Serves the metrics to callers with the configured token or, without one, to callers on this machine.
async fn show_metrics(State(app): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let Scraping { token } = app.config.telemetry.scraping.as_ref().ok_or(ApiError::NotFound("Not Found"))?;
    match token {
        Some(token) => {
            let shown = bearer_token(request.headers()).unwrap_or_default();
            if !bool::from(shown.as_bytes().ct_eq(token.expose_secret().as_bytes())) {
                return Err(ApiError::Unauthorized {
                    detail: "Send the value of METRICS_TOKEN as a bearer token.",
                    reason: "metrics_token_wrong",
                });
            }
        }
        None if decide(&Evidence::from(&request), &app.config.server.allowed_origins) == Bypass::Applies => {}
        None => {
            return Err(ApiError::Forbidden("Without METRICS_TOKEN, only callers on this machine may read metrics."));
        }
    }
    let telemetry = app.telemetry.clone();
    let page = tokio::task::spawn_blocking(move || telemetry.scrape()).await.map_err(ApiError::internal)?;
    let page = page.map_err(ApiError::internal)?;
    Ok(([(CONTENT_TYPE, TEXT)], page).into_response())
}
