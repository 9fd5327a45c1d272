//! Moods, and the progress of reading the fashion press.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde::Deserialize;

use super::lease::leased;
use super::timers::PARTITION;
use super::update::{Edit, update};
use super::{Result, pages, records};
use crate::model::lenient;
use crate::model::mood::{Mood, MoodRecord, PublishedMood};
use crate::model::mood_intake::{MoodChunk, MoodIntake};
use crate::store::{Container, Direction, DocumentStore, Key, Query};

/// Length of the lease on a chunk.
const CHUNK_LEASE: Duration = Duration::from_secs(45);

leased!(MoodChunk, CHUNK_LEASE);

/// Fields of a mood without embedding and articles.
const FIELDS: &[&str] = &["id", "primaryMood", "name", "subMoods", "description", "moodSignals", "trendScore"];

/// Fields of a mood for users.
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

/// Fields for comparing moods.
const NAME_FIELDS: &[&str] = &["id", "name", "description", "nameEmbedding", "detectedIn"];

/// A mood's name and embedding, for comparison with others.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodName {
    /// Mood id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Description.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// Embedding of the name; empty if missing.
    #[serde(default, deserialize_with = "lenient::list")]
    pub name_embedding: Vec<f32>,
    /// The run that first saw the mood.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub detected_in: Option<String>,
}

/// Moods of all categories.
#[derive(Clone)]
pub struct Moods(pub(super) Arc<dyn DocumentStore>);

impl Moods {
    /// Finds the moods with the highest trend score, of one category or of all.
    pub async fn top_by_trend(&self, primary_mood: Option<&str>, limit: usize) -> Result<Vec<Mood>> {
        pages::page(&*self.0, &by_trend(primary_mood, limit).select(FIELDS)).await
    }

    /// Finds the moods with the highest trend score with their articles, of one category or of all.
    pub async fn published_by_trend(&self, primary_mood: Option<&str>, limit: usize) -> Result<Vec<PublishedMood>> {
        pages::page(&*self.0, &by_trend(primary_mood, limit).select(PUBLISHED_FIELDS)).await
    }

    /// Finds a mood by its id, in any current or former form.
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
                return Ok(records::parse(Container::Moods, &stored));
            }
        }
        Ok(None)
    }

    /// Streams the names of a category's moods.
    pub fn names<'a>(&'a self, primary_mood: &str) -> impl Stream<Item = Result<MoodName>> + Send + 'a {
        pages::walk(&*self.0, Query::partition(Container::Moods, primary_mood).select(NAME_FIELDS))
    }

    /// Edits a mood by compare-and-swap.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update`].
    pub async fn edit<R>(
        &self,
        primary_mood: &str,
        id: &str,
        edit: impl FnMut(Option<MoodRecord>) -> Edit<MoodRecord, R>,
    ) -> Result<R> {
        update(&*self.0, &Key::new(Container::Moods, primary_mood, id), edit).await
    }

    /// Finds the state of the feeds.
    ///
    /// # Errors
    /// When the store fails or the document is invalid.
    pub async fn intake(&self) -> Result<Option<MoodIntake>> {
        records::find_valid(&*self.0, &system_key(INTAKE)).await
    }

    /// Edits the state of the feeds by compare-and-swap.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for [`update`].
    pub async fn edit_intake<R>(&self, edit: impl FnMut(Option<MoodIntake>) -> Edit<MoodIntake, R>) -> Result<R> {
        update(&*self.0, &system_key(INTAKE), edit).await
    }

    /// Creates a chunk, unless it exists.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_chunk(&self, chunk: &MoodChunk) -> Result<()> {
        records::create(&*self.0, &system_key(&chunk.id), chunk).await.map(drop)
    }

    /// Returns the key of a chunk.
    pub fn chunk_key(id: &str) -> Key {
        system_key(id)
    }
}

/// Id of the document with the state of the feeds. It and the chunks are in the container of jobs, in a partition
/// without owner.
pub const INTAKE: &str = "mood-intake";

fn system_key(id: &str) -> Key {
    Key::new(Container::Jobs, PARTITION, id)
}

fn by_trend(primary_mood: Option<&str>, limit: usize) -> Query {
    Query::one_or_all(Container::Moods, primary_mood).order_by("trendScore", Direction::Descending).limit(limit)
}
