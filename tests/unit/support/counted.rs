//! Counts how often sessions are looked up in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pluckit::base::clock::{Clock, ManualClock};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore};
use time::macros::datetime;

use super::intercepted::{Call, Fate, Intercepted, Interceptor};

/// Counts reads and queries of sessions.
#[derive(Default)]
pub struct Counted {
    reads: AtomicUsize,
    queries: AtomicUsize,
}

impl Counted {
    /// The counter, and the store in memory whose calls it counts.
    pub fn in_memory() -> (Arc<Self>, Arc<dyn DocumentStore>) {
        // What expires is not for the tests that count.
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let (counted, store) = (Arc::new(Self::default()), Arc::new(SqliteStore::in_memory(clock).unwrap()));
        (counted.clone(), Intercepted::new(store, counted))
    }

    /// Point reads of sessions so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Queries for sessions so far.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Point reads and queries so far.
    pub fn lookups(&self) -> usize {
        self.reads() + self.queries()
    }
}

impl Interceptor for Counted {
    fn before(&self, call: &Call<'_>) -> Fate {
        match (call.container, call.name) {
            (Some(Container::RefreshTokens), "store.read") => self.reads.fetch_add(1, Ordering::SeqCst),
            (Some(Container::RefreshTokens), "store.query") => self.queries.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        Fate::Passes
    }
}
