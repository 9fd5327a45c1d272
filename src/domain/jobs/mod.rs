//! Long operations: accepted at once, done by workers, asked about meanwhile, with results to read afterwards.
//!
//! Each is a job: a document that says how far it is, and a message that starts a worker. The document comes first and has
//! a lease; when that runs out and nothing has happened, the message was lost or the worker died, and [`Jobs::sweep`]
//! queues the job again.
//!
//! A worker has a job as long as it has the document's lease ([`crate::data::lease`]). Every write of a worker is a
//! compare-and-swap that checks this, so one that slept past its lease finds that it may not write, and so does one whose
//! job was terminated. Blobs cannot be checked like that. So each attempt has blobs of its own, never written twice, and
//! only those count that the document names: what a late worker leaves is never seen, and deleted with the job.
//!
//! Kinds of job are values ([`Kind`]): a name, an input type and a function over [`Run::step`]s. What a step came to is
//! kept, so whoever goes on with a job repeats no step that was finished. The step that was cut off is done again: each
//! must be harmless twice.

pub mod kinds;
mod outputs;
mod report;
mod run;

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

pub use self::outputs::{BadPath, OutputPath, natural_order};
pub use self::report::{Link, Report, Trouble};
pub use self::run::Run;
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex;
use crate::blob::{self, Blob, BlobName, ContainerName, Span};
use crate::data;
use crate::data::lease::{Claimed, Decision, Standing};
use crate::data::update::Edit;
use crate::domain::backlog::{Backlog, Work};
use crate::domain::base::Base;
use crate::domain::budget::{Budget, BudgetExceeded};
use crate::domain::work::{Cause, WorkError};
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobMessage, JobStatus, Output};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::queue::QueueMessage;

/// How long an idempotency key stands for the same job.
const KEY_SECONDS: i64 = 24 * 60 * 60;
/// How long a final job and its outputs are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Lifetime of a final job's document in the store; longer, so that its outputs are deleted first.
const KEPT_SECONDS: i64 = 8 * 24 * 60 * 60;
/// Number of leases after which a message in the queue is considered lost.
const LEASES_IN_QUEUE: u32 = 4;
/// Failures without a finished step after which a job fails for good; as many as the Functions host's deliveries.
const MOST_FAILURES: u32 = 5;
/// Attempts without a finished step after which a job fails for good, since a job may crash its process.
const MOST_STALLS: u32 = 10;
/// Times that a lost message is sent again before the job fails for good.
const MOST_REQUEUES: u32 = 8;
/// Most jobs per sweep, of each kind of leftover.
const SWEPT: usize = 200;
/// Blobs listed, and deleted concurrently, when a job is purged.
const LISTED: usize = 1000;
const DELETED_AT_ONCE: usize = 8;
/// Attempts to accept a job while its key is in use, or has just expired.
const ACCEPT_TRIES: usize = 8;
/// The longest time between two renewals of a lease: with each one a worker learns whether its job was terminated from
/// another process.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time that a worker spends on a job per invocation; below the limit of functions (9 min), so that the outcome
/// is recorded.
const LONGEST: Duration = Duration::from_secs(8 * 60 + 30);
/// Name of the report that every job writes.
pub const REPORT: &str = "index.md";

/// Why a job was not accepted or not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the job's document could not be read or written")]
    Data(#[from] data::Error),
    /// The blob store failed.
    #[error("the job's files could not be read or written")]
    Blobs(#[from] blob::Error),
    /// A message cannot be serialized; a bug.
    #[error("the job's message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// The user has the most waiting jobs allowed.
    #[error("the user has too many waiting jobs")]
    BacklogFull,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The owner, who pays for the model, has no tokens left.
    #[error("the day's tokens are spent")]
    OverBudget(BudgetExceeded),
}

/// What interrupts the work on a job.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The job was terminated or taken over; nothing more may be written.
    #[error("the job was taken over or terminated")]
    Lost,
    /// The rest is left to another invocation.
    #[error("the job continues in another invocation")]
    HandOn,
    /// Another attempt may succeed.
    #[error("{message}")]
    Retry {
        /// Error for the owner, if no other attempt succeeds.
        message: String,
        /// Underlying error, for the log.
        #[source]
        cause: Cause,
    },
    /// No attempt can succeed; the reason is for the owner.
    #[error("{0}")]
    Failed(String),
}

impl Fault {
    /// Creates a [`Fault::Retry`] with a message for the owner.
    pub fn retry(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Retry { message: message.into(), cause: cause.into() }
    }
}

impl From<data::Error> for Fault {
    fn from(error: data::Error) -> Self {
        Self::retry("The database could not be read or written.", error)
    }
}

impl From<blob::Error> for Fault {
    fn from(error: blob::Error) -> Self {
        Self::retry("A file of the job could not be read or written.", error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::retry("A record of the job could not be read or written.", error)
    }
}

/// The work exceeded the time limit of an invocation.
#[derive(Debug, thiserror::Error)]
#[error("the step did not end within {} s", LONGEST.as_secs())]
struct TooSlow;

#[derive(Debug, thiserror::Error)]
#[error("the step panicked")]
struct Panicked;

#[derive(Debug, thiserror::Error)]
#[error("this version of the service has no such kind of job")]
struct UnknownKind;

/// Outcome of a finished job.
#[derive(Debug)]
pub struct Finished {
    /// Result for programs; small.
    pub result: Value,
    /// Report for people.
    pub report: Report,
}

type Operation = dyn Fn(Run, Value) -> BoxFuture<'static, Result<Finished, Fault>> + Send + Sync;

/// A kind of job.
#[derive(Clone)]
pub struct Kind {
    /// Name of the kind.
    pub name: &'static str,
    /// Whether only administrators may start it.
    pub is_for_admins: bool,
    /// Whether its model calls are charged to the owner.
    pub is_paid_by_owner: bool,
    operation: Arc<Operation>,
}

impl Kind {
    /// Creates a kind whose input is an `I`.
    pub fn new<I, F>(
        name: &'static str,
        is_for_admins: bool,
        work: impl Fn(Run, I) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned,
        F: Future<Output = Result<Finished, Fault>> + Send + 'static,
    {
        let operation = move |run: Run, input: Value| match serde_json::from_value(input) {
            Ok(input) => work(run, input).boxed(),
            Err(_) => {
                let fault = Fault::Failed("The job's input is not what this kind of job takes.".to_owned());
                std::future::ready(Err(fault)).boxed()
            }
        };
        Self { name, is_for_admins, is_paid_by_owner: false, operation: Arc::new(operation) }
    }

    /// Charges model calls to the owner, who needs tokens to start a job.
    pub fn paid_by_owner(self) -> Self {
        Self { is_paid_by_owner: true, ..self }
    }
}

/// Outcome of terminating or purging a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Done.
    Done,
    /// The job's status does not allow it.
    Refused,
    /// The job does not exist.
    Missing,
}

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

impl From<Error> for WorkError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
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

/// Accepts, runs and manages jobs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    budget: Budget,
    backlog: Backlog,
    kinds: Vec<Kind>,
    /// Running jobs of this process, by job and attempt, with a token to stop each.
    running: Mutex<HashMap<(JobId, u32), CancellationToken>>,
}

/// A running job of this process, until dropped.
struct Running<'a> {
    jobs: &'a Jobs,
    key: (JobId, u32),
    terminated: CancellationToken,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.jobs.running().remove(&self.key);
    }
}

impl Deref for Inner {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl QueueMessage for JobMessage {
    fn check(&self) -> Result<(), String> {
        let is_job = data::jobs::Jobs::is_valid_id(&self.job_id) && !self.user_id.as_str().is_empty();
        if is_job { Ok(()) } else { Err("the message does not name a job".to_owned()) }
    }
}

impl Jobs {
    /// Creates the service with these kinds of jobs.
    pub fn new(base: Arc<Base>, budget: Budget, backlog: Backlog, kinds: Vec<Kind>) -> Self {
        Self(Arc::new(Inner { base, budget, backlog, kinds, running: Mutex::default() }))
    }

    fn container(&self) -> &ContainerName {
        &self.0.config.storage.jobs_container
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(JobId, u32), CancellationToken>> {
        self.0.running.lock()
    }

    fn begin(&self, job: &Job) -> Running<'_> {
        let (key, terminated) = ((job.id.clone(), job.attempt), CancellationToken::new());
        self.running().insert(key.clone(), terminated.clone());
        Running { jobs: self, key, terminated }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// Returns the first lease of a message in the queue.
    fn queue_lease(&self) -> Duration {
        self.0.config.operations.lease * LEASES_IN_QUEUE
    }

    /// Finds a kind by name.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.0.kinds.iter().find(|kind| kind.name == name)
    }

    // --- For callers ------------------------------------------------------------------------------------------------

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
            // A request that is repeated costs nothing.
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
            // Somebody else has used the key meanwhile.
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

    /// Finds a job of the user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, user: &UserId, id: &JobId) -> Result<Option<Job>, data::Error> {
        Ok(self.0.data.jobs.find(user, id).await?.filter(|job| job.purged_at.is_none()))
    }

    /// Finds a job of any user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_for_any_user(&self, id: &JobId) -> Result<Option<Job>, data::Error> {
        Ok(self.0.data.jobs.find_for_any_user(id).await?.filter(|job| job.purged_at.is_none()))
    }

    /// Terminates a job. Its worker notices at its next write, which fails.
    ///
    /// # Errors
    /// When the store or blob store fails.
    pub async fn terminate(&self, user: &UserId, id: &JobId, reason: Option<&str>) -> Result<Changed, Error> {
        let Some(job) = self.find(user, id).await? else { return Ok(Changed::Missing) };
        if job.status.is_final() {
            return Ok(Changed::Refused);
        }
        let now = self.now();
        let report = Report::cut_short(&job.name, "was terminated", reason.unwrap_or("No reason was given."));
        let report = self.write_from_outside(id, report.to_markdown(&job, now)).await?;
        let terminated = self.0.data.jobs.edit(user, id, |mut job| {
            if job.purged_at.is_some() {
                return Edit::Keep(Changed::Missing);
            }
            if job.status.is_final() {
                return Edit::Keep(Changed::Refused);
            }
            // The lease stays: it tells for how long somebody may still be busy.
            let lease = if job.is_worked_on(now) { job.lease.clone() } else { Lease::default() };
            settle(&mut job, JobStatus::Terminated, reason.map(str::to_owned), now);
            job.lease = lease;
            job.terminate_reason = reason.map(str::to_owned);
            outputs::publish(&mut job.outputs, vec![report.clone()]);
            Edit::Save(job, Changed::Done)
        });
        let changed = terminated.await?.unwrap_or(Changed::Missing);
        if changed == Changed::Done {
            info!(job.id = %id, "job terminated");
            // A worker in another process finds out by itself.
            self.running().iter().filter(|((job, _), _)| job == id).for_each(|(_, worker)| worker.cancel());
        }
        Ok(changed)
    }

    /// Deletes a final job and its outputs, which become invisible at once. If a worker may still be processing a
    /// terminated job, the sweeper deletes the data later.
    ///
    /// # Errors
    /// When the store or blob store fails; the sweeper then completes the deletion.
    pub async fn purge(&self, user: &UserId, id: &JobId) -> Result<Changed, Error> {
        let now = self.now();
        let hidden = self.0.data.jobs.edit(user, id, |mut job| {
            if job.purged_at.is_some() {
                return Edit::Keep((Changed::Missing, false));
            }
            if !job.status.is_final() {
                return Edit::Keep((Changed::Refused, false));
            }
            let is_free = !job.is_worked_on(now);
            job.purged_at = Some(now);
            job.purge_at = if is_free { Some(now) } else { job.lease.expires_at() };
            (job.input, job.result, job.error) = (Value::Null, None, None);
            Edit::Save(job, (Changed::Done, is_free))
        });
        let (changed, is_free) = hidden.await?.unwrap_or((Changed::Missing, false));
        if is_free {
            self.erase(user, id).await?;
        }
        Ok(changed)
    }

    /// Opens an output of a job.
    ///
    /// # Errors
    /// When the blob store fails.
    pub async fn open_output(&self, job: &Job, path: &OutputPath) -> Result<Option<(Output, Blob)>, Error> {
        let Some(output) = job.outputs.iter().find(|output| output.path == path.as_str()) else { return Ok(None) };
        let Ok(name) = output.blob.parse::<BlobName>() else { return Ok(None) };
        let blob = self.0.blobs.get(self.container(), &name, Span::Whole).await?;
        Ok(blob.map(|blob| (output.clone(), blob)))
    }

    // --- For workers ------------------------------------------------------------------------------------------------

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
                let reason = "Every process that worked on it was cut off before a step was done.";
                self.fail_from_outside(&message.user_id, &message.job_id, reason).await?;
                return Ok(Worked::Done);
            }
        };
        let job = held.document();
        let run = Run::new(self.clone(), &job, held);
        let running = self.begin(&job);
        let outcome = tokio::select! {
            biased;
            () = running.terminated.cancelled() => Err(Fault::Lost),
            kept = run.keep(self.operate(&run, &job)) => kept.unwrap_or(Err(Fault::Lost)),
        };
        drop(running);
        let outcome = match outcome {
            Ok(finished) => run.complete(finished).await.map(|()| Worked::Done),
            Err(Fault::Failed(reason)) => run.fail(&reason).await.map(|()| Worked::Done),
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(worked) => Ok(worked),
            Err(Fault::Lost) => {
                info!(job.id = %job.id, job.attempt = job.attempt, "job abandoned: it was taken over or terminated");
                Ok(Worked::Lost)
            }
            Err(Fault::HandOn) => self.hand_on(&run, &job).await,
            Err(Fault::Failed(reason)) => {
                run.fail(&reason).await.map(|()| Worked::Done).map_err(|fault| WorkError::Failed(fault.into()))
            }
            Err(Fault::Retry { message, cause }) => {
                warn!(job.id = %job.id, message, error = %Chain(&*cause), "job failed for now");
                match run.fail_for_now(&message).await {
                    Ok(failures) if failures >= MOST_FAILURES => {
                        let reason = format!("{message} It was tried {failures} times.");
                        self.fail_from_outside(&job.user_id, &job.id, &reason).await?;
                        Ok(Worked::Done)
                    }
                    Ok(_) => Err(WorkError::Failed(cause)),
                    Err(Fault::Lost) => Ok(Worked::Lost),
                    Err(fault) => Err(WorkError::Failed(fault.into())),
                }
            }
        }
    }

    /// Runs the kind's function with a time limit, and catches panics.
    async fn operate(&self, run: &Run, job: &Job) -> Result<Finished, Fault> {
        let Some(kind) = self.kind(&job.name) else {
            // Of a newer version perhaps, which may get it the next time.
            return Err(Fault::retry("This kind of job is not known.", UnknownKind));
        };
        let work = AssertUnwindSafe((kind.operation)(run.clone(), job.input.clone())).catch_unwind();
        match tokio::time::timeout(LONGEST, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err(Fault::retry("A step ended unexpectedly.", Panicked)),
            Err(_) => Err(Fault::retry("A step took too long.", TooSlow)),
        }
    }

    /// Claims the message's job.
    async fn claim(&self, message: &JobMessage) -> Result<Claimed<Job, NotTaken>, data::Error> {
        let leases = self.0.data.leases(&self.0.clock, self.0.config.operations.lease).renewing_every(LONGEST_PAUSE);
        let key = data::jobs::Jobs::key(&message.user_id, &message.job_id);
        leases
            .claim(key, |found: Option<Job>, standing| match found {
                // A job that is not there was purged.
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
            Err(Fault::Lost) => return Ok(Worked::Lost),
            Err(fault) => return Err(WorkError::Failed(fault.into())),
        }
        // If this fails the message that we have comes back, which serves as well.
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
        // Should the worker that has it die, the sweeper sees to it.
        if job.status.is_final() || job.is_worked_on(self.now()) {
            return Ok(());
        }
        if job.failures >= MOST_FAILURES || job.stalls >= MOST_STALLS {
            let reason = "It was tried too often without success.";
            return Ok(self.fail_from_outside(&job.user_id, &job.id, reason).await?);
        }
        if let Some(job) = self.requeue(&job, "its message was delivered too often").await? {
            self.send(&job).await.map_err(WorkError::Failed)?;
        }
        Ok(())
    }

    // --- For the sweeper --------------------------------------------------------------------------------------------

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
        let Some(job) = self.requeue(stale, "nothing was heard of it").await? else { return Ok(false) };
        if job.requeues > MOST_REQUEUES {
            let reason = format!("It was queued {MOST_REQUEUES} times more and no worker took it.");
            self.fail_from_outside(&job.user_id, &job.id, &reason).await?;
            return Ok(false);
        }
        self.send(&job).await.map_err(WorkError::Failed)?;
        Ok(true)
    }

    /// Puts a job back into the queue, unless a worker holds it or it is final. If the first message is only late, a
    /// second one is harmless; so that a long queue does not grow, the lease doubles each time.
    async fn requeue(&self, found: &Job, why: &str) -> Result<Option<Job>, data::Error> {
        let now = self.now();
        let requeued = self.0.data.jobs.edit(&found.user_id, &found.id, |mut job| {
            // Changed since it was found: somebody else has seen to it.
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
    async fn erase(&self, user: &UserId, id: &JobId) -> Result<(), Error> {
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

    // --- Shared -----------------------------------------------------------------------------------------------------

    /// Marks a job that no worker holds as failed.
    async fn fail_from_outside(&self, user: &UserId, id: &JobId, reason: &str) -> Result<(), Error> {
        let Some(job) = self.find(user, id).await? else { return Ok(()) };
        let now = self.now();
        let text = Report::cut_short(&job.name, "failed", reason).to_markdown(&job, now);
        let report = self.write_from_outside(id, text).await?;
        let failed = self.0.data.jobs.edit(user, id, |mut job| {
            if job.status.is_final() || job.is_worked_on(now) {
                return Edit::Keep(false);
            }
            settle(&mut job, JobStatus::Failed, Some(reason.to_owned()), now);
            job.error = Some(reason.to_owned());
            outputs::publish(&mut job.outputs, vec![report.clone()]);
            Edit::Save(job, true)
        });
        if failed.await? == Some(true) {
            warn!(job.id = %id, reason, "job given up");
        }
        Ok(())
    }

    /// Saves a report outside of an attempt.
    async fn write_from_outside(&self, id: &JobId, report: String) -> Result<Output, blob::Error> {
        let place = Uuid::new_v4().simple().to_string();
        outputs::write(self, id, &place, REPORT, report.into()).await
    }

    async fn send(&self, job: &Job) -> Result<(), Cause> {
        let message = JobMessage { job_id: job.id.clone(), user_id: job.user_id.clone() };
        let text = serde_json::to_string(&message)?;
        Ok(self.0.queue.send_for(&self.0.config.queues.operations.work, job.user_id.as_str(), &text).await?)
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

/// Makes a job final.
fn settle(job: &mut Job, status: JobStatus, detail: Option<String>, now: Timestamp) {
    job.change(status, detail, now);
    job.lease = Lease::default();
    job.purge_at = Some(now + KEPT);
    job.ttl = Some(KEPT_SECONDS);
    // Nobody goes on from them any more.
    job.steps.clear();
}

/// Returns the prefix of a job's blobs.
fn directory(id: &JobId) -> String {
    format!("jobs/{id}")
}
