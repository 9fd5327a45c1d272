//! The backend of PluckIt, an AI wardrobe stylist. `README.md` says how to run it, `CONTRIBUTING.md` how to change it.

pub mod cache;
pub mod clock;
pub mod data;
pub mod domain;
pub mod llm;
pub mod model;
pub mod store;
