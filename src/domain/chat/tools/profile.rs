//! What the user told about themselves: tastes, sizes, city.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;

use super::{NoArguments, Parts, Tool, ToolError, no_parameters, read_arguments};
use crate::base::text::{cut, cut_each};
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::UserId;
use crate::model::profile::UserProfile;

/// The most entries of a list in the result.
const MAX_ENTRIES: usize = 30;

/// The profile as the model sees it. Fields in this order.
#[derive(Serialize)]
struct Profile {
    style_preferences: Vec<String>,
    favorite_brands: Vec<String>,
    preferred_colours: Vec<String>,
    location_city: Option<String>,
    height_cm: Option<f64>,
    preferred_size_system: String,
    currency_code: String,
    recommendation_opt_in: bool,
    style_confidence_profile: Option<f64>,
    climate_zone: Option<String>,
}

impl From<UserProfile> for Profile {
    fn from(profile: UserProfile) -> Self {
        Self {
            style_preferences: cut_each(&profile.style_preferences, 60, MAX_ENTRIES),
            favorite_brands: cut_each(&profile.favorite_brands, 60, MAX_ENTRIES),
            preferred_colours: cut_each(&profile.preferred_colours, 60, MAX_ENTRIES),
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

/// Reads the user's profile.
pub struct GetUserProfile(pub(super) Arc<Parts>);

#[async_trait]
impl Tool for GetUserProfile {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_user_profile",
            description: "Returns the user's style preferences, favourite brands and colours, city, height, size system, \
                          currency and climate zone. Use it when tastes, sizes or the place matter.",
            parameters: no_parameters(),
        }
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let NoArguments {} = read_arguments(arguments)?;
        let profile = match self.0.base.data.profiles.find(user).await? {
            Some(profile) => profile,
            // Whoever has told nothing yet has the defaults.
            None => serde_json::from_value(json!({ "id": user }))?,
        };
        Ok(serde_json::to_string(&Profile::from(profile))?)
    }
}
