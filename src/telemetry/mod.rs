//! Telemetry: the log, always; traces, metrics and logs over OTLP (`otlp`) and traces to Langfuse ([`observe`]), if
//! endpoints are set.
//!
//! The log is JSON lines on standard output, or text on a terminal, unless `LOG_FORMAT` says otherwise; its newest
//! lines stay in memory for administrators ([`recent`]). Messages are constant lower-case text, values are fields.
//! Neither log nor traces contain tokens, prompts, answers, pictures or e-mail addresses; Langfuse gets prompts and
//! answers only if `LANGFUSE_CAPTURE_CONTENT` is set.

pub mod log_writer;
pub mod metrics;
pub mod observe;
mod otlp;
pub mod recent;
pub mod trace_context;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use time::macros::format_description;
use tracing::{Subscriber, error, warn};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::log_writer::LogGuard;
use self::metrics::Metrics;
use self::observe::Observer;
use self::otlp::Providers;
use self::recent::RecentLines;
use crate::base::clock::milliseconds;
use crate::config;
use crate::config::LogFormat;

/// Handles for exported telemetry, in addition to the log. Cheap to clone, and without cost when nothing is configured.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// Metrics.
    pub metrics: Metrics,
    /// Traces of turns, digests and extractions, for Langfuse.
    pub observer: Observer,
    /// The newest lines of the log.
    pub recent: RecentLines,
    providers: Option<Arc<Providers>>,
}

impl Telemetry {
    /// Telemetry that sends nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether anything is sent.
    pub fn is_on(&self) -> bool {
        self.providers.is_some()
    }

    /// Whether spans are sent, so that it is worth naming them and passing on their context.
    pub fn is_tracing(&self) -> bool {
        self.providers.as_ref().is_some_and(|providers| providers.has_traces())
    }

    /// Returns the metrics in Prometheus text format; empty if they are not scraped.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn scrape(&self) -> Result<String, prometheus::Error> {
        self.providers.as_ref().map_or_else(|| Ok(String::new()), |providers| providers.scrape())
    }

    /// Sends buffered data. After `limit`, sending continues in the background.
    pub async fn flush(&self, limit: Duration) {
        if !self.finish(limit, |providers, _| providers.flush()).await {
            warn!(limit_ms = milliseconds(limit), "telemetry not flushed in time");
        }
    }

    /// Sends buffered data and shuts down.
    pub async fn shut_down(&self, limit: Duration) {
        if !self.finish(limit, Providers::shut_down).await {
            warn!(limit_ms = milliseconds(limit), "telemetry not shut down in time");
        }
    }

    /// Does this with the exporters, if there are any. Returns whether it was done within the limit.
    async fn finish(&self, limit: Duration, work: fn(&Providers, Duration)) -> bool {
        let Some(providers) = self.providers.clone() else { return true };
        // The exporters block their callers.
        let work = tokio::task::spawn_blocking(move || work(&providers, limit));
        matches!(tokio::time::timeout(limit, work).await, Ok(Ok(())))
    }
}

/// Starts the log and the configured exporters. `filter` is in the syntax of [`EnvFilter`]; invalid parts are ignored.
/// The log ends when the guard is dropped.
///
/// Must not be called on a thread of the asynchronous runtime, because the exporters' HTTP clients have one of their
/// own.
///
/// # Errors
/// When an exporter cannot be built.
pub fn start(filter: &str, settings: &config::Telemetry) -> anyhow::Result<(Telemetry, LogGuard)> {
    let filter = EnvFilter::builder().parse_lossy(filter);
    log_panics();
    let (writer, dropped, guard) = log_writer::start();
    let recent = RecentLines::default();
    let format = settings.log_format;
    let Some(providers) = Providers::build(settings)? else {
        tracing_subscriber::registry().with(filter).with(lines(format, writer, recent.clone())).init();
        return Ok((Telemetry { recent, ..Telemetry::off() }, guard));
    };
    providers.watch_log(dropped);
    tracing_subscriber::registry()
        .with(lines(format, writer, recent.clone()).with_filter(filter))
        .with(providers.trace_layer())
        .with(providers.log_layer())
        .init();
    let telemetry = Telemetry {
        metrics: providers.metrics(),
        observer: providers.observer(settings),
        recent,
        providers: Some(Arc::new(providers)),
    };
    Ok((telemetry, guard))
}

/// Builds the log layers. They write to standard output, because the Functions host treats standard error as errors,
/// and the same lines, as JSON, to memory.
fn lines<S>(format: Option<LogFormat>, writer: NonBlocking, recent: RecentLines) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_terminal = io::stdout().is_terminal();
    match format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Json => json(writer.and(recent)),
        LogFormat::Text => {
            let time = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
            let text =
                tracing_subscriber::fmt::layer().with_timer(UtcTime::new(time)).with_writer(writer).with_target(false);
            // On a terminal, colours are on unless `NO_COLOR` is set.
            let text = if is_terminal { text } else { text.with_ansi(false) };
            text.compact().and_then(json(recent)).boxed()
        }
    }
}

fn json<S, W>(writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_timer(UtcTime::rfc_3339()).with_writer(writer);
    layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
}

/// Logs panics with their location, but without their message, which may quote user input.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic");
    }));
}
