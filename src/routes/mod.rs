//! The HTTP routes: one file per domain, with handlers, request and response types.
//!
//! A file has a function per group of routes (`public`, `user`, `admin` …). `app/groups.rs` lists the groups, and says
//! who may call them and within which limits.

pub mod admin;
pub mod audit;
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
pub mod logs;
pub mod mcp;
pub mod media;
pub mod metrics;
pub mod moods;
pub mod openai;
pub mod profile;
pub mod reddit;
pub mod scraper;
pub mod settings;
pub mod stylist;
pub mod taste;
pub mod timers;
pub mod tokens;
pub mod ui_chats;
pub mod usage;
pub mod users;
pub mod wardrobe;
