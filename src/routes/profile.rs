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
use crate::model::bounds::Excess;
use crate::model::ids::UserId;
use crate::model::numbers::{Number, decimal};
use crate::model::profile::{BOUNDS, UserProfile};
use crate::state::AppState;

/// Largest measurement, in its unit.
const LARGEST_MEASUREMENT: f64 = 1000.0;

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
    /// Returns the fields as they are stored.
    fn fields(mut self) -> Result<Map<String, Value>, ApiError> {
        self.location_city = self.location_city.filter(|city| !city.trim().is_empty());
        if let Some(system) = self.preferred_size_system.as_mut().filter(|system| is_size_system(system)) {
            system.make_ascii_uppercase();
        }
        match serde_json::to_value(self).map_err(ApiError::internal)? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(Map::new()),
        }
    }
}

/// Checks the bounds of fields that replace those of a stored profile. A value that the profile has already is not
/// refused: an import or another service may have written it, and clients send back what they read.
fn check(fields: &Map<String, Value>, stored: &Map<String, Value>) -> Result<(), ApiError> {
    for (name, value) in fields {
        let known = stored.get(name);
        let is_number = value.as_f64().is_some_and(|number| known.and_then(Value::as_f64) == Some(number));
        if is_number || known == Some(value) {
            continue;
        }
        let fault = match (name.as_str(), value) {
            ("currencyCode", Value::String(code)) if !is_currency(code) => {
                "currencyCode must be three capital letters."
            }
            ("preferredSizeSystem", Value::String(system)) if !is_size_system(system) => {
                "preferredSizeSystem must be US, EU or UK."
            }
            (_, Value::Number(number)) if !number.as_f64().is_some_and(|it| it > 0.0 && it <= LARGEST_MEASUREMENT) => {
                "A measurement must be above 0 and at most 1000."
            }
            _ => match BOUNDS.exceeded(value, known) {
                None => continue,
                Some(Excess::Text) => "locationCity may have at most 200 characters.",
                Some(Excess::List) => "A list may have at most 100 entries of at most 100 characters.",
            },
        };
        return Err(ApiError::BadRequest(fault));
    }
    Ok(())
}

fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_size_system(system: &str) -> bool {
    ["US", "EU", "UK"].into_iter().any(|known| known.eq_ignore_ascii_case(system))
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
    let check = |stored: &Map<String, Value>, version: Option<&_>| {
        if if_match.admits(version) { check(&fields, stored) } else { Err(STALE_VERSION) }
    };
    app.data.profiles.replace_fields(&user, &fields, check).await??;
    Ok(StatusCode::NO_CONTENT)
}
