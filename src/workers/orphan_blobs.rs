//! Timer: deletes photos and finished pictures that belong to no wardrobe item, every night. Running twice is harmless:
//! deleted blobs are not found again.

use super::JobError;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "CleanUpOrphanBlobs";

/// Deletes the blobs.
///
/// # Errors
/// [`JobError::Retry`] when blobs or documents fail.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    app.drafts.delete_orphans().await.map(drop).map_err(JobError::retry)
}
