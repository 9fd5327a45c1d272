//! Similarity: of pictures by perceptual hash, and of items by embedding.
//!
//! [`hashes`] and [`vectors`] are indexes in memory, independent of the store; [`known`] and [`items`] load them and
//! keep them up to date.

pub mod hashes;
pub mod items;
pub mod known;
pub mod vectors;
