//! Moods: fashion trends found in the press.
//!
//! Articles come from feeds, daily, and from sitemaps, when an administrator requests the past. The model reads them in
//! chunks. A chunk is a document with its progress, and a message that starts a worker. The timer saves the chunks,
//! then records in one write that their articles are known and their messages due, then sends these. After an
//! interruption the next run continues.
//!
//! A chunk's moods, and the stored moods they match, are recorded before the first one is saved. So repeating a chunk
//! changes nothing: an article counts once per mood.

mod chunks;
pub mod dates;
pub mod extract;
pub mod feeds;
mod intake;
mod json_feed;
pub mod merge;
mod seed;
pub mod sitemaps;
pub mod text;

use std::sync::Arc;

use tokio::sync::Mutex;
use url::Url;

use crate::data::{self, lease};
use crate::domain::base::Base;
use crate::llm;
use crate::model::timestamp::Timestamp;
use crate::net::guarded::FetchError;
use crate::queue;

pub use self::chunks::ChunkMessage;
pub use self::intake::TakenIn;
pub use self::seed::{Collected, Failure, Seeded};

/// Articles per chunk.
pub const CHUNK: usize = 25;
/// Chunks that one seed processes concurrently.
const CHUNKS_AT_A_TIME: usize = 5;
/// Sites that are read concurrently; each gets one request at a time.
const SITES_AT_A_TIME: usize = 5;

/// Publishers by the beginning of their URLs. Others are called by their host name.
const PUBLISHERS: [(&str, &str); 6] = [
    ("vogue.com", "Vogue"),
    ("whowhatwear.com", "Who What Wear"),
    ("thecut.com", "The Cut"),
    ("feeds.feedburner.com/nymag/fashion", "The Cut"),
    ("refinery29.com", "Refinery29"),
    ("harpersbazaar.com", "Harper's Bazaar"),
];

/// Why moods could not be updated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the moods' documents could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("a chunk could not be queued")]
    Queue(#[from] queue::Error),
    /// The model failed.
    #[error("the model could not read the articles")]
    Model(#[from] llm::Error),
    /// The model's answer was unusable.
    #[error("the model's answer has no moods: {0}")]
    Nonsense(&'static str),
    /// A message cannot be serialized; a bug.
    #[error("a chunk's message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// Another worker holds the chunk.
    #[error("another worker has the chunk")]
    HeldElsewhere,
    /// Another worker took the chunk over.
    #[error("the chunk's lease was lost")]
    LeaseLost,
    /// The chunk's document has expired.
    #[error("the chunk's articles are no longer stored")]
    Gone,
    /// No site could be read; the cause is that of the last one.
    #[error("none of the sites could be read")]
    NoSite(#[source] SourceError),
}

impl From<lease::Error> for Error {
    fn from(error: lease::Error) -> Self {
        match error {
            lease::Error::Lost => Self::LeaseLost,
            lease::Error::Data(error) => Self::Data(error),
        }
    }
}

/// Why a site's articles could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The site could not be fetched.
    #[error("the site could not be fetched")]
    Fetch(#[from] FetchError),
    /// The site's answer is not a feed.
    #[error("the feed could not be parsed")]
    Feed(#[from] feeds::FeedError),
    /// The site's answer is not a sitemap.
    #[error("the sitemap could not be parsed")]
    Sitemap(#[from] sitemaps::NotASitemap),
    /// Parsing panicked.
    #[error("the reading task panicked")]
    Broken(#[from] tokio::task::JoinError),
}

/// Finds moods in the press. Cheap to clone.
#[derive(Clone)]
pub struct Moods(Arc<Inner>);

struct Inner {
    base: Arc<Base>,
    /// Held while moods are matched and saved, because concurrent chunks would not see each other's new moods.
    merging: Mutex<()>,
}

impl Moods {
    /// Creates the service.
    pub fn new(base: Arc<Base>) -> Self {
        Self(Arc::new(Inner { base, merging: Mutex::default() }))
    }

    fn base(&self) -> &Base {
        &self.0.base
    }

    fn now(&self) -> Timestamp {
        self.base().clock.now().into()
    }
}

/// Returns the publisher of a URL.
fn publisher(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    let place = format!("{host}{}", url.path());
    let known = PUBLISHERS
        .iter()
        .find(|(prefix, _)| place.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    known.map_or(host, |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_are_known_by_their_address() {
        for (url, name) in [
            ("https://www.vogue.com/feed/rss", "Vogue"),
            ("https://feeds.feedburner.com/nymag/fashion", "The Cut"),
            ("https://feeds.feedburner.com/nymag/fashionable", "feeds.feedburner.com"),
            ("https://vogue.com.evil.example/feed", "vogue.com.evil.example"),
            ("https://www.elle.example/rss.xml", "elle.example"),
        ] {
            assert_eq!(publisher(&url.parse().unwrap()), name);
        }
    }
}
