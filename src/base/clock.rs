//! Clocks. Only this module reads the operating system's time of day: handlers, workers and stores use the [`Clock`]
//! they are given, so tests can stop time or skip a month. The time of day may be set forwards and backwards while the
//! process runs. Stored and displayed times use it; durations within the process are measured with [`Clock::instant`],
//! which is monotonic.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use time::OffsetDateTime;

/// Source of the time of day, in UTC, and of a monotonic clock.
pub trait Clock: Send + Sync {
    /// Returns the current time, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// Returns the current instant of a monotonic clock, for durations within this process.
    fn instant(&self) -> Instant;
}

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// Converts a duration to whole milliseconds.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<(OffsetDateTime, Instant)>);

impl ManualClock {
    /// Creates a clock that shows `start`.
    pub fn new(start: OffsetDateTime) -> Self {
        Self(Mutex::new((start, Instant::now())))
    }

    /// Advances both clocks by `step`.
    pub fn advance(&self, step: Duration) {
        let mut moment = self.0.lock();
        moment.0 += step;
        moment.1 += step;
    }

    /// Sets the time of day back by `step`; the monotonic clock does not change.
    pub fn set_back(&self, step: Duration) {
        self.0.lock().0 -= step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.0.lock().0
    }

    fn instant(&self) -> Instant {
        self.0.lock().1
    }
}
