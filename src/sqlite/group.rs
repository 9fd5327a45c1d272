//! Group commit: the writer thread runs the jobs that wait in one transaction, and answers after the commit.

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::{Error, Result, WorkError, is_remembered};
use super::writer::Writer;

/// Most jobs per transaction. Bounds what a failed commit affects, and how long the first job waits.
const GROUP: usize = 256;

/// Work with a waiting caller.
pub(super) trait Job: Send {
    /// Does the work and keeps its result for [`Job::answer`].
    fn run(&mut self, connection: &Connection) -> Ran;

    /// Sends the result to the caller, or the failure of the whole group.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

/// Outcome of a [`Job`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// Commit the changes.
    Done,
    /// Roll the changes back.
    Refused,
    /// Its changes must be undone, and the connection met a disk error that it may remember.
    Broken,
}

pub(super) struct Pending<T, E, W> {
    pub work: Option<W>,
    pub outcome: Option<Result<T, E>>,
    pub reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, W> Job for Pending<T, E, W>
where
    T: Send,
    E: WorkError,
    W: FnOnce(&Connection) -> Result<T, E> + Send,
{
    fn run(&mut self, connection: &Connection) -> Ran {
        // A caller who has left does not need the work done.
        if self.reply.is_closed() {
            return Ran::Done;
        }
        let Some(work) = self.work.take() else { return Ran::Refused };
        // Work that panics gets no answer, and leaves the thread to the others'.
        self.outcome = catch_unwind(AssertUnwindSafe(|| work(connection))).ok();
        match &self.outcome {
            Some(Ok(_)) => Ran::Done,
            Some(Err(error)) if error.outage().is_some_and(is_remembered) => Ran::Broken,
            Some(Err(_)) | None => Ran::Refused,
        }
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let answer = failure.map(|failure| Err(failure.into())).or(self.outcome);
        if let Some(answer) = answer {
            // The caller may have left meanwhile; the work stays done.
            drop(self.reply.send(answer));
        }
    }
}

/// Why a group of jobs failed; each job gets a copy.
#[derive(Clone)]
pub(super) struct Failure {
    pub is_outage: bool,
    pub cause: Arc<dyn StdError + Send + Sync>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(cause) => Self { is_outage: true, cause: cause.into() },
            Error::Failed(cause) => Self { is_outage: false, cause: cause.into() },
        }
    }
}

impl From<Failure> for Error {
    fn from(Failure { is_outage, cause }: Failure) -> Self {
        if is_outage { Self::Unavailable(cause.into()) } else { Self::Failed(cause.into()) }
    }
}

/// Runs the writer thread until the engine is dropped and nothing waits.
pub(super) fn write_groups(mut writer: Writer, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        let begun = writer.begin();
        // Only now: beginning may have waited for another process, and who came meanwhile should not wait again.
        while group.len() < GROUP
            && let Ok(job) = waiting.try_recv()
        {
            group.push(job);
        }
        let outcome = begun.and_then(|()| writer.run(&mut group)).map_err(Failure::from);
        writer.settle(&outcome);
        for job in group {
            job.answer(outcome.as_ref().err().cloned().map(Error::from));
        }
    }
}
