//! Single documents by type.
//!
//! A document that does not match its type is skipped and logged by id, so that it does not affect others.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Result;
use super::update::won;
use crate::store::{Container, DocumentStore, ETag, Key, Stored};

/// Parses the document as a `T`; otherwise logs a line and returns `None`.
pub(super) fn parse<T: DeserializeOwned>(container: Container, stored: &Stored) -> Option<T> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    match stored.parse() {
        Ok(record) => Some(record),
        Err(error) => {
            let id = stored.parse::<Id>().map_or_else(|_| "?".to_owned(), |named| named.id);
            // Only the category, because the error's text may quote the document.
            warn!(document.container = ?container, document.id = %id, fault = ?error.classify(), "invalid document skipped");
            None
        }
    }
}

/// Parses the document as a `T` like [`parse`]; also returns its version.
pub(super) fn parse_version<T: DeserializeOwned>(container: Container, stored: Stored) -> Option<(T, ETag)> {
    Some((parse(container, &stored)?, stored.etag))
}

/// Finds the document at `key` as a `T`; `None` if there is none or it does not match.
pub(super) async fn find<T: DeserializeOwned>(store: &dyn DocumentStore, key: &Key) -> Result<Option<T>> {
    Ok(store.read(key).await?.and_then(|stored| parse(key.container, &stored)))
}

/// Finds the document at `key` like [`find`], and its version.
pub(super) async fn find_version<T: DeserializeOwned>(
    store: &dyn DocumentStore,
    key: &Key,
) -> Result<Option<(T, ETag)>> {
    Ok(store.read(key).await?.and_then(|stored| parse_version(key.container, stored)))
}

/// Finds the document at `key` as a `T`; one that does not match is an error.
pub(super) async fn find_valid<T: DeserializeOwned>(store: &dyn DocumentStore, key: &Key) -> Result<Option<T>> {
    Ok(store.read(key).await?.map(|stored| stored.parse()).transpose()?)
}

/// Saves a new document, unless there is one at `key`; returns whether it was saved.
pub(super) async fn create<T: Serialize>(store: &dyn DocumentStore, key: &Key, record: &T) -> Result<bool> {
    won(store.create(key, &serde_json::to_value(record)?).await)
}

/// Saves a document, replacing an existing one. Only for documents with a single writer.
pub(super) async fn save<T: Serialize>(store: &dyn DocumentStore, key: &Key, record: &T) -> Result<()> {
    store.upsert(key, &serde_json::to_value(record)?).await?;
    Ok(())
}
