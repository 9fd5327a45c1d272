//! The discover feed's sources: Reddit and brands' sites.

pub mod brand;
pub mod candidate;
pub mod polite;
pub mod reddit;
mod tags;
