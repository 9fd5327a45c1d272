//! JSON Feed (<https://www.jsonfeed.org/version/1.1/>). Only the first items are kept in memory.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use super::dates;
use super::feeds::{Articles, FeedError, MOST_ENTRIES, TEXT, TITLE, each_once, head};
use super::text::{article_url, plain};
use crate::model::lenient;
use crate::model::mood::Snippet;

#[derive(Deserialize)]
struct Feed {
    #[serde(default, deserialize_with = "lenient::or_default")]
    version: String,
    #[serde(default, deserialize_with = "first_items")]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    #[serde(deserialize_with = "lenient::or_default")]
    id: String,
    #[serde(deserialize_with = "lenient::or_default")]
    url: String,
    #[serde(deserialize_with = "lenient::or_default")]
    external_url: String,
    #[serde(deserialize_with = "lenient::or_default")]
    title: String,
    #[serde(deserialize_with = "lenient::or_default")]
    content_html: String,
    #[serde(deserialize_with = "lenient::or_default")]
    content_text: String,
    #[serde(deserialize_with = "lenient::or_default")]
    summary: String,
    #[serde(deserialize_with = "lenient::or_default")]
    date_published: String,
    #[serde(deserialize_with = "lenient::or_default")]
    date_modified: String,
}

/// Parses a feed from `url`. `publisher` becomes the source of its articles.
pub(super) fn read(text: &str, url: &Url, publisher: &str) -> Result<Articles, FeedError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let feed: Feed = serde_json::from_str(text).map_err(|_| FeedError::NotAFeed)?;
    if !feed.version.contains("jsonfeed.org") {
        return Err(FeedError::NotAFeed);
    }
    let snippets = feed.items.iter().filter_map(|item| snippet(item, url, publisher));
    Ok(Articles { snippets: each_once(snippets), is_whole: true })
}

fn snippet(item: &Item, base: &Url, publisher: &str) -> Option<Snippet> {
    let title = plain(&item.title, TITLE);
    let link = [&item.url, &item.external_url, &item.id].into_iter().find(|link| !link.trim().is_empty())?;
    let texts = [&item.content_text, &item.content_html, &item.summary].map(|markup| plain(head(markup), TEXT));
    let published = dates::parse(&item.date_published).or_else(|| dates::parse(&item.date_modified));
    (!title.is_empty()).then_some(())?;
    Some(Snippet {
        title,
        text: texts.into_iter().max_by_key(String::len).unwrap_or_default(),
        url: article_url(base.join(link.trim()).ok()?.as_str())?,
        source: publisher.to_owned(),
        published_at: published,
    })
}

/// Reads the first items; invalid ones are skipped.
fn first_items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Vec<Item>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<Item>, A::Error> {
            let mut items = Vec::new();
            while items.len() < MOST_ENTRIES {
                let Some(element) = elements.next_element::<Value>()? else { return Ok(items) };
                items.extend(serde_json::from_value::<Item>(element));
            }
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            Ok(items)
        }
    }

    deserializer.deserialize_seq(First)
}
