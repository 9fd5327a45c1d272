//! The sweeper: queues jobs again whose message or worker was lost, and deletes old ones.

use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::{Error, Jobs, directory};
use crate::data;
use crate::data::update::Edit;
use crate::domain::work::WorkError;
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobStatus};
use crate::model::lease::Lease;

/// Most jobs per sweep, of each kind of leftover.
const SWEPT: usize = 200;
/// Blobs listed, and deleted concurrently, when a job is purged.
const LISTED: usize = 1000;
const DELETED_AT_ONCE: usize = 8;
/// Times that a lost message is sent again before the job fails for good.
const MOST_REQUEUES: u32 = 8;

impl Jobs {
    /// Queues jobs again whose message was lost or whose worker died, and deletes old ones, up to a limit of each.
    ///
    /// # Errors
    /// When the store, queue or blob store fails. The rest is found the next time.
    pub async fn sweep(&self) -> Result<(), WorkError> {
        let mut requeued = 0;
        for status in [JobStatus::Pending, JobStatus::Running] {
            for job in self.0.data.jobs.stale(status, self.now(), SWEPT).await? {
                requeued += usize::from(self.requeue_stale(&job).await?);
            }
        }
        if requeued > 0 {
            info!(jobs = requeued, "jobs queued again");
        }
        let due = self.0.data.jobs.due_for_purge(self.now(), SWEPT).await?;
        for job in &due {
            self.erase(&job.user_id, &job.id).await?;
        }
        if !due.is_empty() {
            info!(jobs = due.len(), "old jobs deleted");
        }
        Ok(())
    }

    async fn requeue_stale(&self, stale: &Job) -> Result<bool, WorkError> {
        let Some(job) = self.requeue(stale, "its message or its worker was lost").await? else { return Ok(false) };
        if job.requeues > MOST_REQUEUES {
            let reason = format!("It was queued again {MOST_REQUEUES} times, but no worker took it.");
            self.fail_from_outside(&job.user_id, &job.id, &reason).await?;
            return Ok(false);
        }
        self.send(&job).await.map_err(WorkError::Failed)?;
        Ok(true)
    }

    /// Puts a job back into the queue, unless a worker holds it or it is final. If the first message is only late, a
    /// second one is harmless; so that a long queue does not grow, the lease doubles each time.
    pub(super) async fn requeue(&self, found: &Job, why: &str) -> Result<Option<Job>, data::Error> {
        let now = self.now();
        let requeued = self.0.data.jobs.edit(&found.user_id, &found.id, |mut job| {
            // Otherwise it was changed since it was found, so another process has dealt with it.
            let is_same = (job.attempt, job.requeues) == (found.attempt, found.requeues);
            if job.status.is_final() || job.is_worked_on(now) || !is_same {
                return Edit::Keep(None);
            }
            job.requeues += 1;
            let lease = self.queue_lease() * 2_u32.pow(job.requeues.min(MOST_REQUEUES));
            job.lease = Lease::waiting(now + lease);
            job.change(JobStatus::Pending, Some(format!("queued again: {why}")), now);
            Edit::Save(job.clone(), Some(job))
        });
        Ok(requeued.await?.flatten())
    }

    /// Deletes a job and all its blobs.
    pub(super) async fn erase(&self, user: &UserId, id: &JobId) -> Result<(), Error> {
        let prefix = format!("{}/", directory(id));
        loop {
            let page = self.0.blobs.list(self.container(), &prefix, None, LISTED).await?;
            if page.blobs.is_empty() && page.next.is_none() {
                break;
            }
            let names = page.blobs.into_iter().map(|listed| listed.name);
            stream::iter(names)
                .map(|name| async move { self.0.blobs.delete(self.container(), &name).await })
                .buffer_unordered(DELETED_AT_ONCE)
                .try_for_each(|_| std::future::ready(Ok(())))
                .await?;
        }
        self.0.data.jobs.remove(user, id).await?;
        info!(job.id = %id, "job deleted");
        Ok(())
    }
}
