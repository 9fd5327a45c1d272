//! Scraping of the discover feed's sources.

use url::Url;

use super::reader::{Error, Reader};
use crate::model::schedule;
use crate::model::schedule::Schedule;

/// Scraping of the discover feed.
#[derive(Debug, Clone)]
pub struct Scraper {
    /// When to scrape all sources.
    pub schedule: Schedule,
    /// Sources scraped concurrently per process.
    pub max_concurrency: usize,
    /// Posts that a user may submit per UTC day; zero for no limit.
    pub posts_per_day: usize,
    /// Share of submissions that are verified against Reddit, 0 to 1.
    pub spot_check_rate: f64,
    /// URL of Reddit.
    pub reddit_url: Url,
    /// `User-Agent` for Reddit.
    pub reddit_user_agent: String,
}

impl Scraper {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let every_morning: Schedule = "0 0 7 * * *".parse().expect("the default is a schedule");
        let user_agent = reader.text("REDDIT_USER_AGENT", "web:pluckit-processor:v1");
        if !user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let expected = "printable ASCII".to_owned();
            return Err(Error::Invalid { name: "REDDIT_USER_AGENT", got: user_agent, expected });
        }
        Ok(Scraper {
            schedule: reader.parsed("SCRAPER_SCHEDULE", every_morning, schedule::EXPECTED)?,
            max_concurrency: reader.number("SCRAPER_MAX_CONCURRENCY", 4, 1, 32)?,
            posts_per_day: reader.number("INGEST_POSTS_PER_USER_AND_DAY", 300, 0, 1_000_000)?,
            spot_check_rate: reader.share("INGEST_SPOT_CHECK_RATE", 0.1)?,
            reddit_url: reader.url("REDDIT_BASE_URL", "https://www.reddit.com")?,
            reddit_user_agent: user_agent,
        })
    }
}
