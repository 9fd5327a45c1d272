//! What tests share.

pub mod model;
