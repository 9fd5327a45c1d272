//! Taste quizzes: what a user is shown, and what they like of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{QuizSessionId, ScrapedItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;
use super::vote::Signal;

/// One round of the quiz.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuizSession {
    /// User and session.
    pub id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// The session.
    pub session_id: QuizSessionId,
    /// 1 shows categories of moods, 2 shows pictures.
    pub phase: u8,
    /// Whether it is over.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_complete: bool,
    /// When it began.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// What came out.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub inferred_tastes: Option<InferredTastes>,
    /// Whether the profile has what came out.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub profile_merged: bool,
    /// The cards of phase 1.
    #[serde(default, deserialize_with = "lenient::list")]
    pub cards: Vec<QuizCard>,
    /// The pictures of phase 2.
    #[serde(default, deserialize_with = "lenient::list")]
    pub image_items: Vec<QuizImage>,
    /// How many answers it asks for.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub target_responses: usize,
    /// The answers so far, one per card or picture.
    #[serde(default, deserialize_with = "lenient::list")]
    pub responses: Vec<QuizResponse>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a quiz says of a user's taste.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferredTastes {
    /// Styles.
    #[serde(default, deserialize_with = "lenient::list")]
    pub style_keywords: Vec<String>,
    /// Brands.
    #[serde(default, deserialize_with = "lenient::list")]
    pub brands: Vec<String>,
}

/// A category of moods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuizCard {
    /// The category.
    pub primary_mood: String,
    /// The mood that stands for it.
    #[serde(default)]
    pub name: String,
    /// In a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Its colours.
    #[serde(default)]
    pub color_palette: Vec<String>,
    /// Its pieces.
    #[serde(default)]
    pub key_pieces: Vec<String>,
    /// Its neighbours.
    #[serde(default)]
    pub sub_moods: Vec<String>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuizImage {
    /// The item that it belongs to.
    pub scraped_item_id: ScrapedItemId,
    /// Where it is.
    #[serde(default)]
    pub image_url: String,
    /// The item's headline.
    #[serde(default)]
    pub title: String,
    /// The item's tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where the item was found.
    #[serde(default)]
    pub source_id: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuizResponse {
    /// Liked or not.
    pub signal: Signal,
    /// What it is about.
    #[serde(flatten)]
    pub subject: QuizSubject,
    /// When it was given.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub responded_at: Option<Timestamp>,
}

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum QuizSubject {
    /// A card.
    #[serde(rename = "cardPrimaryMood")]
    Card(String),
    /// A picture.
    #[serde(rename = "scrapedItemId")]
    Image(ScrapedItemId),
}
