//! What interrupts the work on a job.

use crate::base::chain::Cause;
use crate::blob;
use crate::data;

/// What interrupts the work on a job.
#[derive(Debug, thiserror::Error)]
pub enum JobFault {
    /// The job was terminated or taken over; nothing more may be written.
    #[error("the job was taken over or terminated")]
    Lost,
    /// The rest is left to another invocation.
    #[error("the job continues in another invocation")]
    HandOn,
    /// Another attempt may succeed.
    #[error("{message}")]
    Retry {
        /// Error for the owner, if no other attempt succeeds.
        message: String,
        /// Underlying error, for the log.
        #[source]
        cause: Cause,
    },
    /// No attempt can succeed; the reason is for the owner.
    #[error("{0}")]
    Failed(String),
}

impl JobFault {
    /// Creates a [`JobFault::Retry`] with a message for the owner.
    pub fn retry(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Retry { message: message.into(), cause: cause.into() }
    }
}

impl From<data::Error> for JobFault {
    fn from(error: data::Error) -> Self {
        Self::retry("The database could not be read or written.", error)
    }
}

impl From<blob::Error> for JobFault {
    fn from(error: blob::Error) -> Self {
        Self::retry("A file of the job could not be read or written.", error)
    }
}

impl From<serde_json::Error> for JobFault {
    fn from(error: serde_json::Error) -> Self {
        Self::retry("A record of the job could not be read or written.", error)
    }
}
