//! Test doubles of the service's dependencies, shared by all test binaries. Each fulfils its trait's contract, which
//! `tests/unit` checks with the same functions as for the real ones.

pub mod between;
pub mod blobs;
