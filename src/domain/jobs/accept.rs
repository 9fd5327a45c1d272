//! Accepting jobs.

use serde_json::Value;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Error, Jobs};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex;
use crate::data;
use crate::data::update::Edit;
use crate::domain::backlog::Work;
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobStatus};
use crate::model::lease::Lease;

/// How long an idempotency key refers to the same job.
const KEY_SECONDS: i64 = 24 * 60 * 60;
/// Attempts to accept a job while its key is in use, or has just expired.
const ACCEPT_TRIES: usize = 8;

impl Jobs {
    /// Accepts a job for `user` and returns its id; it is stored and will run. If the user has used the key for the
    /// same request within a day, returns that job.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when the key was used for another request, [`Error::OverBudget`] when the user cannot pay
    /// for a new job of this kind, [`Error::BacklogFull`] when too many jobs are waiting; otherwise when the store
    /// fails.
    pub async fn accept(&self, user: &UserId, name: &str, input: Value, key: Option<&str>) -> Result<JobId, Error> {
        let request_hash = sha256_hex(format!("{name}\n{input}"));
        for _ in 0..ACCEPT_TRIES {
            // Checked first: repeating a request is free.
            if let Some(key) = key
                && let Some(id) = self.find_accepted(user, key, &request_hash).await?
            {
                return Ok(id);
            }
            if self.kind(name).is_some_and(|kind| kind.is_paid_by_owner) {
                self.0.budget.check(user).await?.map_err(Error::OverBudget)?;
            }
            let now = self.now();
            let id = JobId::from(Uuid::new_v4().simple().to_string());
            let work = key.map_or_else(|| Work::Job(id.clone()), |key| Work::KeyedJob(key.to_owned()));
            if !self.0.backlog.admit(user, &work).await? {
                return Err(Error::BacklogFull);
            }
            let lease = now + self.queue_lease();
            let mut job = Job::pending(id, user.clone(), name, input.clone(), now, lease);
            job.idempotency_key = key.map(str::to_owned);
            let is_new = match key {
                Some(key) => self.0.data.jobs.create_with_key(&job, key, &request_hash, KEY_SECONDS).await?,
                None => {
                    self.0.data.jobs.create(&job).await?;
                    true
                }
            };
            if is_new {
                info!(job.id = %job.id, job.name = name, "job accepted");
                self.send_or_leave(&job).await?;
                return Ok(job.id);
            }
            // Another request has used the key meanwhile.
        }
        Err(data::Error::Contended.into())
    }

    /// Finds the job that the user created with this key. The key of a purged job is deleted.
    async fn find_accepted(&self, user: &UserId, key: &str, request_hash: &str) -> Result<Option<JobId>, Error> {
        let Some((found, etag)) = self.0.data.jobs.find_key(user, key).await? else { return Ok(None) };
        if found.request_hash != request_hash {
            return Err(Error::KeyReused);
        }
        if self.find(user, &found.stands_for).await?.is_some() {
            return Ok(Some(found.stands_for));
        }
        self.0.data.jobs.forget_key(&found, &etag).await?;
        Ok(None)
    }

    /// Sends a new job's message. If that fails, the job is accepted nevertheless; the next sweep queues it.
    async fn send_or_leave(&self, job: &Job) -> Result<(), Error> {
        let Err(error) = self.send(job).await else { return Ok(()) };
        warn!(job.id = %job.id, error = %Chain(&*error), "job accepted, but its message was not sent: the sweeper will send it");
        let now = self.now();
        let ended = self.0.data.jobs.edit(&job.user_id, &job.id, |mut current| {
            if current.status != JobStatus::Pending || current.attempt > 0 {
                return Edit::Keep(());
            }
            current.lease = Lease::waiting(now);
            Edit::Save(current, ())
        });
        ended.await?;
        Ok(())
    }
}
