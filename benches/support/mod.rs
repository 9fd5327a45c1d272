//! Shared by benchmarks: a load tool, bare servers as baselines, and the output table.

#![expect(dead_code, reason = "each benchmark needs another part of this")]

pub mod load;
#[path = "../../tests/unit/support/service.rs"]
pub mod service;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The real binary, built as it is shipped.
pub const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");

/// The bare server's answer: the bytes of the real one.
const BARE_ANSWER: &str = r#"{"status":"ok","service":"pluckit-processor","version":"0.1.0"}"#;

/// A baseline program: the benchmark's own binary, started with another argument.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails if the process has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Program {
    /// Starts this binary with these arguments and reads the address that it prints.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// This binary with these arguments.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    command
}

/// What follows `argument` on the command line of this process; `None` if it was not started by [`command`] with it.
pub fn asked_for(argument: &str) -> Option<String> {
    std::env::args().skip_while(|given| given != argument).nth(1)
}

/// The argument that asks for [`serve_bare_route`], before the port.
pub const BARE_ROUTE: &str = "--bare-route";

/// Serves one bare axum route at `port` (0 takes a free one) until it is killed, and prints its address.
#[expect(clippy::print_stdout, reason = "the benchmark that started this process reads it")]
pub fn serve_bare_route(port: &str) {
    let port = port.parse::<u16>().unwrap();
    runtime().block_on(async {
        let router =
            Router::new().route("/api/health", get(async || ([(CONTENT_TYPE, "application/json")], BARE_ANSWER)));
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

/// As many threads as there are cores, as the binary has them.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns a quantile of the values.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in a short list")]
    let position = ((sorted.len() - 1) as f64 * part).ceil() as usize;
    sorted[position]
}

/// Processor time that a process has used so far, in microseconds.
pub fn processor_microseconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may hold spaces: user and system time are the 12th and 13th field, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |position: usize| fields[position].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) * 10_000.0
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The value is at most this.
    AtMost(f64),
    /// The ratio of value to baseline is at least this.
    RatioAtLeast(f64),
    /// The ratio of value to baseline is at most this.
    RatioAtMost(f64),
    /// It is only told.
    None,
}

/// Prints the head of the table, with the machine and the commit.
#[expect(clippy::print_stdout, reason = "this is what benchmarks are for")]
pub fn print_head(title: &str) {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).map_or("unknown", |rest| rest.trim());
    let model = model.trim_start_matches([':', ' ', '\t']);
    let cores = std::thread::available_parallelism().unwrap();
    println!("\n{title}: {cores} cores, {model}; commit {}\n", commit());
    println!("| figure | value | baseline | ratio | target | met |");
    println!("|---|---:|---:|---:|---|---|");
}

/// Prints one line of the table.
#[expect(clippy::print_stdout, reason = "this is what benchmarks are for")]
pub fn print_figure(name: &str, unit: &str, value: f64, baseline: f64, goal: Goal) {
    let ratio = value / baseline;
    let (target, met) = match goal {
        Goal::AtMost(most) => (format!("≤ {most} {unit}"), if value <= most { "yes" } else { "**no**" }),
        Goal::RatioAtLeast(least) => (format!("ratio ≥ {least}"), if ratio >= least { "yes" } else { "**no**" }),
        Goal::RatioAtMost(most) => (format!("ratio ≤ {most}"), if ratio <= most { "yes" } else { "**no**" }),
        Goal::None => (String::new(), ""),
    };
    println!("| {name} | {} {unit} | {} {unit} | {ratio:.2} | {target} | {met} |", short(value), short(baseline));
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let id = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if is_clean { id } else { format!("{id} with changes") }
}
