//! Read-modify-write without lost updates: edit what was read, replace if unchanged, a few tries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};
use crate::store::{self, DocumentStore, Key};

/// Tries before giving up; each lost race means that somebody else's write succeeded.
const ATTEMPTS: usize = 8;

/// What an edit decided.
pub enum Edit<T, R> {
    /// Save this record and return the result.
    Save(T, R),
    /// Leave the document as it is and return the result.
    Keep(R),
}

/// Edits the document at `key` by compare-and-swap. `edit` gets the record as read (`None` if there is none: a save then
/// creates it) and runs again whenever somebody else was faster, so it must have no effect of its own.
///
/// # Errors
/// [`Error::Contended`] when every try lost its race, [`Error::Unwritable`] when the document is not a `T` (it is left
/// alone), [`Error::Store`] when the store failed.
pub async fn update<T, R>(
    store: &dyn DocumentStore,
    key: &Key,
    mut edit: impl FnMut(Option<T>) -> Edit<T, R>,
) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    for _ in 0..ATTEMPTS {
        let stored = store.read(key).await?;
        let record = stored.as_ref().map(store::Stored::parse::<T>).transpose()?;
        let (record, result) = match edit(record) {
            Edit::Save(record, result) => (record, result),
            Edit::Keep(result) => return Ok(result),
        };
        let document = serde_json::to_value(&record)?;
        let written = match stored {
            Some(stored) => store.replace(key, &document, &stored.etag).await,
            None => store.create(key, &document).await,
        };
        match written {
            Ok(_) => return Ok(result),
            Err(store::Error::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
