//! Taste-analysis jobs: one per user, item and picture.

use std::sync::Arc;

use super::lease::leased;
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::ids::TasteJobId;
use crate::model::taste_job::{LONGEST_LEASE, TasteJob, TasteJobStatus};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// Jobs of all users.
#[derive(Clone)]
pub struct TasteJobs(pub(super) Arc<dyn DocumentStore>);

leased!(TasteJob, LONGEST_LEASE);

impl TasteJobs {
    /// Returns the key of a job.
    pub fn key(job: &TasteJobId) -> Key {
        Key::new(Container::TasteAnalysisJobs, job.as_str(), job.as_str())
    }

    /// Whether this can be a job id.
    pub fn is_valid_id(job: &TasteJobId) -> bool {
        Self::key(job).is_valid()
    }

    /// Finds a job.
    pub async fn find(&self, job: &TasteJobId) -> Result<Option<TasteJob>> {
        records::find(&*self.0, &Self::key(job)).await
    }

    /// Edits or creates a job by compare-and-swap.
    pub async fn edit<R>(
        &self,
        job: &TasteJobId,
        edit: impl FnMut(Option<TasteJob>) -> Edit<TasteJob, R>,
    ) -> Result<R> {
        update::update(&*self.0, &Self::key(job), edit).await
    }

    /// Finds at most `limit` jobs of this status whose lease has expired, oldest lease first.
    pub async fn stale(&self, status: TasteJobStatus, now: Timestamp, limit: usize) -> Result<Vec<TasteJob>> {
        let query = stale_query(status, now).limit(limit);
        pages::page(&*self.0, &query).await
    }
}

/// Returns the query of [`TasteJobs::stale`].
pub fn stale_query(status: TasteJobStatus, now: Timestamp) -> Query {
    let has_status = Filter::equal("status", status.name());
    pages::due(Container::TasteAnalysisJobs, "leaseExpiresAt", now).matching(has_status)
}
