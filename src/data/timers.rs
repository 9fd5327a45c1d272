//! State of timers: one document each, in the container of jobs.

use std::sync::Arc;
use std::time::Duration;

use super::lease::Leased;
use super::{Result, records};
use crate::model::lease::Lease;
use crate::model::timer::TimerState;
use crate::store::{Container, DocumentStore, Key};

/// Partition of data that belongs to the service itself.
pub const PARTITION: &str = "system";

/// The longest lease of a timer.
const LONGEST_LEASE: Duration = Duration::from_secs(60);

impl Leased for TimerState {
    const LONGEST: Duration = LONGEST_LEASE;

    fn lease(&self) -> Lease {
        Lease::from_parts(self.owner.clone(), self.lease_expires_at)
    }

    fn set_lease(&mut self, lease: Lease) {
        self.owner = lease.owner().map(str::to_owned);
        self.lease_expires_at = lease.expires_at();
    }
}

/// State of all timers.
#[derive(Clone)]
pub struct Timers(pub(super) Arc<dyn DocumentStore>);

impl Timers {
    /// Builds the id of a function's document.
    pub fn id(function: &str) -> String {
        format!("timer-{function}")
    }

    /// Finds the state of a function's timer.
    ///
    /// # Errors
    /// When the store fails or the document is invalid.
    pub async fn find(&self, function: &str) -> Result<Option<TimerState>> {
        records::find_valid(&*self.0, &Self::key(function)).await
    }

    /// Returns the key of a function's document.
    pub fn key(function: &str) -> Key {
        Key::new(Container::Jobs, PARTITION, Self::id(function))
    }
}
