//! The backend of PluckIt, an AI wardrobe stylist. `README.md` says how to run it, `CONTRIBUTING.md` how to change it.

pub mod clock;
pub mod data;
pub mod http_client;
pub mod llm;
pub mod model;
pub mod store;
