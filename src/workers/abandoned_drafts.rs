//! Timer: deletes drafts that failed a week ago, every night. Running twice is harmless: deleted drafts are not found
//! again.

use super::JobError;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "CleanupAbandonedDrafts";

/// Deletes the drafts with their photos.
///
/// # Errors
/// [`JobError::Retry`] when the documents fail.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    app.drafts.delete_abandoned().await.map(drop).map_err(JobError::retry)
}
