//! What each route answers.

mod admin;
pub mod auth;
mod chat;
mod chat_runs;
mod collections;
mod console;
mod conventions;
mod cutouts;
mod digest;
mod drafts;
mod health;
mod insights;
mod jobs;
mod mcp;
pub mod media;
mod moods;
mod openai;
mod operator;
mod profile;
mod scraper;
mod sources;
mod stylist;
mod taste;
mod tokens;
mod wardrobe;
mod web_client;
