//! Memory budget for bodies of requests, and another one for those of answers, shared by the process, with a share per
//! caller.
//!
//! Memory for a request is taken as bytes arrive, not as announced. A caller may hold its share and one larger body.
//! Large bodies together leave a quarter of the budget to small ones, and an eighth is reserved for ordinary requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Caller;

/// Share of a caller in all requests together, in bytes. One body may exceed it, such as a picture.
const CALLER_SHARE: usize = 8 * 1024 * 1024;
/// Share of a caller in the eighth that is reserved for ordinary requests.
const MODEST: usize = 256 * 1024;

/// Memory budget for bodies. Cheap to clone.
#[derive(Clone)]
pub struct BodyMemory(Arc<Pool>);

struct Pool {
    capacity: usize,
    ledger: Mutex<Ledger>,
    /// Notified when memory is released.
    freed: Notify,
}

#[derive(Default)]
struct Ledger {
    /// Bytes of all bodies.
    held: usize,
    /// Bytes of large bodies.
    held_by_large: usize,
    shares: HashMap<Caller, Share>,
}

/// Memory of one caller.
#[derive(Default)]
struct Share {
    /// Bytes of all its bodies except the large one.
    held: usize,
    /// Whether one of its bodies exceeds the share. Only one may at a time.
    has_large: bool,
}

impl BodyMemory {
    /// Creates a budget of this many bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Pool { capacity, ledger: Mutex::default(), freed: Notify::new() }))
    }

    /// Starts an empty charge for a caller.
    pub fn charge(&self, caller: Caller) -> Charge {
        Charge { pool: self.0.clone(), charged: Mutex::new(Charged { caller, held: 0, is_large: false }) }
    }

    /// Returns the bytes in use.
    pub fn held(&self) -> usize {
        self.0.ledger.lock().held
    }

    /// Whether no caller uses any.
    #[cfg(test)]
    pub fn has_no_shares(&self) -> bool {
        self.0.ledger.lock().shares.is_empty()
    }
}

impl Pool {
    /// Most bytes of large bodies together, and of one body; the rest is left to small ones.
    fn most_for_large(&self) -> usize {
        self.capacity / 4 * 3
    }

    /// Returns the caller's share; services call for many users and have a larger one.
    fn share_of(&self, caller: &Caller) -> usize {
        match caller {
            Caller::Service => self.capacity / 2,
            Caller::User(_) | Caller::Address(_) => CALLER_SHARE,
        }
    }
}

/// Why no memory was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// The amount exceeds what one body may have, so it would never be available.
    TooLarge,
    /// The memory was not released in time.
    TimedOut,
}

/// Memory of one body; released on drop.
pub struct Charge {
    pool: Arc<Pool>,
    charged: Mutex<Charged>,
}

struct Charged {
    caller: Caller,
    held: usize,
    is_large: bool,
}

impl Ledger {
    /// Adds bytes without checking the limits.
    fn add(&mut self, charged: &mut Charged, bytes: usize) {
        charged.held += bytes;
        self.held += bytes;
        if charged.is_large {
            self.held_by_large += bytes;
        } else {
            self.shares.entry(charged.caller.clone()).or_default().held += bytes;
        }
    }
}

impl Charge {
    /// Moves the charge to another caller.
    pub fn move_to(&self, caller: &Caller) {
        let mut charged = self.charged.lock();
        let held = charged.held;
        self.release(&charged, held);
        *charged = Charged { caller: caller.clone(), held: 0, is_large: false };
        // The bytes are already in memory, even if they exceed the new caller's share.
        self.pool.ledger.lock().add(&mut charged, held);
    }

    /// Takes memory if it is available now.
    fn try_take(&self, bytes: usize) -> Result<bool, NoRoom> {
        let mut charged = self.charged.lock();
        let pool = &self.pool;
        if charged.held + bytes > pool.most_for_large() {
            return Err(NoRoom::TooLarge);
        }
        let mut ledger = pool.ledger.lock();
        let (held, has_large) =
            ledger.shares.get(&charged.caller).map_or((0, false), |share| (share.held, share.has_large));
        let is_modest = !charged.is_large && held + bytes <= MODEST;
        if ledger.held + bytes > if is_modest { pool.capacity } else { pool.capacity / 8 * 7 } {
            return Ok(false);
        }
        let outgrows = !charged.is_large && held + bytes > pool.share_of(&charged.caller);
        if outgrows {
            if has_large || ledger.held_by_large + charged.held + bytes > pool.most_for_large() {
                return Ok(false);
            }
            let share = ledger.shares.entry(charged.caller.clone()).or_default();
            share.held -= charged.held;
            share.has_large = true;
            ledger.held_by_large += charged.held;
            charged.is_large = true;
        } else if charged.is_large && ledger.held_by_large + bytes > pool.most_for_large() {
            return Ok(false);
        }
        ledger.add(&mut charged, bytes);
        Ok(true)
    }

    /// Takes memory, waiting at most `patience`, which is reduced by the wait.
    ///
    /// # Errors
    /// When it is not available in time, or could never be.
    pub async fn take(&self, bytes: usize, patience: &mut Duration) -> Result<(), NoRoom> {
        if self.try_take(bytes)? {
            return Ok(());
        }
        let begun = Instant::now();
        let taken = timeout(*patience, async {
            loop {
                let mut freed = std::pin::pin!(self.pool.freed.notified());
                // Before the check, so that memory released meanwhile is not missed.
                freed.as_mut().enable();
                if self.try_take(bytes)? {
                    return Ok(());
                }
                freed.await;
            }
        });
        let taken = taken.await;
        *patience = patience.saturating_sub(begun.elapsed());
        taken.unwrap_or(Err(NoRoom::TimedOut))
    }

    fn release(&self, charged: &Charged, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut ledger = self.pool.ledger.lock();
        ledger.held -= bytes;
        if charged.is_large {
            ledger.held_by_large -= bytes;
        }
        if let Some(share) = ledger.shares.get_mut(&charged.caller) {
            if charged.is_large {
                share.has_large = false;
            } else {
                share.held -= bytes;
            }
            if share.held == 0 && !share.has_large {
                ledger.shares.remove(&charged.caller);
            }
        }
        drop(ledger);
        self.pool.freed.notify_waiters();
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let charged = self.charged.lock();
        self.release(&charged, charged.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    /// Large bodies share 48 MiB, and all but small ones share 56 MiB.
    const CAPACITY: usize = 64 * MIB;

    fn user(number: usize) -> Caller {
        Caller::User(format!("user-{number}").as_str().into())
    }

    /// Creates a caller's body that holds this many bytes.
    fn body(memory: &BodyMemory, caller: &Caller, bytes: usize) -> Charge {
        let charge = memory.charge(caller.clone());
        assert_eq!(charge.try_take(bytes), Ok(true), "{caller:?} takes {bytes}");
        charge
    }

    fn is_refused(memory: &BodyMemory, caller: &Caller, bytes: usize) -> bool {
        memory.charge(caller.clone()).try_take(bytes) == Ok(false)
    }

    #[test]
    fn one_body_never_has_more_than_three_quarters() {
        let memory = BodyMemory::new(CAPACITY);
        assert_eq!(memory.charge(user(1)).try_take(48 * MIB + 1), Err(NoRoom::TooLarge));
        let all = body(&memory, &user(1), 48 * MIB);
        assert_eq!(all.try_take(1), Err(NoRoom::TooLarge));
        drop(all);
        let _again = body(&memory, &user(2), 48 * MIB);
    }

    #[test]
    fn bodies_that_fill_the_share_leave_one_that_may_outgrow_it() {
        let memory = BodyMemory::new(CAPACITY);
        let ada = user(1);
        let (first, second) = (body(&memory, &ada, 5 * MIB), body(&memory, &ada, 3 * MIB));
        let large = body(&memory, &ada, 9 * MIB);
        assert!(is_refused(&memory, &ada, 1), "the share is full, and one body is beyond it");
        drop(second);
        let third = body(&memory, &ada, 3 * MIB);
        drop(large);
        let _large_again = body(&memory, &ada, 9 * MIB);
        assert!(is_refused(&memory, &ada, 1));
        drop((first, third));
        assert!(is_refused(&memory, &ada, 8 * MIB + 1), "the large one is still there");
        let _share = body(&memory, &ada, 8 * MIB);
    }

    #[test]
    fn a_body_that_outgrows_the_share_gives_its_part_of_it_back() {
        let memory = BodyMemory::new(CAPACITY);
        let ada = user(1);
        let growing = body(&memory, &ada, 2 * MIB);
        assert_eq!(growing.try_take(7 * MIB), Ok(true));
        let _share = body(&memory, &ada, 8 * MIB);
        assert!(is_refused(&memory, &ada, 1));
    }

    #[test]
    fn what_ends_leaves_the_rest_of_its_caller_s_counted() {
        let memory = BodyMemory::new(CAPACITY);
        let ada = user(1);
        let (small, large) = (body(&memory, &ada, MIB), body(&memory, &ada, 20 * MIB));
        drop(small);
        assert!(is_refused(&memory, &ada, 9 * MIB), "a second large one");
        let small = body(&memory, &ada, MIB);
        drop(large);
        let _large = body(&memory, &ada, 8 * MIB);
        let _rest = body(&memory, &ada, 7 * MIB);
        assert!(is_refused(&memory, &ada, 1));
        drop(small);
    }

    #[test]
    fn large_bodies_together_never_have_more_than_three_quarters() {
        let memory = BodyMemory::new(CAPACITY);
        let first = body(&memory, &user(1), 2 * MIB);
        assert_eq!(first.try_take(7 * MIB), Ok(true));
        let second = body(&memory, &user(2), 4 * MIB);
        assert_eq!(second.try_take(35 * MIB + 1), Ok(false));
        assert_eq!(second.try_take(26 * MIB), Ok(true));
        assert_eq!(second.try_take(9 * MIB + 1), Ok(false));
        assert_eq!(second.try_take(9 * MIB), Ok(true));
        assert_eq!(second.try_take(1), Ok(false));
        drop(first);
        assert_eq!(second.try_take(9 * MIB), Ok(true));
        drop(second);
        assert!(memory.held() == 0 && memory.has_no_shares());
        let _all = body(&memory, &user(3), 48 * MIB);
    }

    #[test]
    fn one_that_outgrows_its_share_may_fill_what_large_ones_have() {
        let memory = BodyMemory::new(CAPACITY);
        let _first = body(&memory, &user(1), 9 * MIB);
        let second = body(&memory, &user(2), 4 * MIB);
        assert_eq!(second.try_take(35 * MIB), Ok(true));
    }

    #[test]
    fn the_last_eighth_is_for_callers_who_hold_little() {
        let memory = BodyMemory::new(CAPACITY);
        let large = body(&memory, &user(1), 24 * MIB);
        let _shares: Vec<_> = (2..6).map(|number| body(&memory, &user(number), 8 * MIB)).collect();
        assert_eq!(large.try_take(1), Ok(false));
        assert!(is_refused(&memory, &user(6), 256 * KIB + 1));
        let _modest: Vec<_> = (6..38).map(|number| body(&memory, &user(number), 256 * KIB)).collect();
        assert_eq!(memory.held(), CAPACITY);
        assert!(is_refused(&memory, &user(38), 1));
    }

    #[test]
    fn services_have_half_as_their_share() {
        let memory = BodyMemory::new(CAPACITY);
        let _half = [20, 12].map(|mib| body(&memory, &Caller::Service, mib * MIB));
        let _large = body(&memory, &Caller::Service, 10 * MIB);
        assert!(is_refused(&memory, &Caller::Service, 1));
    }
}
