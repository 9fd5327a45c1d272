//! Queue: runs jobs that routes accepted. Running twice is harmless: a final job is left alone, and finished steps are
//! not repeated.

use super::{Delivery, JobError, Outcome};
use crate::domain::dead_letters::FailedMessage;
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
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let message = delivery.read()?;
        Box::pin(app.jobs.work(&message)).await?;
        Ok(())
    })
}

/// Handles a message that failed for good: marks the job, or stores a dead letter if it names none.
pub fn give_up(app: &AppState, mut failed: FailedMessage) -> Outcome<'_> {
    Box::pin(async move {
        match read_message::<JobMessage>(&failed.text) {
            Ok(message) => app.jobs.give_up(&message).await.map_err(JobError::retry),
            Err(fault) => {
                failed.reason.get_or_insert(fault);
                super::store(app, failed).await
            }
        }
    })
}
