//! Drafts, in the wardrobes of their owners.

use std::sync::Arc;
use std::time::Duration;

use super::lease::Leased;
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::draft::{DraftItem, DraftStatus, LONGEST_LEASE};
use crate::model::ids::{ItemId, UserId};
use crate::model::lease::Lease;
use crate::model::timestamp::Timestamp;
use crate::model::wardrobe::WardrobeItem;
use crate::store::{Container, DocumentStore, ETag, Filter, Key, Query};

/// The drafts of all users.
#[derive(Clone)]
pub struct Drafts(pub(super) Arc<dyn DocumentStore>);

impl Leased for DraftItem {
    const LONGEST: Duration = LONGEST_LEASE;

    fn lease(&self) -> Lease {
        self.lease()
    }

    fn set_lease(&mut self, lease: Lease) {
        self.set_lease(&lease);
    }

    fn may_go_on(&self) -> bool {
        self.is_processing()
    }
}

impl Drafts {
    /// Returns the key of a draft, which is the item's key.
    pub fn key(user: &UserId, item: &ItemId) -> Key {
        Key::new(Container::Wardrobe, user.as_str(), item.as_str())
    }

    /// Creates a draft.
    ///
    /// # Errors
    /// [`crate::store::Error::Conflict`] if an item with this id exists.
    pub async fn create(&self, draft: &DraftItem) -> Result<()> {
        let key = Self::key(&draft.user_id, &draft.id);
        self.0.create(&key, &serde_json::to_value(draft)?).await?;
        Ok(())
    }

    /// Finds an item, whether it is a draft or not.
    pub async fn find(&self, user: &UserId, item: &ItemId) -> Result<Option<DraftItem>> {
        records::find(&*self.0, &Self::key(user, item)).await
    }

    /// Finds an item, whether it is a draft or not, and its version.
    pub async fn find_version(&self, user: &UserId, item: &ItemId) -> Result<Option<(DraftItem, ETag)>> {
        records::find_version(&*self.0, &Self::key(user, item)).await
    }

    /// Edits an item by compare-and-swap, starting from a copy and version that the caller has read; `None` if it is
    /// gone.
    pub async fn edit_known<R>(
        &self,
        known: (DraftItem, ETag),
        edit: impl FnMut(DraftItem) -> Edit<DraftItem, R>,
    ) -> Result<Option<R>> {
        let key = Self::key(&known.0.user_id, &known.0.id);
        update::update_known(update::ATTEMPTS, &*self.0, &key, known, edit).await
    }

    /// Edits an item by compare-and-swap, as [`update::update`] does.
    pub async fn edit<R>(
        &self,
        user: &UserId,
        item: &ItemId,
        edit: impl FnMut(Option<DraftItem>) -> Edit<DraftItem, R>,
    ) -> Result<R> {
        update::update(&*self.0, &Self::key(user, item), edit).await
    }

    /// Lists a page of a user's drafts, newest first and those without a date last, with the token of the next page.
    pub async fn page(
        &self,
        user: &UserId,
        limit: usize,
        after: Option<String>,
    ) -> Result<(Vec<WardrobeItem>, Option<String>)> {
        let query = newest_query(user).limit(limit).most_bytes(pages::PAGE_BYTES).after(after);
        pages::page_and_next(&*self.0, &query).await
    }

    /// Counts a user's drafts.
    pub async fn count(&self, user: &UserId) -> Result<u64> {
        Ok(self.0.count(&query_of(user)).await?)
    }

    /// Lists drafts of all users with this status that last changed at or before `until`, oldest first.
    pub async fn unchanged_since(&self, status: DraftStatus, until: Timestamp, limit: usize) -> Result<Vec<DraftItem>> {
        pages::page(&*self.0, &unchanged_query(status, until).limit(limit)).await
    }

    /// Lists drafts of all users with this status of which nobody knows when they last changed.
    pub async fn undated(&self, status: DraftStatus, limit: usize) -> Result<Vec<DraftItem>> {
        let query = Query::all(Container::Wardrobe)
            .matching(Filter::equal("draftStatus", status.name()))
            .matching(Filter::is_absent("draftUpdatedAt"))
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// Deletes a draft if it still has this status and has not changed since `until`; returns whether it was deleted.
    pub async fn delete_unchanged(&self, draft: &DraftItem, status: DraftStatus, until: Timestamp) -> Result<bool> {
        let key = Self::key(&draft.user_id, &draft.id);
        let Some(stored) = self.0.read(&key).await? else { return Ok(false) };
        let found: DraftItem = stored.parse()?;
        if found.draft_status != Some(status) || found.draft_updated_at.is_none_or(|at| at > until) {
            return Ok(false);
        }
        update::won(self.0.delete(&key, Some(&stored.etag)).await)
    }
}

fn query_of(user: &UserId) -> Query {
    Query::partition(Container::Wardrobe, user.as_str())
        .matching(Filter::Not(Box::new(Filter::is_absent("draftStatus"))))
}

/// Builds the query of [`Drafts::page`].
pub fn newest_query(user: &UserId) -> Query {
    // The index of this order has only the documents with this field.
    query_of(user).descending_by("draftCreatedAt")
}

/// Builds the query of [`Drafts::unchanged_since`].
pub fn unchanged_query(status: DraftStatus, until: Timestamp) -> Query {
    pages::due(Container::Wardrobe, "draftUpdatedAt", until).matching(Filter::equal("draftStatus", status.name()))
}
