//! Delay of tokens through the service compared with the model server itself: sequential turns, 200 concurrent streams,
//! and 1,000 long ones. The model server of the tests runs as a process of its own: this binary, run again. The
//! baseline is the same client at the model server directly.

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
use support::{BINARY, Goal, Program, asked_for, print_figure, print_head, processor_microseconds, quantile, runtime};
use tokio::task::JoinSet;

const MODEL_SERVER: &str = "--model-server";
/// What the first token says, before the time at which the model server began to answer.
const MARK: &str = "\"content\":\"began-";
/// Turns one after the other.
const TURNS: usize = 1000;
/// Concurrent streams, and number of measurements.
const STREAMS: usize = 200;
const ROUNDS: usize = 5;
/// Time between the beginnings of two streams that do not all begin in one moment.
const GAP: Duration = Duration::from_millis(5);
/// Tokens of a long answer, and the time between two of them: a model's usual pace.
const TOKENS: usize = 100;
const PACE: Duration = Duration::from_millis(20);
/// Streams at once for a long time, each of so many events, and the time between two of them.
const MANY_STREAMS: usize = 1000;
const MANY_EVENTS: usize = 100;
const MANY_PACE: Duration = Duration::from_millis(50);
/// What an event says before the time at which the model server sent it.
const STAMP: &str = "at-";

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
        if received.last_message().starts_with("paced") {
            for _ in 0..MANY_EVENTS {
                steps.extend([Step::Pause(MANY_PACE), Step::Stamped(STAMP)]);
            }
        }
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

/// Timings of one turn, in milliseconds.
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

/// A turn whose run is stored while it goes on, in a chat of its own.
fn logged(message: &str, number: usize) -> Vec<u8> {
    let body = json!({ "message": message, "chatId": format!("chat-{number}"), "onDisconnect": "continue" });
    load::post("/api/chat", &body.to_string())
}

/// Runs this many concurrent turns, started at this interval.
async fn all_at_once(address: SocketAddr, gap: Duration, request: impl Fn(usize) -> Vec<u8>) -> Vec<Turn> {
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let request = request(number);
        streams.spawn(async move { take_turn(address, &request).await });
        if !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
    }
    streams.join_all().await
}

/// Runs many concurrent turns. Returns the delays of their events in milliseconds, and the number of incomplete turns.
async fn many_paced(address: SocketAddr, request: impl Fn(usize) -> Vec<u8>) -> (Vec<f64>, usize) {
    let mut streams = JoinSet::new();
    for number in 0..MANY_STREAMS {
        let request = request(number);
        streams.spawn(async move {
            let mut delays = Vec::with_capacity(MANY_EVENTS);
            let mut connection = Connection::open(address).await?;
            let arrived = |sent: &str| {
                let sent = sent.parse().unwrap_or(0);
                delays.push(microseconds().saturating_sub(sent) as f64 / 1000.0);
            };
            connection.ask_marks(&request, STAMP, b' ', arrived).await?;
            Ok::<_, std::io::Error>(delays)
        });
        // Not all in one moment: what is measured is what comes after.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ended = streams.join_all().await;
    let whole: Vec<_> = ended.into_iter().flatten().filter(|delays| delays.len() == MANY_EVENTS).collect();
    let failures = MANY_STREAMS - whole.len();
    (whole.concat(), failures)
}

async fn measure() {
    print_head("Chat");
    let server = Program::start(&[MODEL_SERVER, "yes"]);
    let base_url = format!("http://{}/v1", server.address);
    let launch = Launch::development(BINARY)
        .setting("PLUCKIT_DEMO", "false")
        .setting("OPENAI_BASE_URL", &base_url)
        // All turns belong to one user.
        .setting("MODEL_TOKENS_PER_USER_AND_DAY", "1000000000");
    let (service, address) = launch.start();
    for _ in 0..50 {
        take_turn(address, &through("warm up")).await;
        take_turn(server.address, &direct("warm up")).await;
    }
    measure_one_by_one(address, server.address).await;
    let before = service.resident_kib();
    measure_at_once((address, service.id()), (server.address, server.id())).await;
    let mib = |kib: u64| kib as f64 / 1024.0;
    print_figure("most memory under that load", "MiB", mib(service.peak_kib()), mib(before), Goal::AtMost(64.0));
    drop(service);
    measure_many(&launch, server.address).await;
}

fn delays(turns: &[Turn]) -> Vec<f64> {
    turns.iter().map(|turn| turn.delay).collect()
}

fn print_milliseconds(name: &str, ours: &[f64], theirs: &[f64], part: f64, goal: Goal) {
    print_figure(name, "ms", quantile(ours, part), quantile(theirs, part), goal);
}

/// Prints by how much a quantile is above the baseline's.
fn print_added(name: &str, ours: &[f64], theirs: &[f64], part: f64, goal: Goal) {
    let baseline = quantile(theirs, part);
    print_figure(name, "ms", quantile(ours, part) - baseline, baseline, goal);
}

/// One turn after the other.
async fn measure_one_by_one(address: SocketAddr, model_server: SocketAddr) {
    let (mut ours, mut with_log, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..TURNS {
        ours.push(take_turn(address, &through("short")).await);
        with_log.push(take_turn(address, &logged("short", number)).await);
        theirs.push(take_turn(model_server, &direct("short")).await);
    }
    let totals = |turns: &[Turn]| turns.iter().map(|turn| turn.first_token).collect::<Vec<_>>();
    let (our_delays, logged_delays, their_delays) = (delays(&ours), delays(&with_log), delays(&theirs));
    print_milliseconds("model's first byte to first token, p50", &our_delays, &their_delays, 0.5, Goal::None);
    print_milliseconds("the same, p99", &our_delays, &their_delays, 0.99, Goal::AtMost(2.0));
    print_milliseconds("with the log on, p50", &logged_delays, &their_delays, 0.5, Goal::None);
    print_added("added with the log on, p99", &logged_delays, &their_delays, 0.99, Goal::AtMost(1.0));
    let (our_totals, their_totals) = (totals(&ours), totals(&theirs));
    print_milliseconds("request to first token, p50", &our_totals, &their_totals, 0.5, Goal::None);
    print_milliseconds("the same, p99", &our_totals, &their_totals, 0.99, Goal::None);
}

/// Many turns at once, with the log off and on, and begun in one moment or one after the other.
async fn measure_at_once((address, process): (SocketAddr, u32), (model_server, model_process): (SocketAddr, u32)) {
    for (how, gap) in [("at once", Duration::ZERO), ("at once, begun 5 ms apart", GAP)] {
        let (mut theirs, mut ours, mut with_log) = (Vec::new(), Vec::new(), Vec::new());
        let (mut our_time, mut their_time) = (0.0, 0.0);
        for round in 0..ROUNDS {
            let before = processor_microseconds(model_process);
            theirs.extend(all_at_once(model_server, gap, |_| direct("long")).await);
            their_time += processor_microseconds(model_process) - before;
            let before = processor_microseconds(process);
            ours.extend(all_at_once(address, gap, |_| through("long")).await);
            our_time += processor_microseconds(process) - before;
            let first = TURNS + round * STREAMS;
            with_log.extend(all_at_once(address, gap, |number| logged("long", first + number)).await);
        }
        let failures_there = theirs.iter().filter(|turn| !turn.answer.contains("[DONE]")).count();
        let their_delays = delays(&theirs);
        for (log, turns) in [("", &ours), (" with the log on", &with_log)] {
            let name = format!("200 streams {how}{log}");
            let failures = turns.iter().filter(|turn| !is_whole(&turn.answer)).count();
            print_figure(&format!("{name}: failures"), "", failures as f64, failures_there as f64, Goal::AtMost(0.0));
            let our_delays = delays(turns);
            print_milliseconds(&format!("{name}: first token, p50"), &our_delays, &their_delays, 0.5, Goal::None);
            print_added(
                &format!("{name}: added to the first token, p99"),
                &our_delays,
                &their_delays,
                0.99,
                Goal::AtMost(10.0),
            );
        }
        let each = |time: f64| time / (ROUNDS * STREAMS) as f64 / 1000.0;
        let name = format!("200 streams {how}: processor time of a turn (baseline: the model server's)");
        print_figure(&name, "ms", each(our_time), each(their_time), Goal::None);
    }
}

/// Many streams for a longer time.
async fn measure_many(launch: &Launch, model_server: SocketAddr) {
    let (mut service, address) = launch.start();
    for number in 0..50 {
        take_turn(address, &logged("warm up", number)).await;
    }
    let before = service.resident_kib();
    let (theirs, failures_there) = many_paced(model_server, |_| direct("paced")).await;
    let (ours, failures) = many_paced(address, |number| logged("paced", 1000 + number)).await;
    let name = "1,000 streams of 20 events per second with the log on";
    print_figure(&format!("{name}: failures"), "", failures as f64, failures_there as f64, Goal::AtMost(0.0));
    print_figure(&format!("{name}: delay, p50"), "ms", quantile(&ours, 0.5), quantile(&theirs, 0.5), Goal::None);
    let added = quantile(&ours, 0.99) - quantile(&theirs, 0.99);
    print_figure(&format!("{name}: added delay, p99"), "ms", added, quantile(&theirs, 0.99), Goal::AtMost(25.0));
    let each = service.peak_kib().saturating_sub(before) as f64 / MANY_STREAMS as f64;
    print_figure(&format!("{name}: memory of a stream"), "KiB", each, before as f64, Goal::AtMost(32.0));
    assert!(service.is_running());
}

/// Whether every token and the end arrived.
fn is_whole(answer: &str) -> bool {
    let tokens = answer.matches("\"type\":\"token\"").count();
    tokens == TOKENS && answer.matches("\"type\":\"done\"").count() == 1 && !answer.contains("\"type\":\"error\"")
}
