//! JSON documents in containers and partitions.
//!
//! One small trait, [`DocumentStore`], with two back ends: [`sqlite`] (embedded) and [`cosmos`] (Azure Cosmos DB). The
//! store is independent of the domain: documents are JSON, and `data/` has their types. Both back ends give the
//! guarantees documented here; `tests/unit/store/contract/` tests them.

pub mod cosmos;
pub mod query;
pub mod sqlite;
mod validity;

use std::fmt;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use crate::base::chain::Cause;
use crate::base::deadline::Elapsed;
use crate::base::hash::sha256_hex;

pub use crate::model::containers::{Container, Direction};
pub use query::{Filter, Page, Query, Scope};

/// The largest document that can be saved, in bytes of compact JSON: the limit of Cosmos DB.
pub const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

/// Lifetime of the document that [`Upkeep::ping`] writes.
const TRIAL_SECONDS: u32 = 60 * 60;

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document already exists (create), or was changed or deleted since it was read (replace, conditional delete).
    #[error("the document already exists, or has changed since it was read")]
    Conflict,
    /// The store is throttled, unreachable or too slow; the same call may succeed later.
    #[error("the document store is unavailable")]
    Unavailable(#[source] Cause),
    /// The document is larger than [`MAX_DOCUMENT_BYTES`].
    #[error("the document has {size_bytes} bytes; at most {MAX_DOCUMENT_BYTES} can be stored")]
    TooLarge {
        /// Size of the refused document's compact JSON.
        size_bytes: usize,
    },
    /// The call cannot succeed: a bug in this program, the schema or the file.
    #[error("the document store refused the operation")]
    Failed(#[source] Cause),
}

impl From<Elapsed> for Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::Unavailable(elapsed.into())
    }
}

/// Longest id of a document, in bytes.
const LONGEST_ID: usize = 1023;

/// Address of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The container.
    pub container: Container,
    /// Value of the container's partition key.
    pub partition: String,
    /// `id` of the document, unique in its partition.
    pub id: String,
}

impl Key {
    /// Creates the key of document `id` in `partition` of `container`.
    pub fn new(container: Container, partition: impl Into<String>, id: impl Into<String>) -> Self {
        Self { container, partition: partition.into(), id: id.into() }
    }

    /// Creates the key of document `id` in a container that is partitioned by `/id`.
    pub fn by_id(container: Container, id: impl Into<String>) -> Self {
        let id = id.into();
        Self { container, partition: id.clone(), id }
    }

    /// Whether a document can have this key, by the rules of Cosmos DB. Ids may come from callers; reading an invalid
    /// one finds nothing, and saving it fails.
    pub fn is_valid(&self) -> bool {
        // The id becomes a segment of a URL, where `.` and `..` have a meaning.
        let names_itself = !matches!(&*self.id, "" | "." | "..") && !self.id.contains(['/', '\\', '?', '#']);
        let id_fits = names_itself && self.id.len() <= LONGEST_ID;
        id_fits && !self.partition.is_empty() && self.partition.len() <= 2048
    }

    /// Returns an id that is composed of others, such as that of an item. If it is too long, its end is replaced by a
    /// hash of the whole.
    pub fn composed_id(id: String) -> String {
        if id.len() <= LONGEST_ID {
            return id;
        }
        let hash = sha256_hex(&id);
        let mut end = LONGEST_ID - 1 - hash.len();
        while !id.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}-{hash}", &id[..end])
    }
}

/// Version of a stored document; changes with every write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored document.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The document's JSON text, without the store's own fields (`_etag`, `_ts` …).
    pub json: String,
    /// Version of the document.
    pub etag: ETag,
}

impl Stored {
    /// Reads the document as a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.json)
    }
}

/// Mark of a partition's content at one moment; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeMark {
    /// Differs after every write to the partition.
    pub value: String,
    /// Writes before this moment may not have changed the value, so a mark taken earlier must not be relied on. `None`
    /// when every mark counts.
    pub certain_from: Option<OffsetDateTime>,
}

impl ChangeMark {
    /// Whether a mark taken at `now` counts: an equal mark later proves that nothing was written in between.
    pub fn is_certain(&self, now: OffsetDateTime) -> bool {
        self.certain_from.is_none_or(|from| from <= now)
    }
}

/// One write of a [`DocumentStore::batch`].
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates a document; the batch conflicts if the id exists.
    Create {
        /// The new document, including its `id`.
        document: Value,
    },
    /// Replaces the version `etag` of a document; the batch conflicts if the document has changed.
    Replace {
        /// The new content.
        document: Value,
        /// The version that was read.
        etag: ETag,
    },
    /// Deletes the version `etag` of a document; the batch conflicts if the document has changed.
    Delete {
        /// `id` of the document.
        id: String,
        /// The version that was read.
        etag: ETag,
    },
}

/// JSON documents in containers and partitions. Every back end gives all guarantees documented here.
///
/// A document is a JSON object whose `id` and partition key field equal those of its [`Key`]. A numeric `ttl` field
/// (seconds since the last write) lets it expire; −1 keeps it forever; without it the container's default applies. An
/// expired document counts as missing.
#[async_trait]
pub trait DocumentStore: PartitionIndex + Upkeep {
    /// Returns the document at `key`, or `None`.
    async fn read(&self, key: &Key) -> Result<Option<Stored>>;

    /// Saves a new document; [`Error::Conflict`] if it already exists.
    async fn create(&self, key: &Key, document: &Value) -> Result<ETag>;

    /// Saves a document, replacing an existing one. Only for documents with a single writer.
    async fn upsert(&self, key: &Key, document: &Value) -> Result<ETag>;

    /// Replaces the document read as `etag`; [`Error::Conflict`] if it was changed or deleted since.
    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> Result<ETag>;

    /// Deletes the document and returns whether it existed. With an etag, [`Error::Conflict`] if it was changed or
    /// deleted since.
    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> Result<bool>;

    /// Applies all `writes` to one partition, or none of them. [`Error::Conflict`] if one of them conflicts. At most
    /// 100 writes, whose documents have at most [`MAX_DOCUMENT_BYTES`] together.
    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> Result<()>;

    /// Returns one page of the documents that match `query`.
    async fn query(&self, query: &Query) -> Result<Page>;
}

/// Queries that do not read documents.
#[async_trait]
pub trait PartitionIndex: Send + Sync {
    /// Returns a cheap mark of the partition's content, which changes with every write. `None` for a container that
    /// does not track changes ([`Spec::tracks_changes`](crate::model::containers::Spec::tracks_changes)).
    async fn changes(&self, container: Container, partition: &str) -> Result<Option<ChangeMark>>;

    /// Counts the documents that match `query`, ignoring its order, fields and page.
    async fn count(&self, query: &Query) -> Result<u64>;

    /// Finds the documents that match `query` (its order and position are ignored) whose vector in `field` is nearest
    /// to `vector` by cosine, nearest first. `None` from a store without a vector index; the caller then compares all
    /// documents.
    async fn nearest(&self, query: &Query, field: &'static str, vector: &[f32]) -> Result<Option<Vec<Stored>>>;
}

/// Maintenance of a back end.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Makes a small write, to check that the store responds and accepts writes.
    async fn ping(&self) -> Result<()>;

    /// Deletes expired documents, which are already invisible, to free their space. Returns their number; zero from a
    /// store that deletes them itself.
    async fn sweep_expired(&self) -> Result<usize>;

    /// Checks all stored data for damage and describes the first found; `None` if there is none, or if the store is a
    /// managed service. Takes long.
    async fn find_damage(&self) -> Result<Option<String>>;
}

/// Writes a meaningless document, which expires.
async fn write_trial(store: &impl DocumentStore) -> Result<()> {
    // In a container of expendable data, in a partition of no user.
    let key = Key::new(Container::VaultInsightsCache, "system", "readiness");
    let trial = serde_json::json!({ "id": key.id, "userId": key.partition, "ttl": TRIAL_SECONDS });
    store.upsert(&key, &trial).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composed_id_always_fits_and_is_another_for_other_parts() {
        assert_eq!(Key::composed_id("wear-coat-1".to_owned()), "wear-coat-1");
        let longest = "a".repeat(LONGEST_ID);
        assert_eq!(Key::composed_id(longest.clone()), longest);
        let ids = ["1", "2"].map(|end| Key::composed_id(format!("{}{end}", "é".repeat(512))));
        assert!(ids[0].starts_with('é') && ids[0] != ids[1]);
        assert!(ids.iter().all(|id| Key::by_id(Container::Wardrobe, id.as_str()).is_valid()), "{ids:?}");
        assert_eq!(Key::composed_id(ids[0].clone()), ids[0], "it is composed already");
    }
}
