//! The service as a separate process that tests can kill at any moment.
//!
//! It is this test program, started again with [`ROLE`] set to run one test, so that it has the tests' internet and
//! short timeouts, which the binary must not have. Without a Functions host, or as the program that the host's double
//! starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pluckit::base::backoff::{Backoff, Jitter};
use pluckit::state::AppState;
use pluckit::workers::{FUNCTIONS, pump, timers};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::service::{self, bare};
use super::{host, until};

/// The setting that makes the program a service.
pub const ROLE: &str = "PLUCKIT_TEST_ROLE";

/// The program and its arguments.
pub fn program(test: &str) -> (PathBuf, Vec<String>) {
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"].map(str::to_owned).into();
    (std::env::current_exe().unwrap(), arguments)
}

/// Receives messages and runs timers with short timeouts, to take over other processes' work soon.
pub fn start_workers(app: &AppState) {
    let options = pump::Options {
        visibility: Duration::from_secs(2),
        // Often enough to find what another process has sent, or left behind.
        idle: Backoff { first: Duration::from_millis(50), most: Duration::from_millis(100), jitter: Jitter::None },
        ..pump::Options::from_config(&app.config)
    };
    pump::start(app, FUNCTIONS, &options);
    timers::start(app, FUNCTIONS, &timers::Options { lease: Duration::from_secs(2), ..timers::Options::default() });
}

/// A random time up to this long.
pub fn up_to(longest: Duration) -> Duration {
    longest.mul_f64(f64::from(getrandom::u32().unwrap()) / f64::from(u32::MAX))
}

/// A running service without a host.
pub struct Process {
    test: &'static str,
    settings: BTreeMap<String, String>,
    child: Child,
}

impl Process {
    /// Starts the service that `test` is, and returns when it listens.
    pub async fn start(test: &'static str, settings: &BTreeMap<String, String>) -> Self {
        let mut settings = settings.clone();
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        settings.insert("PORT".to_owned(), port.to_string());
        settings.insert(ROLE.to_owned(), "alone".to_owned());
        let child = spawn(test, &settings);
        until("the process listens", async || host::is_open(port).await).await;
        Self { test, settings, child }
    }

    /// Kills it with SIGKILL, whatever it is doing, and starts it again. Does not wait until it listens.
    pub async fn kill_and_restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(self.test, &self.settings);
    }

    /// Puts it to sleep with SIGSTOP, whatever it is doing.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Wakes it with SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        service::signal(self.child.id().expect("it was not killed"), signal);
    }

    /// Kills it for good.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn spawn(test: &str, settings: &BTreeMap<String, String>) -> Child {
    let (program, arguments) = program(test);
    Command::from(bare(program, Path::new(".")))
        .args(arguments)
        .envs(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
