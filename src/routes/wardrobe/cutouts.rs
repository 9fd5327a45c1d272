//! The pictures of an item, and recreating them in another way.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::schema::verbatim;
use crate::domain::drafts::ItemPictures;
use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::text::{TextJson, TextPath};
use crate::http::items::{BAD_MODE, ItemResponse, NO_ITEM};
use crate::http::layers::auth::CurrentUser;
use crate::imaging::segment::{CutoutMode, CutoutOptions};
use crate::model::draft::Cutout;
use crate::model::ids::ItemId;
use crate::model::timestamp::Timestamp;
use crate::state::AppState;

const BAD_THRESHOLD: ApiError = ApiError::BadRequest("threshold must be a number from 0 to 1.");

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_pictures))
}

/// Routes for users that process a photo.
pub fn slow_user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(cut_out_again))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListPicturesResponse {
    /// URL of the picture that is shown, signed where the store needs a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// The photo that it was made from. It is kept for the owner and never shown; without it there is no other cut-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoResponse>,
    /// How the picture was cut out, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cutout: Option<CutoutResponse>,
    /// Available modes of cut-outs.
    modes: Vec<&'static str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PhotoResponse {
    size_bytes: u64,
    uploaded_at: Timestamp,
}

/// How a picture was cut out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CutoutResponse {
    /// Requested mode: `auto`, `plain`, `network` or `none`.
    mode: String,
    /// Method that made the final cut: `plain`, `network` or `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The network's confidence, 0 to 1, if it was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// Reason for keeping the background, if it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_whole: Option<String>,
}

impl From<Cutout> for CutoutResponse {
    fn from(cutout: Cutout) -> Self {
        let Cutout { mode, by, confidence, kept_whole } = cutout;
        Self { mode, by, confidence, kept_whole }
    }
}

/// Returns an item's pictures, and how it can be cut out.
#[utoipa::path(get, path = "/api/wardrobe/{id}/pictures", params(("id" = ItemId, Path, example = "demo-oxford-draft")), responses(
    (status = 200, body = ListPicturesResponse),
    (status = 404, description = "Item not found.")
))]
async fn list_pictures(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
) -> Result<AppJson<ListPicturesResponse>, ApiError> {
    let ItemPictures { image_url, photo, cutout } = app.drafts.pictures(&user, &id).await?.ok_or(NO_ITEM)?;
    let modes = CutoutMode::ALL.into_iter().filter(|mode| *mode != CutoutMode::Network || app.media.has_network());
    Ok(AppJson(ListPicturesResponse {
        image_url: image_url.map(|url| app.pictures.of_item(&user, &id, url)),
        photo: photo.map(|photo| PhotoResponse { size_bytes: photo.size, uploaded_at: photo.last_modified.into() }),
        cutout: cutout.map(CutoutResponse::from),
        modes: modes.map(CutoutMode::name).collect(),
    }))
}

fn mode_schema() -> RefOr<Schema> {
    let names = CutoutMode::ALL.map(CutoutMode::name).map(Value::from);
    let names: Vec<Value> = names.into_iter().chain([Value::Null]).collect();
    verbatim(json!({ "type": ["string", "null"], "enum": names }))
}

/// How a picture is to be cut out. Both fields may be absent or null, and so may the body.
#[derive(Default, Deserialize, ToSchema)]
struct CutoutRequest {
    /// `auto` (default), `plain` (rules), `network`, or `none` for the whole photo.
    #[schema(schema_with = mode_schema)]
    mode: Option<String>,
    /// Minimum confidence of the network, 0 to 1; below it the background is kept. Default 0.8.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f32>,
}

#[derive(Serialize, ToSchema)]
struct CutoutAgainResponse {
    /// The item, which shows the new picture.
    item: ItemResponse,
    /// How it was cut out.
    cutout: Option<CutoutResponse>,
}

/// Recreates the picture of an item or a draft from its photo, cut out as requested. The replaced picture is deleted.
#[utoipa::path(post, path = "/api/wardrobe/{id}/cutout", params(("id" = ItemId, Path, example = "demo-oxford-draft")), request_body(content = Option<CutoutRequest>, example = json!({"mode": "none"})), responses(
    (status = 200, body = CutoutAgainResponse),
    (status = 400, description = "Invalid mode or threshold, or the network is not installed."),
    (status = 404, description = "Item not found."),
    (status = 409, description = "The draft has no finished picture yet."),
    (status = 410, description = "There is no uploaded photo of the item.")
))]
async fn cut_out_again(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    TextPath(id): TextPath<ItemId>,
    body: Option<TextJson<Option<CutoutRequest>>>,
) -> Result<AppJson<CutoutAgainResponse>, ApiError> {
    let request = body.and_then(|TextJson(request)| request).unwrap_or_default();
    let mode = request.mode.map_or(Ok(CutoutMode::Auto), |mode| mode.parse()).map_err(|_| BAD_MODE)?;
    let threshold = request.threshold.unwrap_or(CutoutOptions::THRESHOLD);
    if !(0.0..=1.0).contains(&threshold) {
        return Err(BAD_THRESHOLD);
    }
    let item = app.drafts.cut_out_again(&user, &id, CutoutOptions { mode, threshold }).await?;
    let cutout = item.cutout.clone().map(CutoutResponse::from);
    let item = ItemResponse::new(&app, item.into_item().map_err(ApiError::internal)?);
    Ok(AppJson(CutoutAgainResponse { item, cutout }))
}
