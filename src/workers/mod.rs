//! Work that no request waits for: functions that a queue message or a clock starts.
//!
//! [`FUNCTIONS`] is the one list. From it come the endpoints that the Functions host posts to ([`invocation`]), the
//! `function.json` files (`packaging.rs`), and, when the service runs alone, the [`pump`] of the queues and the
//! [`timers`]. Delivery is at least once, so every function is harmless when it runs twice.

pub mod dead_letter;
pub mod taste;

use std::error::Error as StdError;

use futures::future::BoxFuture;

use crate::config::Config;
use crate::state::AppState;

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
    Queue {
        /// The setting with the queue's name.
        setting: &'static str,
        /// Where that setting is.
        queue: fn(&Config) -> &str,
        /// What is done with a message.
        run: for<'a> fn(&'a AppState, Delivery) -> BoxFuture<'a, Result<(), JobError>>,
        /// What is done with a message that can never be done, or was tried too often: it must keep the text.
        /// `None` for the queue of such messages itself.
        give_up: Option<for<'a> fn(&'a AppState, Delivery, String) -> BoxFuture<'a, Result<(), JobError>>>,
    },
    /// A clock.
    Timer {
        /// The setting with the schedule: six fields, seconds first, UTC.
        setting: &'static str,
        /// Where that setting is.
        schedule: fn(&Config) -> &str,
        /// What is done.
        run: for<'a> fn(&'a AppState) -> BoxFuture<'a, Result<(), JobError>>,
    },
}

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
