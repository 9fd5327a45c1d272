//! Posts that clients send: Reddit shows people what it refuses to servers. Whoever sends others than Reddit has is found
//! out now and then, and may not contribute any more.

use serde_json::Value;
use tracing::warn;

use super::candidate::Candidate;
use super::ingest::{IngestReport, Origin};
use super::reddit::client::SpotCheck;
use super::reddit::{self, NoSubreddit, RedditConfig, UnsafePost};
use super::{Error, Scraper};
use crate::data::sources::Finish;
use crate::model::ban::Ban;
use crate::model::ids::UserId;
use crate::model::source::Source;

/// The reason in the ban of somebody who sent forged posts.
const FORGED: &str = "Submitted posts that differ from Reddit's.";

/// Posts of a submission that are compared.
const COMPARED: usize = 3;

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// Its posts are in the feed.
    Taken {
        /// What became of them.
        report: IngestReport,
        /// Whether some of them were compared with Reddit's.
        verified: bool,
    },
    /// The source takes none of them.
    NothingValid,
    /// The sender may not contribute: banned before, or because of this.
    Banned,
}

/// Why a submission was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A post has an address that must not be followed.
    #[error(transparent)]
    Unsafe(#[from] UnsafePost),
    /// The source is no subreddit that can be asked for.
    #[error(transparent)]
    NoSubreddit(#[from] NoSubreddit),
    /// The rest.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Scraper {
    /// Takes posts that a user sends for a subreddit.
    ///
    /// # Errors
    /// See [`SubmitError`]. Sending them again is harmless.
    pub async fn submit(&self, source: &Source, user: &UserId, posts: &[Value]) -> Result<Submitted, SubmitError> {
        let candidates = reddit::posts(posts, &RedditConfig::read(&source.config)?)?;
        if candidates.is_empty() {
            return Ok(Submitted::NothingValid);
        }
        let verified = self.is_sampled()
            && match self.0.parts.reddit.spot_check(&sample(&candidates)).await {
                SpotCheck::Verified => true,
                SpotCheck::Unreachable => false,
                SpotCheck::Mismatch => {
                    self.ban(user).await?;
                    return Ok(Submitted::Banned);
                }
            };
        let origin = Origin { submitter: Some(user.clone()), verified };
        let report = self.ingest(source, candidates, &origin).await?;
        let finish = Finish { at: self.now(), day: None, version: None, owner: user.as_str(), fenced: false };
        self.data().sources.finish(source, finish).await.map_err(Error::from)?;
        Ok(Submitted::Taken { report, verified })
    }

    /// Whether chance chooses this submission.
    fn is_sampled(&self) -> bool {
        // Without random numbers all are chosen.
        let random = getrandom::u32().unwrap_or(0);
        f64::from(random) < self.0.parts.settings.spot_check_rate * (f64::from(u32::MAX) + 1.0)
    }

    async fn ban(&self, user: &UserId) -> Result<(), Error> {
        warn!(user.id = %user, "forged posts: the sender is banned");
        let ban =
            Ban { id: user.clone(), reason: Some(FORGED.to_owned()), banned_at: Some(self.now()), banned_by: None };
        Ok(self.data().bans.set(&ban).await?)
    }
}

/// Some of the candidates, by chance: genuine posts in front of forged ones hide nothing.
fn sample(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    let mut chosen = Vec::with_capacity(COMPARED);
    while chosen.len() < COMPARED && !left.is_empty() {
        // Without random numbers the first ones. The remainder favours nobody noticeably: a hundred of four thousand million.
        let random = getrandom::u32().unwrap_or(0) as usize;
        chosen.push(left.swap_remove(random % left.len()).clone());
    }
    chosen
}
