//! The log: JSON lines on standard output, or text for people when that is a terminal.
//!
//! Messages are constant lower-case text, values are fields. Tokens, prompts, answers, pictures and e-mail addresses are
//! never among them.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

/// An error with its causes, for a log field: `what failed: because of this: because of that`.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Starts the log. `filter` is in the syntax of [`EnvFilter`]; what it cannot read is left out of it.
pub fn start(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_timer(UtcTime::rfc_3339());
    // Standard output, because the Functions host takes every line of standard error for an error.
    if io::stdout().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(true).init();
    }
    log_panics();
}

/// A panic becomes a line in the log, with its place but not its message: that may quote what a user sent.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic");
    }));
}
