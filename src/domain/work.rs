//! Errors of processing queue messages.

use crate::base::chain::Cause;
use crate::data::{self, lease};

/// Why a message was not processed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Another worker holds the job.
    #[error("another worker has the job")]
    HeldElsewhere,
    /// Another delivery may succeed.
    #[error("the job failed")]
    Failed(#[source] Cause),
    /// No delivery can succeed.
    #[error("the job cannot be done")]
    Permanent(#[source] Cause),
}

impl From<data::Error> for WorkError {
    fn from(error: data::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<lease::Error> for WorkError {
    fn from(error: lease::Error) -> Self {
        Self::Failed(error.into())
    }
}
