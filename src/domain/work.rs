//! Errors of processing queue messages, and of sweeps that look for lost work.

use std::error::Error as StdError;
use std::fmt::Display;

use tracing::warn;

use crate::base::chain::{Cause, Chain};
use crate::blob;
use crate::data::{self, lease};
use crate::queue;
use crate::store;

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

/// Failures of a sweep. Its items are independent, so one that fails is logged and the others are still handled. When a
/// back end is unavailable, the sweep ends, because each further item would wait for it in vain.
#[derive(Debug)]
pub struct Failures<E>(Option<E>);

impl<E: StdError + 'static> Failures<E> {
    /// Creates an empty collection.
    pub fn none() -> Self {
        Self(None)
    }

    /// Logs that an item failed, and goes on.
    ///
    /// # Errors
    /// The failure itself when a back end is unavailable.
    pub fn pass_over(&mut self, item: impl Display, error: E) -> Result<(), E> {
        if is_outage(&error) {
            return Err(error);
        }
        warn!(item.id = %item, error = %Chain(&error), "item of a sweep not handled");
        self.0 = Some(error);
        Ok(())
    }

    /// Ends the sweep.
    ///
    /// # Errors
    /// The last failure of an item.
    pub fn into_result(self) -> Result<(), E> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Whether the error or one of its causes is an outage of a back end.
fn is_outage(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(store::Error::Unavailable(_)))
        || matches!(error.downcast_ref(), Some(queue::Error::Unavailable(_)))
        || matches!(error.downcast_ref(), Some(blob::Error::Unavailable(_)))
        || error.source().is_some_and(is_outage)
}
