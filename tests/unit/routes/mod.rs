//! What each route answers.

mod admin;
pub mod auth;
mod chat;
mod conventions;
mod health;
pub mod media;
mod scraper;
mod sources;
mod taste;
