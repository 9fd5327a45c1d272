//! What each route answers.

pub mod auth;
mod chat;
mod conventions;
mod health;
