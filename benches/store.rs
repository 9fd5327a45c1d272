//! Operations of the document store per second on SQLite, compared with hand-written prepared statements on the same
//! disk and with the same durability (a write-ahead log synced at every commit).

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use pluckit::base::clock::SystemClock;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Direction, DocumentStore, Key, Query, Write};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use support::{Goal, median, print_figure, print_head, runtime};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Documents that are written, read, changed and deleted in each round.
const DOCUMENTS: usize = 2000;
/// Writes of one batch.
const BATCH: usize = 10;
/// Pages that are read in each round.
const PAGES: usize = 1000;
/// Items in the wardrobe that pages are read from.
const ITEMS: usize = 5000;
/// Concurrent callers; and a single one, which waits for each answer.
const CALLERS: [usize; 2] = [32, 1];
const ROUNDS: usize = 5;

const OPERATIONS: [&str; 7] =
    ["create", "read", "upsert", "replace", "delete", "batch of 10 creates", "query, a page of 50 in order"];

type Operation = Arc<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

fn main() {
    runtime().block_on(measure());
}

async fn measure() {
    print_head("Operations of the store per second (SQLite, every commit synced)");
    let directory = TempDir::new().unwrap();
    let store: Arc<dyn DocumentStore> =
        Arc::new(SqliteStore::open(&directory.path().join("store.db"), Arc::new(SystemClock)).unwrap());
    for n in 0..ITEMS {
        store.upsert(&Key::new(Container::Wardrobe, "ada", id(n)), &item(n)).await.unwrap();
    }
    let raw = Raw::open(&directory);
    let mut rates: [[Vec<f64>; 3]; 7] = Default::default();
    for round in 0..ROUNDS {
        for (column, rates_of_raw) in raw.round(round).into_iter().enumerate() {
            rates[column][0].push(rates_of_raw);
        }
        for (position, callers) in CALLERS.into_iter().enumerate() {
            for (column, rate) in store_round(&store, round, callers).await.into_iter().enumerate() {
                rates[column][position + 1].push(rate);
            }
        }
    }
    for (name, [raw, together, alone]) in OPERATIONS.into_iter().zip(&rates) {
        print_figure(&format!("{name}, 32 callers"), "/s", median(together), median(raw), Goal::None);
        print_figure(&format!("{name}, one caller"), "/s", median(alone), median(raw), Goal::None);
    }
}

fn id(n: usize) -> String {
    format!("item-{n:06}")
}

/// About 0.75 kB, as real items have.
fn item(n: usize) -> Value {
    json!({
        "id": id(n), "userId": "ada", "category": "Tops", "brand": "Arket", "notes": "n".repeat(500), "wearCount": n % 40,
        "colours": [{"name": "navy", "hex": "#000080"}], "tags": ["casual", "dinner", "summer"],
        "dateAdded": format!("2026-01-01T00:00:{:09.6}Z", n as f64 / 1000.0),
    })
}

/// A document of its own partition in the container with the fewest indexes.
fn memory(partition: &str, n: usize) -> (Key, Value) {
    let document = json!({"id": id(n), "userId": partition, "summary": "s".repeat(700), "summarisedMessages": n});
    (Key::new(Container::Conversations, partition, id(n)), document)
}

/// Each operation once for every document, by so many callers at once. Returns operations per second.
async fn store_round(store: &Arc<dyn DocumentStore>, round: usize, callers: usize) -> [f64; 7] {
    let partition: Arc<str> = format!("user-{round}-{callers}").into();
    let prepare = |operate: fn(Arc<dyn DocumentStore>, Key, Value) -> BoxFuture<'static, ()>| -> Operation {
        let (store, partition) = (store.clone(), partition.clone());
        Arc::new(move |n| {
            let (key, document) = memory(&partition, n);
            operate(store.clone(), key, document)
        })
    };
    let create =
        prepare(|store, key, document| async move { drop(store.create(&key, &document).await.unwrap()) }.boxed());
    let read = prepare(|store, key, _| async move { assert!(store.read(&key).await.unwrap().is_some()) }.boxed());
    let upsert =
        prepare(|store, key, document| async move { drop(store.upsert(&key, &document).await.unwrap()) }.boxed());
    let delete = prepare(|store, key, _| async move { assert!(store.delete(&key, None).await.unwrap()) }.boxed());
    let created = rate(callers, DOCUMENTS, &create).await;
    let read = rate(callers, DOCUMENTS, &read).await;
    let upserted = rate(callers, DOCUMENTS, &upsert).await;

    let mut versions = Vec::new();
    for n in 0..DOCUMENTS {
        versions.push(store.read(&memory(&partition, n).0).await.unwrap().unwrap().etag);
    }
    let (store_of_replace, partition_of_replace, versions) = (store.clone(), partition.clone(), Arc::new(versions));
    let replace: Operation = Arc::new(move |n| {
        let (store, versions) = (store_of_replace.clone(), versions.clone());
        let (key, document) = memory(&partition_of_replace, n);
        async move { drop(store.replace(&key, &document, &versions[n]).await.unwrap()) }.boxed()
    });
    let replaced = rate(callers, DOCUMENTS, &replace).await;
    let deleted = rate(callers, DOCUMENTS, &delete).await;

    let (store_of_batch, partition_of_batch) = (store.clone(), partition.clone());
    let batch: Operation = Arc::new(move |n| {
        let (store, partition) = (store_of_batch.clone(), partition_of_batch.clone());
        async move {
            let documents = (n * BATCH..(n + 1) * BATCH).map(|n| memory(&partition, n).1);
            let writes: Vec<Write> = documents.map(|document| Write::Create { document }).collect();
            store.batch(Container::Conversations, &partition, &writes).await.unwrap();
        }
        .boxed()
    });
    let batched = rate(callers, DOCUMENTS / BATCH, &batch).await;

    let store_of_query = store.clone();
    let query: Operation = Arc::new(move |_| {
        let store = store_of_query.clone();
        async move {
            let query = Query::partition(Container::Wardrobe, "ada").order_by("dateAdded", Direction::Descending);
            assert_eq!(store.query(&query.limit(50)).await.unwrap().documents.len(), 50);
        }
        .boxed()
    });
    let queried = rate(callers, PAGES, &query).await;
    [created, read, upserted, replaced, deleted, batched, queried]
}

/// Does an operation so many times, by so many callers at once. Returns how many that were per second.
async fn rate(callers: usize, count: usize, operation: &Operation) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (next, operation) = (next.clone(), operation.clone());
        running.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                operation(n).await;
            }
        });
    }
    running.join_all().await;
    count as f64 / begin.elapsed().as_secs_f64()
}

/// The same by hand: one connection, statements prepared, texts made before.
struct Raw(Connection);

impl Raw {
    fn open(directory: &TempDir) -> Self {
        let connection = Connection::open(directory.path().join("raw.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection.pragma_update(None, "cache_size", -16_384).unwrap();
        for table in ["memories", "items"] {
            let create = format!(
                "CREATE TABLE {table} (partition TEXT NOT NULL, id TEXT NOT NULL, etag TEXT NOT NULL, \
                 updated_at INTEGER NOT NULL, expires_at INTEGER, document TEXT NOT NULL, PRIMARY KEY (partition, id))"
            );
            connection.execute_batch(&create).unwrap();
        }
        let index = "CREATE INDEX in_order ON items (partition, json_extract(document, '$.dateAdded') DESC, id)";
        connection.execute_batch(index).unwrap();
        let transaction = connection.unchecked_transaction().unwrap();
        for n in 0..ITEMS {
            let insert = "INSERT INTO items VALUES (?, ?, 'etag', 0, NULL, ?)";
            let mut insert = transaction.prepare_cached(insert).unwrap();
            insert.execute(params!["ada", id(n), item(n).to_string()]).unwrap();
        }
        transaction.commit().unwrap();
        Self(connection)
    }

    fn round(&self, round: usize) -> [f64; 7] {
        let partition = format!("user-{round}");
        let rows: Vec<(String, String)> =
            (0..DOCUMENTS).map(|n| (id(n), memory(&partition, n).1.to_string())).collect();
        let each = |statement: &str, bind: &dyn Fn(&mut rusqlite::Statement<'_>, &(String, String))| {
            let mut statement = self.0.prepare(statement).unwrap();
            let begin = Instant::now();
            for row in &rows {
                bind(&mut statement, row);
            }
            rows.len() as f64 / begin.elapsed().as_secs_f64()
        };
        let insert = "INSERT INTO memories VALUES (?, ?, 'etag', 0, NULL, ?)";
        let change = |statement: &mut rusqlite::Statement<'_>, row: &(String, String)| {
            assert_eq!(statement.execute(params![partition, row.0, row.1]).unwrap(), 1);
        };
        let created = each(insert, &change);
        let read = each("SELECT document, etag FROM memories WHERE partition = ? AND id = ?", &|statement, row| {
            let found = statement
                .query_row(params![partition, row.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            black_box(found.unwrap());
        });
        // Each must change something, because SQLite does not sync an unchanged write.
        let upsert = "INSERT INTO memories VALUES (?, ?, 'etag', 0, NULL, ?) ON CONFLICT (partition, id) \
                      DO UPDATE SET document = excluded.document, updated_at = updated_at + 1";
        let upserted = each(upsert, &change);
        let replace = "UPDATE memories SET document = ?3, updated_at = updated_at + 1 \
                       WHERE partition = ?1 AND id = ?2 AND etag = 'etag'";
        let replaced = each(replace, &change);
        let deleted = each("DELETE FROM memories WHERE partition = ? AND id = ?", &|statement, row| {
            assert_eq!(statement.execute(params![partition, row.0]).unwrap(), 1);
        });

        let begin = Instant::now();
        for batch in rows.chunks(BATCH) {
            let transaction = self.0.unchecked_transaction().unwrap();
            let mut statement = transaction.prepare_cached(insert).unwrap();
            batch.iter().for_each(|row| change(&mut statement, row));
            drop(statement);
            transaction.commit().unwrap();
        }
        let batched = (DOCUMENTS / BATCH) as f64 / begin.elapsed().as_secs_f64();

        let page = "SELECT document, etag FROM items WHERE partition = ? \
                    ORDER BY json_extract(document, '$.dateAdded') DESC, id LIMIT 50";
        let mut page = self.0.prepare(page).unwrap();
        let begin = Instant::now();
        for _ in 0..PAGES {
            let rows = page.query_map(["ada"], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            assert_eq!(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().len(), 50);
        }
        let queried = PAGES as f64 / begin.elapsed().as_secs_f64();
        [created, read, upserted, replaced, deleted, batched, queried]
    }
}
