//! Leases of sources: only one run scrapes a source at a time. A client's lease excludes other clients, but not runs.
//!
//! A lease is short and renewed, so that a dead process does not block others for long. A run that loses its lease
//! stops. A redelivered message takes over the lease of its earlier delivery at once, since that worker is dead or
//! disconnected.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use uuid::Uuid;

use super::{Error, Scraper};
use crate::base::chain::Chain;
use crate::data::lease::{self, Claimed, Held};
use crate::data::sources::{NotClaimed, SourceDocument};
use crate::model::source::Source;

/// Length of a lease.
const LEASE: Duration = Duration::from_secs(30);
/// Prefix of runs' names; other names are users.
const RUN: &str = "run-";

/// The owner of a run's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Unique name of the run.
    name: String,
    /// Prefix of names that this run may replace.
    predecessors: Option<String>,
}

impl Owner {
    /// Creates an owner that may not replace other runs.
    pub fn unique() -> Self {
        Self { name: format!("{RUN}{}", Uuid::new_v4().simple()), predecessors: None }
    }

    /// Creates an owner for a message or a job's step, which may replace earlier runs for the same one.
    pub fn of_message(id: &str) -> Self {
        let predecessors = format!("{RUN}{id}#");
        Self { name: format!("{predecessors}{}", Uuid::new_v4().simple()), predecessors: Some(predecessors) }
    }

    fn may_replace(&self, other: &str) -> bool {
        let is_predecessor = || self.predecessors.as_deref().is_some_and(|earlier| other.starts_with(earlier));
        !other.starts_with(RUN) || is_predecessor()
    }
}

/// A source whose lease a run holds.
#[derive(Clone)]
pub struct LeasedSource {
    /// The source as of when the lease was taken; its previous owner may have done the work.
    pub source: Source,
    pub(super) held: Arc<Held<SourceDocument>>,
}

impl Scraper {
    /// Runs `work` on the source while `owner` holds its lease. When the lease is lost, the work is dropped at its next
    /// await point. Successful work releases the lease itself ([`Scraper::complete`]) or leaves that to this function.
    ///
    /// # Errors
    /// [`Error::Leased`] while another owner holds the lease, [`Error::LeaseLost`], [`Error::Missing`], and what `work`
    /// says.
    pub async fn with_lease<T, F>(
        &self,
        source: &Source,
        owner: &Owner,
        work: impl FnOnce(LeasedSource) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let leases = self.data().leases(&self.0.base.clock, LEASE);
        let claim = self.data().sources.claim(&leases, source, &owner.name, |other| owner.may_replace(other));
        let held = match claim.await? {
            Claimed::Ours(held) => Arc::new(held),
            Claimed::Left(NotClaimed::Theirs) => return Err(Error::Leased),
            Claimed::Left(NotClaimed::Gone) => return Err(Error::Missing),
        };
        let source = held.document().source().ok_or(Error::Missing)?;
        let leased = LeasedSource { source, held: held.clone() };
        let outcome = held.keep(work(leased)).await.unwrap_or(Err(Error::LeaseLost));
        if !matches!(outcome, Err(Error::LeaseLost))
            && let Err(error @ lease::Error::Data(_)) = held.release().await
        {
            warn!(error = %Chain(&error), "lease not released: it will expire");
        }
        outcome
    }
}
