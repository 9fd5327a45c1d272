//! The threads for image processing.

pub use pluckit::imaging::{Error, Result};

mod pool;
