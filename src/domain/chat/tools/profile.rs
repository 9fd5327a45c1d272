//! The user's profile: tastes, sizes, city.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::{NoArguments, Tool, ToolError, ToolParts, Traits, no_parameters, read_arguments};
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::UserId;
use crate::model::profile::ProfileFacts;

/// Reads the user's profile.
pub struct GetUserProfile(pub(super) Arc<ToolParts>);

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

    fn traits(&self) -> Traits {
        Traits::reads("Read the profile").result::<ProfileFacts>()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let NoArguments {} = read_arguments(arguments)?;
        let profile = match self.0.base.data.profiles.find(user).await? {
            Some(profile) => profile,
            // A user without a profile has the defaults.
            None => serde_json::from_value(json!({ "id": user }))?,
        };
        Ok(serde_json::to_string(&ProfileFacts::from(profile))?)
    }
}
