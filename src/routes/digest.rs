//! Digests (purchase ideas), and feedback on them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use tracing::{Instrument, info_span};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::digest_feedback::Feedback;
use crate::domain::budget::BudgetExceeded;
use crate::domain::digest::{self, Outcome, Trigger};
use crate::domain::jobs::kinds::{self, DigestInput};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppQuery, Fields, PreferAsync, Read, trace_name};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{self, IfNoneMatch};
use crate::llm;
use crate::model::digest::{Digest, DigestFeedback, Suggestion};
use crate::model::ids::{DigestId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::vote::Signal;
use crate::state::AppState;

/// Longest digest id that is accepted, in characters: a user id and 65 more.
const LONGEST_ID: usize = 400;
/// Longest stored description of an idea, in characters. Longer ones are truncated rather than refused, since clients
/// send back descriptions they received.
const LONGEST_DESCRIPTION: usize = 1000;
/// Longest description that is accepted; the body limit is lower.
const MOST_READ: usize = 64 * 1024;
/// Largest index of an idea that is accepted; a digest has five ideas.
const LAST_INDEX: i64 = 99;
const NO_DIGEST: ApiError = ApiError::NotFound("Digest not found.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_latest_digest)).routes(routes!(list_feedback, add_feedback))
}

/// Routes for users that wait for a model.
pub fn slow_user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(run_digest))
}

struct RunDigestRequest {
    force: bool,
}

impl Read for RunDigestRequest {
    fn read(fields: &mut Fields) -> Self {
        let force = fields.optional_flag("force").unwrap_or(true);
        fields.rule("force", || json!({ "default": true }));
        Self { force }
    }
}

described!(RunDigestRequest);

/// Outcome of a run.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum RunDigestResponse {
    /// A new digest was created.
    Ok {
        /// The digest.
        digest: DigestResponse,
    },
    /// No digest was needed.
    Skipped {
        /// Reason why none was needed.
        reason: &'static str,
    },
}

impl From<Outcome> for RunDigestResponse {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Generated(digest) => Self::Ok { digest: (*digest).into() },
            Outcome::Skipped(reason) => Self::Skipped { reason: reason.text() },
        }
    }
}

/// A digest.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DigestResponse {
    id: DigestId,
    user_id: UserId,
    generated_at: Timestamp,
    wardrobe_hash: String,
    suggestions: Vec<Suggestion>,
    styles_considered: Vec<String>,
    total_items: u64,
    items_with_wear_history: u64,
    climate_zone: Option<String>,
}

impl From<Digest> for DigestResponse {
    fn from(digest: Digest) -> Self {
        let Digest { id, user_id, generated_at, wardrobe_hash, suggestions, styles_considered, .. } = digest;
        let Digest { total_items, items_with_wear_history, climate_zone, .. } = digest;
        Self {
            id,
            user_id,
            generated_at,
            wardrobe_hash,
            suggestions,
            styles_considered,
            total_items,
            items_with_wear_history,
            climate_zone,
        }
    }
}

/// Creates a digest, if there is a reason to.
#[utoipa::path(post, path = "/api/digest/run", params(RunDigestRequest), responses((status = 200, body = RunDigestResponse)))]
async fn run_digest(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    prefer: PreferAsync,
    headers: HeaderMap,
    AppQuery(request): AppQuery<RunDigestRequest>,
) -> Result<Response, ApiError> {
    if let PreferAsync::Yes(key) = prefer {
        let input = DigestInput { force: request.force };
        return respond::accept(&app.jobs, &user, kinds::DIGEST, &input, key.as_deref()).await;
    }
    let trace_id = trace_name(&headers);
    let span = info_span!("digest.run", trace.id = trace_id);
    let observed = app.telemetry.observer.begin(&digest::subject(&user, trace_id));
    app.budget.check(&user).await??;
    let run = Box::pin(app.digests.run(&user, Trigger { force: request.force, week: None }, observed));
    let outcome = run.instrument(span).await.map_err(|error| match error {
        digest::Error::Model(llm::Error::OverBudget { retry_after }) => BudgetExceeded { retry_after }.into(),
        error => ApiError::failed("Could not run digest.", error),
    })?;
    Ok(AppJson(RunDigestResponse::from(outcome)).into_response())
}

#[derive(Serialize, ToSchema)]
struct LatestDigestResponse {
    digest: Option<DigestResponse>,
}

/// Returns the latest digest.
#[utoipa::path(get, path = "/api/digest/latest", params(IfNoneMatch), responses((status = 200, body = LatestDigestResponse)))]
async fn find_latest_digest(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let digest = app.data.digests.latest(&user).await;
    let digest = digest.map_err(|error| ApiError::failed("Could not load digest.", error))?;
    Ok(respond::conditional(&headers, &LatestDigestResponse { digest: digest.map(Into::into) }))
}

struct ListFeedbackRequest {
    digest_id: DigestId,
}

impl Read for ListFeedbackRequest {
    fn read(fields: &mut Fields) -> Self {
        let digest_id = fields.text("digestId", 1, LONGEST_ID).into();
        fields.rule("digestId", || json!({ "examples": ["demo-digest"] }));
        Self { digest_id }
    }
}

described!(ListFeedbackRequest);

#[derive(Serialize, ToSchema)]
struct ListFeedbackResponse {
    feedback: Vec<FeedbackResponse>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FeedbackResponse {
    suggestion_index: u64,
    signal: Signal,
}

/// Lists the user's feedback on a digest.
#[utoipa::path(get, path = "/api/digest/feedback", operation_id = "list_digest_feedback", params(ListFeedbackRequest), responses((status = 200, body = ListFeedbackResponse)))]
async fn list_feedback(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppQuery(ListFeedbackRequest { digest_id }): AppQuery<ListFeedbackRequest>,
) -> Result<AppJson<ListFeedbackResponse>, ApiError> {
    let made_at = app.data.digests.find(&user, &digest_id).await?.map(|digest| digest.generated_at);
    let feedback = app.data.digest_feedback.of_digest(&user, &digest_id, made_at).await?;
    let response = |DigestFeedback { suggestion_index, signal, .. }| FeedbackResponse { suggestion_index, signal };
    Ok(AppJson(ListFeedbackResponse { feedback: feedback.into_iter().map(response).collect() }))
}

struct AddFeedbackRequest {
    digest_id: DigestId,
    suggestion_index: i64,
    suggestion_description: String,
    signal: String,
}

impl Read for AddFeedbackRequest {
    fn read(fields: &mut Fields) -> Self {
        let digest_id = fields.text("digestId", 1, LONGEST_ID).into();
        Self {
            digest_id,
            suggestion_index: fields.integer("suggestionIndex", 0, LAST_INDEX),
            suggestion_description: fields.optional_text("suggestionDescription", MOST_READ).unwrap_or_default(),
            signal: fields.signal(),
        }
    }
}

described!(AddFeedbackRequest);

#[derive(Serialize, ToSchema)]
struct AddFeedbackResponse {
    status: &'static str,
}

/// Records a thumbs up or down for an idea; replaces an earlier one.
#[utoipa::path(post, path = "/api/digest/feedback", operation_id = "add_digest_feedback", request_body(content = AddFeedbackRequest, example = json!({"digestId": "demo-digest", "suggestionIndex": 0, "signal": "up"})), responses(
    (status = 200, body = AddFeedbackResponse),
    (status = 400, description = "The signal is not `up` or `down`."),
    (status = 404, description = "There is no such digest, or it has no such suggestion.")
))]
async fn add_feedback(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppJson(body): AppJson<AddFeedbackRequest>,
) -> Result<AppJson<AddFeedbackResponse>, ApiError> {
    let AddFeedbackRequest { digest_id, suggestion_index, suggestion_description, signal } = body;
    let signal = Signal::parse(&signal).ok_or(ApiError::BadRequest("signal must be 'up' or 'down'."))?;
    let digest = app.data.digests.find(&user, &digest_id).await?.ok_or(NO_DIGEST)?;
    if !Feedback::is_valid_digest(&user, &digest_id) {
        return Err(NO_DIGEST);
    }
    let index = usize::try_from(suggestion_index).unwrap_or_default();
    let made_at = digest.generated_at;
    let idea = digest.suggestions.into_iter().nth(index).ok_or(ApiError::NotFound("Suggestion not found."))?;
    let mut description: String = suggestion_description.trim().chars().take(LONGEST_DESCRIPTION).collect();
    if description.is_empty() {
        // The next digest learns from the description, so a vote without one would be lost.
        description = idea.item;
    }
    let suggestion_index = index as u64;
    let feedback = DigestFeedback {
        id: Feedback::id(&user, &digest_id, made_at, suggestion_index),
        user_id: user,
        digest_id,
        suggestion_index,
        suggestion_description: description,
        signal,
        created_at: app.clock.now().into(),
    };
    app.data.digest_feedback.save(&feedback).await?;
    Ok(AppJson(AddFeedbackResponse { status: "ok" }))
}
