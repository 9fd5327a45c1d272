//! Requests per second: `/api/health` through all layers against a bare axum route, and a signed-in
//! `GET /api/chat/memory` against what HTTP and SQLite allow one after the other.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pluckit::base::clock::{Clock, SystemClock};
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::model::ids::UserId;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use support::load::{self, requests_per_second};
use support::service::{Launch, Service};
use support::{
    BARE_ROUTE, BINARY, Goal, Program, asked_for, median, print_figure, print_head, processor_microseconds, runtime,
    serve_bare_route,
};
use tokio::task::JoinSet;

/// Callers at the same time.
const CALLERS: usize = 32;
const ROUNDS: usize = 9;
const SPAN: Duration = Duration::from_secs(1);
/// A memory of ordinary length, in characters.
const MEMORY_LENGTH: usize = 600;

fn main() {
    if let Some(port) = asked_for(BARE_ROUTE) {
        return serve_bare_route(&port);
    }
    runtime().block_on(measure());
}

async fn measure() {
    print_head("Requests per second");
    let bare = Program::start(&[BARE_ROUTE, "0"]);
    let launch = Launch::production(BINARY);
    let store: Arc<dyn DocumentStore> =
        Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
    let token = prepare(&store).await;
    let (service, address) = launch.start();

    let health = load::get("/api/health", "");
    let memory = load::get("/api/chat/memory", &format!("authorization: Bearer {token}\r\n"));
    let (mut bares, mut healths, mut memories, mut reads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut bare_costs, mut health_costs, mut memory_costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (rate, cost) = rate_and_cost(bare.id(), requests_per_second(bare.address, &health, CALLERS, SPAN)).await;
        bares.push(rate);
        bare_costs.push(cost);
        let (rate, cost) = rate_and_cost(service.id(), requests_per_second(address, &health, CALLERS, SPAN)).await;
        healths.push(rate);
        health_costs.push(cost);
        let (rate, cost) = rate_and_cost(service.id(), requests_per_second(address, &memory, CALLERS, SPAN)).await;
        memories.push(rate);
        memory_costs.push(cost);
        reads.push(reads_per_second(&store).await);
    }
    let both: Vec<f64> = bares.iter().zip(&reads).map(|(http, sqlite)| 1.0 / (1.0 / http + 1.0 / sqlite)).collect();
    let (bare_rate, bare_cost) = (median(&bares), median(&bare_costs));
    print_figure("GET /api/health", "/s", median(&healths), bare_rate, Goal::RatioAtLeast(0.5));
    print_figure("its processor time in the server", "µs", median(&health_costs), bare_cost, Goal::None);
    print_figure("GET /api/chat/memory, signed in", "/s", median(&memories), median(&both), Goal::RatioAtLeast(0.5));
    print_figure("its processor time in the server", "µs", median(&memory_costs), bare_cost, Goal::None);
    print_figure("of that baseline: HTTP alone", "/s", bare_rate, bare_rate, Goal::None);
    print_figure("of that baseline: point reads", "/s", median(&reads), median(&reads), Goal::None);
    finish(service);
}

/// Creates a signed-in user with a memory; returns the access token.
async fn prepare(store: &Arc<dyn DocumentStore>) -> String {
    let data = Data::new(store.clone());
    let user = UserId::from("ada");
    data.conversations.set_memory(&user, &"x".repeat(MEMORY_LENGTH), None, SystemClock.now().into()).await.unwrap();
    let sessions = SessionService::new(data.sessions.clone(), Arc::new(SystemClock));
    sessions.open(user).await.unwrap().access_token
}

/// Requests per second, and processor time that the server spent on each, in microseconds.
async fn rate_and_cost(server: u32, load: impl Future<Output = f64>) -> (f64, f64) {
    let (begin, before) = (Instant::now(), processor_microseconds(server));
    let rate = load.await;
    let used = processor_microseconds(server) - before;
    (rate, used / (rate * begin.elapsed().as_secs_f64()))
}

/// Measures reads of the same document through the store, with as many callers.
async fn reads_per_second(store: &Arc<dyn DocumentStore>) -> f64 {
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            let key = Key::new(Container::Conversations, "ada", "ada");
            let mut reads = 0_u32;
            while begin.elapsed() < SPAN {
                assert!(store.read(&key).await.unwrap().is_some());
                reads += 1;
            }
            reads
        });
    }
    let reads: u32 = callers.join_all().await.into_iter().sum();
    f64::from(reads) / begin.elapsed().as_secs_f64()
}

fn finish(mut service: Service) {
    assert!(service.is_running(), "the service has lived through it");
}
