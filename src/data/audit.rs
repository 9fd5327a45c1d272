//! The audit log: actions of administrators.

use std::sync::Arc;

use super::{Result, pages, records};
use crate::model::audit::AuditEntry;
use crate::model::ids::UserId;
use crate::store::{Container, DocumentStore, Key, Query};

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
        records::save(&*self.0, &key, entry).await
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
        let query = Query::one_or_all(Container::AuditEntries, user.map(UserId::as_str)).descending_by("at");
        pages::page_and_next(&*self.0, &query.limit(limit).after(after)).await
    }
}
