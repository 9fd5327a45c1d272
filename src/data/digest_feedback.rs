//! Thumbs on purchase ideas, by user.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::digest::DigestFeedback;
use crate::model::ids::{DigestId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Query};

/// Thumbs on one digest that are looked at. A digest has five ideas.
const MOST_OF_DIGEST: usize = 100;

/// The thumbs of all users.
#[derive(Clone)]
pub struct Feedback(Arc<dyn DocumentStore>);

impl Feedback {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Id of a thumb; one only for each idea.
    pub fn id(user: &UserId, digest: &DigestId, suggestion_index: u64) -> String {
        format!("{user}-{digest}-{suggestion_index}")
    }

    fn key(user: &UserId, id: &str) -> Key {
        Key::new(Container::DigestFeedback, user.as_str(), id)
    }

    /// Whether a digest of the user can have this id.
    pub fn is_valid_digest(user: &UserId, digest: &DigestId) -> bool {
        !digest.as_str().is_empty() && Self::key(user, &Self::id(user, digest, u64::MAX)).is_valid()
    }

    /// Saves a thumb, in the place of the one before it.
    pub async fn save(&self, feedback: &DigestFeedback) -> Result<()> {
        let key = Self::key(&feedback.user_id, &feedback.id);
        self.0.upsert(&key, &serde_json::to_value(feedback)?).await?;
        Ok(())
    }

    /// The thumbs on one digest since it was made, in the order of its ideas. A digest that was made anew has other ideas,
    /// on which nobody has said anything.
    pub async fn of_digest(
        &self,
        user: &UserId,
        digest: &DigestId,
        made_at: Option<Timestamp>,
    ) -> Result<Vec<DigestFeedback>> {
        let mut query = Query::partition(Container::DigestFeedback, user.as_str())
            .matching(Filter::equal("digestId", digest.as_str()))
            .order_by("digestId", Direction::Ascending)
            .order_by("createdAt", Direction::Descending)
            .limit(MOST_OF_DIGEST);
        if let Some(made_at) = made_at {
            let since = made_at.to_string().into();
            query = query.matching(Filter::Compare("createdAt", Comparison::GreaterOrEqual, since));
        }
        let mut feedback: Vec<DigestFeedback> = pages::page(&*self.0, &query).await?;
        feedback.sort_by_key(|feedback| feedback.suggestion_index);
        Ok(feedback)
    }

    /// The user's newest thumbs on whichever digests, the newest first.
    pub async fn newest(&self, user: &UserId, limit: usize) -> Result<Vec<DigestFeedback>> {
        let query = Query::partition(Container::DigestFeedback, user.as_str())
            .order_by("createdAt", Direction::Descending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }
}
