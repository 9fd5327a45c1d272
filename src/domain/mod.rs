//! The service's logic, independent of HTTP and the Functions host.

pub mod answer;
pub mod backlog;
pub mod base;
pub mod best;
pub mod budget;
pub mod chat;
pub mod climate;
pub mod dead_letters;
pub mod digest;
pub mod insights;
pub mod jobs;
pub mod media;
pub mod metadata;
pub mod moods;
pub mod outfit;
pub mod pictures;
pub mod quiz;
pub mod quota;
pub mod rates;
pub mod readiness;
pub mod scraper;
pub mod similarity;
pub mod style;
pub mod taste;
pub mod transfer;
pub mod wear;
