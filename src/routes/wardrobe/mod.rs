//! The wardrobe API: garments, wishes, drafts and wears.

pub mod cutouts;
pub mod drafts;
mod styling;
mod wears;

use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::warn;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::chain::Chain;
use crate::base::schema::verbatim;
use crate::data::wardrobe::{ItemOrder, ItemsQuery, OWN_FIELDS, Replaced};
use crate::domain::collections;
use crate::domain::wardrobe::{FULL, fields};
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::new_id::NewId;
use crate::http::extract::text::{BODY_REQUIRED, LenientQuery, TextJson, TextPath};
use crate::http::items::{CreateItemRequest, ItemRequest, ItemResponse, NO_ITEM};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{IfMatch, IfMatchHeader, STALE_VERSION, version_tag};
use crate::model::ids::ItemId;
use crate::model::wardrobe::{CONDITIONS, condition};
use crate::state::AppState;
use crate::store::Direction;

/// Largest body of a request of the wardrobe API, pictures aside, in bytes.
pub const LARGEST_BODY: usize = 1024 * 1024;

/// Default number of items per page.
const PAGE: i64 = 24;
const LONGEST_PAGE: i64 = 100;
/// Longest id of an item that a client may choose, in characters.
const LONGEST_ID: usize = 128;
/// Ids that would be mistaken for a part of a path.
const RESERVED_IDS: [&str; 6] = [".", "..", "drafts", "styling-activity", "suggestions", "upload"];

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_wardrobe, create_item))
        .routes(routes!(find_item, update_item, delete_item))
        .routes(routes!(wears::log_wear))
        .routes(routes!(wears::list_wears))
        .routes(routes!(styling::record_styling))
        .routes(routes!(styling::list_suggestions))
        .routes(routes!(styling::update_suggestion))
}

/// The query of a list. Names are taken in any case; what cannot be read is ignored.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
struct ListItemsQuery {
    /// Items per page, 24 by default. A value out of range counts as the nearest bound.
    #[param(minimum = 1, maximum = 100)]
    page_size: Option<i64>,
    /// Category, in any case.
    category: Option<String>,
    /// Brand, in any case.
    brand: Option<String>,
    /// Condition, in any case.
    #[param(schema_with = condition_schema)]
    condition: Option<String>,
    /// Tags, separated by commas, of which an item has at least one.
    tags: Option<String>,
    /// Style words, separated by commas, of which an item has at least one.
    aesthetic_tags: Option<String>,
    /// Least price, as a number, whatever its currency. Items without a price are left out.
    price_min: Option<f64>,
    /// Largest price, as a number, whatever its currency. Items without a price are left out.
    price_max: Option<f64>,
    /// Least number of wears.
    min_wears: Option<i64>,
    /// Largest number of wears.
    max_wears: Option<i64>,
    /// Whether wishes are listed as well.
    include_wishlisted: Option<bool>,
    /// Field of the order, by default `dateAdded`. Prices are compared as numbers, whatever their currencies.
    #[param(schema_with = sort_field_schema)]
    sort_field: Option<String>,
    /// Direction of the order, by default `desc`.
    #[param(schema_with = sort_dir_schema)]
    sort_dir: Option<String>,
    /// `nextContinuationToken` of the previous page. A token of another query is ignored.
    continuation_token: Option<String>,
}

fn condition_schema() -> RefOr<Schema> {
    verbatim(json!({ "type": "string", "enum": CONDITIONS }))
}

fn sort_field_schema() -> RefOr<Schema> {
    verbatim(json!({ "type": "string", "enum": ["dateAdded", "wearCount", "price.amount"] }))
}

fn sort_dir_schema() -> RefOr<Schema> {
    verbatim(json!({ "type": "string", "enum": ["asc", "desc"] }))
}

fn items_query(query: &LenientQuery) -> Result<ItemsQuery, ApiError> {
    let text = |name: &str| query.text(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let elements = |name: &str| {
        let elements = query.text(name).unwrap_or_default().split(',').filter(|element| !element.is_empty());
        elements.take(MOST_ELEMENTS).map(str::to_owned).collect()
    };
    let price = |name: &str| query.parsed::<f64>(name).filter(|price| price.is_finite());
    let (price, wears) =
        ((price("priceMin"), price("priceMax")), (query.parsed::<i64>("minWears"), query.parsed::<i64>("maxWears")));
    if let (Some(least), Some(most)) = price
        && least > most
    {
        return Err(ApiError::BadRequest("priceMin must not exceed priceMax."));
    }
    if let (Some(least), Some(most)) = wears
        && least > most
    {
        return Err(ApiError::BadRequest("minWears must not exceed maxWears."));
    }
    let orders = [ItemOrder::WearCount, ItemOrder::Price];
    let order = query
        .text("sortField")
        .map(str::trim)
        .and_then(|name| orders.into_iter().find(|order| order.field().eq_ignore_ascii_case(name)));
    let is_ascending = query.text("sortDir").is_some_and(|direction| direction.trim().eq_ignore_ascii_case("asc"));
    Ok(ItemsQuery {
        category: text("category"),
        brand: text("brand"),
        condition: text("condition").and_then(|name| condition(&name)),
        tags: elements("tags"),
        aesthetic_tags: elements("aestheticTags"),
        price,
        wears,
        with_wishes: query.is_true("includeWishlisted"),
        order: order.unwrap_or(ItemOrder::DateAdded),
        direction: if is_ascending { Direction::Ascending } else { Direction::Descending },
        after: text("continuationToken"),
        limit: usize::try_from(query.parsed("pageSize").unwrap_or(PAGE).clamp(1, LONGEST_PAGE)).unwrap_or(1),
    })
}

/// Most elements of a list in a query; the rest is ignored.
const MOST_ELEMENTS: usize = 50;

/// A page of items.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListWardrobeResponse)]
pub struct ListItemsResponse {
    items: Vec<ItemResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
}

/// Lists garments, and wishes if requested; never drafts. A value of the query that cannot be read is ignored.
#[utoipa::path(get, path = "/api/wardrobe", params(ListItemsQuery), responses(
    (status = 200, body = ListItemsResponse),
    (status = 400, description = "A minimum exceeds its maximum.")
))]
async fn list_wardrobe(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    query: LenientQuery,
) -> Result<AppJson<ListItemsResponse>, ApiError> {
    let (items, next_continuation_token) = app.data.wardrobe.page(&user, &items_query(&query)?).await?;
    let items = items.into_iter().map(|item| ItemResponse::new(&app, item)).collect();
    Ok(AppJson(ListItemsResponse { items, next_continuation_token }))
}

/// Returns an item: a garment, a wish or a draft.
#[utoipa::path(get, path = "/api/wardrobe/{id}", params(("id" = ItemId, Path, example = "demo-camel-wool-coat")), responses(
    (status = 200, body = ItemResponse),
    (status = 404, description = "Item not found.")
))]
async fn find_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
) -> Result<Response, ApiError> {
    let (item, version) = app.data.wardrobe.find(&user, &id).await?.ok_or(NO_ITEM)?;
    Ok(([(ETAG, version_tag(Some(&version)))], AppJson(ItemResponse::new(&app, item))).into_response())
}

/// Adds an item, for imports: with wears that were counted elsewhere.
#[utoipa::path(post, path = "/api/wardrobe", request_body(content = CreateItemRequest, example = json!({"category": "Tops", "tags": ["linen"], "price": {"amount": 49.5, "originalCurrency": "EUR"}})), responses(
    (status = 201, body = ItemResponse),
    (status = 400, description = "The body cannot be read, or a value breaks a rule."),
    (status = 409, description = "An item with this id exists, or the user has 25,000 items.")
))]
async fn create_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    new_id: NewId,
    TextJson(body): TextJson<Option<CreateItemRequest>>,
) -> Result<Response, ApiError> {
    let body = body.ok_or(BODY_REQUIRED)?;
    if body.is_empty() {
        return Err(ApiError::BadRequest("The body has no field of a wardrobe item."));
    }
    let (id, may_exist) = match body.id().map(str::trim).filter(|id| !id.is_empty()) {
        Some(id) if is_valid_id(id) => (ItemId::from(id), false),
        Some(_) => {
            return Err(ApiError::BadRequest("id must have 1 to 128 letters, digits, dots, hyphens or underscores."));
        }
        None => (ItemId::from(new_id.id().simple().to_string()), new_id.may_exist()),
    };
    let document = Value::Object(body.document(&app, &user, &id)?);
    let earlier = if may_exist { app.data.wardrobe.find(&user, &id).await? } else { None };
    let item = match earlier {
        Some((item, _)) => item,
        None => {
            if !app.data.wardrobe.has_room(&user).await? {
                return Err(ApiError::Conflict(FULL));
            }
            if !app.data.wardrobe.create(&user, &id, &document).await? {
                return Err(ApiError::Conflict("An item with this id exists already."));
            }
            serde_json::from_value(document).map_err(ApiError::internal)?
        }
    };
    // The weekly digest iterates over profiles. A failure does not affect the item.
    if let Err(error) = app.data.profiles.create_if_missing(&user).await {
        warn!(user.id = %user, error = %Chain(&error), "profile not created with the first item");
    }
    let mut response = (StatusCode::CREATED, AppJson(ItemResponse::new(&app, item))).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/wardrobe/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn is_valid_id(id: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_known) && !RESERVED_IDS.contains(&id)
}

/// Replaces the owner's fields of an item or draft. A field that is absent or null is cleared; wears, dates and the
/// picture are kept.
#[utoipa::path(put, path = "/api/wardrobe/{id}", params(("id" = ItemId, Path, example = "demo-camel-wool-coat"), IfMatchHeader), request_body(content = ItemRequest, example = json!({"id": "demo-camel-wool-coat", "category": "Outerwear", "tags": ["coat", "favorite"]})), responses(
    (status = 204),
    (status = 400, description = "The body cannot be read, is for another item, or a value breaks a rule."),
    (status = 404, description = "Item not found.")
))]
async fn update_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
    if_match: IfMatch,
    TextJson(body): TextJson<Option<ItemRequest>>,
) -> Result<StatusCode, ApiError> {
    let is_meant = |body: &ItemRequest| body.id().is_some_and(|given| given.eq_ignore_ascii_case(id.as_str()));
    let body = body.filter(is_meant).ok_or(ApiError::BadRequest("ID in path and body must match."))?;
    let picture = body.picture(&app, &user, &id);
    let (fields, wardrobe) = (body.fields(), &app.data.wardrobe);
    let change = |stored: &Map<String, Value>, version: Option<&_>| {
        if !if_match.admits(version) {
            return Err(STALE_VERSION);
        }
        fields::check(&fields, &OWN_FIELDS, stored)?;
        Ok(fields.clone())
    };
    match wardrobe.replace_fields(&user, &id, &OWN_FIELDS, picture.as_deref(), change).await? {
        Replaced::Saved => Ok(StatusCode::NO_CONTENT),
        Replaced::Missing => Err(NO_ITEM),
        Replaced::Rejected(error) => Err(error),
    }
}

/// Deletes an item, or dismisses a draft.
#[utoipa::path(delete, path = "/api/wardrobe/{id}", params(("id" = ItemId, Path, example = "demo-camel-wool-coat")), responses(
    (status = 204),
    (status = 404, description = "Item not found.")
))]
async fn delete_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
) -> Result<StatusCode, ApiError> {
    let deleted = app.data.wardrobe.delete(&user, &id).await?;
    // Also if the item is gone: an earlier deletion may have been interrupted.
    if let Err(error) = collections::remove_from_all(&app.data, &user, &id).await {
        warn!(error = %Chain(&error), "deleted item not removed from collections");
    }
    let item = deleted.ok_or(NO_ITEM)?;
    // Remaining blobs are deleted as orphans.
    if let Err(error) = app.drafts.delete_blobs(&user, &id, item.image_url.as_deref()).await {
        warn!(user.id = %user, error = %Chain(&error), "blobs of an item not deleted");
    }
    Ok(StatusCode::NO_CONTENT)
}
