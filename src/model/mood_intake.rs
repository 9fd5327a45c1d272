//! Progress of reading the fashion press: known articles per feed, and chunks of articles for the model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lease::Lease;
use super::mood::{SeenMood, Snippet};

/// State of all feeds, and chunks whose messages are still to be sent; a single document. One write both marks articles
/// as known and records the chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodIntake {
    /// `mood-intake`.
    pub id: String,
    /// Partition; always `system`.
    pub user_id: String,
    /// Increases with every run that found something.
    pub version: u64,
    /// State of the feeds of the last run.
    pub feeds: Vec<FeedState>,
    /// Ids of chunks whose messages may not have been sent yet.
    pub unsent: Vec<String>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// State of one feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedState {
    /// URL.
    pub url: String,
    /// `ETag` of the last read version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified` of the last read version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Short hashes of the URLs of known articles; those that left the feed come first.
    #[serde(default)]
    pub seen: Vec<String>,
}

impl FeedState {
    /// Most hashes kept per feed: four times the articles read at once.
    pub const MOST_SEEN: usize = 200;

    /// Marks these articles as known and drops the oldest entries.
    pub fn see(&mut self, hashes: Vec<String>) {
        self.seen.retain(|hash| !hashes.contains(hash));
        self.seen.extend(hashes);
        self.seen.drain(..self.seen.len().saturating_sub(Self::MOST_SEEN));
    }
}

/// A set of articles for one call of the model, with its progress. Each step is recorded, so that a later attempt
/// continues where the last one stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodChunk {
    /// `mood-chunk-` and a hash of the articles' URLs.
    pub id: String,
    /// Partition; always `system`.
    pub user_id: String,
    /// The run that reads the articles. Moods first seen in the same run are merged more readily.
    pub run: String,
    /// The articles; removed when the chunk is done.
    pub snippets: Vec<Snippet>,
    /// Moods that were found, and what to do with each; removed when the chunk is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedMood>>,
    /// Report; present when the chunk is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ChunkReport>,
    /// The worker that reads the chunk.
    #[serde(flatten)]
    pub lease: Lease,
    /// Seconds until the document expires, from its last change.
    pub ttl: u64,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A mood that was found, and what to do with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedMood {
    /// The mood.
    pub seen: SeenMood,
    /// Id of the mood to merge it with; `None` to create a new one.
    pub target: Option<String>,
    /// A better description for that mood.
    pub description: Option<String>,
}

/// Report of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkReport {
    /// Articles that were read.
    pub snippets: usize,
    /// Moods that were created.
    pub created: usize,
    /// Moods that got new articles.
    pub grown: usize,
    /// Moods whose articles were all known.
    pub unchanged: usize,
}

impl ChunkReport {
    /// The report for another run with the same articles, which changes nothing: all of them are known.
    #[must_use]
    pub fn for_another_run(self) -> Self {
        let Self { snippets, created, grown, unchanged } = self;
        Self { snippets, created: 0, grown: 0, unchanged: created + grown + unchanged }
    }
}
