//! Feedback on digests, by user.

use std::sync::Arc;

use time::PrimitiveDateTime;

use super::{Result, pages, records};
use crate::model::digest::DigestFeedback;
use crate::model::ids::{DigestId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Query};

/// Most feedback per digest that is read; a digest has five ideas.
const MOST_OF_DIGEST: usize = 100;

/// Feedback of all users.
#[derive(Clone)]
pub struct Feedback(pub(super) Arc<dyn DocumentStore>);

impl Feedback {
    /// Builds the id of a user's feedback on an idea of a digest that was made at this time. A digest that is made anew
    /// under its id has other ideas; feedback on those of before is kept.
    pub fn id(user: &UserId, digest: &DigestId, made_at: Timestamp, suggestion_index: u64) -> String {
        let made_at = made_at.get().unix_timestamp_nanos() / 1_000_000;
        format!("{user}-{digest}-{made_at}-{suggestion_index}")
    }

    fn key(user: &UserId, id: &str) -> Key {
        Key::new(Container::DigestFeedback, user.as_str(), id)
    }

    /// Whether this can be the id of a digest of the user.
    pub fn is_valid_digest(user: &UserId, digest: &DigestId) -> bool {
        let latest = Timestamp::from(PrimitiveDateTime::MAX.assume_utc());
        !digest.as_str().is_empty() && Self::key(user, &Self::id(user, digest, latest, u64::MAX)).is_valid()
    }

    /// Saves feedback, replacing earlier feedback on the idea.
    pub async fn save(&self, feedback: &DigestFeedback) -> Result<()> {
        let key = Self::key(&feedback.user_id, &feedback.id);
        records::save(&*self.0, &key, feedback).await
    }

    /// Lists the feedback on a digest since it was created, in the order of its ideas. A digest that was recreated has
    /// other ideas, without feedback.
    pub async fn of_digest(
        &self,
        user: &UserId,
        digest: &DigestId,
        made_at: Option<Timestamp>,
    ) -> Result<Vec<DigestFeedback>> {
        let query = Query::partition(Container::DigestFeedback, user.as_str())
            .matching(Filter::equal("digestId", digest.as_str()))
            .matching_all(made_at.map(|made_at| Filter::at_least("createdAt", made_at.to_string())))
            .order_by("digestId", Direction::Ascending)
            .order_by("createdAt", Direction::Descending)
            .limit(MOST_OF_DIGEST);
        let mut feedback: Vec<DigestFeedback> = pages::page(&*self.0, &query).await?;
        // Stable, so the newest on each idea stays first: earlier versions used another id for the same idea.
        feedback.sort_by_key(|feedback| feedback.suggestion_index);
        feedback.dedup_by_key(|feedback| feedback.suggestion_index);
        Ok(feedback)
    }

    /// Lists the user's latest feedback on any digest, newest first.
    pub async fn newest(&self, user: &UserId, limit: usize) -> Result<Vec<DigestFeedback>> {
        let query = Query::partition(Container::DigestFeedback, user.as_str())
            .order_by("createdAt", Direction::Descending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }
}
