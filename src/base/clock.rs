//! Time, as the service sees it.
//!
//! Nothing else asks the operating system for the time of day: a handler, a worker or a store asks the [`Clock`] that
//! it was given, so a test can stand still or jump a month.
//!
//! The time of day can be set, forwards and backwards, while the process runs. What is stored or shown uses it; how long
//! ago something happened in this process is measured with [`Clock::instant`], which only goes forwards.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use time::OffsetDateTime;

/// Tells the time of day, in UTC, and measures durations.
pub trait Clock: Send + Sync {
    /// The present moment, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// The present moment on a clock that nobody can set: for durations within this process.
    fn instant(&self) -> Instant;
}

/// The clock of the operating system.
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

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<(OffsetDateTime, Instant)>);

impl ManualClock {
    /// A clock that shows `start` until it is moved.
    pub fn new(start: OffsetDateTime) -> Self {
        Self(Mutex::new((start, Instant::now())))
    }

    /// Lets `step` pass.
    pub fn advance(&self, step: Duration) {
        let mut moment = self.0.lock();
        moment.0 += step;
        moment.1 += step;
    }

    /// Sets the time of day back by `step`, as an administrator or a time server would. No time passes.
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
