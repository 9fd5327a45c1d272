//! One worker's work on one job: its steps, its progress and its outputs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use super::report::Report;
use super::{Finished, JobFault, Jobs, REPORT, directory, outputs, settle};
use crate::base::chain::Chain;
use crate::base::text;
use crate::blob::{BlobName, Span};
use crate::data;
use crate::data::lease::{self, Held, Lost};
use crate::model::ids::{JobId, UserId};
use crate::model::job::{Job, JobStatus, Output, Progress, StepResult};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;

/// Shortest time between two writes of progress.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);
/// Longest result of a step kept in the document, in bytes of JSON; longer ones become blobs.
const LONGEST_INLINE: usize = 4 * 1024;
/// Longest progress message, in characters.
const LONGEST_MESSAGE: usize = 200;

/// One attempt at a job. Cheap to clone.
#[derive(Clone)]
pub struct Run(Arc<Inner>);

struct Inner {
    jobs: Jobs,
    id: JobId,
    user: UserId,
    held: Held<Job>,
    attempt: u32,
    asked_at: Timestamp,
    begun: Instant,
    /// Number of the next blob.
    blobs: AtomicU32,
    state: Mutex<State>,
}

struct State {
    /// Results of finished steps.
    steps: BTreeMap<String, StepResult>,
    /// Whether this attempt has finished a step.
    has_advanced: bool,
    progress: Option<Progress>,
    progress_written: Instant,
    /// Outputs written since the document was last updated.
    outputs: Vec<Output>,
}

impl Run {
    pub(super) fn new(jobs: Jobs, job: &Job, held: Held<Job>) -> Self {
        let now = Instant::now();
        let state = State {
            steps: job.steps.clone(),
            has_advanced: false,
            progress: job.custom_status.clone(),
            progress_written: now,
            outputs: Vec::new(),
        };
        Self(Arc::new(Inner {
            jobs,
            id: job.id.clone(),
            user: job.user_id.clone(),
            held,
            attempt: job.attempt,
            asked_at: job.created_time,
            begun: now,
            blobs: AtomicU32::new(0),
            state: Mutex::new(state),
        }))
    }

    /// Returns the job id.
    pub fn id(&self) -> &JobId {
        &self.0.id
    }

    /// Returns the owner.
    pub fn user(&self) -> &UserId {
        &self.0.user
    }

    /// Whether there were earlier attempts.
    pub fn is_repeated(&self) -> bool {
        self.0.attempt > 1
    }

    /// Returns the time of the request.
    pub fn asked_at(&self) -> Timestamp {
        self.0.asked_at
    }

    /// Returns the URL of an output.
    pub fn output_url(&self, path: &str) -> String {
        format!("/api/jobs/{}/outputs/{path}", self.0.id)
    }

    /// Runs a step of the job, or returns its stored result if it was finished before. The name must be unique within
    /// the job. `work` may run twice, if the process dies before its result is stored.
    ///
    /// # Errors
    /// Those of `work`; [`JobFault::Lost`] when the job was terminated or taken over, [`JobFault::HandOn`] when this
    /// invocation has worked long enough.
    pub async fn step<T>(&self, name: &str, work: impl Future<Output = Result<T, JobFault>>) -> Result<T, JobFault>
    where
        T: Serialize + DeserializeOwned,
    {
        let found = self.0.state.lock().steps.get(name).cloned();
        match found {
            Some(StepResult::Value(value)) => return Ok(serde_json::from_value(value)?),
            Some(StepResult::Blob(name)) => return self.read_step(&name).await,
            None => {}
        }
        self.check().await?;
        if self.has_worked_enough() {
            return Err(JobFault::HandOn);
        }
        let value = work.await?;
        self.record(name, &value).await?;
        Ok(value)
    }

    /// Reports progress. Written at most once a second, and with every step.
    ///
    /// # Errors
    /// [`JobFault::Lost`] when the job was terminated or taken over.
    pub async fn progress(&self, done: u64, total: u64, message: &str) -> Result<(), JobFault> {
        let message = text::head(message, LONGEST_MESSAGE);
        let is_due = {
            let mut state = self.0.state.lock();
            state.progress = Some(Progress { done, total, message });
            state.progress_written.elapsed() >= PROGRESS_PAUSE
        };
        if is_due { self.edit(|_| {}).await } else { Ok(()) }
    }

    /// Checks that this attempt still holds the job; to be called before a step changes something outside of the job.
    ///
    /// # Errors
    /// [`JobFault::Lost`] when it was terminated or taken over.
    pub async fn check(&self) -> Result<(), JobFault> {
        let found = self.0.jobs.0.data.jobs.find(&self.0.user, &self.0.id).await?;
        if found.is_some_and(|job| self.0.held.is_ours(&job)) { Ok(()) } else { Err(JobFault::Lost) }
    }

    /// Writes an output. It becomes visible when the step that wrote it, or the job, is finished, and replaces one with
    /// the same name.
    ///
    /// # Errors
    /// [`JobFault::Lost`] when the job was terminated or taken over; [`JobFault::Failed`] when it is too long.
    pub async fn write_output(&self, path: &str, content: impl Into<Bytes>) -> Result<(), JobFault> {
        let output = self.put_output(path, content.into()).await?;
        self.0.state.lock().outputs.push(output);
        Ok(())
    }

    async fn put_output(&self, path: &str, content: Bytes) -> Result<Output, JobFault> {
        if content.len() > outputs::LARGEST {
            let megabytes = outputs::LARGEST / 1024 / 1024;
            return Err(JobFault::Failed(format!("The file {path} is longer than {megabytes} MiB.")));
        }
        // A write that is late nevertheless is never listed, and overwrites nothing.
        self.check().await?;
        Ok(outputs::write(&self.0.jobs, &self.0.id, &self.place(), path, content).await?)
    }

    /// Returns a unique blob name.
    fn place(&self) -> String {
        format!("{}-{}", self.0.attempt, self.0.blobs.fetch_add(1, Ordering::Relaxed))
    }

    async fn read_step<T: DeserializeOwned>(&self, blob: &str) -> Result<T, JobFault> {
        let jobs = &self.0.jobs;
        let missing = || JobFault::Failed("The result of an earlier step no longer exists.".to_owned());
        let name: BlobName = blob.parse().map_err(|_| missing())?;
        let blob = jobs.0.blobs.get(jobs.container(), &name, Span::Whole).await?.ok_or_else(missing)?;
        Ok(serde_json::from_slice(&blob.bytes().await?)?)
    }

    async fn record<T: Serialize>(&self, name: &str, value: &T) -> Result<(), JobFault> {
        let value = serde_json::to_value(value)?;
        let text = value.to_string();
        let result = if text.len() <= LONGEST_INLINE {
            StepResult::Value(value)
        } else {
            self.check().await?;
            let jobs = &self.0.jobs;
            let blob = format!("{}/steps/{}.json", directory(&self.0.id), self.place());
            let blob_name =
                blob.parse().map_err(|error| JobFault::retry("The result of a step could not be stored.", error))?;
            jobs.0.blobs.put_if_absent(jobs.container(), &blob_name, text.into(), None).await?;
            StepResult::Blob(blob)
        };
        self.edit(|job| {
            job.steps.insert(name.to_owned(), result.clone());
            (job.stalls, job.failures) = (0, 0);
        })
        .await?;
        let mut state = self.0.state.lock();
        state.steps.insert(name.to_owned(), result);
        state.has_advanced = true;
        Ok(())
    }

    /// Whether to leave the rest to another invocation. Each runs at least one step, unless the process is stopping.
    fn has_worked_enough(&self) -> bool {
        let jobs = &self.0.jobs;
        let is_over = self.0.begun.elapsed() >= jobs.0.config.operations.slice && self.0.state.lock().has_advanced;
        is_over || jobs.0.shutdown.is_cancelled()
    }

    // --- The job's document -----------------------------------------------------------------------------------------

    /// Runs `work` while this worker holds the job, and regularly writes the progress.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> Result<T, Lost> {
        self.0.held.keep_noting(|job| self.note(job), work).await
    }

    /// Copies the progress to the job.
    fn note(&self, job: &mut Job) {
        job.custom_status.clone_from(&self.0.state.lock().progress);
        job.last_updated_time = self.0.jobs.now();
    }

    /// Edits the job if this attempt holds it; also writes progress and outputs, and renews the lease.
    async fn edit(&self, mut change: impl FnMut(&mut Job)) -> Result<(), JobFault> {
        let outputs = self.0.state.lock().outputs.clone();
        let asked = Instant::now();
        let mut published = 0;
        let edited = self.0.held.edit(|job| {
            self.note(job);
            let recorded = job.steps.len();
            change(job);
            // Outputs become visible with the step that wrote them.
            if job.status.is_final() || job.steps.len() > recorded {
                outputs::publish(&mut job.outputs, outputs.clone());
                published = outputs.len();
            }
        });
        match edited.await {
            Ok(()) => {}
            Err(lease::Error::Lost) => return Err(JobFault::Lost),
            Err(lease::Error::Data(data::Error::Store(error @ crate::store::Error::TooLarge { .. }))) => {
                warn!(job.id = %self.0.id, error = %Chain(&error), "job document is too large");
                return Err(JobFault::Failed("The job's record became too long.".to_owned()));
            }
            Err(lease::Error::Data(error)) => return Err(error.into()),
        }
        let mut state = self.0.state.lock();
        state.outputs.drain(..published);
        state.progress_written = asked;
        Ok(())
    }

    /// Writes the report and completes the job.
    pub(super) async fn complete(&self, finished: Finished) -> Result<(), JobFault> {
        let Finished { result, report } = finished;
        self.write_report(&report).await?;
        let all_done =
            self.0.state.lock().progress.clone().map(|progress| Progress { done: progress.total, ..progress });
        self.edit(|job| {
            settle(job, JobStatus::Completed, None, self.0.jobs.now());
            job.result = Some(result.clone());
            job.custom_status.clone_from(&all_done);
        })
        .await
    }

    /// Writes a report and fails the job.
    pub(super) async fn fail(&self, reason: &str) -> Result<(), JobFault> {
        self.write_report(&Report::cut_short(&self.0.held.document().name, "failed", reason)).await?;
        self.edit(|job| {
            settle(job, JobStatus::Failed, Some(reason.to_owned()), self.0.jobs.now());
            job.error = Some(reason.to_owned());
        })
        .await
    }

    async fn write_report(&self, report: &Report) -> Result<(), JobFault> {
        let text = report.to_markdown(&self.0.held.document(), self.0.jobs.now());
        self.write_output(REPORT, text).await
    }

    /// Records a failure and releases the job for the next delivery. Returns the failures since the last finished step.
    pub(super) async fn fail_for_now(&self, reason: &str) -> Result<u32, JobFault> {
        let mut failures = 0;
        self.let_go(&format!("to be tried again: {reason}"), |job| {
            job.failures += 1;
            failures = job.failures;
        })
        .await?;
        Ok(failures)
    }

    /// Releases the job for another invocation.
    pub(super) async fn release(&self, why: &str) -> Result<(), JobFault> {
        self.let_go(why, |job| job.stalls = 0).await
    }

    async fn let_go(&self, why: &str, mut change: impl FnMut(&mut Job)) -> Result<(), JobFault> {
        self.edit(|job| {
            let now = self.0.jobs.now();
            change(job);
            job.change(JobStatus::Pending, Some(why.to_owned()), now);
            job.lease = Lease::waiting(now + self.0.jobs.queue_lease());
        })
        .await
    }
}
