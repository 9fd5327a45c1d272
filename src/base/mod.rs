//! Helpers without domain knowledge that every module may use: clocks, back-off, caches, hashes, error chains, texts,
//! JSON, private files.

pub mod backoff;
pub mod cache;
pub mod calendar;
pub mod chain;
pub mod clock;
pub mod crypto;
pub mod deadline;
pub mod hash;
pub mod json;
pub mod local_offset;
pub mod outage;
pub mod private_files;
pub mod schema;
pub mod text;
pub mod turns;
