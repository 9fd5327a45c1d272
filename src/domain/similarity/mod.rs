//! What resembles what: pictures by their perceptual hashes, scraped items by their vectors.
//!
//! Two indexes in memory that know nothing of stores, [`hashes`] and [`vectors`], and beside each who fills it from the
//! documents and keeps it fresh: [`known`] and [`items`].

pub mod hashes;
pub mod items;
pub mod known;
pub mod vectors;
