//! Background work.

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
    /// When photos and pictures without an item are deleted.
    pub orphan_blobs_schedule: Schedule,
    /// When drafts that failed long ago are deleted.
    pub abandoned_drafts_schedule: Schedule,
}

impl Workers {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut schedule = |name, default: &str| {
            reader.parsed::<Schedule>(name, default.parse().expect("the default is a schedule"), schedule::EXPECTED)
        };
        let job_sweeper_schedule = schedule("JOB_SWEEPER_SCHEDULE", "0 */5 * * * *")?;
        let orphan_blobs_schedule = schedule("ORPHAN_BLOBS_SCHEDULE", "0 0 2 * * *")?;
        let abandoned_drafts_schedule = schedule("ABANDONED_DRAFTS_SCHEDULE", "0 0 3 * * *")?;
        Ok(Workers {
            concurrency: reader.number("WORKER_CONCURRENCY", 4, 1, 32)?,
            retry_base: Duration::from_secs(reader.number("JOB_RETRY_BASE_SECONDS", 30, 0, 600)?),
            job_sweeper_schedule,
            orphan_blobs_schedule,
            abandoned_drafts_schedule,
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
