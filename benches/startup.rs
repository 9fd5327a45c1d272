//! Time from process start to the first answer, idle memory, and binary size, compared with a bare axum program: this
//! binary, started again to serve one route.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::load::{self, Connection};
use support::service::{Launch, file_bytes, kib_of};
use support::{
    BARE_ROUTE, BINARY, Goal, Program, asked_for, command, median, print_figure, print_head, quantile, serve_bare_route,
};

/// Starts of each kind.
const STARTS: usize = 21;
/// Time without requests before memory is read.
const IDLE: Duration = Duration::from_secs(5);
const MIB: f64 = 1024.0 * 1024.0;

fn main() {
    if let Some(port) = asked_for(BARE_ROUTE) {
        return serve_bare_route(&port);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    print_head("Start, memory, size");
    let existing = Launch::development(BINARY);
    drop(existing.start());
    let (mut bare, mut again, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let address = free_address();
        bare.push(first_answer(&mut command(&[BARE_ROUTE, &address.port().to_string()]), address).await);
        let address = free_address();
        again.push(first_answer(&mut with_port(&existing, address), address).await);
        let address = free_address();
        let fresh = Launch::development(BINARY);
        first.push(first_answer(&mut with_port(&fresh, address), address).await);
    }
    let most = Goal::AtMost(20.0);
    print_figure("start to first 200, existing store, median", "ms", median(&again), median(&bare), most);
    print_figure("the same, slowest", "ms", quantile(&again, 1.0), quantile(&bare, 1.0), Goal::None);
    print_figure("first start, demo loaded, median", "ms", median(&first), median(&bare), Goal::AtMost(50.0));
    print_figure("the same, slowest", "ms", quantile(&first, 1.0), quantile(&bare, 1.0), Goal::None);

    let bare = Program::start(&[BARE_ROUTE, "0"]);
    let (service, address) = existing.start();
    assert_eq!(ask_health(bare.address).await, Some(200));
    assert_eq!(ask_health(address).await, Some(200));
    tokio::time::sleep(IDLE).await;
    let bare_memory = mib_resident(bare.id());
    let most = Goal::AtMost(25.0);
    print_figure("idle memory", "MiB", mib_resident(service.id()), bare_memory, most);
    let question = load::post("/api/chat", r#"{"message":"What should I wear to a casual dinner?"}"#);
    let mut connection = Connection::open(address).await.unwrap();
    connection.ask_until(&question, "\"type\":\"done\"", '}').await.unwrap();
    tokio::time::sleep(IDLE).await;
    print_figure("idle memory after a chat", "MiB", mib_resident(service.id()), bare_memory, most);

    let own = std::env::current_exe().unwrap();
    let (size, bare_size) = (file_bytes(BINARY.as_ref()) as f64 / MIB, file_bytes(&own) as f64 / MIB);
    print_figure("size of the binary (the goal is for `dist`)", "MiB", size, bare_size, Goal::AtMost(45.0));
}

fn mib_resident(process: u32) -> f64 {
    kib_of(process, "VmRSS:") as f64 / 1024.0
}

/// Returns a free address. It is known before the start, so that the first answer can be awaited from outside.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
}

fn with_port(launch: &Launch, address: SocketAddr) -> Command {
    launch.clone().setting("PORT", &address.port().to_string()).command()
}

/// Milliseconds from the start of a program to its first 200.
async fn first_answer(program: &mut Command, address: SocketAddr) -> f64 {
    let begin = Instant::now();
    let _running = Running(program.stdout(Stdio::null()).spawn().unwrap());
    while ask_health(address).await != Some(200) {
        tokio::task::yield_now().await;
        assert!(begin.elapsed() < Duration::from_secs(20), "no answer");
        std::thread::sleep(Duration::from_micros(200));
    }
    begin.elapsed().as_secs_f64() * 1000.0
}

async fn ask_health(address: SocketAddr) -> Option<u16> {
    let mut connection = Connection::open(address).await.ok()?;
    connection.ask(&load::get("/api/health", "")).await.ok()
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
