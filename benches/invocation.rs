//! What a call of the Functions host costs us beyond HTTP itself: p99 at most 2 ms.
//!
//! A function that does nothing, called with a queue envelope as the host sends it, beside a bare axum route that reads
//! the same body and answers the same bytes, in turns, on kept connections. The service is the real one on an embedded
//! store, with a function list of its own. `cargo bench --bench invocation`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "its figures are its output")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::serve::ListenerExt;
use futures::FutureExt;
use pluckit::app::router;
use pluckit::app::{self, Backends};
use pluckit::config::{Config, Source};
use pluckit::telemetry::Telemetry;
use pluckit::workers::{Function, QueueRole, QueueTrigger, Trigger};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CALLS: usize = 10_000;
const WARM_UP: usize = 1_000;
/// What we promise.
const LIMIT: Duration = Duration::from_millis(2);

static FUNCTIONS: [Function; 1] = [Function {
    name: "DoNothing",
    trigger: Trigger::Queue(QueueTrigger {
        setting: "TASTE_JOB_QUEUE_NAME",
        suffix: "",
        names: |config| &config.queues.taste,
        role: QueueRole::Work {
            run: |_, _| async { Ok(()) }.boxed(),
            give_up: |_, _| async { Ok(()) }.boxed(),
            keeps_last_failure: false,
        },
    }),
}];

fn service() -> router::App {
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("PLUCKIT_ALLOW_EMBEDDED", "true"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"),
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
    ];
    let lookup = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let config = Config::read(|name| lookup(name).map(|value| (value, Source::Environment))).unwrap();
    // The function opens no file, so the directory may go when this returns.
    let backends = Backends::open(&config, SocketAddr::from(([127, 0, 0, 1], 7071)), Telemetry::off()).unwrap();
    router::with_functions(app::state(config, backends), &FUNCTIONS)
}

async fn listen() -> (impl axum::serve::Listener<Addr = std::net::SocketAddr>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/DoNothing", listener.local_addr().unwrap());
    // As the service listens.
    (listener.tap_io(|stream| stream.set_nodelay(true).unwrap()), url)
}

async fn call(client: &reqwest::Client, url: &str, body: &Bytes) -> Duration {
    let started = Instant::now();
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(body.clone());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    started.elapsed()
}

/// The value below which this share of the sorted times is.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[tokio::main]
async fn main() {
    let message = json!({"jobId": "m-17", "userId": "ada", "itemId": "i1", "imageUrl": "https://example.com/1.jpg"});
    let scalar = |text: &str| serde_json::to_string(text).unwrap();
    let envelope = json!({
        "Data": { "item": scalar(&message.to_string()) },
        "Metadata": { "DequeueCount": "1", "Id": scalar("5d0c7c1e"), "InsertionTime": "2026-03-02T09:15:00+00:00" },
    });
    let body = Bytes::from(envelope.to_string());

    let mut servers = JoinSet::new();
    let (listener, ours) = listen().await;
    let make = axum::ServiceExt::<Request>::into_make_service(service());
    servers.spawn(async move { axum::serve(listener, make).await.unwrap() });
    let (listener, bare) = listen().await;
    let answer = r#"{"Outputs":{},"Logs":["DoNothing done"],"ReturnValue":null}"#;
    let route = post(move |_: Bytes| async move { ([(CONTENT_TYPE, "application/json")], answer) });
    servers.spawn(async move { axum::serve(listener, Router::new().route("/DoNothing", route)).await.unwrap() });

    let client = pluckit::net::builder().no_proxy().tcp_nodelay(true).build().unwrap();
    let mut times = [Vec::with_capacity(CALLS), Vec::with_capacity(CALLS)];
    for round in 0..WARM_UP + CALLS {
        for (url, times) in [&bare, &ours].into_iter().zip(&mut times) {
            let time = call(&client, url, &body).await;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    println!("{CALLS} calls each, in microseconds");
    println!("{:18} {:>8} {:>8} {:>8}", "", "p50", "p99", "highest");
    for (name, times) in ["bare axum route", "our invocation"].into_iter().zip(&times) {
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent).as_micros());
        println!("{name:18} {half:>8} {most:>8} {all:>8}");
    }
    let overhead = percentile(&times[1], 99).saturating_sub(percentile(&times[0], 99));
    println!("overhead at p99: {} microseconds (at most {})", overhead.as_micros(), LIMIT.as_micros());
    assert!(overhead <= LIMIT, "our part of a call takes too long");
}
