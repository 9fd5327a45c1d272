//! Current fashion trends.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Tool, ToolError, ToolParts, Traits, check_query, parameters, read_arguments};
use crate::base::text::{cut, cut_each};
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::UserId;
use crate::model::mood::{Mood, MoodSignals};
use crate::model::vocabulary;

/// Moods in a result.
const MAX_RESULTS: usize = 10;

/// A mood as the model sees it. Fields in this order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Trend {
    name: String,
    primary_mood: String,
    sub_moods: Vec<String>,
    description: String,
    mood_signals: MoodSignals,
    trend_score: f64,
}

impl From<Mood> for Trend {
    fn from(mood: Mood) -> Self {
        let MoodSignals { color_palette, patterns, silhouettes, fabrics, key_pieces } = mood.mood_signals;
        Self {
            name: cut(&mood.name, 80),
            primary_mood: cut(&mood.primary_mood, 40),
            sub_moods: cut_each(&mood.sub_moods, 60, 8),
            description: cut(&mood.description, 300),
            mood_signals: MoodSignals {
                color_palette: cut_each(&color_palette, 60, 8),
                patterns: cut_each(&patterns, 60, 8),
                silhouettes: cut_each(&silhouettes, 60, 8),
                fabrics: cut_each(&fabrics, 60, 8),
                key_pieces: cut_each(&key_pieces, 60, 8),
            },
            trend_score: mood.trend_score,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct TrendsResult {
    moods: Vec<Trend>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrendsArguments {
    primary_mood: Option<String>,
}

/// Lists the top moods.
pub struct GetTrendingMoods(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for GetTrendingMoods {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_trending_moods",
            description: "Lists up to 10 fashion moods, the most in fashion first, with their colours, fabrics and key pieces. \
                          Use it when trends matter.",
            parameters: parameters(
                json!({
                    "primary_mood": {
                        "type": "string",
                        "description": format!("One of {}; empty for all.", vocabulary::MOODS.join(", ")),
                    },
                }),
                &[],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("List moods in fashion").result::<TrendsResult>()
    }

    async fn run(&self, _user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let TrendsArguments { primary_mood } = read_arguments(arguments)?;
        let wanted = primary_mood.unwrap_or_default();
        check_query(&wanted)?;
        let category = match wanted.trim() {
            "" => None,
            named => Some(vocabulary::mood(named).ok_or_else(|| {
                ToolError::BadArguments(format!("primary_mood is one of {}, or empty", vocabulary::MOODS.join(", ")))
            })?),
        };
        let moods = self.0.base.data.moods.top_by_trend(category, MAX_RESULTS).await?;
        Ok(serde_json::to_string(&TrendsResult { moods: moods.into_iter().map(Trend::from).collect() })?)
    }
}
