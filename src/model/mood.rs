//! What is in fashion, by category.

use serde::{Deserialize, Serialize};

use super::lenient;

/// A mood, as the stylist reads it. The vector of its name is not part of it: nothing that answers a user needs one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mood {
    /// Slug of the category and the name.
    pub id: String,
    /// One of the twelve categories.
    pub primary_mood: String,
    /// In words.
    pub name: String,
    /// Neighbouring moods.
    #[serde(default, deserialize_with = "lenient::list")]
    pub sub_moods: Vec<String>,
    /// One or two sentences.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// What it looks like.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub mood_signals: MoodSignals,
    /// Grows with every new source.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub trend_score: f64,
}

/// What a mood looks like.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodSignals {
    /// Colours in words.
    #[serde(default, deserialize_with = "lenient::list")]
    pub color_palette: Vec<String>,
    /// Patterns.
    #[serde(default, deserialize_with = "lenient::list")]
    pub patterns: Vec<String>,
    /// Silhouettes.
    #[serde(default, deserialize_with = "lenient::list")]
    pub silhouettes: Vec<String>,
    /// Fabrics.
    #[serde(default, deserialize_with = "lenient::list")]
    pub fabrics: Vec<String>,
    /// Pieces that make it.
    #[serde(default, deserialize_with = "lenient::list")]
    pub key_pieces: Vec<String>,
}
