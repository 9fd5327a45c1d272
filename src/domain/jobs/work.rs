//! Processing of a job's message.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Finished, JobFault, Jobs, Run};
use crate::base::chain::Chain;
use crate::data;
use crate::data::lease::{Claimed, Decision, Standing};
use crate::domain::work::WorkError;
use crate::model::ids::JobId;
use crate::model::job::{Job, JobMessage, JobStatus};

/// Failures without a finished step after which a job fails for good; as many as the Functions host's deliveries.
const MOST_FAILURES: u32 = 5;
/// Attempts without a finished step after which a job fails for good, since a job may crash its process.
const MOST_STALLS: u32 = 10;
/// Longest time between two renewals of a lease; with each one a worker learns whether its job was terminated through
/// another process.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time that a worker spends on a job per invocation; below the limit of functions (9 min), so that the outcome
/// is recorded.
const LONGEST: Duration = Duration::from_secs(8 * 60 + 30);

/// The work exceeded the time limit of an invocation.
#[derive(Debug, thiserror::Error)]
#[error("the step did not end within {} s", LONGEST.as_secs())]
struct TooSlow;

#[derive(Debug, thiserror::Error)]
#[error("the step panicked")]
struct Panicked;

#[derive(Debug, thiserror::Error)]
#[error("this version of the service does not know this kind of job")]
struct UnknownKind;

/// Outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// The job is final.
    Done,
    /// Nothing had to be done.
    Nothing,
    /// Another message continues.
    HandedOn,
    /// The job was terminated or taken over.
    Lost,
}

/// Why a worker does not take the job in its message.
enum NotTaken {
    /// Another worker holds it.
    HeldElsewhere,
    /// Nothing is left to do.
    Nothing,
    /// Too many attempts have failed.
    Exhausted,
}

/// A running job of this process, until dropped.
struct Running<'a> {
    jobs: &'a Jobs,
    key: (JobId, u32),
    terminated: CancellationToken,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.jobs.0.running.lock().remove(&self.key);
    }
}

impl Jobs {
    fn begin(&self, job: &Job) -> Running<'_> {
        let (key, terminated) = ((job.id.clone(), job.attempt), CancellationToken::new());
        self.0.running.lock().insert(key.clone(), terminated.clone());
        Running { jobs: self, key, terminated }
    }

    /// Processes a message, as far as one invocation allows.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn work(&self, message: &JobMessage) -> Result<Worked, WorkError> {
        let held = match self.claim(message).await? {
            Claimed::Ours(held) => held,
            Claimed::Left(NotTaken::HeldElsewhere) => return Err(WorkError::HeldElsewhere),
            Claimed::Left(NotTaken::Nothing) => return Ok(Worked::Nothing),
            Claimed::Left(NotTaken::Exhausted) => {
                let reason = "Every process that worked on the job stopped before it had finished a step.";
                self.fail_from_outside(&message.user_id, &message.job_id, reason).await?;
                return Ok(Worked::Done);
            }
        };
        let job = held.document();
        let run = Run::new(self.clone(), &job, held);
        let running = self.begin(&job);
        let outcome = tokio::select! {
            biased;
            () = running.terminated.cancelled() => Err(JobFault::Lost),
            kept = run.keep(self.operate(&run, &job)) => kept.unwrap_or(Err(JobFault::Lost)),
        };
        drop(running);
        let outcome = match outcome {
            Ok(finished) => run.complete(finished).await.map(|()| Worked::Done),
            Err(JobFault::Failed(reason)) => run.fail(&reason).await.map(|()| Worked::Done),
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(worked) => Ok(worked),
            Err(JobFault::Lost) => {
                info!(job.id = %job.id, job.attempt = job.attempt, "job abandoned: it was taken over or terminated");
                Ok(Worked::Lost)
            }
            Err(JobFault::HandOn) => self.hand_on(&run, &job).await,
            Err(JobFault::Failed(reason)) => {
                run.fail(&reason).await.map(|()| Worked::Done).map_err(|fault| WorkError::Failed(fault.into()))
            }
            Err(JobFault::Retry { message, cause }) => {
                warn!(job.id = %job.id, reason = message, error = %Chain(&*cause), "job failed: it will be retried");
                match run.fail_for_now(&message).await {
                    Ok(failures) if failures >= MOST_FAILURES => {
                        let reason = format!("{message} It was tried {failures} times.");
                        self.fail_from_outside(&job.user_id, &job.id, &reason).await?;
                        Ok(Worked::Done)
                    }
                    Ok(_) => Err(WorkError::Failed(cause)),
                    Err(JobFault::Lost) => Ok(Worked::Lost),
                    Err(fault) => Err(WorkError::Failed(fault.into())),
                }
            }
        }
    }

    /// Runs the kind's function with a time limit, and catches panics.
    async fn operate(&self, run: &Run, job: &Job) -> Result<Finished, JobFault> {
        let Some(kind) = self.kind(&job.name) else {
            // Possibly a kind of a newer version, which may receive the next delivery.
            return Err(JobFault::retry("This kind of job is unknown.", UnknownKind));
        };
        let work = AssertUnwindSafe((kind.operation)(run.clone(), job.input.clone())).catch_unwind();
        match tokio::time::timeout(LONGEST, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(JobFault::retry("A step ended unexpectedly.", Panicked)),
            Err(_) => Err(JobFault::retry("A step took too long.", TooSlow)),
        }
    }

    /// Claims the message's job.
    async fn claim(&self, message: &JobMessage) -> Result<Claimed<Job, NotTaken>, data::Error> {
        let leases = self.0.data.leases(&self.0.clock, self.0.config.operations.lease).renewing_every(LONGEST_PAUSE);
        let key = data::jobs::Jobs::key(&message.user_id, &message.job_id);
        leases
            .claim(key, |found: Option<Job>, standing| match found {
                // A missing job was purged.
                None => Decision::Leave(NotTaken::Nothing),
                Some(job) if job.status.is_final() => Decision::Leave(NotTaken::Nothing),
                Some(_) if matches!(standing, Standing::Held(_)) => Decision::Leave(NotTaken::HeldElsewhere),
                Some(job) if job.stalls >= MOST_STALLS => Decision::Leave(NotTaken::Exhausted),
                Some(mut job) => {
                    job.attempt += 1;
                    job.stalls += 1;
                    job.requeues = 0;
                    let detail = (job.attempt > 1).then(|| format!("attempt {}", job.attempt));
                    job.change(JobStatus::Running, detail, self.now());
                    Decision::Take(job)
                }
            })
            .await
    }

    /// Leaves the rest of a job to another invocation.
    async fn hand_on(&self, run: &Run, job: &Job) -> Result<Worked, WorkError> {
        match run.release("its next steps are queued").await {
            Ok(()) => {}
            Err(JobFault::Lost) => return Ok(Worked::Lost),
            Err(fault) => return Err(WorkError::Failed(fault.into())),
        }
        // If this fails, the current message is delivered again, which has the same effect.
        self.send(job).await.map_err(WorkError::Failed)?;
        info!(job.id = %job.id, "job handed over to another invocation");
        Ok(Worked::HandedOn)
    }

    /// Handles a message that was delivered too often. The job's own counts decide whether it fails, since deliveries
    /// are also lost to killed processes and store outages.
    ///
    /// # Errors
    /// When the store, queue or blob store fails; the message must then stay in its queue.
    pub async fn give_up(&self, message: &JobMessage) -> Result<(), WorkError> {
        let Some(job) = self.0.data.jobs.find(&message.user_id, &message.job_id).await? else { return Ok(()) };
        // If its worker dies, the sweeper requeues it.
        if job.status.is_final() || job.is_worked_on(self.now()) {
            return Ok(());
        }
        if job.failures >= MOST_FAILURES || job.stalls >= MOST_STALLS {
            let reason = "The job failed too often.";
            return Ok(self.fail_from_outside(&job.user_id, &job.id, reason).await?);
        }
        if let Some(job) = self.requeue(&job, "its message was delivered too often").await? {
            self.send(&job).await.map_err(WorkError::Failed)?;
        }
        Ok(())
    }
}
