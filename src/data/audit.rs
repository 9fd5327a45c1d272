//! The audit log: actions of administrators.

use std::sync::Arc;

use super::{Result, pages};
use crate::model::audit::AuditEntry;
use crate::model::ids::UserId;
use crate::store::{Container, Direction, DocumentStore, Key, Query};

/// All audit entries. They expire by the container's time to live.
#[derive(Clone)]
pub struct AuditLog(pub(super) Arc<dyn DocumentStore>);

impl AuditLog {
    /// Saves or replaces an entry. Only the request it describes writes it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save(&self, entry: &AuditEntry) -> Result<()> {
        let key = Key::new(Container::AuditEntries, entry.user_id.as_str(), entry.id.as_str());
        self.0.upsert(&key, &serde_json::to_value(entry)?).await?;
        Ok(())
    }

    /// Lists a page of entries, of one administrator or of all, newest first, with the token of the next page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        user: Option<&UserId>,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, Option<String>)> {
        let query = match user {
            Some(user) => Query::partition(Container::AuditEntries, user.as_str()),
            None => Query::all(Container::AuditEntries),
        };
        let query = query.order_by("at", Direction::Descending).order_by("id", Direction::Ascending);
        pages::page_and_next(&*self.0, &query.limit(limit).after(after)).await
    }
}
