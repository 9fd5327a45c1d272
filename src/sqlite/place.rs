//! One database file: opening it, checking that it is still the same file, and finding damage.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Error, Result};
use super::files::{self, Connect, is_damage};
use crate::base::private_files;

/// Flags of every connection: it is used by one thread at a time, and its errors are detailed.
pub(super) const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_EXRESCODE);
/// Page cache per connection: the upper tree levels and the working set. The operating system also caches the file.
const CACHE_KIB: i32 = 4_096;
/// How long a statement waits for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements per connection: a few for each container and named query.
const STATEMENTS: usize = 256;
/// SQLite VM steps between two checks whether a damage check should stop.
const STEPS: i32 = 10_000;

/// Why an open file takes no more writes.
#[derive(Debug, thiserror::Error)]
enum FileGone {
    #[error("{} was deleted or moved away: writes are refused until it is back", .0.display())]
    Gone(PathBuf, #[source] io::Error),
    #[error("{} is not the file that was opened: writes are refused until the original file is back", .0.display())]
    Replaced(PathBuf),
    #[error("{} was emptied", .0.display())]
    Emptied(PathBuf),
}

/// The write-ahead log was deleted or replaced. Closing all connections saves its contents while the database file
/// exists, and reopening creates a new one.
#[derive(Debug, thiserror::Error)]
#[error("the database's write-ahead log is gone")]
pub(super) struct LogGone;

/// Device and inode of a file, which distinguish it from another one of the same name.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::metadata(path).map(|found| identity_of(&found))
}

fn identity_of(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// Location of a database file.
pub(super) struct Place {
    pub path: PathBuf,
    pub connect: Connect,
    /// Identity of the file when it was opened.
    pub file: Identity,
}

impl Place {
    /// Checks that the original file is still in place. Costs a directory look-up.
    ///
    /// The file must not be opened for this: closing it would release the locks of SQLite's connections.
    pub(super) fn check(&self) -> Result<()> {
        let path = || self.path.clone();
        let astray = match std::fs::metadata(&self.path) {
            Err(error) => FileGone::Gone(path(), error),
            Ok(found) if identity_of(&found) != self.file => FileGone::Replaced(path()),
            Ok(found) if found.len() == 0 => FileGone::Emptied(path()),
            Ok(_) => return Ok(()),
        };
        Err(Error::Unavailable(astray.into()))
    }

    pub(super) fn log_identity(&self) -> io::Result<Identity> {
        let [log, _] = files::logs(&self.path);
        identity(&log)
    }

    pub(super) fn open_writer(&self) -> Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
        set_up(&connection, self.connect)?;
        keep_a_log(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // The first read opens the log.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }

    /// Opens a read-only connection, only to the original file.
    pub(super) fn open_reader(&self) -> Result<Connection> {
        self.check()?;
        let connection = files::open(&self.path, self.connect)?;
        self.check()?;
        Ok(connection)
    }

    pub(super) fn find_damage(&self, stopping: Arc<AtomicBool>) -> Result<Option<String>> {
        let mut connection = self.open_reader()?;
        connection.progress_handler(STEPS, Some(move || stopping.load(Ordering::Relaxed)))?;
        match first_damage(&connection) {
            // A file may be too damaged to be checked.
            Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
            found => Ok(found?),
        }
    }
}

/// Describes the damage of the first damaged table.
pub(super) fn first_damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let mut damage = None;
        let looked_through = connection.pragma(None, "quick_check", &table, |row| {
            let finding: String = row.get(0)?;
            if finding != "ok" && damage.is_none() {
                damage = Some(format!("{table}: {finding}"));
            }
            Ok(())
        });
        // The check may end in an error after it has reported damage.
        if damage.is_some() {
            return Ok(damage);
        }
        looked_through?;
    }
    Ok(None)
}

/// Creates an empty file, which is an empty database, if there is none.
pub(super) fn create_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        private_files::create_directories(directory)?;
    }
    // Append rather than truncate: another process may have created it meanwhile.
    private_files::options().append(true).create(true).open(path).map(drop)
}

/// Configures a new connection.
pub(super) fn set_up(connection: &Connection, connect: Connect) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Largest size of the log after a burst of writes.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connect(connection)
}

/// Switches the file to a write-ahead log, so that readers and the writer do not block each other. When several
/// processes do so on a new file, SQLite rejects all but one without waiting; the others retry.
fn keep_a_log(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}
