//! Middleware ("layers"), one file each. `app/router.rs` applies it, outermost first: log, cors, limits (concurrent
//! requests), bodies, time, auth, limits (quotas), idempotency, audit.
//!
//! `answers` and `flusher` watch the bodies of responses; `openai_errors` rewrites errors below `/api/v1`.

pub mod answers;
pub mod audit;
pub mod auth;
pub mod bodies;
pub mod cors;
pub mod disconnect;
pub mod flusher;
pub mod idempotency;
pub mod limits;
pub mod log;
pub mod openai_errors;
pub mod time;
