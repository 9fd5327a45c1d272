//! How much later the first token comes through the service than from the model server itself, and 200 streams at once.
//! The model server of the tests runs as a process of its own: this binary, run again. The baseline is the same client
//! at the model server directly.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

#[path = "../tests/unit/support/model.rs"]
mod model;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{ModelServer, Step};
use serde_json::json;
use support::load::{self, Connection};
use support::service::Launch;
use support::{BINARY, Goal, Program, asked_for, print_figure, print_head, quantile, runtime};
use tokio::task::JoinSet;

const MODEL_SERVER: &str = "--model-server";
/// What the first token says, before the time at which the model server began to answer.
const MARK: &str = "\"content\":\"began-";
/// Turns one after the other.
const TURNS: usize = 1000;
/// Streams at once.
const STREAMS: usize = 200;
/// Tokens of a long answer, and the time between two of them: a model's usual pace.
const TOKENS: usize = 100;
const PACE: Duration = Duration::from_millis(20);

fn main() {
    if asked_for(MODEL_SERVER).is_some() {
        runtime().block_on(serve_model());
        return;
    }
    runtime().block_on(measure());
}

/// Microseconds since 1970: two processes have no other clock in common.
#[expect(clippy::disallowed_methods, reason = "two processes of a benchmark have no other clock in common")]
fn microseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

#[expect(clippy::print_stdout, reason = "the benchmark that started this process reads it")]
async fn serve_model() {
    let server = ModelServer::start().await;
    server.record(false);
    server.otherwise(|received| {
        let mut steps = vec![model::azure_preamble(), model::delta(json!({"role": "assistant", "content": ""}))];
        steps.push(model::text(&format!("began-{} ", microseconds())));
        if received.last_message().starts_with("long") {
            for n in 1..TOKENS {
                steps.extend([Step::Pause(PACE), model::text(&format!("token{n} "))]);
            }
        }
        steps.extend([model::finish("stop"), model::usage(10, 5), Step::Done]);
        steps
    });
    println!("{}", server.url().trim_start_matches("http://"));
    std::future::pending().await
}

/// Times of one turn, in milliseconds.
struct Turn {
    /// From the model server's first byte to the client's first token.
    delay: f64,
    /// From the request to the client's first token.
    first_token: f64,
    /// What came, in all.
    answer: String,
}

async fn take_turn(address: SocketAddr, request: &[u8]) -> Turn {
    let mut connection = Connection::open(address).await.unwrap();
    let sent = microseconds();
    let began: u128 = connection.ask_until(request, MARK, ' ').await.unwrap().parse().unwrap();
    let received = microseconds();
    let milliseconds = |since: u128| received.saturating_sub(since) as f64 / 1000.0;
    Turn { delay: milliseconds(began), first_token: milliseconds(sent), answer: connection.rest().await.unwrap() }
}

/// As the service asks it, with fewer words.
fn direct(message: &str) -> Vec<u8> {
    let body = json!({
        "model": "m", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": message}],
    });
    load::post("/v1/chat/completions", &body.to_string())
}

fn through(message: &str) -> Vec<u8> {
    load::post("/api/chat", &json!({ "message": message }).to_string())
}

/// The same turn so many times at once.
async fn all_at_once(address: SocketAddr, request: &[u8]) -> Vec<Turn> {
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let request = request.to_vec();
        streams.spawn(async move { take_turn(address, &request).await });
    }
    streams.join_all().await
}

async fn measure() {
    print_head("Chat");
    let server = Program::start(&[MODEL_SERVER, "yes"]);
    let base_url = format!("http://{}/v1", server.address);
    let launch = Launch::development(BINARY).setting("PLUCKIT_DEMO", "false").setting("OPENAI_BASE_URL", &base_url);
    let (mut service, address) = launch.start();
    for _ in 0..50 {
        take_turn(address, &through("warm up")).await;
        take_turn(server.address, &direct("warm up")).await;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(take_turn(address, &through("short")).await);
        theirs.push(take_turn(server.address, &direct("short")).await);
    }
    let delays = |turns: &[Turn]| turns.iter().map(|turn| turn.delay).collect::<Vec<_>>();
    let totals = |turns: &[Turn]| turns.iter().map(|turn| turn.first_token).collect::<Vec<_>>();
    let figure = |name: &str, ours: &[f64], theirs: &[f64], part: f64, goal: Goal| {
        print_figure(name, "ms", quantile(ours, part), quantile(theirs, part), goal);
    };
    let (our_delays, their_delays) = (delays(&ours), delays(&theirs));
    figure("model's first byte to first token, p50", &our_delays, &their_delays, 0.5, Goal::None);
    figure("the same, p99", &our_delays, &their_delays, 0.99, Goal::AtMost(2.0));
    let (our_totals, their_totals) = (totals(&ours), totals(&theirs));
    figure("request to first token, p50", &our_totals, &their_totals, 0.5, Goal::None);
    figure("the same, p99", &our_totals, &their_totals, 0.99, Goal::None);
    let before = service.resident_kib();

    let ours = all_at_once(address, &through("long")).await;
    let theirs = all_at_once(server.address, &direct("long")).await;
    let failures = ours.iter().filter(|turn| !is_whole(&turn.answer)).count();
    let failures_there = theirs.iter().filter(|turn| !turn.answer.contains("[DONE]")).count();
    print_figure("200 streams at once: failures", "", failures as f64, failures_there as f64, Goal::AtMost(0.0));
    let (our_delays, their_delays) = (delays(&ours), delays(&theirs));
    figure("model's first byte to first token then, p50", &our_delays, &their_delays, 0.5, Goal::None);
    figure("the same, p99", &our_delays, &their_delays, 0.99, Goal::None);
    let mib = |kib: u64| kib as f64 / 1024.0;
    print_figure("most memory under that load", "MiB", mib(service.peak_kib()), mib(before), Goal::AtMost(64.0));
    assert!(service.is_running());
}

/// Whether every token came, and then the end.
fn is_whole(answer: &str) -> bool {
    let tokens = answer.matches("\"type\":\"token\"").count();
    tokens == TOKENS && answer.matches("\"type\":\"done\"").count() == 1 && !answer.contains("\"type\":\"error\"")
}
