//! API tokens of the caller: credentials for their programs. A program cannot call these routes with one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::identity::api_token::{DEFAULT_DAYS, LONGEST_NAME, ListedToken, MOST_DAYS, NewToken};
use crate::model::api_token::{Scope, Scopes};
use crate::model::ids::ApiTokenId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

/// Most scopes that a request may name, and the longest of them, in characters.
const MOST_SCOPES: usize = 8;
const LONGEST_SCOPE: usize = 64;

/// Routes for signed-in users.
pub fn signed_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create_token, list_tokens)).routes(routes!(delete_token))
}

struct CreateTokenRequest {
    name: String,
    days: i64,
    scopes: Option<Vec<String>>,
}

impl Read for CreateTokenRequest {
    fn read(fields: &mut Fields) -> Self {
        let name = fields.text("name", 1, LONGEST_NAME);
        fields.rule("name", || json!({ "pattern": r"\S" }));
        let days = fields.integer_within("expiresInDays", DEFAULT_DAYS, 1..=MOST_DAYS);
        let scopes = fields.optional_texts("scopes", MOST_SCOPES, LONGEST_SCOPE);
        fields.rule("scopes", || json!({ "minItems": 1, "items": { "enum": Scope::ALL } }));
        Self { name, days, scopes }
    }
}

described!(CreateTokenRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreateTokenResponse {
    id: ApiTokenId,
    name: String,
    /// The credential. It is not shown again.
    token: String,
    expires_at: Timestamp,
    /// What the token may do; absent when it may do what its user may.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Scope>>,
}

/// Creates an API token for a program. It is shown only once.
#[utoipa::path(post, path = "/api/auth/tokens", request_body(content = CreateTokenRequest, example = json!({"name": "My script", "expiresInDays": 90})), responses(
    (status = 201, body = CreateTokenResponse),
    (status = 400, description = "The name is blank, or a scope is unknown."),
    (status = 409, description = "The caller has the maximum number of tokens.")
))]
async fn create_token(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppJson(body): AppJson<CreateTokenRequest>,
) -> Result<Response, ApiError> {
    let name = body.name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() {
        return Err(ApiError::BadRequest("The name must not be blank."));
    }
    let scopes = match body.scopes {
        Some(names) => named(&names)?,
        None => Scopes::ALL,
    };
    let made = app.api_tokens.create(&user, &name, body.days, scopes).await?;
    let NewToken { token, secret } = made.ok_or(ApiError::Conflict("You have 20 API tokens. Delete one first."))?;
    let body = CreateTokenResponse {
        id: token.id,
        name: token.name,
        token: secret,
        expires_at: token.expires_at,
        scopes: token.scopes.list(),
    };
    Ok((StatusCode::CREATED, AppJson(body)).into_response())
}

/// Parses the scopes with these names; at least one is required.
fn named(names: &[String]) -> Result<Scopes, ApiError> {
    let scopes: Result<Vec<Scope>, _> = names.iter().map(|name| name.parse()).collect();
    match scopes {
        Ok(scopes) if !scopes.is_empty() => Ok(Scopes::only(scopes)),
        Ok(_) | Err(_) => Err(ApiError::BadRequest("scopes must be 'wardrobe:read' or 'wardrobe:write'.")),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenResponse {
    id: ApiTokenId,
    name: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    /// Day of the last use, as midnight UTC.
    last_used_at: Option<Timestamp>,
    /// What the token may do; absent when it may do what its user may.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Scope>>,
}

impl From<ListedToken> for TokenResponse {
    fn from(ListedToken { token, last_used_at }: ListedToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at,
            scopes: token.scopes.list(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ListTokensResponse {
    tokens: Vec<TokenResponse>,
}

/// Lists the caller's API tokens, newest first.
#[utoipa::path(get, path = "/api/auth/tokens", responses((status = 200, body = ListTokensResponse)))]
async fn list_tokens(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<ListTokensResponse>, ApiError> {
    let tokens = app.api_tokens.list(&user).await?;
    Ok(AppJson(ListTokensResponse { tokens: tokens.into_iter().map(TokenResponse::from).collect() }))
}

/// Revokes an API token; all instances refuse it within 30 s.
#[utoipa::path(delete, path = "/api/auth/tokens/{id}", params(("id" = ApiTokenId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 204, description = "The token is revoked."),
    (status = 404, description = "Token not found.")
))]
async fn delete_token(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(id): AppPath<ApiTokenId>,
) -> Result<StatusCode, ApiError> {
    if !app.api_tokens.revoke(&user, &id).await? {
        return Err(ApiError::NotFound("API token not found."));
    }
    Ok(StatusCode::NO_CONTENT)
}
