//! The stylist's tools.

use url::Url;

use super::reader::{Error, Reader};

/// Settings of the stylist.
#[derive(Debug, Clone)]
pub struct Stylist {
    /// Most tool calls per turn.
    pub tool_call_limit: usize,
    /// Words per second that the built-in model streams; 0 sends the answer at once.
    pub offline_tokens_per_second: u32,
    /// Most scraped items kept in memory for similarity search.
    pub similarity_max_items: usize,
    /// Service that finds cities.
    pub geocoding_url: Url,
    /// Weather service.
    pub forecast_url: Url,
}

impl Stylist {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            tool_call_limit: reader.number("STYLIST_TOOL_CALL_RECURSION_LIMIT", 8, 1, 64)?,
            offline_tokens_per_second: reader.number("OFFLINE_TOKENS_PER_SECOND", 60, 0, 10_000)?,
            similarity_max_items: reader.number("SIMILARITY_MAX_ITEMS", 200_000, 1000, 2_000_000)?,
            geocoding_url: reader.url("OPEN_METEO_GEOCODING_URL", "https://geocoding-api.open-meteo.com")?,
            forecast_url: reader.url("OPEN_METEO_FORECAST_URL", "https://api.open-meteo.com")?,
        })
    }
}
