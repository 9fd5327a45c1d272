//! The document store on its back ends.

mod cosmos;
pub mod cosmos_backend;
