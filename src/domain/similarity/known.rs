//! Known pictures of each partition: hashes, loaded from the store at first use.
//!
//! Other instances add items too, so new ones are loaded every minute, and everything periodically, which drops expired
//! ones. In between, two instances may both store the same new picture.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use parking_lot::Mutex;
use time::OffsetDateTime;

use super::hashes::HashSet;
use crate::base::clock::Clock;
use crate::data::{Data, Result};
use crate::imaging::phash::PerceptualHash;
use crate::model::timestamp::Timestamp;

/// Most partitions in memory.
const PARTITIONS: usize = 16;
/// Interval for loading new items.
const RECENT: Duration = Duration::from_secs(60);
/// Interval for loading everything.
const COMPLETE: Duration = Duration::from_secs(6 * 60 * 60);
/// How long after scraping an item may still be written.
const OVERLAP: Duration = Duration::from_secs(60 * 60);

/// Known pictures of all partitions.
pub struct KnownHashes {
    data: Data,
    clock: Arc<dyn Clock>,
    /// Partitions, most recently used last.
    partitions: Mutex<Vec<Arc<PartitionHashes>>>,
}

impl KnownHashes {
    /// Creates an empty cache.
    pub fn new(data: Data, clock: Arc<dyn Clock>) -> Self {
        Self { data, clock, partitions: Mutex::new(Vec::new()) }
    }

    /// Returns the known pictures of `partition`, up to date.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, partition: &str) -> Result<Arc<PartitionHashes>> {
        let known = self.entry(partition);
        known.refresh(&self.data, &*self.clock).await?;
        Ok(known)
    }

    fn entry(&self, partition: &str) -> Arc<PartitionHashes> {
        let mut partitions = self.partitions.lock();
        let known = match partitions.iter().position(|known| known.partition == partition) {
            Some(position) => partitions.remove(position),
            None => Arc::new(PartitionHashes::new(partition)),
        };
        if partitions.len() == PARTITIONS {
            partitions.remove(0);
        }
        partitions.push(known.clone());
        known
    }
}

/// Outcome of [`PartitionHashes::claim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The picture was unknown and is now claimed.
    New,
    /// A picture with this hash is known.
    Known(PerceptualHash),
}

/// Known pictures of one partition.
pub struct PartitionHashes {
    partition: String,
    state: Mutex<State>,
    /// Held while hashes are loaded, so that concurrent callers share a load.
    freshness: tokio::sync::Mutex<Option<Freshness>>,
}

#[derive(Default)]
struct State {
    hashes: HashSet,
    /// Hashes claimed since the last full read; their items may not be stored yet.
    claimed: HashSet,
    /// Hashes claimed before that; their items may have been stored during the full read.
    claimed_before: HashSet,
}

/// When hashes were last loaded.
#[derive(Clone, Copy)]
struct Freshness {
    complete: Instant,
    recent: Instant,
    /// Time of day of the last load, for queries.
    recent_at: OffsetDateTime,
}

impl PartitionHashes {
    fn new(partition: &str) -> Self {
        Self { partition: partition.to_owned(), state: Mutex::default(), freshness: tokio::sync::Mutex::new(None) }
    }

    /// Claims a picture, unless it or a similar one is known. Only one of concurrent claims succeeds.
    pub fn claim(&self, hash: PerceptualHash) -> Claim {
        let mut state = self.state.lock();
        if let Some(known) = state.hashes.nearest(hash) {
            return Claim::Known(known);
        }
        state.hashes.insert(hash);
        state.claimed.insert(hash);
        Claim::New
    }

    /// Releases a claim whose item was not stored.
    pub fn release(&self, hash: PerceptualHash) {
        let mut state = self.state.lock();
        if state.claimed.remove(hash) || state.claimed_before.remove(hash) {
            state.hashes.remove(hash);
        }
    }

    async fn refresh(&self, data: &Data, clock: &dyn Clock) -> Result<()> {
        let mut freshness = self.freshness.lock().await;
        let (now, now_at) = (clock.instant(), clock.now());
        match *freshness {
            Some(Freshness { recent, .. }) if now - recent < RECENT => {}
            Some(Freshness { complete, recent_at, .. }) if now - complete < COMPLETE => {
                // The clock may have been set back since.
                let since = Timestamp::from(recent_at.min(now_at) - OVERLAP);
                let mut found = pin!(data.items.hashes(&self.partition, Some(since)));
                while let Some(hash) = found.try_next().await? {
                    self.state.lock().hashes.insert(hash);
                }
                *freshness = Some(Freshness { complete, recent: now, recent_at: now_at });
            }
            Some(_) | None => {
                {
                    let mut state = self.state.lock();
                    state.claimed_before = std::mem::take(&mut state.claimed);
                }
                let stored: Vec<_> = data.items.hashes(&self.partition, None).try_collect().await?;
                let mut state = self.state.lock();
                let claimed = state.claimed.iter().chain(state.claimed_before.iter());
                state.hashes = stored.into_iter().chain(claimed).collect();
                *freshness = Some(Freshness { complete: now, recent: now, recent_at: now_at });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Container, DocumentStore, Key};

    struct Bench {
        clock: Arc<ManualClock>,
        store: Arc<SqliteStore>,
        known: KnownHashes,
    }

    impl Bench {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::new(datetime!(2026-03-10 12:00 UTC)));
            let store = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
            let known = KnownHashes::new(Data::new(store.clone()), clock.clone());
            Self { clock, store, known }
        }

        async fn save(&self, partition: &str, hash: serde_json::Value, ttl: i64) {
            let id = format!("i{}", uuid::Uuid::new_v4().simple());
            let at = Timestamp::from(self.clock.now()).to_string();
            let item = json!({ "id": id, "userId": partition, "pHash": hash, "scrapedAt": at, "ttl": ttl });
            self.store.create(&Key::new(Container::ScrapedItems, partition, &id), &item).await.unwrap();
        }

        async fn knows(&self, partition: &str, hash: u64) -> bool {
            let known = self.known.of(partition).await.unwrap();
            let claim = known.claim(PerceptualHash(hash));
            known.release(PerceptualHash(hash));
            matches!(claim, Claim::Known(_))
        }
    }

    #[tokio::test]
    async fn stored_pictures_are_known_in_their_partition() {
        let bench = Bench::new();
        for hash in [json!("00000000000000f0"), json!("no hash"), json!(null), json!(5)] {
            bench.save("global", hash, -1).await;
        }
        assert!(bench.knows("global", 0xf0).await && bench.knows("global", 0xff).await);
        assert!(!bench.knows("global", 0x0f).await, "it differs in eight bits");
        assert!(!bench.knows("ada", 0xf0).await);
    }

    #[tokio::test]
    async fn what_others_add_is_known_after_a_minute_and_what_expires_is_forgotten() {
        let bench = Bench::new();
        assert!(!bench.knows("global", 1 << 40).await);
        bench.save("global", json!("0000010000000000"), 7200).await;
        assert!(!bench.knows("global", 1 << 40).await);
        bench.clock.advance(RECENT);
        assert!(bench.knows("global", 1 << 40).await);
        bench.clock.advance(COMPLETE);
        assert!(!bench.knows("global", 1 << 40).await);
    }

    #[tokio::test]
    async fn one_of_many_claims_finds_the_picture_new() {
        let bench = Bench::new();
        let known = bench.known.of("global").await.unwrap();
        let claims: Vec<Claim> = (0..4).map(|bit| known.claim(PerceptualHash(0xabcd ^ 1 << bit))).collect();
        assert_eq!(claims.iter().filter(|claim| **claim == Claim::New).count(), 1);
        known.release(PerceptualHash(0xabcd ^ 1));
        assert_eq!(known.claim(PerceptualHash(0xabcd)), Claim::New);
    }

    #[tokio::test]
    async fn a_claim_outlives_one_complete_reading() {
        let bench = Bench::new();
        let known = bench.known.of("global").await.unwrap();
        assert_eq!(known.claim(PerceptualHash(0xabcd)), Claim::New);
        bench.clock.advance(COMPLETE);
        bench.known.of("global").await.unwrap();
        assert_eq!(known.claim(PerceptualHash(0xabcd)), Claim::Known(PerceptualHash(0xabcd)));
        bench.clock.advance(COMPLETE);
        bench.known.of("global").await.unwrap();
        assert_eq!(known.claim(PerceptualHash(0xabcd)), Claim::New);
    }

    #[tokio::test]
    async fn few_partitions_are_kept() {
        let bench = Bench::new();
        for number in 0..PARTITIONS + 5 {
            bench.known.of(&format!("user-{number}")).await.unwrap();
        }
        assert_eq!(bench.known.partitions.lock().len(), PARTITIONS);
    }
}
