//! Answers to requests that carried an `Idempotency-Key`, beside what the stylist remembers of the user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use super::lease::{Claimed, Decision, Held, Leases, Standing, leased};
use super::{Result, pages};
use crate::base::clock::Clock;
use crate::base::hash::sha256_hex;
use crate::model::ids::UserId;
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// How long an answer is kept, in seconds: a day.
const LIFE_SECONDS: u32 = 24 * 60 * 60;
/// How long a request keeps others away after its process has died.
const LEASE: Duration = Duration::from_secs(10);
/// What the ids of records begin with, and what sorts behind all of those.
const PREFIX: &str = "idempotency-";
const BEHIND_PREFIX: &str = "idempotency.";
/// Records of a user that are kept, the newest.
const MOST_RECORDS: usize = 1000;
/// New records of a user after which the oldest are looked for.
const TIDY_EVERY: u32 = 50;
/// Users whose new records are counted.
const COUNTED_USERS: usize = 10_000;

/// Answers, by user and key.
#[derive(Clone)]
pub struct Idempotency {
    store: Arc<dyn DocumentStore>,
    /// New records of a user, modulo what matters.
    begun: Arc<Cache<UserId, Arc<AtomicU32>>>,
}

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its type.
    pub content_type: Option<String>,
    /// Its `Location`.
    pub location: Option<String>,
    /// Its body.
    pub body: String,
}

/// What became of beginning a request.
pub enum Begun {
    /// It is the first under its key.
    First(Box<Held<Record>>),
    /// Another one is under way.
    UnderWay,
    /// The key belongs to another request.
    Other,
    /// It was answered before.
    Answered(Answer),
}

/// A request that was begun under a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    id: String,
    user_id: UserId,
    fingerprint: String,
    #[serde(default)]
    created_at: Option<Timestamp>,
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

    /// Begins a request with this fingerprint under a key, unless it was begun before. One that was begun without an answer,
    /// and whose lease has ended, is begun anew: whoever did it died.
    ///
    /// # Errors
    /// As [`update`](super::update::update).
    pub async fn begin(&self, user: &UserId, key: &str, fingerprint: &str, clock: &Arc<dyn Clock>) -> Result<Begun> {
        // Keys are the callers' and may hold what ids may not.
        let key = Key::new(Container::Conversations, user.as_str(), format!("{PREFIX}{}", sha256_hex(key)));
        let leases = Leases::new(self.store.clone(), clock.clone(), LEASE);
        let id = key.id.clone();
        let claimed = leases.claim(key, |found: Option<Record>, standing| match (found, standing) {
            (Some(record), _) if record.fingerprint != fingerprint => Decision::Leave(Begun::Other),
            (Some(Record { answer: Some(answer), .. }), _) => Decision::Leave(Begun::Answered(answer)),
            (Some(_), Standing::Held(_)) => Decision::Leave(Begun::UnderWay),
            (Some(_) | None, _) => Decision::Take(Record {
                id: id.clone(),
                user_id: user.clone(),
                fingerprint: fingerprint.to_owned(),
                created_at: Some(clock.now().into()),
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

    /// Counts a new record of a user. Whether it is time to look for records that are too many.
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

    /// Deletes the oldest records of a user who has too many.
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
            .matching(Filter::Compare("id", Comparison::GreaterOrEqual, PREFIX.into()))
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
