//! Logging wears, and the history of an item.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::NO_ITEM;
use super::item::{ItemResponse, WeatherRequest, WeatherResponse, listed_wear};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex_of;
use crate::data::wardrobe::Worn;
use crate::data::wears::NewWear;
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::text::{LenientQuery, TextJson, TextPath, object};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::{ItemId, UserId};
use crate::model::styling::ActivityStatus;
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WearEvent;
use crate::state::AppState;
use crate::store::Key;

/// Longest text of a wear, in characters.
const LONGEST_TEXT: usize = 200;
/// How far a client's clock may be ahead.
const CLOCK_ERROR: Duration = Duration::from_secs(24 * 60 * 60);
/// Source of a wear whose client names none.
const UNKNOWN_SOURCE: &str = "unknown";
/// Most wear events in an answer.
const MOST_EVENTS: usize = 1000;

/// A wear. All fields may be absent or null, and so may the body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogWearRequest {
    /// The client's id of the wear: sent again, the wear counts once.
    #[schema(max_length = 200)]
    client_event_id: Option<String>,
    /// `vault_card`, `item_drawer`, `suggestion_prompt` or another place.
    #[schema(max_length = 200)]
    source: Option<String>,
    /// When it was worn; now, if absent.
    occurred_at: Option<Timestamp>,
    #[schema(max_length = 200)]
    occasion: Option<String>,
    /// The styling activity that led to the wear.
    #[schema(max_length = 200)]
    styling_activity_id: Option<String>,
    #[serde(default, deserialize_with = "object")]
    weather_snapshot: Option<WeatherRequest>,
}

impl LogWearRequest {
    fn check(&self, now: OffsetDateTime) -> Result<(), ApiError> {
        let texts = [&self.client_event_id, &self.source, &self.occasion, &self.styling_activity_id];
        let is_short = |text: &String| text.chars().count() <= LONGEST_TEXT;
        let weather = self.weather_snapshot.as_ref();
        if !texts.into_iter().flatten().all(is_short) || !weather.is_none_or(WeatherRequest::is_short) {
            return Err(ApiError::BadRequest("A text may have at most 200 characters."));
        }
        if self.occurred_at.is_some_and(|at| at.get() > now + CLOCK_ERROR) {
            return Err(ApiError::BadRequest("occurredAt must not be in the future."));
        }
        Ok(())
    }

    /// Makes the wear that is to be counted.
    fn wear(self, user: &UserId, item: &ItemId, now: Timestamp) -> NewWear {
        let action = self.client_event_id.filter(|id| !id.trim().is_empty());
        let suffix = match &action {
            Some(action) => sha256_hex_of([item.as_str().as_bytes(), b"\n", action.as_bytes()])[..32].to_owned(),
            None => Uuid::new_v4().simple().to_string(),
        };
        let event_id = Key::composed_id(format!("wear-{item}-{suffix}"));
        let occurred_at = self.occurred_at.unwrap_or(now);
        let listed = listed_wear(Some(occurred_at), self.occasion.as_deref(), self.weather_snapshot.as_ref());
        let source = self.source.filter(|source| !source.trim().is_empty());
        let mut event = listed.clone();
        let more = json!({
            "id": event_id,
            "userId": user,
            "itemId": item,
            "source": source.as_deref().unwrap_or(UNKNOWN_SOURCE),
            "createdAt": now,
        });
        event.extend(more.as_object().cloned().unwrap_or_default());
        if let Some(activity) = self.styling_activity_id {
            event.insert("stylingActivityId".to_owned(), activity.into());
        }
        NewWear { action, occurred_at, listed: listed.into(), event_id, event: event.into() }
    }
}

/// Counts a wear of an item, once per `clientEventId`.
#[utoipa::path(patch, path = "/api/wardrobe/{id}/wear", params(("id" = ItemId, Path, example = "demo-camel-wool-coat")), request_body(content = Option<LogWearRequest>, example = json!({"clientEventId": "wear-1", "source": "vault_card", "occasion": "work"})), responses(
    (status = 200, body = ItemResponse),
    (status = 400, description = "The body cannot be read, or a value breaks a rule."),
    (status = 404, description = "Item not found."),
    (status = 409, description = "The item is a draft.")
))]
pub(super) async fn log_wear(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
    body: Option<TextJson<Option<LogWearRequest>>>,
) -> Result<AppJson<ItemResponse>, ApiError> {
    let body = body.and_then(|TextJson(body)| body).unwrap_or_default();
    let now = app.clock.now();
    body.check(now)?;
    let activity = body.styling_activity_id.clone().filter(|activity| !activity.trim().is_empty());
    let wear = body.wear(&user, &id, now.into());
    let item = match app.data.wardrobe.add_wear(&user, &id, &wear).await? {
        Worn::Counted(item) | Worn::Repeated(item) => *item,
        Worn::Draft => return Err(ApiError::Conflict("Draft items cannot be worn.")),
        Worn::Missing => return Err(NO_ITEM),
    };
    if let Some(activity) = activity {
        let accepted = ActivityStatus::Accepted;
        let linked = app.data.styling.set_status(&user, &activity, accepted, Some(&wear.event_id), now.into()).await;
        // The wear is counted; a repeat links the activity.
        if let Err(error) = linked {
            warn!(user.id = %user, error = %Chain(&error), "styling activity not linked to its wear");
        }
    }
    Ok(AppJson(ItemResponse::new(&app, item)))
}

/// The query of a history. Dates that cannot be read are ignored.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description is made from it")]
pub(super) struct ListWearsQuery {
    /// Earliest time or day.
    from: Option<String>,
    /// Latest time or day; a day counts to its end.
    to: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListWearsResponse {
    item_id: ItemId,
    events: Vec<WearEventResponse>,
    summary: WearSummary,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WearEventResponse {
    id: String,
    user_id: UserId,
    item_id: ItemId,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occasion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weather_snapshot: Option<WeatherResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    styling_activity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WearSummary {
    /// Number of events in this answer.
    total_in_range: usize,
    /// Time of the oldest event of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tracked_from: Option<Timestamp>,
    /// Wears that were counted before there were events.
    legacy_untracked_count: u64,
}

impl From<WearEvent> for WearEventResponse {
    fn from(event: WearEvent) -> Self {
        Self {
            id: event.id,
            user_id: event.user_id,
            item_id: event.item_id,
            occurred_at: event.occurred_at,
            source: event.source,
            occasion: event.occasion,
            weather_snapshot: event.weather_snapshot.map(WeatherResponse::from),
            styling_activity_id: event.styling_activity_id,
            created_at: event.created_at,
        }
    }
}

/// Lists when an item was worn, the newest first.
#[utoipa::path(get, path = "/api/wardrobe/{id}/wear-history", params(("id" = ItemId, Path, example = "demo-camel-wool-coat"), ListWearsQuery), responses(
    (status = 200, body = ListWearsResponse),
    (status = 404, description = "Item not found.")
))]
pub(super) async fn list_wears(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
    query: LenientQuery,
) -> Result<AppJson<ListWearsResponse>, ApiError> {
    let (item, _) = app.data.wardrobe.find(&user, &id).await?.ok_or(NO_ITEM)?;
    // A process may have died after it had counted a wear.
    app.data.wardrobe.save_pending_events(&user, &item.other).await?;
    let wears = &app.data.wear_events;
    let from = query.text("from").and_then(Timestamp::parse).map(Timestamp::get);
    let to = query.text("to").and_then(end_of);
    let (events, all, tracked_from) = tokio::try_join!(
        wears.history(&user, &id, from, to, MOST_EVENTS),
        wears.count_of_item(&user, &id),
        wears.oldest_of_item(&user, &id),
    )?;
    let summary = WearSummary {
        total_in_range: events.len(),
        tracked_from,
        legacy_untracked_count: u64::from(item.wear_count).saturating_sub(all),
    };
    let events = events.into_iter().map(WearEventResponse::from).collect();
    Ok(AppJson(ListWearsResponse { item_id: id, events, summary }))
}

/// The latest moment that a text means: the end of a bare day.
fn end_of(text: &str) -> Option<OffsetDateTime> {
    let at = Timestamp::parse(text)?.get();
    let is_day = !text.contains([':', 'T', 't']);
    if is_day { at.checked_add(time::Duration::DAY - time::Duration::NANOSECOND) } else { Some(at) }
}
