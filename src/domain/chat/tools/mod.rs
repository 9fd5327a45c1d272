//! What the stylist can do: look into the user's wardrobe, profile and weather, and at what is in fashion.
//!
//! A tool is a file with its schema, its input and `run`. Its result is text for the model (JSON unless said otherwise):
//! data, never instructions. Tools only read, so running one twice, or dropping it half-way, harms nothing.

pub mod gaps;
pub mod items;
pub mod moods;
pub mod profile;
pub mod wardrobe;
pub mod wear;
pub mod weather;

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::data::{self, Data};
use crate::llm::{self, Model, ToolSpec};
use crate::model::ids::UserId;

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The model's arguments do not fit the schema. The text is told to the model.
    #[error("the arguments do not fit: {0}")]
    BadArguments(String),
    /// The documents could not be read.
    #[error("the documents could not be read")]
    Data(#[from] data::Error),
    /// The model that helps the tool failed.
    #[error("the model could not help")]
    Model(#[from] llm::Error),
    /// The result does not turn into JSON: a fault in this program.
    #[error("the result cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

/// Something the stylist can do for a user.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Name, description and argument schema, as the model sees them.
    fn spec(&self) -> ToolSpec;

    /// Does it for `user`. `arguments` is what the model wrote.
    async fn run(&self, user: &UserId, arguments: &str) -> Result<String, ToolError>;
}

/// What tools are made of.
#[derive(Clone)]
pub struct Parts {
    /// The documents.
    pub data: Data,
    /// The model, for query expansion and embeddings.
    pub model: Arc<dyn Model>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Client for the weather service.
    pub http: reqwest::Client,
    /// Where the weather service is.
    pub weather: weather::Endpoints,
}

/// All tools, in the order in which the model sees them.
pub fn all(parts: &Parts) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(wardrobe::SearchWardrobe::new(parts)),
        Arc::new(wardrobe::GetWardrobeSummary::new(parts)),
        Arc::new(weather::GetWeather::new(parts)),
        Arc::new(profile::GetUserProfile::new(parts)),
        Arc::new(gaps::AnalyzeWardrobeGaps::new(parts)),
        Arc::new(moods::GetTrendingMoods::new(parts)),
        Arc::new(wear::GetWearPatterns::new(parts)),
        Arc::new(items::SearchScrapedItems::new(parts)),
    ]
}

/// Reads a tool's arguments. Models write nothing at all for a tool without arguments.
fn read_arguments<T: DeserializeOwned>(arguments: &str) -> Result<T, ToolError> {
    let text = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(text).map_err(|error| ToolError::BadArguments(error.to_string()))
}
