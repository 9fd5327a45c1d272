//! Jobs. Their container also holds timers and idempotency keys, which lack the fields that lists of jobs query.

use std::sync::Arc;
use std::time::Duration;

use super::lease::Leased;
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::base::hash::sha256_hex;
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobKey, JobStatus, LONGEST_LEASE};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, ETag, Filter, Key, Query, Write};

/// Length of a job id: a UUID without hyphens.
const ID_LENGTH: usize = 32;
/// Fields of a job in lists; others may be long.
const SUMMARY: &[&str] = &[
    "id",
    "jobId",
    "userId",
    "name",
    "status",
    "createdTime",
    "lastUpdatedTime",
    "customStatus",
    "input",
    "result",
    "error",
];

impl Leased for Job {
    const LONGEST: Duration = LONGEST_LEASE;

    fn lease(&self) -> Lease {
        self.lease.clone()
    }

    fn set_lease(&mut self, lease: Lease) {
        self.lease = lease;
    }

    /// A terminated job keeps its lease, which shows how long a worker may still be busy.
    fn may_go_on(&self) -> bool {
        self.status == JobStatus::Running
    }
}

/// Jobs of all users.
#[derive(Clone)]
pub struct Jobs(pub(super) Arc<dyn DocumentStore>);

impl Jobs {
    /// Returns the key of a user's job.
    pub fn key(user: &UserId, job: &JobId) -> Key {
        Key::new(Container::Jobs, user.as_str(), job.as_str())
    }

    fn key_of_key(user: &UserId, idempotency_key: &str) -> Key {
        Key::new(Container::Jobs, user.as_str(), format!("key-{}", sha256_hex(idempotency_key)))
    }

    /// Whether this is a job id, rather than the id of another document in the container.
    pub fn is_valid_id(job: &JobId) -> bool {
        let id = job.as_str();
        id.len() == ID_LENGTH && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Creates a job.
    pub async fn create(&self, job: &Job) -> Result<()> {
        self.0.create(&Self::key(&job.user_id, &job.id), &serde_json::to_value(job)?).await?;
        Ok(())
    }

    /// Creates a job together with the caller's key, in one batch; `false` if the key was used before. The key expires
    /// after `seconds`.
    pub async fn create_with_key(&self, job: &Job, key: &str, request_hash: &str, seconds: i64) -> Result<bool> {
        let record = JobKey {
            id: Self::key_of_key(&job.user_id, key).id,
            user_id: job.user_id.clone(),
            stands_for: job.id.clone(),
            request_hash: request_hash.to_owned(),
            ttl: seconds,
        };
        let writes = [
            Write::Create { document: serde_json::to_value(&record)? },
            Write::Create { document: serde_json::to_value(job)? },
        ];
        update::won(self.0.batch(Container::Jobs, job.user_id.as_str(), &writes).await)
    }

    /// Finds a key of the user that has not expired, and its version.
    pub async fn find_key(&self, user: &UserId, key: &str) -> Result<Option<(JobKey, ETag)>> {
        records::find_version(&*self.0, &Self::key_of_key(user, key)).await
    }

    /// Deletes a user's key, unless it has changed.
    pub async fn forget_key(&self, key: &JobKey, etag: &ETag) -> Result<()> {
        let place = Key::new(Container::Jobs, key.user_id.as_str(), key.id.as_str());
        update::won(self.0.delete(&place, Some(etag)).await)?;
        Ok(())
    }

    /// Finds a job of the user.
    pub async fn find(&self, user: &UserId, job: &JobId) -> Result<Option<Job>> {
        if !Self::is_valid_id(job) {
            return Ok(None);
        }
        records::find(&*self.0, &Self::key(user, job)).await
    }

    /// Finds a job of any user.
    pub async fn find_for_any_user(&self, job: &JobId) -> Result<Option<Job>> {
        if !Self::is_valid_id(job) {
            return Ok(None);
        }
        pages::first(&*self.0, Query::all(Container::Jobs).matching(Filter::equal("jobId", job.as_str()))).await
    }

    /// Edits a job by compare-and-swap; `None` if it does not exist.
    pub async fn edit<R>(
        &self,
        user: &UserId,
        job: &JobId,
        edit: impl FnMut(Job) -> Edit<Job, R>,
    ) -> Result<Option<R>> {
        update::update_existing(&*self.0, &Self::key(user, job), edit).await
    }

    /// Lists a page of jobs of one user or all users, optionally of one status, newest first, with the token of the
    /// next page.
    pub async fn page(
        &self,
        user: Option<&UserId>,
        status: Option<JobStatus>,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Job>, Option<String>)> {
        let query = Query::one_or_all(Container::Jobs, user.map(UserId::as_str))
            .matching_all(status.map(|status| Filter::equal("status", status.name())))
            // Only jobs have this field.
            .matching(Filter::at_least("createdTime", ""))
            .matching(Filter::is_absent("purgedAt"))
            .descending_by("createdTime")
            .select(SUMMARY)
            .limit(limit)
            .after(after);
        pages::page_and_next(&*self.0, &query).await
    }

    /// Finds at most `limit` jobs of this status whose lease has expired, oldest lease first.
    pub async fn stale(&self, status: JobStatus, now: Timestamp, limit: usize) -> Result<Vec<Job>> {
        let query = pages::due(Container::Jobs, "leaseExpiresAt", now).matching(Filter::equal("status", status.name()));
        pages::page(&*self.0, &query.limit(limit)).await
    }

    /// Finds at most `limit` jobs that are due for deletion.
    pub async fn due_for_purge(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>> {
        pages::page(&*self.0, &pages::due(Container::Jobs, "purgeAt", now).limit(limit)).await
    }

    /// Deletes a job's document.
    pub async fn remove(&self, user: &UserId, job: &JobId) -> Result<()> {
        self.0.delete(&Self::key(user, job), None).await?;
        Ok(())
    }
}
