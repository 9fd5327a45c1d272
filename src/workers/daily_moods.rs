//! The day's articles: every morning, what is new in the feeds is queued in chunks.
//! Running it again queues nothing twice: what was taken in is written down, and what was not sent is sent the next time.

use tracing::{info, instrument};

use super::JobError;
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "PluckItMoodProcessor";

/// Looks into the feeds.
///
/// # Errors
/// [`JobError::Retry`] when none of them could be read, or documents or the queue failed.
#[instrument(name = "worker.daily_moods", skip_all)]
pub async fn run(app: &AppState) -> Result<(), JobError> {
    let taken = app.moods.take_in().await.map_err(JobError::retry)?;
    info!(?taken, "feeds read");
    Ok(())
}
