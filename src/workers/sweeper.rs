//! Cleans up behind everybody, every few minutes: gives back the room of what has expired, deletes old long operations
//! with their outputs, queues work again whose message was lost or never sent, and has fan-outs go on whose process died.
//! What was seen to already is not found the next time, so running it twice changes nothing.

use std::error::Error as StdError;

use tracing::{info, warn};

use super::JobError;
use crate::base::chain::Chain;
use crate::state::AppState;

/// Its name.
pub const FUNCTION: &str = "PluckItJobSweeper";

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// Looks for leftovers and sees to them.
///
/// # Errors
/// [`JobError::Retry`] when the store or the queue failed. One failing does not stop the others.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    // The documents of old jobs go after their outputs, so before those that the store deletes by itself.
    let operations = app.jobs.sweep().await;
    let swept = app.data.store.sweep_expired().await;
    if let Ok(documents @ 1..) = swept {
        info!(documents, "expired documents deleted");
    }
    let outcomes: [(&str, Outcome); 6] = [
        ("unfinished blobs", boxed(app.blobs.sweep(app.clock.now()).await)),
        ("long operations", boxed(operations)),
        ("expired documents", boxed(swept)),
        ("taste analyses", boxed(app.taste.requeue_stale().await)),
        ("chunks of articles", boxed(app.moods.send_unsent().await)),
        ("weekly digests", boxed(app.digests.resume_fan_out().await)),
    ];
    let mut last = Ok(());
    for (what, outcome) in outcomes {
        if let Err(error) = outcome {
            // Only one can be returned, and the next run is soon.
            warn!(what, error = %Chain(&*error), "leftovers not seen to");
            last = Err(JobError::Retry(error));
        }
    }
    last
}

fn boxed<T, E: StdError + Send + Sync + 'static>(outcome: Result<T, E>) -> Outcome {
    outcome.map(drop).map_err(Into::into)
}
