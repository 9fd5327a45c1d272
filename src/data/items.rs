//! Things found in feeds and on brands' sites.

use std::cmp::Ordering;
use std::sync::Arc;

use futures::stream::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::try_join;

use super::update::{self, Edit};
use super::{Result, pages};
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::{FeedItem, KnownItem, NewItem, ScrapedItem};
use crate::model::lenient;
use crate::model::perceptual_hash::PerceptualHash;
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{self, Container, Direction, DocumentStore, Filter, Key, Page, Query, Scope, Stored};

/// Partition of the items that everybody sees.
pub const GLOBAL: &str = "global";

/// Known items that one look-up takes in at most.
const MOST_WITH_PAGES: usize = 1000;

const SEARCH_FIELDS: &[&str] =
    &["id", "sourceId", "title", "imageUrl", "productUrl", "buyLinks", "tags", "scoreSignal", "embedding"];

/// The scraped items of all partitions.
#[derive(Clone)]
pub struct Items(Arc<dyn DocumentStore>);

/// The order of the feed. Items that lack its field come last; ties, and those, are in the order of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FeedOrder {
    /// The most liked first.
    #[default]
    Score,
    /// The newest first.
    Recent,
}

impl FeedOrder {
    const fn field(self) -> &'static str {
        match self {
            Self::Score => "scoreSignal",
            Self::Recent => "scrapedAt",
        }
    }

    /// Whether a document's field counts: anything else makes the document none that can be sorted.
    fn is_key(self, value: &Value) -> bool {
        match self {
            Self::Score => value.is_number(),
            Self::Recent => value.is_string(),
        }
    }

    /// The items that have the field.
    fn has_key(self) -> Filter {
        let least = match self {
            Self::Score => Value::from(i64::MIN),
            Self::Recent => Value::from(""),
        };
        Filter::Compare(self.field(), Comparison::GreaterOrEqual, least)
    }
}

/// Which items of the feed, in what order.
#[derive(Debug, Clone, Default)]
pub struct FeedQuery {
    /// The order.
    pub order: FeedOrder,
    /// Only of these sources; of all when empty.
    pub sources: Vec<String>,
    /// Only with one of these tags, in whatever case; with any when empty.
    pub tags: Vec<String>,
    /// Only what appeared at its source since, or was found since if it does not say when that was.
    pub since: Option<Timestamp>,
    /// Length of the page.
    pub limit: usize,
    /// Where the page before this one ended.
    pub after: Option<FeedPosition>,
    /// Who reads: the items of their own sources are among those that everybody sees.
    pub reader: Option<UserId>,
}

/// A place in the feed: the last item of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Value of the field that the feed is sorted by; null if the item lacks it.
    #[serde(rename = "k")]
    key: Value,
    /// The item.
    id: String,
}

impl FeedPosition {
    /// Whether it can be a place in this order.
    pub fn fits(&self, order: FeedOrder) -> bool {
        self.key.is_null() || order.is_key(&self.key)
    }

    /// Which of two comes first, of items that both have the field, or both lack it.
    fn compare(&self, other: &Self) -> Ordering {
        let keys = match (&self.key, &other.key) {
            (Value::String(one), Value::String(other)) => other.cmp(one),
            (one, other) => match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => other.total_cmp(&one),
                _ => Ordering::Equal,
            },
        };
        keys.then_with(|| self.id.cmp(&other.id))
    }
}

/// A page of the feed.
#[derive(Debug)]
pub struct FeedPage {
    /// The items.
    pub items: Vec<FeedItem>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<FeedPosition>,
}

impl Items {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// Where an item that everybody sees is stored.
    pub fn key(item: &ScrapedItemId) -> Key {
        Key::new(Container::ScrapedItems, GLOBAL, item.as_str())
    }

    /// Where an item can be stored that this user sees: with those of everybody, or with their own.
    pub fn keys_for(user: &UserId, item: &ScrapedItemId) -> [Key; 2] {
        [Self::key(item), Key::new(Container::ScrapedItems, user.as_str(), item.as_str())]
    }

    /// The item of this id that this user sees.
    pub async fn find_for(&self, user: &UserId, item: &ScrapedItemId) -> Result<Option<FeedItem>> {
        for key in Self::keys_for(user, item) {
            if let Some(stored) = self.0.read(&key).await? {
                return Ok(pages::parse(Container::ScrapedItems, &stored));
            }
        }
        Ok(None)
    }

    /// The vectors of the global pool, of items whose picture is still there, in pages: the newest first, and last those of
    /// which nobody knows when they were found. `convert` is run on a thread for such work.
    pub fn vectors<T: Send + 'static>(
        &self,
        convert: impl Fn(ItemVector) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Vec<T>>> + Send + '_ {
        let all = Query::partition(Container::ScrapedItems, GLOBAL).matching(has_image()).select(&["id", "embedding"]);
        let newest = all.clone().matching(FeedOrder::Recent.has_key());
        let newest = newest.order_by("scrapedAt", Direction::Descending).order_by("id", Direction::Ascending);
        let undated = all.matching(Filter::is_absent("scrapedAt"));
        let pages = |query: Query| pages::converted_pages(&*self.0, query.limit(pages::PAGE_OF_LONG), convert.clone());
        pages(newest).chain(pages(undated))
    }

    /// Those of these items of the global pool whose picture is still there, in no order, with their vectors.
    pub async fn find_many(&self, ids: &[Arc<str>]) -> Result<Vec<ScrapedItem>> {
        let wanted = Filter::In("id", ids.iter().map(|id| Value::from(&**id)).collect());
        let query = Query::partition(Container::ScrapedItems, GLOBAL)
            .matching(wanted)
            .matching(has_image())
            .select(SEARCH_FIELDS)
            .limit(ids.len());
        let found = self.0.query(&query).await?.documents;
        pages::convert(Container::ScrapedItems, found, |item| item).await
    }

    /// The items of the global pool whose picture is still there that are nearest to `vector`; `None` if the store has no
    /// index of vectors.
    pub async fn nearest(&self, vector: &[f32], limit: usize) -> Result<Option<Vec<ScrapedItem>>> {
        let query =
            Query::partition(Container::ScrapedItems, GLOBAL).matching(has_image()).select(SEARCH_FIELDS).limit(limit);
        let Some(found) = self.0.nearest(&query, "embedding", vector).await? else { return Ok(None) };
        pages::convert(Container::ScrapedItems, found, |item| item).await.map(Some)
    }

    /// The ids of the global pool: all of them, or those of items found since.
    pub fn ids(&self, since: Option<Timestamp>) -> impl Stream<Item = Result<String>> + Send + '_ {
        let mut query = Query::partition(Container::ScrapedItems, GLOBAL).select(&["id"]);
        if let Some(since) = since {
            query = query.matching(found_since(since)).order_by("scrapedAt", Direction::Descending);
        }
        pages::walk(&*self.0, query).map_ok(|Named { id }| id)
    }

    /// Those items of a partition that have one of these pages: more than one item can have the same.
    pub async fn with_pages(&self, partition: &str, urls: &[String]) -> Result<Vec<KnownItem>> {
        let urls = urls.iter().map(|url| url.as_str().into()).collect();
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::In("productUrl", urls))
            // In the order of the index that serves it.
            .order_by("productUrl", Direction::Ascending)
            .select(KnownItem::FIELDS);
        pages::take(pages::walk(&*self.0, query), MOST_WITH_PAGES).await
    }

    /// Writes an item that was found; whether there was none of its id.
    pub async fn add(&self, item: &NewItem) -> Result<bool> {
        let key = Key::new(Container::ScrapedItems, &item.user_id, item.id.as_str());
        match self.0.create(&key, &serde_json::to_value(item)?).await {
            Ok(_) => Ok(true),
            Err(store::Error::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Items of a partition that were written without their vectors, at most `limit`.
    pub async fn without_vectors(&self, partition: &str, limit: usize) -> Result<Vec<FeedItem>> {
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::equal("needsEmbedding", true))
            .select(FeedItem::FIELDS)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// The items of a partition that have these ids, as far as they are there.
    pub async fn find_in(&self, partition: &str, ids: &[ScrapedItemId]) -> Result<Vec<FeedItem>> {
        let ids = ids.iter().map(|id| id.as_str().into()).collect();
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::In("id", ids))
            .select(FeedItem::FIELDS);
        pages::take(pages::walk(&*self.0, query), MOST_WITH_PAGES).await
    }

    /// Gives an item its vector, unless it is gone or somebody else did; whether it did.
    pub async fn fill_vector(&self, partition: &str, id: &ScrapedItemId, vector: &[f64]) -> Result<bool> {
        let key = Key::new(Container::ScrapedItems, partition, id.as_str());
        update::update(&*self.0, &key, |found: Option<Map<String, Value>>| {
            let Some(mut item) = found else { return Edit::Keep(false) };
            let has_vector = item.get("embedding").and_then(Value::as_array).is_some_and(|numbers| !numbers.is_empty());
            if item.remove("needsEmbedding").is_none() && has_vector {
                return Edit::Keep(false);
            }
            if !has_vector {
                item.insert("embedding".to_owned(), vector.into());
            }
            Edit::Save(item, !has_vector)
        })
        .await
    }

    /// The hashes of the pictures of a partition: all of them, or those of items found since. A hash that cannot be read
    /// counts as missing.
    pub fn hashes(
        &self,
        partition: &str,
        since: Option<Timestamp>,
    ) -> impl Stream<Item = Result<PerceptualHash>> + Send + '_ {
        let mut query = Query::partition(Container::ScrapedItems, partition).select(&["id", "pHash"]);
        if let Some(since) = since {
            query = query.matching(found_since(since)).order_by("scrapedAt", Direction::Descending);
        }
        pages::walk(&*self.0, query)
            .try_filter_map(|item: Hashed| async move { Ok(item.p_hash.and_then(|hash| hash.parse().ok())) })
    }

    /// The best items of the global pool whose picture is still there.
    pub async fn best(&self, limit: usize) -> Result<Vec<FeedItem>> {
        let query = Query::partition(Container::ScrapedItems, GLOBAL)
            .matching(has_image())
            .select(FeedItem::FIELDS)
            .order_by("scoreSignal", Direction::Descending)
            .order_by("id", Direction::Ascending)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// A page of the feed.
    pub async fn feed(&self, query: &FeedQuery) -> Result<FeedPage> {
        // One more than asked for tells whether there is another page.
        let wanted = query.limit + 1;
        let mut found: Vec<Stored> = Vec::with_capacity(wanted);
        for stretch in feed_stretches(query) {
            let room = wanted - found.len();
            found.extend(self.stretch(stretch.limit(room), query).await?);
            if found.len() >= wanted {
                break;
            }
        }
        let has_more = found.len() > query.limit;
        found.truncate(query.limit);
        let last = found.last().filter(|_| has_more);
        let next = last.map(|stored| position(stored, query.order)).transpose()?;
        let items = found.iter().filter_map(|stored| pages::parse(Container::ScrapedItems, stored)).collect();
        Ok(FeedPage { items, next })
    }

    /// The documents of one stretch of the feed, those of the reader's own partition among those of everybody's.
    async fn stretch(&self, stretch: Query, query: &FeedQuery) -> Result<Vec<Stored>> {
        let Some(reader) = query.reader.as_ref().filter(|reader| reader.as_str() != GLOBAL) else {
            return self.in_order(&stretch, query.order).await;
        };
        let own = Query { scope: Scope::Partition(reader.as_str().to_owned()), ..stretch.clone() };
        let (shared, own) = try_join!(self.in_order(&stretch, query.order), self.in_order(&own, query.order))?;
        if own.is_empty() {
            return Ok(shared);
        }
        let both = shared.into_iter().chain(own);
        let mut both = both
            .map(|stored| Ok((position(&stored, query.order)?, stored)))
            .collect::<Result<Vec<(FeedPosition, Stored)>>>()?;
        both.sort_by(|(one, _), (other, _)| one.compare(other));
        Ok(both.into_iter().map(|(_, stored)| stored).take(stretch.limit).collect())
    }

    /// The documents of a stretch in the order of the feed, which its positions rely on. From a store that does not sort
    /// what ties, those that tie with the last one are asked for once more, in the order of their ids alone.
    async fn in_order(&self, stretch: &Query, order: FeedOrder) -> Result<Vec<Stored>> {
        let Page { mut documents, next, loose_ties } = self.0.query(stretch).await?;
        let Some(last) = documents.last().filter(|_| loose_ties && next.is_some()) else { return Ok(documents) };
        let key = position(last, order)?.key;
        let mut before = 0;
        while position(&documents[before], order)?.key != key {
            before += 1;
        }
        documents.truncate(before);
        let tied = stretch.clone().matching(Filter::equal(order.field(), key)).limit(stretch.limit - before);
        documents.extend(self.0.query(&tied).await?.documents);
        Ok(documents)
    }
}

/// The vector of an item.
#[derive(Debug, Deserialize)]
pub struct ItemVector {
    /// The item.
    pub id: String,
    /// Its vector; empty until it has one.
    #[serde(default, deserialize_with = "lenient::numbers")]
    pub embedding: Vec<f32>,
}

/// An item, as far as it must be told from others.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// An item, as far as duplicates are concerned.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hashed {
    #[serde(default, deserialize_with = "lenient::optional")]
    p_hash: Option<String>,
}

fn found_since(since: Timestamp) -> Filter {
    Filter::Compare("scrapedAt", Comparison::GreaterOrEqual, since.to_string().into())
}

fn has_image() -> Filter {
    // As short as it gets: the emulator takes twice as long for every bracket within brackets.
    let is_missing = Filter::Not(Box::new(Filter::is_defined("imageExpired")));
    Filter::Any(vec![is_missing, Filter::not_equal("imageExpired", Value::Bool(true))])
}

/// The rest of the feed after the query's position as queries to be run one after the other until a page is full. Each is
/// one stretch of the index: what ties with the position, what comes after it, what lacks the field.
pub fn feed_stretches(query: &FeedQuery) -> Vec<Query> {
    let field = query.order.field();
    let mut all = Query::partition(Container::ScrapedItems, GLOBAL).select(FeedItem::FIELDS);
    if !query.sources.is_empty() {
        all = all.matching(Filter::In("sourceId", query.sources.iter().map(|source| source.as_str().into()).collect()));
    }
    if !query.tags.is_empty() {
        all = all.matching(Filter::ContainsAny("tags", query.tags.clone()));
    }
    if let Some(since) = query.since {
        let dated = &["sourceCreatedAt", "scrapedAt"];
        all = all.matching(Filter::CompareFirst(dated, Comparison::GreaterOrEqual, since.to_string().into()));
    }
    let all = all.order_by(field, Direction::Descending).order_by("id", Direction::Ascending);
    let beyond = |id: &str| Filter::Compare("id", Comparison::Greater, id.into());
    let lacking = || all.clone().matching(Filter::is_absent(field));
    match &query.after {
        None => vec![all.clone().matching(query.order.has_key()), lacking()],
        Some(FeedPosition { key: Value::Null, id }) => vec![lacking().matching(beyond(id))],
        Some(FeedPosition { key, id }) => vec![
            all.clone().matching(Filter::equal(field, key.clone())).matching(beyond(id)),
            all.clone().matching(Filter::Compare(field, Comparison::Less, key.clone())),
            lacking(),
        ],
    }
}

fn position(stored: &Stored, order: FeedOrder) -> Result<FeedPosition> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Keys {
        id: String,
        #[serde(default)]
        score_signal: Value,
        #[serde(default)]
        scraped_at: Value,
    }
    let Keys { id, score_signal, scraped_at } = stored.parse()?;
    let key = match order {
        FeedOrder::Score => score_signal,
        FeedOrder::Recent => scraped_at,
    };
    Ok(FeedPosition { key, id })
}
