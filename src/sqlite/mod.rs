//! SQLite threads and connections for the embedded store and queue.
//!
//! One thread owns the only writing connection. It takes the waiting jobs (up to `GROUP`), runs them in one transaction
//! and answers after the commit, so that `synchronous=FULL` costs one sync for many writes. Reads run on a few
//! read-only connections; an in-memory database has only one connection, where reads are jobs too.
//!
//! After a disk error all connections are closed, and opened again by the next write. A file that was deleted, moved or
//! replaced takes no more writes until it is back, because writes to a file without a name are lost when the process
//! ends.

pub mod files;

use std::error::Error as StdError;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{error, info};

use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::base::deadline::{self, Elapsed};

use crate::base::private_files;

/// Most jobs per transaction. Bounds what a failed commit affects, and how long the first job waits.
const GROUP: usize = 256;
/// Jobs that may wait for the thread before callers have to wait for room.
const QUEUE: usize = 1024;
/// Read-only connections.
pub(crate) const READERS: usize = 4;
/// Page cache per connection: the upper tree levels and the working set. The system caches the file as well.
const CACHE_KIB: i32 = 4_096;
/// How long a statement waits for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for an unresponsive disk; longer than [`BUSY_TIMEOUT`], which has its own error.
const DISK_DEADLINE: Duration = Duration::from_secs(8);
/// Prepared statements per connection: a few for each container and named query.
const STATEMENTS: usize = 256;
/// SQLite VM steps after which a damage check looks whether to stop.
const STEPS: i32 = 10_000;

/// Result of a database operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// File, disk or memory are the problem: full, locked, read-only, broken, gone. The same call may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
    /// The call cannot succeed.
    #[error("the database refused the operation")]
    Failed(#[source] Cause),
}

/// Source of an [`Error`].
pub type Cause = Box<dyn StdError + Send + Sync>;

/// An error of work on a database.
pub trait WorkError: From<Error> + Send + 'static {
    /// Returns the cause, if the database is unavailable.
    fn outage(&self) -> Option<&(dyn StdError + Send + Sync + 'static)>;
}

/// Makes an error with the variants `Unavailable` and `Failed` one of work on a database.
macro_rules! work_error {
    ($error:ty) => {
        impl $crate::sqlite::WorkError for $error {
            fn outage(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
                if let Self::Unavailable(cause) = self { Some(&**cause) } else { None }
            }
        }

        impl From<$crate::sqlite::Error> for $error {
            fn from(error: $crate::sqlite::Error) -> Self {
                match error {
                    $crate::sqlite::Error::Unavailable(cause) => Self::Unavailable(cause),
                    $crate::sqlite::Error::Failed(cause) => Self::Failed(cause),
                }
            }
        }

        impl From<rusqlite::Error> for $error {
            fn from(error: rusqlite::Error) -> Self {
                $crate::sqlite::Error::from(error).into()
            }
        }
    };
}
pub(crate) use work_error;

impl WorkError for Error {
    fn outage(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        if let Self::Unavailable(cause) = self { Some(&**cause) } else { None }
    }
}

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the work panicked, or the database's writer has stopped")]
    Writer,
    #[error("the work panicked, or the database's readers have stopped")]
    Readers,
    #[error("the database ended the transaction")]
    Transaction,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Writer | Stopped::Readers => Self::Failed(stopped.into()),
            // As it does by itself when the disk is full or broken.
            Stopped::Transaction => Self::Unavailable(stopped.into()),
        }
    }
}

impl From<Elapsed> for Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::Unavailable(elapsed.into())
    }
}

/// Why an open file takes no more writes.
#[derive(Debug, thiserror::Error)]
enum Astray {
    #[error("{} was deleted or moved away: nothing is written until it is back", .0.display())]
    Gone(PathBuf, #[source] io::Error),
    #[error("{} is another file than the one that was opened: nothing is written until that one is back", .0.display())]
    Replaced(PathBuf),
    #[error("{} was emptied", .0.display())]
    Emptied(PathBuf),
}

/// The write-ahead log was deleted or replaced. Closing all connections saves its contents while the database file
/// exists, and reopening creates a new one.
#[derive(Debug, thiserror::Error)]
#[error("the database's write-ahead log is gone")]
struct LogAstray;

/// Why a file is not opened.
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

/// The present moment in milliseconds since 1970.
pub fn now_ms(clock: &dyn Clock) -> i64 {
    let now = clock.now();
    now.unix_timestamp() * 1000 + i64::from(now.millisecond())
}

/// Set-up of a kind of file. `E` is its user's error type.
pub struct Schema<E> {
    /// Adds functions to a new connection.
    pub connect: fn(&Connection) -> rusqlite::Result<()>,
    /// Migrates tables and indexes when the file is opened.
    pub prepare: fn(&mut Connection) -> Result<(), E>,
}

/// Runs work on a database.
pub struct Engine {
    /// `None` only during drop.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
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
    /// [`Error::Failed`] when a newer version wrote the file, [`Error::Unavailable`] when it cannot be used otherwise,
    /// or another process keeps it locked.
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

    /// Creates an engine on an exclusive connection.
    fn on<E: WorkError>(mut connection: Connection, schema: &Schema<E>) -> Result<Self, E> {
        set_up(&connection, schema.connect).map_err(Error::from)?;
        (schema.prepare)(&mut connection)?;
        Ok(Self::start(Writer { connection: Some(connection), file: None, is_down: false }, None)?)
    }

    fn start(writer: Writer, readers: Option<Arc<Readers>>) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let writer = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_groups(writer, waiting))
            .map_err(|error| Error::Unavailable(error.into()))?;
        let (search, stopping) = (Mutex::new(None), Arc::default());
        Ok(Self { jobs: Some(jobs), writer: Some(writer), readers, search, stopping })
    }

    /// Runs `work` in a transaction, possibly shared with other work, and returns after the commit. An error undoes
    /// only `work`.
    ///
    /// # Errors
    /// That of `work` or of the commit. After a time-out, it is unknown whether the work took effect.
    pub async fn write<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        let stopped = || E::from(Stopped::Writer.into());
        let (reply, answer) = oneshot::channel();
        let job = Pending { work: Some(work), outcome: None, reply };
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        let done = async {
            jobs.send(Box::new(job)).await.map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        match &self.readers {
            Some(_) => deadline::within(DISK_DEADLINE, done).await.map_err(Error::from)?,
            None => done.await,
        }
    }

    /// Whether the writer lives, and a connection that knows nothing yet finds the file under its name and can read it.
    /// Others could go on from what they remember of a file that is gone or overwritten.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be read, [`Error::Failed`] when the writer has stopped.
    pub async fn check(&self) -> Result<()> {
        if self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed) {
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
        // A thread of its own: the runtime would wait for its blocking tasks to end before the process can.
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
            // The writer's connection is the last one: only that can empty the log.
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

/// Device and inode of a file, which distinguish it from another one of the same name.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::metadata(path).map(|found| identity_of(&found))
}

fn identity_of(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// Location of a database file.
struct Place {
    path: PathBuf,
    connect: fn(&Connection) -> rusqlite::Result<()>,
    /// Identity of the file when it was opened.
    file: Identity,
}

impl Place {
    /// Whether the file of the start is still there. Costs a look at the directory.
    ///
    /// It must not be opened for that: closing it would take away the locks that SQLite's connections have on it.
    fn check(&self) -> Result<()> {
        let path = || self.path.clone();
        let astray = match std::fs::metadata(&self.path) {
            Err(error) => Astray::Gone(path(), error),
            Ok(found) if identity_of(&found) != self.file => Astray::Replaced(path()),
            Ok(found) if found.len() == 0 => Astray::Emptied(path()),
            Ok(_) => return Ok(()),
        };
        Err(Error::Unavailable(astray.into()))
    }

    fn log_identity(&self) -> io::Result<Identity> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        identity(Path::new(&log))
    }

    fn open_writer(&self) -> Result<Connection> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        set_up(&connection, self.connect)?;
        keep_a_log(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // The log is opened by the first look at the file.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }

    /// Opens a read-only connection to the original file, and to no other.
    fn open_reader(&self) -> Result<Connection> {
        self.check()?;
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE,
        )?;
        set_up(&connection, self.connect)?;
        self.check()?;
        Ok(connection)
    }

    fn find_damage(&self, stopping: Arc<AtomicBool>) -> Result<Option<String>> {
        let mut connection = self.open_reader()?;
        connection.progress_handler(STEPS, Some(move || stopping.load(Ordering::Relaxed)))?;
        match first_damage(&connection) {
            // A file may be too broken to be looked through.
            Err(error)
                if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
            {
                Ok(Some(error.to_string()))
            }
            found => Ok(found?),
        }
    }
}

/// Describes the damage of the first damaged table.
fn first_damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
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

/// Read-only connections, opened on demand.
struct Readers {
    place: Place,
    idle: Mutex<Vec<Connection>>,
    /// Read-locked while a connection is in use; the writer locks it to close them all.
    open: RwLock<()>,
    permits: Arc<Semaphore>,
}

impl Readers {
    async fn run<T, E>(self: Arc<Self>, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: WorkError,
    {
        let stopped = || E::from(Stopped::Readers.into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| stopped())?;
        let reading = tokio::task::spawn_blocking(move || {
            let _open = self.open.read();
            let idle = self.idle.lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.place.open_reader()?,
            };
            let outcome = work(&connection);
            let cause = outcome.as_ref().err().and_then(WorkError::outage);
            if !cause.is_some_and(is_remembered) {
                self.idle.lock().push(connection);
            }
            drop(permit);
            outcome
        });
        reading.await.map_err(|_| stopped())?
    }
}

/// Creates an empty file, which is an empty database, if there is none.
fn create_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        private_files::create_directories(directory)?;
    }
    // Append rather than truncate: another process may have made it meanwhile.
    private_files::options().append(true).create(true).open(path).map(drop)
}

/// Configures a new connection.
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

/// Work with a waiting caller.
trait Job: Send {
    /// Does the work and keeps its result for [`Job::answer`].
    fn run(&mut self, connection: &Connection) -> Ran;

    /// Sends the result to the caller, or the failure of the whole group.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

/// Outcome of a [`Job`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    /// Commit the changes.
    Done,
    /// Roll the changes back.
    Refused,
    /// Its changes must be undone, and the connection met a disk error that it may remember.
    Broken,
}

struct Pending<T, E, W> {
    work: Option<W>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, W> Job for Pending<T, E, W>
where
    T: Send,
    E: WorkError,
    W: FnOnce(&Connection) -> Result<T, E> + Send,
{
    fn run(&mut self, connection: &Connection) -> Ran {
        // A caller who has left does not need the work done.
        if self.reply.is_closed() {
            return Ran::Done;
        }
        let Some(work) = self.work.take() else { return Ran::Refused };
        // Work that panics gets no answer, and leaves the thread to the others'.
        self.outcome = catch_unwind(AssertUnwindSafe(|| work(connection))).ok();
        match &self.outcome {
            Some(Ok(_)) => Ran::Done,
            Some(Err(error)) if error.outage().is_some_and(is_remembered) => Ran::Broken,
            Some(Err(_)) | None => Ran::Refused,
        }
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let answer = failure.map(|failure| Err(failure.into())).or(self.outcome);
        if let Some(answer) = answer {
            // The caller may have left meanwhile; the work stays done.
            drop(self.reply.send(answer));
        }
    }
}

/// Why a group of jobs failed; each job gets a copy.
#[derive(Clone)]
struct Failure {
    is_outage: bool,
    cause: Arc<dyn StdError + Send + Sync>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(cause) => Self { is_outage: true, cause: cause.into() },
            Error::Failed(cause) => Self { is_outage: false, cause: cause.into() },
        }
    }
}

impl From<Failure> for Error {
    fn from(Failure { is_outage, cause }: Failure) -> Self {
        if is_outage { Self::Unavailable(cause.into()) } else { Self::Failed(cause.into()) }
    }
}

/// The writing connection.
struct Writer {
    /// `None` after a disk error, until the file can be opened again.
    connection: Option<Connection>,
    /// Identity of the file and its log; `None` for a database in memory.
    file: Option<(Arc<Readers>, Identity)>,
    /// Whether the last group failed because of an outage.
    is_down: bool,
}

impl Writer {
    /// Returns the connection, reopening it if necessary.
    fn connection(&mut self) -> Result<&Connection> {
        if self.connection.is_none()
            && let Some((readers, log)) = &mut self.file
        {
            readers.place.check()?;
            let connection = readers.place.open_writer()?;
            *log = readers.place.log_identity().map_err(|error| Error::Unavailable(error.into()))?;
            self.connection = Some(connection);
        }
        self.connection.as_ref().ok_or_else(|| Stopped::Writer.into())
    }

    /// Checks that commits will be found again: file and log are the ones that were opened.
    fn check(&self) -> Result<()> {
        let Some((readers, log)) = &self.file else { return Ok(()) };
        readers.place.check()?;
        match readers.place.log_identity() {
            Ok(found) if found == *log => Ok(()),
            Ok(_) | Err(_) => Err(Error::Unavailable(LogAstray.into())),
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.connection()?;
        self.check()?;
        Ok(execute(self.connection()?, "BEGIN IMMEDIATE")?)
    }

    /// Runs and commits a group; returns whether a job met an error that the connection may remember. An error means
    /// that nothing was committed.
    fn run(&mut self, group: &mut [Box<dyn Job>]) -> Result<bool> {
        let connection = self.connection()?;
        let mut is_broken = false;
        for job in group {
            step(connection, "SAVEPOINT job")?;
            let ran = job.run(connection);
            is_broken |= ran == Ran::Broken;
            if ran != Ran::Done {
                step(connection, "ROLLBACK TO job")?;
            }
            step(connection, "RELEASE job")?;
        }
        self.check()?;
        step(self.connection()?, "COMMIT")?;
        Ok(is_broken)
    }

    /// Ends the rest of a transaction, logs the beginning or end of an outage, and closes connections that may remember
    /// an error.
    fn settle(&mut self, outcome: &Result<bool, Failure>) {
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && let Err(error) = execute(connection, "ROLLBACK")
        {
            error!(%error, "a failed group of writes could not be rolled back");
        }
        let Some((readers, _)) = &self.file else { return };
        let file = readers.place.path.display();
        let is_down = outcome.as_ref().is_err_and(|failure| failure.is_outage);
        match outcome {
            Err(failure) if is_down && !self.is_down => {
                error!(%file, error = %Chain(&*failure.cause), "database is not writable");
            }
            Ok(_) if self.is_down => info!(%file, "database is writable again"),
            Ok(_) | Err(_) => {}
        }
        self.is_down = is_down;
        let is_broken = match outcome {
            Ok(is_broken) => *is_broken,
            Err(failure) => failure.is_outage && is_remembered(&*failure.cause),
        };
        if is_broken && self.connection.is_some() {
            // All at once, since the connections of a process share what they know of the log.
            let _closed = readers.open.write();
            readers.idle.lock().clear();
            self.connection = None;
        }
    }
}

/// Whether connections may keep failing after the cause has passed. Not when the file is gone or replaced: the
/// connections are then all that keeps its data.
fn is_remembered(cause: &(dyn StdError + Send + Sync + 'static)) -> bool {
    let code = cause.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    matches!(
        code,
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::FileLockingProtocolFailed
        )
    ) || cause.is::<LogAstray>()
}

/// Runs the writer thread until the engine is dropped and nothing waits.
fn write_groups(mut writer: Writer, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut group = vec![first];
        let begun = writer.begin();
        // Only now: beginning may have waited for another process, and who came meanwhile should not wait again.
        while group.len() < GROUP
            && let Ok(job) = waiting.try_recv()
        {
            group.push(job);
        }
        let outcome = begun.and_then(|()| writer.run(&mut group)).map_err(Failure::from);
        writer.settle(&outcome);
        for job in group {
            job.answer(outcome.as_ref().err().cloned().map(Error::from));
        }
    }
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Runs a statement within a transaction, which SQLite may have ended.
fn step(connection: &Connection, statement: &str) -> Result<()> {
    match execute(connection, statement) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) && connection.is_autocommit() => {
            Err(Stopped::Transaction.into())
        }
        done => Ok(done?),
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::SchemaChanged
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase,
            ) => Self::Unavailable(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    /// Creates an in-memory engine whose commits fail while the flag is set, with a table of numbers.
    async fn engine() -> (Engine, Arc<AtomicBool>) {
        let fails = Arc::new(AtomicBool::new(false));
        let mut connection = Connection::open_in_memory().unwrap();
        let flag = fails.clone();
        connection.commit_hook(Some(move || flag.load(Ordering::SeqCst))).unwrap();
        let schema: Schema<Error> = Schema {
            connect: |_| Ok(()),
            prepare: |connection| Ok(connection.execute_batch("CREATE TABLE numbers (n)")?),
        };
        let engine = Engine::on(connection, &schema).unwrap();
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

    /// Creates an engine on a file, with a table of numbers.
    fn on_disk(path: &Path) -> Engine {
        let schema: Schema<Error> = Schema {
            connect: |_| Ok(()),
            prepare: |connection| Ok(connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (n)")?),
        };
        Engine::open(path, &schema).unwrap()
    }

    fn is_outage<T>(result: &Result<T>) -> bool {
        matches!(result, Err(Error::Unavailable(_)))
    }

    #[tokio::test]
    async fn nothing_is_written_to_a_file_that_is_gone_until_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let (path, away) = (directory.path().join("a.db"), directory.path().join("away"));
        let engine = on_disk(&path);
        add(&engine, 1).await.unwrap();
        std::fs::rename(&path, &away).unwrap();
        assert!(is_outage(&add(&engine, 2).await));
        assert!(is_outage(&engine.check().await));
        // Another file is not the one, whatever is in it.
        std::fs::copy(&away, &path).unwrap();
        assert!(is_outage(&add(&engine, 3).await));
        assert!(is_outage(&engine.check().await));
        std::fs::rename(&away, &path).unwrap();
        engine.check().await.unwrap();
        add(&engine, 4).await.unwrap();
        drop(engine);
        assert_eq!(numbers(&on_disk(&path)).await, [1, 4]);
    }

    #[tokio::test]
    async fn a_log_that_is_gone_costs_the_writes_of_one_moment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let engine = on_disk(&path);
        add(&engine, 1).await.unwrap();
        assert_eq!(numbers(&engine).await, [1]);
        std::fs::remove_file(directory.path().join("a.db-wal")).unwrap();
        assert!(is_outage(&add(&engine, 2).await));
        add(&engine, 3).await.unwrap();
        assert_eq!(numbers(&engine).await, [1, 3]);
        // As after a kill: what counts is on the disk.
        let copy = tempfile::tempdir().unwrap();
        for file in ["a.db", "a.db-wal"] {
            std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
        }
        assert_eq!(numbers(&on_disk(&copy.path().join("a.db"))).await, [1, 3]);
    }

    #[tokio::test]
    async fn an_emptied_file_takes_no_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let engine = on_disk(&path);
        add(&engine, 1).await.unwrap();
        std::fs::File::create(&path).unwrap();
        assert!(is_outage(&add(&engine, 2).await));
        assert!(is_outage(&engine.check().await));
    }

    #[tokio::test]
    async fn damage_is_found_and_names_its_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let engine = on_disk(&path);
        join_all((0..2_000).map(|number| add(&engine, number))).await;
        assert_eq!(engine.find_damage().await.unwrap(), None);
        drop(engine);
        let whole = std::fs::read(&path).unwrap();
        // The first byte of a page tells the leaves of a table. The first page has the schema.
        let leaves = (4096..whole.len()).step_by(4096).filter(|&page| whole[page] == 0x0d);
        for leaf in leaves {
            let mut bytes = whole.clone();
            bytes[leaf..leaf + 64].fill(0xff);
            std::fs::write(&path, bytes).unwrap();
            let found = on_disk(&path).find_damage().await.unwrap();
            assert!(found.as_ref().is_some_and(|found| found.starts_with("numbers: ")), "{leaf}: {found:?}");
        }
    }

    #[tokio::test]
    async fn work_that_panics_leaves_the_writer_to_others() {
        let (engine, _) = engine().await;
        let broken = engine.write(|_| -> Result<()> { panic!("as the test says") });
        let (broken, added) = tokio::join!(broken, add(&engine, 1));
        assert!(matches!(broken, Err(Error::Failed(_))));
        added.unwrap();
        assert_eq!(numbers(&engine).await, [1]);
    }
}
