//! What the service does, whoever asks for it: routes and workers translate, the logic is here, once.

pub mod best;
pub mod chat;
pub mod style;
pub mod wear;
