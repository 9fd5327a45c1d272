//! Answers to requests that carried an `Idempotency-Key`, beside what the stylist remembers of the user.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Result;
use super::update::{Edit, update};
use crate::hash::sha256_hex;
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Key};

/// How long an answer is kept, in seconds: a day.
const LIFE_SECONDS: u32 = 24 * 60 * 60;

/// Answers, by user and key.
#[derive(Clone)]
pub struct Idempotency(Arc<dyn DocumentStore>);

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first under its key.
    First(Claim),
    /// Another one is under way.
    UnderWay,
    /// The key belongs to another request.
    Other,
    /// It was answered before.
    Answered(Answer),
}

/// The right to answer under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    key: Key,
    owner: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    user_id: UserId,
    fingerprint: String,
    owner: String,
    lease_expires_at: Option<Timestamp>,
    answer: Option<Answer>,
    ttl: u32,
}

impl Idempotency {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Begins a request with this fingerprint under a key, unless it was begun before. One that was begun longer than `lease`
    /// ago without an answer is begun anew: whoever did it died.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn begin(
        &self,
        user: &UserId,
        key: &str,
        fingerprint: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Begun> {
        // Keys are the callers' and may hold what ids may not.
        let key = Key::new(Container::Conversations, user.as_str(), format!("idempotency-{}", sha256_hex(key)));
        let owner = Uuid::new_v4().to_string();
        update(&*self.0, &key, |found: Option<Record>| match found {
            Some(record) if record.fingerprint != fingerprint => Edit::Keep(Begun::Other),
            Some(Record { answer: Some(answer), .. }) => Edit::Keep(Begun::Answered(answer)),
            // Our claim was saved, but the answer that said so was lost.
            Some(record) if record.owner == owner => Edit::Keep(first(&key, &owner)),
            Some(record) if record.lease_expires_at.is_some_and(|until| until > now) => Edit::Keep(Begun::UnderWay),
            Some(_) | None => {
                let record = Record {
                    id: key.id.clone(),
                    user_id: user.clone(),
                    fingerprint: fingerprint.to_owned(),
                    owner: owner.clone(),
                    lease_expires_at: Some(now + lease),
                    answer: None,
                    ttl: LIFE_SECONDS,
                };
                Edit::Save(record, first(&key, &owner))
            }
        })
        .await
    }

    /// Keeps the answer, unless somebody else began the request anew meanwhile.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn finish(&self, claim: Claim, answer: Answer) -> Result<()> {
        update(&*self.0, &claim.key, |found: Option<Record>| match found {
            Some(record) if record.owner == claim.owner => {
                Edit::Save(Record { answer: Some(answer.clone()), lease_expires_at: None, ..record }, ())
            }
            Some(_) | None => Edit::Keep(()),
        })
        .await
    }

    /// Forgets that the request was begun, so that it can be tried again at once.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn forget(&self, claim: Claim) -> Result<()> {
        update(&*self.0, &claim.key, |found: Option<Record>| match found {
            Some(record) if record.owner == claim.owner => Edit::Save(Record { lease_expires_at: None, ..record }, ()),
            Some(_) | None => Edit::Keep(()),
        })
        .await
    }
}

fn first(key: &Key, owner: &str) -> Begun {
    Begun::First(Claim { key: key.clone(), owner: owner.to_owned() })
}
