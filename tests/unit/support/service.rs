//! The real binary as a separate process: on a free port, with its own data directory, observed from outside.
//!
//! Its standard output goes to a file, so that nothing has to read along and what a killed process said is still there.
//! Needs nothing but the standard library, `serde_json` and `tempfile`: benchmarks use this file as well.

#![expect(dead_code, reason = "each user of this file needs another part of it")]

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Time limit of a start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two looks at something that should happen.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Waits until `condition` gives something; panics when it does not within `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A program that is started in this directory and inherits nothing from the environment of the test.
pub fn bare(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(directory);
    command
}

/// Sends a process a signal, `TERM` for instance.
pub fn signal(process: u32, name: &str) {
    // The shell has this built in; to send signals from here would need unsafe code.
    let command = format!("kill -{name} {process}");
    let sent = Command::new("sh").arg("-c").arg(command).status().expect("a shell");
    assert!(sent.success(), "the process is there");
}

/// How a service is started. Nothing is inherited from the environment of the test.
#[derive(Clone)]
pub struct Launch {
    /// Programs that start the binary, with their arguments.
    through: Vec<String>,
    binary: PathBuf,
    settings: Vec<(String, String)>,
    directory: Arc<TempDir>,
}

impl Launch {
    /// In production, where callers sign in, with the embedded store and the offline model, on a free port.
    pub fn production(binary: &str) -> Self {
        Self::development(binary)
            .setting("AZURE_FUNCTIONS_ENVIRONMENT", "Production")
            .setting("PLUCKIT_ALLOW_EMBEDDED", "1")
    }

    /// As somebody starts it who has configured nothing, but on a free port.
    pub fn development(binary: &str) -> Self {
        let directory = Arc::new(TempDir::new().expect("a temporary directory"));
        let data = directory.path().join("data").display().to_string();
        let launch = Self { through: Vec::new(), binary: binary.into(), settings: Vec::new(), directory };
        // Tests and benchmarks ask more than one caller may.
        launch
            .setting("PORT", "0")
            .setting("PLUCKIT_DATA_DIR", &data)
            .setting("RATE_LIMITS", "false")
            .setting("OFFLINE_TOKENS_PER_SECOND", "0")
            // No test asks the weather service of the world.
            .setting("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:9")
            .setting("OPEN_METEO_FORECAST_URL", "http://127.0.0.1:9")
    }

    /// Asks the models of the server with this base URL.
    pub fn asking(self, model_url: &str) -> Self {
        self.setting("OPENAI_BASE_URL", model_url).setting("OPENAI_MODEL", "stylist-1")
    }

    /// Sets a setting.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a setting.
    pub fn value(&self, name: &str) -> Option<String> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Has the binary started by this command, as its last arguments.
    pub fn through(mut self, command: &[&str]) -> Self {
        self.through = command.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// The embedded store's file.
    pub fn store_file(&self) -> PathBuf {
        self.directory.path().join("data/pluckit.db")
    }

    /// The process before it is started. Its working directory is the temporary one, where no settings file lies.
    pub fn command(&self) -> Command {
        let mut command = match &self.through[..] {
            [program, arguments @ ..] => {
                let mut command = bare(program, self.directory.path());
                command.args(arguments).arg(&self.binary);
                command
            }
            [] => bare(&self.binary, self.directory.path()),
        };
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Starts the process; it need not listen yet.
    pub fn spawn(&self) -> Service {
        let output = tempfile::Builder::new().prefix("log-").tempfile_in(self.directory.path());
        let (file, path) = output.expect("a file for the log").keep().expect("a file that stays");
        let errors = file.try_clone().expect("a second handle");
        let child = self.command().stdout(file).stderr(errors).spawn().expect("the binary starts");
        Service { child, log: path, launch: self.clone() }
    }

    /// Starts the process and waits until it listens.
    pub fn start(&self) -> (Service, SocketAddr) {
        let mut service = self.spawn();
        let address = wait_until("the service listens", PATIENCE, || {
            if let Some(status) = service.child.try_wait().expect("a child of ours") {
                panic!("the service ended with {status}: {}", service.log());
            }
            service.address()
        });
        (service, address)
    }
}

/// A process of the service; killed when it is dropped.
pub struct Service {
    child: Child,
    log: PathBuf,
    launch: Launch,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            check_log(&self.log());
        }
    }
}

impl Service {
    /// Where it says that it listens; `None` before it does.
    fn address(&self) -> Option<SocketAddr> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("\"listening\"") && line.ends_with('}'))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse().ok()
    }

    /// All that it has said so far, on standard output and standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log can be read")).into_owned()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, `TERM` for instance.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Ends it at once (SIGKILL), as a crash or an operating system without memory would.
    pub fn kill(&mut self) {
        // Fails if the process has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_until("the service ends", limit, || self.child.try_wait().expect("a child of ours"))
    }

    /// Memory that it occupies now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it has occupied since its start, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        kib_of(self.id(), name)
    }
}

/// Checks that no line of a log has a name twice: those who read JSON would see one of the values only.
fn check_log(log: &str) {
    for line in log.lines().filter(|line| line.starts_with('{')) {
        // Of two equal names, the second replaces the first.
        if let Ok(Value::Object(fields)) = serde_json::from_str(line) {
            let read = Value::Object(fields).to_string();
            assert_eq!(read.len(), line.len(), "a name is there twice: {line}");
        }
    }
}

/// A number of `/proc/<process>/status`, in KiB.
pub fn kib_of(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux, and a process that runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Size of a file in bytes.
pub fn file_bytes(path: &Path) -> u64 {
    File::open(path).and_then(|file| file.metadata()).expect("a file").len()
}
