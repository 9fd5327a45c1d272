//! A user's wardrobe, profile and wear events, from files into the store and back.
//!
//! Importing is strict where reading is lenient: a value that readers would silently pass over is refused here, row by
//! row, while somebody looks. It merges what a row says into what is stored, by compare-and-swap, and writes only what
//! that changes, so running it again does nothing. Rows are stored as they are given: wear counts are not derived from
//! wear events, nor the other way round.

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

use crate::data;
use crate::data::update::{Edit, update};
use crate::model::ids::UserId;
use crate::model::timestamp::Timestamp;
use crate::store::{self, Container, DocumentStore, Key};

pub use check::is_id;
pub use export::{Exported, export};
pub use table::COLUMNS;

/// The longest row, in bytes of JSON or CSV: a little less than a document may have, for what the store adds.
pub const LONGEST_ROW: usize = 1_900_000;

/// Rows on their way to the store at once: enough for a store that commits in groups.
const IN_FLIGHT: usize = 64;

/// Text of the rows that are held at once, in KiB. A parsed row takes a few times its text.
const HELD_KIB: u32 = 16 * 1024;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A piece of clothing.
    Wardrobe,
    /// What is known of the user.
    Profile,
    /// One wearing of one piece.
    WearEvents,
}

impl Kind {
    /// Where such documents are.
    pub const fn container(self) -> Container {
        match self {
            Self::Wardrobe => Container::Wardrobe,
            Self::Profile => Container::UserProfiles,
            Self::WearEvents => Container::WearEvents,
        }
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON list of rows, or a single row.
    Json,
    /// A JSON row in each line.
    Lines,
    /// A table of wardrobe items, see [`COLUMNS`].
    Csv,
}

/// Something to import.
pub struct Source {
    /// Its name in messages.
    pub name: String,
    /// How it is written; found out from how it begins if not given.
    pub format: Option<Format>,
    /// What its text is encoded in, if it is neither UTF-8 nor UTF-16.
    pub encoding: Option<&'static Encoding>,
    /// Its content.
    pub input: Box<dyn Read + Send>,
}

/// How to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose the documents become.
    pub user: UserId,
    /// Whether rows that name another user become this user's too, instead of being rejected.
    pub take_over: bool,
    /// What the rows are about; found out from their fields if not given.
    pub kind: Option<Kind>,
    /// Only say what would happen.
    pub dry_run: bool,
}

/// A row that was not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Name of its source.
    pub source: Arc<str>,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What became of the rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// New documents.
    pub created: u64,
    /// Documents that changed.
    pub updated: u64,
    /// Documents that already said all that their row says.
    pub unchanged: u64,
    /// Rows with a fault.
    pub rejected: u64,
}

/// Why an import or export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not do it. What was imported before stays; importing again is safe.
    #[error("the store failed half-way")]
    Store(#[from] data::Error),
    /// The thread that reads files died: a fault in this program.
    #[error("reading stopped")]
    Reader(#[source] tokio::task::JoinError),
    /// A file cannot be written.
    #[error("the file cannot be written")]
    Output(#[from] std::io::Error),
    /// Only wardrobe items make a table.
    #[error("a CSV table holds wardrobe items only")]
    NoTable,
}

/// A row as a reader gives it.
struct Row {
    line: u64,
    content: Result<Value, String>,
    /// Bytes of its text.
    size: usize,
}

/// A row that was looked at, on its way to the store.
struct Checked {
    source: Arc<str>,
    line: u64,
    content: Result<Document, String>,
    /// Gives the room back that the row takes.
    _room: Option<OwnedSemaphorePermit>,
}

enum Document {
    /// To be merged into what is stored at the key.
    New(Key, Map<String, Value>),
    /// The same as a row before it.
    Repeated,
}

enum Outcome {
    Created,
    Updated,
    Unchanged,
    Rejected(Rejection),
}

/// Imports all rows of all sources; `reject` hears of each that cannot be, in their order. At no time are more than a few
/// of the rows held, so files may be larger than memory.
///
/// # Errors
/// When the store fails: rows before may have been imported.
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

/// Reads and checks all rows and sends them on, until nobody wants them any more.
fn read(sources: Vec<Source>, options: Options, runtime: &Handle, rows: &mpsc::Sender<Checked>) {
    let room = Arc::new(Semaphore::new(HELD_KIB as usize));
    let mut checker = Checker { options, seen: HashMap::new() };
    for Source { name, format, encoding, input } in sources {
        let source: Arc<str> = name.into();
        for Row { line, content, size } in open(input, format, encoding) {
            let content = content.and_then(|row| checker.check(row));
            let size_kib = u32::try_from(size / 1024).unwrap_or(HELD_KIB).clamp(1, HELD_KIB);
            // Never closed, so there is always a permit, sooner or later.
            let room = runtime.block_on(room.clone().acquire_many_owned(size_kib)).ok();
            if rows.blocking_send(Checked { source: source.clone(), line, content, _room: room }).is_err() {
                return;
            }
        }
    }
}

/// The rows of a file. How it begins says how it is written: `[` and `{` are JSON, all else is a table.
fn open(
    input: Box<dyn Read + Send>,
    format: Option<Format>,
    encoding: Option<&'static Encoding>,
) -> Box<dyn Iterator<Item = Row>> {
    let mut input = encoding::utf8(input, encoding);
    let format = format.unwrap_or_else(|| {
        // What cannot be read is met and reported by the readers.
        let start = input.fill_buf().unwrap_or_default();
        let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
        if matches!(first, None | Some(b'[' | b'{')) { Format::Json } else { Format::Csv }
    });
    match format {
        Format::Json => Box::new(rows::Rows::new(input)),
        Format::Lines => Box::new(rows::Rows::of_lines(input)),
        Format::Csv => Box::new(table::Rows::new(input)),
    }
}

/// Checks rows, and against each other.
struct Checker {
    options: Options,
    /// For each document so far, a digest of its key and one of its content.
    seen: HashMap<[u8; 16], [u8; 16]>,
}

impl Checker {
    fn check(&mut self, row: Value) -> Result<Document, String> {
        let (kind, id, fields) = check::document(row, &self.options)?;
        let content = digest(&[canonical(&fields).as_bytes()]);
        let name = digest(&[kind.container().spec().default_name.as_bytes(), b"/", id.as_bytes()]);
        match self.seen.get(&name) {
            Some(before) if *before == content => return Ok(Document::Repeated),
            Some(_) => return Err(format!("a row before has the id {id:?} and says something else")),
            None => {}
        }
        self.seen.insert(name, content);
        let key = match kind {
            Kind::Profile => Key::by_id(kind.container(), id),
            Kind::Wardrobe | Kind::WearEvents => Key::new(kind.container(), self.options.user.as_str(), id),
        };
        Ok(Document::New(key, fields))
    }
}

/// Half of a SHA-256: enough to tell rows apart, and small for the many rows of a large file.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

/// The fields as JSON that does not depend on their order: a `Map` keeps its keys sorted.
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
        let (document, outcome) = match stored {
            None => (fields.clone(), Outcome::Created),
            Some(mut stored) => {
                if !merge(&mut stored, &fields) {
                    return Edit::Keep(Outcome::Unchanged);
                }
                (stored, Outcome::Updated)
            }
        };
        if dry_run { Edit::Keep(outcome) } else { Edit::Save(document, outcome) }
    })
    .await;
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(data::Error::Store(error @ store::Error::TooLarge { .. })) => reject(error.to_string()),
        Err(error) => Err(error.into()),
    }
}

/// Puts `given` into `stored`; fields that are not given stay, in nested objects too. Whether that changed anything.
fn merge(stored: &mut Map<String, Value>, given: &Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in given {
        match (stored.get_mut(name), value) {
            (Some(Value::Object(stored)), Value::Object(given)) => changed |= merge(stored, given),
            // A price without a currency says nothing against the one that is stored.
            (Some(Value::Object(price)), Value::Number(_)) if price.contains_key("amount") => {
                changed |= merge(price, &Map::from_iter([("amount".to_owned(), value.clone())]));
            }
            (Some(stored), given) if same(stored, given) => {}
            // Absent and null both mean that nobody said.
            (None, Value::Null) => {}
            (_, given) => {
                stored.insert(name.clone(), given.clone());
                changed = true;
            }
        }
    }
    changed
}

/// Whether two values say the same: stores may write a number or a time in another way than it was given.
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
