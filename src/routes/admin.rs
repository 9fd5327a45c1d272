//! Administration: bans and dead letters.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::bans::Bans;
use crate::domain::dead_letters::Replay;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::model::ban::Ban;
use crate::model::dead_letter::{DeadLetter, DeadLetterStatus};
use crate::model::ids::{DeadLetterId, TasteJobId, UserId};
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const PAGE: usize = 50;
const LONGEST_REASON: usize = 500;
const LONGEST_STATUS: usize = 20;
const NO_DEAD_LETTER: ApiError = ApiError::NotFound("Dead letter not found.");

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(ban_user))
        .routes(routes!(unban_user))
        .routes(routes!(list_bans))
        .routes(routes!(list_dead_letters))
        .routes(routes!(replay_dead_letter))
        .routes(routes!(delete_dead_letter))
}

struct BanUserRequest {
    reason: Option<String>,
}

impl Read for BanUserRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { reason: fields.optional_text("reason", LONGEST_REASON) }
    }
}

described!(BanUserRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BanStatusResponse {
    status: &'static str,
    user_id: UserId,
}

/// Bans a user from contributing to the feed.
#[utoipa::path(post, path = "/api/admin/ban/{target_user_id}", params(("target_user_id" = UserId, Path, example = "eve")), request_body(content = BanUserRequest, example = json!({"reason": "spam"})), responses(
    (status = 200, body = BanStatusResponse),
    (status = 400, description = "The user id is invalid.")
))]
async fn ban_user(
    State(app): State<AppState>,
    CurrentUser(admin): CurrentUser,
    AppPath(user_id): AppPath<UserId>,
    AppJson(body): AppJson<BanUserRequest>,
) -> Result<AppJson<BanStatusResponse>, ApiError> {
    if !Bans::is_valid_id(&user_id) {
        return Err(ApiError::BadRequest("Invalid user id."));
    }
    let reason = body.reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    let ban = Ban { id: user_id.clone(), reason, banned_at: Some(app.clock.now().into()), banned_by: Some(admin) };
    app.data.bans.set(&ban).await?;
    Ok(AppJson(BanStatusResponse { status: "banned", user_id }))
}

/// Lifts a ban.
#[utoipa::path(post, path = "/api/admin/unban/{target_user_id}", params(("target_user_id" = UserId, Path, example = "eve")), responses(
    (status = 200, body = BanStatusResponse),
    (status = 404, description = "The user is not banned.")
))]
async fn unban_user(
    State(app): State<AppState>,
    AppPath(user_id): AppPath<UserId>,
) -> Result<AppJson<BanStatusResponse>, ApiError> {
    if !app.data.bans.lift(&user_id).await? {
        return Err(ApiError::NotFound("User ban record not found."));
    }
    Ok(AppJson(BanStatusResponse { status: "unbanned", user_id }))
}

struct ListBansRequest {
    after: Option<String>,
}

impl Read for ListBansRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { after: fields.continuation_token() }
    }
}

described!(ListBansRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BanResponse {
    user_id: UserId,
    reason: Option<String>,
    banned_at: Option<Timestamp>,
    banned_by: Option<UserId>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListBansResponse {
    bans: Vec<BanResponse>,
    next_continuation_token: Option<String>,
}

/// Lists bans.
#[utoipa::path(get, path = "/api/admin/bans", params(ListBansRequest), responses((status = 200, body = ListBansResponse)))]
async fn list_bans(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListBansRequest>,
) -> Result<AppJson<ListBansResponse>, ApiError> {
    let (bans, next_continuation_token) = app.data.bans.page(request.after, PAGE).await?;
    let wire = |Ban { id, reason, banned_at, banned_by }| BanResponse { user_id: id, reason, banned_at, banned_by };
    Ok(AppJson(ListBansResponse { bans: bans.into_iter().map(wire).collect(), next_continuation_token }))
}

struct ListDeadLettersRequest {
    status: Option<String>,
    after: Option<String>,
}

impl Read for ListDeadLettersRequest {
    fn read(fields: &mut Fields) -> Self {
        let status = fields.filled_text("status", LONGEST_STATUS);
        fields.rule("status", || json!({ "enum": ["", "dead_lettered", "replayed"] }));
        Self { status, after: fields.continuation_token() }
    }
}

described!(ListDeadLettersRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLetterResponse {
    id: DeadLetterId,
    job_id: TasteJobId,
    status: DeadLetterStatus,
    payload: Value,
    created_at: Option<Timestamp>,
    source_queue: String,
    reason: String,
    dequeue_count: Option<u32>,
    replayed_at: Option<Timestamp>,
}

impl From<DeadLetter> for DeadLetterResponse {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            job_id: letter.job_id,
            status: letter.status,
            payload: letter.payload,
            created_at: letter.created_at,
            source_queue: letter.source_queue,
            reason: letter.reason,
            dequeue_count: letter.dequeue_count,
            replayed_at: letter.replayed_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListDeadLettersResponse {
    dead_letters: Vec<DeadLetterResponse>,
    next_continuation_token: Option<String>,
}

/// Lists dead letters, newest first.
#[utoipa::path(get, path = "/api/admin/dead-letters", params(ListDeadLettersRequest), responses(
    (status = 200, body = ListDeadLettersResponse),
    (status = 400, description = "Unknown status.")
))]
async fn list_dead_letters(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListDeadLettersRequest>,
) -> Result<AppJson<ListDeadLettersResponse>, ApiError> {
    let status = match request.status {
        Some(name) => Some(
            DeadLetterStatus::parse(&name)
                .ok_or(ApiError::BadRequest("status must be 'dead_lettered' or 'replayed'"))?,
        ),
        None => None,
    };
    let (letters, next_continuation_token) = app.data.dead_letters.page(status, request.after, PAGE).await?;
    let dead_letters = letters.into_iter().map(DeadLetterResponse::from).collect();
    Ok(AppJson(ListDeadLettersResponse { dead_letters, next_continuation_token }))
}

#[derive(Serialize, ToSchema)]
struct DeadLetterStatusResponse {
    id: DeadLetterId,
    status: &'static str,
}

/// Sends a dead letter back to its queue.
#[utoipa::path(post, path = "/api/admin/dead-letters/{id}/replay", params(("id" = DeadLetterId, Path, example = "demo-batch-b9c118a728584709")), responses(
    (status = 200, body = DeadLetterStatusResponse),
    (status = 400, description = "The message is too long for the queue."),
    (status = 404, description = "Dead letter not found."),
    (status = 409, description = "The dead letter was replayed already.")
))]
async fn replay_dead_letter(
    State(app): State<AppState>,
    AppPath(id): AppPath<DeadLetterId>,
) -> Result<AppJson<DeadLetterStatusResponse>, ApiError> {
    let letter = app.data.dead_letters.find(&id).await?.ok_or(NO_DEAD_LETTER)?;
    let queues = &app.config.queues;
    let replayed = match queues.origin_of(&letter.source_queue) {
        Some(queue) if queue == queues.images.work => app.drafts.replay(&letter).await,
        Some(queue) if queue != queues.taste.work => app.dead_letters.replay(&letter, queue).await,
        // Older dead letters may name a queue that has since been renamed.
        Some(_) | None => app.taste.replay(&letter).await,
    };
    match replayed {
        Ok(Replay::Queued) => Ok(AppJson(DeadLetterStatusResponse { id, status: DeadLetterStatus::Replayed.name() })),
        Ok(Replay::AlreadyReplayed) => Err(ApiError::Conflict("Dead letter already replayed.")),
        Ok(Replay::Missing) => Err(NO_DEAD_LETTER),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a dead letter.
#[utoipa::path(delete, path = "/api/admin/dead-letters/{id}", params(("id" = DeadLetterId, Path, example = "demo-batch-b9c118a728584709")), responses(
    (status = 200, body = DeadLetterStatusResponse),
    (status = 404, description = "Dead letter not found.")
))]
async fn delete_dead_letter(
    State(app): State<AppState>,
    AppPath(id): AppPath<DeadLetterId>,
) -> Result<AppJson<DeadLetterStatusResponse>, ApiError> {
    if !app.data.dead_letters.delete(&id).await? {
        return Err(NO_DEAD_LETTER);
    }
    Ok(AppJson(DeadLetterStatusResponse { id, status: "deleted" }))
}
