//! Operations on whole database files: hot copies, integrity checks, deletion unless in use.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Error, Result};
use super::place::{FLAGS, first_damage, set_up};
use crate::base::private_files;

/// Length of a database file's header.
const HEADER_BYTES: u64 = 100;

/// Adds the SQL functions that a kind of file needs.
pub type Connect = fn(&Connection) -> rusqlite::Result<()>;

/// Writes a consistent snapshot of the file, even during concurrent writes. `to` must not exist. The copy is readable
/// only by its owner, needs no write-ahead log, and is durable when this returns.
///
/// # Errors
/// When the file cannot be read or the copy not written.
pub fn copy(from: &Path, to: &Path, connect: Connect) -> Result<()> {
    let unusable = |error: io::Error| Error::Unavailable(error.into());
    let target = to.to_str().ok_or_else(|| unusable(io::ErrorKind::InvalidFilename.into()))?;
    // SQLite accepts an empty file; a file that it creates itself could be read by other users.
    private_files::options().write(true).create_new(true).open(to).map_err(unusable)?;
    let connection = open(from, connect)?;
    connection.execute("VACUUM INTO ?1", [target])?;
    File::open(to).and_then(|file| file.sync_all()).map_err(unusable)
}

/// Checks a file for damage; `None` if there is none.
///
/// # Errors
/// When the file cannot be read.
pub fn find_damage(path: &Path, connect: Connect) -> Result<Option<String>> {
    match open(path, connect).and_then(|connection| Ok(first_damage(&connection)?)) {
        Err(Error::Unavailable(error) | Error::Failed(error)) if is_damage(&*error) => Ok(Some(error.to_string())),
        found => found,
    }
}

/// Whether the error says that the file is damaged.
pub(super) fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens a read-only connection.
///
/// # Errors
/// When the file cannot be read.
pub fn open(path: &Path, connect: Connect) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | FLAGS)?;
    set_up(&connection, connect)?;
    Ok(connection)
}

/// Returns the paths of the files that SQLite keeps beside an open database: its write-ahead log and the log's index.
pub fn logs(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Whether a service has opened the file: files written by [`copy`] have no write-ahead log. `false` if the file is
/// missing.
///
/// # Errors
/// When the file cannot be read.
pub fn keeps_a_log(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(HEADER_BYTES).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // The format versions for writing and reading: https://www.sqlite.org/fileformat.html
    Ok(header.get(18..20).is_some_and(|versions| versions == [2, 2]))
}

/// Deletes a file and its log, unless another process has it open. Returns whether it is gone.
///
/// # Errors
/// When the file cannot be opened or deleted.
pub fn delete(path: &Path) -> Result<bool> {
    let unusable = |error: io::Error| Error::Unavailable(error.into());
    if !path.try_exists().map_err(unusable)? {
        return Ok(true);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
    connection.busy_timeout(Duration::ZERO)?;
    // Leaving WAL mode needs exclusive access to the file.
    let mode = connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0));
    match mode {
        Ok(mode) if mode == "delete" => {}
        Ok(_) => return Ok(false),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(false),
        // A file that is not a database is not in use.
        Err(error) if is_damage(&error) => {}
        Err(error) => return Err(error.into()),
    }
    drop(connection);
    fs::remove_file(path).map_err(unusable)?;
    Ok(true)
}
