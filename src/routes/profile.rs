//! The user's profile: sizes, tastes and city.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::error::ApiError;
use crate::http::extract::AppJson;
use crate::http::extract::text::{BODY_REQUIRED, TextJson};
use crate::http::layers::auth::CurrentUser;
use crate::http::respond::{IfMatch, IfMatchHeader, STALE_VERSION, version_tag};
use crate::model::ids::UserId;
use crate::model::numbers::{Number, decimal};
use crate::model::profile::UserProfile;
use crate::state::AppState;

/// Largest measurement, in its unit.
const LARGEST_MEASUREMENT: f64 = 1000.0;
/// Most entries of a list.
const MOST_ENTRIES: usize = 100;
/// Longest entry of a list, in characters.
const LONGEST_ENTRY: usize = 100;
/// Longest name of a city, in characters.
const LONGEST_CITY: usize = 200;

/// Routes for users.
pub fn user() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_profile, update_profile))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProfileResponse {
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    height_cm: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_kg: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chest_cm: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waist_cm: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hips_cm: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inseam_cm: Option<Number>,
    currency_code: String,
    preferred_size_system: String,
    style_preferences: Vec<String>,
    favorite_brands: Vec<String>,
    preferred_colours: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location_city: Option<String>,
    recommendation_opt_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    style_confidence_profile: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    climate_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wardrobe_hash_at_last_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wardrobe_fingerprint: Option<String>,
}

impl From<UserProfile> for ProfileResponse {
    fn from(profile: UserProfile) -> Self {
        let number = |number: Option<f64>| number.and_then(decimal).map(Number);
        Self {
            id: profile.id,
            height_cm: number(profile.height_cm),
            weight_kg: number(profile.weight_kg),
            chest_cm: number(profile.chest_cm),
            waist_cm: number(profile.waist_cm),
            hips_cm: number(profile.hips_cm),
            inseam_cm: number(profile.inseam_cm),
            currency_code: profile.currency_code,
            preferred_size_system: profile.preferred_size_system,
            style_preferences: profile.style_preferences,
            favorite_brands: profile.favorite_brands,
            preferred_colours: profile.preferred_colours,
            location_city: profile.location_city,
            recommendation_opt_in: profile.recommendation_opt_in,
            style_confidence_profile: number(profile.style_confidence_profile),
            climate_zone: profile.climate_zone,
            wardrobe_hash_at_last_digest: profile.wardrobe_hash_at_last_digest,
            wardrobe_fingerprint: profile.wardrobe_fingerprint,
        }
    }
}

/// Returns the user's profile; the default one, which is not stored, if there is none.
#[utoipa::path(get, path = "/api/profile", responses((status = 200, body = ProfileResponse)))]
async fn find_profile(State(app): State<AppState>, CurrentUser(user): CurrentUser) -> Result<Response, ApiError> {
    let (profile, version) = app.data.profiles.find_or_default(&user).await?;
    Ok(([(ETAG, version_tag(version.as_ref()))], AppJson(ProfileResponse::from(profile))).into_response())
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateProfileRequest {
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    height_cm: Option<Number>,
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    weight_kg: Option<Number>,
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    chest_cm: Option<Number>,
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    waist_cm: Option<Number>,
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    hips_cm: Option<Number>,
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1000)]
    inseam_cm: Option<Number>,
    #[schema(pattern = "^[A-Z]{3}$")]
    currency_code: Option<String>,
    /// `US`, `EU` or `UK`, in any case.
    #[schema(pattern = "^([Uu][Ss]|[Ee][Uu]|[Uu][Kk])$")]
    preferred_size_system: Option<String>,
    #[schema(max_items = 100)]
    style_preferences: Option<Vec<String>>,
    #[schema(max_items = 100)]
    favorite_brands: Option<Vec<String>>,
    #[schema(max_items = 100)]
    preferred_colours: Option<Vec<String>>,
    #[schema(max_length = 200)]
    location_city: Option<String>,
    recommendation_opt_in: Option<bool>,
}

impl UpdateProfileRequest {
    /// Checks the bounds and returns the fields as they are stored.
    fn fields(mut self) -> Result<Map<String, Value>, ApiError> {
        for measurement in [self.height_cm, self.weight_kg, self.chest_cm, self.waist_cm, self.hips_cm, self.inseam_cm]
            .iter()
            .flatten()
        {
            let number = f64::try_from(measurement.0).unwrap_or_default();
            if number <= 0.0 || number > LARGEST_MEASUREMENT {
                return Err(ApiError::BadRequest("A measurement must be above 0 and at most 1000."));
            }
        }
        for list in [&self.style_preferences, &self.favorite_brands, &self.preferred_colours].into_iter().flatten() {
            if list.len() > MOST_ENTRIES || list.iter().any(|entry| entry.chars().count() > LONGEST_ENTRY) {
                return Err(ApiError::BadRequest("A list may have at most 100 entries of at most 100 characters."));
            }
        }
        self.location_city = self.location_city.filter(|city| !city.trim().is_empty());
        if self.location_city.as_ref().is_some_and(|city| city.chars().count() > LONGEST_CITY) {
            return Err(ApiError::BadRequest("locationCity may have at most 200 characters."));
        }
        let is_code = |code: &String| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !self.currency_code.as_ref().is_none_or(is_code) {
            return Err(ApiError::BadRequest("currencyCode must be three capital letters."));
        }
        if let Some(system) = &mut self.preferred_size_system {
            system.make_ascii_uppercase();
            if !matches!(system.as_str(), "US" | "EU" | "UK") {
                return Err(ApiError::BadRequest("preferredSizeSystem must be US, EU or UK."));
            }
        }
        match serde_json::to_value(self).map_err(ApiError::internal)? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(Map::new()),
        }
    }
}

/// Replaces the user's own fields of the profile. An absent or null field is cleared or gets its default; all other
/// fields are kept.
#[utoipa::path(put, path = "/api/profile", params(IfMatchHeader), request_body(content = UpdateProfileRequest, example = json!({"currencyCode": "EUR", "preferredSizeSystem": "EU", "locationCity": "Berlin", "heightCm": 171})), responses(
    (status = 204)
))]
async fn update_profile(
    State(app): State<AppState>,
    CurrentUser(user): CurrentUser,
    if_match: IfMatch,
    TextJson(body): TextJson<Option<UpdateProfileRequest>>,
) -> Result<StatusCode, ApiError> {
    let fields = body.ok_or(BODY_REQUIRED)?.fields()?;
    let is_saved = app.data.profiles.replace_fields(&user, &fields, |version| if_match.admits(version)).await?;
    if is_saved { Ok(StatusCode::NO_CONTENT) } else { Err(STALE_VERSION) }
}
