//! What each route answers.

mod admin;
mod auth;
mod chat;
mod conventions;
mod health;
mod scraper;
mod taste;
