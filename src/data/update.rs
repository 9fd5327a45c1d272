//! Read-modify-write without lost updates: edit what was read, replace if unchanged, a number of tries.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};
use crate::store::{self, DocumentStore, Key};

/// Tries before giving up; each lost race means that somebody else's write succeeded.
pub(super) const ATTEMPTS: usize = 24;
/// The first tries follow each other at once: two writers who meet by chance rarely meet again.
const AT_ONCE: usize = 2;
/// The longest pause between two tries, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 128;

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
pub async fn update<T, R>(store: &dyn DocumentStore, key: &Key, edit: impl FnMut(Option<T>) -> Edit<T, R>) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    update_within(ATTEMPTS, store, key, edit).await
}

/// As [`update`], with another number of tries.
pub async fn update_within<T, R>(
    attempts: usize,
    store: &dyn DocumentStore,
    key: &Key,
    mut edit: impl FnMut(Option<T>) -> Edit<T, R>,
) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    for attempt in 0..attempts {
        pause_before(attempt).await;
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

/// Waits before a try after lost races: longer each time, and for everyone differently, so that writers who met once do
/// not go on meeting.
pub(super) async fn pause_before(attempt: usize) {
    if attempt < AT_ONCE {
        return;
    }
    let most_ms = 2_u64.saturating_pow(u32::try_from(attempt).unwrap_or(u32::MAX)).min(LONGEST_PAUSE_MS);
    // Without random numbers every writer would wait equally long, which still spreads them by their own speed.
    let random = getrandom::u64().unwrap_or(most_ms);
    tokio::time::sleep(Duration::from_micros(random % (most_ms * 1000))).await;
}
