//! SQLite threads and connections for the embedded store and queue.
//!
//! One thread owns the only writing connection. It takes the waiting jobs (up to `GROUP`), runs them in one transaction
//! and answers after the commit, so that `synchronous=FULL` costs one sync for many writes. Reads run on a few
//! read-only connections; an in-memory database has only one connection, where reads are jobs too.
//!
//! After a disk error all connections are closed, and opened again by the next write. A file that was deleted, moved or
//! replaced takes no more writes until it is back, because writes to a file without a name are lost when the process
//! ends.

mod error;
pub mod files;
mod group;
mod place;
mod readers;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};
use tracing::error;

use self::error::Stopped;
pub(crate) use self::error::work_error;
pub use self::error::{Error, Result, WorkError};
use self::group::{Jobs, write_groups};
use self::place::{Place, create_file, identity, set_up};
use self::readers::Readers;
use self::writer::Writer;
use crate::base::clock::Clock;
use crate::base::deadline;

/// Most jobs per transaction. Bounds the effect of a failed commit, and the delay of the first job.
const GROUP: usize = 256;
/// Jobs that may wait for the thread before callers have to wait for room.
const QUEUE: usize = 1024;
/// Read-only connections.
pub(crate) const READERS: usize = 4;
/// How long a caller waits for an unresponsive disk; longer than a statement waits for another process, which has its
/// own error.
const DISK_DEADLINE: Duration = Duration::from_secs(8);

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file has layout {found}, written by a newer version of this program; this one knows layouts up to {newest}"
)]
struct NewerLayout {
    found: u32,
    newest: u32,
}

/// Reads the layout of a file (`PRAGMA user_version`), zero for a new one; refuses one above `newest`.
///
/// # Errors
/// [`Error::Failed`] when the file is newer, [`Error::Unavailable`] when it cannot be read.
pub fn layout(connection: &Connection, newest: u32) -> Result<u32> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > newest { Err(Error::Failed(NewerLayout { found, newest }.into())) } else { Ok(found) }
}

/// Returns the current time in milliseconds since 1970.
pub fn now_ms(clock: &dyn Clock) -> i64 {
    let now = clock.now();
    now.unix_timestamp() * 1000 + i64::from(now.millisecond())
}

/// Set-up of a kind of file. `E` is its user's error type.
pub struct Schema<E> {
    /// Adds functions to a new connection.
    pub connect: files::Connect,
    /// Migrates tables and indexes when the file is opened.
    pub prepare: fn(&mut Connection) -> Result<(), E>,
}

/// Runs work on a database.
pub struct Engine {
    /// `None` only during drop.
    jobs: Option<Jobs>,
    writer: Option<JoinHandle<()>>,
    /// `None` for a database in memory.
    readers: Option<Arc<Readers>>,
    /// The damage check, if one was started.
    search: Mutex<Option<JoinHandle<()>>>,
    /// Stops the damage check.
    stopping: Arc<AtomicBool>,
}

impl Engine {
    /// Opens or creates the file at `path`, and its directory, and migrates it. A new file is readable only by its
    /// owner.
    ///
    /// # Errors
    /// [`Error::Failed`] when a newer version wrote the file; [`Error::Unavailable`] when it cannot be used for another
    /// reason, such as a lock of another process.
    pub fn open<E: WorkError>(path: &Path, schema: &Schema<E>) -> Result<Self, E> {
        let unusable = |error: io::Error| Error::Unavailable(error.into());
        create_file(path).map_err(unusable)?;
        let place = Place { path: path.to_owned(), connect: schema.connect, file: identity(path).map_err(unusable)? };
        let mut connection = place.open_writer()?;
        (schema.prepare)(&mut connection)?;
        let readers = Arc::new(Readers {
            place,
            idle: Mutex::new(Vec::with_capacity(READERS)),
            open: RwLock::new(()),
            permits: Arc::new(Semaphore::new(READERS)),
        });
        let log = readers.place.log_identity().map_err(unusable)?;
        Ok(Self::start(
            Writer { connection: Some(connection), file: Some((readers.clone(), log)), is_down: false },
            Some(readers),
        )?)
    }

    /// Creates a database in memory.
    ///
    /// # Errors
    /// When SQLite or the system refuse.
    pub fn in_memory<E: WorkError>(schema: &Schema<E>) -> Result<Self, E> {
        Self::on(Connection::open_in_memory().map_err(Error::from)?, schema)
    }

    /// Creates an engine with a single connection.
    fn on<E: WorkError>(mut connection: Connection, schema: &Schema<E>) -> Result<Self, E> {
        set_up(&connection, schema.connect).map_err(Error::from)?;
        (schema.prepare)(&mut connection)?;
        Ok(Self::start(Writer { connection: Some(connection), file: None, is_down: false }, None)?)
    }

    fn start(writer: Writer, readers: Option<Arc<Readers>>) -> Result<Self> {
        let (jobs, waiting) = Jobs::with_room(QUEUE);
        let writer = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_groups(writer, waiting, GROUP))
            .map_err(|error| Error::Unavailable(error.into()))?;
        let (search, stopping) = (Mutex::new(None), Arc::default());
        Ok(Self { jobs: Some(jobs), writer: Some(writer), readers, search, stopping })
    }

    /// Runs `work` in a transaction, possibly shared with other work, and returns after the commit. An error rolls back
    /// only `work`.
    ///
    /// # Errors
    /// That of `work` or of the commit. After a time-out, it is unknown whether the work took effect.
    pub async fn write<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        let jobs = self.jobs.as_ref().ok_or_else(|| E::from(Stopped::Writer.into()))?;
        let done = jobs.write(work);
        match &self.readers {
            Some(_) => deadline::within(DISK_DEADLINE, done).await.map_err(Error::from)?,
            None => done.await,
        }
    }

    /// Checks that the writer is running, and that a new connection finds the file at its path and can read it.
    /// Existing connections could continue from their caches although the file is gone or overwritten.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be read, [`Error::Failed`] when the writer has stopped.
    pub async fn check(&self) -> Result<()> {
        if self.jobs.as_ref().is_none_or(Jobs::is_closed) {
            return Err(Stopped::Writer.into());
        }
        let Some(readers) = self.readers.clone() else { return Ok(()) };
        let look = move || -> Result<()> {
            let _open = readers.open.read();
            let connection = readers.place.open_reader()?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(())
        };
        let looked = deadline::within(DISK_DEADLINE, tokio::task::spawn_blocking(look)).await?;
        looked.map_err(|_| Stopped::Readers)?
    }

    /// Runs `work`, which only reads.
    ///
    /// # Errors
    /// The error of `work`.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        match &self.readers {
            Some(readers) => deadline::within(DISK_DEADLINE, readers.clone().run(work)).await.map_err(Error::from)?,
            None => self.write(work).await,
        }
    }

    /// Checks the file for damage, like `PRAGMA quick_check`; `None` if there is none. Reads the whole file, table by
    /// table, so that no snapshot keeps the log from being checkpointed for long.
    ///
    /// # Errors
    /// When the file cannot be read. Damage is not an error.
    pub async fn find_damage(&self) -> Result<Option<String>> {
        let Some(readers) = self.readers.clone() else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        let stopping = self.stopping.clone();
        // A dedicated thread: at shutdown, the runtime would wait for a blocking task.
        let search = thread::Builder::new()
            .name("sqlite-check".to_owned())
            .spawn(move || drop(reply.send(readers.place.find_damage(stopping))))
            .map_err(|error| Error::Unavailable(error.into()))?;
        *self.search.lock() = Some(search);
        answer.await.map_err(|_| Stopped::Readers)?
    }
}

impl Drop for Engine {
    /// Waits until the writer has closed the file, so that it is complete and without a log.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(readers) = self.readers.take() {
            // The writer's connection must be closed last: only the last one can empty the log.
            readers.idle.lock().clear();
        }
        self.jobs = None;
        let search = self.search.get_mut().take();
        for thread in search.into_iter().chain(self.writer.take()) {
            if thread.join().is_err() {
                error!("a database thread panicked");
            }
        }
    }
}
