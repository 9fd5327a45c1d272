//! What each route answers.

mod admin;
pub mod auth;
mod chat;
mod conventions;
mod digest;
mod health;
mod jobs;
pub mod media;
mod scraper;
mod taste;
