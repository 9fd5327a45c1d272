//! Import and export of a user's wardrobe, profile and wear events.
//!
//! Import is strict where reading is lenient: values that readers would silently ignore are rejected, row by row. What
//! the API stores as its client wrote it, such as a purchase date, may have any text in a document; in a table, which
//! people fill in, it must be readable. Rows are merged into stored documents by compare-and-swap, and only changes are
//! written, so importing again does nothing. Wear counts and wear events are not derived from each other.

mod check;
mod encoding;
mod export;
mod numbers;
mod rows;
mod table;

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use encoding_rs::Encoding;
use futures::StreamExt;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;

use self::check::Origin;
use crate::data;
use crate::data::update::{Edit, update};
use crate::domain::wardrobe::fields::check_size;
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::{self, Container, DocumentStore, Key};

pub use check::{is_id, item_fields};
pub use export::{Exported, export};
pub use table::column_names;

/// Longest row, in bytes of JSON or CSV; slightly below the limit of documents.
pub const LONGEST_ROW: usize = 1_900_000;

/// Concurrent writes, enough for a store that commits in groups.
const IN_FLIGHT: usize = 64;

/// Most text of rows in memory, in KiB. A parsed row takes a few times its text.
const HELD_KIB: u32 = 16 * 1024;

/// Kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Wardrobe items.
    Wardrobe,
    /// The profile.
    Profile,
    /// Wear events.
    WearEvents,
}

impl RecordKind {
    /// Returns the container of such documents.
    pub const fn container(self) -> Container {
        match self {
            Self::Wardrobe => Container::Wardrobe,
            Self::Profile => Container::UserProfiles,
            Self::WearEvents => Container::WearEvents,
        }
    }
}

/// File format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON list of rows, or a single row.
    Json,
    /// A JSON row per line.
    Lines,
    /// A table of wardrobe items, see [`column_names`].
    Csv,
}

/// A file to import.
pub struct Source {
    /// Name in messages.
    pub name: String,
    /// Format; detected from the content if not given.
    pub format: Option<Format>,
    /// Encoding, if neither UTF-8 nor UTF-16.
    pub encoding: Option<&'static Encoding>,
    /// Content.
    pub input: Box<dyn Read + Send>,
}

/// Options of an import.
#[derive(Debug, Clone)]
pub struct Options {
    /// User that the documents are assigned to.
    pub user: UserId,
    /// Whether rows of other users are reassigned instead of rejected.
    pub take_over: bool,
    /// Kind of the rows; detected from their fields if not given.
    pub kind: Option<RecordKind>,
    /// Whether to report only, without writing.
    pub dry_run: bool,
}

/// A rejected row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Name of the file.
    pub source: Arc<str>,
    /// First line of the row, from 1.
    pub line: u64,
    /// Reason.
    pub reason: String,
}

/// Report of an import.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// New documents.
    pub created: u64,
    /// Changed documents.
    pub updated: u64,
    /// Documents that already contained their row.
    pub unchanged: u64,
    /// Rejected rows.
    pub rejected: u64,
}

/// Why an import or export failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed. Imported rows stay; importing again is safe.
    #[error("the store failed before all documents were processed")]
    Store(#[from] data::Error),
    /// The reader thread panicked; a bug.
    #[error("reading stopped")]
    Reader(#[source] tokio::task::JoinError),
    /// A file cannot be written.
    #[error("the file cannot be written")]
    Output(#[from] std::io::Error),
    /// Only wardrobe items can be written as a table.
    #[error("a CSV table holds wardrobe items only")]
    NoTable,
}

/// A row from a reader.
struct Row {
    line: u64,
    content: Result<Value, String>,
    /// Size of its text in bytes.
    size: usize,
}

/// A validated row.
struct Checked {
    source: Arc<str>,
    line: u64,
    content: Result<Document, String>,
    /// Releases the memory of the row.
    _room: Option<OwnedSemaphorePermit>,
}

enum Document {
    /// To be merged into the document at this key.
    New(Key, Map<String, Value>),
    /// A repetition of an earlier row.
    Repeated,
}

enum Outcome {
    Created,
    Updated,
    Unchanged,
    Rejected(Rejection),
}

/// Imports all rows of all files; calls `reject` for each rejected one, in order. Only a few rows are in memory, so
/// files may be larger than that.
///
/// # Errors
/// When the store fails; earlier rows may have been imported.
pub async fn import(
    store: &dyn DocumentStore,
    sources: Vec<Source>,
    options: Options,
    mut reject: impl FnMut(&Rejection),
) -> Result<Report, Error> {
    let dry_run = options.dry_run;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let runtime = Handle::current();
    let reader = tokio::task::spawn_blocking(move || read(sources, options, &runtime, &sender));
    let mut report = Report::default();
    let mut outcomes = ReceiverStream::new(receiver).map(|row| write(store, row, dry_run)).buffered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        match outcome? {
            Outcome::Created => report.created += 1,
            Outcome::Updated => report.updated += 1,
            Outcome::Unchanged => report.unchanged += 1,
            Outcome::Rejected(rejection) => {
                reject(&rejection);
                report.rejected += 1;
            }
        }
    }
    reader.await.map_err(Error::Reader)?;
    Ok(report)
}

/// Reads, validates and sends all rows, until the receiver is dropped.
fn read(sources: Vec<Source>, options: Options, runtime: &Handle, rows: &mpsc::Sender<Checked>) {
    let room = Arc::new(Semaphore::new(HELD_KIB as usize));
    let mut checker = Checker { options, seen: HashMap::new() };
    for Source { name, format, encoding, input } in sources {
        let source: Arc<str> = name.into();
        let (found, origin) = open(input, format, encoding);
        for Row { line, content, size } in found {
            let content = content.and_then(|row| checker.check(row, origin));
            let size_kib = u32::try_from(size / 1024).unwrap_or(HELD_KIB).clamp(1, HELD_KIB);
            // Never closed, so there is always a permit, sooner or later.
            let room = runtime.block_on(room.clone().acquire_many_owned(size_kib)).ok();
            if rows.blocking_send(Checked { source: source.clone(), line, content, _room: room }).is_err() {
                return;
            }
        }
    }
}

/// Opens a file's rows, and tells how strictly they are checked. Content that begins with `[` or `{` is JSON, anything
/// else a table.
fn open(
    input: Box<dyn Read + Send>,
    format: Option<Format>,
    encoding: Option<&'static Encoding>,
) -> (Box<dyn Iterator<Item = Row>>, Origin) {
    let mut input = encoding::utf8(input, encoding);
    let format = format.unwrap_or_else(|| {
        // The readers report errors.
        let start = input.fill_buf().unwrap_or_default();
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        if matches!(first, None | Some(b'[' | b'{')) { Format::Json } else { Format::Csv }
    });
    match format {
        Format::Json => (Box::new(rows::Rows::new(input)), Origin::Documents),
        Format::Lines => (Box::new(rows::Rows::of_lines(input)), Origin::Documents),
        Format::Csv => (Box::new(table::Rows::new(input)), Origin::Table),
    }
}

/// Validates rows, also against each other.
struct Checker {
    options: Options,
    /// Digests of key and content of each document so far.
    seen: HashMap<[u8; 16], [u8; 16]>,
}

impl Checker {
    fn check(&mut self, row: Value, origin: Origin) -> Result<Document, String> {
        let (kind, id, fields) = check::document(row, origin, &self.options)?;
        let content = digest(&[canonical(&fields).as_bytes()]);
        let name = digest(&[kind.container().spec().default_name.as_bytes(), b"/", id.as_bytes()]);
        match self.seen.get(&name) {
            Some(before) if *before == content => return Ok(Document::Repeated),
            Some(_) => return Err(format!("a row before has the id {id:?} and says something else")),
            None => {}
        }
        self.seen.insert(name, content);
        let key = match kind {
            RecordKind::Profile => Key::by_id(kind.container(), id),
            RecordKind::Wardrobe | RecordKind::WearEvents => Key::new(kind.container(), self.options.user.as_str(), id),
        };
        Ok(Document::New(key, fields))
    }
}

/// Half of a SHA-256: sufficient to distinguish rows, and compact for large files.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

/// Serializes the fields independently of their order: a `Map` keeps its keys sorted.
fn canonical(fields: &Map<String, Value>) -> String {
    Value::Object(fields.clone()).to_string()
}

async fn write(store: &dyn DocumentStore, row: Checked, dry_run: bool) -> Result<Outcome, Error> {
    let Checked { source, line, content, _room } = row;
    let reject = |reason| Ok(Outcome::Rejected(Rejection { source, line, reason }));
    let (key, fields) = match content {
        Ok(Document::New(key, fields)) => (key, fields),
        Ok(Document::Repeated) => return Ok(Outcome::Unchanged),
        Err(reason) => return reject(reason),
    };
    let outcome = update(store, &key, |stored: Option<Map<String, Value>>| {
        let before = stored.clone();
        let (document, outcome) = match stored {
            None => (fields.clone(), Ok(Outcome::Created)),
            Some(mut stored) => {
                if !merge(&mut stored, &fields) {
                    return Edit::Keep(Ok(Outcome::Unchanged));
                }
                (stored, Ok(Outcome::Updated))
            }
        };
        if key.container == Container::Wardrobe
            && let Err(unfit) = check_size(|name| document.get(name), before.as_ref())
        {
            return Edit::Keep(Err(unfit));
        }
        if dry_run { Edit::Keep(outcome) } else { Edit::Save(document, outcome) }
    })
    .await;
    match outcome {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(unfit)) => reject(unfit.to_string()),
        Err(data::Error::Store(error @ store::Error::TooLarge { .. })) => reject(error.to_string()),
        Err(error) => Err(error.into()),
    }
}

/// Merges `given` into `stored`, recursively, keeping missing fields. Returns whether anything changed.
fn merge(stored: &mut Map<String, Value>, given: &Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in given {
        match (stored.get_mut(name), value) {
            (Some(Value::Object(stored)), Value::Object(given)) => changed |= merge(stored, given),
            // A price without a currency does not override the stored currency.
            (Some(Value::Object(price)), Value::Number(_)) if price.contains_key("amount") => {
                changed |= merge(price, &Map::from_iter([("amount".to_owned(), value.clone())]));
            }
            (Some(stored), given) if same(stored, given) => {}
            // Absent and null both mean unknown.
            (None, Value::Null) => {}
            (_, given) => {
                stored.insert(name.clone(), given.clone());
                changed = true;
            }
        }
    }
    changed
}

/// Whether two values are equivalent: stores may format numbers and times differently.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::String(one), Value::String(other)) => {
            let full = |text: &str| text.contains('T').then(|| Timestamp::parse(text)).flatten();
            one == other || full(one).is_some_and(|one| full(other) == Some(one))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests;
