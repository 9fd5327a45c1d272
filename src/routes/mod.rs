//! The HTTP routes: one file per domain, one `router()` per kind of caller.

pub mod admin;
pub mod auth;
pub mod chat;
pub mod chat_runs;
pub mod collections;
pub mod console;
pub mod digest;
pub mod docs;
pub mod health;
pub mod insights;
pub mod jobs;
pub mod media;
pub mod moods;
pub mod profile;
pub mod reddit;
pub mod scraper;
pub mod stylist;
pub mod taste;
pub mod tokens;
pub mod ui_chats;
pub mod wardrobe;
