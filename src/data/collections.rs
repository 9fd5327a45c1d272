//! Collections, by owner, and the index of memberships.
//!
//! A collection says who its members are; the index (`CollectionMembers`, partitioned by member) only says where to
//! look. An entry is written before its user becomes a member and deleted after they have left, so a crash can leave an
//! extra entry, but never a missing one. Readers of an entry therefore check the collection as well.

use std::sync::Arc;

use futures::Stream;

use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::collection::{Collection, Membership};
use crate::model::ids::{CollectionId, ItemId, UserId};
use crate::store::{Container, DocumentStore, ETag, Filter, Key, Query};

/// Most listed collections of one owner, and most joined ones of one user.
const MOST_LISTED: usize = 1000;
/// Attempts of an edit. Many users may join a collection at the same moment.
const ATTEMPTS: usize = 64;

/// Collections of all users.
#[derive(Clone)]
pub struct Collections(pub(super) Arc<dyn DocumentStore>);

impl Collections {
    fn key(owner: &UserId, id: &CollectionId) -> Key {
        Key::new(Container::Collections, owner.as_str(), id.as_str())
    }

    /// Saves a new collection.
    pub async fn create(&self, collection: &Collection) -> Result<()> {
        let key = Self::key(&collection.owner_id, &collection.id);
        // Ids are random, so an earlier attempt of the same request succeeded.
        records::create(&*self.0, &key, collection).await.map(drop)
    }

    /// Finds a collection of this owner, and its version.
    pub async fn find(&self, owner: &UserId, id: &CollectionId) -> Result<Option<(Collection, ETag)>> {
        records::find_version(&*self.0, &Self::key(owner, id)).await
    }

    /// Finds a collection whose owner is unknown, and its version. Queries all partitions.
    pub async fn find_anywhere(&self, id: &CollectionId) -> Result<Option<(Collection, ETag)>> {
        let query = Query::all(Container::Collections).matching(Filter::equal("id", id.as_str())).limit(1);
        let stored = self.0.query(&query).await?.documents.pop();
        Ok(stored.and_then(|stored| records::parse_version(Container::Collections, stored)))
    }

    /// Lists the owner's collections, newest first.
    pub async fn list(&self, owner: &UserId) -> Result<Vec<Collection>> {
        let query = Query::partition(Container::Collections, owner.as_str()).descending_by("createdAt");
        pages::take(pages::walk(&*self.0, query), MOST_LISTED).await
    }

    /// Counts the owner's collections.
    pub async fn count(&self, owner: &UserId) -> Result<u64> {
        Ok(self.0.count(&Query::partition(Container::Collections, owner.as_str())).await?)
    }

    /// Counts a user's entries in the index.
    pub async fn count_memberships(&self, user: &UserId) -> Result<u64> {
        Ok(self.0.count(&Query::partition(Container::CollectionMembers, user.as_str())).await?)
    }

    /// Streams all collections of all owners.
    pub fn all(&self) -> impl Stream<Item = Result<Collection>> + Send + '_ {
        pages::walk(&*self.0, Query::all(Container::Collections))
    }

    /// Lists those of the owner's collections that hold the item.
    pub async fn holding(&self, owner: &UserId, item: &ItemId) -> Result<Vec<Collection>> {
        let query = Query::partition(Container::Collections, owner.as_str())
            .matching(Filter::Contains("clothingItemIds", item.as_str().into()));
        pages::take(pages::walk(&*self.0, query), usize::MAX).await
    }

    /// Edits a collection by compare-and-swap; `None` if there is none.
    pub async fn edit<R>(
        &self,
        owner: &UserId,
        id: &CollectionId,
        edit: impl FnMut(Collection) -> Edit<Collection, R>,
    ) -> Result<Option<R>> {
        update::update_within(ATTEMPTS, &*self.0, &Self::key(owner, id), update::unless_missing(edit)).await
    }

    /// Edits a collection by compare-and-swap, starting from a copy and version that the caller has read; `None` if it
    /// is gone.
    pub async fn edit_known<R>(
        &self,
        (collection, version): (Collection, ETag),
        edit: impl FnMut(Collection) -> Edit<Collection, R>,
    ) -> Result<Option<R>> {
        let key = Self::key(&collection.owner_id, &collection.id);
        update::update_known(ATTEMPTS, &*self.0, &key, (collection, version), edit).await
    }

    /// Deletes a collection of this owner; returns it if there was one.
    pub async fn delete(&self, owner: &UserId, id: &CollectionId) -> Result<Option<Collection>> {
        let key = Self::key(owner, id);
        let Some(stored) = self.0.read(&key).await? else { return Ok(None) };
        self.0.delete(&key, None).await?;
        Ok(records::parse(Container::Collections, &stored))
    }

    fn member_key(user: &UserId, id: &CollectionId) -> Key {
        Key::new(Container::CollectionMembers, user.as_str(), id.as_str())
    }

    /// Finds the entry of a user and a collection in the index, with its version.
    pub async fn find_membership(&self, user: &UserId, id: &CollectionId) -> Result<Option<(Membership, ETag)>> {
        records::find_version(&*self.0, &Self::member_key(user, id)).await
    }

    /// Lists a user's entries in the index, each with its version.
    pub async fn memberships(&self, user: &UserId) -> Result<Vec<(Membership, ETag)>> {
        let mut query = Query::partition(Container::CollectionMembers, user.as_str()).limit(MOST_LISTED);
        let mut found = Vec::new();
        while found.len() < MOST_LISTED {
            let page = self.0.query(&query).await?;
            let parse = |stored| records::parse_version(Container::CollectionMembers, stored);
            found.extend(page.documents.into_iter().filter_map(parse));
            let Some(next) = page.next else { break };
            query = query.after(Some(next));
        }
        found.truncate(MOST_LISTED);
        Ok(found)
    }

    /// Inserts or replaces an entry of the index, and returns its version.
    pub async fn note_membership(&self, membership: &Membership) -> Result<ETag> {
        let key = Self::member_key(&membership.user_id, &membership.id);
        Ok(self.0.upsert(&key, &serde_json::to_value(membership)?).await?)
    }

    /// Inserts an entry into the index unless it exists; returns whether it is new.
    pub async fn add_membership(&self, membership: &Membership) -> Result<bool> {
        let key = Self::member_key(&membership.user_id, &membership.id);
        records::create(&*self.0, &key, membership).await
    }

    /// Deletes an entry of the index; if a version is given, only if the entry still has it.
    pub async fn forget_membership(&self, user: &UserId, id: &CollectionId, version: Option<&ETag>) -> Result<()> {
        update::won(self.0.delete(&Self::member_key(user, id), version).await).map(drop)
    }
}
