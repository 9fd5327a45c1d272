//! The discover feed's sources: Reddit and brands' sites.

pub mod candidate;
