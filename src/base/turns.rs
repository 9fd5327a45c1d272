//! Limits work that runs at once, per key; the rest waits in order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of turns for each key.
pub struct Turns<K> {
    at_once: usize,
    /// Only keys with turns that are taken or awaited.
    keys: Mutex<HashMap<K, Weak<Semaphore>>>,
}

/// A turn, until it is dropped.
pub struct Turn {
    // Before the semaphore, which belongs to the key only as long as somebody has it.
    _permit: OwnedSemaphorePermit,
    _of_key: Arc<Semaphore>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Lets this much work of a key run at once.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, keys: Mutex::default() }
    }

    /// Waits for a turn of this key.
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
        let permit = turns.clone().acquire_owned().await.expect("it is never closed");
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
