//! The embedded back end: documents in a SQLite file, or in memory.
//!
//! [`crate::sqlite`] has the threads and connections, `schema` tables and indexes, `sql` the queries. Several processes
//! may use one file. `ANALYZE` is never run, so query plans depend only on the schema, and tests see the same plans as
//! users.

mod columns;
mod lists;
mod reading;
mod rows;
mod schema;
mod sql;
mod writes;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use self::reading::{EndOnDrop, Reading, TooLong};
use self::rows::{rows, select, text};
use self::writes::{Row, SWEEP, Step, delete, sweep};
use super::validity::{check_batch, check_size};
use super::{
    ChangeMark, Container, DocumentStore, ETag, Error, Key, Page, PartitionIndex, Query, Result, Stored, Upkeep, Write,
    write_trial,
};
use crate::base::clock::Clock;
use crate::sqlite::{self, Engine, Schema};

/// Most concurrent queries that take longer than [`SHORT`]. The other readers stay free for short ones.
const LONG_READS: usize = sqlite::READERS / 2;
/// How long a query may take before it is aborted and restarted as a long read.
const SHORT: Duration = Duration::from_millis(100);
/// Interval at which a read that should end is interrupted again.
const AGAIN: Duration = Duration::from_millis(20);
/// Time limit of a query.
const LONGEST: Duration = Duration::from_secs(5);
const SCHEMA: Schema<Error> = Schema { connect: sql::add_functions, prepare: schema::bring_up_to_date };

sqlite::work_error!(Error);

/// Documents in SQLite.
pub struct SqliteStore {
    engine: Engine,
    /// Path of the file; `None` for a store in memory.
    path: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    /// Connection with an open transaction, if a snapshot is read; `None` for current data.
    moment: Option<Arc<Mutex<Connection>>>,
    long_reads: Semaphore,
    /// The limits [`SHORT`] and [`LONGEST`]. `None` in memory, where one connection serves everything.
    short: Option<Duration>,
    longest: Option<Duration>,
}

impl SqliteStore {
    /// Opens or creates the file at `path`, and its directory. A new file is readable only by its owner.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be used, for example because a newer version wrote it;
    /// [`Error::Unavailable`] when another process keeps it locked.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = Self::new(Engine::open(path, &SCHEMA)?, clock);
        Ok(Self { path: Some(path.to_owned()), short: Some(SHORT), longest: Some(LONGEST), ..store })
    }

    /// Writes a consistent snapshot of the file, even during concurrent writes.
    ///
    /// # Errors
    /// When the file cannot be read or the copy not written.
    pub fn copy(from: &Path, to: &Path) -> Result<()> {
        Ok(sqlite::files::copy(from, to, SCHEMA.connect)?)
    }

    /// Checks a file for damage; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find_damage_in(path: &Path) -> Result<Option<String>> {
        Ok(sqlite::files::find_damage(path, SCHEMA.connect)?)
    }

    /// Creates an empty store in memory.
    ///
    /// # Errors
    /// [`Error::Failed`] when SQLite or the system refuse.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self::new(Engine::in_memory(&SCHEMA)?, clock))
    }

    fn new(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        Self {
            engine,
            path: None,
            clock,
            moment: None,
            long_reads: Semaphore::new(LONG_READS),
            short: None,
            longest: None,
        }
    }

    /// Freezes reads at the current state of all documents. Has no effect on a store in memory.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be opened again.
    pub fn at_this_moment(mut self) -> Result<Self> {
        let Some(path) = &self.path else { return Ok(self) };
        let connection = sqlite::files::open(path, SCHEMA.connect)?;
        connection.execute_batch("BEGIN")?;
        // The snapshot begins with the first read.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        self.moment = Some(Arc::new(Mutex::new(connection)));
        Ok(self)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let Some(moment) = self.moment.clone() else { return self.engine.read(work).await };
        let reading = tokio::task::spawn_blocking(move || work(&moment.lock()));
        reading.await.map_err(|stopped| Error::Failed(stopped.into()))?
    }

    /// Returns the query plan, one line per step, as in `EXPLAIN QUERY PLAN`. For tests and for analysing slow queries.
    ///
    /// # Errors
    /// When the query fails, as for [`DocumentStore::query`].
    pub async fn query_plan(&self, query: &Query) -> Result<Vec<String>> {
        let sql::Statements { mut list, if_few, .. } = sql::statements(query, self.now_ms())?;
        list.extend(if_few.into_iter().flat_map(|(count, list)| [vec![count], list].concat()));
        let read = move |connection: &Connection| {
            let mut steps = Vec::new();
            for statement in list {
                let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.text))?;
                for step in explained.query_map(params_from_iter(statement.bind(1)), |row| row.get("detail"))? {
                    steps.push(step?);
                }
            }
            Ok(steps)
        };
        self.run(read).await
    }

    /// Returns the current time in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        sqlite::now_ms(&*self.clock)
    }

    fn row(&self, key: &Key, document: &Value) -> Result<Row> {
        Row::new(key, document, self.now_ms())
    }

    /// Runs a read immediately; if it is not short, restarts it among the long reads.
    async fn read_in_turn<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        match self.read_within(self.short, work.clone()).await {
            Err(Error::Unavailable(cause)) if cause.is::<TooLong>() && self.short.is_some() => {
                let _turn = self.turn().await?;
                self.read_within(self.longest, work).await
            }
            outcome => outcome,
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.long_reads.acquire().await.map_err(|closed| Error::Failed(closed.into()))
    }

    /// Runs a read until it is done, has taken too long, or its caller has left.
    async fn read_within<T: Send + 'static>(
        &self,
        limit: Option<Duration>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reading = Reading::default();
        let (begin, begun) = oneshot::channel();
        let run = reading.clone();
        let _ends_with_its_caller = EndOnDrop(reading.clone());
        let read = move |connection: &Connection| {
            // Fails when the caller has left, which also ends the work.
            begin.send(()).ok();
            run.run(connection, work)
        };
        let mut answer = pin!(self.run(read));
        // The time limit does not include waiting for a connection.
        let too_long = async {
            match (begun.await, limit) {
                (Ok(()), Some(limit)) => tokio::time::sleep(limit).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = &mut answer => return outcome,
            () = too_long => reading.end(),
        }
        loop {
            match tokio::time::timeout(AGAIN, &mut answer).await {
                Ok(outcome) => return outcome,
                // Repeated, because an interrupt between two statements has no effect.
                Err(_) => reading.end(),
            }
        }
    }
}

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>> {
        if !key.is_valid() {
            return Ok(None);
        }
        let Key { container, partition, id } = key.clone();
        let now_ms = self.now_ms();
        let read = move |connection: &Connection| {
            let table = sql::table(container);
            let text =
                format!("SELECT document, etag FROM {table} WHERE partition = ? AND id = ? AND {}", sql::IS_LIVE);
            let mut statement = connection.prepare_cached(&text)?;
            let stored = |row: &rusqlite::Row<'_>| Ok(Stored { json: row.get(0)?, etag: ETag(row.get(1)?) });
            Ok(statement.query_row(params![partition, id, now_ms], stored).optional()?)
        };
        self.run(read).await
    }

    async fn create(&self, key: &Key, document: &Value) -> Result<ETag> {
        let row = self.row(key, document)?;
        self.engine.write(move |connection| row.create(connection)).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> Result<ETag> {
        let row = self.row(key, document)?;
        self.engine.write(move |connection| row.upsert(connection)).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> Result<ETag> {
        let (row, etag) = (self.row(key, document)?, etag.clone());
        self.engine.write(move |connection| row.replace(connection, &etag)).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> Result<bool> {
        let (key, etag, now_ms) = (key.clone(), etag.cloned(), self.now_ms());
        match etag {
            None if !key.is_valid() => Ok(false),
            Some(_) if !key.is_valid() => Err(Error::Conflict),
            etag => self.engine.write(move |connection| delete(connection, &key, etag.as_ref(), now_ms)).await,
        }
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> Result<()> {
        check_batch(writes)?;
        let now_ms = self.now_ms();
        let mut steps = Vec::with_capacity(writes.len());
        for write in writes {
            steps.push(Step::new(container, partition, write, now_ms)?);
        }
        check_size(steps.iter().map(Step::size_bytes).sum())?;
        self.engine
            .write(move |connection| {
                for step in &steps {
                    step.run(connection)?;
                }
                Ok(())
            })
            .await
    }

    async fn query(&self, query: &Query) -> Result<Page> {
        let statements = Arc::new(sql::statements(query, self.now_ms())?);
        let (limit, fields, most_bytes) = (query.limit.max(1), query.fields, query.most_bytes);
        let read = move |connection: &Connection| {
            let (mut documents, mut bytes) = (Vec::new(), 0);
            let next = rows(connection, &statements, limit, |row| {
                let json = text(row, 0)?;
                let json = match fields {
                    None => json.to_owned(),
                    Some(fields) => select(json, fields).map_err(|error| Error::Failed(error.into()))?,
                };
                bytes += json.len();
                documents.push(Stored { json, etag: ETag(row.get(statements.etag)?) });
                Ok(bytes < most_bytes)
            })?;
            Ok(Page { documents, next, loose_ties: false })
        };
        self.read_in_turn(read).await
    }
}

#[async_trait]
impl PartitionIndex for SqliteStore {
    async fn changes(&self, container: Container, partition: &str) -> Result<Option<ChangeMark>> {
        if !container.spec().tracks_changes {
            return Ok(None);
        }
        let partition = partition.to_owned();
        let read = move |connection: &Connection| -> Result<i64> {
            let text = "SELECT count FROM changes WHERE container = ? AND partition = ?";
            let mut statement = connection.prepare_cached(text)?;
            let key = params![container.spec().default_name, partition];
            // A partition without a row has never been written to.
            Ok(statement.query_row(key, |row| row.get::<_, i64>(0)).optional()?.unwrap_or_default())
        };
        let count = self.run(read).await?;
        Ok(Some(ChangeMark { value: count.to_string(), certain_from: None }))
    }

    async fn count(&self, query: &Query) -> Result<u64> {
        let statement = sql::count(query, self.now_ms())?;
        let read = move |connection: &Connection| {
            let mut prepared = connection.prepare_cached(&statement.text)?;
            let count: i64 = prepared.query_row(params_from_iter(statement.bind(0)), |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        self.read_in_turn(read).await
    }

    async fn nearest(&self, _: &Query, _: &'static str, _: &[f32]) -> Result<Option<Vec<Stored>>> {
        Ok(None)
    }
}

#[async_trait]
impl Upkeep for SqliteStore {
    async fn ping(&self) -> Result<()> {
        self.engine.check().await?;
        write_trial(self).await
    }

    async fn sweep_expired(&self) -> Result<usize> {
        let now_ms = self.now_ms();
        let mut total = 0;
        for container in Container::ALL {
            loop {
                let deleted = self.engine.write(move |connection| sweep(connection, container, now_ms)).await?;
                total += deleted;
                if deleted < SWEEP {
                    break;
                }
            }
        }
        Ok(total)
    }

    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(self.engine.find_damage().await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::store::query::Comparison;
    use crate::store::{Direction, Filter};

    const ENDLESS: &str = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n";

    fn limited(short: Duration, longest: Duration) -> SqliteStore {
        let (short, longest) = (Some(short), Some(longest));
        SqliteStore { short, longest, ..SqliteStore::in_memory(Arc::new(SystemClock)).unwrap() }
    }

    /// Returns a read that never ends while the switch is on, and else ends at once.
    fn endless(is_endless: &Arc<AtomicBool>) -> impl Fn(&Connection) -> Result<i32> + Clone + Send + 'static {
        let is_endless = is_endless.clone();
        move |connection| {
            let text = if is_endless.load(Ordering::SeqCst) { ENDLESS } else { "SELECT 7" };
            Ok(connection.query_row(text, [], |row| row.get(0))?)
        }
    }

    #[tokio::test]
    async fn a_query_that_takes_long_begins_again_in_its_turn() {
        let store = limited(Duration::ZERO, LONGEST);
        let turns = store.long_reads.acquire_many(LONG_READS as u32).await.unwrap();
        let is_endless = Arc::new(AtomicBool::new(true));
        let mut asking = pin!(store.read_in_turn(endless(&is_endless)));
        // There is one connection: this is answered once the query has released it.
        let key = Key::new(Container::Wardrobe, "ada", "7");
        tokio::select! {
            biased;
            answer = &mut asking => panic!("all turns are taken: {answer:?}"),
            found = async {
                tokio::task::yield_now().await;
                store.read(&key).await
            } => assert!(found.unwrap().is_none()),
        }
        is_endless.store(false, Ordering::SeqCst);
        drop(turns);
        assert_eq!(asking.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_unavailable_and_its_connection_goes_on() {
        let store = limited(Duration::ZERO, Duration::ZERO);
        let is_endless = Arc::new(AtomicBool::new(true));
        let outcome = store.read_in_turn(endless(&is_endless)).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
        let store = SqliteStore { longest: Some(LONGEST), short: Some(LONGEST), ..store };
        is_endless.store(false, Ordering::SeqCst);
        assert_eq!(store.read_in_turn(endless(&is_endless)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_ended() {
        let store = limited(LONGEST, LONGEST);
        let (begin, begun) = oneshot::channel();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare(&ENDLESS.replace("max(n)", "n"))?;
            let mut rows = statement.query([])?;
            rows.next()?;
            begin.send(()).ok();
            while rows.next()?.is_some() {}
            Ok(())
        };
        tokio::select! {
            answer = store.read_within(None, read) => panic!("it has no end: {answer:?}"),
            begun = begun => begun.unwrap(),
        }
        // The one connection is free again.
        assert!(store.read(&Key::new(Container::Wardrobe, "ada", "7")).await.unwrap().is_none());
    }

    /// A query with an earliest date has two plans, for few documents and for many.
    #[tokio::test]
    async fn both_ways_to_what_is_dated_late_enough_give_the_same() {
        let store = SqliteStore::in_memory(Arc::new(SystemClock)).unwrap();
        for n in 0..60 {
            let document = json!({
                "id": n.to_string(), "userId": "global", "sourceId": format!("s{}", n % 3), "scoreSignal": n % 4,
                "scrapedAt": format!("2026-03-{:02}", 1 + n % 20), "tags": ["a", if n % 2 == 0 { "B" } else { "c" }],
            });
            store.create(&Key::new(Container::ScrapedItems, "global", n.to_string()), &document).await.unwrap();
        }
        let dated = |since: &str| {
            Filter::CompareFirst(&["sourceCreatedAt", "scrapedAt"], Comparison::GreaterOrEqual, since.into())
        };
        let query = Query::partition(Container::ScrapedItems, "global")
            .matching(dated("2026-03-08"))
            .order_by("scoreSignal", Direction::Descending)
            .order_by("id", Direction::Ascending)
            .limit(11);
        let groups = Filter::In("sourceId", vec!["s0".into(), "s2".into()]);
        let elements = Filter::ContainsAny("tags", vec!["b".to_owned(), "A".to_owned()]);
        for query in [query.clone(), query.clone().matching(groups.clone()), query.matching(groups).matching(elements)]
        {
            let mut after = None;
            loop {
                let query = query.clone().after(after);
                let few = sql::statements(&query, store.now_ms()).unwrap();
                assert!(few.if_few.is_some());
                let many = sql::Statements { if_few: None, ..sql::statements(&query, store.now_ms()).unwrap() };
                let mut pages = Vec::new();
                for statements in [few, many] {
                    let read = move |connection: &Connection| -> Result<_> {
                        let mut ids = Vec::new();
                        let next = rows(connection, &statements, 11, |row| {
                            ids.push(text(row, 0)?.to_owned());
                            Ok(true)
                        })?;
                        Ok((ids, next))
                    };
                    pages.push(store.engine.read(read).await.unwrap());
                }
                assert_eq!(pages[0], pages[1], "{query:?}");
                after = pages.remove(0).1;
                if after.is_none() {
                    break;
                }
            }
        }
    }
}
