//! Posts submitted by clients, since Reddit rejects servers more often than people. Random checks find forged posts and
//! ban their sender.
//!
//! For a checked post, Reddit's version is stored. From others, only title and pictures are used, because text, flair
//! and votes would be unverified claims shown to all users.

use std::time::Duration;

use serde_json::Value;
use time::{OffsetDateTime, Time};
use tracing::warn;

use super::candidate::Candidate;
use super::ingest::{IngestReport, Origin};
use super::reddit::client::Comparison;
use super::reddit::{self, NoSubreddit, RedditConfig};
use super::{Error, Scraper};
use crate::data::sources::Finish;
use crate::model::ban::Ban;
use crate::model::ids::UserId;
use crate::model::source::Source;

/// Reason of a ban for forged posts.
const FORGED: &str = "Submitted posts that differ from Reddit's.";

/// Posts that are checked per submission.
const COMPARED: usize = 3;

/// Outcome of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// Some posts are in the feed.
    Taken {
        /// Report of the ingestion.
        report: IngestReport,
        /// Whether posts were checked.
        verified: bool,
        /// Posts that were left out.
        dropped: usize,
    },
    /// The source accepts none of the posts.
    NothingValid,
    /// The sender does not hold the lease.
    NoLease,
    /// The sender's daily limit is reached; time until the next day.
    DayUsedUp(Duration),
    /// The sender is banned, for this reason.
    Banned,
}

/// Why a submission failed.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The source is not a subreddit.
    #[error(transparent)]
    NoSubreddit(#[from] NoSubreddit),
    /// Any other failure.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Scraper {
    /// Accepts posts that a user submits for a subreddit while holding its lease, which ends with the first accepted
    /// post.
    ///
    /// # Errors
    /// See [`SubmitError`]. Repeating it is harmless.
    pub async fn submit(&self, source: &Source, user: &UserId, posts: &[Value]) -> Result<Submitted, SubmitError> {
        if !source.is_leased_by(user, self.now()) {
            return Ok(Submitted::NoLease);
        }
        let config = RedditConfig::read(&source.config)?;
        let mut candidates = reddit::posts(posts, &config);
        if candidates.is_empty() {
            return Ok(Submitted::NothingValid);
        }
        let granted = self.reserve(user, candidates.len()).await?;
        if granted == 0 {
            return Ok(Submitted::DayUsedUp(self.until_midnight()));
        }
        candidates.truncate(granted);
        let mut compared = Vec::new();
        let mut is_verified = false;
        if self.is_sampled() {
            let sample = take_sample(&mut candidates);
            let comparisons = self.0.reddit.spot_check(&sample, &config).await;
            if comparisons.contains(&Comparison::Mismatch) {
                self.ban(user).await?;
                return Ok(Submitted::Banned);
            }
            let unreachable = std::iter::repeat(Comparison::Unreachable);
            is_verified = true;
            for (claimed, comparison) in sample.into_iter().zip(comparisons.into_iter().chain(unreachable)) {
                match comparison {
                    Comparison::Same(reddits) => compared.extend(reddits.map(|reddits| *reddits)),
                    // The post is no longer visible at Reddit.
                    Comparison::Gone | Comparison::Mismatch => {}
                    Comparison::Unreachable => {
                        is_verified = false;
                        candidates.push(claimed);
                    }
                }
            }
        }
        let origin = |verified| Origin { submitter: Some(user.clone()), verified };
        let mut report = self.ingest(source, compared, &origin(true)).await?;
        report += self.ingest(source, candidates, &origin(false)).await?;
        let kept = report.new_items + report.duplicates;
        if kept == 0 {
            return Ok(Submitted::NothingValid);
        }
        let finish = Finish { at: self.now(), day: None, version: None };
        self.data().sources.finish_for_client(source, user, &finish).await.map_err(Error::from)?;
        Ok(Submitted::Taken { report, verified: is_verified, dropped: posts.len().saturating_sub(kept) })
    }

    /// Reserves posts of the user's daily limit; returns how many.
    async fn reserve(&self, user: &UserId, posts: usize) -> Result<usize, Error> {
        let most = self.0.base.config.scraper.posts_per_day;
        if most == 0 {
            return Ok(posts);
        }
        let today = self.0.base.clock.now().date();
        Ok(self.data().contributions.reserve(user, today, posts, most).await?)
    }

    fn until_midnight(&self) -> Duration {
        let now = self.0.base.clock.now();
        let midnight = now.date().next_day().map(|day| OffsetDateTime::new_utc(day, Time::MIDNIGHT));
        midnight.map_or(Duration::from_secs(60), |midnight| (midnight - now).unsigned_abs())
    }

    /// Decides randomly whether to check this submission.
    fn is_sampled(&self) -> bool {
        // Without random numbers, check all.
        let random = getrandom::u32().unwrap_or(0);
        f64::from(random) < self.0.base.config.scraper.spot_check_rate * (f64::from(u32::MAX) + 1.0)
    }

    async fn ban(&self, user: &UserId) -> Result<(), Error> {
        warn!(user.id = %user, "forged posts: sender banned");
        let ban =
            Ban { id: user.clone(), reason: Some(FORGED.to_owned()), banned_at: Some(self.now()), banned_by: None };
        Ok(self.data().bans.set(&ban).await?)
    }
}

/// Takes a random sample of the candidates, so that forged ones cannot hide behind genuine ones.
fn take_sample(candidates: &mut Vec<Candidate>) -> Vec<Candidate> {
    let mut chosen = Vec::with_capacity(COMPARED);
    while chosen.len() < COMPARED && !candidates.is_empty() {
        // Without random numbers, take the first ones. The bias of the remainder is negligible: a hundred in four
        // billion.
        let random = getrandom::u32().unwrap_or(0) as usize;
        chosen.push(candidates.swap_remove(random % candidates.len()));
    }
    chosen
}
