//! Items of the discover feed, and votes on them.

use std::time::Duration;

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::LONGEST_FIELD;
use crate::data::items::{FeedOrder, FeedPosition, FeedQuery};
use crate::domain::pictures::Pictures;
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppPath, AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::model::buy_link::BuyLink;
use crate::model::ids::ScrapedItemId;
use crate::model::item::FeedItem;
use crate::model::timestamp::Timestamp;
use crate::model::vote::Signal;
use crate::state::AppState;

const PAGE: i64 = 50;
const LONGEST_PAGE: i64 = 100;
/// Most names in a list of a query; further ones are ignored.
const MOST_NAMES: usize = 50;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_items)).routes(routes!(add_item_feedback))
}

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
    /// `reddit` or `brand`; the stored text if it is neither.
    source_type: String,
    title: String,
    description: String,
    image_url: String,
    product_url: String,
    #[schema(value_type = Vec<Object>)]
    buy_links: Vec<BuyLink>,
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

impl ItemResponse {
    fn new(item: FeedItem, pictures: &Pictures) -> Self {
        Self {
            source_type: item.shown_source_type().to_owned(),
            id: item.id,
            source_id: item.source_id,
            title: item.title,
            description: item.description,
            image_url: pictures.shown(item.image_url),
            product_url: item.product_url,
            buy_links: item.buy_links,
            price: item.price,
            brand: item.brand,
            tags: item.tags,
            gallery_images: item.gallery_images.into_iter().map(|url| pictures.shown(url)).collect(),
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

/// Lists the discover feed, page by page.
#[utoipa::path(get, path = "/api/scraper/items", params(ListItemsRequest), responses((status = 200, body = ListItemsResponse)))]
async fn list_items(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppQuery(request): AppQuery<ListItemsRequest>,
) -> Result<AppJson<ListItemsResponse>, ApiError> {
    let ListItemsRequest { order, limit, sources, tags, span, after } = request;
    let since = span.map(|span| Timestamp::from(app.clock.now() - span));
    let query = FeedQuery { order, sources, tags, since, limit, after, reader: Some(user) };
    let page = app.data.items.feed(&query).await?;
    Ok(AppJson(ListItemsResponse {
        items: page.items.into_iter().map(|item| ItemResponse::new(item, &app.pictures)).collect(),
        next_continuation_token: page.next.as_ref().map(write_token).transpose()?,
    }))
}

/// Splits a comma-separated list.
fn names(list: Option<String>) -> Vec<String> {
    let list = list.unwrap_or_default();
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).take(MOST_NAMES).map(str::to_owned).collect()
}

fn write_token(position: &FeedPosition) -> Result<String, ApiError> {
    // Padded, as clients of the older service expect; decoded with or without padding.
    Ok(URL_SAFE.encode(serde_json::to_vec(position).map_err(ApiError::internal)?))
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

/// Votes on an item.
#[utoipa::path(post, path = "/api/scraper/items/{item_id}/feedback", params(("item_id" = ScrapedItemId, Path, example = "reddit-b9c118a72858709f")), request_body(content = AddItemFeedbackRequest, example = json!({"signal": "up"})), responses(
    (status = 200, body = AddItemFeedbackResponse),
    (status = 400, description = "The signal is not `up` or `down`."),
    (status = 404, description = "Item not found.")
))]
async fn add_item_feedback(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    AppPath(item_id): AppPath<ScrapedItemId>,
    AppJson(body): AppJson<AddItemFeedbackRequest>,
) -> Result<AppJson<AddItemFeedbackResponse>, ApiError> {
    let signal = Signal::parse(&body.signal).ok_or(ApiError::BadRequest("signal must be 'up' or 'down'"))?;
    let score = app.taste.rate(&user, &item_id, signal, body.gallery_index).await?;
    let score_signal = score.ok_or(ApiError::NotFound("Item not found."))?;
    Ok(AppJson(AddItemFeedbackResponse { item_id, signal, score_signal }))
}
