//! Collections of wardrobe items: access, membership and contents.
//!
//! Only the owner's non-draft items can be in a collection. A deleted item is removed from its owner's collections
//! ([`remove_from_all`]); after adding an item, its existence is checked again, in case it was deleted meanwhile.

use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tracing::warn;

use crate::base::chain::Chain;
use crate::data::update::Edit;
use crate::data::{Data, Result};
use crate::model::collection::{Collection, MAX_COLLECTIONS, MAX_ITEMS, MAX_MEMBERS, Membership};
use crate::model::ids::{CollectionId, ItemId, UserId};
use crate::model::timestamp::Timestamp;
use crate::store::ETag;

/// Documents that are read or written at once.
const AT_ONCE: usize = 8;
/// Age at which an index entry that the collection does not confirm is deleted. Before that, its user may be about to
/// become a member.
const UNCONFIRMED: Duration = Duration::from_secs(10 * 60);

/// A collection to be created.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Id, unique among all collections.
    pub id: CollectionId,
    /// Name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Whether anybody can join.
    pub is_public: bool,
    /// Items of the owner.
    pub items: Vec<ItemId>,
}

/// Outcome of joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The user is the owner or a member.
    Done,
    /// There is no such collection.
    NoCollection,
    /// The collection is not public.
    Private,
    /// The collection has [`MAX_MEMBERS`].
    Full,
    /// The user has joined [`MAX_COLLECTIONS`].
    TooMany,
}

/// Outcome of creating a collection.
#[derive(Debug)]
pub enum Created {
    /// The collection.
    Done(Collection),
    /// One of the items is not the owner's, or is a draft.
    NoItem,
    /// The owner has [`MAX_COLLECTIONS`].
    TooMany,
}

/// Outcome of adding an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The collection holds the item.
    Done,
    /// The user has no such collection.
    NoCollection,
    /// The user has no such item, or it is a draft.
    NoItem,
    /// The collection has [`MAX_ITEMS`].
    Full,
}

/// Creates a collection of the user, unless they have the most already. Concurrent calls may each create one more.
///
/// # Errors
/// When a document could not be read or written.
pub async fn create(data: &Data, owner: &UserId, new: NewCollection, now: Timestamp) -> Result<Created> {
    let NewCollection { id, name, description, is_public, mut items } = new;
    let mut seen = std::collections::HashSet::new();
    items.retain(|item| seen.insert(item.clone()));
    let (kept, count) = tokio::try_join!(data.wardrobe.find_kept(owner, &items), data.collections.count(owner))?;
    if kept.len() < items.len() {
        return Ok(Created::NoItem);
    }
    // The answer of an earlier attempt, which created it, may have been lost.
    if count >= MAX_COLLECTIONS && data.collections.find(owner, &id).await?.is_none() {
        return Ok(Created::TooMany);
    }
    let collection = Collection {
        id,
        owner_id: owner.clone(),
        name,
        description,
        is_public,
        clothing_item_ids: items,
        member_user_ids: Vec::new(),
        created_at: Some(now),
        other: serde_json::Map::new(),
    };
    data.collections.create(&collection).await?;
    Ok(Created::Done(collection))
}

/// Lists the user's own collections, then those they joined, each newest first.
///
/// # Errors
/// When a document could not be read.
pub async fn list(data: &Data, user: &UserId, now: Timestamp) -> Result<Vec<Collection>> {
    let (mut collections, entries) = tokio::try_join!(data.collections.list(user), data.collections.memberships(user))?;
    let looks = entries.into_iter().map(|(entry, version)| async move {
        let found = data.collections.find(&entry.owner_id, &entry.id).await?.map(|(collection, _)| collection);
        let found = found.filter(|collection| collection.has_member(user) && collection.owner_id != *user);
        if found.is_none() && entry.joined_at + UNCONFIRMED < now {
            data.collections.forget_membership(user, &entry.id, Some(&version)).await?;
        }
        Result::Ok(found)
    });
    let joined: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
    let mut joined: Vec<Collection> = joined.into_iter().flatten().collect();
    joined.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| one.id.cmp(&other.id)));
    collections.extend(joined);
    Ok(collections)
}

/// Finds a collection that the user owns or has joined.
///
/// # Errors
/// When a document could not be read.
pub async fn find(data: &Data, user: &UserId, id: &CollectionId, now: Timestamp) -> Result<Option<Collection>> {
    if let Some((own, _)) = data.collections.find(user, id).await? {
        return Ok(Some(own));
    }
    let entry = data.collections.find_membership(user, id).await?;
    let Some(Located { known: (collection, _), is_indexed }) = locate(data, user, id, entry.as_ref()).await? else {
        return Ok(None);
    };
    if !collection.is_shown_to(user) {
        return Ok(None);
    }
    if !is_indexed {
        note(data, user, &collection, now).await?;
    }
    Ok(Some(collection))
}

/// A collection and how it was found.
struct Located {
    /// The collection, and its version.
    known: (Collection, ETag),
    /// Whether the index has an entry for it, or needs none because the user is the owner.
    is_indexed: bool,
}

/// Finds a collection that is probably another user's: by the user's index entry, then in all partitions, because the
/// older service keeps no index.
async fn locate(
    data: &Data,
    user: &UserId,
    id: &CollectionId,
    entry: Option<&(Membership, ETag)>,
) -> Result<Option<Located>> {
    if let Some((entry, _)) = entry
        && let Some(known) = data.collections.find(&entry.owner_id, id).await?
    {
        return Ok(Some(Located { known, is_indexed: true }));
    }
    let found = data.collections.find_anywhere(id).await?;
    Ok(found.map(|known| Located { is_indexed: known.0.owner_id == *user, known }))
}

/// Adds an index entry for the user and the collection.
async fn note(data: &Data, user: &UserId, collection: &Collection, now: Timestamp) -> Result<ETag> {
    data.collections.note_membership(&entry(user, collection, now)).await
}

fn entry(user: &UserId, collection: &Collection, now: Timestamp) -> Membership {
    Membership {
        id: collection.id.clone(),
        user_id: user.clone(),
        owner_id: collection.owner_id.clone(),
        joined_at: now,
    }
}

/// Adds missing index entries for the members of all collections, and returns their number. The older service keeps no
/// index. Running it again adds nothing.
///
/// # Errors
/// When a document could not be read or written.
pub async fn index_members(data: &Data, now: Timestamp) -> Result<usize> {
    let mut added = 0;
    let mut collections = pin!(data.collections.all());
    while let Some(collection) = collections.try_next().await? {
        let entries = collection.member_user_ids.iter().map(|member| entry(member, &collection, now));
        let adding = entries.map(|entry| async move { data.collections.add_membership(&entry).await });
        let outcomes: Vec<bool> = stream::iter(adding).buffer_unordered(AT_ONCE).try_collect().await?;
        added += outcomes.into_iter().filter(|is_new| *is_new).count();
    }
    Ok(added)
}

/// Makes the user a member of a public collection.
///
/// # Errors
/// When a document could not be read or written.
pub async fn join(data: &Data, user: &UserId, id: &CollectionId, now: Timestamp) -> Result<Join> {
    let entry = data.collections.find_membership(user, id).await?;
    let Some(Located { known, is_indexed }) = locate(data, user, id, entry.as_ref()).await? else {
        return Ok(Join::NoCollection);
    };
    let (collection, _) = &known;
    if collection.is_shown_to(user) {
        if !is_indexed {
            note(data, user, collection, now).await?;
        }
        return Ok(Join::Done);
    }
    if !collection.is_public {
        return Ok(Join::Private);
    }
    if entry.is_none() && data.collections.count_memberships(user).await? >= MAX_COLLECTIONS {
        return Ok(Join::TooMany);
    }
    // First, and replacing an existing entry: a listing deletes old entries without a membership.
    let version = note(data, user, collection, now).await?;
    let edited = data.collections.edit_known(known, |mut collection| {
        if collection.has_member(user) {
            Edit::Keep(Join::Done)
        } else if !collection.is_public {
            Edit::Keep(Join::Private)
        } else if collection.member_user_ids.len() >= MAX_MEMBERS {
            Edit::Keep(Join::Full)
        } else {
            collection.member_user_ids.push(user.clone());
            Edit::Save(collection, Join::Done)
        }
    });
    let outcome = edited.await?.unwrap_or(Join::NoCollection);
    if outcome != Join::Done {
        data.collections.forget_membership(user, id, Some(&version)).await?;
    }
    Ok(outcome)
}

/// Ends the user's membership, if there is one.
///
/// # Errors
/// When a document could not be read or written.
pub async fn leave(data: &Data, user: &UserId, id: &CollectionId) -> Result<()> {
    // Before the collection is changed: a later join writes its own entry.
    let entry = data.collections.find_membership(user, id).await?;
    if let Some(Located { known, .. }) = locate(data, user, id, entry.as_ref()).await?
        && known.0.has_member(user)
    {
        let edited = data.collections.edit_known(known, |mut collection| {
            if !collection.has_member(user) {
                return Edit::Keep(());
            }
            collection.member_user_ids.retain(|member| member != user);
            Edit::Save(collection, ())
        });
        edited.await?;
    }
    match entry {
        Some((_, version)) => data.collections.forget_membership(user, id, Some(&version)).await,
        None => Ok(()),
    }
}

/// Deletes a collection of the user, if it exists, and its members' index entries.
///
/// # Errors
/// When the collection could not be deleted. A remaining entry is deleted when its user lists their collections.
pub async fn delete(data: &Data, owner: &UserId, id: &CollectionId) -> Result<()> {
    let Some(collection) = data.collections.delete(owner, id).await? else { return Ok(()) };
    let forgotten = collection
        .member_user_ids
        .into_iter()
        .map(|member| async move { data.collections.forget_membership(&member, id, None).await.err() });
    let failed: Vec<_> = stream::iter(forgotten).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = failed.into_iter().flatten().collect();
    if let Some(error) = failed.first() {
        warn!(entries = failed.len(), error = %Chain(error), "memberships of a deleted collection not deleted");
    }
    Ok(())
}

/// Adds an item of the user to one of their collections.
///
/// # Errors
/// When a document could not be read or written.
pub async fn add_item(data: &Data, owner: &UserId, id: &CollectionId, item: &ItemId) -> Result<Added> {
    let is_kept = async || {
        let found = data.wardrobe.find_kept(owner, std::slice::from_ref(item)).await?;
        Result::Ok(!found.is_empty())
    };
    let Some(known) = data.collections.find(owner, id).await? else { return Ok(Added::NoCollection) };
    if known.0.clothing_item_ids.contains(item) {
        return Ok(Added::Done);
    }
    if !is_kept().await? {
        return Ok(Added::NoItem);
    }
    let edited = data.collections.edit_known(known, |mut collection| {
        if collection.clothing_item_ids.contains(item) {
            Edit::Keep(Added::Done)
        } else if collection.clothing_item_ids.len() >= MAX_ITEMS {
            Edit::Keep(Added::Full)
        } else {
            collection.clothing_item_ids.push(item.clone());
            Edit::Save(collection, Added::Done)
        }
    });
    let outcome = edited.await?.unwrap_or(Added::NoCollection);
    // The item was deleted meanwhile, perhaps after its deletion searched for collections.
    if outcome == Added::Done && !is_kept().await? {
        remove_item(data, owner, id, item).await?;
        return Ok(Added::NoItem);
    }
    Ok(outcome)
}

/// Removes an item from a collection of the user, if it contains it.
///
/// # Errors
/// When a document could not be read or written.
pub async fn remove_item(data: &Data, owner: &UserId, id: &CollectionId, item: &ItemId) -> Result<()> {
    let edited = data.collections.edit(owner, id, |mut collection| {
        if !collection.clothing_item_ids.contains(item) {
            return Edit::Keep(());
        }
        collection.clothing_item_ids.retain(|held| held != item);
        Edit::Save(collection, ())
    });
    edited.await.map(Option::unwrap_or_default)
}

/// Removes an item from all collections of its owner. Call this after deleting the item.
///
/// # Errors
/// When a document could not be read or written.
pub async fn remove_from_all(data: &Data, owner: &UserId, item: &ItemId) -> Result<()> {
    for collection in data.collections.holding(owner, item).await? {
        remove_item(data, owner, &collection.id, item).await?;
    }
    Ok(())
}
