//! The scraper's parsing of third-party sites, on a simulated internet with our own files.

mod brands;
mod reddit;
