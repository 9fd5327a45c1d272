//! Calls of the SDK with a time limit, and what their failures mean.

use std::future::Future;
use std::time::Duration;

use azure_core::error::ErrorKind;

use crate::base::chain::Cause;
use crate::base::deadline::{self, Elapsed};
use crate::base::outage;

/// Why a call failed.
pub enum CallError {
    /// The service did not answer in time.
    TimedOut(Elapsed),
    /// The service or the connection failed.
    Refused(azure_core::Error),
    /// The answer is invalid.
    Broken(Cause),
}

/// An invalid answer of the service.
#[derive(Debug, thiserror::Error)]
#[error("the answer lacks {0}")]
struct Lacks(&'static str);

impl CallError {
    /// Creates the error for an answer without a required value.
    pub fn lacks(what: &'static str) -> Self {
        Self::Broken(Lacks(what).into())
    }

    /// Converts the error with `unavailable` if the same call may succeed later, else with `failed`. `deleting` is the
    /// code with which the service answers for half a minute after a container or queue was deleted.
    pub fn convert<E>(self, deleting: &str, unavailable: fn(Cause) -> E, failed: fn(Cause) -> E) -> E {
        match self {
            Self::TimedOut(elapsed) => unavailable(elapsed.into()),
            Self::Refused(error) if is_outage(&error) || has_code(&error, deleting) => unavailable(error.into()),
            Self::Refused(error) => failed(error.into()),
            Self::Broken(cause) => failed(cause),
        }
    }
}

/// Makes a call with a time limit; the SDK alone would retry for minutes.
pub async fn call<T>(limit: Duration, call: impl Future<Output = azure_core::Result<T>>) -> Result<T, CallError> {
    // On the heap: the SDK's futures are large.
    let answer = deadline::within(limit, Box::pin(call)).await;
    answer.map_err(CallError::TimedOut)?.map_err(CallError::Refused)
}

/// Whether the service answered with this error code.
pub fn has_code(error: &azure_core::Error, code: &str) -> bool {
    matches!(error.kind(), ErrorKind::HttpResponse { error_code: Some(given), .. } if given == code)
}

fn is_outage(error: &azure_core::Error) -> bool {
    match error.kind() {
        ErrorKind::HttpResponse { status, .. } => outage::of_status((*status).into()),
        ErrorKind::Connection | ErrorKind::Io | ErrorKind::Credential => true,
        _ => false,
    }
}
