//! Jobs that analyse the pictures which users like.

use std::time::Duration;

use super::reader::{Error, Reader};

const WEEK_SECONDS: f64 = 7.0 * 24.0 * 60.0 * 60.0;

/// Numbers of the taste-analysis jobs.
#[derive(Debug, Clone)]
pub struct Taste {
    /// How long a picture that was analysed is not analysed again.
    pub completed_ttl: Duration,
    /// How long a queued or running job keeps others away.
    pub dedupe_ttl: Duration,
    /// Tries within one delivery.
    pub max_attempts: u32,
    /// Pause after the first failed try; doubles with each.
    pub base_back_off: Duration,
    /// The longest pause.
    pub max_back_off: Duration,
    /// At most this much is added to each pause, at random.
    pub jitter: Duration,
    /// How often a profile that others changed meanwhile is edited again.
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
