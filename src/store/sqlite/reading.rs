//! Reads that can be interrupted.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

use crate::store::{Error, Result};

/// A query exceeded its time limit.
#[derive(Debug, thiserror::Error)]
#[error("the query took too long")]
pub(super) struct TooLong;

/// A read that can be interrupted while it runs.
#[derive(Clone, Default)]
pub(super) struct Reading(Arc<Mutex<ReadingState>>);

#[derive(Default)]
struct ReadingState {
    /// Handle of the connection, while it reads.
    interrupt: Option<InterruptHandle>,
    has_ended: bool,
}

impl Reading {
    pub(super) fn run<T>(&self, connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut state = self.0.lock();
        if state.has_ended {
            return Err(Error::Unavailable(TooLong.into()));
        }
        state.interrupt = Some(connection.get_interrupt_handle());
        drop(state);
        let outcome = work(connection);
        let mut state = self.0.lock();
        // From now on another read may use the connection.
        state.interrupt = None;
        if state.has_ended { outcome.map_err(|_| Error::Unavailable(TooLong.into())) } else { outcome }
    }

    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        if let Some(interrupt) = &state.interrupt {
            interrupt.interrupt();
        }
    }
}

pub(super) struct EndOnDrop(pub(super) Reading);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
