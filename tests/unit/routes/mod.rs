//! What each route answers.

mod auth;
mod chat;
mod conventions;
mod health;
mod media;
