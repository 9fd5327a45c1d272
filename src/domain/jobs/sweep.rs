//! The sweeper: queues jobs again whose message or worker was lost, and deletes old ones.

use std::future::ready;

use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use super::{Error, Jobs, directory};
use crate::data;
use crate::data::update::Edit;
use crate::domain::work::{Failures, WorkError};
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

/// Action of the sweeper on a job.
enum Swept {
    Queued,
    /// It was queued too often, and is to fail.
    Hopeless(Box<Job>),
    Left,
}

impl Jobs {
    /// Queues jobs again whose message was lost or whose worker died, and deletes old ones, up to a limit of each. One
    /// that fails does not stop the others.
    ///
    /// # Errors
    /// When the store, queue or blob store fails. The rest is found the next time.
    pub async fn sweep(&self) -> Result<(), WorkError> {
        let (requeued, purged) = (self.requeue_stale().await, self.purge_due().await);
        requeued.and(purged)
    }

    async fn requeue_stale(&self) -> Result<(), WorkError> {
        let (mut requeued, mut hopeless) = (0, Vec::new());
        let mut failures = Failures::none();
        for status in [JobStatus::Pending, JobStatus::Running] {
            for stale in self.0.data.jobs.stale(status, self.now(), SWEPT).await? {
                match self.send_again(&stale).await {
                    Ok(Swept::Queued) => requeued += 1,
                    Ok(Swept::Hopeless(job)) => hopeless.push(job),
                    Ok(Swept::Left) => {}
                    Err(error) => failures.pass_over(&stale.id, error)?,
                }
            }
        }
        if requeued > 0 {
            info!(jobs = requeued, "jobs queued again");
        }
        // Last, because it needs the blob store, which queueing does not.
        let reason = format!("It was queued again {MOST_REQUEUES} times, but no worker took it.");
        for job in hopeless {
            if let Err(error) = self.fail_from_outside(&job.user_id, &job.id, &reason).await {
                failures.pass_over(&job.id, error.into())?;
            }
        }
        failures.into_result()
    }

    async fn send_again(&self, stale: &Job) -> Result<Swept, WorkError> {
        let requeued = self.requeue(stale, "its message or its worker was lost").await?;
        let Some(job) = requeued else { return Ok(Swept::Left) };
        if job.requeues > MOST_REQUEUES {
            return Ok(Swept::Hopeless(Box::new(job)));
        }
        self.send(&job).await.map_err(WorkError::Failed)?;
        Ok(Swept::Queued)
    }

    async fn purge_due(&self) -> Result<(), WorkError> {
        let mut failures = Failures::none();
        let mut deleted = 0;
        for job in self.0.data.jobs.due_for_purge(self.now(), SWEPT).await? {
            match self.erase(&job.user_id, &job.id).await {
                Ok(()) => deleted += 1,
                Err(error) => failures.pass_over(&job.id, error.into())?,
            }
        }
        if deleted > 0 {
            info!(jobs = deleted, "old jobs deleted");
        }
        failures.into_result()
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
        // Again after each deletion, because a late worker may have written a blob that was listed no more.
        while self.erase_blobs(id).await? > 0 {}
        self.0.data.jobs.remove(user, id).await?;
        info!(job.id = %id, "job deleted");
        Ok(())
    }

    /// Deletes the listed blobs of a job, and returns their number.
    async fn erase_blobs(&self, id: &JobId) -> Result<usize, Error> {
        let prefix = format!("{}/", directory(id));
        let (mut deleted, mut after) = (0, None);
        loop {
            let page = self.0.blobs.list(self.container(), &prefix, after.as_deref(), LISTED).await?;
            let names = page.blobs.into_iter().map(|listed| listed.name);
            deleted += stream::iter(names)
                .map(|name| async move { self.0.blobs.delete(self.container(), &name).await })
                .buffer_unordered(DELETED_AT_ONCE)
                .try_fold(0, |deleted, existed| ready(Ok(deleted + usize::from(existed))))
                .await?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(deleted),
            }
        }
    }
}
