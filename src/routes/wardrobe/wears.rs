//! Logging wears, and the history of an item.

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::data::wardrobe::Worn;
use crate::domain::wardrobe::wears::{self, NewWearFields};
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::new_id::NewId;
use crate::http::extract::text::{LenientQuery, TextJson, TextPath};
use crate::http::items::{ItemResponse, NO_ITEM, WeatherResponse};
use crate::http::layers::auth::CurrentUser;
use crate::model::ids::{ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WearEvent;
use crate::state::AppState;

/// Most wear events in an answer.
const MOST_EVENTS: usize = 1000;

/// Counts a wear of an item, once per `clientEventId`.
#[utoipa::path(patch, path = "/api/wardrobe/{id}/wear", params(("id" = ItemId, Path, example = "demo-camel-wool-coat")), request_body(content = Option<NewWearFields>, example = json!({"clientEventId": "wear-1", "source": "vault_card", "occasion": "work"})), responses(
    (status = 200, body = ItemResponse),
    (status = 400, description = "The body cannot be read, or a value breaks a rule."),
    (status = 404, description = "Item not found."),
    (status = 409, description = "The item is a draft.")
))]
pub(super) async fn log_wear(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
    new_id: NewId,
    body: Option<TextJson<Option<NewWearFields>>>,
) -> Result<AppJson<ItemResponse>, ApiError> {
    let mut fields = body.and_then(|TextJson(body)| body).unwrap_or_default();
    let is_named = fields.client_event_id.as_ref().is_some_and(|id| !id.trim().is_empty());
    if new_id.may_exist() && !is_named {
        fields.client_event_id = Some(new_id.id().simple().to_string());
    }
    let item = match wears::log(&app.data, &user, &id, fields, app.clock.now()).await? {
        Worn::Counted(item) | Worn::Repeated(item) => *item,
        Worn::Draft => return Err(ApiError::Conflict("Draft items cannot be worn.")),
        Worn::Missing => return Err(NO_ITEM),
    };
    Ok(AppJson(ItemResponse::new(&app, item)))
}

/// The query of a history. Dates that cannot be read are ignored.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
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

/// Lists the wears of an item, newest first.
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
    // A process may have died after counting a wear.
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

/// Returns the latest time that a text denotes: the end of the day for a date.
fn end_of(text: &str) -> Option<OffsetDateTime> {
    let at = Timestamp::parse(text)?.get();
    let is_day = !text.contains([':', 'T', 't']);
    if is_day { at.checked_add(time::Duration::DAY - time::Duration::NANOSECOND) } else { Some(at) }
}
