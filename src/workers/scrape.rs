//! Scrapes one source, queued by the daily timer or for a new subscriber.
//! Running it again adds nothing: the source remembers the day, and the feed its items.

use tracing::instrument;

use super::{Delivery, JobError};
use crate::base::chain::Chain;
use crate::domain::scraper::{Error, Message};
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "ProcessScrape";
/// Name of the function that looks after its poison queue.
pub const POISON_FUNCTION: &str = "ProcessScrapeDlq";

/// Scrapes the source that the message names.
///
/// # Errors
/// [`JobError::NotNow`] while somebody else is at it or this process has enough to do, [`JobError::GiveUp`] for a message
/// that cannot be read or a source that cannot be fetched as it is, [`JobError::Retry`] otherwise.
#[instrument(name = "worker.scrape", skip_all)]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let message = Message::read(&delivery.text).map_err(JobError::give_up)?;
    match app.scraper.work(&message, delivery.id.as_deref()).await {
        Ok(_) => Ok(()),
        Err(Error::Leased | Error::Busy) => Err(JobError::NotNow),
        Err(error @ Error::Fetch { is_temporary: false, .. }) => Err(JobError::give_up(Chain(&error).to_string())),
        Err(error) => Err(JobError::retry(error)),
    }
}
