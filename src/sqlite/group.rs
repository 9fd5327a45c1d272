//! Group commit: callers queue work for the writer thread, which runs the queued work in one transaction and answers
//! after the commit.

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::{Error, Result, Stopped, WorkError, is_remembered};
use super::writer::Writer;

/// Sends jobs to the writer thread.
pub(super) struct Jobs(mpsc::Sender<Box<dyn Job>>);

/// Receiving end of the queue, for the writer thread.
pub(super) struct Waiting(mpsc::Receiver<Box<dyn Job>>);

impl Jobs {
    /// Creates a queue for this many jobs; when it is full, callers wait.
    pub fn with_room(room: usize) -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(room);
        (Self(sender), Waiting(receiver))
    }

    /// Whether the writer thread has ended.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Runs `work` on the writer thread and returns its result after the commit.
    pub async fn write<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        let stopped = || E::from(Stopped::Writer.into());
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), outcome: None, reply };
        self.0.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

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
    /// The changes must be undone, and the connection met a disk error that it may remember.
    Broken,
}

struct Pending<T, E, W> {
    work: Option<W>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, W> Job for Pending<T, E, W>
where
    T: Send,
    E: WorkError,
    W: FnOnce(&Connection) -> Result<T, E> + Send,
{
    fn run(&mut self, connection: &Connection) -> Ran {
        // The caller has left, so the work is skipped.
        if self.reply.is_closed() {
            return Ran::Done;
        }
        let Some(work) = self.work.take() else { return Ran::Refused };
        // A panic leaves its caller without an answer, but must not end the thread.
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

/// Runs the writer thread, with at most this many jobs per transaction, until [`Jobs`] is dropped and nothing waits.
pub(super) fn write_groups(mut writer: Writer, Waiting(mut waiting): Waiting, most: usize) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        let begun = writer.begin();
        // After `BEGIN`, which may have waited for another process: jobs queued meanwhile join this group.
        while group.len() < most
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
