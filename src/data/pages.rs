//! Typed pages of documents. Like single documents, those that do not match their type are skipped.

use std::pin::pin;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;

use super::records::parse;
use super::{Error, Result};
use crate::model::timestamp::Timestamp;
use crate::store::{self, Container, Direction, DocumentStore, Filter, Query, Stored};

/// Page size for walking a query.
const PAGE: usize = 500;

/// Bytes of a page of documents that users write: a hundred items of 10 KiB. Larger ones make shorter pages, so that
/// memory for a page is bounded however large they are.
pub(super) const PAGE_BYTES: usize = 1024 * 1024;

/// Bytes of documents between two yields: parsing and scoring sixteen garments takes less than half a millisecond.
const STRIDE: usize = 16 * SHORT;
/// The least that a document counts, since scoring it takes time however short it is.
const SHORT: usize = 1024;

/// Documents in one round trip when a few short fields of each are fetched.
pub(super) const PAGE_OF_SHORT: usize = 1000;

/// Long documents fetched in one round trip: a few megabytes.
pub(super) const PAGE_OF_LONG: usize = 100;

/// Reads the records of one page, skipping documents that do not match.
pub(super) async fn page<T: DeserializeOwned>(store: &dyn DocumentStore, query: &Query) -> Result<Vec<T>> {
    Ok(page_and_next(store, query).await?.0)
}

/// Reads the first record of a query.
pub(super) async fn first<T: DeserializeOwned>(store: &dyn DocumentStore, query: Query) -> Result<Option<T>> {
    Ok(page(store, &query.limit(1)).await?.pop())
}

/// Reads the records of one page, skipping documents that do not match, and the token of the next page.
pub(super) async fn page_and_next<T: DeserializeOwned>(
    store: &dyn DocumentStore,
    query: &Query,
) -> Result<(Vec<T>, Option<String>)> {
    let page = store.query(query).await?;
    let records = page.documents.iter().filter_map(|stored| parse(query.container, stored)).collect();
    Ok((records, page.next))
}

/// Returns the query for the documents of all partitions whose time in `field` is not after `now`, oldest first.
pub(super) fn due(container: Container, field: &'static str, now: Timestamp) -> Query {
    let is_due = Filter::at_most(field, now.to_string());
    Query::all(container).matching(is_due).order_by(field, Direction::Ascending)
}

/// Streams all records of a query, holding one page at a time. Yields to other tasks now and then, since the caller may
/// read thousands of documents without waiting.
pub(super) fn walk<'a, T: DeserializeOwned + Send + 'a>(
    store: &'a dyn DocumentStore,
    query: Query,
) -> impl Stream<Item = Result<T>> + Send + 'a {
    let container = query.container;
    let query = query.limit(PAGE).most_bytes(PAGE_BYTES);
    let begin = Walk { query: Some(query), page: Vec::new().into_iter(), since_yield: 0 };
    stream::try_unfold(begin, move |mut walk| async move {
        loop {
            while let Some(stored) = walk.page.next() {
                walk.since_yield += stored.json.len().max(SHORT);
                if walk.since_yield >= STRIDE {
                    walk.since_yield = 0;
                    tokio::task::yield_now().await;
                }
                if let Some(record) = parse(container, &stored) {
                    return Ok::<_, Error>(Some((record, walk)));
                }
            }
            let Some(query) = walk.query.take() else { return Ok(None) };
            let page = store.query(&query).await?;
            walk.query = page.next.map(|token| query.after(Some(token)));
            walk.page = page.documents.into_iter();
        }
    })
}

/// Progress of [`walk`].
struct Walk {
    /// The query of the next page, if there is one.
    query: Option<Query>,
    /// The rest of this page.
    page: std::vec::IntoIter<Stored>,
    /// Bytes of documents since the last yield.
    since_yield: usize,
}

/// Streams the documents of a query in pages of its limit, each converted to a `U` on a blocking thread while the next
/// page is being read.
pub(super) fn converted_pages<'a, T, U>(
    store: &'a dyn DocumentStore,
    query: Query,
    convert_one: impl Fn(T) -> U + Clone + Send + 'static,
) -> impl Stream<Item = Result<Vec<U>>> + Send + 'a
where
    T: DeserializeOwned + 'static,
    U: Send + 'static,
{
    let container = query.container;
    stream::try_unfold(Some(query.most_bytes(PAGE_BYTES)), move |query| {
        let convert_one = convert_one.clone();
        async move {
            let Some(query) = query else { return Ok::<_, Error>(None) };
            let page = store.query(&query).await?;
            let next = page.next.map(|token| query.after(Some(token)));
            Ok(Some((convert(container, page.documents, convert_one), next)))
        }
    })
    .try_buffered(2)
}

/// Converts documents to `U`s on a blocking thread, skipping those that do not match.
pub(super) fn convert<T, U>(
    container: Container,
    documents: Vec<Stored>,
    convert: impl Fn(T) -> U + Send + 'static,
) -> impl Future<Output = Result<Vec<U>>> + Send
where
    T: DeserializeOwned,
    U: Send + 'static,
{
    // Starts at once, not when first polled.
    let work = move || documents.iter().filter_map(|stored| parse(container, stored)).map(convert).collect();
    let converting = tokio::task::spawn_blocking(work);
    async move { converting.await.map_err(|error| store::Error::Failed(error.into()).into()) }
}

/// Collects at most `limit` records.
pub(super) async fn take<T>(walk: impl Stream<Item = Result<T>>, limit: usize) -> Result<Vec<T>> {
    pin!(walk).take(limit).try_collect().await
}
