//! Work that no request waits for.

use std::time::Duration;

use super::reader::{Error, Reader};
use crate::model::schedule;
use crate::model::schedule::Schedule;

/// Background workers.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Concurrent messages per queue, without the Functions host.
    pub concurrency: usize,
    /// Delay after the first failed delivery, doubled each time, without the Functions host.
    pub retry_base: Duration,
    /// When the sweeper runs.
    pub job_sweeper_schedule: Schedule,
}

impl Workers {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let every_five_minutes: Schedule = "0 */5 * * * *".parse().expect("the default is a schedule");
        Ok(Workers {
            concurrency: reader.number("WORKER_CONCURRENCY", 4, 1, 32)?,
            retry_base: Duration::from_secs(reader.number("JOB_RETRY_BASE_SECONDS", 30, 0, 600)?),
            job_sweeper_schedule: reader.parsed("JOB_SWEEPER_SCHEDULE", every_five_minutes, schedule::EXPECTED)?,
        })
    }
}

/// Jobs.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Lease of a job.
    pub lease: Duration,
    /// How long one invocation starts new steps; the rest is queued.
    pub slice: Duration,
}

impl Operations {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            lease: Duration::from_secs(reader.number("LONG_OPERATION_LEASE_SECONDS", 45, 1, 600)?),
            slice: Duration::from_secs(reader.number("LONG_OPERATION_SLICE_SECONDS", 240, 0, 480)?),
        })
    }
}
