//! The threads for pictures.

pub use pluckit::imaging::{Error, Result};

mod pool;
