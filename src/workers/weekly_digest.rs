//! Puts everybody into the queue for their weekly digest, on Mondays.
//! Running it again in the same week queues nothing: a document says how far the week is.

use tracing::instrument;

use super::JobError;
use crate::domain::digest::Starter;
use crate::model::digest::Week;
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "PluckItWeeklyDigest";

/// Queues the users of this week, or as many as there is time for; a message goes on with the rest.
///
/// # Errors
/// [`JobError::Retry`] when documents or queue fail. The next try goes on where this one ended.
#[instrument(name = "worker.weekly_digest", skip_all)]
pub async fn run(app: &AppState) -> Result<(), JobError> {
    app.digests.fan_out(Week::of(app.clock.now()), Starter::Timer).await.map_err(JobError::retry)
}
