//! Queue: analyses a picture that a user liked. Running twice is harmless: a final job is left alone, and a profile
//! takes each word once.

use super::{Delivery, JobError, Outcome};
use crate::domain::dead_letters::FailedMessage;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessTasteAnalysisJob";
/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessTasteAnalysisJobDlq";

/// Processes a message.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has the job, [`JobError::GiveUp`] for a message that cannot be parsed or a
/// picture that is not available, [`JobError::Retry`] otherwise.
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let message = delivery.read()?;
        app.taste.work(message).await?;
        Ok(())
    })
}

/// Stores a message that failed for good as a dead letter and marks its job.
pub fn give_up(app: &AppState, failed: FailedMessage) -> Outcome<'_> {
    Box::pin(async move { app.taste.give_up(failed).await.map_err(JobError::retry) })
}
