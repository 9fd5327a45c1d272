//! The log's way to standard output: by a thread of its own, so that nobody waits for whoever reads it.
//!
//! Lines that the thread cannot get rid of are dropped and counted. The count is written as soon as somebody reads again, and
//! is a metric.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for the thread at most: a few megabytes.
const MOST_LINES: usize = 8192;
/// Longest wait for the last lines at the end.
const FLUSH_LIMIT: Duration = Duration::from_millis(1500);

/// Number of lines that were dropped so far. Cheap to clone.
#[derive(Clone)]
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// The number.
    pub fn count(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

/// Keeps the log's thread alive. Writes the last lines when it is dropped, if somebody reads them within a moment.
#[must_use = "the log ends when it is dropped"]
pub struct LogGuard(Option<WorkerGuard>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(worker) = self.0.take() else { return };
        // On a thread that may be left behind: it waits for standard output when nobody reads that.
        let (done, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(worker);
            drop(done);
        });
        // Both outcomes are ends: the channel closes, or the time is up.
        if ended.recv_timeout(FLUSH_LIMIT).is_err() {}
    }
}

/// Starts the thread.
pub fn start() -> (NonBlocking, DroppedLines, LogGuard) {
    let dropped = Arc::new(OnceLock::new());
    let output = Output { to: standard_output(), dropped: dropped.clone(), reported: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MOST_LINES).thread_name("log");
    let (writer, worker) = builder.finish(output);
    let counter = dropped.get_or_init(|| writer.error_counter()).clone();
    (writer, DroppedLines(counter), LogGuard(Some(worker)))
}

/// Standard output without the lock that the standard library puts around it, which others would wait for. Nothing, if it is
/// closed.
fn standard_output() -> Option<File> {
    io::stdout().as_fd().try_clone_to_owned().ok().map(File::from)
}

struct Output {
    to: Option<File>,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// How many dropped lines the log has told of.
    reported: usize,
}

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.to.as_mut().map_or(Ok(buffer.len()), |to| to.write(buffer))?;
        let count = || self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let dropped = count();
        if dropped > self.reported {
            // Comes back to this thread as a line like any other, if there is room for it.
            warn!(lines = dropped - self.reported, "log lines dropped: nobody read them");
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
