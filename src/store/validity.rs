//! Checks of writes, the same for both back ends.

use serde_json::Value;

use super::{Container, Error, Key, MAX_DOCUMENT_BYTES, Result, Write};

/// Most writes in one batch: the limit of Cosmos DB.
const MAX_BATCH: usize = 100;

/// Fields that Cosmos DB adds to each document. Values of writers are discarded, and readers never see these fields.
pub(super) const SYSTEM_FIELDS: [&str; 6] = ["_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"];

/// A write that cannot succeed: a bug in this program.
#[derive(Debug, thiserror::Error)]
enum InvalidWrite {
    #[error("no document can have this key")]
    InvalidKey,
    #[error("the document is not an object with the id and partition of its key")]
    OtherKey,
    #[error("{0} writes in one batch; at most {MAX_BATCH} are possible")]
    LongBatch(usize),
}

impl From<InvalidWrite> for Error {
    fn from(invalid: InvalidWrite) -> Self {
        Self::Failed(invalid.into())
    }
}

/// Checks that the document can be saved at `key`, whatever its size.
///
/// # Errors
/// [`Error::Failed`] when the key is invalid or another one.
pub(super) fn check_key(key: &Key, document: &Value) -> Result<()> {
    if !key.is_valid() {
        return Err(InvalidWrite::InvalidKey.into());
    }
    let has = |field: &str, value: &str| document.get(field).and_then(Value::as_str) == Some(value);
    if !has("id", &key.id) || !has(key.container.spec().partition_key, &key.partition) {
        return Err(InvalidWrite::OtherKey.into());
    }
    Ok(())
}

/// Checks the size of a document, or of all documents of a batch, as compact JSON.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_DOCUMENT_BYTES`].
pub(super) fn check_size(size_bytes: usize) -> Result<()> {
    if size_bytes > MAX_DOCUMENT_BYTES { Err(Error::TooLarge { size_bytes }) } else { Ok(()) }
}

/// Checks the number of writes in a batch.
///
/// # Errors
/// [`Error::Failed`] above [`MAX_BATCH`].
pub(super) fn check_batch(writes: &[Write]) -> Result<()> {
    if writes.len() > MAX_BATCH { Err(InvalidWrite::LongBatch(writes.len()).into()) } else { Ok(()) }
}

/// Returns the key of a document in a batch.
///
/// # Errors
/// [`Error::Failed`] when it has no id.
pub(super) fn key_of(container: Container, partition: &str, document: &Value) -> Result<Key> {
    let id = document.get("id").and_then(Value::as_str).ok_or(InvalidWrite::OtherKey)?;
    Ok(Key::new(container, partition, id))
}
