//! Timer: cleans up every few minutes. It deletes expired documents and old jobs with their outputs, queues work again
//! whose message was lost or never sent, and continues fan-outs whose process died. Running twice is harmless: handled
//! leftovers are not found again.

use std::error::Error as StdError;

use tracing::{info, warn};

use super::JobError;
use crate::base::chain::{Cause, Chain};
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "PluckItJobSweeper";

type Swept = Result<(), Cause>;

/// Finds and handles leftovers.
///
/// # Errors
/// [`JobError::Retry`] when the store or queue failed. A failing step does not stop the other steps.
pub async fn run(app: &AppState) -> Result<(), JobError> {
    // Delete old jobs with their outputs before the store deletes expired documents.
    let operations = app.jobs.sweep().await;
    let swept = app.data.store.sweep_expired().await;
    if let Ok(documents @ 1..) = swept {
        info!(documents, "expired documents deleted");
    }
    let mut outcomes: Vec<(&str, Swept)> = vec![
        ("unfinished blobs", boxed(app.blobs.sweep(app.clock.now()).await)),
        ("long operations", boxed(operations)),
        ("expired documents", boxed(swept)),
        ("taste analyses", boxed(app.taste.requeue_stale().await)),
        ("scrapes for subscribers", boxed(app.scraper.requeue_overdue().await)),
        ("chunks of articles", boxed(app.moods.send_unsent().await)),
        ("weekly digests", boxed(app.digests.resume_fan_out().await)),
    ];
    if app.config.wardrobe_api.is_on {
        outcomes.push(("drafts", boxed(app.drafts.requeue_stale().await)));
    }
    let mut last = Ok(());
    for (what, outcome) in outcomes {
        if let Err(error) = outcome {
            // Only one can be returned, and the next run is soon.
            warn!(what, error = %Chain(&*error), "clean-up step failed");
            last = Err(JobError::Retry(error));
        }
    }
    last
}

fn boxed<T, E: StdError + Send + Sync + 'static>(outcome: Result<T, E>) -> Swept {
    outcome.map(drop).map_err(Into::into)
}
