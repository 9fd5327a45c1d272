//! Drafts: photos are uploaded, processed in the background, and accepted into the wardrobe.

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::drafts::{Accepted, Retried, Upload};
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::text::{LenientQuery, TextPath};
use crate::http::extract::upload::{self, Part, PictureFile};
use crate::http::items::ItemResponse;
use crate::http::layers::auth::CurrentUser;
use crate::imaging::decode::Format;
use crate::model::draft::DraftItem;
use crate::model::ids::ItemId;
use crate::state::AppState;

/// Most drafts per page, and the default.
const PAGE: usize = 50;
/// Text fields of an upload.
const SKIP_SEGMENTATION: &str = "skip_segmentation";
const IS_WISHLISTED: &str = "is_wishlisted";
const BAD_TEXT: ApiError = ApiError::BadRequest("A text field of the form could not be read.");
const NO_PICTURE: ApiError = ApiError::BadRequest("Unsupported or corrupt image.");
const NO_DRAFT: ApiError = ApiError::NotFound("Draft not found.");
const NOT_READY: ApiError = ApiError::Conflict("Only Ready drafts can be accepted.");
const NOT_FAILED: ApiError = ApiError::Conflict("Only Failed drafts can be retried.");
const PHOTO_GONE: ApiError = ApiError::Gone("The uploaded photo is no longer there.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_drafts)).routes(routes!(accept_draft))
}

/// Routes for users that have a stored photo processed again.
pub fn user_retries() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(retry_draft))
}

/// Routes for users that accept a photo.
pub fn user_uploads() -> OpenApiRouter<AppState> {
    // The group has its own limit, so disable that of multipart extractors.
    OpenApiRouter::new().routes(routes!(upload_photo)).layer(DefaultBodyLimit::disable())
}

/// A form with a photo. The first part with a file name is the photo, whatever its field is called.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document")]
struct PhotoForm {
    /// Photo.
    image: PictureFile,
    /// `true` keeps the background.
    skip_segmentation: Option<String>,
    /// `true` makes the garment a wish.
    is_wishlisted: Option<String>,
}

/// Uploads a photo of a garment. It becomes a draft, whose background is removed and which a model describes,
/// asynchronously.
#[utoipa::path(post, path = "/api/wardrobe/upload", request_body(content(
    (PhotoForm = "multipart/form-data"),
    (PictureFile = "image/*")
)), responses(
    (status = 202, body = ItemResponse, description = "The draft."),
    (status = 400, description = "The photo is missing, or its format is not supported."),
    (status = 409, description = "The user has 200 drafts, or 25,000 items.")
))]
async fn upload_photo(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    request: Request,
) -> Result<(StatusCode, AppJson<ItemResponse>), ApiError> {
    let mut has_photo = false;
    let upload = upload::Upload::read(request, &BAD_TEXT, |name, file_name| match (name, file_name) {
        (_, Some(_)) if !has_photo => {
            has_photo = true;
            Part::File
        }
        (Some(SKIP_SEGMENTATION | IS_WISHLISTED), None) => Part::Text,
        _ => Part::Other,
    });
    let upload = upload.await?;
    if Format::of(&upload.picture).is_none() {
        return Err(NO_PICTURE);
    }
    let is_true = |name| upload.text(&[name]).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let (skip_segmentation, is_wishlisted) = (is_true(SKIP_SEGMENTATION), is_true(IS_WISHLISTED));
    let upload = Upload { photo: upload.picture, skip_segmentation, is_wishlisted };
    let draft = app.drafts.upload(&user, upload).await?;
    Ok((StatusCode::ACCEPTED, answer(&app, draft)?))
}

fn answer(app: &AppState, draft: DraftItem) -> Result<AppJson<ItemResponse>, ApiError> {
    Ok(AppJson(ItemResponse::new(app, draft.into_item().map_err(ApiError::internal)?)))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListDraftsResponse {
    items: Vec<ItemResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_continuation_token: Option<String>,
}

/// Lists the caller's drafts, newest first.
#[utoipa::path(get, path = "/api/wardrobe/drafts", params(
    ("pageSize" = Option<i64>, Query, minimum = 1, maximum = 50, description = "Drafts per page, by default 50. A value out of range counts as the nearest bound."),
    ("continuationToken" = Option<String>, Query, description = "Token of the previous page.")
), responses((status = 200, body = ListDraftsResponse)))]
async fn list_drafts(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    query: LenientQuery,
) -> Result<AppJson<ListDraftsResponse>, ApiError> {
    let limit = query.parsed::<i64>("pageSize").map_or(PAGE, |size| usize::try_from(size).unwrap_or(1).clamp(1, PAGE));
    let after = query.text("continuationToken").filter(|token| !token.is_empty()).map(str::to_owned);
    let (drafts, next_continuation_token) = app.data.drafts.page(&user, limit, after).await?;
    let items = drafts.into_iter().map(|draft| ItemResponse::new(&app, draft)).collect();
    Ok(AppJson(ListDraftsResponse { items, next_continuation_token }))
}

/// Accepts a ready draft into the wardrobe.
#[utoipa::path(patch, path = "/api/wardrobe/drafts/{id}/accept", params(("id" = ItemId, Path, example = "demo-oxford-draft")), responses(
    (status = 200, body = ItemResponse, description = "The item. A draft that was accepted within the last hour is answered again."),
    (status = 404, description = "Draft not found."),
    (status = 409, description = "The draft is not ready.")
))]
async fn accept_draft(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
) -> Result<AppJson<ItemResponse>, ApiError> {
    match app.drafts.accept(&user, &id).await? {
        Accepted::Item(item) => answer(&app, *item),
        Accepted::NotReady => Err(NOT_READY),
        Accepted::Missing => Err(NO_DRAFT),
    }
}

/// Processes the photo of a failed draft again.
#[utoipa::path(post, path = "/api/wardrobe/drafts/{id}/retry", params(("id" = ItemId, Path, example = "demo-oxford-draft")), responses(
    (status = 202, body = ItemResponse, description = "The draft, which is being processed."),
    (status = 404, description = "Draft not found."),
    (status = 409, description = "The draft has not failed."),
    (status = 410, description = "The photo no longer exists.")
))]
async fn retry_draft(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
) -> Result<(StatusCode, AppJson<ItemResponse>), ApiError> {
    match app.drafts.retry(&user, &id).await? {
        Retried::Queued(draft) => Ok((StatusCode::ACCEPTED, answer(&app, *draft)?)),
        Retried::NotFailed => Err(NOT_FAILED),
        Retried::Missing => Err(NO_DRAFT),
        Retried::PhotoGone => Err(PHOTO_GONE),
    }
}
