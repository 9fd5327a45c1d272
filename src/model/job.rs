//! Long operations: what is asked for, how far it is, and what came of it.

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

/// State changes that a job remembers: the first one and the newest.
pub const MOST_CHANGES: usize = 50;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum JobStatus {
    /// A message for it is in the queue, or will be.
    Pending,
    /// A worker has it.
    Running,
    /// Done.
    Completed,
    /// It cannot be done.
    Failed,
    /// Somebody did not want it any more.
    Terminated,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Terminated];

    /// As documents and callers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Terminated => "Terminated",
        }
    }

    /// The status of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing will change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Terminated)
    }
}

/// How much of a job is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Parts that are done.
    #[serde(default)]
    pub done: u64,
    /// Parts that there are, as far as is known.
    #[serde(default)]
    pub total: u64,
    /// What is being done, for people.
    #[serde(default)]
    pub message: String,
}

/// A change of a job's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// To which status.
    pub status: JobStatus,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Something that a job wrote for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Its name among the job's outputs.
    pub path: String,
    /// Its first heading, or its file name.
    pub title: String,
    /// Its size, in bytes.
    pub size: u64,
    /// Its type, as `Content-Type` has it.
    pub media_type: String,
    /// Name of the blob that holds it. Each worker writes its own blobs, so one that lost the job spoils nothing.
    pub blob: String,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepResult {
    /// Small enough to be kept here.
    Value(Value),
    /// In the blob of this name.
    Blob(String),
}

/// A job's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// The same, where it can be found whoever's it is.
    pub job_id: JobId,
    /// Who asked for it.
    pub user_id: UserId,
    /// Its kind.
    pub name: String,
    /// How far it is.
    pub status: JobStatus,
    /// When it was asked for.
    pub created_time: Timestamp,
    /// When its status, progress or result last changed.
    pub last_updated_time: Timestamp,
    /// How much of it is done.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub custom_status: Option<Progress>,
    /// What exactly is to be done.
    #[serde(default)]
    pub input: Value,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed, in plain words.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it wrote. A blob that is not named here does not count.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub outputs: Vec<Output>,
    /// What its finished steps came to, by name.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<String, StepResult>,
    /// The worker that has it, or until when its message waits in the queue.
    #[serde(flatten)]
    pub lease: Lease,
    /// How often a worker took it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub attempt: u32,
    /// How often it was taken since a step was last finished.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub stalls: u32,
    /// How often it failed since a step was last finished.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub failures: u32,
    /// How often its message was sent again since it was last taken.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub requeues: u32,
    /// The caller's name for the request that made it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Why it was terminated, in the words of whoever did.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub terminate_reason: Option<String>,
    /// Its changes of status, the oldest first; at most [`MOST_CHANGES`].
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub history: Vec<Change>,
    /// When it and its outputs are to be deleted; only when it is final.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Timestamp>,
    /// When somebody deleted it. Nobody sees it any more; it stays until no worker can be busy with it.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub purged_at: Option<Timestamp>,
    /// Seconds from the last write until the store deletes it, should nobody else.
    #[serde(default, deserialize_with = "lenient::optional", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// Fields that this service has no name for.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Job {
    /// A job that waits in the queue.
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

    /// Whether a worker has it, and lives as far as one can know.
    pub fn is_worked_on(&self, now: Timestamp) -> bool {
        self.lease.is_live(now, LONGEST_LEASE)
    }

    /// Sets the status and remembers the change.
    pub fn change(&mut self, status: JobStatus, detail: Option<String>, now: Timestamp) {
        self.status = status;
        self.last_updated_time = now;
        if self.history.len() >= MOST_CHANGES {
            self.history.drain(1..self.history.len() + 2 - MOST_CHANGES);
        }
        self.history.push(Change { at: now, status, detail });
    }
}

/// A job as lists show it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in `Job`")]
pub struct JobSummary {
    pub id: JobId,
    pub user_id: UserId,
    pub name: String,
    pub status: JobStatus,
    pub created_time: Timestamp,
    pub last_updated_time: Timestamp,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub custom_status: Option<Progress>,
    #[serde(default)]
    pub input: Value,
    #[serde(default)]
    pub result: Option<Value>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub error: Option<String>,
}

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMessage {
    /// The job.
    pub job_id: JobId,
    /// Who asked for it: the job's partition.
    pub user_id: UserId,
}

/// Which job a caller's `Idempotency-Key` stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobKey {
    /// `key-` and a hash of the caller's key.
    pub id: String,
    /// Whose key it is.
    pub user_id: UserId,
    /// The job that it made.
    pub stands_for: JobId,
    /// Hash of what was asked for with it.
    pub request_hash: String,
    /// Seconds for which it counts.
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
