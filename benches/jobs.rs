//! How long it takes until a long operation is accepted: `POST /api/digest/run` with `Prefer: respond-async` at a
//! steady hundred a second, to the 202, while the service does the jobs; against the two commits that this cannot do
//! without (the job's document and its message, each synced), written by hand on the same disk.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::model::ids::UserId;
use pluckit::store::DocumentStore;
use pluckit::store::sqlite::SqliteStore;
use rusqlite::{Connection as Database, params};
use support::load::Connection;
use support::service::Launch;
use support::{BINARY, Goal, print_figure, print_head, quantile, runtime};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Requests, and the time between two.
const REQUESTS: usize = 2000;
const PACE: Duration = Duration::from_millis(10);
/// Connections that take turns.
const CONNECTIONS: usize = 16;
/// Limit of the p99, in milliseconds.
const MOST_MS: f64 = 10.0;
/// Commits of the baseline.
const COMMITS: usize = 500;

fn main() {
    runtime().block_on(measure());
}

async fn measure() {
    print_head("Accepting long operations");
    let launch = Launch::production(BINARY);
    let store: Arc<dyn DocumentStore> =
        Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
    let sessions = SessionService::new(Data::new(store).sessions, Arc::new(SystemClock));
    let token = sessions.open(UserId::from("ada")).await.unwrap().access_token;
    let (mut service, address) = launch.start();

    let by_hand = commits_by_hand();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Arc::new(Mutex::new(Connection::open(address).await.unwrap())));
    }
    let mut ticks = tokio::time::interval(PACE);
    let mut asked = JoinSet::new();
    for number in 0..REQUESTS {
        ticks.tick().await;
        let due = Instant::now();
        let connection = connections[number % CONNECTIONS].clone();
        let request = format!(
            "POST /api/digest/run HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nprefer: respond-async\r\n\
             idempotency-key: request-{number}\r\ncontent-length: 0\r\n\r\n"
        );
        asked.spawn(async move {
            // From when it was due: a service that cannot keep up makes those behind wait.
            assert_eq!(connection.lock().await.ask(request.as_bytes()).await.unwrap(), 202);
            due.elapsed().as_secs_f64() * 1000.0
        });
    }
    let times = asked.join_all().await;
    let figure = |part| (quantile(&times, part), quantile(&by_hand, part));
    let (ours, baseline) = figure(0.5);
    print_figure("from the request to the 202, 100/s, p50", "ms", ours, baseline, Goal::None);
    let (ours, baseline) = figure(0.99);
    print_figure("the same, p99", "ms", ours, baseline, Goal::AtMost(MOST_MS));
    service.kill();
}

/// Milliseconds for a row in each of two files, each commit synced.
fn commits_by_hand() -> Vec<f64> {
    let directory = TempDir::new().unwrap();
    let open = |name: &str| {
        let database = Database::open(directory.path().join(Path::new(name))).unwrap();
        database
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (id TEXT, text TEXT)",
            )
            .unwrap();
        database
    };
    let (documents, queue) = (open("documents.db"), open("queue.db"));
    let text = "x".repeat(700);
    (0..COMMITS)
        .map(|number| {
            let begin = Instant::now();
            for database in [&documents, &queue] {
                database.execute("INSERT INTO rows VALUES (?, ?)", params![number.to_string(), text]).unwrap();
            }
            begin.elapsed().as_secs_f64() * 1000.0
        })
        .collect()
}
