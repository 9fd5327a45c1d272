//! The threads and connections below what is kept in SQLite files: the embedded store and the embedded queue.
//!
//! One thread owns the only connection that writes. It takes what is waiting (up to `GROUP` jobs), runs it in one
//! transaction and answers after the commit, so that `synchronous=FULL` costs one sync for many writes. Reads run on a
//! few read-only connections beside it; a database in memory has only one connection, and there they are jobs too.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::private_files;

/// Jobs in one transaction at most. Bounds what a failed commit takes with it, and how long the first of them waits.
const GROUP: usize = 256;
/// Jobs that may wait for the thread before callers have to wait for room.
const QUEUE: usize = 1024;
/// Connections that read at the same time.
pub(crate) const READERS: usize = 4;
/// Pages that each connection keeps: the upper levels of the trees, and what is in use. The system keeps the file in memory
/// as well, and gives that up when it must.
const CACHE_KIB: i32 = 4_096;
/// How long a statement waits for another process that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection: a few for each container of the store and each named query.
const STATEMENTS: usize = 256;

/// Result of a database operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is locked, or the disk or memory is full; the same call may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
    /// The call cannot succeed as it is.
    #[error("the database refused the operation")]
    Failed(#[source] Cause),
}

/// The error below an [`Error`].
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the database's writer has stopped")]
    Writer,
    #[error("the database's readers have stopped")]
    Readers,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        Self::Failed(stopped.into())
    }
}

/// Why a file is not opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file has layout {found}, written by a newer version of this program; this one knows layouts up to {newest}"
)]
struct NewerLayout {
    found: u32,
    newest: u32,
}

/// Layout of a file (`PRAGMA user_version`), zero for a new one; refuses one above `newest`.
///
/// # Errors
/// [`Error::Failed`] when the file is newer or cannot be read.
pub fn layout(connection: &Connection, newest: u32) -> Result<u32> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > newest { Err(Error::Failed(NewerLayout { found, newest }.into())) } else { Ok(found) }
}

/// What a kind of file needs beyond what all have. `E` is the error of whoever keeps it.
pub struct Schema<E> {
    /// Adds functions to a new connection.
    pub connect: fn(&Connection) -> rusqlite::Result<()>,
    /// Brings tables and indexes up to date, once, when the file is opened.
    pub prepare: fn(&mut Connection) -> Result<(), E>,
}

/// Runs work on a database.
pub struct Engine {
    /// `None` only while the engine is dropped.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    /// `None` when the database is in memory.
    readers: Option<Arc<Readers>>,
}

impl Engine {
    /// Opens the file at `path` or creates it, with its directory, and brings it up to date. Only the user who runs this
    /// can read a new file.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be used, [`Error::Unavailable`] when another process keeps it locked.
    pub fn open<E: From<Error>>(path: &Path, schema: &Schema<E>) -> Result<Self, E> {
        create_file(path).map_err(|error| Error::Failed(error.into()))?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags).map_err(Error::from)?;
        let readers = Readers {
            path: path.to_owned(),
            connect: schema.connect,
            idle: Mutex::new(Vec::with_capacity(READERS)),
            permits: Arc::new(Semaphore::new(READERS)),
        };
        Self::start(connection, Some(Arc::new(readers)), schema)
    }

    /// Makes a database in memory.
    ///
    /// # Errors
    /// [`Error::Failed`] when SQLite or the system refuse.
    pub fn in_memory<E: From<Error>>(schema: &Schema<E>) -> Result<Self, E> {
        Self::start(Connection::open_in_memory().map_err(Error::from)?, None, schema)
    }

    fn start<E: From<Error>>(
        mut connection: Connection,
        readers: Option<Arc<Readers>>,
        schema: &Schema<E>,
    ) -> Result<Self, E> {
        set_up(&connection, schema.connect).map_err(Error::from)?;
        if readers.is_some() {
            keep_a_log(&connection).map_err(Error::from)?;
        }
        connection.pragma_update(None, "synchronous", "FULL").map_err(Error::from)?;
        (schema.prepare)(&mut connection)?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let writer = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_groups(&connection, waiting))
            .map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { jobs: Some(jobs), writer: Some(writer), readers })
    }

    /// Runs `work` in a transaction, which it may share with other work, and answers when that is on disk. An error
    /// undoes what `work` did and nothing else.
    ///
    /// # Errors
    /// That of `work`, or that of the commit.
    pub async fn write<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let stopped = || E::from(Stopped::Writer.into());
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), outcome: None, reply };
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Whether the writer is still there. Reads from a file would go on without it.
    ///
    /// # Errors
    /// [`Error::Failed`] when it is not.
    pub fn check(&self) -> Result<()> {
        match &self.jobs {
            Some(jobs) if !jobs.is_closed() => Ok(()),
            _ => Err(Stopped::Writer.into()),
        }
    }

    /// Runs `work`, which only reads.
    ///
    /// # Errors
    /// That of `work`.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.readers {
            Some(readers) => readers.clone().run(work).await,
            None => self.write(work).await,
        }
    }
}

impl Drop for Engine {
    /// Waits until the writer has closed the file, so that what comes next finds it complete and without a log.
    fn drop(&mut self) {
        self.readers = None;
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of a database ended in a panic");
        }
    }
}

/// Connections that read, opened when they are first needed.
struct Readers {
    path: PathBuf,
    connect: fn(&Connection) -> rusqlite::Result<()>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    async fn run<T, E>(self: Arc<Self>, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let stopped = || E::from(Stopped::Readers.into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        let reading = tokio::task::spawn_blocking(move || {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.open().map_err(Error::from)?,
            };
            let outcome = work(&connection);
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            outcome
        });
        reading.await.map_err(|_| stopped())?
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE,
        )?;
        set_up(&connection, self.connect)?;
        Ok(connection)
    }
}

/// Creates an empty file where there is none; an empty file is an empty database.
fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        private_files::create_directories(directory)?;
    }
    // Append rather than truncate: the file of an earlier run stays as it is.
    private_files::options().append(true).create(true).open(path).map(drop)
}

/// What every connection needs.
fn set_up(connection: &Connection, connect: fn(&Connection) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Bytes that the log keeps after a burst of writes.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connect(connection)
}

/// Makes the file one with a write-ahead log, so that readers and the writer do not wait for each other. When several
/// processes want that of a new file at once, SQLite turns all but one away without waiting: those try again.
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

/// A piece of work and the caller who waits for it.
trait Job: Send {
    /// Does the work and keeps its result for [`Job::answer`]. False if what it did must be undone.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Tells the caller the result, or instead of it that the whole group failed.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

struct Pending<T, E, W> {
    work: Option<W>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, W> Job for Pending<T, E, W>
where
    T: Send,
    E: From<Error> + Send,
    W: FnOnce(&Connection) -> Result<T, E> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        // A caller who has left does not need the work done.
        if self.reply.is_closed() {
            return true;
        }
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let answer = failure.map(|failure| Err(failure.into())).or(self.outcome);
        if let Some(answer) = answer {
            // The caller may have left meanwhile; the work stays done.
            drop(self.reply.send(answer));
        }
    }
}

/// The life of the writing thread: ends when the engine is dropped and nothing waits any more.
fn write_groups(connection: &Connection, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        let begun = execute(connection, "BEGIN IMMEDIATE");
        // Only now: beginning may have waited for another process, and who came meanwhile should not wait again.
        while group.len() < GROUP
            && let Ok(job) = waiting.try_recv()
        {
            group.push(job);
        }
        let failure = begun.and_then(|()| run_group(connection, &mut group)).err().map(Arc::new);
        if !connection.is_autocommit()
            && let Err(error) = execute(connection, "ROLLBACK")
        {
            tracing::error!(%error, "a failed group of writes could not be rolled back");
        }
        for job in group {
            job.answer(failure.clone().map(|error| fault(&error)(error.into())));
        }
    }
}

/// Runs and commits a group. An error means that nothing of it was done.
fn run_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    for job in group {
        execute(connection, "SAVEPOINT job")?;
        if !job.run(connection) {
            // Fails, and with it the group, if SQLite has ended the transaction by itself (a full disk for instance).
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        fault(&error)(error.into())
    }
}

/// The kind of error that an error of SQLite is: is it worth another try?
fn fault(error: &rusqlite::Error) -> fn(Cause) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull | ErrorCode::OutOfMemory) => {
            Error::Unavailable
        }
        _ => Error::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::future::join_all;

    use super::*;

    /// An engine in memory whose commits fail while the flag is set, with a table of numbers.
    async fn engine() -> (Engine, Arc<AtomicBool>) {
        let fails = Arc::new(AtomicBool::new(false));
        let mut connection = Connection::open_in_memory().unwrap();
        let flag = fails.clone();
        connection.commit_hook(Some(move || flag.load(Ordering::SeqCst))).unwrap();
        let schema: Schema<Error> = Schema {
            connect: |_| Ok(()),
            prepare: |connection| Ok(connection.execute_batch("CREATE TABLE numbers (n)")?),
        };
        let engine = Engine::start(connection, None, &schema).unwrap();
        (engine, fails)
    }

    async fn add(engine: &Engine, number: i64) -> Result<()> {
        let insert = "INSERT INTO numbers VALUES (?)";
        engine.write(move |connection| Ok(connection.prepare_cached(insert)?.execute([number]).map(drop)?)).await
    }

    async fn numbers(engine: &Engine) -> Vec<i64> {
        let read = |connection: &Connection| -> Result<Vec<i64>> {
            let mut statement = connection.prepare_cached("SELECT n FROM numbers ORDER BY n")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        engine.read(read).await.unwrap()
    }

    #[tokio::test]
    async fn a_failed_commit_fails_every_write_of_its_group() {
        let (engine, fails) = engine().await;
        fails.store(true, Ordering::SeqCst);
        let results = join_all((0..10).map(|number| add(&engine, number))).await;
        assert!(results.iter().all(Result::is_err), "{results:?}");
        fails.store(false, Ordering::SeqCst);
        add(&engine, 10).await.unwrap();
        assert_eq!(numbers(&engine).await, [10]);
    }

    #[tokio::test]
    async fn a_transaction_that_ends_early_fails_every_write_of_its_group() {
        let (engine, _) = engine().await;
        // As SQLite does by itself when the disk is full.
        let end = engine.write(|connection| -> Result<()> {
            connection.execute_batch("ROLLBACK")?;
            Err(Stopped::Writer.into())
        });
        let (first, second, ended) = tokio::join!(add(&engine, 1), add(&engine, 2), end);
        assert!(ended.is_err());
        let acknowledged: Vec<i64> = [(first, 1), (second, 2)]
            .into_iter()
            .filter(|(result, _)| result.is_ok())
            .map(|(_, number)| number)
            .collect();
        assert_eq!(numbers(&engine).await, acknowledged);
        add(&engine, 3).await.unwrap();
        assert_eq!(numbers(&engine).await.last(), Some(&3));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_done() {
        let (engine, _) = engine().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = engine.write(move |_| -> Result<bool> { Ok(held.recv().is_ok()) });
        // Waits behind the first one, and is given up before its turn.
        let given_up = async {
            let mut abandoned = Box::pin(add(&engine, 1));
            assert!(futures::poll!(&mut abandoned).is_pending());
            drop(abandoned);
            release.send(()).unwrap();
        };
        let (was_released, ()) = tokio::join!(busy, given_up);
        assert!(was_released.unwrap());
        assert_eq!(numbers(&engine).await, [0; 0]);
    }
}
