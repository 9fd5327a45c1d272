//! The tests of the service, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that panics fails, and helpers are part of it")]

mod store;
mod tools;
