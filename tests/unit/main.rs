//! All tests that use the service as a whole or need more than one part of it, as one binary.

#![expect(clippy::unwrap_used, reason = "a test that panics fails, and helpers are part of it")]
#![expect(clippy::too_many_lines, reason = "a test tells its story from beginning to end")]

#[path = "../doubles/mod.rs"]
mod doubles;

mod access;
mod api_clients;
mod azure;
mod backup;
mod blob;
mod bodies;
mod budget;
mod chat_run_kills;
mod cli;
mod cli_chat;
mod config;
mod configured;
mod costs;
mod cutouts;
mod demo;
mod disconnects;
mod doctor;
mod documents;
mod faults;
mod guarded;
mod idempotency;
mod imaging;
mod journeys;
mod layers;
mod leases;
mod limits;
mod llm;
mod mcp_clients;
mod media;
mod metrics;
mod moods;
mod openai_clients;
mod openapi;
mod process;
mod queue;
mod routes;
mod similarity;
mod sites;
mod store;
mod stylist;
mod support;
mod telemetry;
mod terminal;
mod throttled;
mod tools;
mod ui_messages;
mod usage;
mod workers;
