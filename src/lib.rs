//! The backend of PluckIt, an AI wardrobe stylist. `README.md` says how to run it, `CONTRIBUTING.md` how to change it.

pub mod app;
pub mod auth;
pub mod azure;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data;
pub mod domain;
pub mod error;
pub mod extract;
pub mod hash;
pub mod http_client;
pub mod imaging;
pub mod llm;
pub mod model;
pub mod respond;
pub mod router;
pub mod routes;
pub mod state;
pub mod store;
pub mod telemetry;
