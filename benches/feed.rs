//! How long a page of the feed takes over 100,000 items, the first one and deep ones alike, compared with a
//! hand-written prepared statement on a dedicated table, on the same disk.
//!
//! Scores tie in groups of thousands, as they do where most items have few votes. Half of the runs have items with
//! vectors, which take ten times the space and never leave the store.
//!
//! Then pages of 1,000,000 items filtered by tag, source and time, and the delay of other readers while eight callers
//! run a query without an index.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::data::items::{FeedOrder, FeedPosition, FeedQuery};
use pluckit::model::timestamp::Timestamp;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Filter, Key, Query, Write};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

const ITEMS: usize = 100_000;
/// Fewer items, because each of these takes 30 kB.
const ITEMS_WITH_VECTORS: usize = 20_000;
const PAGE: usize = 50;
const ASKED: usize = 2000;
const DIFFERENT_SCORES: usize = 40;
/// Items in the feed for filtered pages.
const FILTERED_ITEMS: usize = 1_000_000;
/// Pages asked for with each filter.
const FILTERED_PAGES: usize = 200;
/// Limit of the p99 of filtered pages, in milliseconds.
const MOST_FILTERED_MS: f64 = 20.0;
/// Limit of the p99 of pages, in milliseconds.
const MOST_MS: f64 = 5.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        measure().await;
        measure_filters().await;
    });
}

async fn measure() {
    println!("\nPages of {PAGE} items of the feed (SQLite), in milliseconds\n");
    println!("| page | p50 | p99 | by hand p50 | by hand p99 | target p99 | met |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (items, has_vectors) in [(ITEMS, false), (ITEMS_WITH_VECTORS, true)] {
        let directory = TempDir::new().unwrap();
        let store: Arc<dyn DocumentStore> =
            Arc::new(SqliteStore::open(&directory.path().join("store.db"), Arc::new(SystemClock)).unwrap());
        let raw = Connection::open(directory.path().join("raw.db")).unwrap();
        fill(&*store, &raw, items, has_vectors).await;
        let data = Data::new(store);
        for order in [FeedOrder::Score, FeedOrder::Recent] {
            for is_deep in [false, true] {
                let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
                for round in 0..ASKED {
                    // Spread over the whole feed, the same for both.
                    let at = is_deep.then_some(round * 7919 % items);
                    by_hand.push(page_by_hand(&raw, order, at));
                    ours.push(page(&data, order, at).await);
                }
                let vectors = if has_vectors { "with vectors" } else { "without vectors" };
                let depth = if is_deep { "deep" } else { "first" };
                print(&format!("{depth}, by {order:?}, {items} items {vectors}"), ours, by_hand);
            }
        }
    }
}

/// Half of the items have the common tag, one in a hundred the middle one, ten in all the rare one; a hundred sources
/// have the same number of items each.
async fn measure_filters() {
    println!("\nPages of {PAGE} items of {FILTERED_ITEMS}, filtered (SQLite), in milliseconds\n");
    println!("| filter | p50 | p99 | target p99 | met |");
    println!("| --- | --- | --- | --- | --- |");
    let directory = TempDir::new().unwrap();
    let store: Arc<dyn DocumentStore> =
        Arc::new(SqliteStore::open(&directory.path().join("store.db"), Arc::new(SystemClock)).unwrap());
    for first in (0..FILTERED_ITEMS).step_by(50) {
        let writes = (first..first + 50).map(|n| {
            let mut document = item(n, false);
            document["sourceId"] = format!("source-{}", n % 100).into();
            let tag =
                [(100_000, "rare"), (100, "middle"), (2, "common")].into_iter().filter(|(every, _)| n % every == 0);
            document["tags"] = tag.map(|(_, tag)| tag).chain(["everyday", "classic"]).collect();
            Write::Create { document }
        });
        store.batch(Container::ScrapedItems, "global", &writes.collect::<Vec<_>>()).await.unwrap();
    }
    let data = Data::new(store.clone());
    let since = |text: &str| Some(Timestamp::parse(text).unwrap());
    // An hour and a week before the newest item.
    let spans = [("", None), ("1 h", since("2026-02-28T08:55:14Z")), ("7 d", since("2026-02-21T09:55:14Z"))];
    let mut worst = Duration::ZERO;
    for tag in ["common", "middle", "rare", "absent", ""] {
        for source in ["", "source-7", "source-50"] {
            for (span, since) in spans {
                let names = |name: &str| if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
                let mut times = Vec::new();
                for round in 0..FILTERED_PAGES {
                    let order = if round % 2 == 0 { FeedOrder::Score } else { FeedOrder::Recent };
                    let at = (round % 4 > 1).then_some(round * 7919 % FILTERED_ITEMS);
                    let after = at.map(|n| position(order, n));
                    let (tags, sources) = (names(tag), names(source));
                    let query = FeedQuery { order, tags, sources, since, after, limit: PAGE, reader: None };
                    let begin = Instant::now();
                    black_box(data.items.feed(&query).await.unwrap());
                    times.push(begin.elapsed());
                }
                times.sort_unstable();
                worst = worst.max(times[FILTERED_PAGES * 99 / 100]);
                print_filtered(&format!("tag {tag:?}, source {source:?}, last {span:?}"), &times);
            }
        }
    }
    println!("\nworst p99: {:.2} ms", worst.as_secs_f64() * 1000.0);
    measure_neighbours(store).await;
}

/// Measures reads of single documents while eight callers run a query without an index.
async fn measure_neighbours(store: Arc<dyn DocumentStore>) {
    let key = |n: usize| Key::new(Container::ScrapedItems, "global", id(n * 7919 % FILTERED_ITEMS));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        callers.spawn(async move {
            let query = Query::partition(Container::ScrapedItems, "global").matching(Filter::equal("title", "none"));
            loop {
                black_box(store.query(&query).await.ok());
            }
        });
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        let asked = Instant::now();
        assert!(store.read(&key(times.len())).await.unwrap().is_some());
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    callers.shutdown().await;
    times.sort_unstable();
    println!("\n| reads beside eight long queries | p50 | p99 | target p99 | met |");
    println!("| --- | --- | --- | --- | --- |");
    print_filtered("a document", &times);
}

fn print_filtered(name: &str, times: &[Duration]) {
    let [p50, p99] = [50, 99].map(|share| times[times.len() * share / 100].as_secs_f64() * 1000.0);
    let met = if p99 <= MOST_FILTERED_MS { "yes" } else { "no" };
    println!("| {name} | {p50:.2} | {p99:.2} | {MOST_FILTERED_MS} | {met} |");
}

fn id(n: usize) -> String {
    format!("reddit-{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn score(n: usize) -> i64 {
    (n % DIFFERENT_SCORES) as i64
}

fn scraped_at(n: usize) -> String {
    let (day, second) = (1 + n % 28, n / 28);
    format!("2026-02-{day:02}T{:02}:{:02}:{:02}.000Z", second / 3600 % 24, second / 60 % 60, second % 60)
}

/// About 1 kB without its vector, as real items have.
fn item(n: usize, has_vector: bool) -> Value {
    let vector: Vec<f64> = if has_vector {
        (0..1536).map(|at| f64::from((at * 31 + n as u32) % 997) / 997.0).collect()
    } else {
        Vec::new()
    };
    json!({
        "id": id(n), "userId": "global", "sourceId": format!("reddit-{}", n % 12), "sourceType": "reddit",
        "title": "Navy chore coat, three ways: office, weekend, rain", "description": "d".repeat(300),
        "imageUrl": format!("https://i.redd.it/{n}.jpg"), "productUrl": format!("https://www.reddit.com/r/a/comments/{n}/"),
        "tags": ["classic", "smart-casual", "everyday", "workwear"], "commentText": "c".repeat(200), "buyLinks": [],
        "galleryImages": [format!("https://i.redd.it/{n}-2.jpg")], "redditScore": n % 3000, "scoreSignal": score(n),
        "scrapedAt": scraped_at(n), "pHash": "ba6313d1274d02ad", "imageExpired": false, "verified": true, "ttl": -1,
        "embedding": vector,
    })
}

async fn fill(store: &dyn DocumentStore, raw: &Connection, items: usize, has_vectors: bool) {
    raw.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE items (id TEXT PRIMARY KEY, worth INTEGER NOT NULL, age TEXT NOT NULL, shown TEXT NOT NULL);
         CREATE INDEX by_score ON items (worth DESC, id);
         CREATE INDEX by_age ON items (age DESC, id);
         BEGIN",
    )
    .unwrap();
    let mut insert = raw.prepare("INSERT INTO items VALUES (?, ?, ?, ?)").unwrap();
    for first in (0..items).step_by(50) {
        let mut writes = Vec::with_capacity(50);
        for n in first..items.min(first + 50) {
            insert.execute(params![id(n), score(n), scraped_at(n), item(n, false).to_string()]).unwrap();
            writes.push(Write::Create { document: item(n, has_vectors) });
        }
        store.batch(Container::ScrapedItems, "global", &writes).await.unwrap();
    }
    raw.execute_batch("COMMIT").unwrap();
}

async fn page(data: &Data, order: FeedOrder, at: Option<usize>) -> Duration {
    let after = at.map(|n| position(order, n));
    let query = FeedQuery { order, after, limit: PAGE, ..FeedQuery::default() };
    let begin = Instant::now();
    black_box(data.items.feed(&query).await.unwrap());
    begin.elapsed()
}

fn position(order: FeedOrder, n: usize) -> FeedPosition {
    let key = match order {
        FeedOrder::Score => json!(score(n)),
        FeedOrder::Recent => json!(scraped_at(n)),
    };
    serde_json::from_value(json!({"k": key, "id": id(n)})).unwrap()
}

/// The texts as they are, without looking into them.
fn page_by_hand(raw: &Connection, order: FeedOrder, at: Option<usize>) -> Duration {
    let (worth, age, last) = match at {
        Some(n) => (score(n), scraped_at(n), id(n)),
        None => (i64::MAX, "9".to_owned(), String::new()),
    };
    let begin = Instant::now();
    let mut shown: Vec<String> = Vec::with_capacity(PAGE);
    let (key, column): (&dyn rusqlite::ToSql, _) = match order {
        FeedOrder::Score => (&worth, "worth"),
        FeedOrder::Recent => (&age, "age"),
    };
    for condition in [format!("{column} = ?1 AND id > ?2"), format!("{column} < ?1 AND ?2 = ?2")] {
        let text = format!("SELECT shown FROM items WHERE {condition} ORDER BY {column} DESC, id LIMIT ?3");
        let mut statement = raw.prepare_cached(&text).unwrap();
        let room = (PAGE - shown.len()) as i64;
        let rows = statement.query_map(params![key, last, room], |row| row.get(0)).unwrap();
        shown.extend(rows.map(Result::unwrap));
        if shown.len() == PAGE {
            break;
        }
    }
    black_box(shown);
    begin.elapsed()
}

fn print(name: &str, mut ours: Vec<Duration>, mut by_hand: Vec<Duration>) {
    let mut figures = Vec::new();
    for times in [&mut ours, &mut by_hand] {
        times.sort_unstable();
        for share in [50, 99] {
            figures.push(times[times.len() * share / 100].as_secs_f64() * 1000.0);
        }
    }
    let [p50, p99, hand_p50, hand_p99] = figures[..] else { unreachable!("two of each") };
    let met = if p99 <= MOST_MS { "yes" } else { "no" };
    println!("| {name} | {p50:.2} | {p99:.2} | {hand_p50:.2} | {hand_p99:.2} | {MOST_MS} | {met} |");
}
