//! Queue: analyses a picture that a user liked. Running twice is harmless: a final job is left alone, and a profile
//! takes each word once.

use tracing::instrument;

use super::{Delivery, JobError};
use crate::base::chain::Chain;
use crate::domain::dead_letters::FailedMessage;
use crate::domain::taste::{WorkError, Worked};
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessTasteAnalysisJob";

/// Processes a message.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has the job, [`JobError::GiveUp`] for a message that cannot be parsed or a
/// picture that is not available, [`JobError::Retry`] otherwise.
#[instrument(name = "worker.taste", skip_all, fields(message.dequeue_count = delivery.dequeue_count))]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let message = delivery.read()?;
    match app.taste.work(message).await {
        Ok(Worked::Done { .. } | Worked::Final) => Ok(()),
        Err(WorkError::HeldElsewhere) => Err(JobError::NotNow),
        Err(WorkError::Failed(cause)) => Err(JobError::Retry(cause)),
        Err(WorkError::Permanent(cause)) => Err(JobError::GiveUp(Chain(&*cause).to_string())),
    }
}

/// Stores the message as a dead letter and marks the job.
///
/// # Errors
/// [`JobError::Retry`] when that fails; the message then stays in its queue.
#[instrument(name = "worker.taste.give_up", skip_all)]
pub async fn give_up(app: &AppState, failed: FailedMessage) -> Result<(), JobError> {
    app.taste.give_up(failed).await.map_err(|error| JobError::Retry(error.into()))
}
