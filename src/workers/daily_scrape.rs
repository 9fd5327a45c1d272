//! Queues every source that everybody has, once a day. A source that is done for the day is left out, and one that is
//! queued twice is done once, so running it again changes nothing.

use tracing::info;

use super::JobError;
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "PluckItScraper";

/// Queues what is to be done today.
///
/// # Errors
/// [`JobError::Retry`] when documents or queue fail.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    let sources = app.scraper.queue_daily().await.map_err(JobError::retry)?;
    info!(sources, "sources queued");
    Ok(())
}
