//! Weekly digests.

use std::time::Duration;

use super::reader::{Error, Reader};
use crate::model::schedule;
use crate::model::schedule::Schedule;

/// Weekly digests.
#[derive(Debug, Clone)]
pub struct Digest {
    /// When to queue all users.
    pub schedule: Schedule,
    /// Users of a batch processed concurrently.
    pub concurrency: usize,
    /// Lease of a user's week, and of the queueing.
    pub lease: Duration,
}

impl Digest {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let monday_morning: Schedule = "0 0 9 * * 1".parse().expect("the default is a schedule");
        Ok(Digest {
            schedule: reader.parsed("WEEKLY_DIGEST_SCHEDULE", monday_morning, schedule::EXPECTED)?,
            concurrency: reader.number("WEEKLY_DIGEST_MAX_CONCURRENCY", 6, 1, 64)?,
            lease: Duration::from_secs(reader.number("WEEKLY_DIGEST_LEASE_SECONDS", 45, 1, 600)?),
        })
    }
}
