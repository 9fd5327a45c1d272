//! Background work: functions started by a queue message or a timer.
//!
//! [`FUNCTIONS`] lists them all. It determines the endpoints for the Functions host ([`invocation`]), the
//! `function.json` files ([`package`]) and, without the host, what the queue [`pump`] and the [`timers`] run. Delivery
//! is at least once, so every function must be harmless when it runs twice.

pub mod abandoned_drafts;
pub mod daily_moods;
pub mod daily_scrape;
pub mod digest_batch;
pub mod invocation;
pub mod jobs;
pub mod mood_chunk;
pub mod orphan_blobs;
pub mod package;
pub mod process_image;
pub mod pump;
pub mod scrape;
pub mod sweeper;
pub mod taste;
pub mod timers;
pub mod weekly_digest;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::{Span, field, info, info_span, warn};

use crate::base::chain::{Cause, Chain};
use crate::base::clock::milliseconds;
use crate::config::{Config, POISON_SUFFIX, QueueNames};
use crate::domain::dead_letters::FailedMessage;
use crate::domain::work::WorkError;
use crate::model::schedule::Schedule;
use crate::queue::{QueueMessage, read_message};
use crate::state::AppState;
use crate::telemetry::trace_context;

/// All functions.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: taste::FUNCTION,
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_QUEUE_NAME",
            suffix: "",
            names: |config| &config.queues.taste,
            // The job's document has the reason.
            role: QueueRole::Work { run: taste::run, give_up: taste::give_up, keeps_last_failure: false },
        }),
    },
    Function {
        name: taste::POISON_FUNCTION,
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_DEAD_LETTER_QUEUE_NAME",
            suffix: "",
            names: |config| &config.queues.taste,
            role: QueueRole::Poison { give_up: taste::give_up },
        }),
    },
    work(mood_chunk::FUNCTION, "MOOD_CHUNK_QUEUE_NAME", |config| &config.queues.moods, mood_chunk::run, store),
    poison(mood_chunk::POISON_FUNCTION, "MOOD_CHUNK_QUEUE_NAME", |config| &config.queues.moods, store),
    timer(daily_moods::FUNCTION, "MOOD_SCHEDULE", |config| &config.moods.schedule, |app| daily_moods::run(app).boxed()),
    work(jobs::FUNCTION, "LONG_OPERATION_QUEUE_NAME", |config| &config.queues.operations, jobs::run, jobs::give_up),
    poison(jobs::POISON_FUNCTION, "LONG_OPERATION_QUEUE_NAME", |config| &config.queues.operations, jobs::give_up),
    timer(
        weekly_digest::FUNCTION,
        "WEEKLY_DIGEST_SCHEDULE",
        |config| &config.digest.schedule,
        |app| weekly_digest::run(app).boxed(),
    ),
    work(digest_batch::FUNCTION, "DIGEST_BATCH_QUEUE_NAME", |config| &config.queues.digest, digest_batch::run, store),
    poison(digest_batch::POISON_FUNCTION, "DIGEST_BATCH_QUEUE_NAME", |config| &config.queues.digest, store),
    timer(
        daily_scrape::FUNCTION,
        "SCRAPER_SCHEDULE",
        |config| &config.scraper.schedule,
        |app| daily_scrape::run(app).boxed(),
    ),
    work(scrape::FUNCTION, "SCRAPE_QUEUE_NAME", |config| &config.queues.scrape, scrape::run, scrape::give_up),
    poison(scrape::POISON_FUNCTION, "SCRAPE_QUEUE_NAME", |config| &config.queues.scrape, scrape::give_up),
    timer(
        sweeper::FUNCTION,
        "JOB_SWEEPER_SCHEDULE",
        |config| &config.workers.job_sweeper_schedule,
        |app| sweeper::run(app).boxed(),
    ),
    // The functions of the wardrobe API come last: see `functions`.
    work(
        process_image::FUNCTION,
        "IMAGE_JOB_QUEUE_NAME",
        |config| &config.queues.images,
        process_image::run,
        process_image::give_up,
    ),
    poison(
        process_image::POISON_FUNCTION,
        "IMAGE_JOB_QUEUE_NAME",
        |config| &config.queues.images,
        process_image::give_up,
    ),
    timer(
        orphan_blobs::FUNCTION,
        "ORPHAN_BLOBS_SCHEDULE",
        |config| &config.workers.orphan_blobs_schedule,
        |app| orphan_blobs::run(app).boxed(),
    ),
    timer(
        abandoned_drafts::FUNCTION,
        "ABANDONED_DRAFTS_SCHEDULE",
        |config| &config.workers.abandoned_drafts_schedule,
        |app| abandoned_drafts::run(app).boxed(),
    ),
];

/// Number of functions at the end of [`FUNCTIONS`] that belong to the wardrobe API.
const WARDROBE_FUNCTIONS: usize = 4;

/// Returns the functions of a service with or without the wardrobe API. In the latter case another service may own the
/// wardrobe, with functions of the same names for the same queue.
pub fn functions(wardrobe_api: bool) -> &'static [Function] {
    if wardrobe_api { FUNCTIONS } else { &FUNCTIONS[..FUNCTIONS.len() - WARDROBE_FUNCTIONS] }
}

/// Defines a function for a queue; its poison queue needs a [`poison`] function. A message ends either done or as a
/// dead letter with a reason.
pub const fn work(
    name: &'static str,
    setting: &'static str,
    names: fn(&Config) -> &QueueNames,
    run: HandleMessage,
    give_up: GiveUp,
) -> Function {
    let role = QueueRole::Work { run, give_up, keeps_last_failure: true };
    Function { name, trigger: Trigger::Queue(QueueTrigger { setting, suffix: "", names, role }) }
}

/// Defines the function for a poison queue, where the host moves messages whose every delivery crashed the process.
pub const fn poison(
    name: &'static str,
    setting: &'static str,
    names: fn(&Config) -> &QueueNames,
    give_up: GiveUp,
) -> Function {
    let role = QueueRole::Poison { give_up };
    Function { name, trigger: Trigger::Queue(QueueTrigger { setting, suffix: POISON_SUFFIX, names, role }) }
}

/// Defines a timer function.
pub const fn timer(
    name: &'static str,
    setting: &'static str,
    schedule: fn(&Config) -> &Schedule,
    run: RunTimer,
) -> Function {
    Function { name, trigger: Trigger::Timer(TimerTrigger { setting, schedule, run }) }
}

/// Stores a message that failed for good as a dead letter. Running twice is harmless: a dead letter's id is derived
/// from the message.
pub fn store(app: &AppState, failed: FailedMessage) -> Outcome<'_> {
    Box::pin(async move {
        let queue = app.config.queues.origin_of(&failed.source_queue).unwrap_or(&failed.source_queue).to_owned();
        app.dead_letters.keep(failed, &queue).await.map_err(JobError::retry)
    })
}

/// Deliveries after which a failing message becomes a dead letter: `maxDequeueCount` in host.json.
pub const MOST_DELIVERIES: u32 = 5;

/// Time limit of a function. When a function exceeds `functionTimeout` in host.json (10 min), the host restarts the
/// process with all its requests; this limit is a minute shorter.
pub const TIME_LIMIT: Duration = Duration::from_secs(9 * 60);

/// A function started by a message or a timer.
pub struct Function {
    /// Name of the function, as operators and the host know it.
    pub name: &'static str,
    /// Trigger of the function.
    pub trigger: Trigger,
}

/// What starts a function.
pub enum Trigger {
    /// A message in a queue.
    Queue(QueueTrigger),
    /// A schedule.
    Timer(TimerTrigger),
}

/// Starts a function for each message of a queue.
pub struct QueueTrigger {
    /// Setting with the queue's name.
    pub setting: &'static str,
    /// Suffix of the name: empty, or [`POISON_SUFFIX`].
    pub suffix: &'static str,
    /// Returns the queue's names from the configuration.
    pub names: fn(&Config) -> &QueueNames,
    /// Purpose of the queue.
    pub role: QueueRole,
}

/// Purpose of a queue.
pub enum QueueRole {
    /// Messages to process.
    Work {
        /// Processes a message.
        run: HandleMessage,
        /// Stores a message that failed for good, with a reason.
        give_up: GiveUp,
        /// Whether the last failing delivery stores the message itself, with its error as the reason. Otherwise the
        /// message goes to the poison queue, and the reason is found elsewhere.
        keeps_last_failure: bool,
    },
    /// Messages whose every delivery crashed the process.
    Poison {
        /// Stores such a message.
        give_up: GiveUp,
    },
}

/// Starts a function by a schedule.
pub struct TimerTrigger {
    /// Setting with the schedule.
    pub setting: &'static str,
    /// Returns the schedule from the configuration.
    pub schedule: fn(&Config) -> &Schedule,
    /// Runs the function. It has no input: it examines the store and does pending work.
    pub run: RunTimer,
}

/// Processes a message.
pub type HandleMessage = for<'a> fn(&'a AppState, Delivery) -> Outcome<'a>;
/// Runs a timer function.
pub type RunTimer = for<'a> fn(&'a AppState) -> Outcome<'a>;
/// Stores a message that failed for good, with a reason.
pub type GiveUp = for<'a> fn(&'a AppState, FailedMessage) -> Outcome<'a>;
/// The run of a function.
pub type Outcome<'a> = BoxFuture<'a, Result<(), JobError>>;

/// A delivered message.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Text of the message: JSON, possibly in base64.
    pub text: String,
    /// Number of deliveries, including this one.
    pub dequeue_count: u32,
    /// Id in the queue, if it has one.
    pub id: Option<String>,
}

impl Delivery {
    /// Reads the message.
    ///
    /// # Errors
    /// [`JobError::GiveUp`] for one that cannot be read.
    pub fn read<T: QueueMessage>(&self) -> Result<T, JobError> {
        read_message(&self.text).map_err(JobError::GiveUp)
    }

    /// Converts a message from `source_queue` into a failed message.
    pub fn into_failed(self, source_queue: &str, reason: Option<String>) -> FailedMessage {
        let Self { text, dequeue_count, id } = self;
        FailedMessage {
            text,
            message_id: id,
            source_queue: source_queue.to_owned(),
            reason,
            dequeue_count: Some(dequeue_count),
        }
    }
}

/// Why a function did not complete.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A dependency failed; another delivery may succeed.
    #[error("the work failed")]
    Retry(#[source] Cause),
    /// Another worker holds the work; try again later.
    #[error("another worker holds the work")]
    NotNow,
    /// No delivery can succeed; the message becomes a dead letter with this reason.
    #[error("the work cannot be done: {0}")]
    GiveUp(String),
}

impl From<WorkError> for JobError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::HeldElsewhere => Self::NotNow,
            WorkError::Failed(cause) => Self::Retry(cause),
            WorkError::Permanent(cause) => Self::GiveUp(Chain(&*cause).to_string()),
        }
    }
}

impl JobError {
    /// Creates a [`JobError::Retry`].
    pub fn retry(cause: impl Into<Cause>) -> Self {
        Self::Retry(cause.into())
    }

    /// Creates a [`JobError::GiveUp`].
    pub fn give_up(reason: impl Into<String>) -> Self {
        Self::GiveUp(reason.into())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the function did not end within {} s", .0.as_secs_f64())]
struct TooSlow(Duration);

#[derive(Debug, thiserror::Error)]
#[error("the function panicked")]
struct Panicked;

/// Runs a function with a time limit, and catches panics.
async fn attempt(work: Outcome<'_>, limit: Duration) -> Result<(), JobError> {
    match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(JobError::retry(Panicked)),
        Err(_) => Err(JobError::retry(TooSlow(limit))),
    }
}

impl QueueTrigger {
    /// Whether the queue is a work queue rather than a poison queue.
    pub fn is_work(&self) -> bool {
        matches!(self.role, QueueRole::Work { .. })
    }

    /// Returns the queue's name.
    pub fn queue<'a>(&self, config: &'a Config) -> &'a str {
        let names = (self.names)(config);
        if self.is_work() { &names.work } else { &names.poison }
    }

    /// Processes a message, or stores it as a dead letter after its last failure. `Ok` means that the message can be
    /// deleted.
    async fn handle(&self, app: &AppState, delivery: Delivery, limit: Duration) -> Result<(), JobError> {
        let (run, give_up, keeps_last_failure) = match self.role {
            QueueRole::Work { run, give_up, keeps_last_failure } => (run, give_up, keeps_last_failure),
            QueueRole::Poison { give_up } => {
                // It came here after its last delivery from the work queue.
                let delivery = Delivery { dequeue_count: MOST_DELIVERIES, ..delivery };
                return attempt(give_up(app, delivery.into_failed(self.queue(&app.config), None)), limit).await;
            }
        };
        let is_last = keeps_last_failure && delivery.dequeue_count >= MOST_DELIVERIES;
        let reason = match attempt(run(app, delivery.clone()), limit).await {
            Err(JobError::GiveUp(reason)) => reason,
            Err(JobError::Retry(error)) if is_last => Chain(&*error).to_string(),
            outcome @ (Ok(()) | Err(JobError::NotNow | JobError::Retry(_))) => return outcome,
        };
        warn!(reason, "message given up");
        attempt(give_up(app, delivery.into_failed(self.queue(&app.config), Some(reason))), limit).await
    }
}

/// Repeats an attempt while another worker holds the work, for at most `patience` and until the process stops.
/// Releasing the message would use up one of few deliveries, and the lease of a dead process outlives them. `attempt`
/// gets the time since the first one, which is less than `patience`.
async fn while_held_elsewhere<F: Future<Output = Result<(), JobError>>>(
    app: &AppState,
    patience: Duration,
    pause: Duration,
    mut attempt: impl FnMut(Duration) -> F,
) -> Result<(), JobError> {
    let started = Instant::now();
    loop {
        let outcome = attempt(started.elapsed()).await;
        let may_wait = matches!(outcome, Err(JobError::NotNow)) && started.elapsed() + pause < patience;
        if !may_wait || app.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return outcome;
        }
    }
}

/// Creates the span of a run.
fn span(app: &AppState, function: &'static str, delivery: Option<&Delivery>) -> Span {
    let id = delivery.and_then(|delivery| delivery.id.as_deref());
    let count = delivery.map(|delivery| delivery.dequeue_count);
    let span = info_span!(
        "function",
        otel.name = field::Empty,
        otel.kind = field::Empty,
        otel.status_code = field::Empty,
        function.name = function,
        message.id = id,
        message.dequeue_count = count,
    );
    if app.telemetry.is_tracing() {
        span.record("otel.name", function);
        span.record("otel.kind", if delivery.is_some() { "consumer" } else { "internal" });
        let traceparent = delivery.and_then(|delivery| trace_context::message_context(&delivery.text));
        trace_context::follow(&span, traceparent.as_deref());
    }
    span
}

/// Logs the outcome of a run, including its error.
fn log_outcome(app: &AppState, function: &'static str, outcome: &Result<(), JobError>, started: Instant) {
    let name = match outcome {
        Ok(()) => "done",
        Err(JobError::NotNow) => "not_now",
        Err(JobError::Retry(_)) => "failed",
        Err(JobError::GiveUp(_)) => "given_up",
    };
    app.telemetry.metrics.function(function, name, started.elapsed());
    if app.telemetry.is_tracing() && matches!(outcome, Err(JobError::Retry(_) | JobError::GiveUp(_))) {
        Span::current().record("otel.status_code", "ERROR");
    }
    let duration_ms = milliseconds(started.elapsed());
    match outcome {
        Ok(()) => info!(duration_ms, "function done"),
        Err(JobError::NotNow) => info!(duration_ms, "function postponed: another worker holds the work"),
        Err(error @ (JobError::Retry(_) | JobError::GiveUp(_))) => {
            warn!(duration_ms, error = %Chain(error), "function failed");
        }
    }
}
