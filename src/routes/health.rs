//! Liveness and readiness.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Map;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::readiness::Health;
use crate::http::extract::AppJson;
use crate::llm::Purpose;
use crate::state::AppState;

/// Routes for everybody.
pub fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_health)).routes(routes!(show_readiness))
}

#[derive(Serialize, ToSchema)]
struct HealthResponse {
    status: &'static str,
    service: &'static str,
    version: &'static str,
}

/// Liveness; checks no dependencies.
#[utoipa::path(get, path = "/api/health", responses((status = 200, body = HealthResponse)))]
async fn show_health() -> AppJson<HealthResponse> {
    AppJson(HealthResponse { status: "ok", service: "pluckit-processor", version: env!("CARGO_PKG_VERSION") })
}

#[derive(Serialize, ToSchema)]
struct ReadinessResponse<'a> {
    status: &'static str,
    checks: Map<String, serde_json::Value>,
    /// The configured model, so that the offline model is not mistaken for a real one.
    model: &'a str,
    /// The background remover, so that the built-in one is not mistaken for the service.
    segmentation: &'a str,
}

/// Readiness; checks documents, blobs, queue and model.
#[utoipa::path(get, path = "/api/health/ready", responses(
    (status = 200, body = ReadinessResponse, description = "All configured dependencies answer."),
    (status = 503, body = ReadinessResponse, description = "A dependency does not answer.")
))]
async fn show_readiness(State(app): State<AppState>) -> Response {
    let checks = app.readiness.check().await;
    let failing = checks.iter().any(|(_, health)| *health == Health::Failing);
    let (status, word) =
        if failing { (StatusCode::SERVICE_UNAVAILABLE, "degraded") } else { (StatusCode::OK, "ready") };
    let checks = checks.into_iter().map(|(name, health)| (name.to_owned(), health.name().into())).collect();
    let model = app.model.name(Purpose::Stylist);
    let segmentation = app.media.segmenter();
    (status, AppJson(ReadinessResponse { status: word, checks, model, segmentation })).into_response()
}
