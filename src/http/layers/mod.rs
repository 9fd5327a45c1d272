//! Layers of the routes, one file each.

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
