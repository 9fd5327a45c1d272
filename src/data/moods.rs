//! What is in fashion.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::mood::Mood;
use crate::store::{Container, Direction, DocumentStore, Query};

/// All fields of a mood but the vector of its name.
const FIELDS: &[&str] = &["id", "primaryMood", "name", "subMoods", "description", "moodSignals", "trendScore"];

/// The moods of all categories.
#[derive(Clone)]
pub struct Moods(Arc<dyn DocumentStore>);

impl Moods {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// The moods with the highest trend score, at most `limit`, of one category or of all.
    pub async fn top_by_trend(&self, primary_mood: Option<&str>, limit: usize) -> Result<Vec<Mood>> {
        let query = match primary_mood {
            Some(category) => Query::partition(Container::Moods, category),
            None => Query::all(Container::Moods),
        };
        pages::page(&*self.0, &query.select(FIELDS).order_by("trendScore", Direction::Descending).limit(limit)).await
    }
}
