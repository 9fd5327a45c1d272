//! Randomness from the seed.
//!
//! This binary has a `getrandom` of its own, which the linker prefers to the C library's. The standard library (the
//! order of hash maps), the `getrandom` crate (jitter, secrets), and with it `uuid` and `rand` (ids) call it. tokio
//! draws the order of `select!` from hash maps, too. So every random bit of a process follows from its seed, and the
//! service need not know.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Begins the sequence of this seed.
pub fn begin(seed: u64) {
    STATE.store(mixed(seed), Ordering::SeqCst);
}

/// Odd, and far from other multiples of itself: the step of `SplitMix64`.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of `SplitMix64`.
pub fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Fills a buffer as the system's function of this name does, from the seed.
#[expect(unsafe_code, reason = "the C library's function, whose callers pass a pointer and a length")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    for position in 0..length {
        let bits = mixed(STATE.fetch_add(STEP, Ordering::SeqCst));
        // SAFETY: the caller says that there are `length` bytes at `buffer`.
        unsafe { buffer.cast::<u8>().add(position).write((bits >> 24) as u8) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
