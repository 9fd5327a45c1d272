//! A limit on the documents of each user that costs a count only now and then.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::Result;
use crate::model::ids::UserId;

/// Users whose creations are counted; beyond, all begin anew.
const MOST_USERS: usize = 10_000;

/// Bounds the documents that each user creates. The first creations of a user in a process, and as many after each
/// count, are admitted without one, so the bound holds to within that number per process.
pub(super) struct Creations {
    most: u64,
    uncounted: u32,
    /// Creations since the last count.
    since: Mutex<HashMap<UserId, u32>>,
}

impl Creations {
    /// Admits `most` documents per user, counting them before every `uncounted`th one.
    pub(super) fn new(most: u64, uncounted: u32) -> Self {
        Self { most, uncounted, since: Mutex::default() }
    }

    /// Whether the user may create another document; `count` counts those there are, if need be.
    pub(super) async fn admit(&self, user: &UserId, count: impl Future<Output = Result<u64>>) -> Result<bool> {
        if !self.is_count_due(user) {
            return Ok(true);
        }
        let has_room = count.await? < self.most;
        if has_room {
            self.since.lock().insert(user.clone(), 1);
        }
        Ok(has_room)
    }

    fn is_count_due(&self, user: &UserId) -> bool {
        let mut since = self.since.lock();
        if since.len() >= MOST_USERS && !since.contains_key(user) {
            since.clear();
        }
        let created = since.entry(user.clone()).or_default();
        let is_due = *created >= self.uncounted;
        if !is_due {
            *created += 1;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn documents_are_counted_now_and_then_and_always_when_there_are_too_many() {
        let creations = Creations::new(10, 3);
        let ada = UserId::from("ada");
        let (mut documents, mut counts, mut admitted) = (6, 0, Vec::new());
        for _ in 0..9 {
            let count = async {
                counts += 1;
                Ok(documents)
            };
            let may = creations.admit(&ada, count).await.unwrap();
            documents += u64::from(may);
            admitted.push(may);
        }
        assert_eq!(admitted, [true, true, true, true, true, true, false, false, false]);
        assert_eq!(counts, 4, "before the fourth, the seventh and each refused one");
        assert!(creations.admit(&"eve".into(), ready(Ok(10))).await.unwrap(), "others have theirs");
        assert!(creations.admit(&ada, ready(Ok(9))).await.unwrap(), "once there is room");
    }
}
