//! Timer: reads the fashion feeds every morning and queues new articles in chunks. Running twice is harmless: known
//! articles are recorded, and unsent chunks are sent the next time.

use tracing::info;

use super::JobError;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "PluckItMoodProcessor";

/// Reads the feeds.
///
/// # Errors
/// [`JobError::Retry`] when no feed could be read, or the store or queue failed.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    let taken = app.moods.take_in().await.map_err(JobError::retry)?;
    info!(?taken, "feeds read");
    Ok(())
}
