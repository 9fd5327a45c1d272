//! Moods: fashion trends, by category.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::text::head;
use crate::domain::jobs::kinds::{self, MoodsInput};
use crate::domain::moods::{Error, Seeded};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, PreferAsync, Read};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{self, IfNoneMatch};
use crate::model::mood::{MoodArticle, MoodSignals, PublishedMood, whole_if_whole};
use crate::model::timestamp::Timestamp;
use crate::model::vocabulary;
use crate::state::AppState;

/// Most moods in one answer.
const MOST_MOODS: usize = 50;
const LONGEST_CATEGORY: usize = 50;
/// Months that are seeded by default.
const MONTHS_BACK: i64 = 3;
const MOST_MONTHS_BACK: i64 = 12;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_moods)).routes(routes!(find_mood))
}

/// Routes for administrators that may take minutes.
pub fn slow_admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(seed_moods))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MoodResponse {
    id: String,
    primary_mood: String,
    name: String,
    sub_moods: Vec<String>,
    description: String,
    mood_signals: MoodSignals,
    sources: Vec<MoodArticle>,
    detected_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    #[serde(serialize_with = "whole_if_whole")]
    trend_score: f64,
}

impl From<PublishedMood> for MoodResponse {
    fn from(published: PublishedMood) -> Self {
        let PublishedMood { mood, sources, detected_at, updated_at } = published;
        Self {
            id: mood.id,
            primary_mood: mood.primary_mood,
            name: mood.name,
            sub_moods: mood.sub_moods,
            description: mood.description,
            mood_signals: mood.mood_signals,
            sources,
            detected_at,
            updated_at,
            trend_score: mood.trend_score,
        }
    }
}

struct ListMoodsQuery {
    primary_mood: Option<String>,
}

impl Read for ListMoodsQuery {
    fn read(fields: &mut Fields) -> Self {
        // Of any length: an unknown one is told with the valid ones.
        let primary_mood = fields.optional_text("primaryMood", usize::MAX);
        fields.rule("primaryMood", || json!({ "enum": ([&[""][..], &vocabulary::MOODS].concat()) }));
        Self { primary_mood }
    }
}

described!(ListMoodsQuery);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListMoodsResponse {
    moods: Vec<MoodResponse>,
    primary_moods: [&'static str; 12],
}

/// Lists the strongest moods, of one category or of all.
#[utoipa::path(get, path = "/api/moods", params(ListMoodsQuery, IfNoneMatch), responses(
    (status = 200, body = ListMoodsResponse),
    (status = 400, description = "Unknown category.")
))]
async fn list_moods(
    State(app): State<AppState>,
    AppQuery(query): AppQuery<ListMoodsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let category = match query.primary_mood.as_deref().filter(|named| !named.is_empty()) {
        None => None,
        Some(named) => Some(category(named)?),
    };
    let moods = app.data.moods.published_by_trend(category, MOST_MOODS).await?;
    let moods = moods.into_iter().map(MoodResponse::from).collect();
    Ok(respond::conditional(&headers, &ListMoodsResponse { moods, primary_moods: vocabulary::MOODS }))
}

fn category(named: &str) -> Result<&'static str, ApiError> {
    vocabulary::MOODS.into_iter().find(|category| *category == named).ok_or_else(|| {
        let (valid, named) = (vocabulary::MOODS.join(", "), head(named, LONGEST_CATEGORY));
        ApiError::BadValue(format!("Unknown primaryMood '{named}'. Valid values: {valid}"))
    })
}

/// Returns a mood.
#[utoipa::path(get, path = "/api/moods/{mood_id}", params(("mood_id" = String, Path, example = "minimalist-quiet-tailoring")), responses(
    (status = 200, body = MoodResponse),
    (status = 404, description = "Mood not found.")
))]
async fn find_mood(
    State(app): State<AppState>,
    AppPath(id): AppPath<String>,
) -> Result<AppJson<MoodResponse>, ApiError> {
    let mood = app.data.moods.find(&id).await?.ok_or(ApiError::NotFound("Mood not found."))?;
    Ok(AppJson(mood.into()))
}

struct SeedMoodsRequest {
    months_back: Option<i64>,
}

impl Read for SeedMoodsRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { months_back: fields.optional_integer("months_back") }
    }
}

described!(SeedMoodsRequest);

#[derive(Serialize, ToSchema)]
struct SeedMoodsResponse {
    seeded: usize,
    snippets_processed: usize,
}

/// Reads the fashion press of the last months. Progress is kept: after a failure or time-out, call again to continue.
#[utoipa::path(post, path = "/api/moods/seed", request_body(content = Option<SeedMoodsRequest>, example = json!({"months_back": 3})), responses((status = 200, body = SeedMoodsResponse)))]
async fn seed_moods(
    State(app): State<AppState>,
    CurrentUser(admin): CurrentUser,
    prefer: PreferAsync,
    body: Option<AppJson<SeedMoodsRequest>>,
) -> Result<Response, ApiError> {
    let months_back = body.and_then(|AppJson(body)| body.months_back).unwrap_or(MONTHS_BACK);
    let months_back = u8::try_from(months_back.clamp(1, MOST_MONTHS_BACK)).map_err(ApiError::internal)?;
    if let PreferAsync::Yes(key) = prefer {
        return respond::accept(&app.jobs, &admin, kinds::MOODS, &MoodsInput { months_back }, key.as_deref()).await;
    }
    let Seeded { seeded, snippets_processed } = app.moods.seed(months_back).await.map_err(failed)?;
    Ok(AppJson(SeedMoodsResponse { seeded, snippets_processed }).into_response())
}

/// Maps every failure to the same error for callers.
fn failed(error: Error) -> ApiError {
    ApiError::failed("Mood seeding failed.", error)
}
