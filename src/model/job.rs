//! Jobs: requests that run in the background, their progress and results.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ids::{JobId, UserId};
use super::lease::Lease;
use super::lenient;
use super::timestamp::Timestamp;

/// The longest lease of a worker that settings allow.
pub const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// Most status changes in a job's history: the first one and the newest.
pub const MOST_CHANGES: usize = 50;

/// Status of a job.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::IntoStaticStr, strum::EnumString,
)]
#[strum(serialize_all = "PascalCase", const_into_str)]
pub enum JobStatus {
    /// A message for the job is in the queue, or about to be.
    Pending,
    /// A worker is processing the job.
    Running,
    /// Finished successfully.
    Completed,
    /// Failed for good.
    Failed,
    /// Ended on request.
    Terminated,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Terminated];

    /// Returns the status as written in documents and answers.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Parses a status.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// Whether the status is final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Terminated)
    }
}

/// Progress of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Units of work that are done.
    #[serde(default)]
    pub done: u64,
    /// Total units of work, as far as known.
    #[serde(default)]
    pub total: u64,
    /// Description of the current work.
    #[serde(default)]
    pub message: String,
}

/// A change of status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Time of the change.
    pub at: Timestamp,
    /// The new status.
    pub status: JobStatus,
    /// Reason for the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A file that a job wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Path among the job's outputs.
    pub path: String,
    /// First heading of the file, or its name.
    pub title: String,
    /// Size in bytes.
    pub size: u64,
    /// Media type.
    pub media_type: String,
    /// Name of the blob. Each attempt writes its own blobs, so a worker that lost the job cannot overwrite any.
    pub blob: String,
}

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepResult {
    /// A small result, stored in the document.
    Value(Value),
    /// Name of the blob that holds the result.
    Blob(String),
}

/// A job's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Job id.
    pub id: JobId,
    /// Job id again, for queries across partitions.
    pub job_id: JobId,
    /// Owner of the job.
    pub user_id: UserId,
    /// Kind of job.
    pub name: String,
    /// Current status.
    pub status: JobStatus,
    /// Time of creation.
    pub created_time: Timestamp,
    /// Time of the last change of status, progress or result.
    pub last_updated_time: Timestamp,
    /// Current progress.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub custom_status: Option<Progress>,
    /// Input of the job.
    #[serde(default)]
    pub input: Value,
    /// Result of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Error message, for users.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Files that the job wrote. Blobs that are not listed here are ignored.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub outputs: Vec<Output>,
    /// Results of finished steps, by name.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, StepResult>,
    /// The worker that has it, or the time until which its message counts as queued.
    #[serde(flatten)]
    pub lease: Lease,
    /// Number of times that a worker has taken the job.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub attempt: u32,
    /// Number of attempts since the last finished step.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub stalls: u32,
    /// Number of failures since the last finished step.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub failures: u32,
    /// Number of messages sent again since the job was last taken.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub requeues: u32,
    /// The caller's `Idempotency-Key`.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Reason that was given for terminating the job.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub terminate_reason: Option<String>,
    /// Status changes, oldest first; at most [`MOST_CHANGES`].
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub history: Vec<Change>,
    /// When to delete a final job and its outputs.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Timestamp>,
    /// When the job was deleted. The document stays, invisible, until no worker can still be processing it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub purged_at: Option<Timestamp>,
    /// Seconds after the last write until the store deletes the document.
    #[serde(default, deserialize_with = "lenient::optional_whole", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Fields unknown to this service.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Job {
    /// Creates a job that waits in the queue.
    pub fn pending(
        id: JobId,
        user_id: UserId,
        name: &str,
        input: Value,
        now: Timestamp,
        waits_until: Timestamp,
    ) -> Self {
        Self {
            job_id: id.clone(),
            id,
            user_id,
            name: name.to_owned(),
            status: JobStatus::Pending,
            created_time: now,
            last_updated_time: now,
            custom_status: None,
            input,
            result: None,
            error: None,
            outputs: Vec::new(),
            steps: BTreeMap::new(),
            lease: Lease::waiting(waits_until),
            attempt: 0,
            stalls: 0,
            failures: 0,
            requeues: 0,
            idempotency_key: None,
            terminate_reason: None,
            history: vec![Change { at: now, status: JobStatus::Pending, detail: None }],
            purge_at: None,
            purged_at: None,
            ttl: None,
            other: Map::new(),
        }
    }

    /// Whether a worker holds an unexpired lease.
    pub fn is_worked_on(&self, now: Timestamp) -> bool {
        self.lease.is_live(now, LONGEST_LEASE)
    }

    /// Sets the status and appends to the history.
    pub fn change(&mut self, status: JobStatus, detail: Option<String>, now: Timestamp) {
        self.status = status;
        self.last_updated_time = now;
        if self.history.len() >= MOST_CHANGES {
            self.history.drain(1..self.history.len() + 2 - MOST_CHANGES);
        }
        self.history.push(Change { at: now, status, detail });
    }
}

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMessage {
    /// Job id.
    pub job_id: JobId,
    /// Owner of the job; its partition.
    pub user_id: UserId,
}

/// Maps a caller's `Idempotency-Key` to a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobKey {
    /// `key-` and a hash of the caller's key.
    pub id: String,
    /// Owner of the key.
    pub user_id: UserId,
    /// The job created with the key.
    pub stands_for: JobId,
    /// Hash of the request.
    pub request_hash: String,
    /// Lifetime in seconds.
    pub ttl: i64,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_first_change_and_the_newest_are_remembered() {
        let now = Timestamp::from(datetime!(2026-03-02 09:15 UTC));
        let mut job = Job::pending("j".into(), "ada".into(), "digest.run", Value::Null, now, now);
        for number in 0..120 {
            job.change(JobStatus::Running, Some(number.to_string()), now);
        }
        assert_eq!(job.history.len(), MOST_CHANGES);
        let details: Vec<_> = job.history.iter().map(|change| change.detail.as_deref()).collect();
        assert_eq!((details[0], details[1], details[49]), (None, Some("71"), Some("119")));
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let now = Timestamp::from(datetime!(2026-03-02 09:15 UTC));
        let mut job = Job::pending("j".into(), "ada".into(), "digest.run", Value::Null, now, now);
        job.steps.insert("a".to_owned(), StepResult::Value(serde_json::json!([1])));
        job.steps.insert("b".to_owned(), StepResult::Blob("jobs/j/steps/1-1.json".to_owned()));
        job.other.insert("more".to_owned(), 7.into());
        let document = serde_json::to_value(&job).unwrap();
        assert_eq!(document["steps"]["b"], serde_json::json!({"blob": "jobs/j/steps/1-1.json"}));
        let back: Job = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), document);
    }
}
