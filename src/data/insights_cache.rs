//! Insights that were computed, by owner. They expire by themselves.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::ids::UserId;
use crate::model::insights::CachedInsights;
use crate::store::{Container, DocumentStore, Key};

/// The computed insights of all users.
#[derive(Clone)]
pub struct InsightsCache(Arc<dyn DocumentStore>);

impl InsightsCache {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// What is kept under this id, if anything.
    pub async fn find(&self, user: &UserId, id: &str) -> Result<Option<CachedInsights>> {
        let stored = self.0.read(&Key::new(Container::VaultInsightsCache, user.as_str(), id)).await?;
        Ok(stored.and_then(|stored| pages::parse(Container::VaultInsightsCache, &stored)))
    }

    /// Keeps insights in the place of those there are.
    pub async fn save(&self, insights: &CachedInsights) -> Result<()> {
        let key = Key::new(Container::VaultInsightsCache, insights.user_id.as_str(), insights.id.as_str());
        self.0.upsert(&key, &serde_json::to_value(insights)?).await?;
        Ok(())
    }
}
