//! Publishers and schedule of moods.

use url::Url;

use super::masked_url;
use super::reader::parse_url;
use super::reader::{Error, Reader};
use crate::model::schedule;
use crate::model::schedule::Schedule;

/// Default feeds.
const MOOD_FEEDS: &str = "https://www.vogue.com/feed/rss,https://www.whowhatwear.com/rss,\
    https://feeds.feedburner.com/nymag/fashion,https://www.refinery29.com/rss.xml,\
    https://www.harpersbazaar.com/rss/all.xml/";

/// Default sitemaps.
const MOOD_SITEMAPS: &str = "https://www.vogue.com/sitemap.xml,https://www.whowhatwear.com/sitemap.xml,\
    https://www.thecut.com/sitemap.xml,https://www.refinery29.com/sitemap.xml,\
    https://www.harpersbazaar.com/sitemap_index.xml";

/// Most feeds or sitemaps; the state of all feeds is one document.
const MOST_PUBLISHERS: usize = 20;

/// Sources and schedule of moods.
#[derive(Debug, Clone)]
pub struct Moods {
    /// Feeds of the publishers.
    pub feeds: Vec<Url>,
    /// Sitemaps of the publishers, one each.
    pub sitemaps: Vec<Url>,
    /// When to read the feeds.
    pub schedule: Schedule,
}

impl Moods {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let daily: Schedule = "0 0 6 * * *".parse().expect("the default is a schedule");
        Ok(Moods {
            feeds: read_publishers(reader, "MOOD_FEEDS", MOOD_FEEDS)?,
            sitemaps: read_publishers(reader, "MOOD_SITEMAPS", MOOD_SITEMAPS)?,
            schedule: reader.parsed("MOOD_SCHEDULE", daily, schedule::EXPECTED)?,
        })
    }
}

/// Reads a list of https URLs.
fn read_publishers(reader: &mut Reader<'_>, name: &'static str, default: &str) -> Result<Vec<Url>, Error> {
    let text = reader.text(name, default);
    reader.note_urls(name);
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let urls = parts.map(|part| parse_url(name, part.to_owned())).collect::<Result<Vec<_>, _>>()?;
    let fault = |got: String, expected: &str| Error::Invalid { name, got, expected: expected.to_owned() };
    if let Some(url) = urls.iter().find(|url| url.scheme() != "https") {
        return Err(fault(masked_url(url.as_str()), "https URLs"));
    }
    if urls.len() > MOST_PUBLISHERS {
        return Err(fault(
            format!("{} URLs", urls.len()),
            &format!("at most {MOST_PUBLISHERS} URLs, separated by commas"),
        ));
    }
    Ok(urls)
}
