//! Jobs that analyse pictures that users like.

use std::time::Duration;

use super::reader::{Error, Reader};

const WEEK_SECONDS: f64 = 7.0 * 24.0 * 60.0 * 60.0;

/// Taste-analysis jobs.
#[derive(Debug, Clone)]
pub struct Taste {
    /// How long a finished job suppresses another one for the same picture.
    pub completed_ttl: Duration,
    /// Lease of a queued or running job.
    pub dedupe_ttl: Duration,
    /// Attempts per delivery.
    pub max_attempts: u32,
    /// Delay after the first failed attempt, doubled each time.
    pub base_back_off: Duration,
    /// Longest delay.
    pub max_back_off: Duration,
    /// Largest random addition to a delay.
    pub jitter: Duration,
    /// Retries when a profile changed during an update.
    pub profile_update_retries: u32,
}

impl Taste {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            completed_ttl: reader.seconds("TASTE_JOB_COMPLETED_TTL_SECONDS", 3600.0, WEEK_SECONDS)?,
            dedupe_ttl: reader.seconds("TASTE_JOB_DEDUPE_TTL_SECONDS", 180.0, WEEK_SECONDS)?,
            max_attempts: reader.number("TASTE_JOB_MAX_RETRIES", 3, 1, 20)?,
            base_back_off: reader.seconds("TASTE_JOB_BASE_BACKOFF_SECONDS", 0.75, 60.0)?,
            max_back_off: reader.seconds("TASTE_JOB_MAX_BACKOFF_SECONDS", 6.0, 60.0)?,
            jitter: reader.seconds("TASTE_JOB_JITTER_SECONDS", 0.2, 60.0)?,
            profile_update_retries: reader.number("TASTE_JOB_PROFILE_UPDATE_MAX_RETRIES", 2, 0, 100)?,
        })
    }
}
