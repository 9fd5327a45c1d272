//! Quota of rejected credentials per address, taken before a credential is checked.
//!
//! While the quota is exceeded, credentials from the address are rejected without a check, so guessing is slow and
//! cheap to serve. Each check takes a share first and returns it unless the credential is rejected, so concurrent
//! guesses cannot exceed the quota.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{TIDY_EVERY, WINDOW_SECONDS};
use crate::base::clock::Clock;

const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);

/// Quotas of all addresses. Cheap to clone.
#[derive(Clone)]
pub struct Refusals(Arc<Parts>);

struct Parts {
    clock: Arc<dyn Clock>,
    /// Time after which one rejection is forgotten.
    cost: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When each address has its full quota again; addresses with a full quota are dropped eventually.
    full_at: HashMap<IpAddr, Instant>,
    /// Checks so far; determines when to clean up.
    checks: u32,
}

impl Refusals {
    /// Creates quotas of `per_minute` rejections per address.
    pub fn new(per_minute: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Parts { clock, cost: WINDOW / per_minute.get(), state: Mutex::default() }))
    }

    /// Takes a share for one check.
    ///
    /// # Errors
    /// The time until one is available.
    pub fn begin(&self, address: IpAddr) -> Result<Attempt, Duration> {
        let now = self.0.clock.instant();
        let mut state = self.0.state.lock();
        state.checks = state.checks.wrapping_add(1);
        if state.checks.is_multiple_of(TIDY_EVERY) {
            state.full_at.retain(|_, full_at| *full_at > now);
        }
        let full_at = state.full_at.get(&address).map_or(now, |full_at| (*full_at).max(now)) + self.0.cost;
        let over = full_at.saturating_duration_since(now + WINDOW);
        if !over.is_zero() {
            return Err(over);
        }
        state.full_at.insert(address, full_at);
        Ok(Attempt { refusals: self.clone(), address })
    }
}

/// Share of one check. It stays taken unless returned, so a caller that disconnects before the result has used it.
#[must_use]
pub struct Attempt {
    refusals: Refusals,
    address: IpAddr,
}

impl Attempt {
    /// Returns the share.
    pub fn forgive(self) {
        let cost = self.refusals.0.cost;
        if let Some(full_at) = self.refusals.0.state.lock().full_at.get_mut(&self.address)
            && let Some(earlier) = full_at.checked_sub(cost)
        {
            *full_at = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::base::clock::ManualClock;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn refusals(per_minute: u32) -> (Refusals, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-01 12:00 UTC)));
        (Refusals::new(NonZeroU32::new(per_minute).unwrap(), clock.clone()), clock)
    }

    #[test]
    fn what_is_not_forgiven_counts_until_its_time_is_over() {
        let (refusals, clock) = refusals(3);
        for _ in 0..3 {
            drop(refusals.begin(ADDRESS).unwrap());
        }
        assert_eq!(refusals.begin(ADDRESS).err(), Some(Duration::from_secs(20)));
        assert!(refusals.begin(IpAddr::from([203, 0, 113, 8])).is_ok());
        clock.set_back(Duration::from_secs(3600));
        clock.advance(Duration::from_secs(20));
        drop(refusals.begin(ADDRESS).unwrap());
        assert_eq!(refusals.begin(ADDRESS).err(), Some(Duration::from_secs(20)));
    }

    #[test]
    fn what_is_forgiven_does_not_count() {
        let (refusals, _clock) = refusals(3);
        for _ in 0..100 {
            refusals.begin(ADDRESS).unwrap().forgive();
        }
        let under_way: Vec<_> = (0..3).map(|_| refusals.begin(ADDRESS).unwrap()).collect();
        assert!(refusals.begin(ADDRESS).is_err(), "as many checks at once as refusals");
        under_way.into_iter().for_each(Attempt::forgive);
        assert!(refusals.begin(ADDRESS).is_ok());
    }

    #[test]
    fn addresses_with_a_full_quota_take_no_memory() {
        let (refusals, clock) = refusals(3);
        let begin = |number: u32| drop(refusals.begin(IpAddr::from(number.to_be_bytes())).unwrap());
        begin(0);
        for number in 0..TIDY_EVERY - 2 {
            begin(number);
        }
        assert_eq!(refusals.0.state.lock().full_at.len(), TIDY_EVERY as usize - 2);
        clock.advance(Duration::from_secs(20));
        begin(1);
        let left: Vec<_> = refusals.0.state.lock().full_at.keys().copied().collect();
        assert_eq!(left.len(), 2, "who was refused twice, and who begins: {left:?}");
    }
}
