//! Sitemaps (sitemaps.org): lists of pages and of other sitemaps, possibly gzipped, with titles for Google News, or as
//! plain text with a URL per line.
//!
//! A sitemap is read as a stream: only one entry is in memory, and an entry that is too long ends the reading.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};
use time::{Date, Duration, Month};

use super::dates;
use super::feeds::TITLE;
use super::text::{LONGEST_URL, plain};
use crate::base::text::capitalised;
use crate::model::timestamp::Timestamp;

/// Largest decompressed sitemap: a quarter more than the protocol's 50 MiB.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Most entries of a sitemap, as in the protocol.
const MOST_ENTRIES: usize = 50_000;
/// Longest tag or text.
const LONGEST_TOKEN: usize = 64 * 1024;
/// Deepest nesting; news elements are four deep.
const DEEPEST: usize = 16;
/// Size of the read buffer.
const BUFFER: usize = 8 * 1024;
/// Magic bytes of a gzip file.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Fewest words of a slug that is used as a title.
const FEWEST_WORDS: usize = 3;

/// An entry of a sitemap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A page.
    Page(Listed),
    /// Another sitemap.
    Sitemap(Listed),
}

/// A listed page or sitemap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// URL as written.
    pub url: String,
    /// Time of the last change, or of publication for news.
    pub modified: Option<Timestamp>,
    /// Headline, for news.
    pub title: Option<String>,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At its last entry, or where the visitor stopped.
    Reached,
    /// At a limit or an error. The entries before that are used.
    Cut,
}

/// The text is not a sitemap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a sitemap")]
pub struct NotASitemap;

/// Calls `visit` with each entry of a sitemap, until `visit` breaks.
///
/// # Errors
/// When it is neither a list of pages nor one of sitemaps.
pub fn read(body: &Bytes, visit: impl FnMut(Entry) -> ControlFlow<()>) -> Result<End, NotASitemap> {
    let source = Cursor::new(body);
    if body.starts_with(&GZIP) { walk(MultiGzDecoder::new(source), visit) } else { walk(source, visit) }
}

/// Reader that stops after a number of bytes without progress.
struct Metered<R> {
    source: R,
    left: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left.get());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a part of the document is too long"));
        }
        let read = self.source.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read);
        Ok(read)
    }
}

/// The relevant texts of an entry.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Address,
    Modified,
    Title,
    Published,
}

#[derive(Default)]
struct Draft {
    address: String,
    modified: String,
    title: String,
    published: String,
}

impl Draft {
    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Address => &mut self.address,
            Field::Modified => &mut self.modified,
            Field::Title => &mut self.title,
            Field::Published => &mut self.published,
        }
    }

    fn add(&mut self, field: Field, text: &str) {
        let field = self.field(field);
        let room = LONGEST_TOKEN.saturating_sub(field.len());
        field.push_str(&text[..text.floor_char_boundary(room)]);
    }

    fn listed(&self) -> Option<Listed> {
        let url = self.address.trim();
        if url.is_empty() || url.len() > LONGEST_URL {
            return None;
        }
        // Texts come with their references resolved, but publishers escape titles twice.
        let title = plain(&self.title, TITLE);
        Some(Listed {
            url: url.to_owned(),
            modified: date(&self.published).or_else(|| date(&self.modified)),
            title: (!title.is_empty()).then_some(title),
        })
    }
}

fn walk(source: impl Read, mut visit: impl FnMut(Entry) -> ControlFlow<()>) -> Result<End, NotASitemap> {
    let left = Rc::new(Cell::new(LONGEST_TOKEN));
    let metered = Metered { source: source.take(MOST_BYTES), left: left.clone() };
    let mut source = BufReader::with_capacity(BUFFER, metered);
    skip_mark(&mut source);
    if is_text(&mut source) {
        return walk_lines(source, &left, visit);
    }
    let mut reader = Reader::from_reader(source);
    // An `&` in a URL that does not begin a reference.
    reader.config_mut().allow_dangling_amp = true;
    let mut buffer = Vec::new();
    let mut depth = 0_usize;
    let mut is_index = None;
    let mut draft: Option<Draft> = None;
    let mut field = None;
    let mut entries = 0;
    loop {
        buffer.clear();
        left.set(LONGEST_TOKEN);
        let Ok(event) = reader.read_event_into(&mut buffer) else { break };
        match event {
            Event::Start(element) => {
                let name = element.local_name();
                let name = name.as_ref();
                if depth == 0 {
                    is_index = Some(match name {
                        "urlset" => false,
                        "sitemapindex" => true,
                        _ => return Err(NotASitemap),
                    });
                }
                depth += 1;
                if depth > DEEPEST {
                    break;
                }
                field = match (depth, name) {
                    (2, "url" | "sitemap") => {
                        draft = Some(Draft::default());
                        None
                    }
                    (3, "loc") => Some(Field::Address),
                    (3, "lastmod") => Some(Field::Modified),
                    // Pictures and videos have titles, too.
                    (4, "title") if element.name().as_ref().starts_with("news:") => Some(Field::Title),
                    (4, "publication_date") => Some(Field::Published),
                    _ => None,
                };
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                field = None;
                if depth != 1 {
                    continue;
                }
                let listed = draft.take().and_then(|draft| draft.listed());
                let Some(listed) = listed else { continue };
                let entry = if is_index == Some(true) { Entry::Sitemap(listed) } else { Entry::Page(listed) };
                entries += 1;
                if visit(entry).is_break() {
                    return Ok(End::Reached);
                }
                if entries == MOST_ENTRIES {
                    break;
                }
            }
            Event::Text(text) => add(&mut draft, field, &text),
            Event::CData(text) => add(&mut draft, field, &text),
            Event::GeneralRef(reference) => add(&mut draft, field, &resolve(&reference)),
            Event::Eof => {
                let Some(_) = is_index else { return Err(NotASitemap) };
                return Ok(if depth == 0 { End::Reached } else { End::Cut });
            }
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if is_index.is_some() { Ok(End::Cut) } else { Err(NotASitemap) }
}

/// Whether this is a plain-text sitemap: its first line is a URL.
fn is_text(source: &mut impl BufRead) -> bool {
    let Ok(start) = source.fill_buf() else { return false };
    let start = start.trim_ascii_start();
    [&b"https://"[..], b"http://"].iter().any(|scheme| start.len() > scheme.len() && start.starts_with(scheme))
}

/// Calls `visit` with the URLs of a plain-text sitemap.
fn walk_lines(
    mut source: impl BufRead,
    left: &Cell<usize>,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<End, NotASitemap> {
    let mut line = Vec::new();
    for _ in 0..MOST_ENTRIES {
        line.clear();
        left.set(LONGEST_TOKEN);
        match source.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(End::Reached),
            Ok(_) => {}
            Err(_) => return Ok(End::Cut),
        }
        let Ok(url) = str::from_utf8(line.trim_ascii()) else { continue };
        if url.starts_with("http") && url.len() <= LONGEST_URL && !url.contains(char::is_whitespace) {
            let listed = Listed { url: url.to_owned(), ..Listed::default() };
            if visit(Entry::Page(listed)).is_break() {
                return Ok(End::Reached);
            }
        }
    }
    Ok(End::Cut)
}

/// Skips a byte order mark.
fn skip_mark(reader: &mut impl BufRead) {
    if let Ok(start) = reader.fill_buf()
        && start.starts_with(b"\xef\xbb\xbf")
    {
        reader.consume(3);
    }
}

fn add(draft: &mut Option<Draft>, field: Option<Field>, text: &str) {
    if let (Some(draft), Some(field)) = (draft, field) {
        draft.add(field, text);
    }
}

/// Resolves a reference in a text. Entities declared by the document itself resolve to nothing.
fn resolve(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        Ok(None) => resolve_predefined_entity(reference).unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// Parses a sitemap's date: a day, optionally with a time.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    dates::parse(text).or_else(|| Timestamp::parse(text.get(..10)?))
}

/// Returns the first and last day that a URL denotes by a year and perhaps a month: `/2026/03/`, `year=2026&month=3`,
/// `sitemap-2026.xml`.
pub fn period(url: &str) -> Option<(Date, Date)> {
    let mut numbers = url.split(|character: char| !character.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let year = numbers.by_ref().find_map(|digits| {
        let year: i32 = digits.parse().ok()?;
        (digits.len() == 4 && (1990..2100).contains(&year)).then_some(year)
    })?;
    let month = numbers.next().filter(|digits| digits.len() <= 2).and_then(|digits| digits.parse::<u8>().ok());
    let (first, last) = match month.and_then(|month| Month::try_from(month).ok()) {
        Some(month) => (month, month),
        None => (Month::January, Month::December),
    };
    let first = Date::from_calendar_date(year, first, 1).ok()?;
    let last = Date::from_calendar_date(year, last, last.length(year)).ok()?;
    Some((first, last))
}

/// Longest [`period`] that says when a page was published.
pub const LONGEST_MONTH: Duration = Duration::days(31);

/// Derives a title from the longest slug of a URL. `None` if it has too few words.
pub fn title_of(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default().split_once("://")?.1;
    let slugs = path.split('/').skip(1).map(words_of);
    // The last one of those with the most words.
    let words = slugs.max_by_key(Vec::len).filter(|words| words.len() >= FEWEST_WORDS)?;
    Some(plain(&capitalised(&words.join(" ")), TITLE))
}

/// Returns the words of a slug, without its extension and the article's number.
fn words_of(slug: &str) -> Vec<&str> {
    let slug = slug.strip_suffix(".html").or_else(|| slug.strip_suffix(".htm")).unwrap_or(slug);
    let mut words: Vec<&str> = slug.split(['-', '_']).filter(|word| !word.is_empty()).collect();
    let is_number = |word: &&str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        digits >= 5 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    words.retain(|word| !is_number(word));
    // Percent-escapes are not words.
    if words.iter().any(|word| word.contains('%') || word.contains('.')) { Vec::new() } else { words }
}
