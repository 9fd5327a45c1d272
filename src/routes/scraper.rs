//! The feed of things found elsewhere, and the votes on them.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use tracing::warn;
use utoipa::{OpenApi, ToSchema};

use crate::auth::CurrentUser;
use crate::data::items::{FeedOrder, FeedPosition, FeedQuery};
use crate::described;
use crate::error::ApiError;
use crate::extract::{AppJson, AppPath, AppQuery, Fields, Read};
use crate::model::ids::ScrapedItemId;
use crate::model::item::FeedItem;
use crate::model::timestamp::Timestamp;
use crate::model::vote::Signal;
use crate::state::AppState;
use crate::telemetry::Chain;

const PAGE: i64 = 50;
const LONGEST_PAGE: i64 = 100;
/// Longest text of a query's field, in characters.
const LONGEST_FIELD: usize = 4000;
/// Names in a list of a query. More are left out.
const MOST_NAMES: usize = 50;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Routes for users.
pub fn user() -> Router<AppState> {
    Router::new()
        .route("/api/scraper/items", get(list_items))
        .route("/api/scraper/items/{item_id}/feedback", post(add_item_feedback))
}

/// What the description of the API says of them.
#[derive(OpenApi)]
#[openapi(paths(list_items, add_item_feedback))]
pub struct UserPaths;

struct ListItemsRequest {
    order: FeedOrder,
    limit: usize,
    sources: Vec<String>,
    tags: Vec<String>,
    span: Option<Duration>,
    after: Option<FeedPosition>,
}

impl Read for ListItemsRequest {
    fn read(fields: &mut Fields) -> Self {
        let order = match fields.optional_text("sortBy", LONGEST_FIELD).as_deref() {
            Some("recent") => FeedOrder::Recent,
            _ => FeedOrder::Score,
        };
        let limit = fields.optional_integer("pageSize").unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
        let token = fields.optional_text("continuationToken", usize::MAX);
        Self {
            order,
            limit: usize::try_from(limit).unwrap_or_default(),
            sources: names(fields.optional_text("sourceIds", LONGEST_FIELD)),
            tags: names(fields.optional_text("tags", LONGEST_FIELD)),
            span: match fields.optional_text("timeRange", LONGEST_FIELD).as_deref() {
                Some("1h") => Some(HOUR),
                Some("1d") => Some(24 * HOUR),
                Some("7d") => Some(7 * 24 * HOUR),
                Some("30d") => Some(30 * 24 * HOUR),
                _ => None,
            },
            after: token.and_then(|token| read_token(&token)).filter(|position| position.fits(order)),
        }
    }
}

described!(ListItemsRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListItemsResponse {
    items: Vec<ItemResponse>,
    next_continuation_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ItemResponse {
    id: ScrapedItemId,
    source_id: String,
    source_type: String,
    title: String,
    description: String,
    image_url: String,
    product_url: String,
    buy_links: Vec<Value>,
    price: Value,
    brand: Option<String>,
    tags: Vec<String>,
    gallery_images: Vec<String>,
    comment_text: String,
    reddit_score: i64,
    score_signal: i64,
    scraped_at: Option<Timestamp>,
    source_created_at: Option<Timestamp>,
    image_expired: bool,
    verified: bool,
}

impl From<FeedItem> for ItemResponse {
    fn from(item: FeedItem) -> Self {
        Self {
            id: item.id,
            source_id: item.source_id,
            source_type: item.source_type,
            title: item.title,
            description: item.description,
            image_url: item.image_url,
            product_url: item.product_url,
            buy_links: item.buy_links,
            price: item.price,
            brand: item.brand,
            tags: item.tags,
            gallery_images: item.gallery_images,
            comment_text: item.comment_text,
            reddit_score: item.reddit_score,
            score_signal: item.score_signal,
            scraped_at: item.scraped_at,
            source_created_at: item.source_created_at,
            image_expired: item.image_expired,
            verified: item.verified,
        }
    }
}

/// Lists the feed, page by page.
#[utoipa::path(get, path = "/api/scraper/items", params(ListItemsRequest), responses((status = 200, body = ListItemsResponse)))]
async fn list_items(
    State(app): State<AppState>,
    AppQuery(request): AppQuery<ListItemsRequest>,
) -> Result<AppJson<ListItemsResponse>, ApiError> {
    let ListItemsRequest { order, limit, sources, tags, span, after } = request;
    let since = span.map(|span| Timestamp::from(app.clock.now() - span));
    let page = app.data.items.feed(&FeedQuery { order, sources, tags, since, limit, after }).await?;
    Ok(AppJson(ListItemsResponse {
        items: page.items.into_iter().map(ItemResponse::from).collect(),
        next_continuation_token: page.next.as_ref().map(write_token).transpose()?,
    }))
}

/// The names in a comma-separated list.
fn names(list: Option<String>) -> Vec<String> {
    let list = list.unwrap_or_default();
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).take(MOST_NAMES).map(str::to_owned).collect()
}

fn write_token(position: &FeedPosition) -> Result<String, ApiError> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).map_err(ApiError::internal)?))
}

fn read_token(token: &str) -> Option<FeedPosition> {
    let json = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

struct AddItemFeedbackRequest {
    signal: String,
    gallery_index: Option<u64>,
}

impl Read for AddItemFeedbackRequest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            signal: fields.signal(),
            gallery_index: fields.optional_integer("galleryImageIndex").and_then(|index| u64::try_from(index).ok()),
        }
    }
}

described!(AddItemFeedbackRequest);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddItemFeedbackResponse {
    item_id: ScrapedItemId,
    signal: Signal,
    score_signal: i64,
}

/// Takes the user's vote on an item.
#[utoipa::path(post, path = "/api/scraper/items/{item_id}/feedback", params(("item_id" = ScrapedItemId, Path)), request_body = AddItemFeedbackRequest, responses(
    (status = 200, body = AddItemFeedbackResponse),
    (status = 400, description = "The signal is neither up nor down."),
    (status = 404, description = "There is no such item.")
))]
async fn add_item_feedback(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(item_id): AppPath<ScrapedItemId>,
    AppJson(body): AppJson<AddItemFeedbackRequest>,
) -> Result<AppJson<AddItemFeedbackResponse>, ApiError> {
    let signal = Signal::parse(&body.signal).ok_or(ApiError::BadRequest("signal must be 'up' or 'down'"))?;
    let score = app.data.votes.cast(&user, &item_id, signal, app.clock.now().into()).await?;
    let score_signal = score.ok_or(ApiError::NotFound("Item not found."))?;
    if signal == Signal::Up
        && let Some(item) = app.data.items.find(&item_id).await?
        && let Err(error) = app.taste.request(&user, &item, body.gallery_index).await
    {
        // The vote counts all the same; the next one asks again.
        warn!(item.id = %item_id, error = %Chain(&error), "analysis of a liked picture not queued");
    }
    Ok(AppJson(AddItemFeedbackResponse { item_id, signal, score_signal }))
}
