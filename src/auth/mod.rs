//! Who calls. A layer refuses, the [`CurrentUser`] extractor only hands over what the layer proved, so a route is closed
//! until someone opens it.

pub mod google;
pub mod keys;
pub mod service;
pub mod session;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Span;

use crate::config::Environment;
use crate::error::ApiError;
use crate::model::ids::UserId;
use crate::state::AppState;
use session::SessionService;

/// The user who calls, as the user or admin layer proved it.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub UserId);

/// A route that needs a user stands outside the layer that finds one: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("the route has no user layer")]
struct NoUserLayer;

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal(NoUserLayer))
    }
}

/// Layer of the user routes: lets a caller in whose identity is proven.
///
/// # Errors
/// 401 without a valid credential, 503 when it cannot be checked.
pub async fn require_user(State(app): State<AppState>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let user = identify(&app, request.headers()).await?;
    Span::current().record("user.id", user.as_str());
    request.extensions_mut().insert(CurrentUser(user));
    Ok(next.run(request).await)
}

/// Layer of the admin routes, inside [`require_user`]: lets administrators in.
///
/// # Errors
/// 403 for everybody else.
pub async fn require_admin(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !app.config.identity.admins.contains(&user) {
        return Err(ApiError::Forbidden("Admin access required."));
    }
    Ok(next.run(request).await)
}

/// Layer of the service routes: lets services in that show the credential.
///
/// # Errors
/// 401 for everybody else, 500 while none is configured.
pub async fn require_service(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    app.services.check(request.headers()).await?;
    Ok(next.run(request).await)
}

/// Layer of routes for users and services. If the settings say so, it lets everybody in; who shows a user's token is that user
/// all the same.
///
/// # Errors
/// Those of [`identify`].
pub async fn require_user_or_service(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let is_open = app.config.media.is_open;
    if !is_open || bearer_token(request.headers()).is_some() {
        match identify(&app, request.headers()).await {
            Ok(user) => {
                Span::current().record("user.id", user.as_str());
                request.extensions_mut().insert(CurrentUser(user));
            }
            Err(refusal) if !is_open && app.services.check(request.headers()).await.is_err() => return Err(refusal),
            Err(_) => {}
        }
    }
    Ok(next.run(request).await)
}

/// The user whose credential the request carries. In development, the development user.
///
/// # Errors
/// 401 without a valid credential, 503 when it cannot be checked.
pub async fn identify(app: &AppState, headers: &HeaderMap) -> Result<UserId, ApiError> {
    if app.config.environment == Environment::Development {
        return Ok(app.config.identity.local_dev_user.clone());
    }
    let token = bearer_token(headers).ok_or(ApiError::Unauthorized("Missing Authorization header."))?;
    if SessionService::is_access_token(token) {
        let user = app.sessions.find_user(token).await.map_err(ApiError::unavailable)?;
        return user.ok_or(ApiError::Unauthorized("Invalid or expired access token."));
    }
    verify_google(app, token).await
}

/// The user whose Google ID token this is.
///
/// # Errors
/// 401 if it is not valid, 503 when it cannot be checked.
pub async fn verify_google(app: &AppState, token: &str) -> Result<UserId, ApiError> {
    app.google.verify(token).await.map_err(|error| match error {
        google::Error::NotConfigured => ApiError::Unauthorized("Google OAuth client ids are not configured."),
        google::Error::Invalid => ApiError::Unauthorized("Invalid or expired Google ID token."),
        google::Error::Unavailable(_) => ApiError::unavailable(error),
    })
}

pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
