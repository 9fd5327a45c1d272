//! What is in fashion, and how far the press has been read.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde::Deserialize;

use super::lease::leased;
use super::timers::PARTITION;
use super::update::{Edit, update};
use super::{Result, pages};
use crate::model::lenient;
use crate::model::mood::{Mood, MoodRecord, PublishedMood};
use crate::model::mood_intake::{MoodChunk, MoodIntake};
use crate::store::{self, Container, Direction, DocumentStore, Key, Query};

/// How long a chunk is leased for.
const CHUNK_LEASE: Duration = Duration::from_secs(45);

leased!(MoodChunk, CHUNK_LEASE);

/// All fields of a mood but the vector of its name and its articles.
const FIELDS: &[&str] = &["id", "primaryMood", "name", "subMoods", "description", "moodSignals", "trendScore"];

/// What users see.
const PUBLISHED_FIELDS: &[&str] = &[
    "id",
    "primaryMood",
    "name",
    "subMoods",
    "description",
    "moodSignals",
    "trendScore",
    "sources",
    "detectedAt",
    "updatedAt",
];

/// What moods are compared by.
const NAME_FIELDS: &[&str] = &["id", "name", "description", "nameEmbedding", "detectedIn"];

/// A mood's name, to compare others with.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodName {
    /// The mood.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its description.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// The vector of its name; empty if it has none.
    #[serde(default, deserialize_with = "lenient::list")]
    pub name_embedding: Vec<f32>,
    /// The run that first saw it.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub detected_in: Option<String>,
}

/// The moods of all categories.
#[derive(Clone)]
pub struct Moods(Arc<dyn DocumentStore>);

impl Moods {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// The moods with the highest trend score, at most `limit`, of one category or of all.
    pub async fn top_by_trend(&self, primary_mood: Option<&str>, limit: usize) -> Result<Vec<Mood>> {
        pages::page(&*self.0, &by_trend(primary_mood, limit).select(FIELDS)).await
    }

    /// The same, with their articles.
    pub async fn published_by_trend(&self, primary_mood: Option<&str>, limit: usize) -> Result<Vec<PublishedMood>> {
        pages::page(&*self.0, &by_trend(primary_mood, limit).select(PUBLISHED_FIELDS)).await
    }

    /// The mood with this id, in any of the forms that it ever had.
    pub async fn find(&self, id: &str) -> Result<Option<PublishedMood>> {
        let Some(category) = Mood::category_of(id) else { return Ok(None) };
        let Some(rest) = id.get(category.len()..) else { return Ok(None) };
        let lower = category.to_lowercase();
        let mut ids = vec![id.to_owned()];
        for form in [format!("{}{rest}", lower.replace(' ', "-")), format!("{lower}{rest}")] {
            if !ids.contains(&form) {
                ids.push(form);
            }
        }
        for id in ids {
            let key = Key::new(Container::Moods, category, id);
            if key.is_valid()
                && let Some(stored) = self.0.read(&key).await?
            {
                return Ok(pages::parse(Container::Moods, &stored));
            }
        }
        Ok(None)
    }

    /// The names of a category's moods, page by page.
    pub fn names<'a>(&'a self, primary_mood: &str) -> impl Stream<Item = Result<MoodName>> + Send + 'a {
        pages::walk(&*self.0, Query::partition(Container::Moods, primary_mood).select(NAME_FIELDS))
    }

    /// Edits a mood by compare-and-swap, as [`update`].
    ///
    /// # Errors
    /// As [`update`].
    pub async fn edit<R>(
        &self,
        primary_mood: &str,
        id: &str,
        edit: impl FnMut(Option<MoodRecord>) -> Edit<MoodRecord, R>,
    ) -> Result<R> {
        update(&*self.0, &Key::new(Container::Moods, primary_mood, id), edit).await
    }

    /// What is known of the feeds.
    ///
    /// # Errors
    /// When the store fails or the document is not what it should be.
    pub async fn intake(&self) -> Result<Option<MoodIntake>> {
        let stored = self.0.read(&system_key(INTAKE)).await?;
        Ok(stored.map(|stored| stored.parse()).transpose()?)
    }

    /// Edits that by compare-and-swap, as [`update`].
    ///
    /// # Errors
    /// As [`update`].
    pub async fn edit_intake<R>(&self, edit: impl FnMut(Option<MoodIntake>) -> Edit<MoodIntake, R>) -> Result<R> {
        update(&*self.0, &system_key(INTAKE), edit).await
    }

    /// Saves a new chunk. One that is there already stays as it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_chunk(&self, chunk: &MoodChunk) -> Result<()> {
        match self.0.create(&system_key(&chunk.id), &serde_json::to_value(chunk)?).await {
            Ok(_) | Err(store::Error::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the chunk of this id is.
    pub fn chunk_key(id: &str) -> Key {
        system_key(id)
    }
}

/// Id of the document about the feeds. It and the chunks are among the long operations, in the partition of nobody.
pub const INTAKE: &str = "mood-intake";

fn system_key(id: &str) -> Key {
    Key::new(Container::Jobs, PARTITION, id)
}

fn by_trend(primary_mood: Option<&str>, limit: usize) -> Query {
    let query = match primary_mood {
        Some(category) => Query::partition(Container::Moods, category),
        None => Query::all(Container::Moods),
    };
    query.order_by("trendScore", Direction::Descending).limit(limit)
}
