//! The taste quiz.

use axum::extract::State;
use axum::middleware::from_fn;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::pictures::Pictures;
use crate::domain::quiz::Responded;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, Fields, Read};
use crate::http::layers::auth::{CurrentUser, refuse_read_only};
use crate::model::ids::{QuizSessionId, ScrapedItemId, UserId};
use crate::model::quiz::{InferredTastes, QuizCard, QuizImage, QuizResponse, QuizSession, QuizSubject};
use crate::model::timestamp::Timestamp;
use crate::model::vote::Signal;
use crate::state::AppState;

const LONGEST_SUBJECT: usize = 255;
const MISSING: ApiError = ApiError::NotFound("Quiz session not found.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    // Without an open session it begins one.
    let find = OpenApiRouter::new().routes(routes!(find_quiz)).layer(from_fn(refuse_read_only));
    find.routes(routes!(add_response)).routes(routes!(complete_quiz))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuizSessionResponse {
    id: String,
    user_id: UserId,
    session_id: QuizSessionId,
    phase: u8,
    is_complete: bool,
    created_at: Option<Timestamp>,
    cards: Vec<QuizCard>,
    image_items: Vec<QuizImage>,
    target_responses: usize,
    responses: Vec<QuizAnswerResponse>,
}

/// An answer to a card or a picture: one of the two.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuizAnswerResponse {
    signal: Signal,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_primary_mood: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scraped_item_id: Option<ScrapedItemId>,
    responded_at: Option<Timestamp>,
}

impl From<QuizResponse> for QuizAnswerResponse {
    fn from(answer: QuizResponse) -> Self {
        let QuizResponse { signal, subject, responded_at } = answer;
        let (card_primary_mood, scraped_item_id) = match subject {
            QuizSubject::Card(mood) => (Some(mood), None),
            QuizSubject::Image(item) => (None, Some(item)),
        };
        Self { signal, card_primary_mood, scraped_item_id, responded_at }
    }
}

impl QuizSessionResponse {
    fn new(session: QuizSession, pictures: &Pictures) -> Self {
        let QuizSession { id, user_id, session_id, phase, is_complete, created_at, .. } = session;
        let QuizSession { cards, image_items, target_responses, responses, .. } = session;
        let shown = |image: QuizImage| QuizImage { image_url: pictures.shown(image.image_url), ..image };
        Self {
            id,
            user_id,
            session_id,
            phase,
            is_complete,
            created_at,
            cards,
            image_items: image_items.into_iter().map(shown).collect(),
            target_responses,
            responses: responses.into_iter().map(Into::into).collect(),
        }
    }
}

/// Returns the user's open quiz session, or starts one.
#[utoipa::path(get, path = "/api/taste/quiz", responses((status = 200, body = QuizSessionResponse)))]
async fn find_quiz(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<QuizSessionResponse>, ApiError> {
    Ok(AppJson(QuizSessionResponse::new(app.quiz.open(&user).await?, &app.pictures)))
}

struct AddResponseRequest {
    signal: String,
    card: Option<String>,
    item: Option<String>,
}

impl Read for AddResponseRequest {
    fn read(fields: &mut Fields) -> Self {
        let signal = fields.signal();
        let card = fields.optional_text("cardPrimaryMood", LONGEST_SUBJECT);
        let item = fields.optional_text("scrapedItemId", LONGEST_SUBJECT);
        fields.one_of(&["cardPrimaryMood", "scrapedItemId"]);
        Self { signal, card, item }
    }
}

described!(AddResponseRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddResponseResponse {
    session_id: QuizSessionId,
    responses_recorded: usize,
    target_responses: usize,
}

/// Answers a card or picture.
#[utoipa::path(post, path = "/api/taste/quiz/{session_id}/respond", params(("session_id" = QuizSessionId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), request_body(content = AddResponseRequest, example = json!({"signal": "up", "scrapedItemId": "reddit-e73ddc70aa606774"})), responses(
    (status = 200, body = AddResponseResponse),
    (status = 400, description = "The signal is not `up` or `down`, or the subject is not part of the session."),
    (status = 404, description = "Session not found."),
    (status = 409, description = "The session is complete.")
))]
async fn add_response(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(session_id): AppPath<QuizSessionId>,
    AppJson(body): AppJson<AddResponseRequest>,
) -> Result<AppJson<AddResponseResponse>, ApiError> {
    let signal = Signal::parse(&body.signal).ok_or(ApiError::BadRequest("signal must be 'up' or 'down'"))?;
    let subject = match (body.card, body.item) {
        (Some(card), _) => QuizSubject::Card(card),
        (None, Some(item)) => QuizSubject::Image(item.into()),
        (None, None) => return Err(ApiError::BadRequest("cardPrimaryMood or scrapedItemId is required.")),
    };
    match app.quiz.respond(&user, &session_id, signal, &subject).await? {
        Responded::Recorded { responses, target } => {
            Ok(AppJson(AddResponseResponse { session_id, responses_recorded: responses, target_responses: target }))
        }
        Responded::NotShown => Err(ApiError::BadRequest("The quiz session has no such card or picture.")),
        Responded::Complete => Err(ApiError::Conflict("Quiz session is already complete.")),
        Responded::Missing => Err(MISSING),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CompleteQuizResponse {
    session_id: QuizSessionId,
    inferred_tastes: InferredTastes,
}

/// Completes a quiz session.
#[utoipa::path(post, path = "/api/taste/quiz/{session_id}/complete", params(("session_id" = QuizSessionId, Path, example = "0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d")), responses(
    (status = 200, body = CompleteQuizResponse),
    (status = 404, description = "Session not found.")
))]
async fn complete_quiz(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(session_id): AppPath<QuizSessionId>,
) -> Result<AppJson<CompleteQuizResponse>, ApiError> {
    let inferred_tastes = app.quiz.complete(&user, &session_id).await?.ok_or(MISSING)?;
    Ok(AppJson(CompleteQuizResponse { session_id, inferred_tastes }))
}
