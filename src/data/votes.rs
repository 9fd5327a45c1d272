//! Votes, and the scores of items.
//!
//! A vote and its item are two documents without a common transaction. These steps keep them consistent:
//!
//! 1. The vote is saved as pending, with the contribution of the previous vote and a new operation id.
//! 2. The item adds the difference and records the operation id, in one write; a recorded id is not applied again.
//!    The vote must be pending at some moment between the reading and the writing of the item.
//! 3. The vote is saved as settled. A process that finds a pending vote first performs steps 2 and 3, so a crash in
//!    between loses nothing and counts nothing twice. The item drops an operation id only when its vote is settled;
//!    since settled votes are never applied (step 2), a dropped id cannot count again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::try_join;
use uuid::Uuid;

use super::items::Items;
use super::update::{self, Edit};
use super::{Error, Result, records};
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::FeedItem;
use crate::model::lenient;
use crate::model::timestamp::Timestamp;
use crate::model::vote::{Signal, Vote};
use crate::store::{self, Container, DocumentStore, ETag, Key, Stored};

/// Operation ids that an item records before it drops half of them.
const MOST_APPLIED: usize = 64;
/// Attempts of one vote; each lost race means that another vote was counted.
const ATTEMPTS: usize = 64;
/// Number of locks. Two items rarely share one, and then only wait for each other.
const LOCKS: usize = 256;
/// Field of an item with the operation ids in its score.
const APPLIED: &str = "appliedVotes";

/// Votes of all users.
#[derive(Clone)]
pub struct Votes {
    store: Arc<dyn DocumentStore>,
    /// Lets voters of this process take turns instead of losing races.
    locks: Arc<[Mutex<()>]>,
    hasher: RandomState,
}

/// A vote that was cast.
#[derive(Debug)]
pub struct Cast {
    /// The item's score, with the vote.
    pub score: i64,
    /// The item, unless its document is not one.
    pub item: Option<FeedItem>,
}

/// An operation that an item's score includes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Applied {
    operation: String,
    user_id: UserId,
}

impl Votes {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::new(())).collect();
        Self { store, locks, hasher: RandomState::new() }
    }

    fn key(user: &UserId, item: &ScrapedItemId) -> Key {
        Key::new(Container::ItemVotes, user.as_str(), item.as_str())
    }

    /// Casts a user's vote on an item, replacing an earlier one; `None` if the item does not exist.
    ///
    /// # Errors
    /// [`Error::Contended`] when other votes kept winning the race; this one is then counted with the user's next vote.
    pub async fn cast(
        &self,
        user: &UserId,
        item: &ScrapedItemId,
        signal: Signal,
        now: Timestamp,
    ) -> Result<Option<Cast>> {
        for attempt in 0..ATTEMPTS {
            update::pause_before(attempt).await;
            let (found, before) = try_join!(self.item(user, item), self.find(user, item))?;
            let Some(found) = found else { return Ok(None) };
            if let Some((vote, etag)) = before.as_ref().filter(|(vote, _)| vote.pending) {
                self.settle(vote, etag.clone(), None).await?;
                continue;
            }
            let (_, stored) = &found;
            let cast = |score| Cast { score, item: records::parse(Container::ScrapedItems, stored) };
            let previous = before.as_ref().map_or(0, |(vote, _)| vote.worth());
            if previous == signal.worth() {
                return Ok(Some(cast(score_of(&stored.parse()?))));
            }
            let vote = Vote {
                id: item.clone(),
                user_id: user.clone(),
                signal: Some(signal),
                updated_at: Some(now),
                previous,
                operation: Uuid::new_v4().simple().to_string(),
                pending: true,
            };
            let document = serde_json::to_value(&vote)?;
            let key = Self::key(user, item);
            let saved = match before {
                Some((_, etag)) => self.store.replace(&key, &document, &etag).await,
                None => self.store.create(&key, &document).await,
            };
            match saved {
                Ok(etag) => return Ok(self.settle(&vote, etag, Some(&found)).await?.map(cast)),
                // Another request of the same user.
                Err(store::Error::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended)
    }

    /// Finds the user's vote on an item, and its version.
    async fn find(&self, user: &UserId, item: &ScrapedItemId) -> Result<Option<(Vote, ETag)>> {
        records::find_version(&*self.store, &Self::key(user, item)).await
    }

    /// Finds the item and its key.
    async fn item(&self, user: &UserId, item: &ScrapedItemId) -> Result<Option<(Key, Stored)>> {
        for key in Items::keys_for(user, item) {
            if let Some(stored) = self.store.read(&key).await? {
                return Ok(Some((key, stored)));
            }
        }
        Ok(None)
    }

    /// Applies a pending vote to the item's score and settles it. Returns the score. `known` is the item as it was read
    /// before the vote was saved.
    async fn settle(&self, vote: &Vote, etag: ETag, known: Option<&(Key, Stored)>) -> Result<Option<i64>> {
        let score = self.apply(vote, known).await?;
        let settled = serde_json::to_value(Vote { pending: false, ..vote.clone() })?;
        // On a conflict, another process has settled it.
        update::won(self.store.replace(&Self::key(&vote.user_id, &vote.id), &settled, &etag).await)?;
        Ok(score)
    }

    /// Applies a pending vote to the item's score, unless it is included. Returns the score.
    async fn apply(&self, vote: &Vote, known: Option<&(Key, Stored)>) -> Result<Option<i64>> {
        let lock = usize::try_from(self.hasher.hash_one(&vote.id) % LOCKS as u64).unwrap_or_default();
        let (_turn, mut known) = match self.locks[lock].try_lock() {
            Ok(turn) => (turn, known),
            // The holder of the lock is changing the item.
            Err(_) => (self.locks[lock].lock().await, None),
        };
        for attempt in 0..ATTEMPTS {
            update::pause_before(attempt).await;
            let known = known.take();
            let found = match known {
                Some(known) => Some(known.clone()),
                None => self.item(&vote.user_id, &vote.id).await?,
            };
            let Some((key, stored)) = found else { return Ok(None) };
            let mut item: Map<String, Value> = stored.parse()?;
            let score = score_of(&item);
            let mut applied = applied_to(&item);
            if applied.iter().any(|change| change.operation == vote.operation) {
                return Ok(Some(score));
            }
            // The order matters: if the vote is pending now, the item read before cannot have dropped it. A vote saved
            // after the read needs no check.
            if known.is_none() && !self.is_pending(vote).await? {
                return Ok(Some(score));
            }
            if applied.len() >= MOST_APPLIED {
                let (oldest, rest) = applied.split_at(MOST_APPLIED / 2);
                self.mark_settled(&vote.id, oldest).await?;
                applied = rest.to_vec();
            }
            applied.push(Applied { operation: vote.operation.clone(), user_id: vote.user_id.clone() });
            let score = score + vote.worth() - vote.previous;
            item.insert("scoreSignal".to_owned(), score.into());
            item.insert(APPLIED.to_owned(), serde_json::to_value(&applied)?);
            if update::won(self.store.replace(&key, &Value::Object(item), &stored.etag).await)? {
                return Ok(Some(score));
            }
        }
        Err(Error::Contended)
    }

    /// Whether the vote is the user's current one on its item, and pending.
    async fn is_pending(&self, vote: &Vote) -> Result<bool> {
        let current = self.find(&vote.user_id, &vote.id).await?;
        Ok(current.is_some_and(|(current, _)| current.pending && current.operation == vote.operation))
    }

    /// Settles votes that the item includes but whose processes died before they did so.
    async fn mark_settled(&self, item: &ScrapedItemId, changes: &[Applied]) -> Result<()> {
        let marks = changes.iter().map(|change| async move {
            let key = Self::key(&change.user_id, item);
            update::update_existing(&*self.store, &key, |vote: Vote| {
                let is_meant = vote.pending && vote.operation == change.operation;
                if is_meant { Edit::Save(Vote { pending: false, ..vote }, ()) } else { Edit::Keep(()) }
            })
            .await
        });
        try_join_all(marks).await.map(drop)
    }
}

fn score_of(item: &Map<String, Value>) -> i64 {
    item.get("scoreSignal").and_then(lenient::whole_of).unwrap_or_default()
}

fn applied_to(item: &Map<String, Value>) -> Vec<Applied> {
    let Some(Value::Array(changes)) = item.get(APPLIED) else { return Vec::new() };
    changes.iter().filter_map(|change| serde_json::from_value(change.clone()).ok()).collect()
}
