//! Leases: one process at a time works on a document, and a dead process blocks others only for seconds. A lease is
//! claimed by compare-and-swap ([`Leases::claim`]) and renewed three times per lease length while work continues
//! ([`Held::keep`]). Work stops when the lease is lost: when another process has it, or when it could not be renewed
//! before it ended. The work writes to the document through [`Held::edit`], which fails once the lease is lost.
//! Finally, [`Held::finish`] makes the last edit and releases the lease in one write. Documents name their lease fields
//! themselves ([`Leased`]); everything else about leases is here.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::warn;
use uuid::Uuid;

use super::update::{self, Edit, compare_and_swap};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::store::{DocumentStore, ETag, Key};

/// Renewals per lease length.
const RENEWALS: u32 = 3;

/// A document with a lease.
pub trait Leased: Clone + Serialize + DeserializeOwned + Send {
    /// The longest lease that any version of the service takes on such a document.
    const LONGEST: Duration;

    /// The lease on the document.
    fn lease(&self) -> Lease;

    /// Replaces the lease on the document.
    fn set_lease(&mut self, lease: Lease);

    /// Whether the holder of the lease may continue; `false` if the work was ended from outside.
    fn may_go_on(&self) -> bool {
        true
    }
}

/// Makes a document [`Leased`] that has a field `lease`. The second argument is [`Leased::LONGEST`].
macro_rules! leased {
    ($document:ty, $longest:expr) => {
        impl $crate::data::lease::Leased for $document {
            const LONGEST: std::time::Duration = $longest;

            fn lease(&self) -> $crate::model::lease::Lease {
                self.lease.clone()
            }

            fn set_lease(&mut self, lease: $crate::model::lease::Lease) {
                self.lease = lease;
            }
        }
    };
}
pub(super) use leased;

/// Why an edit under a lease failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lease was lost, or the document is gone.
    #[error("another worker holds the lease")]
    Lost,
    /// The document could not be read or written.
    #[error(transparent)]
    Data(#[from] super::Error),
}

/// Work was stopped because the lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost")]
pub struct Lost;

/// Takes leases of one length.
#[derive(Clone)]
pub struct Leases {
    store: Arc<dyn DocumentStore>,
    clock: Arc<dyn Clock>,
    length: Duration,
    pause: Duration,
}

/// State of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The lease is free.
    Free,
    /// Another worker holds the lease until this time.
    Held(Timestamp),
}

/// What [`Leases::claim`] does with the document.
pub enum Decision<T, R> {
    /// Save this document with our lease.
    Take(T),
    /// Save this document without taking a lease.
    Save(T, R),
    /// Leave the document unchanged.
    Leave(R),
}

/// Outcome of a claim.
#[expect(clippy::large_enum_variant, reason = "made once for each piece of work, which holds a whole document")]
pub enum Claimed<T, R> {
    /// We hold the lease.
    Ours(Held<T>),
    /// The lease was not taken; `decide` gave this result.
    Left(R),
}

impl Leases {
    /// Creates a factory of leases of this length on documents of `store`.
    pub fn new(store: Arc<dyn DocumentStore>, clock: Arc<dyn Clock>, length: Duration) -> Self {
        Self { store, clock, length, pause: length / RENEWALS }
    }

    /// Renews at least this often, so that work notices sooner that it was ended from outside.
    pub fn renewing_every(self, pause: Duration) -> Self {
        Self { pause: self.pause.min(pause), ..self }
    }

    /// Claims the lease of the document at `key`, as `decide` says. `decide` gets the current document (`None` if there
    /// is none) and whether a process holds its lease. It runs again if the document changed meanwhile, so it must not
    /// have side effects. It may take over a live lease from a predecessor that it knows to be gone.
    ///
    /// # Errors
    /// [`super::Error::Contended`] when every attempt lost its race, [`super::Error::Unwritable`] for a document of
    /// another shape, [`super::Error::Store`] when the store failed.
    pub async fn claim<T: Leased, R>(
        &self,
        key: Key,
        mut decide: impl FnMut(Option<T>, Standing) -> Decision<T, R>,
    ) -> super::Result<Claimed<T, R>> {
        self.claim_as(&Uuid::new_v4().simple().to_string(), key, &mut decide).await
    }

    /// Claims the lease like [`Leases::claim`], under a unique name. A live lease under this name is renewed and
    /// returned without calling `decide`, because the answer to an earlier claim was lost.
    ///
    /// # Errors
    /// [`super::Error::Contended`] when every attempt lost its race, [`super::Error::Unwritable`] for a document of
    /// another shape, [`super::Error::Store`] when the store failed.
    pub async fn claim_as<T: Leased, R>(
        &self,
        owner: &str,
        key: Key,
        mut decide: impl FnMut(Option<T>, Standing) -> Decision<T, R>,
    ) -> super::Result<Claimed<T, R>> {
        let ends = self.clock.instant() + self.length;
        let claimed = compare_and_swap(update::ATTEMPTS, &*self.store, &key, None, |found: Option<T>, _| {
            let now = self.now();
            let standing = match &found {
                Some(document) if document.lease().is_live(now, T::LONGEST) => {
                    let lease = document.lease();
                    if lease.owner() == Some(owner) {
                        return self.take(document.clone(), owner, now);
                    }
                    Standing::Held(lease.expires_at().unwrap_or(now))
                }
                Some(_) | None => Standing::Free,
            };
            match decide(found, standing) {
                Decision::Leave(reason) => Edit::Keep(Err(reason)),
                Decision::Save(document, reason) => Edit::Save(document, Err(reason)),
                Decision::Take(document) => self.take(document, owner, now),
            }
        });
        Ok(match claimed.await? {
            (Ok(document), etag) => Claimed::Ours(self.held(key, owner.to_owned(), State { document, etag, ends })),
            (Err(reason), _) => Claimed::Left(reason),
        })
    }

    /// Creates a lease that begins now, with a new owner, for a document that is about to be created.
    pub fn first(&self) -> FirstLease {
        let owner = Uuid::new_v4().simple().to_string();
        let lease = Lease::new(&owner, self.now() + self.length);
        FirstLease { owner, lease, ends: self.clock.instant() + self.length }
    }

    /// Returns the held lease of a document that was just created with it.
    pub fn created<T: Leased>(&self, key: Key, document: T, first: FirstLease) -> Held<T> {
        self.held(key, first.owner, State { document, etag: None, ends: first.ends })
    }

    fn held<T>(&self, key: Key, owner: String, state: State<T>) -> Held<T> {
        let (late, is_finishing) = (Notify::new(), AtomicBool::new(false));
        Held { leases: self.clone(), key, owner, state: Mutex::new(state), late, is_finishing }
    }

    fn take<T: Leased, R>(&self, mut document: T, owner: &str, now: Timestamp) -> Edit<T, std::result::Result<T, R>> {
        document.set_lease(Lease::new(owner, now + self.length));
        Edit::Save(document.clone(), Ok(document))
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// A lease for a document that does not exist yet.
pub struct FirstLease {
    owner: String,
    lease: Lease,
    ends: Instant,
}

impl FirstLease {
    /// Returns the lease to store in the document.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }
}

/// A lease that this process holds unless it was lost meanwhile.
pub struct Held<T> {
    leases: Leases,
    key: Key,
    owner: String,
    state: Mutex<State<T>>,
    /// Wakes the renewal when the work finds that the lease has ended.
    late: Notify,
    /// Whether the lease is being released: then it is not lost, although it is no longer ours.
    is_finishing: AtomicBool,
}

struct State<T> {
    /// The document as last read or written.
    document: T,
    /// Version of that document, if it is known.
    etag: Option<ETag>,
    /// When the lease ends unless it is renewed.
    ends: Instant,
}

impl<T: Leased> Held<T> {
    /// Returns the document as last read or written.
    pub fn document(&self) -> T {
        self.state.lock().document.clone()
    }

    /// Returns the name under which this process holds the lease.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether we still hold the lease of this document, which was just read.
    pub fn is_ours(&self, document: &T) -> bool {
        document.may_go_on() && document.lease().owner() == Some(&*self.owner)
    }

    /// Runs `work` while the lease is ours, renewing it meanwhile. When the lease is lost, the work is dropped at its
    /// next await point. After the lease has ended, for example because the process was suspended, the work continues
    /// only once the lease is renewed. The work may end with [`Held::finish`].
    ///
    /// # Errors
    /// [`Lost`] when the work was dropped.
    pub async fn keep<O>(&self, work: impl Future<Output = O>) -> Result<O, Lost> {
        self.keep_noting(|_| (), work).await
    }

    /// Runs `work` like [`Held::keep`], and makes an edit with each renewal.
    ///
    /// # Errors
    /// [`Lost`] when the work was dropped.
    pub async fn keep_noting<O>(&self, note: impl FnMut(&mut T), work: impl Future<Output = O>) -> Result<O, Lost> {
        tokio::select! {
            biased;
            lost = self.renew_until_lost(note) => Err(lost),
            outcome = self.unless_late(work) => Ok(outcome),
        }
    }

    async fn renew_until_lost(&self, mut note: impl FnMut(&mut T)) -> Lost {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.leases.pause) => {}
                () = self.late.notified() => {}
            }
            if self.is_finishing() {
                if self.left().is_zero() {
                    return Lost;
                }
                continue;
            }
            // An answer that arrives after the lease has ended is too late; a renewal requested after that may still
            // succeed if no other process took the lease.
            let left = self.left().max(self.leases.length / RENEWALS);
            match tokio::time::timeout(left, self.edit(&mut note)).await {
                Ok(Ok(())) => {}
                Ok(Err(Error::Lost)) if self.is_finishing() => {}
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

    /// Runs `work` while the lease has not ended. A renewal wakes the task that waits for both.
    async fn unless_late<O>(&self, work: impl Future<Output = O>) -> O {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.left().is_zero() {
                self.late.notify_one();
                return Poll::Pending;
            }
            work.as_mut().poll(context)
        })
        .await
    }

    /// Edits the document and renews the lease, if it is still ours.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not.
    pub async fn edit<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<R, Error> {
        let asked = self.leases.clock.instant();
        let ((document, result), etag) = self
            .write(|document| {
                document.set_lease(Lease::new(&self.owner, self.leases.now() + self.leases.length));
                change(document)
            })
            .await?;
        *self.state.lock() = State { document, etag, ends: asked + self.leases.length };
        Ok(result)
    }

    /// Makes a last edit and releases the lease, if it is still ours. Returns the document.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is not.
    pub async fn finish(&self, mut change: impl FnMut(&mut T)) -> Result<T, Error> {
        self.is_finishing.store(true, Ordering::Relaxed);
        let written = self.write(|document| {
            document.set_lease(Lease::default());
            change(document);
        });
        let written = written.await;
        self.is_finishing.store(written.is_ok(), Ordering::Relaxed);
        let ((document, ()), _) = written?;
        Ok(document)
    }

    /// Releases the lease, so that others need not wait for its end.
    ///
    /// # Errors
    /// [`Error::Lost`] if another process holds it; that process is not affected.
    pub async fn release(&self) -> Result<(), Error> {
        self.finish(|_| {}).await.map(drop)
    }

    fn is_finishing(&self) -> bool {
        self.is_finishing.load(Ordering::Relaxed)
    }

    /// Writes the document if it is still ours. Reads it only if another process has written it since our last write.
    async fn write<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Result<((T, R), Option<ETag>), Error> {
        let known = {
            let state = self.state.lock();
            state.etag.clone().map(|etag| (state.document.clone(), etag))
        };
        let edit = |found: Option<T>, _: Option<&ETag>| match found {
            Some(mut document) if self.is_ours(&document) => {
                let result = change(&mut document);
                Edit::Save(document.clone(), Some((document, result)))
            }
            Some(_) | None => Edit::Keep(None),
        };
        let written = compare_and_swap(update::ATTEMPTS, &*self.leases.store, &self.key, known, edit);
        let (written, etag) = written.await?;
        Ok((written.ok_or(Error::Lost)?, etag))
    }

    fn left(&self) -> Duration {
        self.state.lock().ends.saturating_duration_since(self.leases.clock.instant())
    }
}
