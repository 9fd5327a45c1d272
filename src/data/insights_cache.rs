//! Cached wardrobe statistics, by user. They expire by themselves.

use std::cmp::Reverse;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::Deserialize;

use super::{Result, pages, records};
use crate::model::ids::UserId;
use crate::model::insights::CachedInsights;
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Key, Query};

/// Cached statistics of all users.
#[derive(Clone)]
pub struct InsightsCache(pub(super) Arc<dyn DocumentStore>);

/// Most entries per user.
const MOST_QUESTIONS: usize = 4;

/// Age of a cached entry.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    id: String,
    expires_at: Timestamp,
}

impl Kept {
    const FIELDS: &[&str] = &["id", "expiresAt"];
}

impl InsightsCache {
    /// Finds a cached entry.
    pub async fn find(&self, user: &UserId, id: &str) -> Result<Option<CachedInsights>> {
        records::find(&*self.0, &Key::new(Container::VaultInsightsCache, user.as_str(), id)).await
    }

    /// Saves an entry, replacing one with the same id, and deletes the oldest beyond `MOST_QUESTIONS`.
    pub async fn save(&self, insights: &CachedInsights) -> Result<()> {
        let key = |id: &str| Key::new(Container::VaultInsightsCache, insights.user_id.as_str(), id);
        self.0.upsert(&key(&insights.id), &serde_json::to_value(insights)?).await?;
        let all = Query::partition(Container::VaultInsightsCache, insights.user_id.as_str()).select(Kept::FIELDS);
        let mut others: Vec<Kept> = pages::walk(&*self.0, all).try_collect().await?;
        others.retain(|kept| kept.id != insights.id);
        others.sort_by_key(|kept| Reverse(kept.expires_at));
        for old in others.iter().skip(MOST_QUESTIONS - 1) {
            self.0.delete(&key(&old.id), None).await?;
        }
        Ok(())
    }
}
