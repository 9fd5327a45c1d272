//! Taste quizzes: cards and pictures, answers, and inferred tastes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{QuizSessionId, ScrapedItemId, UserId};
use super::lenient;
use super::timestamp::Timestamp;
use super::vote::Signal;

/// A quiz session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuizSession {
    /// User id and session id.
    pub id: String,
    /// Owner of the session.
    pub user_id: UserId,
    /// Session id.
    pub session_id: QuizSessionId,
    /// 1 shows cards of mood categories, 2 shows pictures.
    pub phase: u8,
    /// Whether the session is complete.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub is_complete: bool,
    /// Start time.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub created_at: Option<Timestamp>,
    /// Completion time.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Result.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub inferred_tastes: Option<InferredTastes>,
    /// Whether the result has been added to the profile.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub profile_merged: bool,
    /// Cards of phase 1.
    #[serde(default, deserialize_with = "lenient::list")]
    pub cards: Vec<QuizCard>,
    /// Pictures of phase 2.
    #[serde(default, deserialize_with = "lenient::list")]
    pub image_items: Vec<QuizImage>,
    /// Number of answers that the session asks for.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub target_responses: usize,
    /// Answers so far, one per card or picture.
    #[serde(default, deserialize_with = "lenient::list")]
    pub responses: Vec<QuizResponse>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Result of a quiz.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferredTastes {
    /// Style keywords.
    #[serde(default, deserialize_with = "lenient::list")]
    pub style_keywords: Vec<String>,
    /// Brand names.
    #[serde(default, deserialize_with = "lenient::list")]
    pub brands: Vec<String>,
}

/// A card for a mood category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuizCard {
    /// The category.
    pub primary_mood: String,
    /// Name of the mood that represents the category.
    #[serde(default)]
    pub name: String,
    /// Description of the mood.
    #[serde(default)]
    pub description: String,
    /// Colours of the mood.
    #[serde(default)]
    pub color_palette: Vec<String>,
    /// Typical garments of the mood.
    #[serde(default)]
    pub key_pieces: Vec<String>,
    /// Related moods.
    #[serde(default)]
    pub sub_moods: Vec<String>,
}

/// A picture of a scraped item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuizImage {
    /// Item id.
    pub scraped_item_id: ScrapedItemId,
    /// Picture URL.
    #[serde(default)]
    pub image_url: String,
    /// Title of the item.
    #[serde(default)]
    pub title: String,
    /// Tags of the item.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Source of the item.
    #[serde(default)]
    pub source_id: String,
}

/// An answer to a card or picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuizResponse {
    /// Thumb up or down.
    pub signal: Signal,
    /// The card or picture.
    #[serde(flatten)]
    pub subject: QuizSubject,
    /// Time of the answer.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub responded_at: Option<Timestamp>,
}

/// The subject of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuizSubject {
    /// A card, by its category.
    #[serde(rename = "cardPrimaryMood")]
    Card(String),
    /// A picture, by its item.
    #[serde(rename = "scrapedItemId")]
    Image(ScrapedItemId),
}
