//! Wardrobe items, by owner.

use std::sync::Arc;

use futures::stream::{Stream, TryStreamExt};
use futures::{StreamExt, stream};
use serde_json::Value;

use super::{Result, pages};
use crate::model::ids::{ItemId, UserId};
use crate::model::numbers::ItemNumbers;
use crate::model::wardrobe::WardrobeItem;
use crate::store::{ChangeMark, Container, Direction, DocumentStore, Filter, Key, Query};

/// Concurrent reads when several items are looked up by id.
const CONCURRENT_READS: usize = 8;

/// Fields about wear and ownership.
const AS_WORN: &[&str] = &[
    "id",
    "userId",
    "category",
    "brand",
    "aestheticTags",
    "price",
    "wearCount",
    "lastWornAt",
    "wearEvents",
    "draftStatus",
    "isWishlisted",
];

/// Wardrobes of all users.
#[derive(Clone)]
pub struct Wardrobe(pub(super) Arc<dyn DocumentStore>);

impl Wardrobe {
    /// Returns the key of an item.
    pub fn key(user: &UserId, item: &ItemId) -> Key {
        Key::new(Container::Wardrobe, user.as_str(), item.as_str())
    }

    /// Streams all owned items of a user, in no particular order.
    pub fn owned(&self, user: &UserId) -> impl Stream<Item = Result<WardrobeItem>> + Send + '_ {
        pages::walk::<WardrobeItem>(&*self.0, Query::partition(Container::Wardrobe, user.as_str()).matching(is_owned()))
            .try_filter(|item| std::future::ready(item.is_owned()))
    }

    /// The numbers of all owned items of a user, in pages and no particular order, each turned into a `T` on a thread for
    /// such work. Elements are `None` for what is not owned.
    pub fn owned_numbers<T: Send + 'static>(
        &self,
        user: &UserId,
        convert: impl Fn(&ItemNumbers) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Vec<Option<T>>>> + Send + '_ {
        // Who owns nearly all of what is there reads it all: to look for the rest costs more than to pass it over.
        let query = Query::partition(Container::Wardrobe, user.as_str()).select(ItemNumbers::FIELDS);
        pages::converted_pages(&*self.0, query.limit(pages::PAGE_OF_SHORT), move |item: ItemNumbers| {
            item.is_owned().then(|| convert(&item))
        })
    }

    /// Returns a mark of the wardrobe's current state; `None` if the store has none.
    pub async fn changes(&self, user: &UserId) -> Result<Option<ChangeMark>> {
        Ok(self.0.changes(Container::Wardrobe, user.as_str()).await?)
    }

    /// Streams all owned items of a user, reduced to fields about wear.
    pub fn owned_as_worn(&self, user: &UserId) -> impl Stream<Item = Result<WardrobeItem>> + Send + '_ {
        let query = Query::partition(Container::Wardrobe, user.as_str()).matching(is_owned()).select(AS_WORN);
        pages::walk::<WardrobeItem>(&*self.0, query).try_filter(|item| std::future::ready(item.is_owned()))
    }

    /// Finds the newest owned items of a user.
    pub async fn newest_owned(&self, user: &UserId, limit: usize) -> Result<Vec<WardrobeItem>> {
        let query = Query::partition(Container::Wardrobe, user.as_str())
            .matching(is_owned())
            .order_by("dateAdded", Direction::Descending)
            .order_by("id", Direction::Ascending);
        pages::take(pages::walk(&*self.0, query), limit).await
    }

    /// Finds those of `ids` that the user owns, in the order of `ids`.
    pub async fn find_many(&self, user: &UserId, ids: &[ItemId]) -> Result<Vec<WardrobeItem>> {
        let keys: Vec<Key> = ids.iter().map(|id| Self::key(user, id)).collect();
        let reads = keys.into_iter().map(|key| {
            let store = self.0.clone();
            async move {
                let stored = store.read(&key).await?;
                Ok::<_, super::Error>(stored.and_then(|stored| pages::parse::<WardrobeItem>(key.container, &stored)))
            }
        });
        let found: Vec<_> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
        Ok(found.into_iter().flatten().filter(WardrobeItem::is_owned).collect())
    }
}

/// Returns a filter for owned items: neither drafts nor wishes. Absent and null both mean no.
fn is_owned() -> Filter {
    Filter::All(vec![
        Filter::is_absent("draftStatus"),
        Filter::Any(vec![Filter::is_absent("isWishlisted"), Filter::not_equal("isWishlisted", Value::Bool(true))]),
    ])
}
