//! Wardrobe statistics.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::reader::{Error, Reader};

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

/// Wardrobe statistics.
#[derive(Debug, Clone)]
pub struct Insights {
    /// How long computed statistics are cached.
    pub time_to_live: Duration,
    /// Source of exchange rates; `None` for the built-in rates.
    pub feed: Option<Feed>,
}

/// Source of exchange rates.
#[derive(Debug, Clone)]
pub enum Feed {
    /// A URL.
    Url(Url),
    /// A file.
    File(PathBuf),
}

impl Insights {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let milliseconds = reader.number("COSMOS_DB_VAULT_INSIGHTS_CACHE_TTL_MS", 1_800_000, 0, DAY_MILLISECONDS)?;
        let url = reader.optional_url("FX_RATES_URL")?;
        let file = reader.optional("FX_RATES_FILE").map(PathBuf::from);
        let feed = match (url, file) {
            (Some(_), Some(_)) => {
                return Err(Error::Refused(
                    "FX_RATES_URL and FX_RATES_FILE are both set: exchange rates come from one".into(),
                ));
            }
            (url, file) => url.map(Feed::Url).or_else(|| file.map(Feed::File)),
        };
        Ok(Insights { time_to_live: Duration::from_millis(milliseconds), feed })
    }
}
