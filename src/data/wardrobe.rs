//! Wardrobe items, by owner.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{Stream, TryStreamExt};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::creations::Creations;
use super::update::{self, Edit};
use super::wear_events::WearEvents;
use super::wears::{self, NewWear};
use super::{Result, pages, records};
use crate::base::chain::Chain;
use crate::base::hash::sha256_hex_of;
use crate::model::ids::{ItemId, UserId};
use crate::model::lenient;
use crate::model::numbers::ItemNumbers;
use crate::model::wardrobe::WardrobeItem;
use crate::store::{self, ChangeMark, Container, Direction, DocumentStore, ETag, Filter, Key, Query};

/// Most items of a user, drafts and wishes included.
pub const MOST_ITEMS: u64 = 25_000;
/// Items that a user creates between two counts.
const UNCOUNTED: u32 = 100;

/// Concurrent reads when several items are looked up by id.
const CONCURRENT_READS: usize = 8;

/// Fields about wear and ownership, and of the order by age.
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
    "dateAdded",
    "draftStatus",
    "isWishlisted",
];

/// The fields that belong to the owner: [`Wardrobe::replace_fields`] replaces these and keeps all others.
pub const OWN_FIELDS: [&str; 13] = [
    "tags",
    "colours",
    "brand",
    "category",
    "price",
    "notes",
    "estimatedMarketValue",
    "purchaseDate",
    "careInfo",
    "condition",
    "size",
    "aestheticTags",
    "isWishlisted",
];

/// Outcome of [`Wardrobe::replace_fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced<E> {
    /// The fields are saved.
    Saved,
    /// There is no such item.
    Missing,
    /// The change was refused, for this reason.
    Rejected(E),
}

/// Outcome of [`Wardrobe::add_wear`].
#[derive(Debug)]
pub enum Worn {
    /// The wear is counted.
    Counted(Box<WardrobeItem>),
    /// The wear was already counted.
    Repeated(Box<WardrobeItem>),
    /// The item is a draft.
    Draft,
    /// There is no such item.
    Missing,
}

/// Field by which a list of items is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOrder {
    /// When the item was added.
    DateAdded,
    /// Number of wears.
    WearCount,
    /// Purchase price.
    Price,
}

impl ItemOrder {
    /// Returns the name of the field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::DateAdded => "dateAdded",
            Self::WearCount => "wearCount",
            Self::Price => "price.amount",
        }
    }
}

/// Filters and order of a list of items.
#[derive(Debug, Clone)]
pub struct ItemsQuery {
    /// Category, in any case.
    pub category: Option<String>,
    /// Brand, in any case.
    pub brand: Option<String>,
    /// Condition.
    pub condition: Option<&'static str>,
    /// Only items with one of these tags; all if empty.
    pub tags: Vec<String>,
    /// Only items with one of these style words; all if empty.
    pub aesthetic_tags: Vec<String>,
    /// Least and largest price.
    pub price: (Option<f64>, Option<f64>),
    /// Least and largest number of wears.
    pub wears: (Option<i64>, Option<i64>),
    /// Whether wishes are listed too.
    pub with_wishes: bool,
    /// Field of the order. Items that lack it come first in ascending order, last in descending order.
    pub order: ItemOrder,
    /// Direction of the order. Ties are ordered by id in the opposite direction.
    pub direction: Direction,
    /// Token of the page.
    pub after: Option<String>,
    /// Items per page; fewer if they are unusually large.
    pub limit: usize,
}

impl ItemsQuery {
    fn question(&self, user: &UserId) -> Query {
        let mut filters = Vec::new();
        let text = |field, text: &Option<String>| text.clone().map(|text| Filter::EqualIgnoringCase(field, text));
        filters.extend(text("category", &self.category));
        filters.extend(text("brand", &self.brand));
        filters.extend(self.condition.map(|condition| Filter::equal("condition", condition)));
        for (list, elements) in [("tags", &self.tags), ("aestheticTags", &self.aesthetic_tags)] {
            let has = |element: &String| Filter::Contains(list, element.as_str().into());
            if !elements.is_empty() {
                filters.push(Filter::Any(elements.iter().map(has).collect()));
            }
        }
        let mut bounds = |field, least: Option<Value>, most: Option<Value>| {
            filters.extend(least.map(|least| Filter::at_least(field, least)));
            filters.extend(most.map(|most| Filter::at_most(field, most)));
        };
        bounds("price.amount", self.price.0.map(Value::from), self.price.1.map(Value::from));
        bounds("wearCount", self.wears.0.map(Value::from), self.wears.1.map(Value::from));
        if !self.with_wishes {
            filters.push(is_no_wish());
        }
        filters.push(Filter::is_absent("draftStatus"));
        let by_id = match self.direction {
            Direction::Descending => Direction::Ascending,
            Direction::Ascending => Direction::Descending,
        };
        Query::partition(Container::Wardrobe, user.as_str())
            .matching(Filter::All(filters))
            .order_by(self.order.field(), self.direction)
            .order_by("id", by_id)
            .limit(self.limit)
            .most_bytes(pages::PAGE_BYTES)
    }

    /// Whether the token, if there is one, belongs to this query of the user.
    pub fn continues(&self, user: &UserId) -> bool {
        self.after.is_none() || self.place(&self.fingerprint(user)).is_some()
    }

    /// Returns the store's part of the token, if the token belongs to the query with this fingerprint.
    fn place(&self, fingerprint: &str) -> Option<&str> {
        let (of, place) = self.after.as_deref()?.split_once('.')?;
        (of == fingerprint).then_some(place)
    }

    /// Returns a hash that identifies the user's query.
    fn fingerprint(&self, user: &UserId) -> String {
        let Self { category, brand, condition, tags, aesthetic_tags, price, wears, with_wishes, .. } = self;
        let lower = |text: &Option<String>| text.as_deref().map(str::to_lowercase);
        let filters = json!([
            user,
            lower(category),
            lower(brand),
            condition,
            tags,
            aesthetic_tags,
            price,
            wears,
            with_wishes,
            self.order.field(),
            self.direction == Direction::Ascending,
        ]);
        let hash = sha256_hex_of([filters.to_string().as_bytes()]);
        hash[..16].to_owned()
    }
}

/// The fields that determine which picture an item shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Item id.
    pub id: ItemId,
    /// Owner.
    pub user_id: UserId,
    /// Picture URL.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub image_url: Option<String>,
}

/// Wardrobes of all users.
#[derive(Clone)]
pub struct Wardrobe(Arc<dyn DocumentStore>, Arc<Creations>);

impl Wardrobe {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store, Arc::new(Creations::new(MOST_ITEMS, UNCOUNTED)))
    }

    /// Returns the key of an item.
    pub fn key(user: &UserId, item: &ItemId) -> Key {
        Key::new(Container::Wardrobe, user.as_str(), item.as_str())
    }

    /// Finds an item (a garment, a wish or a draft) and its version.
    pub async fn find(&self, user: &UserId, item: &ItemId) -> Result<Option<(WardrobeItem, ETag)>> {
        records::find_version(&*self.0, &Self::key(user, item)).await
    }

    /// Streams all owned items of a user, in no particular order.
    pub fn owned(&self, user: &UserId) -> impl Stream<Item = Result<WardrobeItem>> + Send + '_ {
        pages::walk::<WardrobeItem>(&*self.0, Query::partition(Container::Wardrobe, user.as_str()).matching(is_owned()))
            .try_filter(|item| std::future::ready(item.is_owned()))
    }

    /// Streams the numbers of all owned items of a user, in pages and no particular order, each converted to a `T` on a
    /// blocking thread. Elements are `None` for items that are not owned.
    pub fn owned_numbers<T: Send + 'static>(
        &self,
        user: &UserId,
        convert: impl Fn(&ItemNumbers) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Vec<Option<T>>>> + Send + '_ {
        // Users own nearly all of their items, so reading everything and skipping the rest is cheaper than filtering.
        let query = Query::partition(Container::Wardrobe, user.as_str()).select(ItemNumbers::FIELDS);
        pages::converted_pages(&*self.0, query.limit(pages::PAGE_OF_SHORT), move |item: ItemNumbers| {
            item.is_owned().then(|| convert(&item))
        })
    }

    /// Counts the user's items, drafts and wishes included.
    pub async fn count(&self, user: &UserId) -> Result<u64> {
        Ok(self.0.count(&Query::partition(Container::Wardrobe, user.as_str())).await?)
    }

    /// Whether the user may have another item: about [`MOST_ITEMS`] are allowed. Call this before creating one.
    pub async fn has_room(&self, user: &UserId) -> Result<bool> {
        self.1.admit(user, self.count(user)).await
    }

    /// Returns a token that identifies the wardrobe's current state; `None` if the store does not track changes.
    pub async fn changes(&self, user: &UserId) -> Result<Option<ChangeMark>> {
        Ok(self.0.changes(Container::Wardrobe, user.as_str()).await?)
    }

    /// Streams all owned items of a user, reduced to fields about wear.
    pub fn owned_as_worn(&self, user: &UserId) -> impl Stream<Item = Result<WardrobeItem>> + Send + '_ {
        let query = Query::partition(Container::Wardrobe, user.as_str()).matching(is_owned()).select(AS_WORN);
        pages::walk::<WardrobeItem>(&*self.0, query).try_filter(|item| std::future::ready(item.is_owned()))
    }

    /// Finds the newest owned items of a user, reduced to fields about wear.
    pub async fn newest_owned(&self, user: &UserId, limit: usize) -> Result<Vec<WardrobeItem>> {
        let query = Query::partition(Container::Wardrobe, user.as_str())
            .matching(is_owned())
            .descending_by("dateAdded")
            .select(AS_WORN);
        pages::take(pages::walk(&*self.0, query), limit).await
    }

    /// Finds those of `ids` that the user has, in the order of `ids`: owned items and wishes, not drafts.
    pub async fn find_kept(&self, user: &UserId, ids: &[ItemId]) -> Result<Vec<WardrobeItem>> {
        let mut found: HashMap<ItemId, WardrobeItem> = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(pages::PAGE_OF_LONG) {
            let query = Query::partition(Container::Wardrobe, user.as_str())
                .matching(Filter::In("id", ids.iter().map(|id| id.as_str().into()).collect()))
                .matching(Filter::is_absent("draftStatus"))
                .limit(ids.len());
            let items: Vec<WardrobeItem> = pages::take(pages::walk(&*self.0, query), ids.len()).await?;
            found.extend(items.into_iter().map(|item| (item.id.clone(), item)));
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// Finds those of `ids` that exist (garments, wishes or drafts), in the order of `ids`.
    pub async fn find_all(&self, user: &UserId, ids: &[ItemId]) -> Result<Vec<WardrobeItem>> {
        let keys: Vec<Key> = ids.iter().map(|id| Self::key(user, id)).collect();
        let reads = keys.into_iter().map(|key| {
            let store = self.0.clone();
            async move { records::find::<WardrobeItem>(&*store, &key).await }
        });
        let found: Vec<_> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Finds those of `ids` that the user owns, in the order of `ids`.
    pub async fn find_many(&self, user: &UserId, ids: &[ItemId]) -> Result<Vec<WardrobeItem>> {
        let mut found = self.find_all(user, ids).await?;
        found.retain(WardrobeItem::is_owned);
        Ok(found)
    }

    /// Lists a page of garments, and wishes if the query includes them, with the token of the next page. Drafts are
    /// never listed. A token of another query starts from the beginning.
    pub async fn page(&self, user: &UserId, query: &ItemsQuery) -> Result<(Vec<WardrobeItem>, Option<String>)> {
        let asked = query.question(user);
        let fingerprint = query.fingerprint(user);
        let after = query.place(&fingerprint).map(str::to_owned);
        let (items, next) = pages::page_and_next(&*self.0, &asked.after(after)).await?;
        Ok((items, next.map(|token| format!("{fingerprint}.{token}"))))
    }

    /// Creates an item from its document; returns `false` if the id exists.
    pub async fn create(&self, user: &UserId, item: &ItemId, document: &Value) -> Result<bool> {
        update::won(self.0.create(&Self::key(user, item), document).await)
    }

    /// Replaces the fields with these names, which are among those [of the owner](OWN_FIELDS), with those that `change`
    /// returns for the stored item and its version; a missing one is cleared. All other fields are kept, so a client's
    /// outdated copy does not undo wears. An item without a picture gets `picture`. Nothing changes if `change` fails.
    pub async fn replace_fields<E>(
        &self,
        user: &UserId,
        item: &ItemId,
        names: &[&str],
        picture: Option<&str>,
        change: impl Fn(&Map<String, Value>, Option<&ETag>) -> std::result::Result<Map<String, Value>, E>,
    ) -> Result<Replaced<E>> {
        let edit = |found: Option<Map<String, Value>>, version: Option<&ETag>| {
            let Some(mut item) = found else { return Edit::Keep(Replaced::Missing) };
            let mut fields = match change(&item, version) {
                Ok(fields) => fields,
                Err(rejected) => return Edit::Keep(Replaced::Rejected(rejected)),
            };
            for name in names {
                match fields.remove(*name) {
                    Some(value) => item.insert((*name).to_owned(), value),
                    None => item.remove(*name),
                };
            }
            if let (Some(picture), None) = (picture, item.get("imageUrl").and_then(Value::as_str)) {
                item.insert("imageUrl".to_owned(), picture.into());
            }
            Edit::Save(item, Replaced::Saved)
        };
        update::update_versioned(update::ATTEMPTS, &*self.0, &Self::key(user, item), edit).await
    }

    /// Deletes and returns an item; `None` if there is none.
    pub async fn delete(&self, user: &UserId, item: &ItemId) -> Result<Option<WardrobeItem>> {
        let key = Self::key(user, item);
        let Some(stored) = self.0.read(&key).await? else { return Ok(None) };
        let deleted = self.0.delete(&key, None).await?;
        Ok(if deleted { records::parse(Container::Wardrobe, &stored) } else { None })
    }

    /// Counts a wear of an item, once per `action`.
    ///
    /// The item's document is authoritative: one write of it counts the wear, records the action and keeps the wear
    /// event until the event has its own document. So a crash in between loses nothing, and a counted wear can always
    /// be found, in the item or in its event, however many others follow.
    pub async fn add_wear(&self, user: &UserId, item: &ItemId, wear: &NewWear) -> Result<Worn> {
        let key = Self::key(user, item);
        for attempt in 0..update::ATTEMPTS {
            update::pause_before(attempt).await;
            let Some(stored) = self.0.read(&key).await? else { return Ok(Worn::Missing) };
            let mut document: Map<String, Value> = stored.parse()?;
            if document.get("draftStatus").is_some_and(|status| !status.is_null()) {
                return Ok(Worn::Draft);
            }
            let is_counted = async {
                match &wear.action {
                    Some(action) if wears::has_action(&document, action) => Ok(true),
                    Some(_) => self.events().exists(user, &wear.event_id).await,
                    None => Ok(false),
                }
            };
            // The order matters: an event's document must exist before the item drops the event.
            let ((), is_counted) = tokio::try_join!(self.save_pending_events(user, &document), is_counted)?;
            if is_counted {
                return Ok(Worn::Repeated(Box::new(serde_json::from_value(document.into())?)));
            }
            wears::count(&mut document, wear);
            let document = Value::Object(document);
            match self.0.replace(&key, &document, &stored.etag).await {
                Ok(_) => {
                    if let Err(error) = self.events().create(user, &wear.event_id, &wear.event).await {
                        warn!(user.id = %user, error = %Chain(&error), "wear event saved by the item's next wear");
                    }
                    return Ok(Worn::Counted(Box::new(serde_json::from_value(document)?)));
                }
                Err(store::Error::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(super::Error::Contended)
    }

    fn events(&self) -> WearEvents {
        WearEvents(self.0.clone())
    }

    /// Saves wear events that exist only in the item's document because a process died after counting them.
    pub async fn save_pending_events(&self, user: &UserId, item: &Map<String, Value>) -> Result<()> {
        for (id, event) in wears::pending(item) {
            if !self.events().exists(user, &id).await? {
                self.events().create(user, &id, &event).await?;
            }
        }
        Ok(())
    }

    /// Finds all items with one of these ids, of any owner, including drafts and wishes.
    pub async fn find_all_users(&self, ids: &[ItemId]) -> Result<Vec<Shown>> {
        pages::walk(&*self.0, all_users_query(ids)).try_collect().await
    }
}

/// Builds the query of [`Wardrobe::find_all_users`].
pub fn all_users_query(ids: &[ItemId]) -> Query {
    let ids = ids.iter().map(|id| id.as_str().into()).collect();
    Query::all(Container::Wardrobe)
        .matching(Filter::In("id", ids))
        .order_by("id", Direction::Ascending)
        .select(&["id", "userId", "imageUrl"])
}

/// Returns a filter for owned items: neither drafts nor wishes. Absent and null both mean no.
fn is_owned() -> Filter {
    Filter::All(vec![Filter::is_absent("draftStatus"), is_no_wish()])
}

fn is_no_wish() -> Filter {
    Filter::Any(vec![Filter::is_absent("isWishlisted"), Filter::not_equal("isWishlisted", Value::Bool(true))])
}
