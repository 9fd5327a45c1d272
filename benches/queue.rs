//! Jobs per second through the embedded queue, from sending over receiving to deleting, and how long a job waits before
//! it starts; against the prepared statements that one would write by hand, on the same disk and each commit as durable
//! (a write-ahead log that is synced at every commit).
//!
//! There are two baselines: a transaction per statement is the best case for a caller that waits for each answer; 32
//! jobs per transaction is the throughput of the disk and SQLite without waiting.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pluckit::base::clock::SystemClock;
use pluckit::queue::local::LocalQueue;
use pluckit::queue::{JobQueue, Message};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::task::JoinSet;

const QUEUE: &str = "taste-analysis-jobs";
/// Longer than a run.
const LONG: Duration = Duration::from_secs(300);
/// Jobs that are sent, received and deleted in each round.
const JOBS: usize = 4000;
/// Jobs that are sent at a pace, to see how soon each starts.
const PACED: usize = 500;
/// Time between two jobs of a sender with a pace: a hundred a second.
const PACE: Duration = Duration::from_millis(10);
/// Senders with a pace that make the rate which must be reached.
const PACED_SENDERS: usize = 5;
/// Callers that send at the same time.
const SENDERS: usize = 32;
/// Messages that a pump takes at once, and works on at the same time.
const BATCH: usize = 16;
/// Jobs in a transaction of the second baseline.
const GROUP: usize = 32;
const ROUNDS: usize = 5;
/// Jobs per second that the embedded queue must reach on two cores, and the middle wait in milliseconds.
const LEAST_RATE: f64 = 500.0;
const MOST_WAIT_MS: f64 = 5.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let directory = TempDir::new().unwrap();
    let open = || LocalQueue::open(&directory.path().join("queue.db"), Arc::new(SystemClock)).unwrap();
    let queue = Arc::new(open());
    let raw = Raw::open(&directory.path().join("raw.db"));
    let [mut single, mut grouped, mut queued, mut alone] = [const { Vec::new() }; 4];
    let (mut loaded, mut paced, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        single.push(raw.round(JOBS / 10, 1));
        grouped.push(raw.round(JOBS, GROUP));
        // Senders at full speed build up a backlog, so those waiting times are meaningless.
        queued.push(through_the_queue(&queue, JOBS, SENDERS, None).await.0);
        alone.push(one_after_the_other(&*queue, JOBS / 10).await);
        paced.extend(through_the_queue(&queue, PACED, 1, Some(PACE)).await.1);
        loaded.extend(through_the_queue(&queue, PACED, PACED_SENDERS, Some(PACE)).await.1);
        syncs.extend(raw.writes(JOBS / 10));
    }

    let cores = std::thread::available_parallelism().unwrap();
    println!("\nThe embedded queue (SQLite, every commit synced): {cores} cores\n");
    println!("| figure | value | one transaction each | {GROUP} jobs in each | target | met |");
    println!("|---|---:|---:|---:|---|---|");
    let (single, grouped) = (middle(&mut single), middle(&mut grouped));
    let rate = |name: &str, rate: f64, target: Option<f64>| {
        let (target, met) = verdict(target.map(|least| (format!("≥ {least}"), rate >= least)));
        println!("| {name} | {rate:.0}/s | {single:.0}/s | {grouped:.0}/s | {target} | {met} |");
    };
    rate(&format!("jobs end to end, {SENDERS} senders"), middle(&mut queued), Some(LEAST_RATE));
    rate("jobs end to end, one caller who waits", middle(&mut alone), None);
    let sync = middle(&mut syncs);
    let wait = |name: &str, wait: f64, target: Option<f64>| {
        let (target, met) = verdict(target.map(|most| (format!("≤ {most} ms"), wait <= most)));
        println!("| {name} | {wait:.2} ms | {sync:.2} ms (one commit) | – | {target} | {met} |");
    };
    wait("wait before the start, 100 jobs/s, p50", quantile(&mut paced, 0.5), Some(MOST_WAIT_MS));
    wait("wait before the start, 100 jobs/s, p99", quantile(&mut paced, 0.99), None);
    wait("wait before the start, 500 jobs/s, p50", quantile(&mut loaded, 0.5), Some(MOST_WAIT_MS));
    wait("wait before the start, 500 jobs/s, p99", quantile(&mut loaded, 0.99), None);
}

fn verdict(target: Option<(String, bool)>) -> (String, &'static str) {
    match target {
        Some((target, true)) => (target, "yes"),
        Some((target, false)) => (target, "**no**"),
        None => ("–".to_owned(), "–"),
    }
}

fn middle(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns a quantile of the values.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).ceil() as usize]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// About what a taste-analysis job is, and in it the moment when it was sent, in microseconds since `begin`.
fn job(begin: Instant) -> String {
    let fill = "f".repeat(300);
    format!(r#"{{"sent":{},"job_id":"{fill}","retryCount":0}}"#, begin.elapsed().as_micros())
}

/// How long the job waited, in milliseconds.
fn waited(begin: Instant, message: &Message) -> f64 {
    let sent: serde_json::Value = serde_json::from_str(&message.text).unwrap();
    let sent = Duration::from_micros(sent["sent"].as_u64().unwrap());
    milliseconds(begin.elapsed() - sent)
}

/// Senders on one side, as fast as they can or at a pace; on the other a pump that takes, starts and deletes as the
/// service's does. Returns jobs per second and how long each waited before it started.
async fn through_the_queue(
    queue: &Arc<LocalQueue>,
    jobs: usize,
    senders: usize,
    pace: Option<Duration>,
) -> (f64, Vec<f64>) {
    let begin = Instant::now();
    let left = Arc::new(AtomicUsize::new(jobs));
    let mut sending = JoinSet::new();
    for _ in 0..senders {
        let (queue, left) = (queue.clone(), left.clone());
        sending.spawn(async move {
            let mut ticks = pace.map(tokio::time::interval);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                queue.send(QUEUE, &job(begin)).await.unwrap();
            }
        });
    }
    let mut waits = Vec::with_capacity(jobs);
    let mut working = JoinSet::new();
    while waits.len() < jobs {
        while let Some(done) = working.try_join_next() {
            done.unwrap();
        }
        let free = BATCH - working.len();
        if free == 0 {
            working.join_next().await.unwrap().unwrap();
            continue;
        }
        let messages = queue.receive(QUEUE, free, LONG).await.unwrap();
        if messages.is_empty() {
            queue.wait(QUEUE, LONG).await;
        }
        for message in messages {
            waits.push(waited(begin, &message));
            let queue = queue.clone();
            working.spawn(async move { queue.delete(QUEUE, &message).await.unwrap() });
        }
    }
    sending.join_all().await;
    working.join_all().await;
    assert_eq!(queue.length(QUEUE).await.unwrap(), 0);
    (jobs as f64 / begin.elapsed().as_secs_f64(), waits)
}

/// Runs one caller that sends, receives and deletes sequentially. Returns jobs per second.
async fn one_after_the_other(queue: &dyn JobQueue, jobs: usize) -> f64 {
    let begin = Instant::now();
    for _ in 0..jobs {
        queue.send(QUEUE, &job(begin)).await.unwrap();
        let received = queue.receive(QUEUE, 1, LONG).await.unwrap();
        queue.delete(QUEUE, &received[0]).await.unwrap();
    }
    jobs as f64 / begin.elapsed().as_secs_f64()
}

/// The hand-written baseline: one connection, prepared statements.
struct Raw(Connection);

impl Raw {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE messages (sequence INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL UNIQUE, \
                 inserted_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, dequeue_count INTEGER NOT NULL, \
                 receipt TEXT NOT NULL, text TEXT NOT NULL); \
                 CREATE INDEX by_visibility ON messages (queue, visible_at, sequence)",
            )
            .unwrap();
        Self(connection)
    }

    /// Each job is inserted, taken and deleted: three transactions per `group` of jobs. Returns jobs per second.
    fn round(&self, jobs: usize, group: usize) -> f64 {
        let begin = Instant::now();
        for _ in 0..jobs / group {
            let ids: Vec<String> = (0..group).map(|_| uuid::Uuid::new_v4().to_string()).collect();
            self.commit(|connection| ids.iter().for_each(|id| insert(connection, id, &job(begin))));
            let mut taken = Vec::new();
            self.commit(|connection| taken = take(connection, group));
            assert_eq!(taken.len(), group);
            self.commit(|connection| {
                let mut delete = connection
                    .prepare_cached("DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ?")
                    .unwrap();
                for id in &taken {
                    assert_eq!(delete.execute([id, QUEUE, "receipt"]).unwrap(), 1);
                }
            });
        }
        (jobs / group * group) as f64 / begin.elapsed().as_secs_f64()
    }

    /// How long each of so many inserts takes with its commit, in milliseconds.
    fn writes(&self, count: usize) -> Vec<f64> {
        let text = job(Instant::now());
        let times = (0..count).map(|_| {
            let begin = Instant::now();
            self.commit(|connection| insert(connection, &uuid::Uuid::new_v4().to_string(), &text));
            milliseconds(begin.elapsed())
        });
        let times = times.collect();
        self.0.execute("DELETE FROM messages", []).unwrap();
        times
    }

    fn commit(&self, work: impl FnOnce(&Connection)) {
        let transaction = self.0.unchecked_transaction().unwrap();
        work(&transaction);
        transaction.commit().unwrap();
    }
}

fn insert(connection: &Connection, id: &str, text: &str) {
    let mut insert = connection.prepare_cached("INSERT INTO messages VALUES (NULL, ?, ?, 1, 1, 0, '', ?)").unwrap();
    insert.execute(params![QUEUE, id, text]).unwrap();
}

fn take(connection: &Connection, most: usize) -> Vec<String> {
    let mut visible = connection
        .prepare_cached(
            "SELECT id, text, sequence FROM messages WHERE queue = ? AND visible_at <= 1 \
             ORDER BY visible_at, sequence LIMIT ?",
        )
        .unwrap();
    let mut hide = connection
        .prepare_cached(
            "UPDATE messages SET visible_at = 2, dequeue_count = dequeue_count + 1, receipt = 'receipt' \
             WHERE sequence = ?",
        )
        .unwrap();
    let rows = visible.query_map(params![QUEUE, most as i64], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    });
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    for (_, text, sequence) in &rows {
        assert!(!text.is_empty());
        assert_eq!(hide.execute([sequence]).unwrap(), 1);
    }
    rows.into_iter().map(|(id, ..)| id).collect()
}
