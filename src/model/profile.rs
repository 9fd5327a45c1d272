//! User profiles: sizes, tastes and city.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::bounds::Bounds;
use super::ids::UserId;
use super::lenient;
use crate::base::text::{cut, cut_each};

/// Bounds of a profile: of its city, and of its lists.
pub const BOUNDS: Bounds = Bounds { text: 200, entries: 100, entry: 100 };

/// Most words of a list in [`ProfileFacts`].
const MOST_WORDS: usize = 30;

/// A user's profile. Other services write it too, so unknown fields are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserProfile {
    /// User id.
    pub id: UserId,
    /// Body height in centimetres.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub height_cm: Option<f64>,
    /// Weight in kilograms.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub weight_kg: Option<f64>,
    /// Chest in centimetres.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub chest_cm: Option<f64>,
    /// Waist in centimetres.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub waist_cm: Option<f64>,
    /// Hips in centimetres.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub hips_cm: Option<f64>,
    /// Inseam in centimetres.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub inseam_cm: Option<f64>,
    /// ISO 4217 code of the display currency.
    #[serde(default = "usd", deserialize_with = "usd_or")]
    pub currency_code: String,
    /// `US`, `EU`, `UK` …
    #[serde(default = "us", deserialize_with = "us_or")]
    pub preferred_size_system: String,
    /// Preferred styles, favourite first.
    #[serde(default, deserialize_with = "lenient::list")]
    pub style_preferences: Vec<String>,
    /// Preferred brands.
    #[serde(default, deserialize_with = "lenient::list")]
    pub favorite_brands: Vec<String>,
    /// Preferred colours, favourite first.
    #[serde(default, deserialize_with = "lenient::list")]
    pub preferred_colours: Vec<String>,
    /// City of residence.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub location_city: Option<String>,
    /// Whether the user gets weekly digests.
    #[serde(default = "yes", deserialize_with = "yes_or")]
    pub recommendation_opt_in: bool,
    /// How well suggestions match what the user wears, 0 to 1.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub style_confidence_profile: Option<f64>,
    /// `temperate`, `tropical`, `continental`, `arid` or `polar`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub climate_zone: Option<String>,
    /// Hash of the set of owned items at the last digest.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub wardrobe_hash_at_last_digest: Option<String>,
    /// Hash of the set of owned items, as another service keeps it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub wardrobe_fingerprint: Option<String>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A profile as models see it: in this order, with short texts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[expect(missing_docs, reason = "as in `UserProfile`")]
pub struct ProfileFacts {
    pub style_preferences: Vec<String>,
    pub favorite_brands: Vec<String>,
    pub preferred_colours: Vec<String>,
    pub location_city: Option<String>,
    pub height_cm: Option<f64>,
    pub preferred_size_system: String,
    pub currency_code: String,
    pub recommendation_opt_in: bool,
    pub style_confidence_profile: Option<f64>,
    pub climate_zone: Option<String>,
}

impl From<UserProfile> for ProfileFacts {
    fn from(profile: UserProfile) -> Self {
        let words = |list: &[String]| cut_each(list, 60, MOST_WORDS);
        Self {
            style_preferences: words(&profile.style_preferences),
            favorite_brands: words(&profile.favorite_brands),
            preferred_colours: words(&profile.preferred_colours),
            location_city: profile.location_city.map(|city| cut(&city, 100)),
            height_cm: profile.height_cm,
            preferred_size_system: cut(&profile.preferred_size_system, 12),
            currency_code: cut(&profile.currency_code, 12),
            recommendation_opt_in: profile.recommendation_opt_in,
            style_confidence_profile: profile.style_confidence_profile,
            climate_zone: profile.climate_zone.map(|zone| cut(&zone, 30)),
        }
    }
}

fn usd() -> String {
    "USD".into()
}

fn us() -> String {
    "US".into()
}

fn yes() -> bool {
    true
}

fn usd_or<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(lenient::optional(deserializer)?.unwrap_or_else(usd))
}

fn us_or<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(lenient::optional(deserializer)?.unwrap_or_else(us))
}

fn yes_or<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(lenient::optional(deserializer)?.unwrap_or_else(yes))
}
