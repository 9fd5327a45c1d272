//! Layers around the routes, a file each.

pub mod auth;
pub mod bodies;
pub mod cors;
pub mod flusher;
pub mod idempotency;
pub mod limits;
pub mod log;
pub mod time;
