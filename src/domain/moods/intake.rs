//! The daily feeds: new articles become chunks in the queue.

use std::collections::HashSet;

use futures::stream::{self, StreamExt};
use tracing::{info, warn};
use url::Url;

use super::{CHUNK, ChunkMessage, Error, Moods, SITES_AT_A_TIME, SourceError, feeds, publisher};
use crate::base::chain::Chain;
use crate::data::moods::INTAKE;
use crate::data::timers::PARTITION;
use crate::data::update::Edit;
use crate::model::mood::{Snippet, short_hash};
use crate::model::mood_intake::{FeedState, MoodIntake};
use crate::net::guarded::{Answer, Expect, FetchLimits, Validators};

/// Largest feed, in bytes.
const LARGEST_FEED_BYTES: usize = 8 * 1024 * 1024;
/// Attempts when another process reads the feeds at the same time.
const TRIES: usize = 3;

/// Report of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// Feeds with a new version.
    pub read: usize,
    /// Feeds that had not changed.
    pub unchanged: usize,
    /// Feeds that could not be read.
    pub failed: usize,
    /// New articles.
    pub snippets: usize,
    /// Chunks that were queued.
    pub chunks: usize,
}

/// Outcome of reading a feed.
enum News {
    /// The feed has not changed.
    None,
    /// New articles, and the new state of the feed.
    Some(Vec<Snippet>, FeedState),
}

impl Moods {
    /// Reads all feeds and queues new articles.
    ///
    /// # Errors
    /// When no feed could be read, or the store or queue failed. The next call continues.
    pub async fn take_in(&self) -> Result<TakenIn, Error> {
        self.send_unsent().await?;
        for _ in 0..TRIES {
            if let Some(taken) = self.try_to_take_in().await? {
                self.send_unsent().await?;
                return Ok(taken);
            }
        }
        Err(Error::HeldElsewhere)
    }

    /// Reads the feeds once; `None` if another process did so meanwhile.
    async fn try_to_take_in(&self) -> Result<Option<TakenIn>, Error> {
        let known = self.base().data.moods.intake().await?;
        let version = known.as_ref().map_or(0, |intake| intake.version);
        let mut taken = TakenIn::default();
        let (mut states, mut snippets, mut urls) = (Vec::new(), Vec::new(), HashSet::new());
        let mut last_error = None;
        for (state, news) in self.ask_all(known.map_or_else(Vec::new, |intake| intake.feeds)).await {
            match news {
                Ok(News::None) => {
                    taken.unchanged += 1;
                    states.push(state);
                }
                Ok(News::Some(found, state)) => {
                    taken.read += 1;
                    states.push(state);
                    snippets.extend(found.into_iter().filter(|snippet| urls.insert(snippet.url.clone())));
                }
                Err(error) => {
                    warn!(feed.url = state.url, error = %Chain(&error), "feed not read");
                    taken.failed += 1;
                    states.push(state);
                    last_error = Some(error);
                }
            }
        }
        if let Some(error) = last_error.filter(|_| taken.read + taken.unchanged == 0) {
            return Err(Error::NoSite(error));
        }
        let run = format!("daily-{}", self.now());
        let mut chunks = Vec::new();
        for snippets in snippets.chunks(CHUNK) {
            taken.snippets += snippets.len();
            taken.chunks += 1;
            chunks.push(self.save_chunk(&run, snippets).await?);
        }
        let is_ours = self
            .base()
            .data
            .moods
            .edit_intake(|found| {
                let intake = found.unwrap_or_else(nothing_taken_in);
                if intake.version != version {
                    return Edit::Keep(false);
                }
                let mut unsent = intake.unsent.clone();
                unsent.extend(chunks.iter().cloned());
                let taken = MoodIntake { version: version + 1, feeds: states.clone(), unsent, ..intake.clone() };
                let is_news = taken.feeds != intake.feeds || taken.unsent != intake.unsent;
                if is_news { Edit::Save(taken, true) } else { Edit::Keep(true) }
            })
            .await?;
        Ok(is_ours.then_some(taken))
    }

    /// Sends the messages of recorded chunks that may not have been queued. Sending one twice is harmless.
    ///
    /// # Errors
    /// When the store or queue failed.
    pub async fn send_unsent(&self) -> Result<usize, Error> {
        let Some(intake) = self.base().data.moods.intake().await? else { return Ok(0) };
        if intake.unsent.is_empty() {
            return Ok(0);
        }
        for chunk in &intake.unsent {
            let message = serde_json::to_string(&ChunkMessage { chunk: chunk.clone() })?;
            self.base().queue.send(&self.base().config.queues.moods.work, &message).await?;
        }
        let sent = intake.unsent;
        self.base()
            .data
            .moods
            .edit_intake(|found| match found {
                Some(mut intake) => {
                    intake.unsent.retain(|chunk| !sent.contains(chunk));
                    Edit::Save(intake, ())
                }
                None => Edit::Keep(()),
            })
            .await?;
        info!(chunks = sent.len(), "chunks of articles queued");
        Ok(sent.len())
    }

    /// Reads the feeds concurrently, with the known state of each.
    async fn ask_all(&self, known: Vec<FeedState>) -> Vec<(FeedState, Result<News, SourceError>)> {
        let feeds = self.base().config.moods.feeds.iter().map(|url| {
            let state = known.iter().find(|state| state.url == url.as_str()).cloned();
            (url, state.unwrap_or_else(|| FeedState { url: url.to_string(), ..FeedState::default() }))
        });
        let ask = |(url, state): (&Url, FeedState)| {
            let (moods, url) = (self.clone(), url.clone());
            async move {
                let news = moods.ask(&url, &state).await;
                (state, news)
            }
        };
        let asked: Vec<_> = feeds.map(ask).collect();
        // In the order of the settings, so that the chunks are the same ones the next time.
        stream::iter(asked).buffered(SITES_AT_A_TIME).collect().await
    }

    async fn ask(&self, feed: &Url, state: &FeedState) -> Result<News, SourceError> {
        let limits = FetchLimits { size_bytes: LARGEST_FEED_BYTES, ..FetchLimits::default() };
        let known = Validators { etag: state.etag.clone(), last_modified: state.last_modified.clone() };
        let fetched = match self.base().web.get_if_changed(feed.as_str(), Expect::Feed, limits, &known).await? {
            Answer::NotModified => return Ok(News::None),
            Answer::Fetched(fetched) => fetched,
        };
        let (validators, publisher) = (fetched.validators.clone(), publisher(feed));
        let read = move || feeds::read(&fetched.body, &fetched.content_type, &fetched.url, &publisher);
        let articles = tokio::task::spawn_blocking(read).await??;
        // The rest of a truncated feed may be available next time.
        let validators = if articles.is_whole { validators } else { Validators::default() };
        let hashes: Vec<String> = articles.snippets.iter().map(|snippet| short_hash(&snippet.url)).collect();
        let is_new = |hash: &String| !state.seen.contains(hash);
        let new =
            articles.snippets.into_iter().zip(&hashes).filter(|(_, hash)| is_new(hash)).map(|(snippet, _)| snippet);
        let new = new.collect();
        let mut state =
            FeedState { etag: short(validators.etag), last_modified: short(validators.last_modified), ..state.clone() };
        state.see(hashes);
        Ok(News::Some(new, state))
    }
}

/// Drops a validator that is too long to store.
fn short(validator: Option<String>) -> Option<String> {
    const LONGEST: usize = 500;
    validator.filter(|text| text.len() <= LONGEST)
}

fn nothing_taken_in() -> MoodIntake {
    MoodIntake {
        id: INTAKE.to_owned(),
        user_id: PARTITION.to_owned(),
        version: 0,
        feeds: Vec::new(),
        unsent: Vec::new(),
        other: serde_json::Map::new(),
    }
}
