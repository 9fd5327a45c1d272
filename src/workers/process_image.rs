//! Queue: creates the picture of a draft from its uploaded photo. Running twice is harmless: a ready or failed draft is
//! left alone, and a finished picture is not created again.

use super::{Delivery, Outcome};
use crate::domain::dead_letters::FailedMessage;
use crate::model::draft::ImageJobMessage;
use crate::queue::read_message;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessImageJob";
/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessImageJobDlq";

/// Processes the photo of the draft that the message names.
///
/// # Errors
/// [`JobError::NotNow`](super::JobError::NotNow) while another worker has the draft or there is no room for its photo,
/// [`GiveUp`](super::JobError::GiveUp) for a message that cannot be parsed, [`Retry`](super::JobError::Retry)
/// otherwise.
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let message: ImageJobMessage = delivery.read()?;
        app.drafts.work(&message).await?;
        Ok(())
    })
}

/// Handles a message that failed for good: marks its draft as failed and stores it as a dead letter.
pub fn give_up(app: &AppState, mut failed: FailedMessage) -> Outcome<'_> {
    Box::pin(async move {
        match read_message::<ImageJobMessage>(&failed.text) {
            Ok(message) => Ok(app.drafts.give_up(&message, failed, &app.config.queues.images.work).await?),
            Err(fault) => {
                failed.reason.get_or_insert(fault);
                super::store(app, failed).await
            }
        }
    })
}
