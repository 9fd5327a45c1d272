//! Queue: runs jobs that routes accepted. Running twice is harmless: a final job is left alone, and finished steps are
//! not repeated.

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::instrument;

use super::{Delivery, JobError, dead_letter};
use crate::domain::dead_letters::FailedMessage;
use crate::domain::jobs::WorkError;
use crate::model::job::JobMessage;
use crate::queue::read_message;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessLongOperation";
/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessLongOperationDlq";

/// Runs the job that the message names, as far as one invocation allows.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has the job, [`JobError::GiveUp`] for a message that cannot be parsed,
/// [`JobError::Retry`] otherwise.
#[instrument(name = "worker.job", skip_all, fields(message.dequeue_count = delivery.dequeue_count))]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let message = delivery.read()?;
    match Box::pin(app.jobs.work(&message)).await {
        Ok(_) => Ok(()),
        Err(WorkError::HeldElsewhere) => Err(JobError::NotNow),
        Err(WorkError::Failed(cause)) => Err(JobError::Retry(cause)),
    }
}

/// Handles a message after its last failure: marks the job, or stores a dead letter if it names none.
pub fn give_up(app: &AppState, failed: FailedMessage) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        match read_message::<JobMessage>(&failed.text) {
            Ok(message) => app.jobs.give_up(&message).await.map_err(JobError::retry),
            Err(_) => dead_letter::give_up(app, failed).await,
        }
    }
    .boxed()
}

/// Handles a message from the poison queue: marks the job, or stores a dead letter if it names none.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.job.poison", skip_all)]
pub async fn keep(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let reason = read_message::<JobMessage>(&delivery.text).err();
    give_up(app, delivery.into_failed(&app.config.queues.operations.poison, reason)).await
}
