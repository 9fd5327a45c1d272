//! Timer: queues all users for their weekly digest, on Mondays. Running twice in a week is harmless: a document records
//! the progress.

use super::JobError;
use crate::domain::digest::Starter;
use crate::model::digest::Week;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "PluckItWeeklyDigest";

/// Queues the users of this week, as far as time allows; a message continues with the rest.
///
/// # Errors
/// [`JobError::Retry`] when the store or queue fails. The next attempt continues.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    app.digests.fan_out(Week::of(app.clock.now()), Starter::Timer).await.map_err(JobError::retry)
}
