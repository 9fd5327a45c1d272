//! Users, for administrators: usage, limits and bans.

use axum::extract::State;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::bans::Bans;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppQuery, Fields, LONGEST_CONTINUATION_TOKEN, Read};
use crate::model::ban::Ban;
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const PAGE: usize = 50;
/// Concurrent look-ups of users.
const CONCURRENT: usize = 8;
const LONGEST_ID: usize = 500;
/// Prefix of the tokens of the list's second part.
const BANNED: &str = "banned:";
/// Longest continuation token of this list.
const LONGEST_TOKEN: usize = BANNED.len() + LONGEST_CONTINUATION_TOKEN;

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_users))
}

struct ListUsersRequest {
    user: Option<UserId>,
    after: Option<String>,
}

impl Read for ListUsersRequest {
    fn read(fields: &mut Fields) -> Self {
        let user = fields.filled_text("userId", LONGEST_ID);
        Self { user: user.map(UserId::from), after: fields.filled_text("continuationToken", LONGEST_TOKEN) }
    }
}

described!(ListUsersRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserBanResponse {
    reason: Option<String>,
    banned_at: Option<Timestamp>,
    /// The administrator; null if the service did it.
    banned_by: Option<UserId>,
}

impl From<Ban> for UserBanResponse {
    fn from(ban: Ban) -> Self {
        let Ban { id: _, reason, banned_at, banned_by } = ban;
        Self { reason, banned_at, banned_by }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserResponse {
    user_id: UserId,
    is_admin: bool,
    /// Wardrobe items, including drafts and wishes.
    items: u64,
    /// Model tokens of today (UTC), including calls in progress.
    tokens_today: u64,
    /// The daily limit of tokens; null for none.
    tokens_per_day: Option<u64>,
    /// The ban from contributing to the feed, if there is one.
    ban: Option<UserBanResponse>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListUsersResponse {
    users: Vec<UserResponse>,
    next_continuation_token: Option<String>,
}

/// Lists users with a profile, then banned users without one; or shows the user with this `userId`.
#[utoipa::path(get, path = "/api/admin/users", params(ListUsersRequest), responses(
    (status = 200, body = ListUsersResponse),
    (status = 400, description = "Invalid user id.")
))]
async fn list_users(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListUsersRequest>,
) -> Result<AppJson<ListUsersResponse>, ApiError> {
    let (ids, next_continuation_token) = match request.user {
        Some(user) if !Bans::is_valid_id(&user) => return Err(ApiError::BadRequest("Invalid user id.")),
        Some(user) => (vec![user], None),
        None => page_of_ids(&app, request.after).await?,
    };
    let users = stream::iter(ids).map(|user| look_up(&app, user)).buffered(CONCURRENT).try_collect().await?;
    Ok(AppJson(ListUsersResponse { users, next_continuation_token }))
}

/// Lists a page of ids, with the token of the next page. The list has two parts.
async fn page_of_ids(app: &AppState, after: Option<String>) -> Result<(Vec<UserId>, Option<String>), ApiError> {
    match after.as_deref().and_then(|token| token.strip_prefix(BANNED)) {
        Some(token) => banned_without_profile(app, Some(token.to_owned())).await,
        None => {
            let (mut ids, next) = app.data.profiles.page_of_ids(after, PAGE).await?;
            if next.is_some() {
                return Ok((ids, next));
            }
            let (more, next) = banned_without_profile(app, None).await?;
            ids.extend(more);
            Ok((ids, next))
        }
    }
}

async fn banned_without_profile(
    app: &AppState,
    after: Option<String>,
) -> Result<(Vec<UserId>, Option<String>), ApiError> {
    let (bans, next) = app.data.bans.page(after, PAGE).await?;
    let mut ids = Vec::new();
    for ban in bans {
        if app.data.profiles.find(&ban.id).await?.is_none() {
            ids.push(ban.id);
        }
    }
    Ok((ids, next.map(|next| format!("{BANNED}{next}"))))
}

async fn look_up(app: &AppState, user: UserId) -> Result<UserResponse, ApiError> {
    let (items, ban, tokens_today) = tokio::try_join!(
        async { Ok::<_, ApiError>(app.data.wardrobe.count(&user).await?) },
        async { Ok(app.data.bans.find(&user).await?) },
        async { Ok(app.budget.spent_today(&user).await?) },
    )?;
    Ok(UserResponse {
        is_admin: app.config.identity.admins.contains(&user),
        items,
        tokens_today,
        tokens_per_day: Some(app.config.limits.tokens_per_day).filter(|limit| *limit > 0),
        ban: ban.map(UserBanResponse::from),
        user_id: user,
    })
}
