//! Stores messages that failed for good as dead letters: from poison queues, and from functions that give up. Running
//! twice is harmless: a dead letter's id is derived from the message.

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::instrument;

use super::{Delivery, JobError};
use crate::domain::dead_letters::FailedMessage;
use crate::state::AppState;

/// Name of the function for the poison queue of taste-analysis jobs.
pub const TASTE_FUNCTION: &str = "ProcessTasteAnalysisJobDlq";

/// Stores a taste-analysis message as a dead letter, with its text and the job's last failure, and marks the job.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.dead_letter", skip_all)]
pub async fn keep_taste(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let failed = delivery.into_failed(&app.config.queues.taste.poison, None);
    app.taste.give_up(failed).await.map_err(|error| JobError::Retry(error.into()))
}

/// Stores a message from a poison queue. A function that fails gives up its messages itself, with a reason
/// ([`give_up`]); a message gets here when the process died each time.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.dead_letter", skip_all)]
pub async fn keep(app: &AppState, delivery: Delivery, poison_queue: &str) -> Result<(), JobError> {
    store(app, delivery.into_failed(poison_queue, None)).await
}

/// Stores a message that a function gave up.
pub fn give_up(app: &AppState, failed: FailedMessage) -> BoxFuture<'_, Result<(), JobError>> {
    store(app, failed).boxed()
}

async fn store(app: &AppState, failed: FailedMessage) -> Result<(), JobError> {
    let queue = app.config.queues.origin_of(&failed.source_queue).unwrap_or(&failed.source_queue).to_owned();
    app.dead_letters.keep(failed, &queue).await.map_err(JobError::retry)
}
