//! Read-modify-write by compare-and-swap: edit what was read, replace it if unchanged, retry a limited number of times.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};
use crate::base::backoff::{Backoff, Jitter};
use crate::store::{self, DocumentStore, ETag, Key, Stored};

/// Attempts before giving up; each lost race means that another write succeeded.
pub(super) const ATTEMPTS: usize = 24;
/// Number of first attempts without delay; two writers that collide by chance rarely do so twice.
const AT_ONCE: u32 = 2;
/// Delays before later attempts.
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(4), most: Duration::from_millis(128), jitter: Jitter::Full };

/// Decision of an edit.
pub enum Edit<T, R> {
    /// Save this record and return the result.
    Save(T, R),
    /// Leave the document unchanged and return the result.
    Keep(R),
}

/// Edits the document at `key` by compare-and-swap. `edit` gets the current record (`None` if there is none; saving
/// creates it) and runs again after every lost race, so it must not have side effects.
///
/// # Errors
/// [`Error::Contended`] when every attempt lost its race, [`Error::Unwritable`] when the document is not a `T` (it is
/// left unchanged), [`Error::Store`] when the store failed.
pub async fn update<T, R>(store: &dyn DocumentStore, key: &Key, edit: impl FnMut(Option<T>) -> Edit<T, R>) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    update_within(ATTEMPTS, store, key, edit).await
}

/// Edits a document like [`update`], unless it does not exist: then the result is `None`.
///
/// # Errors
/// [`Error::Contended`], [`Error::Unwritable`] and [`Error::Store`], as for [`update`].
pub async fn update_existing<T, R>(
    store: &dyn DocumentStore,
    key: &Key,
    edit: impl FnMut(T) -> Edit<T, R>,
) -> Result<Option<R>>
where
    T: Serialize + DeserializeOwned,
{
    update(store, key, unless_missing(edit)).await
}

/// Wraps an edit so that its result is `None` when there is no record.
pub(super) fn unless_missing<T, R>(
    mut edit: impl FnMut(T) -> Edit<T, R>,
) -> impl FnMut(Option<T>) -> Edit<T, Option<R>> {
    move |found| match found.map(&mut edit) {
        Some(Edit::Save(record, result)) => Edit::Save(record, Some(result)),
        Some(Edit::Keep(result)) => Edit::Keep(Some(result)),
        None => Edit::Keep(None),
    }
}

/// Edits a document like [`update`], with another number of attempts.
pub async fn update_within<T, R>(
    attempts: usize,
    store: &dyn DocumentStore,
    key: &Key,
    mut edit: impl FnMut(Option<T>) -> Edit<T, R>,
) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    update_versioned(attempts, store, key, |found, _| edit(found)).await
}

/// Edits a document like [`update_within`]; `edit` also gets the version of the current record.
pub async fn update_versioned<T, R>(
    attempts: usize,
    store: &dyn DocumentStore,
    key: &Key,
    edit: impl FnMut(Option<T>, Option<&ETag>) -> Edit<T, R>,
) -> Result<R>
where
    T: Serialize + DeserializeOwned,
{
    Ok(compare_and_swap(attempts, store, key, None, edit).await?.0)
}

/// Edits a document like [`update_existing`], with another number of attempts. The first attempt uses the record and
/// version that the caller has already read.
pub async fn update_known<T, R>(
    attempts: usize,
    store: &dyn DocumentStore,
    key: &Key,
    known: (T, ETag),
    edit: impl FnMut(T) -> Edit<T, R>,
) -> Result<Option<R>>
where
    T: Serialize + DeserializeOwned,
{
    let mut edit = unless_missing(edit);
    Ok(compare_and_swap(attempts, store, key, Some(known), |found, _| edit(found)).await?.0)
}

/// Implements all edits. Returns the edit's result and the resulting version of the document, if it exists. If the
/// caller already has a record and its version, the first attempt uses them and reads nothing.
pub(super) async fn compare_and_swap<T, R>(
    attempts: usize,
    store: &dyn DocumentStore,
    key: &Key,
    mut known: Option<(T, ETag)>,
    mut edit: impl FnMut(Option<T>, Option<&ETag>) -> Edit<T, R>,
) -> Result<(R, Option<ETag>)>
where
    T: Serialize + DeserializeOwned,
{
    for attempt in 0..attempts {
        pause_before(attempt).await;
        let (record, etag) = match known.take() {
            Some((record, etag)) => (Some(record), Some(etag)),
            None => {
                let stored = store.read(key).await?;
                (stored.as_ref().map(Stored::parse::<T>).transpose()?, stored.map(|stored| stored.etag))
            }
        };
        let (record, result) = match edit(record, etag.as_ref()) {
            Edit::Save(record, result) => (record, result),
            Edit::Keep(result) => return Ok((result, etag)),
        };
        let document = serde_json::to_value(&record)?;
        let written = match etag {
            Some(etag) => store.replace(key, &document, &etag).await,
            None => store.create(key, &document).await,
        };
        match written {
            Ok(etag) => return Ok((result, Some(etag))),
            Err(store::Error::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

/// Whether the write succeeded; `false` if another writer was first.
pub(super) fn won<T>(written: store::Result<T>) -> Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(store::Error::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits before an attempt after lost races: longer each time and randomised, so that writers do not keep colliding.
pub(super) async fn pause_before(attempt: usize) {
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    if attempt >= AT_ONCE {
        tokio::time::sleep(PAUSES.pause(attempt - AT_ONCE + 1)).await;
    }
}
