//! Answers to requests with an `Idempotency-Key`, in the container of conversations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lease::{Claimed, Decision, Held, Leases, Standing, leased};
use super::{Result, pages};
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::model::ids::UserId;
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// Lifetime of an answer, in seconds: a day.
const LIFE_SECONDS: u32 = 24 * 60 * 60;
/// How long a request whose process died still blocks repeats.
const LEASE: Duration = Duration::from_secs(10);
/// Prefix of record ids, and a text that sorts after all of them.
const PREFIX: &str = "idempotency-";
const BEHIND_PREFIX: &str = "idempotency.";
/// Most records kept per user.
const MOST_RECORDS: usize = 1000;
/// Number of new records of a user after which old ones are deleted.
const TIDY_EVERY: u32 = 50;
/// Most users whose new records are counted.
const COUNTED_USERS: usize = 10_000;

/// Answers, by user and key.
#[derive(Clone)]
pub struct Idempotency {
    store: Arc<dyn DocumentStore>,
    /// New records per user.
    begun: Arc<Cache<UserId, Arc<AtomicU32>>>,
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// Body.
    pub body: String,
}

/// Outcome of beginning a request.
pub enum Begun {
    /// The first request with this key.
    First(Box<Held<Record>>),
    /// Another request with this key is in progress.
    UnderWay,
    /// The key belongs to a different request.
    Other,
    /// The request was answered before.
    Answered(Answer),
}

/// A request with a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    id: String,
    user_id: UserId,
    fingerprint: String,
    created_at: Option<Timestamp>,
    /// Identifies the documents that the request creates, in every attempt.
    #[serde(default = "Uuid::new_v4")]
    pub operation: Uuid,
    /// The answer, once there is one.
    pub answer: Option<Answer>,
    ttl: u32,
    #[serde(flatten)]
    lease: Lease,
}

leased!(Record, LEASE);

impl Idempotency {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self { store, begun: Arc::new(Cache::new(COUNTED_USERS)) }
    }

    /// Starts a request with this fingerprint and key, unless it was started before. If an earlier attempt has no
    /// answer and its lease has expired, its process died, and the request starts again.
    ///
    /// # Errors
    /// [`super::Error::Contended`], [`super::Error::Unwritable`] or [`super::Error::Store`], as for
    /// [`update`](super::update::update).
    pub async fn begin(&self, user: &UserId, key: &str, fingerprint: &str, clock: &Arc<dyn Clock>) -> Result<Begun> {
        // Callers' keys may contain characters that ids may not.
        let key = Key::new(Container::Conversations, user.as_str(), format!("{PREFIX}{}", sha256_hex(key)));
        let leases = Leases::new(self.store.clone(), clock.clone(), LEASE);
        let id = key.id.clone();
        let claimed = leases.claim(key, |found: Option<Record>, standing| match (found, standing) {
            (Some(record), _) if record.fingerprint != fingerprint => Decision::Leave(Begun::Other),
            (Some(Record { answer: Some(answer), .. }), _) => Decision::Leave(Begun::Answered(answer)),
            (Some(_), Standing::Held(_)) => Decision::Leave(Begun::UnderWay),
            (found, _) => Decision::Take(Record {
                id: id.clone(),
                user_id: user.clone(),
                fingerprint: fingerprint.to_owned(),
                created_at: Some(clock.now().into()),
                operation: found.map_or_else(Uuid::new_v4, |earlier| earlier.operation),
                answer: None,
                ttl: LIFE_SECONDS,
                lease: Lease::default(),
            }),
        });
        Ok(match claimed.await? {
            Claimed::Ours(held) => Begun::First(Box::new(held)),
            Claimed::Left(begun) => begun,
        })
    }

    /// Counts a new record of a user; returns whether old records should be deleted now.
    pub fn is_tidying_due(&self, user: &UserId) -> bool {
        let count = match self.begun.get(user) {
            Some(count) => count,
            None => {
                let count = Arc::new(AtomicU32::new(0));
                self.begun.insert(user.clone(), count.clone());
                count
            }
        };
        (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(TIDY_EVERY)
    }

    /// Deletes the oldest records of a user beyond the maximum.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tidy(&self, user: &UserId) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed {
            id: String,
            created_at: Option<Timestamp>,
        }
        let query = Query::partition(Container::Conversations, user.as_str())
            .matching(Filter::at_least("id", PREFIX))
            .matching(Filter::Compare("id", Comparison::Less, BEHIND_PREFIX.into()))
            .select(&["id", "createdAt"]);
        let mut records: Vec<Listed> = pages::walk(&*self.store, query).try_collect().await?;
        let surplus = records.len().saturating_sub(MOST_RECORDS);
        records.sort_by_key(|record| record.created_at);
        for record in records.into_iter().take(surplus) {
            let key = Key::new(Container::Conversations, user.as_str(), record.id);
            self.store.delete(&key, None).await?;
        }
        Ok(())
    }
}
