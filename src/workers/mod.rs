//! Work that no request waits for: functions that a queue message or a clock starts.
//!
//! [`FUNCTIONS`] is the one list. From it come the endpoints that the Functions host posts to ([`invocation`]), the
//! `function.json` files (`packaging.rs`), and, when the service runs alone, the [`pump`] of the queues and the
//! [`timers`]. Delivery is at least once, so every function is harmless when it runs twice.

pub mod dead_letter;
pub mod invocation;
pub mod pump;
pub mod sweeper;
pub mod taste;
pub mod timers;

use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::{Span, info, info_span, warn};

use crate::config::Config;
use crate::model::schedule::Schedule;
use crate::state::AppState;
use crate::telemetry::Chain;

/// Every function.
pub static FUNCTIONS: [Function; 3] = [
    Function {
        name: taste::FUNCTION,
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_QUEUE_NAME",
            queue: |config| &config.storage.taste_queue,
            run: |app, delivery| taste::run(app, delivery).boxed(),
            dead_letters: Some(DeadLetters {
                queue: |config| &config.storage.taste_dead_letter_queue,
                give_up: |app, delivery, reason| taste::give_up(app, delivery, reason).boxed(),
            }),
        }),
    },
    Function {
        name: dead_letter::FUNCTION,
        trigger: Trigger::Queue(QueueTrigger {
            setting: "TASTE_JOB_DEAD_LETTER_QUEUE_NAME",
            queue: |config| &config.storage.taste_dead_letter_queue,
            run: |app, delivery| dead_letter::run(app, delivery).boxed(),
            dead_letters: None,
        }),
    },
    Function {
        name: sweeper::FUNCTION,
        trigger: Trigger::Timer(TimerTrigger {
            setting: "JOB_SWEEPER_SCHEDULE",
            schedule: |config| &config.workers.job_sweeper_schedule,
            run: |app| sweeper::run(app).boxed(),
        }),
    },
];

/// How long a function may run. The Functions host restarts the whole process, with every request in it, when one passes
/// `functionTimeout` of host.json (10 min); ours ends a minute earlier.
pub const TIME_LIMIT: Duration = Duration::from_secs(9 * 60);

/// A function that something other than a request starts.
pub struct Function {
    /// Its name, which operators know and the host posts to.
    pub name: &'static str,
    /// What starts it.
    pub trigger: Trigger,
}

/// What starts a function.
pub enum Trigger {
    /// A message.
    Queue(QueueTrigger),
    /// A clock.
    Timer(TimerTrigger),
}

/// Starts a function for each message of a queue.
pub struct QueueTrigger {
    /// The setting with the queue's name.
    pub setting: &'static str,
    /// Where that setting is.
    pub queue: fn(&Config) -> &str,
    /// What is done with a message.
    pub run: HandleMessage,
    /// Where messages go that cannot be done. `None` for the queue of such messages itself: it keeps them.
    pub dead_letters: Option<DeadLetters>,
}

/// Where messages go that cannot be done.
pub struct DeadLetters {
    /// The queue for those that were tried too often: `<queue>-poison`, as the Functions host has it.
    pub queue: fn(&Config) -> &str,
    /// What is done with one that no delivery can get done. It keeps the text, and the reason it is given.
    pub give_up: GiveUp,
}

/// Starts a function when it is due.
pub struct TimerTrigger {
    /// The setting with the schedule.
    pub setting: &'static str,
    /// Where that setting is.
    pub schedule: fn(&Config) -> &Schedule,
    /// What is done. It takes no input: it looks at what is stored and does what is missing.
    pub run: for<'a> fn(&'a AppState) -> BoxFuture<'a, Result<(), JobError>>,
}

/// Does the work of a message.
pub type HandleMessage = for<'a> fn(&'a AppState, Delivery) -> BoxFuture<'a, Result<(), JobError>>;
/// Keeps a message that can never be done, with the reason.
pub type GiveUp = for<'a> fn(&'a AppState, Delivery, String) -> BoxFuture<'a, Result<(), JobError>>;

/// A message as a function sees it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its text: JSON if all is well, or base64 of it.
    pub text: String,
    /// How often it was delivered, this time included.
    pub dequeue_count: u32,
    /// The queue's name for it, if it has one.
    pub id: Option<String>,
}

/// Why a function did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Something outside failed: another delivery may succeed.
    #[error("the work failed")]
    Retry(#[source] Box<dyn StdError + Send + Sync>),
    /// Somebody else does it at this moment; look again later.
    #[error("the work is being done elsewhere")]
    NotNow,
    /// No delivery can succeed: the message becomes a dead letter with this reason.
    #[error("the work cannot be done: {0}")]
    GiveUp(String),
}

impl JobError {
    /// Something outside failed.
    pub fn retry(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Retry(cause.into())
    }

    /// No delivery can succeed.
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

/// Runs a function's work to its end, to its time limit, or to its panic.
async fn attempt(work: BoxFuture<'_, Result<(), JobError>>, limit: Duration) -> Result<(), JobError> {
    match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(JobError::retry(Panicked)),
        Err(_) => Err(JobError::retry(TooSlow(limit))),
    }
}

impl QueueTrigger {
    /// Does the work of a message, or keeps it as a dead letter if that cannot be done. `Ok` means that nothing is left
    /// to do with the message.
    async fn handle(&self, app: &AppState, delivery: Delivery, limit: Duration) -> Result<(), JobError> {
        let outcome = attempt((self.run)(app, delivery.clone()), limit).await;
        let (Err(JobError::GiveUp(reason)), Some(dead_letters)) = (&outcome, &self.dead_letters) else {
            return outcome;
        };
        warn!(reason, "message given up");
        attempt((dead_letters.give_up)(app, delivery, reason.clone()), limit).await
    }
}

/// The span of a function at work.
fn span(function: &'static str, delivery: Option<&Delivery>) -> Span {
    let id = delivery.and_then(|delivery| delivery.id.as_deref());
    let count = delivery.map(|delivery| delivery.dequeue_count);
    info_span!("function", function.name = function, message.id = id, message.dequeue_count = count)
}

/// The line in the log about a run; its one mention of a failure.
fn log_outcome(outcome: &Result<(), JobError>, started: Instant) {
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(()) => info!(duration_ms, "function done"),
        Err(JobError::NotNow) => info!(duration_ms, "function not done now: the work is being done elsewhere"),
        Err(error @ (JobError::Retry(_) | JobError::GiveUp(_))) => {
            warn!(duration_ms, error = %Chain(error), "function failed");
        }
    }
}
