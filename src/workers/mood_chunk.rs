//! Queue: extracts moods from a chunk of articles with the model, and saves them. Running twice is harmless: a finished
//! chunk is left alone, and an article counts once per mood.

use super::{Delivery, JobError, Outcome};
use crate::domain::moods::{ChunkMessage, Error};
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessMoodChunk";

/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessMoodChunkDlq";

/// Processes the rest of the chunk.
///
/// # Errors
/// [`JobError::NotNow`] while another worker has it, [`JobError::GiveUp`] for a message that cannot be parsed or a
/// chunk that is gone, [`JobError::Retry`] otherwise.
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let message: ChunkMessage = delivery.read()?;
        match app.moods.work(&message.chunk).await {
            Ok(_) => Ok(()),
            Err(Error::HeldElsewhere) => Err(JobError::NotNow),
            Err(error @ Error::Gone) => Err(JobError::GiveUp(error.to_string())),
            Err(error) => Err(JobError::retry(error)),
        }
    })
}
