//! What all routes share: extractors ([`extract`]), errors and responses ([`error`], [`respond`]), middleware
//! ([`layers`]), the formats of chat streams, and the files of a web client.

pub mod chat_events;
pub mod error;
pub mod extract;
pub mod items;
pub mod layers;
pub mod respond;
pub mod ui_messages;
pub mod web_client;
