//! Messages of taste-analysis jobs that were delivered too often, from their poison queue.
//! Storing one again changes nothing: its id is made from the message.

use tracing::instrument;

use super::{Delivery, JobError};
use crate::domain::taste::Burial;
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "ProcessTasteAnalysisJobDlq";

/// Stores the message as a dead letter, with its text and the job's last failure, and marks the job.
///
/// # Errors
/// [`JobError::Retry`] when that fails: the message must stay in its queue.
#[instrument(name = "worker.dead_letter", skip_all)]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let burial = Burial {
        text: delivery.text,
        message_id: delivery.id,
        source_queue: app.config.storage.taste_dead_letter_queue.clone(),
        reason: None,
        dequeue_count: delivery.dequeue_count,
    };
    app.taste.bury(burial).await.map_err(|error| JobError::Retry(error.into()))
}
