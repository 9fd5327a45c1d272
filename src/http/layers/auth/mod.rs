//! Authentication. A layer rejects callers, and the [`CurrentUser`] extractor returns the user that the layer verified,
//! so a route is closed unless it is opened explicitly.

pub mod challenge;
pub mod development;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Span, info};

use self::development::Bypass;
use crate::config::Environment;
use crate::http::error::ApiError;
use crate::http::layers::limits::{Peer, address_of};
use crate::identity::api_token::{ApiTokenService, Grantee};
use crate::identity::session::SessionService;
use crate::identity::{Refusal, google, service};
use crate::model::api_token::{Scope, Scopes};
use crate::model::ids::UserId;
use crate::state::AppState;

/// Header with a service's key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const NO_TOKENS: ApiError = ApiError::Forbidden("API tokens may not call this route.");
const READ_ONLY: ApiError = ApiError::Forbidden("This API token may only read.");

/// The calling user, as verified by the user or admin layer.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub UserId);

/// Scopes of the API token of a request. Absent if the user signed in.
#[derive(Debug, Clone)]
pub struct ByApiToken(pub Scopes);

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user on whose behalf the request is made.
    pub user: UserId,
    /// Scopes of the request's API token; `None` if the user signed in.
    pub token: Option<Scopes>,
}

impl Identity {
    fn signed_in(user: UserId) -> Self {
        Self { user, token: None }
    }

    /// Passes the identity to the inner layers and the handler.
    fn record(self, request: &mut Request) {
        Span::current().record("user.id", self.user.as_str());
        let extensions = request.extensions_mut();
        extensions.insert(CurrentUser(self.user));
        if let Some(scopes) = self.token {
            extensions.insert(ByApiToken(scopes));
        }
    }

    /// Checks that a request with a read-only token does not change anything.
    fn check_scopes(&self, method: &Method) -> Result<(), ApiError> {
        let needed = if method.is_safe() { Scope::WardrobeRead } else { Scope::WardrobeWrite };
        if self.token.as_ref().is_none_or(|scopes| scopes.allow(needed)) { Ok(()) } else { Err(READ_ONLY) }
    }
}

impl From<Grantee> for Identity {
    fn from(Grantee { user, scopes }: Grantee) -> Self {
        Self { user, token: Some(scopes) }
    }
}

/// A route that needs a user is outside the layer that identifies one; a bug.
#[derive(Debug, thiserror::Error)]
#[error("the route has no user layer")]
struct NoUserLayer;

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal(NoUserLayer))
    }
}

/// The parts of a request that identify the caller.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Request headers.
    pub headers: &'a HeaderMap,
    /// Request URI.
    pub uri: &'a Uri,
    /// Address of the peer.
    pub peer: Option<&'a Peer>,
}

impl<'a> From<&'a Request> for Evidence<'a> {
    fn from(request: &'a Request) -> Self {
        Self { headers: request.headers(), uri: request.uri(), peer: request.extensions().get() }
    }
}

impl<'a> From<&'a Parts> for Evidence<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self { headers: &parts.headers, uri: &parts.uri, peer: parts.extensions.get() }
    }
}

/// Layer for user routes: admits users, and programs with a user's API token.
///
/// # Errors
/// Those of [`identify`], and 403 for a token that may only read.
pub async fn require_user(State(app): State<AppState>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let identity = identify(&app, (&request).into()).await?;
    identity.check_scopes(request.method())?;
    identity.record(&mut request);
    Ok(next.run(request).await)
}

/// Layer for user routes that check a token's scopes themselves, instead of [`require_user`].
///
/// # Errors
/// Those of [`identify`].
pub async fn identify_user(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    identify(&app, (&request).into()).await?.record(&mut request);
    Ok(next.run(request).await)
}

/// Layer for routes of users who signed in, inside [`require_user`]: refuses API tokens.
///
/// # Errors
/// 403 for a program with a token.
pub async fn refuse_api_tokens(request: Request, next: Next) -> Result<Response, ApiError> {
    if request.extensions().get::<ByApiToken>().is_some() {
        return Err(NO_TOKENS);
    }
    Ok(next.run(request).await)
}

/// Layer for a `GET` route that changes something, inside [`require_user`]: refuses read-only API tokens.
///
/// # Errors
/// 403 for a program with such a token.
pub async fn refuse_read_only(request: Request, next: Next) -> Result<Response, ApiError> {
    match request.extensions().get::<ByApiToken>() {
        Some(ByApiToken(scopes)) if !scopes.allow(Scope::WardrobeWrite) => Err(READ_ONLY),
        Some(_) | None => Ok(next.run(request).await),
    }
}

/// Layer for admin routes, inside [`refuse_api_tokens`]: admits administrators.
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

/// Layer for service routes: admits services with a valid credential.
///
/// # Errors
/// 401 for everybody else, 429 after too many rejections, 500 while no credential is configured.
pub async fn require_service(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let evidence = Evidence::from(&request);
    metered(&app, evidence, check_service(&app, evidence.headers)).await?;
    Ok(next.run(request).await)
}

/// Layer for routes of users and services. If the settings allow it, admits everybody; a caller with a user's token
/// still acts as that user.
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
        match identify_user_or_service(&app, (&request).into()).await {
            Ok(Some(identity)) => {
                identity.check_scopes(request.method())?;
                identity.record(&mut request);
            }
            Err(refusal) if !is_open => return Err(refusal),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(next.run(request).await)
}

/// Identifies the caller: a user, or `None` for a service.
async fn identify_user_or_service(app: &AppState, evidence: Evidence<'_>) -> Result<Option<Identity>, ApiError> {
    if let Some(identity) = identify_at_once(app, evidence)? {
        return Ok(Some(identity));
    }
    let check = async {
        match verify_user(app, evidence.headers).await {
            Ok(identity) => Ok(Some(identity)),
            Err(of_user) => match check_service(app, evidence.headers).await {
                Ok(()) => Ok(None),
                // The text for callers is that of users; the log says what is wrong with a service's key.
                Err(of_service) => Err(match (of_user, of_service.refusal()) {
                    (ApiError::Unauthorized { detail, .. }, Some(reason)) if evidence.headers.contains_key(API_KEY) => {
                        ApiError::Unauthorized { detail, reason }
                    }
                    (of_user, _) => of_user,
                }),
            },
        }
    };
    Box::pin(metered(app, evidence, check)).await
}

/// Identifies the user by the request's credential or, in development, by the bypass.
///
/// # Errors
/// 401 without a valid credential, 429 after too many rejections, 503 when the credential cannot be checked; in
/// development 403 for a page of a foreign origin.
pub async fn identify(app: &AppState, evidence: Evidence<'_>) -> Result<Identity, ApiError> {
    match identify_at_once(app, evidence)? {
        Some(identity) => Ok(identity),
        // Boxed, because otherwise every request's future would reserve space for it.
        None => Box::pin(metered(app, evidence, verify_user(app, evidence.headers))).await,
    }
}

/// Identifies a user who signed in, like [`identify`].
///
/// # Errors
/// Those of [`identify`], and 403 for a program with an API token.
pub async fn identify_signed_in(app: &AppState, evidence: Evidence<'_>) -> Result<UserId, ApiError> {
    match identify(app, evidence).await? {
        Identity { user, token: None } => Ok(user),
        Identity { token: Some(_), .. } => Err(NO_TOKENS),
    }
}

/// Identifies the user without a look-up: the development user, or the owner of a recently verified token.
fn identify_at_once(app: &AppState, evidence: Evidence<'_>) -> Result<Option<Identity>, ApiError> {
    if app.config.environment == Environment::Development {
        match development::decide(&evidence, &app.config.server.allowed_origins) {
            Bypass::Applies => return Ok(Some(Identity::signed_in(app.config.identity.local_dev_user.clone()))),
            Bypass::Foreign => {
                return Err(ApiError::Forbidden(
                    "In development, requests from web pages of this origin are not accepted.",
                ));
            }
            Bypass::Denied(reason) => info!(reason, "caller is not treated as the development user"),
        }
    }
    let Some(token) = bearer_token(evidence.headers) else { return Ok(None) };
    if ApiTokenService::is_api_token(token) {
        return Ok(app.api_tokens.known(token).map(Identity::from));
    }
    Ok(app.sessions.known_user(token).map(Identity::signed_in))
}

/// Checks a credential, unless too many from that address were rejected recently. Requests without one are not counted.
async fn metered<T>(
    app: &AppState,
    evidence: Evidence<'_>,
    check: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Evidence { headers, peer, .. } = evidence;
    let shows_credential = headers.contains_key(AUTHORIZATION) || headers.contains_key(API_KEY);
    let attempt = if shows_credential { app.limits.begin_check(address_of(&app.limits, headers, peer))? } else { None };
    let outcome = check.await;
    if let Some(attempt) = attempt
        && !matches!(outcome, Err(ApiError::Unauthorized { .. }))
    {
        attempt.forgive();
    }
    outcome
}

fn refused(detail: &'static str, Refusal(reason): Refusal) -> ApiError {
    ApiError::Unauthorized { detail, reason }
}

async fn verify_user(app: &AppState, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let token = bearer_token(headers).ok_or(refused("Missing Authorization header.", Refusal("no_credential")))?;
    if SessionService::is_access_token(token) {
        let user = app.sessions.find_user(token).await.map_err(ApiError::unavailable)?;
        return user.map(Identity::signed_in).map_err(|why| refused("Invalid or expired access token.", why));
    }
    if ApiTokenService::is_api_token(token) {
        let grantee = app.api_tokens.find(token).await.map_err(ApiError::unavailable)?;
        return grantee.map(Identity::from).map_err(|why| refused("Invalid or expired API token.", why));
    }
    verify_google(app, token).await.map(Identity::signed_in)
}

async fn check_service(app: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    let shown = service::Shown { key: headers.get(API_KEY).map(HeaderValue::as_bytes), token: bearer_token(headers) };
    app.services.check(shown).await.map_err(|error| match error {
        service::Error::Refused(why) => refused("Unauthorized metadata request.", why),
        service::Error::NoKey => ApiError::Misconfigured("METADATA_EXTRACT_API_KEY is not configured."),
        service::Error::UnknownMode => ApiError::Misconfigured("Invalid metadata auth mode configuration."),
    })
}

/// Verifies a Google ID token and returns its user.
///
/// # Errors
/// 401 if it is not valid, 503 when it cannot be checked.
pub async fn verify_google(app: &AppState, token: &str) -> Result<UserId, ApiError> {
    app.google.verify(token).await.map_err(|error| match error {
        google::Error::NotConfigured => {
            refused("Google OAuth client ids are not configured.", Refusal("not_configured"))
        }
        google::Error::Invalid(why) => refused("Invalid or expired Google ID token.", why),
        google::Error::Unavailable(_) => ApiError::unavailable(error),
    })
}

pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
