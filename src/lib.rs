//! The backend of PluckIt, an AI wardrobe stylist. `README.md` says how to run it, `CONTRIBUTING.md` how to change it.

#![forbid(unsafe_code)]

pub mod app;
pub mod azure;
pub mod base;
pub mod blob;
pub mod cli;
pub mod config;
pub mod data;
pub mod domain;
pub mod http;
pub mod identity;
pub mod llm;
pub mod mcp;
pub mod model;
pub mod net;
pub mod queue;
pub mod routes;
pub mod sqlite;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod workers;

#[doc(no_inline)]
pub use imaging; // crates/imaging
