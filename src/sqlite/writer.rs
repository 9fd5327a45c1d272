//! The writing connection: transactions of many jobs, and recovery after errors.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use tracing::{error, info};

use super::error::{Error, Result, Stopped, is_remembered};
use super::group::{Failure, Job, Ran};
use super::place::{Identity, LogGone};
use super::readers::Readers;
use crate::base::chain::Chain;

/// The writing connection.
pub(super) struct Writer {
    /// `None` after a disk error, until the file can be opened again.
    pub connection: Option<Connection>,
    /// Identity of the file and its log; `None` for a database in memory.
    pub file: Option<(Arc<Readers>, Identity)>,
    /// Whether the last group failed because of an outage.
    pub is_down: bool,
}

impl Writer {
    /// Returns the connection, reopening it if necessary.
    fn connection(&mut self) -> Result<&Connection> {
        if self.connection.is_none()
            && let Some((readers, log)) = &mut self.file
        {
            readers.place.check()?;
            let connection = readers.place.open_writer()?;
            *log = readers.place.log_identity().map_err(|error| Error::Unavailable(error.into()))?;
            self.connection = Some(connection);
        }
        self.connection.as_ref().ok_or_else(|| Stopped::Writer.into())
    }

    /// Checks that commits will not be lost: file and log are still the ones that were opened.
    fn check(&self) -> Result<()> {
        let Some((readers, log)) = &self.file else { return Ok(()) };
        readers.place.check()?;
        match readers.place.log_identity() {
            Ok(found) if found == *log => Ok(()),
            Ok(_) | Err(_) => Err(Error::Unavailable(LogGone.into())),
        }
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.connection()?;
        self.check()?;
        Ok(execute(self.connection()?, "BEGIN IMMEDIATE")?)
    }

    /// Runs and commits a group; returns whether a job met an error that the connection may remember. An error means
    /// that nothing was committed.
    pub(super) fn run(&mut self, group: &mut [Box<dyn Job>]) -> Result<bool> {
        let connection = self.connection()?;
        let mut is_broken = false;
        for job in group {
            step(connection, "SAVEPOINT job")?;
            let ran = job.run(connection);
            is_broken |= ran == Ran::Broken;
            if ran != Ran::Done {
                step(connection, "ROLLBACK TO job")?;
            }
            step(connection, "RELEASE job")?;
        }
        self.check()?;
        step(self.connection()?, "COMMIT")?;
        Ok(is_broken)
    }

    /// Rolls back an open transaction, logs the beginning or end of an outage, and closes connections that may remember
    /// an error.
    pub(super) fn settle(&mut self, outcome: &Result<bool, Failure>) {
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && let Err(error) = execute(connection, "ROLLBACK")
        {
            error!(error = %Chain(&error), "a failed group of writes could not be rolled back");
        }
        let Some((readers, _)) = &self.file else { return };
        let file = readers.place.path.display();
        let is_down = outcome.as_ref().is_err_and(|failure| failure.is_outage);
        match outcome {
            Err(failure) if is_down && !self.is_down => {
                error!(%file, error = %Chain(&*failure.cause), "database is not writable");
            }
            Ok(_) if self.is_down => info!(%file, "database is writable again"),
            Ok(_) | Err(_) => {}
        }
        self.is_down = is_down;
        let is_broken = match outcome {
            Ok(is_broken) => *is_broken,
            Err(failure) => failure.is_outage && is_remembered(&*failure.cause),
        };
        if is_broken && self.connection.is_some() {
            // All together, since the connections of a process share their view of the log.
            let _closed = readers.open.write();
            readers.idle.lock().clear();
            self.connection = None;
        }
    }
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Runs a statement within a transaction, which SQLite may have ended.
fn step(connection: &Connection, statement: &str) -> Result<()> {
    match execute(connection, statement) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) && connection.is_autocommit() => {
            Err(Stopped::Transaction.into())
        }
        done => Ok(done?),
    }
}
