//! Stores messages that failed for good as dead letters: from poison queues, and from functions that give up. Running
//! twice is harmless: a dead letter's id is derived from the message.

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::instrument;

use super::{Delivery, JobError};
use crate::domain::dead_letters::Burial;
use crate::state::AppState;

/// Name of the function for the poison queue of taste-analysis jobs.
pub const TASTE_FUNCTION: &str = "ProcessTasteAnalysisJobDlq";

/// Stores a taste-analysis message as a dead letter, with its text and the job's last failure, and marks the job.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.dead_letter", skip_all)]
pub async fn keep_taste(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let burial = delivery.bury(&app.config.queues.taste.poison, None);
    app.taste.bury(burial).await.map_err(|error| JobError::Retry(error.into()))
}

/// Stores a message from a poison queue. A function that fails gives up its messages itself, with a reason
/// ([`give_up`]); a message gets here when the process died each time.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.dead_letter", skip_all)]
pub async fn keep(app: &AppState, delivery: Delivery, poison_queue: &str) -> Result<(), JobError> {
    store(app, delivery.bury(poison_queue, None)).await
}

/// Stores a message that a function gave up.
pub fn give_up(app: &AppState, burial: Burial) -> BoxFuture<'_, Result<(), JobError>> {
    store(app, burial).boxed()
}

async fn store(app: &AppState, burial: Burial) -> Result<(), JobError> {
    let queue = app.config.queues.origin_of(&burial.source_queue).unwrap_or(&burial.source_queue).to_owned();
    app.dead_letters.keep(burial, &queue).await.map_err(JobError::retry)
}
