//! Writes the log to standard output on a separate thread, so that a slow reader does not block the service.
//!
//! Lines that cannot be written are dropped and counted; the count is logged when writing works again, and is a metric.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Most lines that wait to be written: a few megabytes.
const MOST_LINES: usize = 8192;
/// Longest wait for the last lines at exit.
const FLUSH_LIMIT: Duration = Duration::from_millis(1500);

/// Counter of dropped lines. Cheap to clone.
#[derive(Clone)]
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// Returns the number of dropped lines.
    pub fn count(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

/// Keeps the log thread alive. On drop, waits briefly for the last lines to be written.
#[must_use = "the log ends when it is dropped"]
pub struct LogGuard(Option<WorkerGuard>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(worker) = self.0.take() else { return };
        // On a detached thread, because dropping the guard blocks while standard output is not read.
        let (done, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(worker);
            drop(done);
        });
        // Either the channel closes or the time is up; both end the wait.
        if ended.recv_timeout(FLUSH_LIMIT).is_err() {}
    }
}

/// Starts the log thread.
pub fn start() -> (NonBlocking, DroppedLines, LogGuard) {
    let dropped = Arc::new(OnceLock::new());
    let output = Output { to: standard_output(), dropped: dropped.clone(), reported: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES).thread_name("log");
    let (writer, worker) = builder.finish(output);
    let counter = dropped.get_or_init(|| writer.error_counter()).clone();
    (writer, DroppedLines(counter), LogGuard(Some(worker)))
}

/// Opens standard output without the standard library's lock, which would block other threads. `None` if it is closed.
fn standard_output() -> Option<File> {
    io::stdout().as_fd().try_clone_to_owned().ok().map(File::from)
}

struct Output {
    to: Option<File>,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Dropped lines that have been logged.
    reported: usize,
}

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.to.as_mut().map_or(Ok(buffer.len()), |to| to.write(buffer))?;
        let count = || self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let dropped = count();
        if dropped > self.reported {
            // This line is itself queued for this thread, if there is space.
            warn!(lines = dropped - self.reported, "log lines dropped: the log is not being read");
            if count() == dropped {
                self.reported = dropped;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), File::flush)
    }
}
