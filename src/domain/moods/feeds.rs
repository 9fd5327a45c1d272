//! Feeds: RSS, RDF, Atom and JSON Feed as publishers write them, possibly gzipped.
//!
//! `feed-rs` parses the XML formats. Before that, the feed is decoded and scanned once to find its entries. This bounds
//! the parser's input (it keeps all entries in memory), saves the entries of a truncated feed, and finds what must be
//! repaired: stray ampersands and angle brackets, unbalanced tags, unknown versions of RSS.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use chrono::DateTime;
use encoding_rs::{UTF_16BE, UTF_16LE};
use feed_rs::model::{Entry, Feed};
use feed_rs::parser;
use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::encoding::DecodingReader;
use quick_xml::events::Event;
use url::Url;

use super::sitemaps::GZIP;
use super::text::{article_url, plain};
use super::{dates, json_feed};
use crate::model::mood::Snippet;
use crate::model::timestamp::Timestamp;

/// Most entries of a feed.
pub const MOST_ENTRIES: usize = 50;
/// Most elements up to the last entry; real entries have about 30.
const MOST_ELEMENTS: usize = 20_000;
/// Deepest nesting of elements.
const DEEPEST: usize = 100;
/// Nesting depth of entries: within `rss` and `channel`, or within `feed` or `RDF`.
const ENTRY_DEPTHS: Range<usize> = 1..3;
/// Longest title, in characters.
pub const TITLE: usize = 200;
/// Longest text of an article, in characters.
pub const TEXT: usize = 400;
/// Bytes of an entry's markup that are searched for that text.
const MARKUP_BYTES: usize = 64 * 1024;
/// Most repairs of a feed.
const MOST_REPAIRS: usize = 100_000;
/// Largest decompressed feed.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// Versions of RSS that the parser supports. Others are read as 2.0, which is a superset.
const VERSIONS: [&str; 4] = ["2.0", "", "0.91", "0.92"];
/// Longest name of an encoding, in bytes.
const LONGEST_ENCODING: usize = 40;

/// Why a feed cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// There is no `rss`, `RDF` or `feed` element.
    #[error("this is not a feed")]
    NotAFeed,
    /// No entry can be parsed.
    #[error("the feed is broken before the end of its first entry")]
    Broken,
}

/// Articles of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Articles {
    /// Articles with title and URL, in the feed's order.
    pub snippets: Vec<Snippet>,
    /// Whether the feed was read to its end or to the most entries.
    pub is_whole: bool,
}

/// Parses a feed from `url` with this content type. `publisher` becomes the source of its articles.
///
/// # Errors
/// When nothing of it can be read.
pub fn read(body: &[u8], content_type: &str, url: &Url, publisher: &str) -> Result<Articles, FeedError> {
    let unpacked = body.starts_with(&GZIP).then(|| unpack(body));
    let body = unpacked.as_deref().unwrap_or(body);
    let text = decode(body, content_type);
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return json_feed::read(&text, url, publisher);
    }
    // The declaration of a UTF-16 text can be read only now.
    let text = declaration(text.trim_start().as_bytes()).map_or(&*text, |found| &text.trim_start()[found.len()..]);
    let outline = outline(text)?;
    let mut entries = parse(&outline.document(text, outline.entries.iter()), url).map(|feed| feed.entries);
    if entries.is_err() && outline.entries.len() > 1 {
        // An entry that the parser rejects does not affect the others.
        let single = |entry| parse(&outline.document(text, std::iter::once(entry)), url).ok();
        entries = Ok(outline.entries.iter().filter_map(single).flat_map(|feed| feed.entries).collect());
    }
    let entries = entries.map_err(|_| FeedError::Broken)?;
    let snippets = entries.iter().filter_map(|entry| snippet(entry, publisher));
    Ok(Articles { snippets: each_once(snippets), is_whole: outline.is_whole })
}

/// Removes duplicate URLs.
pub(super) fn each_once(found: impl Iterator<Item = Snippet>) -> Vec<Snippet> {
    let mut snippets: Vec<Snippet> = Vec::new();
    for snippet in found {
        if !snippets.iter().any(|known| known.url == snippet.url) {
            snippets.push(snippet);
        }
    }
    snippets
}

/// Decompresses a gzip file, as far as possible and within the limit.
fn unpack(body: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    // Data before an error is used.
    MultiGzDecoder::new(body).take(MOST_BYTES).read_to_end(&mut unpacked).ok();
    unpacked
}

fn parse(document: &str, url: &Url) -> Result<Feed, parser::ParseFeedError> {
    let date = |text: &str| DateTime::from_timestamp(dates::parse(text)?.get().unix_timestamp(), 0);
    parser::Builder::new().base_uri(Some(url.as_str())).timestamp_parser(date).build().parse(document.as_bytes())
}

/// Decodes a feed and strips its XML declaration. The encoding is that of the byte order mark, the declaration, the
/// content type, or UTF-8. Invalid bytes become replacement characters.
fn decode<'a>(body: &'a [u8], content_type: &str) -> Cow<'a, str> {
    // UTF-16 without a mark.
    match body {
        [b'<', 0, ..] => return UTF_16LE.decode(body).0,
        [0, b'<', ..] => return UTF_16BE.decode(body).0,
        _ => {}
    }
    let marked = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let declaration = declaration(marked);
    let rest = declaration.map_or(body, |declaration| &marked[declaration.len()..]);
    let label = content_type
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, label)| label.trim().trim_matches('"'))
        .filter(|label| label.len() <= LONGEST_ENCODING && label.bytes().all(is_label));
    let declared = declaration.and_then(|declaration| decode_as(str::from_utf8(declaration).ok()?, rest));
    let labelled = || decode_as(&format!("<?xml version=\"1.0\" encoding=\"{}\"?>", label?), rest);
    declared.or_else(labelled).unwrap_or_else(|| {
        // UTF-8, the default of a reader before any input.
        DecodingReader::new(&b""[..]).encoding().decode(rest).0
    })
}

/// Decodes a text in the encoding of an XML declaration. A byte order mark takes precedence. UTF-16 without one is
/// detected earlier, so a declaration of UTF-16 is wrong here, as when a program wrote a UTF-16 text as UTF-8.
fn decode_as<'a>(declaration: &str, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    match Reader::from_str(declaration).read_event() {
        Ok(Event::Decl(declaration)) => {
            let encoding = declaration.encoder()?;
            (encoding != UTF_16LE && encoding != UTF_16BE).then(|| encoding.decode(bytes).0)
        }
        Ok(_) | Err(_) => None,
    }
}

fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
}

fn declaration(body: &[u8]) -> Option<&[u8]> {
    let head = &body[..body.len().min(200)];
    let end = head.windows(2).position(|two| two == b"?>")? + 2;
    head.starts_with(b"<?xml").then(|| &body[..end])
}

/// Positions of a feed's entries.
struct Outline {
    /// Start of the first entry; the text before it has the feed's kind and namespaces.
    head: usize,
    /// The entries.
    entries: Vec<Range<usize>>,
    /// Elements that enclose the entries, outermost first.
    around: Vec<String>,
    /// Parts that the parser would reject, in the order of the text.
    repairs: Vec<Repair>,
    is_whole: bool,
}

/// A part of a feed's text, and its replacement.
struct Repair {
    place: Range<usize>,
    text: Cow<'static, str>,
}

impl Outline {
    /// Builds a feed of some of the entries.
    fn document<'a>(&self, text: &str, entries: impl Iterator<Item = &'a Range<usize>>) -> String {
        let mut document = String::new();
        for part in std::iter::once(0..self.head).chain(entries.cloned()) {
            let first = self.repairs.partition_point(|repair| repair.place.start < part.start);
            let mut start = part.start;
            for Repair { place, text: repaired } in
                self.repairs[first..].iter().take_while(|repair| repair.place.end <= part.end)
            {
                document.push_str(&text[start..place.start]);
                document.push_str(repaired);
                start = place.end;
            }
            document.push_str(&text[start..part.end]);
        }
        for name in self.around.iter().rev() {
            document.push_str("</");
            document.push_str(name);
            document.push('>');
        }
        document
    }
}

/// Sets what the feed parser sets, so that both see the same elements.
fn be_tolerant(config: &mut quick_xml::reader::Config) {
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
}

fn outline(text: &str) -> Result<Outline, FeedError> {
    let mut reader = Reader::from_str(text);
    be_tolerant(reader.config_mut());
    let mut open: Vec<String> = Vec::new();
    let mut found = Outline { head: 0, entries: Vec::new(), around: Vec::new(), repairs: Vec::new(), is_whole: false };
    let mut entry_start = None;
    let mut elements = 0;
    let place = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
    loop {
        let before = place(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Start(element)) => {
                let name = element.name().as_ref().to_owned();
                let local = element.local_name();
                if open.is_empty() && !matches!(local.as_ref(), "rss" | "RDF" | "feed") {
                    return Err(FeedError::NotAFeed);
                }
                elements += 1;
                if elements > MOST_ELEMENTS || open.len() >= DEEPEST || found.repairs.len() > MOST_REPAIRS {
                    break;
                }
                if open.is_empty() && local.as_ref() == "rss" {
                    let tag = &text[before..place(reader.buffer_position())];
                    found.repairs.extend(version_repair(tag, before, name.len()));
                }
                let is_entry = matches!(local.as_ref(), "item" | "entry") && ENTRY_DEPTHS.contains(&open.len());
                if is_entry && entry_start.is_none() && (found.entries.is_empty() || found.around == open) {
                    if found.entries.is_empty() {
                        found.head = before;
                        found.around.clone_from(&open);
                    }
                    entry_start = Some(before);
                }
                open.push(name);
            }
            Ok(Event::End(element)) => {
                let after = place(reader.buffer_position());
                let name = element.name();
                let Some(depth) = open.iter().rposition(|known| known == name.as_ref()) else {
                    found.repairs.push(Repair { place: before..after, text: "".into() });
                    continue;
                };
                // Elements opened since then and never closed.
                let closed: String = open.drain(depth + 1..).rev().map(|name| format!("</{name}>")).collect();
                if !closed.is_empty() {
                    found.repairs.push(Repair { place: before..before, text: closed.into() });
                }
                open.pop();
                if let Some(start) = entry_start.take_if(|_| open.len() == found.around.len()) {
                    found.entries.push(start..after);
                    if found.entries.len() == MOST_ENTRIES {
                        found.is_whole = true;
                        break;
                    }
                }
            }
            Ok(Event::Text(_)) => {
                let after = place(reader.buffer_position());
                let ampersands = text[before..after].match_indices('&').map(|(at, _)| before + at).take(MOST_REPAIRS);
                found.repairs.extend(ampersands.map(|at| Repair { place: at..at + 1, text: "&amp;".into() }));
            }
            // The parser would change its encoding there, and panics if that comes too late.
            Ok(Event::Decl(_)) => break,
            Ok(Event::Eof) => {
                found.is_whole = open.is_empty() && elements > 0;
                break;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    match (elements, found.entries.is_empty()) {
        (0, _) => Err(FeedError::NotAFeed),
        (_, true) if !found.is_whole => Err(FeedError::Broken),
        // A feed may be empty.
        (_, true) => Ok(Outline { head: text.len(), around: Vec::new(), ..found }),
        (_, false) => Ok(found),
    }
}

/// Returns the repair of an unsupported version in an `rss` tag; `None` if it is supported. The tag starts at `start`,
/// and its name has this length.
fn version_repair(tag: &str, start: usize, name: usize) -> Option<Repair> {
    let found = tag.match_indices("version").find_map(|(at, word)| {
        let after = tag[at + word.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let value = after[1..].split(quote).next()?;
        let begin = tag.len() - after.len() + 1;
        (at > 0 && tag[..at].ends_with(char::is_whitespace)).then_some((begin, value))
    });
    match found {
        Some((_, version)) if VERSIONS.contains(&version) => None,
        Some((begin, version)) => {
            Some(Repair { place: start + begin..start + begin + version.len(), text: "2.0".into() })
        }
        None => {
            let end = start + 1 + name;
            Some(Repair { place: end..end, text: " version=\"2.0\"".into() })
        }
    }
}

fn snippet(entry: &Entry, publisher: &str) -> Option<Snippet> {
    let title = plain(&entry.title.as_ref()?.content, TITLE);
    if title.is_empty() {
        return None;
    }
    let page = entry.links.iter().find(|link| link.rel.as_deref().is_none_or(|rel| rel == "alternate"));
    let link = page.or(entry.links.first()).map_or(entry.id.as_str(), |link| link.href.as_str());
    let summary = entry.summary.as_ref().map(|summary| summary.content.as_str());
    let content = entry.content.as_ref().and_then(|content| content.body.as_deref());
    // The longer of the two; the summary if equal.
    let text = [content, summary].into_iter().flatten().map(|markup| plain(head(markup), TEXT));
    let published = entry.published.or(entry.updated);
    Some(Snippet {
        title,
        text: text.max_by_key(String::len).unwrap_or_default(),
        url: article_url(link)?,
        source: publisher.to_owned(),
        published_at: published.and_then(|at| Timestamp::from_unix(at.timestamp())),
    })
}

/// Returns the beginning of an entry's markup.
pub(super) fn head(markup: &str) -> &str {
    &markup[..markup.floor_char_boundary(MARKUP_BYTES)]
}
