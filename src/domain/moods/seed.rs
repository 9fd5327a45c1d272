//! Articles of the last months, from the publishers' sitemaps.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::{info, warn};
use url::Url;

use super::sitemaps::{self, End, Entry, Listed};
use super::text::article_url;
use super::{CHUNK, CHUNKS_AT_A_TIME, Error, Moods, SITES_AT_A_TIME, SourceError, publisher};
use crate::base::chain::Chain;
use crate::model::mood::Snippet;
use crate::model::mood_intake::ChunkReport;
use crate::model::timestamp::Timestamp;
use crate::net::guarded::{Expect, FetchLimits};

/// Length of a month.
const MONTH: time::Duration = time::Duration::days(30);
/// Most articles per publisher.
const MOST_ARTICLES: usize = 300;
/// Most sitemaps per publisher, including the index.
const MOST_SITEMAPS: usize = 25;
/// Deepest nesting of indexes.
const DEEPEST: usize = 2;
/// Largest sitemap as sent, in bytes.
const LARGEST_SITEMAP_BYTES: usize = 10 * 1024 * 1024;
/// Polls of a chunk that another worker has, and the interval.
const LOOKS: usize = 40;
const PAUSE: Duration = Duration::from_millis(1500);

/// Articles of the past.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// The articles.
    pub snippets: Vec<Snippet>,
    /// Publishers that could not be read.
    pub failures: Vec<Failure>,
}

/// Why a publisher could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Name of the publisher.
    pub publisher: String,
    /// Reason, for people.
    pub reason: String,
}

/// Outcome of a seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Moods that are new or got new articles, counted once per chunk.
    pub seeded: usize,
    /// Articles that were read.
    pub snippets_processed: usize,
}

impl Moods {
    /// Has the model read the articles of the last `months_back` months (of 30 days), and saves their moods. After an
    /// interruption the next call continues with the remaining chunks.
    ///
    /// # Errors
    /// When no publisher could be read, or a chunk failed; the others are done then.
    pub async fn seed(&self, months_back: u8) -> Result<Seeded, Error> {
        let Collected { snippets, failures } = self.collect(months_back).await?;
        let run = format!("seed-{}", self.now());
        let chunks: Vec<_> = snippets.chunks(CHUNK).map(|chunk| self.process_patiently(&run, chunk)).collect();
        let reports: Vec<_> = stream::iter(chunks).buffer_unordered(CHUNKS_AT_A_TIME).collect().await;
        let mut seeded = Seeded::default();
        let mut last_error = None;
        for report in reports {
            match report {
                Ok(report) => {
                    seeded.seeded += report.created + report.grown;
                    seeded.snippets_processed += report.snippets;
                }
                Err(error) => {
                    warn!(error = %Chain(&error), "articles not read");
                    last_error = Some(error);
                }
            }
        }
        info!(?seeded, failures = failures.len(), "moods seeded");
        last_error.map_or(Ok(seeded), Err)
    }

    /// Processes a chunk, waiting for a lease of another worker to expire.
    async fn process_patiently(&self, run: &str, snippets: &[Snippet]) -> Result<ChunkReport, Error> {
        for _ in 0..LOOKS {
            match self.process_chunk(run, snippets).await {
                Err(Error::HeldElsewhere) => tokio::time::sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
        Err(Error::HeldElsewhere)
    }

    /// Collects the newest articles of the last `months_back` months (of 30 days), at most 300 per publisher.
    ///
    /// # Errors
    /// When no publisher could be read. Individual failures are in the result.
    pub async fn collect(&self, months_back: u8) -> Result<Collected, Error> {
        let since = self.base().clock.now() - MONTH * i32::from(months_back);
        let sites = self.base().config.moods.sitemaps.iter();
        let asked: Vec<_> = sites.map(|url| async move { (publisher(url), self.walk(url, since).await) }).collect();
        let found: Vec<_> = stream::iter(asked).buffered(SITES_AT_A_TIME).collect().await;
        let mut collected = Collected::default();
        let (mut urls, mut last_error) = (HashSet::new(), None);
        let sites = found.len();
        for (publisher, articles) in found {
            match articles {
                Ok(articles) => {
                    let new = articles.into_iter().filter(|snippet| urls.insert(snippet.url.clone()));
                    collected.snippets.extend(new);
                }
                Err(error) => {
                    warn!(publisher, error = %Chain(&error), "sitemap not read");
                    let reason = Chain(&error).to_string();
                    collected.failures.push(Failure { publisher, reason });
                    last_error = Some(error);
                }
            }
        }
        match last_error {
            Some(error) if collected.failures.len() == sites => Err(Error::NoSite(error)),
            Some(_) | None => Ok(collected),
        }
    }

    /// Collects the newest articles of one publisher. Failures of nested sitemaps are skipped.
    async fn walk(&self, first: &Url, since: OffsetDateTime) -> Result<Vec<Snippet>, SourceError> {
        let publisher = publisher(first);
        let mut articles = Newest::new(MOST_ARTICLES);
        let mut waiting = VecDeque::from([(first.to_string(), 0)]);
        let mut asked = HashSet::from([first.to_string()]);
        let mut read = 0;
        while read < MOST_SITEMAPS
            && let Some((url, depth)) = waiting.pop_front()
        {
            read += 1;
            match self.read_sitemap(&url, since).await {
                Ok(found) => {
                    found.articles.into_sorted().for_each(|(at, listed)| articles.add(at, listed));
                    let further = found.sitemaps.into_sorted().map(|(_, url)| url);
                    let further = further.filter(|url| depth < DEEPEST && asked.insert(url.clone()));
                    waiting.extend(further.map(|url| (url, depth + 1)));
                }
                Err(error) if depth == 0 => return Err(error),
                Err(error) => warn!(publisher, error = %Chain(&error), "part of a sitemap not read"),
            }
        }
        let articles = articles.into_sorted().filter_map(|(at, Listed { url, title, .. })| {
            let title = title.or_else(|| sitemaps::title_of(&url))?;
            let (url, source) = (article_url(&url)?, publisher.clone());
            Some(Snippet { title, text: String::new(), url, source, published_at: Some(at.into()) })
        });
        Ok(articles.collect())
    }

    async fn read_sitemap(&self, url: &str, since: OffsetDateTime) -> Result<Found, SourceError> {
        let limits = FetchLimits { size_bytes: LARGEST_SITEMAP_BYTES, ..FetchLimits::default() };
        let fetched = self.base().web.get(url, Expect::Sitemap, limits).await?;
        let until = self.base().clock.now();
        let read = move || {
            let mut found = Found { articles: Newest::new(MOST_ARTICLES), sitemaps: Newest::new(MOST_SITEMAPS) };
            let end = sitemaps::read(&fetched.body, |entry| {
                found.take(entry, since, until);
                ControlFlow::Continue(())
            });
            end.map(|end| (found, end))
        };
        let (found, end) = tokio::task::spawn_blocking(read).await??;
        if end == End::Cut {
            warn!(sitemap.url = url, "sitemap truncated at a limit or a fault");
        }
        Ok(found)
    }
}

/// Entries of a sitemap in the period.
struct Found {
    articles: Newest<Listed>,
    sitemaps: Newest<String>,
}

impl Found {
    fn take(&mut self, entry: Entry, since: OffsetDateTime, until: OffsetDateTime) {
        match entry {
            Entry::Page(listed) => {
                // Without a title it is a section or the front page.
                let is_article = listed.title.is_some() || sitemaps::title_of(&listed.url).is_some();
                if let Some(at) = appeared(&listed).filter(|at| is_article && *at >= since) {
                    self.articles.add(at, listed);
                }
            }
            Entry::Sitemap(Listed { url, modified, .. }) => {
                let period = sitemaps::period(&url).map(|(first, last)| (first.midnight(), last.midnight()));
                let (first, last) = match (modified, period) {
                    (Some(at), _) => (at.get(), at.get()),
                    (None, Some((first, last))) => (first.assume_utc(), last.assume_utc() + time::Duration::DAY),
                    // Its entries may be new.
                    (None, None) => (since, until),
                };
                if first <= until && last >= since {
                    self.sitemaps.add(last, url);
                }
            }
        }
    }
}

/// Returns when a page was published, from the sitemap or from the month in its URL.
fn appeared(listed: &Listed) -> Option<OffsetDateTime> {
    let in_address = || {
        let (first, last) = sitemaps::period(&listed.url)?;
        (last - first < sitemaps::LONGEST_MONTH).then(|| last.midnight().assume_utc())
    };
    listed.modified.map(Timestamp::get).or_else(in_address)
}

/// The newest of many values.
struct Newest<T> {
    things: Vec<(OffsetDateTime, T)>,
    most: usize,
}

impl<T> Newest<T> {
    fn new(most: usize) -> Self {
        Self { things: Vec::new(), most }
    }

    fn add(&mut self, at: OffsetDateTime, thing: T) {
        self.things.push((at, thing));
        // Amortised: not on every insertion.
        if self.things.len() >= 2 * self.most {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.things.sort_by_key(|(at, _)| Reverse(*at));
        self.things.truncate(self.most);
    }

    /// Returns the values, newest first.
    fn into_sorted(mut self) -> impl Iterator<Item = (OffsetDateTime, T)> {
        self.shrink();
        self.things.into_iter()
    }
}
