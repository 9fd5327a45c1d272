//! Business logic, independent of HTTP and the Functions host: one module per subject.
//!
//! Most modules have a service, such as [`chat::Chat`], [`jobs::Jobs`], [`drafts::Drafts`], [`digest::Digests`],
//! [`scraper::Scraper`], [`moods::Moods`], [`taste::Taste`] or [`insights::Insights`], which routes and workers call
//! through `AppState`. Others have the rules that several services share. [`base`] has what all services need;
//! [`quota`], [`budget`] and [`backlog`] are limits on callers.

pub mod answer;
pub mod backlog;
pub mod base;
pub mod best;
pub mod budget;
pub mod chat;
pub mod climate;
pub mod collections;
pub mod dead_letters;
pub mod digest;
pub mod drafts;
pub mod insights;
pub mod item_blobs;
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
pub mod recommendations;
pub mod scraper;
pub mod similarity;
pub mod style;
pub mod taste;
pub mod transfer;
pub mod wardrobe;
pub mod wear;
pub mod work;
