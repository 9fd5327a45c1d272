//! Sign-in with Google, refresh and sign-out.

use axum::extract::State;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, Fields, Read};
use crate::http::layers::auth;
use crate::identity::session::{ACCESS_LIFE, Grant, REFRESH_LIFE};
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

/// Largest body of these routes, in bytes.
pub const LARGEST_BODY: usize = 32 * 1024;
/// Longest token that is examined, in characters: several times the length of Google's, and three of them fit a body.
const LONGEST_TOKEN: usize = 4 * 1024;
/// Names of a Google ID token in a body, in order of preference.
const ID_TOKEN: [&str; 3] = ["id_token", "token", "idTokenValue"];
/// Names of a refresh token in a body, in order of preference.
const REFRESH_TOKEN: [&str; 3] = ["refresh_token", "token", "tokenValue"];

/// Public routes: the token in the body is the credential.
pub fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(sign_in)).routes(routes!(refresh_session)).routes(routes!(revoke_sessions))
}

/// A new pair of tokens. Older clients read the access token under other names.
#[derive(Serialize, ToSchema)]
struct GrantResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    access_token_expires_at: Timestamp,
    refresh_token: String,
    refresh_token_expires_in: u64,
    refresh_token_expires_at: Timestamp,
    refresh_token_rotation: &'static str,
    refresh_token_revoke_on_logout: bool,
    token: String,
    session_token: String,
    app_token: String,
    id_token: String,
    user_id: UserId,
    #[serde(rename = "userId")]
    user_id_camel: UserId,
}

impl From<Grant> for GrantResponse {
    fn from(grant: Grant) -> Self {
        Self {
            token_type: "Bearer",
            expires_in: ACCESS_LIFE.as_secs(),
            access_token_expires_at: grant.access_token_expires_at,
            refresh_token: grant.refresh_token,
            refresh_token_expires_in: REFRESH_LIFE.as_secs(),
            refresh_token_expires_at: grant.refresh_token_expires_at,
            refresh_token_rotation: "single-use",
            refresh_token_revoke_on_logout: true,
            token: grant.access_token.clone(),
            session_token: grant.access_token.clone(),
            app_token: grant.access_token.clone(),
            id_token: grant.access_token.clone(),
            access_token: grant.access_token,
            user_id: grant.user.clone(),
            user_id_camel: grant.user,
        }
    }
}

struct SignInRequest {
    id_token: Option<String>,
}

impl Read for SignInRequest {
    fn read(fields: &mut Fields) -> Self {
        let id_token = first_token(fields, &ID_TOKEN);
        fields.one_of(&ID_TOKEN);
        Self { id_token }
    }
}

described!(SignInRequest);

/// Signs in with a Google ID token.
#[utoipa::path(post, path = "/api/auth/mobile-token", request_body(content = SignInRequest, example = json!({"id_token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"})), responses(
    (status = 200, body = GrantResponse),
    (status = 400, description = "The token is missing."),
    (status = 401, description = "The token is not valid.")
))]
async fn sign_in(
    State(app): State<AppState>,
    AppJson(body): AppJson<SignInRequest>,
) -> Result<AppJson<GrantResponse>, ApiError> {
    let token = body.id_token.ok_or(ApiError::BadRequest("Missing required field: id_token."))?;
    let user = auth::verify_google(&app, &token).await?;
    let grant = app.sessions.open(user).await?;
    Ok(AppJson(grant.into()))
}

struct RefreshRequest {
    refresh_token: Option<String>,
}

impl Read for RefreshRequest {
    fn read(fields: &mut Fields) -> Self {
        let refresh_token = first_token(fields, &REFRESH_TOKEN);
        fields.one_of(&REFRESH_TOKEN);
        Self { refresh_token }
    }
}

described!(RefreshRequest);

/// Exchanges a refresh token for the next pair. Each refresh token works once.
#[utoipa::path(post, path = "/api/auth/refresh", request_body(content = RefreshRequest, example = json!({"refresh_token": "rt-example"})), responses(
    (status = 200, body = GrantResponse),
    (status = 400, description = "The token is missing."),
    (status = 401, description = "The token is not valid.")
))]
async fn refresh_session(
    State(app): State<AppState>,
    AppJson(body): AppJson<RefreshRequest>,
) -> Result<AppJson<GrantResponse>, ApiError> {
    let token = body.refresh_token.ok_or(ApiError::BadRequest("Missing required field: refresh_token."))?;
    let grant = app.sessions.refresh(&token).await?;
    let grant = grant.ok_or(ApiError::Unauthorized {
        detail: "Invalid or expired refresh token.",
        reason: "refresh_token_invalid",
    })?;
    Ok(AppJson(grant.into()))
}

struct RevokeRequest {
    refresh_token: Option<String>,
    user: Option<UserId>,
}

impl Read for RevokeRequest {
    fn read(fields: &mut Fields) -> Self {
        let refresh_token = first_token(fields, &REFRESH_TOKEN);
        fields.one_of(&[REFRESH_TOKEN.as_slice(), &["user_id"]].concat());
        let user = fields.optional_text("user_id", 255).filter(|id| !id.trim().is_empty());
        Self { refresh_token, user: user.map(|id| UserId::from(id.trim())) }
    }
}

described!(RevokeRequest);

#[derive(Serialize, ToSchema)]
struct RevokeResponse {
    revoked: bool,
    /// Message; clients of another service show it.
    message: &'static str,
}

impl RevokeResponse {
    const fn new(revoked: bool) -> Self {
        Self { revoked, message: "Refresh sessions revoked." }
    }
}

/// Ends all sessions of a user: the owner of the refresh token, or the caller.
#[utoipa::path(post, path = "/api/auth/revoke", request_body(content = RevokeRequest, example = json!({"refresh_token": "rt-example"})), responses(
    (status = 200, body = RevokeResponse),
    (status = 400, description = "Neither a token nor a user is given."),
    (status = 401, description = "A user is given, but no valid credential."),
    (status = 403, description = "The caller is another user.")
))]
async fn revoke_sessions(
    State(app): State<AppState>,
    parts: Parts,
    AppJson(body): AppJson<RevokeRequest>,
) -> Result<AppJson<RevokeResponse>, ApiError> {
    if body.refresh_token.is_none() && body.user.is_none() {
        return Err(ApiError::BadRequest("Missing refresh_token or user_id."));
    }
    if let Some(token) = &body.refresh_token
        && app.sessions.revoke_by_token(token).await?
    {
        return Ok(AppJson(RevokeResponse::new(true)));
    }
    let Some(user) = body.user else { return Ok(AppJson(RevokeResponse::new(false))) };
    if auth::identify_signed_in(&app, (&parts).into()).await? != user {
        return Err(ApiError::Forbidden("Unauthorized to revoke this user."));
    }
    app.sessions.revoke_user(&user).await?;
    Ok(AppJson(RevokeResponse::new(true)))
}

/// Returns the first non-blank token under one of these names, which clients of various versions use.
fn first_token(fields: &mut Fields, names: &[&'static str]) -> Option<String> {
    // The second reading of a name finds its twin, which a blank one must not hide.
    let twice = names.iter().flat_map(|name| [name, name]);
    let tokens: Vec<_> = twice.filter_map(|name| fields.optional_text(name, LONGEST_TOKEN)).collect();
    tokens.into_iter().map(|token| token.trim().to_owned()).find(|token| !token.is_empty())
}
