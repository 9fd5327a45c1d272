//! Leases: one process at a time works on a document, and one that died keeps others away for seconds only.
//!
//! A lease is claimed by compare-and-swap ([`Leases::claim`]) and renewed while work goes on ([`Held::keep`]), three times in
//! its length. Work stops when the lease is lost: when somebody else has it, or when it could not be renewed before it ended.
//! What the work writes into the document goes through [`Held::edit`], which refuses a writer who has lost the lease. At the end
//! [`Held::finish`] writes the last edit and gives the lease back in one write.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;
use uuid::Uuid;

use super::update::{Edit, update};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::store::{DocumentStore, Key};

/// Renewals within the length of a lease.
const RENEWALS: u32 = 3;

/// A document that one process at a time works on.
pub trait Leased: Clone + Serialize + DeserializeOwned + Send {
    /// Its lease.
    fn lease(&self) -> &Lease;

    /// Its lease, to be changed by this module only.
    fn lease_mut(&mut self) -> &mut Lease;
}

/// Why an edit under a lease did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the lease, or the document has gone.
    #[error("the lease is somebody else's")]
    Lost,
    /// The document could not be read or written.
    #[error(transparent)]
    Data(#[from] super::Error),
}

/// Work was stopped because its lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost")]
pub struct Lost;

/// Takes leases of one length.
#[derive(Clone)]
pub struct Leases {
    store: Arc<dyn DocumentStore>,
    clock: Arc<dyn Clock>,
    length: Duration,
}

/// Whether a document can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody works on it.
    Free,
    /// Somebody does, and the lease ends so.
    Held(Timestamp),
}

/// What to do about a document whose lease is wanted.
pub enum Decision<T, R> {
    /// Save it so, with the lease ours.
    Take(T),
    /// Leave it alone.
    Leave(R),
}

/// What became of a claim.
pub enum Claimed<T, R> {
    /// The lease is ours.
    Ours(Held<T>),
    /// It was left alone.
    Left(R),
}

impl Leases {
    /// Takes leases of this length on documents of `store`.
    pub fn new(store: Arc<dyn DocumentStore>, clock: Arc<dyn Clock>, length: Duration) -> Self {
        Self { store, clock, length }
    }

    /// Claims the lease of the document at `key`, as `decide` says, which sees the document as it is (`None` if there is none)
    /// and whether somebody works on it. It runs again when somebody else changed the document meanwhile, so it must have no
    /// effect of its own. It may take a lease that is held, from a predecessor that it knows to be gone.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn claim<T: Leased, R>(
        &self,
        key: Key,
        mut decide: impl FnMut(Option<T>, Standing) -> Decision<T, R>,
    ) -> super::Result<Claimed<T, R>> {
        self.claim_as(&Uuid::new_v4().simple().to_string(), key, &mut decide).await
    }

    /// Claims the lease as [`Leases::claim`] does, under a name that no other claim has.
    ///
    /// # Errors
    /// As [`update`].
    pub async fn claim_as<T: Leased, R>(
        &self,
        owner: &str,
        key: Key,
        mut decide: impl FnMut(Option<T>, Standing) -> Decision<T, R>,
    ) -> super::Result<Claimed<T, R>> {
        let ends = self.clock.instant() + self.length;
        let claimed = update(&*self.store, &key, |found: Option<T>| {
            let now = self.now();
            let standing = match &found {
                // Our claim was saved, but the answer that said so was lost.
                Some(document) if document.lease().owner() == Some(owner) => {
                    return Edit::Keep(Ok(document.clone()));
                }
                Some(document) if document.lease().is_live(now, self.length) => {
                    Standing::Held(document.lease().expires_at().unwrap_or(now))
                }
                Some(_) | None => Standing::Free,
            };
            match decide(found, standing) {
                Decision::Leave(reason) => Edit::Keep(Err(reason)),
                Decision::Take(mut document) => {
                    *document.lease_mut() = Lease::new(owner, now + self.length);
                    Edit::Save(document.clone(), Ok(document))
                }
            }
        });
        Ok(match claimed.await? {
            Ok(document) => {
                let state = Mutex::new(State { document, ends });
                Claimed::Ours(Held { leases: self.clone(), key, owner: owner.to_owned(), state })
            }
            Err(reason) => Claimed::Left(reason),
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// A lease that is ours, unless it was lost meanwhile.
pub struct Held<T> {
    leases: Leases,
    key: Key,
    owner: String,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// As it was read or written last.
    document: T,
    /// When the lease ends unless it is renewed.
    ends: Instant,
}

impl<T: Leased> Held<T> {
    /// The document as it was read or written last.
    pub fn document(&self) -> T {
        self.state().document.clone()
    }

    /// Who has the lease: we.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Does `work` as long as the lease is ours, and renews it meanwhile. The work is dropped, wherever it waits, when the lease
    /// is lost. It does not go on after the lease has ended, in a process that slept for instance, before it is renewed.
    ///
    /// # Errors
    /// [`Lost`] when the work was dropped.
    pub async fn keep<O>(&self, work: impl Future<Output = O>) -> Result<O, Lost> {
        tokio::select! {
            biased;
            lost = self.renew_until_lost() => Err(lost),
            outcome = self.unless_late(work) => Ok(outcome),
        }
    }

    async fn renew_until_lost(&self) -> Lost {
        loop {
            tokio::time::sleep(self.leases.length / RENEWALS).await;
            // An answer that comes after the lease has ended comes too late; one that was asked for then may find that nobody
            // else was interested.
            let left = self.left().max(self.leases.length / RENEWALS);
            match tokio::time::timeout(left, self.edit(|_| ())).await {
                Ok(Ok(())) => {}
                Ok(Err(Error::Lost)) | Err(_) => return Lost,
                Ok(Err(error)) => {
                    warn!(document.id = self.key.id, error = %Chain(&error), "lease not renewed");
                    if self.left().is_zero() {
                        return Lost;
                    }
                }
            }
        }
    }

    /// Does `work` while the lease has not ended. A renewal wakes whoever waits for both.
    async fn unless_late<O>(&self, work: impl Future<Output = O>) -> O {
        let mut work = pin!(work);
        poll_fn(|context| if self.left().is_zero() { Poll::Pending } else { work.as_mut().poll(context) }).await
    }

    /// Edits the document, if the lease is still ours, and renews that.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not.
    pub async fn edit<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<R, Error> {
        let asked = self.leases.clock.instant();
        let (document, result) = self
            .write(|document| {
                *document.lease_mut() = Lease::new(&self.owner, self.leases.now() + self.leases.length);
                change(document)
            })
            .await?;
        *self.state() = State { document, ends: asked + self.leases.length };
        Ok(result)
    }

    /// Edits the document a last time, if the lease is still ours, and gives that back. Returns the document.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not.
    pub async fn finish(self, mut change: impl FnMut(&mut T)) -> Result<T, Error> {
        let written = self.write(|document| {
            *document.lease_mut() = Lease::default();
            change(document);
        });
        Ok(written.await?.0)
    }

    /// Gives the lease back, so that others need not wait for its end.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is somebody else's, who is not disturbed.
    pub async fn release(self) -> Result<(), Error> {
        self.finish(|_| {}).await.map(drop)
    }

    async fn write<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<(T, R), Error> {
        let written = update(&*self.leases.store, &self.key, |found: Option<T>| match found {
            Some(mut document) if document.lease().owner() == Some(&*self.owner) => {
                let result = change(&mut document);
                Edit::Save(document.clone(), Some((document, result)))
            }
            Some(_) | None => Edit::Keep(None),
        });
        written.await?.ok_or(Error::Lost)
    }

    fn left(&self) -> Duration {
        self.state().ends.saturating_duration_since(self.leases.clock.instant())
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
