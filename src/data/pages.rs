//! Typed pages of documents.
//!
//! A document that does not match its type is skipped and logged by id, so that it does not affect others.

use std::pin::pin;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{Error, Result};
use crate::store::{self, Container, DocumentStore, Key, Query, Stored};

/// Page size for walking a query.
const PAGE: usize = 500;

/// Documents in one round trip when a few short fields of each are fetched.
pub(super) const PAGE_OF_SHORT: usize = 1000;

/// Documents in one round trip when they are long: some megabytes.
pub(super) const PAGE_OF_LONG: usize = 100;

/// The document as a `T`, or `None` and a line in the log.
pub(super) fn parse<T: DeserializeOwned>(container: Container, stored: &Stored) -> Option<T> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    match stored.parse() {
        Ok(record) => Some(record),
        Err(error) => {
            let id = stored.parse::<Id>().map_or_else(|_| "?".to_owned(), |named| named.id);
            // The category alone: the error's text may quote the document.
            warn!(document.container = ?container, document.id = %id, fault = ?error.classify(), "invalid document skipped");
            None
        }
    }
}

/// The document at `key` as a `T`; `None` if there is none or it does not match.
pub(super) async fn find<T: DeserializeOwned>(store: &dyn DocumentStore, key: &Key) -> Result<Option<T>> {
    Ok(store.read(key).await?.and_then(|stored| parse(key.container, &stored)))
}

/// Reads the records of one page, skipping documents that do not match.
pub(super) async fn page<T: DeserializeOwned>(store: &dyn DocumentStore, query: &Query) -> Result<Vec<T>> {
    Ok(page_and_next(store, query).await?.0)
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

/// Streams all records of a query, holding one page at a time.
pub(super) fn walk<'a, T: DeserializeOwned + Send + 'a>(
    store: &'a dyn DocumentStore,
    query: Query,
) -> impl Stream<Item = Result<T>> + Send + 'a {
    let container = query.container;
    stream::try_unfold(Some(query.limit(PAGE)), move |query| async move {
        let Some(query) = query else { return Ok::<_, Error>(None) };
        let page = store.query(&query).await?;
        let next = page.next.map(|token| query.after(Some(token)));
        Ok(Some((stream::iter(page.documents.into_iter().map(Ok)), next)))
    })
    .try_flatten()
    .try_filter_map(move |stored| async move { Ok(parse(container, &stored)) })
}

/// The documents that a query asks for, in pages of its limit, each turned into a `U` on a thread for such work while the
/// next page is being read.
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
    stream::try_unfold(Some(query), move |query| {
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

/// Turns documents into `U`s on a thread for such work; those that do not fit are left out.
pub(super) fn convert<T, U>(
    container: Container,
    documents: Vec<Stored>,
    convert: impl Fn(T) -> U + Send + 'static,
) -> impl Future<Output = Result<Vec<U>>> + Send
where
    T: DeserializeOwned,
    U: Send + 'static,
{
    // Begins at once, not when it is waited for.
    let work = move || documents.iter().filter_map(|stored| parse(container, stored)).map(convert).collect();
    let converting = tokio::task::spawn_blocking(work);
    async move { converting.await.map_err(|error| store::Error::Failed(error.into()).into()) }
}

/// Collects at most `limit` records.
pub(super) async fn take<T>(walk: impl Stream<Item = Result<T>>, limit: usize) -> Result<Vec<T>> {
    pin!(walk).take(limit).try_collect().await
}
