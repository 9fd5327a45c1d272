//! Queue: creates the weekly digests of a batch of users, or continues queueing batches. Running twice is harmless: a
//! user has at most one digest per week.

use tracing::info;

use super::{Delivery, JobError, MOST_DELIVERIES, Outcome};
use crate::data::profiles::Profiles;
use crate::domain::digest::{Counts, Starter};
use crate::model::digest::DigestMessage;
use crate::model::ids::UserId;
use crate::queue::QueueMessage;
use crate::state::AppState;

/// Name of the function.
pub const FUNCTION: &str = "ProcessDigestBatch";
/// Name of the function for the poison queue.
pub const POISON_FUNCTION: &str = "ProcessDigestBatchDlq";

/// Most users in a message; our messages have far fewer.
const MOST_USERS: usize = 1000;

#[derive(Debug, thiserror::Error)]
#[error("{failed} of {users} digests were not created")]
struct NotMade {
    failed: u64,
    users: usize,
}

/// Processes a message.
///
/// # Errors
/// [`JobError::Retry`] while digests fail; the next delivery retries only those. [`JobError::NotNow`] while another
/// worker is processing one of them, [`JobError::GiveUp`] for a message that cannot be parsed.
pub fn run(app: &AppState, delivery: Delivery) -> Outcome<'_> {
    Box::pin(async move {
        let (week, page, users) = match delivery.read()? {
            DigestMessage::FanOut { week } => {
                return app.digests.fan_out(week, Starter::Message).await.map_err(JobError::retry);
            }
            DigestMessage::Batch { week, page, users } => (week, page, users),
        };
        let count = users.len();
        let counts = app.digests.batch(week, page, users).await.map_err(JobError::retry)?;
        let Counts { generated, skipped_by_hash, skipped_by_opt_out, skipped_empty, .. } = counts;
        let Counts { already_done, failed, elsewhere, left, .. } = counts;
        // Failures that another delivery tries again are no outcome yet.
        let is_last = delivery.dequeue_count >= MOST_DELIVERIES;
        let (failed_for_good, to_retry) = if is_last { (failed, 0) } else { (0, failed) };
        info!(
            %week,
            page,
            users = count,
            generated,
            skipped_by_hash,
            skipped_by_opt_out,
            skipped_empty,
            already_done,
            failed = failed_for_good,
            to_retry,
            elsewhere,
            left,
            "digest batch done"
        );
        for (outcome, count) in [
            ("generated", generated),
            ("skipped_by_hash", skipped_by_hash),
            ("skipped_by_opt_out", skipped_by_opt_out),
            ("skipped_empty", skipped_empty),
            ("failed", failed_for_good),
        ] {
            if count > 0 {
                app.telemetry.metrics.outcome("digest", outcome, count);
            }
        }
        match (failed, elsewhere) {
            (0, 0) => Ok(()),
            (0, _) => Err(JobError::NotNow),
            (failed, _) => Err(JobError::retry(NotMade { failed, users: count })),
        }
    })
}

impl QueueMessage for DigestMessage {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Batch { users, .. } if users.len() > MOST_USERS => Err(format!("more than {MOST_USERS} users")),
            Self::Batch { users, .. } if !users.iter().all(|user: &UserId| Profiles::key(user).is_valid()) => {
                Err("a user's id is not an id".to_owned())
            }
            Self::Batch { .. } | Self::FanOut { .. } => Ok(()),
        }
    }
}
