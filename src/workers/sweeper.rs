//! Cleans up behind everybody, every few minutes. What was cleaned up already is not there the next time, so running it
//! twice changes nothing.

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::info;

use super::JobError;
use crate::state::AppState;

/// The function's name.
pub const FUNCTION: &str = "PluckItJobSweeper";

/// Gives back the room of documents that have expired.
pub fn run(app: &AppState) -> BoxFuture<'_, Result<(), JobError>> {
    async move {
        let documents = app.data.store.sweep_expired().await.map_err(JobError::retry)?;
        if documents > 0 {
            info!(documents, "expired documents deleted");
        }
        Ok(())
    }
    .boxed()
}
