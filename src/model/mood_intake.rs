//! How far the articles of the press have been taken in: which were seen in each feed, and the chunks of them that a model
//! reads.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lease::Lease;
use super::mood::{SeenMood, Snippet};

/// What is known of all feeds, and the chunks whose messages are still to be sent. One document: whoever takes articles
/// in says in one write that he has them, and what is to be done with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodIntake {
    /// `mood-intake`.
    pub id: String,
    /// The partition, which is nobody's: `system`.
    pub user_id: String,
    /// Grows with every run that found something.
    pub version: u64,
    /// The feeds of the last run.
    pub feeds: Vec<FeedState>,
    /// Ids of chunks whose messages may not have been sent yet.
    pub unsent: Vec<String>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is known of a feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedState {
    /// Its address.
    pub url: String,
    /// Its `ETag` when it was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Short hashes of the addresses of its articles that were taken in, those that left it first.
    #[serde(default)]
    pub seen: Vec<String>,
}

impl FeedState {
    /// Articles that are remembered: four times those that are read at a time.
    pub const MOST_SEEN: usize = 200;

    /// Remembers these articles, of all the latest.
    pub fn see(&mut self, hashes: Vec<String>) {
        self.seen.retain(|hash| !hashes.contains(hash));
        self.seen.extend(hashes);
        self.seen.drain(..self.seen.len().saturating_sub(Self::MOST_SEEN));
    }
}

/// Some articles that a model reads at once, and how far that is. Its steps are written down one by one: whoever takes it
/// over goes on where the one before stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoodChunk {
    /// `mood-chunk-` and a hash of the articles' addresses.
    pub id: String,
    /// The partition, which is nobody's: `system`.
    pub user_id: String,
    /// The run that found the articles. Moods that it saw first are merged more readily with each other.
    pub run: String,
    /// The articles; gone when all is done.
    pub snippets: Vec<Snippet>,
    /// The moods in them, and what is to become of each; gone when all is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedMood>>,
    /// What came of it. There when all is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ChunkReport>,
    /// Who works on it.
    #[serde(flatten)]
    pub lease: Lease,
    /// Seconds after its last change that it is kept.
    pub ttl: u64,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A mood that was seen, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedMood {
    /// The mood.
    pub seen: SeenMood,
    /// The id of the mood that it is taken for; `None` if there is none like it.
    pub target: Option<String>,
    /// A better description of that.
    pub description: Option<String>,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkReport {
    /// Articles that were read.
    pub snippets: usize,
    /// Moods that there were none like.
    pub created: usize,
    /// Moods that got new articles.
    pub grown: usize,
    /// Moods whose articles were all known.
    pub unchanged: usize,
}
