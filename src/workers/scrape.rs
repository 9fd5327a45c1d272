//! Queue: scrapes a source, for the daily timer or a new subscriber. Running twice is harmless: the source records the
//! day, and items are identified by their product.

use super::{Delivery, JobError, Outcome, store};
use crate::base::chain::Chain;
use crate::domain::dead_letters::FailedMessage;
use crate::domain::scraper::{Error, Message};
use crate::queue::read_message;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessScrape";
/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessScrapeDlq";

/// Scrapes the source that the message names.
///
/// # Errors
/// [`JobError::NotNow`] while another worker scrapes it or this process is at its limit, [`JobError::GiveUp`] for a
/// message that cannot be parsed or a source that cannot be scraped, [`JobError::Retry`] otherwise.
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let message: Message = delivery.read()?;
        match app.scraper.work(&message, delivery.id.as_deref()).await {
            Ok(_) => Ok(()),
            Err(Error::Leased | Error::Busy) => Err(JobError::NotNow),
            Err(error @ Error::Fetch { is_temporary: false, .. }) => Err(JobError::give_up(Chain(&error).to_string())),
            Err(error) => Err(JobError::retry(error)),
        }
    })
}

/// Stores a message that failed for good as a dead letter; its source is then no longer queued. Running twice is
/// harmless.
pub fn give_up(app: &AppState, failed: FailedMessage) -> Outcome<'_> {
    Box::pin(async move {
        let message = read_message::<Message>(&failed.text);
        store(app, failed).await?;
        match message {
            Ok(message) => app.scraper.note_given_up(&message).await.map_err(JobError::retry),
            Err(_) => Ok(()),
        }
    })
}
