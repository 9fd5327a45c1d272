//! Long operations, queued by the routes that accept them.
//! Running a message again changes nothing: a final job is left alone, and a step that was finished is not repeated.

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::instrument;

use super::{Delivery, JobError, dead_letter};
use crate::domain::dead_letters::Burial;
use crate::domain::jobs::{WorkError, read_message};
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "ProcessLongOperation";
/// Name of the function that looks after its poison queue.
pub const POISON_FUNCTION: &str = "ProcessLongOperationDlq";

/// Does the job that the message names, as far as one invocation goes.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has the job, [`JobError::GiveUp`] for a message that cannot be read,
/// [`JobError::Retry`] otherwise.
#[instrument(name = "worker.job", skip_all, fields(message.dequeue_count = delivery.dequeue_count))]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let message = read_message(&delivery.text).map_err(JobError::give_up)?;
    match Box::pin(app.jobs.work(&message)).await {
        Ok(_) => Ok(()),
        Err(WorkError::Elsewhere) => Err(JobError::NotNow),
        Err(WorkError::Failed(cause)) => Err(JobError::Retry(cause)),
    }
}

/// Sees to a message that a delivery gives up: to its job, or, if it names none, to the message.
pub fn give_up(app: &AppState, burial: Burial) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        match read_message(&burial.text) {
            Ok(message) => app.jobs.bury(&message).await.map_err(JobError::retry),
            Err(_) => dead_letter::give_up(app, burial).await,
        }
    }
    .boxed()
}

/// The same for a message of the poison queue.
///
/// # Errors
/// [`JobError::Retry`] when that fails: the message must stay in its queue.
#[instrument(name = "worker.job.poison", skip_all)]
pub async fn keep(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let reason = read_message(&delivery.text).err().map(str::to_owned);
    give_up(app, delivery.bury(&app.config.queues.operations.poison, reason)).await
}
