//! What telemetry costs: `GET /api/health` and a signed-in read with traces, metrics and logs sent to a collector,
//! against the same binary that sends nothing.
//!
//! What sending nothing costs against a binary that cannot is seen with `PLUCKIT_BASELINE_BINARY`, the path of a build
//! from before; without it, that line is left out.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::store::DocumentStore;
use pluckit::store::sqlite::SqliteStore;
use support::load::{self, requests_per_second};
use support::service::Launch;
use support::{BINARY, Goal, median, print_figure, print_head, runtime};
use tokio::net::TcpListener;

/// Callers at the same time.
const CALLERS: usize = 32;
const ROUNDS: usize = 15;
const SPAN: Duration = Duration::from_millis(700);

fn main() {
    runtime().block_on(measure());
}

/// Starts a collector that reads and discards everything.
async fn collector() -> String {
    let router = Router::new().fallback(async |_body: Bytes| "");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it ends with the benchmark")]
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url
}

/// A service to measure, with a signed-in user.
struct Subject {
    _service: support::service::Service,
    address: SocketAddr,
    token: String,
    health: Vec<f64>,
    reads: Vec<f64>,
}

impl Subject {
    async fn start(launch: Launch) -> Self {
        let store: Arc<dyn DocumentStore> =
            Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
        let data = Data::new(store);
        let sessions = SessionService::new(data.sessions.clone(), Arc::new(SystemClock));
        let token = sessions.open("ada".into()).await.unwrap().access_token;
        let (service, address) = launch.start();
        Self { _service: service, address, token, health: Vec::new(), reads: Vec::new() }
    }

    async fn measure(&mut self) {
        let health = load::get("/api/health", "");
        let read = load::get("/api/chat/memory", &format!("authorization: Bearer {}\r\n", self.token));
        self.health.push(requests_per_second(self.address, &health, CALLERS, SPAN).await);
        self.reads.push(requests_per_second(self.address, &read, CALLERS, SPAN).await);
    }
}

async fn measure() {
    print_head("Telemetry");
    let collector = collector().await;
    let mut off = Subject::start(Launch::production(BINARY)).await;
    let mut on = Subject::start(Launch::production(BINARY).setting("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)).await;
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no other settings")]
    let before = std::env::var("PLUCKIT_BASELINE_BINARY").ok();
    let mut before = match before {
        Some(binary) => Some(Subject::start(Launch::production(&binary)).await),
        None => None,
    };
    for _ in 0..ROUNDS {
        off.measure().await;
        on.measure().await;
        if let Some(before) = &mut before {
            before.measure().await;
        }
    }
    let (health, read) = (median(&off.health), median(&off.reads));
    if let Some(before) = &before {
        let baseline = median(&before.health);
        print_figure("GET /api/health, telemetry off", "/s", health, baseline, Goal::RatioAtLeast(0.99));
        print_figure("a signed-in read, telemetry off", "/s", read, median(&before.reads), Goal::None);
    }
    print_figure("GET /api/health, telemetry on", "/s", median(&on.health), health, Goal::RatioAtLeast(0.9));
    print_figure("a signed-in read, telemetry on", "/s", median(&on.reads), read, Goal::None);
}
