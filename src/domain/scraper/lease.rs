//! The lease of a source while a run of the service scrapes it: never two runs on one source. A client's lease keeps
//! other clients away, but no run: what a run finds it need not send.
//!
//! It is short and renewed, so that a process that dies does not keep others away for long. A run that finds its lease
//! gone stops where it is. The queue's word counts for more than the lease: when it delivers a message again, whoever had
//! it before is gone or out of touch, so the same message takes the lease over at once.

use std::time::Duration;

use tracing::warn;
use uuid::Uuid;

use super::{Error, Scraper};
use crate::base::chain::Chain;
use crate::data::sources::Claim;
use crate::model::source::Source;

/// How long a lease lives unless it is renewed.
const LEASE: Duration = Duration::from_secs(30);
/// What the names of runs begin with. Other names are clients' users.
const RUN: &str = "run-";
/// Renewals within one lease.
const RENEWALS: u32 = 3;

/// Who scrapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name in the lease: no two runs have the same.
    name: String,
    /// What the names of runs begin with that this one may replace.
    predecessors: Option<String>,
}

impl Owner {
    /// A run that may replace no other run.
    pub fn unique() -> Self {
        Self { name: format!("{RUN}{}", Uuid::new_v4().simple()), predecessors: None }
    }

    /// A run for a message of the queue (or a step of a job), which may replace earlier runs for the same one.
    pub fn of_message(id: &str) -> Self {
        let predecessors = format!("{RUN}{id}#");
        Self { name: format!("{predecessors}{}", Uuid::new_v4().simple()), predecessors: Some(predecessors) }
    }

    /// The name in the lease.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn may_replace(&self, other: &str) -> bool {
        let is_predecessor = || self.predecessors.as_deref().is_some_and(|earlier| other.starts_with(earlier));
        !other.starts_with(RUN) || is_predecessor()
    }
}

impl Scraper {
    /// Does `work` on the source while `owner` has its lease. The work gets the source as it is once the lease is taken; it
    /// is dropped, wherever it waits, when the lease is lost. Work that ends well gives the lease back itself
    /// ([`crate::data::sources::Sources::finish`]) or leaves it to this.
    ///
    /// # Errors
    /// [`Error::Leased`] while somebody else has the lease, [`Error::LeaseLost`], [`Error::Missing`], and what `work` says.
    pub async fn with_lease<T, F>(
        &self,
        source: &Source,
        owner: &Owner,
        work: impl FnOnce(Source) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let now = self.now();
        let claim =
            self.data().sources.claim(source, owner.name(), (now, now + LEASE), |other| owner.may_replace(other));
        let source = match claim.await? {
            Claim::Ours(source) => *source,
            Claim::Theirs => return Err(Error::Leased),
            Claim::Gone => return Err(Error::Missing),
        };
        let outcome = tokio::select! {
            outcome = work(source.clone()) => outcome,
            lost = self.keep_lease(&source, owner) => Err(lost),
        };
        if !matches!(outcome, Err(Error::LeaseLost))
            && let Err(error) = self.data().sources.release(&source, owner.name()).await
        {
            warn!(source.id = %source.id, error = %Chain(&error), "lease not given back: it runs out by itself");
        }
        outcome
    }

    /// Says now and then that the run lives. Returns only when the lease is lost.
    async fn keep_lease(&self, source: &Source, owner: &Owner) -> Error {
        let mut held_until = tokio::time::Instant::now() + LEASE;
        loop {
            tokio::time::sleep(LEASE / RENEWALS).await;
            let asked_at = tokio::time::Instant::now();
            let renewed = self.data().sources.renew(source, owner.name(), self.now() + LEASE);
            // An answer that comes after the lease has run out comes too late.
            match tokio::time::timeout_at(held_until, renewed).await {
                Ok(Ok(true)) => held_until = asked_at + LEASE,
                Ok(Ok(false)) | Err(_) => return Error::LeaseLost,
                Ok(Err(error)) => {
                    warn!(source.id = %source.id, error = %Chain(&error), "lease not renewed");
                    if tokio::time::Instant::now() >= held_until {
                        return Error::LeaseLost;
                    }
                }
            }
        }
    }
}
