//! Shared by all routes: extractors, responses and layers.

pub mod chat_events;
pub mod error;
pub mod extract;
pub mod items;
pub mod layers;
pub mod respond;
pub mod ui_messages;
pub mod web_client;
