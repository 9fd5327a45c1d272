//! Long operations: accepted at once and run by workers; clients poll them and read the results afterwards.
//!
//! Each is a job: a document with its progress, and a message that starts a worker. The document is written first and
//! has a lease. If the lease expires, the message was lost or the worker died, and [`Jobs::sweep`] queues the job
//! again.
//!
//! A worker holds a job as long as it holds the document's lease ([`crate::data::lease`]). Every write of a worker is a
//! compare-and-swap that checks the lease, so a worker whose lease has expired, or whose job was terminated, can no
//! longer write. Blobs cannot be checked like that. So each attempt writes its own blobs, each once, and only those
//! named in the document count: blobs of a late worker are never visible, and are deleted with the job.
//!
//! Kinds of job are values ([`JobKind`]): a name, an input type and a function over [`Run::step`]s. Results of finished
//! steps are stored, so a worker that continues a job does not repeat them. It repeats the interrupted step, so steps
//! must be idempotent.

mod accept;
mod fault;
pub mod kinds;
mod outputs;
mod report;
mod run;
mod sweep;
mod work;

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

pub use self::fault::JobFault;
pub use self::outputs::{BadPath, OutputPath, natural_order};
pub use self::report::{Link, Report, Trouble};
pub use self::run::Run;
pub use self::work::Worked;
use crate::base::chain::Cause;
use crate::blob::{self, Blob, BlobName, ContainerName, Span};
use crate::data;
use crate::data::update::Edit;
use crate::domain::backlog::Backlog;
use crate::domain::base::Base;
use crate::domain::budget::{Budget, BudgetExceeded};
use crate::domain::work::WorkError;
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobMessage, JobStatus, Output};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::queue::QueueMessage;

/// How long a final job and its outputs are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Lifetime of a final job's document in the store; longer, so that its outputs are deleted first.
const KEPT_SECONDS: i64 = 8 * 24 * 60 * 60;
/// Number of leases after which a message in the queue is considered lost.
const LEASES_IN_QUEUE: u32 = 4;
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
    #[error("the day's token budget is used up")]
    OverBudget(BudgetExceeded),
}

/// Outcome of a finished job.
#[derive(Debug)]
pub struct Finished {
    /// Result for programs; small.
    pub result: Value,
    /// Report for people.
    pub report: Report,
}

type Operation = dyn Fn(Run, Value) -> BoxFuture<'static, Result<Finished, JobFault>> + Send + Sync;

/// A kind of job.
#[derive(Clone)]
pub struct JobKind {
    /// Name of the kind.
    pub name: &'static str,
    /// Whether only administrators may start it.
    pub is_for_admins: bool,
    /// Whether its model calls are charged to the owner.
    pub is_paid_by_owner: bool,
    operation: Arc<Operation>,
}

impl JobKind {
    /// Creates a kind whose input is an `I`.
    pub fn new<I, F>(
        name: &'static str,
        is_for_admins: bool,
        work: impl Fn(Run, I) -> F + Send + Sync + 'static,
    ) -> Self
    where
        I: DeserializeOwned,
        F: Future<Output = Result<Finished, JobFault>> + Send + 'static,
    {
        let operation = move |run: Run, input: Value| match serde_json::from_value(input) {
            Ok(input) => work(run, input).boxed(),
            Err(_) => {
                let fault = JobFault::Failed("The job's input is not what this kind of job takes.".to_owned());
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

impl From<Error> for WorkError {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Accepts, runs and manages jobs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    budget: Budget,
    backlog: Backlog,
    kinds: Vec<JobKind>,
    /// Running jobs of this process, by job and attempt, with a token to stop each.
    running: Mutex<HashMap<(JobId, u32), CancellationToken>>,
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
    pub fn new(base: Arc<Base>, budget: Budget, backlog: Backlog, kinds: Vec<JobKind>) -> Self {
        Self(Arc::new(Inner { base, budget, backlog, kinds, running: Mutex::default() }))
    }

    fn container(&self) -> &ContainerName {
        &self.0.config.storage.jobs_container
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// Returns the first lease of a message in the queue.
    fn queue_lease(&self) -> Duration {
        self.0.config.operations.lease * LEASES_IN_QUEUE
    }

    /// Finds a kind by name.
    pub fn kind(&self, name: &str) -> Option<&JobKind> {
        self.0.kinds.iter().find(|kind| kind.name == name)
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
            // The lease stays: it tells how long a worker may still be busy.
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
            // A worker in another process notices at its next write.
            self.0.running.lock().iter().filter(|((job, _), _)| job == id).for_each(|(_, worker)| worker.cancel());
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
}

/// Makes a job final.
fn settle(job: &mut Job, status: JobStatus, detail: Option<String>, now: Timestamp) {
    job.change(status, detail, now);
    job.lease = Lease::default();
    job.purge_at = Some(now + KEPT);
    job.ttl = Some(KEPT_SECONDS);
    // Not needed by a final job.
    job.steps.clear();
}

/// Returns the prefix of a job's blobs.
fn directory(id: &JobId) -> String {
    format!("jobs/{id}")
}
