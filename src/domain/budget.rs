//! What a user may spend on models in a day, in tokens. Kept in the store, so that it holds for all instances together.

use std::sync::Arc;
use std::time::Duration;

use time::{OffsetDateTime, Time};
use tracing::warn;

use crate::clock::Clock;
use crate::data::{self, Data};
use crate::llm::spending::Spending;
use crate::model::ids::UserId;
use crate::telemetry::Chain;

/// What users may spend. Cheap to clone.
#[derive(Clone)]
pub struct Budget {
    data: Data,
    clock: Arc<dyn Clock>,
    /// Tokens per user and day, by UTC; zero for no limit.
    tokens_per_day: u64,
}

/// The day's tokens are spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Time until the next day begins.
    pub retry_after: Duration,
}

impl Budget {
    /// A budget of so many tokens per user and day; zero for no limit.
    pub fn new(data: Data, clock: Arc<dyn Clock>, tokens_per_day: u64) -> Self {
        Self { data, clock, tokens_per_day }
    }

    /// Whether the user has tokens left today. What is under way does not count before it has ended.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub async fn check(&self, user: &UserId) -> data::Result<Result<(), Spent>> {
        if self.tokens_per_day == 0 {
            return Ok(Ok(()));
        }
        let now = self.clock.now();
        let spent = self.data.spending.find(user, now.date()).await?;
        if spent < self.tokens_per_day {
            return Ok(Ok(()));
        }
        let midnight = now.date().next_day().map(|day| OffsetDateTime::new_utc(day, Time::MIDNIGHT));
        let retry_after = midnight.map_or(Duration::from_secs(60), |midnight| (midnight - now).unsigned_abs());
        Ok(Err(Spent { retry_after }))
    }

    /// Does work that a user pays for, and notes what it cost, however it ends.
    pub async fn spend<F: Future>(&self, user: &UserId, work: F) -> F::Output {
        let spending = Spending::default();
        let result = spending.scope(work).await;
        let tokens = spending.tokens();
        if tokens > 0 && self.tokens_per_day > 0 {
            let noted = self.data.spending.add(user, self.clock.now().date(), tokens).await;
            if let Err(error) = noted {
                warn!(user.id = %user, tokens, error = %Chain(&error), "spent tokens not noted");
            }
        }
        result
    }
}
