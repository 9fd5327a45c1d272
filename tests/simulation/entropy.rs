//! Randomness from the seed.
//!
//! This binary defines `getrandom`, which the linker prefers to the C library's. It is called by the standard library
//! (order of hash maps) and the `getrandom` crate (jitter, secrets), and through that by `uuid` and `rand` (ids). tokio
//! seeds the order of `select!` from the standard library's hasher. So all randomness of a process follows from its
//! seed, without changes to the service.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// Starts the sequence of this seed.
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

/// Replaces the system's function of this name: fills a buffer from the seed.
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
