//! Effect of a greedy user on others: one user calls the stylist a thousand times a second, while twenty others read
//! ten times a second each. Compares their response times with and without the greedy user, in alternating rounds.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::store::DocumentStore;
use pluckit::store::sqlite::SqliteStore;
use support::load::{self, Connection};
use support::service::Launch;
use support::{BINARY, Goal, print_figure, print_head, quantile, runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const OTHERS: usize = 20;
/// Requests per second of each of the others.
const MODEST: u32 = 10;
/// Requests per second of the greedy one, and connections for them.
const GREEDY: u32 = 1000;
const GREEDY_CONNECTIONS: u32 = 8;
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(4);

fn main() {
    runtime().block_on(measure());
}

async fn measure() {
    print_head("Limits per caller");
    let launch = Launch::production(BINARY).setting("RATE_LIMITS", "true");
    let store: Arc<dyn DocumentStore> =
        Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
    let data = Data::new(store);
    let sessions = SessionService::new(data.sessions.clone(), Arc::new(SystemClock));
    let mut tokens = Vec::new();
    for number in 0..=OTHERS {
        tokens.push(sessions.open(format!("user-{number}").as_str().into()).await.unwrap().access_token);
    }
    let greedy = tokens.pop().unwrap();
    let (mut service, address) = launch.start();

    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (refused, answered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for _ in 0..ROUNDS {
        alone.extend(read_modestly(address, &tokens).await);
        let hammer = ask_greedily(address, &greedy, &refused, &answered);
        let (times, ()) = tokio::join!(read_modestly(address, &tokens), hammer);
        beside.extend(times);
    }
    let figure = |part| (quantile(&beside, part), quantile(&alone, part));
    let (ours, baseline) = figure(0.5);
    print_figure("a read of the others beside a greedy user, p50", "ms", ours, baseline, Goal::None);
    let (ours, baseline) = figure(0.99);
    print_figure("the same, p99", "ms", ours, baseline, Goal::RatioAtMost(2.0));
    let (refused, answered) = (refused.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    print_figure("the greedy one's requests refused with 429", "", f64::from(refused), f64::from(answered), Goal::None);
    service.kill();
}

/// Times of reads, in milliseconds, each counted from when it was due.
async fn read_modestly(address: SocketAddr, tokens: &[String]) -> Vec<f64> {
    let mut users = JoinSet::new();
    for token in tokens {
        let request = load::get("/api/chat/memory", &format!("authorization: Bearer {token}\r\n"));
        users.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut times = Vec::new();
            let begin = Instant::now();
            let mut ticks = interval(Duration::from_secs(1) / MODEST);
            while begin.elapsed() < SPAN {
                let due = ticks.tick().await;
                assert_eq!(connection.ask(&request).await.unwrap(), 200);
                times.push(due.elapsed().as_secs_f64() * 1000.0);
            }
            times
        });
    }
    users.join_all().await.concat()
}

/// Calls the stylist at the given rate, and counts the answers by status.
async fn ask_greedily(address: SocketAddr, token: &str, refused: &Arc<AtomicU32>, answered: &Arc<AtomicU32>) {
    let mut connections = JoinSet::new();
    for _ in 0..GREEDY_CONNECTIONS {
        let request = format!(
            "POST /api/chat HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: 19\r\n\r\n{{\"message\":\"Hello\"}}"
        );
        let (refused, answered) = (refused.clone(), answered.clone());
        connections.spawn(async move {
            let begin = Instant::now();
            let mut ticks = interval(Duration::from_secs(1) * GREEDY_CONNECTIONS / GREEDY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut connection = Connection::open(address).await.unwrap();
            while begin.elapsed() < SPAN {
                ticks.tick().await;
                let status = connection.ask_until(request.as_bytes(), "HTTP/1.1 ", ' ').await.unwrap();
                if status == "429" {
                    refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    // A stream has no length: it is left unread, and a new connection taken.
                    connection = Connection::open(address).await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    connections.join_all().await;
}
