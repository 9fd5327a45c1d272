//! Outfits that the stylist recommends.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tracing::{Instrument, info_span};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::json::MAX_SAFE_INTEGER;
use crate::domain::budget::BudgetExceeded;
use crate::domain::recommendations::{self, Error, Recommendation, Request};
use crate::http::error::ApiError;
use crate::http::extract::text::TextJson;
use crate::http::extract::{AppJson, trace_name};
use crate::http::layers::auth::CurrentUser;
use crate::llm::{self, CallContext};
use crate::model::ids::ItemId;
use crate::state::AppState;

/// Most items that the stylist chooses from.
const MOST_ITEMS: i64 = 100;
/// Longest wish, in characters.
const LONGEST_WISH: usize = 1000;
/// Longest word, such as a category, in characters.
const LONGEST_WORD: usize = 100;
/// Most colours of a list.
const MOST_COLOURS: usize = 50;

/// Routes for users that wait for a model.
pub fn slow_user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(recommend_outfits))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecommendOutfitsRequest {
    /// The style, in the user's words.
    #[schema(max_length = 1000)]
    style_prompt: Option<String>,
    #[schema(max_length = 1000)]
    occasion: Option<String>,
    #[schema(max_items = 50)]
    preferred_colors: Option<Vec<String>>,
    #[schema(max_items = 50)]
    excluded_colors: Option<Vec<String>>,
    /// Number of items to choose from, the newest; 1 to 100, by default 100.
    #[serde(default, deserialize_with = "whole")]
    #[schema(value_type = Option<i64>)]
    page_size: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    #[schema(value_type = Option<i64>)]
    min_wears: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    #[schema(value_type = Option<i64>)]
    max_wears: Option<i64>,
    #[schema(max_length = 100)]
    category: Option<String>,
}

/// Reads a whole number. In JSON, 7.0 is the same number as 7.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(number) if number.fract() != 0.0 || number.abs() > MAX_SAFE_INTEGER as f64 => {
            Err(D::Error::custom("not a whole number"))
        }
        number => Ok(number.map(|number| number as i64)),
    }
}

impl RecommendOutfitsRequest {
    /// Checks the bounds.
    fn read(self) -> Result<Request, ApiError> {
        let is_long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.chars().count() > most);
        if is_long(&self.style_prompt, LONGEST_WISH) || is_long(&self.occasion, LONGEST_WISH) {
            return Err(ApiError::BadRequest("stylePrompt and occasion may have at most 1000 characters."));
        }
        if is_long(&self.category, LONGEST_WORD) {
            return Err(ApiError::BadRequest("category may have at most 100 characters."));
        }
        let wears = (self.min_wears, self.max_wears);
        if wears.0.zip(wears.1).is_some_and(|(least, most)| least > most) {
            return Err(ApiError::BadRequest("minWears must not exceed maxWears."));
        }
        let limit = self.page_size.unwrap_or(MOST_ITEMS).clamp(1, MOST_ITEMS);
        let some = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Request {
            style_prompt: some(self.style_prompt),
            occasion: some(self.occasion),
            preferred_colours: colours(self.preferred_colors)?,
            excluded_colours: colours(self.excluded_colors)?,
            category: some(self.category),
            wears,
            most_items: usize::try_from(limit).map_err(ApiError::internal)?,
        })
    }
}

fn colours(list: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let list = list.unwrap_or_default();
    if list.len() > MOST_COLOURS || list.iter().any(|colour| colour.chars().count() > LONGEST_WORD) {
        return Err(ApiError::BadRequest("A list may have at most 50 colours of at most 100 characters."));
    }
    Ok(list.iter().map(|colour| colour.trim().to_owned()).filter(|colour| !colour.is_empty()).collect())
}

/// An outfit of the user's items.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OutfitResponse {
    /// Names the outfit within the answer.
    id: String,
    title: String,
    description: String,
    clothing_item_ids: Vec<ItemId>,
}

impl From<Recommendation> for OutfitResponse {
    fn from(outfit: Recommendation) -> Self {
        let Recommendation { id, title, description, items } = outfit;
        Self { id, title, description, clothing_item_ids: items }
    }
}

/// Recommends outfits made of the user's newest items.
#[utoipa::path(post, path = "/api/stylist/recommendations", request_body(content = Option<RecommendOutfitsRequest>, example = json!({"occasion": "casual dinner", "preferredColors": ["navy"], "excludedColors": ["red"]})), responses(
    (status = 200, body = Vec<OutfitResponse>),
    (status = 400, description = "The body breaks a rule, or there is no item to choose from.")
))]
async fn recommend_outfits(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
    body: Option<TextJson<Option<RecommendOutfitsRequest>>>,
) -> Result<AppJson<Vec<OutfitResponse>>, ApiError> {
    let request = body.and_then(|TextJson(body)| body).unwrap_or_default().read()?;
    app.budget.check(&user).await??;
    let trace_id = trace_name(&headers);
    let observed = app.telemetry.observer.begin(&recommendations::subject(&user, trace_id));
    let context = CallContext::user(&user).observed_by(observed);
    let now = app.clock.now();
    let recommending = recommendations::recommend(&app.data, &*app.model, &context, &user, &request, now);
    let span = info_span!("stylist.recommend", trace.id = trace_id);
    let outfits = Box::pin(recommending).instrument(span).await.map_err(|error| match error {
        Error::NoItems => ApiError::BadRequest("Your wardrobe is empty. Add some clothing items first."),
        Error::Model(llm::Error::OverBudget { retry_after }) => BudgetExceeded { retry_after }.into(),
        error => ApiError::failed("Failed to generate recommendations. Please try again.", error),
    })?;
    Ok(AppJson(outfits.into_iter().map(Into::into).collect()))
}
