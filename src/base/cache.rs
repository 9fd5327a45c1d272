//! A bounded cache with expiring entries.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::base::clock::Clock;

/// A cache with limits on the number and age of entries; frequently used entries are preferred over new ones.
pub struct ExpiringCache<K, V> {
    entries: Cache<K, (Instant, V)>,
    time_to_live: Duration,
    clock: Arc<dyn Clock>,
    /// Called with the outcome of each look-up: hit or miss.
    observer: Option<Box<dyn Fn(bool) + Send + Sync>>,
}

impl<K: Eq + Hash, V: Clone> ExpiringCache<K, V> {
    /// Creates a cache of `capacity` entries that expire after `time_to_live`.
    pub fn new(capacity: usize, time_to_live: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { entries: Cache::new(capacity), time_to_live, clock, observer: None }
    }

    /// Sets a function to be called with the outcome of each look-up.
    pub fn observed(mut self, observer: Option<Box<dyn Fn(bool) + Send + Sync>>) -> Self {
        self.observer = observer;
        self
    }

    /// Returns the entry, unless it has expired.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + quick_cache::Equivalent<K> + ?Sized,
    {
        let found = self.entries.get(key).filter(|(since, _)| self.clock.instant() - *since < self.time_to_live);
        if let Some(observer) = &self.observer {
            observer(found.is_some());
        }
        found.map(|(_, value)| value)
    }

    /// Inserts or replaces an entry.
    pub fn insert(&self, key: K, value: V) {
        self.entries.insert(key, (self.clock.instant(), value));
    }

    /// Removes an entry.
    pub fn remove<Q>(&self, key: &Q)
    where
        Q: Hash + quick_cache::Equivalent<K> + ?Sized,
    {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::base::clock::ManualClock;

    #[test]
    fn an_entry_is_gone_when_it_is_old_or_removed() {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-01 12:00 UTC)));
        let cache = ExpiringCache::new(8, Duration::from_secs(30), clock.clone());
        cache.insert("a".to_owned(), 1);
        cache.insert("b".to_owned(), 2);
        clock.advance(Duration::from_secs(29));
        assert_eq!(cache.get("a"), Some(1));
        cache.remove("a");
        assert_eq!(cache.get("a"), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(cache.get("b"), None);
        cache.insert("c".to_owned(), 3);
        clock.set_back(Duration::from_secs(3600));
        clock.advance(Duration::from_secs(30));
        assert_eq!(cache.get("c"), None, "the time of day does not keep it");
    }
}
