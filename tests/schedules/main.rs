//! Explores thread schedules of mechanisms with their own threads or with tasks that share locks.
//!
//! The source files of the mechanisms are compiled here a second time. The names `tokio`, `parking_lot` and `rayon` in
//! them refer to this crate and to shuttle's, where every call is a scheduling point. `docs/simulation.md` lists what
//! is checked, and says how to replay a schedule.

#![expect(clippy::unwrap_used, reason = "a test that panics fails, and helpers are part of it")]

// In the included files these names refer to modules and types of this crate's root.
extern crate self as rayon;
extern crate self as tokio;
extern crate shuttle_parking_lot as parking_lot;
extern crate tokio as real_tokio;

mod explore;
mod imaging;
mod rayon_pool;
mod runs;
mod sqlite;
mod store;
pub mod sync;
pub mod task;
pub mod time;

pub use pluckit::{base, data, llm, model};
pub use rayon_pool::{ThreadPool, ThreadPoolBuilder};
pub use real_tokio::select;
