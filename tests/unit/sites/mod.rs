//! What the scraper reads from other people's sites, on an internet of our own with files of our own making.

mod brands;
mod reddit;
