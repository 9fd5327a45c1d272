//! The wardrobe for other assistants, by the Model Context Protocol over HTTP.
//!
//! Stateless: a message is a POST, and its answer is JSON. Credentials and limits are those of every route.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::local_offset::OffsetSource;
use crate::base::schema::verbatim;
use crate::http::error::ApiError;
use crate::http::extract::{AppJson, CallerOffset, charge_values, is_json, read_body};
use crate::http::layers::auth::challenge::{is_foreign_page, public_base};
use crate::http::layers::auth::{ByApiToken, CurrentUser};
use crate::mcp::version::Headers;
use crate::mcp::{Reply, Server};
use crate::model::api_token::{Scope, Scopes};
use crate::state::AppState;

/// Path of the route.
const ROUTE: &str = "/api/mcp";
/// Path of its description.
pub const DESCRIPTION: &str = "/api/mcp/resource-metadata";

/// Routes for users and programs, including those with a read-only token.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(answer_message))
}

/// Routes for everybody.
pub fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(describe_resource))
}

/// A message of JSON-RPC 2.0: a request or a notification.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document; mcp/message.rs reads the body")]
struct McpMessage {
    /// `2.0`.
    #[schema(pattern = r"^2\.0$")]
    jsonrpc: String,
    /// A number or text; absent in a notification.
    #[schema(schema_with = id_schema, required = false)]
    id: Option<Value>,
    /// `initialize`, `server/discover`, `tools/list`, `tools/call`, `resources/read` …
    method: String,
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

fn id_schema() -> RefOr<Schema> {
    verbatim(json!({ "type": ["integer", "string"], "minimum": i64::MIN, "maximum": i64::MAX }))
}

/// The answer to a request: a result or an error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document; mcp/message.rs writes the body")]
struct McpAnswer {
    /// `2.0`.
    jsonrpc: Option<String>,
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
}

/// Answers a message of the Model Context Protocol: tools, resources and prompts of the caller's wardrobe.
#[utoipa::path(post, path = "/api/mcp", request_body(content = McpMessage, example = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})), params(
    ("MCP-Protocol-Version" = Option<String>, Header, description = "Version of the protocol; default `2025-03-26`."),
    ("Mcp-Method" = Option<String>, Header, description = "Repeats `method`; required from version `2026-07-28` on."),
    ("Mcp-Name" = Option<String>, Header, description = "Repeats `params.name` or `params.uri`; likewise."),
    CallerOffset
), responses(
    (status = 200, body = McpAnswer),
    (status = 202, description = "The notification was accepted."),
    (status = 400, body = McpAnswer, description = "Invalid message, version or headers."),
    (status = 404, body = McpAnswer, description = "Unknown method."),
    (status = 415, description = "The body is not JSON.")
))]
async fn answer_message(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    CallerOffset(offset): CallerOffset,
    token: Option<Extension<ByApiToken>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    if is_foreign_page(headers, &app.config.server.allowed_origins) {
        return Err(ApiError::Forbidden("Requests from web pages of this origin are not accepted."));
    }
    if !is_json(headers) {
        return Err(ApiError::UnsupportedMediaType);
    }
    let body = read_body(headers, body).await?;
    charge_values(&body, parts.extensions.get()).await?;
    let scopes = token.map_or(Scopes::ALL, |Extension(ByApiToken(scopes))| scopes);
    let repeated = Headers {
        version: single(headers, "mcp-protocol-version"),
        method: single(headers, "mcp-method"),
        name: single(headers, "mcp-name"),
    };
    let reply = Server::new(app, user, scopes, OffsetSource::Told(offset)).answer(&body, Some(&repeated)).await;
    let status = match reply {
        Reply { is_malformed: true, .. } => StatusCode::BAD_REQUEST,
        Reply { is_unknown: true, .. } => StatusCode::NOT_FOUND,
        Reply { answer: None, .. } => StatusCode::ACCEPTED,
        Reply { answer: Some(_), .. } => StatusCode::OK,
    };
    Ok(match reply.answer {
        Some(answer) => (status, AppJson(answer)).into_response(),
        None => status.into_response(),
    })
}

/// Returns the value of a header; empty if it is repeated or not text.
fn single(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok().filter(|_| values.next().is_none());
    Some(value.unwrap_or_default().to_owned())
}

/// What protects the route, for clients that have no credential (RFC 9728).
#[derive(Serialize, ToSchema)]
struct ResourceResponse {
    /// URL of the protected route.
    resource: String,
    resource_name: &'static str,
    scopes_supported: [Scope; 2],
    /// Ways of sending a credential.
    bearer_methods_supported: [&'static str; 1],
}

/// Describes the credentials of `POST /api/mcp` (RFC 9728): tokens of `POST /api/auth/tokens`. There is no
/// authorization server that would issue others.
#[utoipa::path(get, path = "/api/mcp/resource-metadata", responses((status = 200, body = ResourceResponse)))]
async fn describe_resource(
    State(app): State<AppState>,
    headers: HeaderMap,
) -> Result<AppJson<ResourceResponse>, ApiError> {
    let base = public_base(&app, &headers).ok_or(ApiError::BadRequest("The host cannot be read."))?;
    Ok(AppJson(ResourceResponse {
        resource: format!("{base}{ROUTE}"),
        resource_name: "PluckIt wardrobe",
        scopes_supported: Scope::ALL,
        bearer_methods_supported: ["header"],
    }))
}
