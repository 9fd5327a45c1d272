//! Moods: what the press says is in fashion.
//!
//! Articles come from feeds, every day, and from sitemaps, when an administrator asks for the past. They are read by a
//! model in chunks. A chunk is a document that says how far it is, and a message that starts a worker: the timer writes
//! the chunks, then in one write that their articles are taken in and their messages to be sent, then sends them. Wherever
//! it is cut off, the next run goes on from what is written.
//!
//! A chunk's moods, and which stored moods they are taken for, are written down before the first one is saved. To do it
//! again thus changes nothing: an article counts once for a mood.

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

use crate::base::clock::Clock;
use crate::config;
use crate::data::{self, Data, lease};
use crate::llm::{self, Model};
use crate::model::timestamp::Timestamp;
use crate::net::guarded::{FetchError, GuardedClient};
use crate::queue::{self, JobQueue};

pub use self::chunks::{ChunkMessage, read_message};
pub use self::intake::TakenIn;
pub use self::seed::{Collected, Failure, Seeded};

/// Articles that a model reads at once.
pub const CHUNK: usize = 25;
/// Chunks that one seed works on at a time.
const CHUNKS_AT_A_TIME: usize = 5;
/// Sites that are asked at a time; each of them one thing after the other.
const SITES_AT_A_TIME: usize = 5;

/// Publishers by the beginning of their addresses. The rest go by their host's name.
const PUBLISHERS: [(&str, &str); 6] = [
    ("vogue.com", "Vogue"),
    ("whowhatwear.com", "Who What Wear"),
    ("thecut.com", "The Cut"),
    ("feeds.feedburner.com/nymag/fashion", "The Cut"),
    ("refinery29.com", "Refinery29"),
    ("harpersbazaar.com", "Harper's Bazaar"),
];

/// Why moods were not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The documents failed.
    #[error("the moods' documents could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("a chunk could not be queued")]
    Queue(#[from] queue::Error),
    /// The model failed.
    #[error("the model did not read the articles")]
    Model(#[from] llm::Error),
    /// The model answered something else.
    #[error("the model's answer has no moods: {0}")]
    Nonsense(&'static str),
    /// A message does not turn into JSON: a fault in this program.
    #[error("a chunk's message cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// Another worker has the chunk, and lives.
    #[error("another worker has the chunk")]
    Elsewhere,
    /// Another worker took the chunk over while this one was busy.
    #[error("the chunk's lease was lost")]
    LeaseLost,
    /// The chunk's document outlived its time.
    #[error("the chunk's articles are not kept any longer")]
    Gone,
    /// Not one site could be read. The cause is that of the last one.
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
    /// It could not be fetched.
    #[error("it could not be fetched")]
    Fetch(#[from] FetchError),
    /// It is not a feed.
    #[error("it could not be read")]
    Feed(#[from] feeds::FeedError),
    /// It is not a sitemap.
    #[error("it could not be read")]
    Sitemap(#[from] sitemaps::NotASitemap),
    /// Reading it panicked.
    #[error("reading it ended unexpectedly")]
    Broken(#[from] tokio::task::JoinError),
}

/// What the moods are made of.
pub struct Parts {
    /// The documents.
    pub data: Data,
    /// The model that reads.
    pub model: Arc<dyn Model>,
    /// Where chunks wait.
    pub queue: Arc<dyn JobQueue>,
    /// Client for feeds and sitemaps.
    pub web: Arc<GuardedClient>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The publishers.
    pub settings: config::Moods,
    /// Name of the queue.
    pub queue_name: String,
}

/// The moods of the press. Cheap to clone.
#[derive(Clone)]
pub struct Moods(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Held while moods are compared with the stored ones and saved: two chunks at once would not see each other's new
    /// moods.
    merging: Mutex<()>,
}

impl Moods {
    /// Moods with these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, merging: Mutex::default() }))
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    fn now(&self) -> Timestamp {
        self.parts().clock.now().into()
    }
}

/// Who publishes what is at this address.
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
