//! The OpenAPI document and, in development, Swagger UI to read it and to try the API.

use std::io::Read;
use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::read::GzDecoder;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

use crate::http::error::ApiError;
use crate::state::AppState;

/// The page. Its files come from the crate `utoipa-swagger-ui`, so nothing is loaded from the network.
const PAGE: &str = include_str!("docs.html");
/// The document and the page change with the binary.
const REVALIDATE: (HeaderName, &str) = (CACHE_CONTROL, "no-cache");
/// Content security policy: everything comes from this service. Swagger UI sets styles by scripts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                      img-src 'self' blob: data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// How Swagger UI shows the document.
static SETTINGS: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::new(["/api/openapi.json"])
        .deep_linking(true)
        .display_request_duration(true)
        .doc_expansion("none")
        .filter(true)
        .default_model_expand_depth(3)
        .default_models_expand_depth(-1)
        .try_it_out_enabled(true)
        .request_snippets_enabled(true)
        // Otherwise the document is sent to an online validator.
        .validator_url("none");
    Arc::new(config)
});

/// Returns the OpenAPI document.
#[derive(Clone, Copy)]
pub struct Description(pub fn() -> Bytes);

/// Routes for everybody.
pub fn public(description: Description) -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show_description)).layer((CompressionLayer::new(), Extension(description)))
}

/// Public routes in development: the page, also at the paths that other frameworks use. It is not part of the API, so
/// the OpenAPI document omits it.
#[expect(clippy::disallowed_methods, reason = "the page is not described")]
pub fn development() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .route("/docs", get(show_page))
        .route("/redoc", get(async || Redirect::temporary("/api/docs")))
        .route("/openapi.json", get(async || Redirect::temporary("/api/openapi.json")))
        .route("/api/docs", get(show_page))
        .route("/api/docs/{file}", get(show_file))
}

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Object)))]
async fn show_description(Extension(Description(make)): Extension<Description>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), REVALIDATE], make())
}

/// Serves a page to try the API.
async fn show_page() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        REVALIDATE,
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE)
}

/// Serves a file of the page.
async fn show_file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let file = utoipa_swagger_ui::serve(&name, SETTINGS.clone());
    let file = file.map_err(|error| ApiError::internal(std::io::Error::other(error.to_string())))?;
    let file = file.ok_or(ApiError::NotFound("Not Found"))?;
    let kind = [(CONTENT_TYPE, file.content_type)];
    let common = [REVALIDATE, (X_CONTENT_TYPE_OPTIONS, "nosniff"), (VARY, "accept-encoding")];
    if !file.gzpipped {
        return Ok((kind, common, file.bytes.into_owned()).into_response());
    }
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    if accepted.split(',').any(|coding| coding.trim() == "gzip") {
        return Ok((kind, common, [(CONTENT_ENCODING, "gzip")], file.bytes.into_owned()).into_response());
    }
    let mut plain = Vec::new();
    GzDecoder::new(&*file.bytes).read_to_end(&mut plain).map_err(ApiError::internal)?;
    Ok((kind, common, plain).into_response())
}
