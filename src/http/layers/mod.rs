//! Layers around the routes, a file each.

pub mod auth;
pub mod bodies;
pub mod flusher;
pub mod idempotency;
pub mod limits;
