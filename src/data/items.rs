//! Items of the discover feed.

use std::cmp::Ordering;
use std::sync::Arc;

use futures::stream::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::try_join;

use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::imaging::phash::PerceptualHash;
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::item::{FeedItem, KnownItem, NewItem, ScrapedItem};
use crate::model::lenient;
use crate::model::timestamp::Timestamp;
use crate::store::query::Comparison;
use crate::store::{Container, Direction, DocumentStore, Filter, Key, Page, Query, Scope, Stored};

/// Partition of global items.
pub const GLOBAL: &str = "global";

/// Most known items in one look-up.
const MOST_WITH_PAGES: usize = 1000;

const SEARCH_FIELDS: &[&str] =
    &["id", "sourceId", "title", "imageUrl", "productUrl", "buyLinks", "tags", "scoreSignal", "embedding"];

/// Items of all partitions.
#[derive(Clone)]
pub struct Items(pub(super) Arc<dyn DocumentStore>);

/// Order of the feed. Items without the sort field come last; ties are ordered by id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FeedOrder {
    /// Highest score first.
    #[default]
    Score,
    /// Newest first.
    Recent,
}

impl FeedOrder {
    const fn field(self) -> &'static str {
        match self {
            Self::Score => "scoreSignal",
            Self::Recent => "scrapedAt",
        }
    }

    /// Whether the field's value can be sorted by.
    fn is_key(self, value: &Value) -> bool {
        match self {
            Self::Score => value.is_number(),
            Self::Recent => value.is_string(),
        }
    }

    /// Returns a filter for items with the sort field.
    fn has_key(self) -> Filter {
        let least = match self {
            Self::Score => Value::from(i64::MIN),
            Self::Recent => Value::from(""),
        };
        Filter::at_least(self.field(), least)
    }
}

/// Parameters of a feed page.
#[derive(Debug, Clone, Default)]
pub struct FeedQuery {
    /// Order.
    pub order: FeedOrder,
    /// Only items of these sources; all if empty.
    pub sources: Vec<String>,
    /// Only items with one of these tags, ignoring case; all if empty.
    pub tags: Vec<String>,
    /// Only items published since, or scraped since if the publication time is unknown.
    pub since: Option<Timestamp>,
    /// Page size.
    pub limit: usize,
    /// Position after which the page starts.
    pub after: Option<FeedPosition>,
    /// The reader, whose own sources are included.
    pub reader: Option<UserId>,
}

/// Position in the feed: the last item of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Value of the sort field; null if the item lacks it.
    #[serde(rename = "k")]
    key: Value,
    /// Item id.
    id: String,
}

impl FeedPosition {
    /// Whether the position is valid in this order.
    pub fn fits(&self, order: FeedOrder) -> bool {
        self.key.is_null() || order.is_key(&self.key)
    }

    /// Compares the positions of two items that both have the sort field, or both lack it.
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
    /// Items.
    pub items: Vec<FeedItem>,
    /// Position of the next page; `None` at the end.
    pub next: Option<FeedPosition>,
}

impl Items {
    /// Returns the key of a global item.
    pub fn key(item: &ScrapedItemId) -> Key {
        Key::new(Container::ScrapedItems, GLOBAL, item.as_str())
    }

    /// Returns the possible keys of an item that the user sees: global, or their own.
    pub fn keys_for(user: &UserId, item: &ScrapedItemId) -> [Key; 2] {
        [Self::key(item), Key::new(Container::ScrapedItems, user.as_str(), item.as_str())]
    }

    /// Streams the embeddings of global items whose picture is available, in pages: newest first, items of unknown age
    /// last. `convert` runs on a blocking thread.
    pub fn vectors<T: Send + 'static>(
        &self,
        convert: impl Fn(ItemVector) -> T + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<Vec<T>>> + Send + '_ {
        let all = Query::partition(Container::ScrapedItems, GLOBAL).matching(has_image()).select(&["id", "embedding"]);
        let newest = all.clone().matching(FeedOrder::Recent.has_key());
        let newest = newest.descending_by("scrapedAt");
        let undated = all.matching(Filter::is_absent("scrapedAt"));
        let pages = |query: Query| pages::converted_pages(&*self.0, query.limit(pages::PAGE_OF_LONG), convert.clone());
        pages(newest).chain(pages(undated))
    }

    /// Finds global items whose picture is available, with embeddings, in any order.
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

    /// Finds the global items nearest to `vector` whose picture is available; `None` if the store has no vector index.
    pub async fn nearest(&self, vector: &[f32], limit: usize) -> Result<Option<Vec<ScrapedItem>>> {
        let query =
            Query::partition(Container::ScrapedItems, GLOBAL).matching(has_image()).select(SEARCH_FIELDS).limit(limit);
        let Some(found) = self.0.nearest(&query, "embedding", vector).await? else { return Ok(None) };
        pages::convert(Container::ScrapedItems, found, |item| item).await.map(Some)
    }

    /// Streams the ids of global items: all, or those scraped since a time.
    pub fn ids(&self, since: Option<Timestamp>) -> impl Stream<Item = Result<String>> + Send + '_ {
        pages::walk(&*self.0, found_since(GLOBAL, since).select(&["id"])).map_ok(|Named { id }| id)
    }

    /// Finds items of a partition by page URL; several items may share one.
    pub async fn with_pages(&self, partition: &str, urls: &[String]) -> Result<Vec<KnownItem>> {
        let urls = urls.iter().map(|url| url.as_str().into()).collect();
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::In("productUrl", urls))
            // In the order of the index that serves this query.
            .order_by("productUrl", Direction::Ascending)
            .select(KnownItem::FIELDS);
        pages::take(pages::walk(&*self.0, query), MOST_WITH_PAGES).await
    }

    /// Creates an item; returns whether it is new.
    pub async fn add(&self, item: &NewItem) -> Result<bool> {
        let key = Key::new(Container::ScrapedItems, &item.user_id, item.id.as_str());
        records::create(&*self.0, &key, item).await
    }

    /// Finds at most `limit` items of a partition whose embedding is missing.
    pub async fn without_vectors(&self, partition: &str, limit: usize) -> Result<Vec<FeedItem>> {
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::equal("needsEmbedding", true))
            .select(FeedItem::FIELDS)
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// Finds items of a partition by id.
    pub async fn find_in(&self, partition: &str, ids: &[ScrapedItemId]) -> Result<Vec<FeedItem>> {
        let ids = ids.iter().map(|id| id.as_str().into()).collect();
        let query = Query::partition(Container::ScrapedItems, partition)
            .matching(Filter::In("id", ids))
            .select(FeedItem::FIELDS);
        pages::take(pages::walk(&*self.0, query), MOST_WITH_PAGES).await
    }

    /// Sets an item's embedding, unless the item is gone or has one; returns whether it did.
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

    /// Streams the picture hashes of a partition: all, or those of items scraped since a time. Invalid hashes count as
    /// missing.
    pub fn hashes(
        &self,
        partition: &str,
        since: Option<Timestamp>,
    ) -> impl Stream<Item = Result<PerceptualHash>> + Send + '_ {
        pages::walk(&*self.0, found_since(partition, since).select(&["id", "pHash"]))
            .try_filter_map(|item: Hashed| async move { Ok(item.p_hash.and_then(|hash| hash.parse().ok())) })
    }

    /// Finds the best global items whose picture is available.
    pub async fn best(&self, limit: usize) -> Result<Vec<FeedItem>> {
        let query = Query::partition(Container::ScrapedItems, GLOBAL)
            .matching(has_image())
            .select(FeedItem::FIELDS)
            .descending_by("scoreSignal")
            .limit(limit);
        pages::page(&*self.0, &query).await
    }

    /// Returns a page of the feed.
    pub async fn feed(&self, query: &FeedQuery) -> Result<FeedPage> {
        // One extra item shows whether there is another page.
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
        let items = found.iter().filter_map(|stored| records::parse(Container::ScrapedItems, stored)).collect();
        Ok(FeedPage { items, next })
    }

    /// Reads one stretch of the feed, merging global items with the reader's own.
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

    /// Reads a stretch in the feed's order, which positions rely on. If the store does not order ties, items that tie
    /// with the last one are read again, ordered by id.
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

/// The embedding of an item.
#[derive(Debug, Deserialize)]
pub struct ItemVector {
    /// Item id.
    pub id: String,
    /// Embedding; empty if missing.
    #[serde(default, deserialize_with = "lenient::numbers")]
    pub embedding: Vec<f32>,
}

/// An item, reduced to its id.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// An item, reduced to what de-duplication needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hashed {
    #[serde(default, deserialize_with = "lenient::optional")]
    p_hash: Option<String>,
}

/// Returns the query for the items of a partition: all, or those scraped since a time, newest first.
fn found_since(partition: &str, since: Option<Timestamp>) -> Query {
    let query = Query::partition(Container::ScrapedItems, partition);
    let Some(since) = since else { return query };
    query.matching(Filter::at_least("scrapedAt", since.to_string())).order_by("scrapedAt", Direction::Descending)
}

fn has_image() -> Filter {
    // Kept flat: the emulator takes twice as long for every nested bracket.
    let is_missing = Filter::Not(Box::new(Filter::is_defined("imageExpired")));
    Filter::Any(vec![is_missing, Filter::not_equal("imageExpired", Value::Bool(true))])
}

/// Splits the rest of the feed into queries that run one after the other until a page is full. Each is one stretch of
/// an index: ties with the position, items after it, items without the sort field.
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
    let all = all.descending_by(field);
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
