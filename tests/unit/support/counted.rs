//! A store that counts what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, ETag, Key, Page, Query, Result, Stored, Write};
use serde_json::Value;
use time::macros::datetime;

/// A store in memory that counts reads and queries of sessions.
pub struct Counted {
    store: SqliteStore,
    reads: AtomicUsize,
    queries: AtomicUsize,
}

impl Counted {
    pub fn in_memory() -> Self {
        // What expires is not for the tests that count.
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let store = SqliteStore::in_memory(clock).unwrap();
        Self { store, reads: AtomicUsize::new(0), queries: AtomicUsize::new(0) }
    }

    /// Point reads of sessions so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Queries for sessions so far.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Both.
    pub fn lookups(&self) -> usize {
        self.reads() + self.queries()
    }
}

#[async_trait]
impl DocumentStore for Counted {
    async fn read(&self, key: &Key) -> Result<Option<Stored>> {
        if key.container == Container::RefreshTokens {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.store.read(key).await
    }

    async fn create(&self, key: &Key, document: &Value) -> Result<ETag> {
        self.store.create(key, document).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> Result<ETag> {
        self.store.upsert(key, document).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> Result<ETag> {
        self.store.replace(key, document, etag).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> Result<bool> {
        self.store.delete(key, etag).await
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> Result<()> {
        self.store.batch(container, partition, writes).await
    }

    async fn query(&self, query: &Query) -> Result<Page> {
        if query.container == Container::RefreshTokens {
            self.queries.fetch_add(1, Ordering::SeqCst);
        }
        self.store.query(query).await
    }

    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
}
