//! Exponential back-off: pauses that double up to a limit, with jitter, so that callers that failed together do not
//! retry together.

use std::time::Duration;

/// How long to pause between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failed attempt, before jitter.
    pub first: Duration,
    /// The longest pause, before jitter.
    pub most: Duration,
    /// The random part.
    pub jitter: Jitter,
}

/// The random part of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// No random part.
    None,
    /// From half of the pause to all of it.
    Half,
    /// From nothing to all of the pause.
    Full,
    /// The whole pause, plus up to this much.
    Added(Duration),
}

impl Backoff {
    /// Returns the pause after attempt number `attempt` has failed; the first is number 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        self.jitter.apply(doubled.min(self.most))
    }
}

impl Jitter {
    /// Returns the pause with jitter applied.
    pub fn apply(self, pause: Duration) -> Duration {
        // If the system has no random numbers, use the middle.
        let share = || getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
        match self {
            Self::None => pause,
            Self::Half => pause.mul_f64(0.5 + share() / 2.0),
            Self::Full => pause.mul_f64(share()),
            Self::Added(most) => pause + most.mul_f64(share()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: seconds(30), most: seconds(600), jitter: Jitter::None };
        let pauses: Vec<_> = [0, 1, 2, 3, 5, 6, 41, u32::MAX].map(|attempt| backoff.pause(attempt).as_secs()).into();
        assert_eq!(pauses, [30, 30, 60, 120, 480, 600, 600, 600]);
        let unlimited = Backoff { first: seconds(1), most: Duration::MAX, jitter: Jitter::None };
        assert_eq!((unlimited.pause(3), unlimited.pause(21)), (seconds(4), seconds(1 << 20)));
    }

    #[test]
    fn jitter_stays_within_its_limits() {
        let ten = seconds(10);
        for _ in 0..100 {
            assert_eq!(Jitter::None.apply(ten), ten);
            assert!((seconds(5)..=ten).contains(&Jitter::Half.apply(ten)));
            assert!((Duration::ZERO..=ten).contains(&Jitter::Full.apply(ten)));
            assert!((ten..=seconds(12)).contains(&Jitter::Added(seconds(2)).apply(ten)));
        }
    }
}
