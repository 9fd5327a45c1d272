//! Cleans up behind everybody, every few minutes: gives back the room of what has expired, deletes old long operations
//! with their outputs, queues jobs again whose message was lost, and has the weekly fan-out go on whose process died. What
//! was seen to already is not found the next time, so running it twice changes nothing.

use tracing::{info, warn};

use super::JobError;
use crate::state::AppState;
use crate::telemetry::Chain;

/// Its name.
pub const FUNCTION: &str = "PluckItJobSweeper";

/// Looks for leftovers and sees to them.
///
/// # Errors
/// [`JobError::Retry`] when the store or the queue failed. One failing does not stop the others.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    // The documents of old jobs go after their outputs, so before those that the store deletes by itself.
    let operations = app.jobs.sweep().await;
    let swept = app.data.store.sweep_expired().await;
    let requeued = app.taste.requeue_stale().await;
    let resumed = app.digests.resume_fan_out().await;
    if let Err(error) = &operations {
        warn!(error = %Chain(error), "long operations not swept");
    }
    match &swept {
        Ok(0) => {}
        Ok(documents) => info!(documents, "expired documents deleted"),
        // Only the last error can be returned.
        Err(error) => warn!(error = %Chain(error), "expired documents not deleted"),
    }
    if let Err(error) = &resumed {
        // As above: one error is returned, and the next run is soon.
        warn!(error = %Chain(error), "fan-out of the digests not looked after");
    }
    requeued.map_err(JobError::retry)?;
    operations.map_err(JobError::retry)?;
    swept.map(drop).map_err(JobError::retry)
}
