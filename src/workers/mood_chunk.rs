//! One chunk of articles, queued by the timer: a model reads it, and its moods are saved.
//! Running it again changes nothing: a chunk that is done is left alone, and an article counts once for a mood.

use tracing::instrument;

use super::{Delivery, JobError};
use crate::domain::moods::{Error, read_message};
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "ProcessMoodChunk";

/// The function for its poison queue.
pub const POISON_FUNCTION: &str = "ProcessMoodChunkDlq";

/// Does what is left to do with the chunk.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has it, [`JobError::GiveUp`] for a message that cannot be read or a chunk that
/// is gone, [`JobError::Retry`] otherwise.
#[instrument(name = "worker.mood_chunk", skip_all, fields(message.dequeue_count = delivery.dequeue_count))]
pub async fn run(app: &AppState, delivery: Delivery) -> Result<(), JobError> {
    let message = read_message(&delivery.text).map_err(JobError::GiveUp)?;
    match app.moods.work(&message.chunk).await {
        Ok(_) => Ok(()),
        Err(Error::Elsewhere) => Err(JobError::NotNow),
        Err(error @ Error::Gone) => Err(JobError::GiveUp(error.to_string())),
        Err(error) => Err(JobError::retry(error)),
    }
}
