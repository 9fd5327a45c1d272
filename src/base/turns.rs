//! Limits how much work runs concurrently per key. Further work waits in order of arrival.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits concurrent work per key.
pub struct Turns<K> {
    at_once: usize,
    /// Semaphores of the keys that have work running or waiting.
    keys: Mutex<HashMap<K, Weak<Semaphore>>>,
}

/// Permit to do work for a key; released on drop.
pub struct Turn {
    // Dropped before the semaphore, which belongs to the key only while it is referenced.
    _permit: OwnedSemaphorePermit,
    _of_key: Arc<Semaphore>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Creates a limiter that runs at most `at_once` pieces of work per key concurrently.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, keys: Mutex::default() }
    }

    /// Waits for a permit of this key.
    pub async fn wait(&self, key: &K) -> Turn {
        let turns = {
            let mut keys = self.keys.lock();
            keys.retain(|_, turns| turns.strong_count() > 0);
            keys.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turns = Arc::new(Semaphore::new(self.at_once));
                keys.insert(key.clone(), Arc::downgrade(&turns));
                turns
            })
        };
        let permit = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        Turn { _permit: permit, _of_key: turns }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn each_key_has_its_own_limit() {
        let turns = Turns::new(2);
        let (first, second) = (turns.wait(&"ada").await, turns.wait(&"ada").await);
        assert!(turns.wait(&"ada").now_or_never().is_none());
        let _other = turns.wait(&"eve").now_or_never().unwrap();
        drop(first);
        let third = turns.wait(&"ada").now_or_never().unwrap();
        assert!(turns.wait(&"ada").now_or_never().is_none());
        drop((second, third));
        let _again = turns.wait(&"ada").now_or_never().unwrap();
        assert_eq!(turns.keys.lock().len(), 2);
    }
}
