//! Similarity search over all global items by embedding.
//!
//! Embeddings are kept in memory, one byte per dimension; the first search loads them, newest first, and uses what is
//! there if that takes long. The likely best are read from the store and compared exactly, so changed, expired or
//! deleted items never appear. New items are loaded every minute; all ids are compared periodically. A store with a
//! vector index is queried instead.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use time::OffsetDateTime;
use tokio::sync::RwLock;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, warn};

use super::vectors::{Quantized, VectorIndex};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::data::items::ItemVector;
use crate::data::{Data, Result};
use crate::domain::best::{Best, Score};
use crate::model::item::ScrapedItem;
use crate::model::timestamp::Timestamp;

/// Interval for loading new items.
const RECENT: Duration = Duration::from_secs(60);
/// Interval for comparing the index with the store.
const COMPLETE: Duration = Duration::from_secs(60 * 60);
/// How long after scraping an item may still be written.
const OVERLAP: Duration = Duration::from_secs(60 * 60);
/// How long a search waits for loading: half of a tool's time limit.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most items that a search reads from the store.
const MOST_CANDIDATES: usize = 256;
/// Items read together by id.
const BATCH: usize = 50;
/// Most items without embedding that are checked again each time.
const MOST_WAITING: usize = 500;
/// Rounds of a search when results turn out to be gone.
const ROUNDS: usize = 4;
/// Factor of items requested from a store's vector index, which does not know how ties are broken.
const SPARE: usize = 5;

/// Finds items by similarity.
#[derive(Clone)]
pub struct SimilarItems(Arc<Shared>);

struct Shared {
    data: Data,
    clock: Arc<dyn Clock>,
    /// Tracks loading that outlives its search.
    tasks: TaskTracker,
    /// Most embeddings in memory, 1.7 kB each. Older items are not found.
    most_items: usize,
    pool: Arc<RwLock<Pool>>,
    /// Held while items are loaded.
    reading: tokio::sync::Mutex<()>,
}

/// Known global items; each is in one of three sets.
#[derive(Default)]
struct Pool {
    vectors: VectorIndex,
    /// Items without an embedding yet.
    waiting: HashSet<String>,
    /// Items whose picture is gone.
    faded: HashSet<String>,
    /// When items were last loaded; `None` before all have been.
    freshness: Option<Freshness>,
}

#[derive(Clone, Copy)]
struct Freshness {
    complete: Instant,
    recent: Instant,
    /// Time of day of the last load, for queries.
    recent_at: OffsetDateTime,
}

impl Pool {
    fn knows(&self, id: &str) -> bool {
        self.vectors.contains(id) || self.waiting.contains(id) || self.faded.contains(id)
    }

    fn insert(&mut self, id: String, vector: Option<&Quantized>) {
        self.faded.remove(&id);
        match vector {
            Some(vector) => {
                self.waiting.remove(&id);
                self.vectors.insert(&id, vector);
            }
            None => {
                self.vectors.remove(&id);
                self.waiting.insert(id);
            }
        }
    }
}

/// Result of a search.
#[derive(Debug)]
pub struct Found {
    /// Most similar first; ties by score, then id.
    pub items: Vec<ScrapedItem>,
    /// Whether all items were searched; not during the first load.
    pub is_complete: bool,
}

impl SimilarItems {
    /// Creates a search that loads nothing before its first use.
    pub fn new(data: Data, clock: Arc<dyn Clock>, tasks: TaskTracker, most_items: usize) -> Self {
        let pool = Arc::new(RwLock::new(Pool::default()));
        Self(Arc::new(Shared { data, clock, tasks, most_items, pool, reading: tokio::sync::Mutex::new(()) }))
    }

    /// Finds the `limit` items nearest to `wanted` with a cosine of at least `least`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(&self, wanted: &[f32], limit: usize, least: f32) -> Result<Found> {
        let items = &self.0.data.items;
        if let Some(nearest) = items.nearest(wanted, limit * SPARE).await? {
            return Ok(Found { items: best_of(nearest, wanted, limit, least), is_complete: true });
        }
        let is_complete = self.freshen().await?;
        let mut rounds = 0;
        loop {
            let pool = self.0.pool.clone().read_owned().await;
            let vector = wanted.to_vec();
            let compared =
                tokio::task::spawn_blocking(move || pool.vectors.candidates(&vector, limit, least, MOST_CANDIDATES));
            // It fails only if it panics, which is a bug.
            let candidates = compared.await.unwrap_or_default();
            let mut found = Vec::with_capacity(candidates.len());
            for batch in candidates.chunks(BATCH) {
                found.extend(items.find_many(batch).await?);
            }
            let there: HashSet<&str> = found.iter().map(|item| &*item.id).collect();
            let gone: Vec<_> = candidates.iter().filter(|id| !there.contains(&***id)).collect();
            rounds += 1;
            let is_last = gone.is_empty() || rounds == ROUNDS;
            if !gone.is_empty() {
                let mut pool = self.0.pool.write().await;
                for id in gone {
                    pool.vectors.remove(id);
                }
            }
            if is_last {
                return Ok(Found { items: best_of(found, wanted, limit, least), is_complete });
            }
        }
    }

    /// Loads items if due, waiting for a limited time. Returns whether all have been loaded at least once.
    async fn freshen(&self) -> Result<bool> {
        let freshness = self.0.pool.read().await.freshness;
        let now = self.0.clock.instant();
        if freshness.is_some_and(|freshness| now - freshness.recent < RECENT) {
            return Ok(true);
        }
        let shared = self.0.clone();
        let reading = self.0.tasks.spawn(async move { shared.read().await }.in_current_span());
        match timeout(PATIENCE, reading).await {
            Ok(Ok(Err(error))) if freshness.is_none() => return Err(error),
            Ok(Ok(Err(error))) => warn!(error = %Chain(&error), "items for similarity search not refreshed"),
            Ok(Ok(Ok(()))) => {}
            Ok(Err(error)) => warn!(error = %Chain(&error), "loading items for similarity search failed"),
            Err(_) => debug!("similarity search answers before all items are loaded"),
        }
        Ok(self.0.pool.read().await.freshness.is_some())
    }
}

impl Shared {
    /// Loads what is due. Concurrent callers wait for one.
    async fn read(&self) -> Result<()> {
        let _only = self.reading.lock().await;
        let (now, now_at) = (self.clock.instant(), self.clock.now());
        let freshness = self.pool.read().await.freshness;
        let complete = match freshness {
            Some(Freshness { recent, .. }) if now - recent < RECENT => return Ok(()),
            Some(Freshness { complete, recent_at, .. }) if now - complete < COMPLETE => {
                // The clock may have been set back since.
                self.read_recent(Timestamp::from(recent_at.min(now_at) - OVERLAP)).await?;
                complete
            }
            Some(_) => {
                self.compare_ids().await?;
                now
            }
            None => {
                self.read_all().await?;
                now
            }
        };
        self.pool.write().await.freshness = Some(Freshness { complete, recent: now, recent_at: now_at });
        Ok(())
    }

    async fn read_all(&self) -> Result<()> {
        let quantize = |ItemVector { id, embedding }: ItemVector| (id, Quantized::new(&embedding));
        let mut pages = pin!(self.data.items.vectors(quantize));
        while let Some(page) = pages.try_next().await? {
            let mut pool = self.pool.write().await;
            for (id, vector) in page {
                pool.insert(id, vector.as_ref());
            }
            if pool.vectors.len() >= self.most_items {
                self.warn_full();
                break;
            }
        }
        Ok(())
    }

    async fn read_recent(&self, since: Timestamp) -> Result<()> {
        let mut unknown = Vec::new();
        let mut ids = pin!(self.data.items.ids(Some(since)));
        while let Some(id) = ids.try_next().await? {
            if !self.pool.read().await.knows(&id) {
                unknown.push(id);
            }
        }
        self.fetch(unknown).await
    }

    /// Removes items that are gone from the store, and loads missing ones.
    async fn compare_ids(&self) -> Result<()> {
        let stored: HashSet<String> = self.data.items.ids(None).try_collect().await?;
        let unknown = {
            let mut pool = self.pool.write().await;
            let gone: Vec<Arc<str>> =
                pool.vectors.ids().iter().filter(|id| !stored.contains(&***id)).cloned().collect();
            for id in gone {
                pool.vectors.remove(&id);
            }
            pool.waiting.retain(|id| stored.contains(id));
            pool.faded.retain(|id| stored.contains(id));
            stored.into_iter().filter(|id| !pool.knows(id)).collect()
        };
        self.fetch(unknown).await
    }

    /// Loads these items, and those without embedding again.
    async fn fetch(&self, unknown: Vec<String>) -> Result<()> {
        let (waiting, room) = {
            let pool = self.pool.read().await;
            let waiting: Vec<String> = pool.waiting.iter().take(MOST_WAITING).cloned().collect();
            (waiting, self.most_items.saturating_sub(pool.vectors.len()))
        };
        if unknown.len() > room {
            self.warn_full();
        }
        let ids: Vec<Arc<str>> = unknown.into_iter().chain(waiting).take(room).map(Arc::from).collect();
        for batch in ids.chunks(BATCH) {
            let items = self.data.items.find_many(batch).await?;
            let mut pool = self.pool.write().await;
            let mut missing: HashSet<&str> = batch.iter().map(|id| &**id).collect();
            for item in items {
                missing.remove(&*item.id);
                pool.insert(item.id, Quantized::new(&item.embedding).as_ref());
            }
            for id in missing {
                pool.waiting.remove(id);
                pool.faded.insert(id.to_owned());
            }
        }
        Ok(())
    }

    fn warn_full(&self) {
        warn!(most_items = self.most_items, "similarity search is at its limit: older items are not found");
    }
}

fn best_of(items: Vec<ScrapedItem>, wanted: &[f32], limit: usize, least: f32) -> Vec<ScrapedItem> {
    let mut best = Best::new(limit);
    for item in items {
        if let Some(similarity) = cosine(wanted, &item.embedding).filter(|similarity| *similarity >= least) {
            // Ties: higher score first, then by id.
            let rank = (Score(similarity.into()), item.score_signal, Reverse(item.id.clone()));
            best.offer(rank, || item);
        }
    }
    best.into_sorted().map(|(_, item)| item).collect()
}

/// Returns the cosine similarity; `None` if a vector is missing, zero, not finite, or of another length.
pub fn cosine(one: &[f32], other: &[f32]) -> Option<f32> {
    if one.len() != other.len() {
        return None;
    }
    let (mut product, mut one_square, mut other_square) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (one, other) in one.iter().zip(other) {
        product += one * other;
        one_square += one * one;
        other_square += other * other;
    }
    let cosine = product / (one_square * other_square).sqrt();
    cosine.is_finite().then_some(cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proper_vectors_have_a_cosine() {
        assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), Some(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Some(0.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]), None);
        assert_eq!(cosine(&[1.0, 0.0], &[]), None);
        assert_eq!(cosine(&[1.0, 0.0], &[f32::NAN, 0.0]), None);
    }
}
