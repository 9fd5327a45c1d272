//! Tools of the stylist and of other assistants. They read the user's wardrobe and profile, the weather and trends;
//! some also write: preferences, wears, items, votes.
//!
//! A tool is a file with its schema, its input and `run`. Its result is text for the model (JSON unless said
//! otherwise): data, never instructions. Running a tool twice, or cancelling it, is harmless: most only read, and the
//! others' writes are idempotent, some by a key.
//!
//! The stylist has the tools in [`all`]; other assistants also get those in [`only_for_programs`].

pub mod add_item;
mod call;
pub mod gaps;
pub mod history;
pub mod items;
mod limits;
pub mod log_wear;
pub mod moods;
pub mod plan;
pub mod preferences;
pub mod profile;
pub mod rate;
mod spending;
mod summary;
mod terms;
mod traits;
pub mod update_item;
pub mod wardrobe;
pub mod wear;
pub mod weather;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub use self::call::{LONGEST_RESULT, ToolOutput, call, shorten};
pub use self::traits::{Effect, Traits};
use crate::base::text::cut;
use crate::base::turns::Turns;
use crate::data;
use crate::domain::base::Base;
use crate::domain::drafts::{self, Drafts};
use crate::domain::pictures::Pictures;
use crate::domain::rates::ExchangeRates;
use crate::domain::similarity::items::SimilarItems;
use crate::domain::taste::Taste;
use crate::domain::wardrobe as owners;
use crate::llm::{self, CallContext, ToolSpec};
use crate::model::ids::UserId;

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The model's arguments do not match the schema. The text is sent to the model.
    #[error("invalid arguments: {0}")]
    BadArguments(String),
    /// The request cannot be fulfilled. The text is sent to the model.
    #[error("{0}")]
    Refused(String),
    /// The photo could not be stored.
    #[error("the photo could not be stored")]
    Drafts(#[source] drafts::Error),
    /// The documents could not be read.
    #[error("the documents could not be read")]
    Data(#[from] data::Error),
    /// The model that helps the tool failed.
    #[error("the model could not help")]
    Model(#[from] llm::Error),
    /// The result cannot be serialized; a bug.
    #[error("the result cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl ToolError {
    /// Creates the error for an item that the user does not have.
    fn no_item() -> Self {
        Self::Refused("There is no such item.".to_owned())
    }
}

impl From<drafts::Error> for ToolError {
    fn from(error: drafts::Error) -> Self {
        match error {
            drafts::Error::TooMany | drafts::Error::Full => Self::Refused(error.to_string()),
            error => Self::Drafts(error),
        }
    }
}

impl From<owners::Error> for ToolError {
    fn from(error: owners::Error) -> Self {
        match error {
            owners::Error::Unfit(unfit) => Self::BadArguments(unfit.to_string()),
            owners::Error::Data(error) => Self::Data(error),
        }
    }
}

/// A tool that the stylist or another assistant can call for a user.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Name, description and argument schema, as the model sees them.
    fn spec(&self) -> ToolSpec;

    /// Further properties for programs.
    fn traits(&self) -> Traits;

    /// Runs the tool for `user`, calling models in `context`. `arguments` is the model's text.
    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError>;
}

/// What tools are made of.
pub struct ToolParts {
    /// Parts that all services share.
    pub base: Arc<Base>,
    /// Scraped items by similarity.
    pub similar: SimilarItems,
    /// URLs of pictures for clients.
    pub pictures: Pictures,
    /// Exchange rates.
    pub rates: Arc<ExchangeRates>,
    /// Weather of places.
    pub forecasts: weather::Forecasts,
    /// Items created from photos.
    pub drafts: Drafts,
    /// Votes on found items.
    pub taste: Taste,
    /// Turns of users for reads of their whole wardrobe.
    pub large_reads: Arc<Turns<UserId>>,
}

/// The stylist's tools, in the order in which the model sees them.
pub fn all(parts: &Arc<ToolParts>) -> Vec<Arc<dyn Tool>> {
    let parts = || parts.clone();
    vec![
        Arc::new(wardrobe::SearchWardrobe::new(parts())),
        Arc::new(summary::GetWardrobeSummary(parts())),
        Arc::new(weather::GetWeather(parts())),
        Arc::new(profile::GetUserProfile(parts())),
        Arc::new(gaps::AnalyzeWardrobeGaps(parts())),
        Arc::new(moods::GetTrendingMoods(parts())),
        Arc::new(wear::GetWearPatterns(parts())),
        Arc::new(items::SearchScrapedItems(parts())),
        Arc::new(history::GetWearHistory(parts())),
        Arc::new(plan::PlanOutfits(parts())),
        Arc::new(preferences::RememberPreference(parts())),
        Arc::new(preferences::ForgetPreference(parts())),
    ]
}

/// Returns tools that change the wardrobe, for assistants that a user authorised. The stylist does not have them.
pub fn only_for_programs(parts: &Arc<ToolParts>) -> Vec<Arc<dyn Tool>> {
    let parts = || parts.clone();
    vec![
        Arc::new(log_wear::LogWear(parts())),
        Arc::new(update_item::UpdateItem(parts())),
        Arc::new(add_item::AddItem(parts())),
        Arc::new(rate::RateFeedItem(parts())),
    ]
}

/// The longest query that a tool takes, in characters.
const MAX_QUERY: usize = 500;

/// Longest error message about arguments, which may quote them.
const MAX_COMPLAINT: usize = 300;

/// Parses a tool's arguments. For a tool without arguments, models write nothing or `null`. Argument types deny unknown
/// fields, so the error tells the model the misnamed argument and the valid names.
fn read_arguments<T: DeserializeOwned>(arguments: &str) -> Result<T, ToolError> {
    let text = match arguments.trim() {
        "" | "null" => "{}",
        text => text,
    };
    serde_json::from_str(text).map_err(|error| ToolError::BadArguments(cut(&error.to_string(), MAX_COMPLAINT)))
}

/// Arguments of a tool without arguments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

/// Returns the schema of a tool's arguments: these properties, of which some are required, and no others.
fn parameters(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Schema of the arguments of a tool that needs none.
fn no_parameters() -> Value {
    parameters(json!({}), &[])
}

/// Refuses a query that is too long.
fn check_query(query: &str) -> Result<(), ToolError> {
    if query.chars().count() > MAX_QUERY {
        return Err(ToolError::BadArguments(format!("query may have at most {MAX_QUERY} characters")));
    }
    Ok(())
}

/// Longest idempotency key, in characters.
const LONGEST_KEY: usize = 128;

/// Returns the schema of an idempotency key.
fn key_parameter(what: &str) -> Value {
    let description = format!("Names {what}: a call that is repeated with the same key has no further effect.");
    json!({ "type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "description": description })
}

/// Refuses an empty or overlong key.
fn check_key(key: &str) -> Result<String, ToolError> {
    let key = key.trim();
    if key.is_empty() || key.chars().count() > LONGEST_KEY {
        return Err(ToolError::BadArguments(format!("idempotency_key has 1 to {LONGEST_KEY} characters")));
    }
    Ok(key.to_owned())
}

/// Names with counts, largest count first, then by name. Serializes to an object in that order.
#[derive(Debug, Default, Clone, PartialEq)]
struct Tally(Vec<(String, u64)>);

impl Tally {
    /// Counts `name`, ignoring case and differences in spaces. An empty name is not counted.
    fn add(&mut self, name: &str) {
        let name = cut(name, 40).to_lowercase();
        if name.is_empty() {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.0.push((name, 1)),
        }
    }

    /// The `limit` greatest.
    fn top(mut self, limit: usize) -> Self {
        self.0.sort_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
        self.0.truncate(limit);
        self
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, count)| (name, count)))
    }
}

impl PartialSchema for Tally {
    fn schema() -> RefOr<Schema> {
        <BTreeMap<String, u64>>::schema()
    }
}

impl ToSchema for Tally {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_to_one_short_line() {
        assert_eq!(cut("  a\n b\u{0}\tc ", 10), "a b c");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde\u{2026}");
        assert_eq!(cut("\u{e9}\u{e9}\u{e9}\u{e9}", 3), "\u{e9}\u{e9}\u{2026}");
    }

    #[test]
    fn a_tally_writes_the_greatest_first() {
        let mut tally = Tally::default();
        for name in ["tops", "Shoes", "TOPS ", "", "belts"] {
            tally.add(name);
        }
        assert_eq!(serde_json::to_string(&tally.top(2)).unwrap(), r#"{"tops":2,"belts":1}"#);
    }

    #[test]
    fn missing_arguments_are_an_empty_object() {
        assert!(read_arguments::<NoArguments>("").is_ok());
        assert!(read_arguments::<NoArguments>(" null ").is_ok());
        for wrong in ["{\"made\": \"up\"}", "{"] {
            assert!(matches!(read_arguments::<NoArguments>(wrong), Err(ToolError::BadArguments(_))));
        }
    }
}
