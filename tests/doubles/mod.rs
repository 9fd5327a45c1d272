//! Doubles of what the service depends on, for every test binary. Each keeps its trait's contract, which
//! `tests/unit` checks by the same functions as for the real ones.

pub mod between;
pub mod blobs;
