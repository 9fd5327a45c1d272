//! Timer: queues every global source once a day. Running twice is harmless: sources done for the day are skipped, and
//! one queued twice is scraped once.

use tracing::info;

use super::JobError;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "PluckItScraper";

/// Queues the sources of today.
///
/// # Errors
/// [`JobError::Retry`] when the store or queue fails.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    let sources = app.scraper.queue_daily().await.map_err(JobError::retry)?;
    info!(sources, "sources queued");
    Ok(())
}
