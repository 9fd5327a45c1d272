//! Collections of wardrobe items, and sharing them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::data::update::Edit;
use crate::domain::collections::{self, Added, Created, Join, NewCollection};
use crate::domain::quota::Caller;
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::new_id::NewId;
use crate::http::extract::text::{INVALID_BODY, TextJson, TextPath};
use crate::http::items::{ItemResponse, NO_ITEM};
use crate::http::layers::answers::LargeList;
use crate::http::layers::auth::CurrentUser;
use crate::model::collection::{Collection, MAX_ITEMS};
use crate::model::ids::{CollectionId, ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

/// Longest name, in characters.
const LONGEST_NAME: usize = 200;
/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 2000;
/// Items that are read at once for a list.
const READ_AT_ONCE: usize = 100;

const NO_COLLECTION: ApiError = ApiError::NotFound("Collection not found.");
const NAME_REQUIRED: ApiError = ApiError::BadRequest("Name is required.");
const TOO_MANY: ApiError = ApiError::Conflict("You have 100 collections. Delete one first.");
const TOO_MANY_JOINED: ApiError = ApiError::Conflict("You have joined 100 collections. Leave one first.");
const TOO_MANY_ITEMS: ApiError = ApiError::BadRequest("A collection can have at most 1000 items.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_collections, create_collection))
        .routes(routes!(find_collection, update_collection, delete_collection))
        .routes(routes!(join_collection))
        .routes(routes!(leave_collection))
        .routes(routes!(list_collection_items, add_collection_item))
        .routes(routes!(remove_collection_item))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CollectionResponse {
    id: CollectionId,
    owner_id: UserId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    is_public: bool,
    clothing_item_ids: Vec<ItemId>,
    member_user_ids: Vec<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

impl From<Collection> for CollectionResponse {
    fn from(collection: Collection) -> Self {
        Self {
            id: collection.id,
            owner_id: collection.owner_id,
            name: collection.name,
            description: collection.description,
            is_public: collection.is_public,
            clothing_item_ids: collection.clothing_item_ids,
            member_user_ids: collection.member_user_ids,
            created_at: collection.created_at,
        }
    }
}

/// Lists the user's own collections, then joined ones, each newest first.
#[utoipa::path(get, path = "/api/collections", responses((status = 200, body = Vec<CollectionResponse>)))]
async fn list_collections(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
) -> Result<AppJson<Vec<CollectionResponse>>, ApiError> {
    let _turn = app.large_reads.wait(&user).await;
    let collections = collections::list(&app.data, &user, app.clock.now().into()).await?;
    Ok(AppJson(collections.into_iter().map(Into::into).collect()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreateCollectionRequest {
    #[schema(value_type = String, required = true, pattern = r"\S", max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    is_public: Option<bool>,
    /// Items of the user.
    #[schema(max_items = 1000)]
    clothing_item_ids: Option<Vec<ItemId>>,
}

/// Creates a collection.
#[utoipa::path(post, path = "/api/collections", request_body(content = CreateCollectionRequest, example = json!({"name": "Winter", "isPublic": true, "clothingItemIds": ["demo-camel-wool-coat"]})), responses(
    (status = 201, body = CollectionResponse),
    (status = 404, description = "One of the items is not the user's."),
    (status = 409, description = "The user has 100 collections.")
))]
async fn create_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    new_id: NewId,
    TextJson(body): TextJson<Option<CreateCollectionRequest>>,
) -> Result<(StatusCode, AppJson<CollectionResponse>), ApiError> {
    let body = body.ok_or(INVALID_BODY)?;
    let name = body.name.filter(|name| !name.trim().is_empty()).ok_or(NAME_REQUIRED)?;
    check_texts(Some(&name), body.description.as_ref())?;
    let items = body.clothing_item_ids.unwrap_or_default();
    if items.len() > MAX_ITEMS {
        return Err(TOO_MANY_ITEMS);
    }
    let description = body.description.filter(|description| !description.is_empty());
    let id = new_id.id().to_string().into();
    let new = NewCollection { id, name, description, is_public: body.is_public.unwrap_or_default(), items };
    let created = collections::create(&app.data, &user, new, app.clock.now().into()).await?;
    match created {
        Created::Done(collection) => Ok((StatusCode::CREATED, AppJson(collection.into()))),
        Created::NoItem => Err(NO_ITEM),
        Created::TooMany => Err(TOO_MANY),
    }
}

/// Checks the lengths of the texts of a collection.
fn check_texts(name: Option<&String>, description: Option<&String>) -> Result<(), ApiError> {
    let is_long = |text: Option<&String>, most| text.is_some_and(|text| text.chars().count() > most);
    if is_long(name, LONGEST_NAME) {
        return Err(ApiError::BadRequest("name must have at most 200 characters."));
    }
    if is_long(description, LONGEST_DESCRIPTION) {
        return Err(ApiError::BadRequest("description must have at most 2000 characters."));
    }
    Ok(())
}

/// Returns a collection that the user owns or has joined.
#[utoipa::path(get, path = "/api/collections/{id}", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 200, body = CollectionResponse),
    (status = 404, description = "Collection not found.")
))]
async fn find_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
) -> Result<AppJson<CollectionResponse>, ApiError> {
    let collection = collections::find(&app.data, &user, &id, app.clock.now().into()).await?;
    Ok(AppJson(collection.ok_or(NO_COLLECTION)?.into()))
}

/// What an owner changes. Older clients write names with capital letters.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateCollectionRequest {
    /// A blank name is ignored.
    #[serde(alias = "Name")]
    #[schema(max_length = 200)]
    name: Option<String>,
    /// An empty text clears the description.
    #[serde(alias = "Description")]
    #[schema(max_length = 2000)]
    description: Option<String>,
    #[serde(alias = "IsPublic")]
    is_public: Option<bool>,
}

/// Changes name, description or visibility of a collection of the user. Absent or null fields are kept.
#[utoipa::path(put, path = "/api/collections/{id}", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), request_body(content = UpdateCollectionRequest, example = json!({"description": "For cold days"})), responses(
    (status = 204),
    (status = 404, description = "Collection not found, or owned by another user.")
))]
async fn update_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
    TextJson(body): TextJson<Option<UpdateCollectionRequest>>,
) -> Result<StatusCode, ApiError> {
    let UpdateCollectionRequest { name, description, is_public } = body.ok_or(INVALID_BODY)?;
    let name = name.filter(|name| !name.trim().is_empty());
    let edited = app.data.collections.edit(&user, &id, |mut collection| {
        // Another service may have written longer texts, which clients send back.
        let new_name = name.as_ref().filter(|name| **name != collection.name);
        let new_description = description.as_ref().filter(|text| Some(*text) != collection.description.as_ref());
        if let Err(refusal) = check_texts(new_name, new_description) {
            return Edit::Keep(Err(refusal));
        }
        let before = collection.clone();
        if let Some(name) = &name {
            collection.name.clone_from(name);
        }
        if let Some(description) = &description {
            collection.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        if let Some(is_public) = is_public {
            collection.is_public = is_public;
        }
        if collection == before { Edit::Keep(Ok(())) } else { Edit::Save(collection, Ok(())) }
    });
    edited.await?.ok_or(NO_COLLECTION)??;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a collection of the user, if it exists.
#[utoipa::path(delete, path = "/api/collections/{id}", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses((status = 204)))]
async fn delete_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
) -> Result<StatusCode, ApiError> {
    collections::delete(&app.data, &user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the user a member of a public collection.
#[utoipa::path(post, path = "/api/collections/{id}/join", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 204),
    (status = 400, description = "The collection has the maximum number of members."),
    (status = 403, description = "The collection is private."),
    (status = 404, description = "Collection not found."),
    (status = 409, description = "The user has joined 100 collections.")
))]
async fn join_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
) -> Result<StatusCode, ApiError> {
    match collections::join(&app.data, &user, &id, app.clock.now().into()).await? {
        Join::Done => Ok(StatusCode::NO_CONTENT),
        Join::NoCollection => Err(NO_COLLECTION),
        Join::Private => Err(ApiError::Forbidden("This collection is private.")),
        Join::Full => Err(ApiError::BadRequest("A collection can have at most 500 members.")),
        Join::TooMany => Err(TOO_MANY_JOINED),
    }
}

/// Ends the user's membership, if there is one.
#[utoipa::path(delete, path = "/api/collections/{id}/leave", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses((status = 204)))]
async fn leave_collection(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
) -> Result<StatusCode, ApiError> {
    collections::leave(&app.data, &user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document; the handler writes the list")]
struct CollectionItemsResponse {
    items: Vec<ItemResponse>,
}

/// Lists the items of a collection that the user owns or has joined. They are the owner's.
#[utoipa::path(get, path = "/api/collections/{id}/items", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), responses(
    (status = 200, body = CollectionItemsResponse),
    (status = 404, description = "Collection not found.")
))]
async fn list_collection_items(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
) -> Result<Response, ApiError> {
    let collection = collections::find(&app.data, &user, &id, app.clock.now().into()).await?.ok_or(NO_COLLECTION)?;
    let _turn = app.large_reads.wait(&user).await;
    let mut list = LargeList::new(&app.answers, Caller::User(user), "items");
    for ids in collection.clothing_item_ids.chunks(READ_AT_ONCE) {
        for item in app.data.wardrobe.find_kept(&collection.owner_id, ids).await? {
            list.push(&ItemResponse::new(&app, item)).await?;
        }
    }
    list.finish().await
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AddCollectionItemRequest {
    #[schema(value_type = String, required = true, pattern = r"\S")]
    item_id: Option<String>,
}

/// Adds an item of the user to one of their collections.
#[utoipa::path(post, path = "/api/collections/{id}/items", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")), request_body(content = AddCollectionItemRequest, example = json!({"itemId": "demo-black-chelsea-boots"})), responses(
    (status = 204),
    (status = 404, description = "The user owns no such collection, or has no such item.")
))]
async fn add_collection_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<CollectionId>,
    TextJson(body): TextJson<Option<AddCollectionItemRequest>>,
) -> Result<StatusCode, ApiError> {
    let item = body.and_then(|body| body.item_id).filter(|item| !item.trim().is_empty());
    let item = ItemId::from(item.ok_or(ApiError::BadRequest("itemId is required."))?);
    match collections::add_item(&app.data, &user, &id, &item).await? {
        Added::Done => Ok(StatusCode::NO_CONTENT),
        Added::NoCollection => Err(NO_COLLECTION),
        Added::NoItem => Err(NO_ITEM),
        Added::Full => Err(TOO_MANY_ITEMS),
    }
}

/// Removes an item from a collection of the user, if it contains it.
#[utoipa::path(delete, path = "/api/collections/{id}/items/{item_id}", params(("id" = CollectionId, Path, example = "0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d"), ("item_id" = ItemId, Path, example = "demo-camel-wool-coat")), responses((status = 204)))]
async fn remove_collection_item(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath((id, item)): TextPath<(CollectionId, ItemId)>,
) -> Result<StatusCode, ApiError> {
    collections::remove_item(&app.data, &user, &id, &item).await?;
    Ok(StatusCode::NO_CONTENT)
}
