//! What resembles what: pictures by their perceptual hashes.
//!
//! [`hashes`] is an index in memory that knows nothing of stores; [`known`] fills it from the documents and keeps it fresh.

pub mod hashes;
pub mod known;
