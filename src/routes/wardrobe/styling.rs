//! Garments on the style board, and questions whether they were worn.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::extract::State;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tracing::warn;
use utoipa::ToSchema;

use crate::base::chain::Chain;
use crate::data;
use crate::data::styling::StylingActivities;
use crate::domain::wardrobe::wears::CLOCK_ERROR;
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::new_id::NewId;
use crate::http::extract::text::{BODY_REQUIRED, TextJson, TextPath};
use crate::http::items::{NO_ITEM, shown_picture};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::ItemId;
use crate::model::styling::{ActivityStatus, StylingActivity};
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WardrobeItem;
use crate::state::AppState;

/// Longest text of an activity, in characters.
const LONGEST_TEXT: usize = 200;
/// Kind of an activity whose client names none.
const ADDED_TO_BOARD: &str = "AddedToStyleBoard";
/// How long after an activity the user may be asked whether the garment was worn.
const LIFE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Most pending activities examined for suggestions.
const MOST_PENDING: usize = 200;
/// Concurrent writes of activities that need no answer any more.
const CONCURRENT_WRITES: usize = 8;
/// Most suggestions in an answer.
const MOST_SUGGESTIONS: usize = 20;

/// A garment was put on the style board.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordStylingRequest {
    #[schema(value_type = String, min_length = 1)]
    item_id: Option<String>,
    /// The client's id of the event: sent again, it is recorded once.
    #[schema(max_length = 200)]
    client_event_id: Option<String>,
    #[schema(max_length = 200)]
    activity_type: Option<String>,
    /// Where it was done, such as `dashboard_toggle`.
    #[schema(max_length = 200)]
    source: Option<String>,
    occurred_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordStylingResponse {
    status: &'static str,
    activity_id: String,
}

/// Records that a garment was put on the style board.
#[utoipa::path(post, path = "/api/wardrobe/styling-activity", request_body(content = RecordStylingRequest, example = json!({"itemId": "demo-camel-wool-coat", "clientEventId": "style-1", "source": "dashboard_toggle"})), responses(
    (status = 200, body = RecordStylingResponse),
    (status = 400, description = "The body cannot be read, or a value breaks a rule."),
    (status = 404, description = "Item not found.")
))]
pub(super) async fn record_styling(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    new_id: NewId,
    TextJson(body): TextJson<Option<RecordStylingRequest>>,
) -> Result<AppJson<RecordStylingResponse>, ApiError> {
    let body = body.ok_or(BODY_REQUIRED)?;
    let item = body.item_id.filter(|id| !id.trim().is_empty()).ok_or(ApiError::BadRequest("itemId is required."))?;
    let texts = [&body.client_event_id, &body.activity_type, &body.source];
    if texts.into_iter().flatten().any(|text| text.chars().count() > LONGEST_TEXT) {
        return Err(ApiError::BadRequest("A text may have at most 200 characters."));
    }
    let event = body.client_event_id.filter(|id| !id.trim().is_empty());
    let id = event.clone().unwrap_or_else(|| format!("sty-{}", new_id.id().simple()));
    if !StylingActivities::key(&user, &id).is_valid() {
        return Err(ApiError::BadRequest("clientEventId must not contain slashes, backslashes, ? or #."));
    }
    let item = ItemId::from(item);
    app.data.wardrobe.find(&user, &item).await?.ok_or(NO_ITEM)?;
    let now = Timestamp::from(app.clock.now());
    let occurred_at = body.occurred_at.unwrap_or(now).min(now + CLOCK_ERROR);
    let activity = StylingActivity {
        id: id.clone(),
        user_id: user,
        item_id: item,
        client_event_id: event,
        activity_type: Some(body.activity_type.unwrap_or_else(|| ADDED_TO_BOARD.to_owned())),
        source: body.source,
        occurred_at: Some(occurred_at),
        status: ActivityStatus::Pending,
        suggestion_message: None,
        expires_at: Some(occurred_at + LIFE),
        linked_wear_event_id: None,
        last_updated_at: Some(now),
        other: Map::new(),
    };
    app.data.styling.create(&activity).await?;
    Ok(AppJson(RecordStylingResponse { status: "recorded", activity_id: id }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct ListSuggestionsResponse {
    suggestions: Vec<Suggestion>,
}

/// The question whether a garment was worn after it had been on the style board.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WearSuggestion)]
struct Suggestion {
    suggestion_id: String,
    item_id: ItemId,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
}

/// Lists garments that the user may have worn, with one question each, newest first.
#[utoipa::path(get, path = "/api/wardrobe/suggestions/wear", responses((status = 200, body = ListSuggestionsResponse)))]
pub(super) async fn list_suggestions(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<ListSuggestionsResponse>, ApiError> {
    let now = Timestamp::from(app.clock.now());
    let mut pending = app.data.styling.pending(&user, now, MOST_PENDING).await?;
    pending.retain(|activity| activity.expires_at.is_none_or(|at| at > now));
    pending.sort_by_key(|activity| std::cmp::Reverse(activity.occurred_at));
    let mut ids: Vec<ItemId> = pending.iter().map(|activity| activity.item_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let items = app.data.wardrobe.find_all(&user, &ids).await?;
    let items: HashMap<ItemId, WardrobeItem> = items.into_iter().map(|item| (item.id.clone(), item)).collect();
    let (mut asked, mut settled, mut suggestions) = (HashSet::new(), Vec::new(), Vec::new());
    for activity in pending {
        let Some(item) = items.get(&activity.item_id) else { continue };
        let is_worn_since = activity.occurred_at.is_none_or(|at| item.last_worn_at.is_some_and(|worn| worn >= at));
        // There is one question per garment: once the newest is answered, older ones must not come up.
        if is_worn_since || asked.contains(&item.id) {
            settled.push(activity.id);
        } else if suggestions.len() < MOST_SUGGESTIONS {
            asked.insert(item.id.clone());
            suggestions.push(Suggestion {
                message: message(&activity, item),
                suggestion_id: activity.id,
                item_id: activity.item_id,
                activity_at: activity.occurred_at,
                expires_at: activity.expires_at,
                image_url: shown_picture(&app, item),
            });
        }
    }
    // They no longer need an answer. Failures are retried the next time.
    let styling = &app.data.styling;
    let expired = async {
        for ids in settled.chunks(CONCURRENT_WRITES) {
            try_join_all(ids.iter().map(|id| styling.set_status(&user, id, ActivityStatus::Expired, None, now)))
                .await?;
        }
        Ok::<(), data::Error>(())
    };
    if let Err(error) = expired.await {
        warn!(user.id = %user, error = %Chain(&error), "styling activity not expired");
    }
    Ok(AppJson(ListSuggestionsResponse { suggestions }))
}

/// The question to the user.
fn message(activity: &StylingActivity, item: &WardrobeItem) -> String {
    if let Some(message) = activity.suggestion_message.as_ref().filter(|message| !message.trim().is_empty()) {
        return message.clone();
    }
    let words = [item.brand.as_deref(), item.category.as_deref()].into_iter().flatten().map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [] => "Did you wear this?".to_owned(),
        words => format!("Did you wear this ({})?", words.join(", ")),
    }
}

#[derive(Deserialize, ToSchema)]
pub(super) struct UpdateSuggestionRequest {
    /// `Pending`, `Accepted`, `Dismissed` or `Expired`, in any case.
    #[schema(value_type = String)]
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SuggestionUpdatedResponse)]
pub(super) struct UpdateSuggestionResponse {
    status: &'static str,
}

/// Answers a suggestion.
#[utoipa::path(patch, path = "/api/wardrobe/suggestions/wear/{id}", params(("id" = String, Path, example = "demo-styling")), request_body(content = UpdateSuggestionRequest, example = json!({"status": "Dismissed"})), responses(
    (status = 200, body = UpdateSuggestionResponse),
    (status = 400, description = "Unknown status."),
    (status = 404, description = "Suggestion not found.")
))]
pub(super) async fn update_suggestion(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<String>,
    TextJson(body): TextJson<Option<UpdateSuggestionRequest>>,
) -> Result<AppJson<UpdateSuggestionResponse>, ApiError> {
    let status = body.and_then(|body| body.status).as_deref().and_then(ActivityStatus::parse);
    let status = status.ok_or(ApiError::BadRequest("status must be Pending, Accepted, Dismissed or Expired."))?;
    if app.data.styling.set_status(&user, &id, status, None, app.clock.now().into()).await? {
        Ok(AppJson(UpdateSuggestionResponse { status: "updated" }))
    } else {
        Err(ApiError::NotFound("Suggestion not found."))
    }
}
