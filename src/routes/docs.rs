//! The OpenAPI document and, in development, a page to try the API.

use axum::Extension;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

/// The document changes with the service.
const REVALIDATE: (HeaderName, &str) = (CACHE_CONTROL, "no-cache");
/// Content security policy: the page contains everything it needs and calls only this service.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' blob: data:";

/// Returns the OpenAPI document.
#[derive(Clone, Copy)]
pub struct Description(pub fn() -> Bytes);

/// Routes for everybody.
pub fn public(description: Description) -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_description)).layer(Extension(description))
}

/// Routes for everybody, in development. The page is not a part of the API, so the description leaves it out.
#[expect(clippy::disallowed_methods, reason = "the page is not described")]
pub fn development() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().route("/api/docs", get(show_page))
}

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Object)))]
async fn show_description(Extension(Description(make)): Extension<Description>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), REVALIDATE], make())
}

/// Shows a page to try the API.
async fn show_page() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), REVALIDATE, (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("docs.html"))
}
