//! Errors of a database, and which of them its connections may remember.

use std::error::Error as StdError;

use rusqlite::ErrorCode;

use super::place::LogGone;
use crate::base::chain::Cause;
use crate::base::deadline::Elapsed;

/// Result of a database operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// File, disk or memory are the problem: full, locked, read-only, broken, gone. The same call may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
    /// The call cannot succeed.
    #[error("the database refused the operation")]
    Failed(#[source] Cause),
}

/// An error of work on a database.
pub trait WorkError: From<Error> + Send + 'static {
    /// Returns the cause, if the database is unavailable.
    fn outage(&self) -> Option<&(dyn StdError + Send + Sync + 'static)>;
}

/// Makes an error with the variants `Unavailable` and `Failed` one of work on a database.
macro_rules! work_error {
    ($error:ty) => {
        impl $crate::sqlite::WorkError for $error {
            fn outage(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
                if let Self::Unavailable(cause) = self { Some(&**cause) } else { None }
            }
        }

        impl From<$crate::sqlite::Error> for $error {
            fn from(error: $crate::sqlite::Error) -> Self {
                match error {
                    $crate::sqlite::Error::Unavailable(cause) => Self::Unavailable(cause),
                    $crate::sqlite::Error::Failed(cause) => Self::Failed(cause),
                }
            }
        }

        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> Self {
                $crate::sqlite::Error::from(error).into()
            }
        }
    };
}
pub(crate) use work_error;

impl WorkError for Error {
    fn outage(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        if let Self::Unavailable(cause) = self { Some(&**cause) } else { None }
    }
}

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error("the work panicked, or the database's writer has stopped")]
    Writer,
    #[error("the work panicked, or the database's readers have stopped")]
    Readers,
    #[error("the database ended the transaction")]
    Transaction,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Writer | Stopped::Readers => Self::Failed(stopped.into()),
            // As it does by itself when the disk is full or broken.
            Stopped::Transaction => Self::Unavailable(stopped.into()),
        }
    }
}

impl From<Elapsed> for Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::Unavailable(elapsed.into())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::SchemaChanged
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase,
            ) => Self::Unavailable(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

/// Whether connections may keep failing after the cause has passed. Not when the file is gone or replaced: the
/// connections are then all that keeps its data.
pub(super) fn is_remembered(cause: &(dyn StdError + Send + Sync + 'static)) -> bool {
    let code = cause.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    matches!(
        code,
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::FileLockingProtocolFailed
        )
    ) || cause.is::<LogGone>()
}
