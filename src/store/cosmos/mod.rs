//! Documents in Azure Cosmos DB.
//!
//! The client is created by the first call that needs it, so startup never waits for Cosmos DB. Until that succeeds,
//! calls fail with [`Error::Unavailable`]. [`CosmosStore::init`] creates database and containers where no template
//! does.

mod connect;
mod document;
mod once;
mod outcome;
pub mod schema;
mod sql;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::Etag;
use azure_data_cosmos::feed::{ContinuationToken, FeedScope};
use azure_data_cosmos::models::ItemResponse;
use azure_data_cosmos::options::{
    BatchDeleteOptions, BatchReplaceOptions, ItemWriteOptions, MaxItemCountHint, Precondition, QueryOptions,
};
use azure_data_cosmos::{ContainerClient, CosmosClient, CosmosError, TransactionalBatch};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::TryStreamExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use self::connect::connect;
pub use self::schema::InitReport;

use self::document::Document;
use self::once::Once;
use self::outcome::{batch_outcome, error, etag_of, same_content, was_attempted_before, was_repeated, write_error};
use super::validity::{SYSTEM_FIELDS, check_batch, check_key, check_size, key_of};
use super::{
    ChangeMark, Container, Direction, DocumentStore, ETag, Error, Key, Page, PartitionIndex, Query, Result, Scope,
    Stored, Upkeep, Write, write_trial,
};
use crate::azure::Identity;
use crate::base::chain::Chain;
use crate::base::deadline;
use crate::config::Cosmos;
use crate::telemetry::metrics::Metrics;

/// Time limit of one read, write or page, including all retries of the SDK.
const OPERATION_DEADLINE: Duration = Duration::from_secs(8);

/// Time limit of a whole query: the service's filtered pages can be nearly empty, so one of our pages may need many of
/// them.
const QUERY_DEADLINE: Duration = Duration::from_secs(30);

/// Time limit for creating the client or reading the container's properties.
const CONNECT_DEADLINE: Duration = Duration::from_secs(8);

/// How long a container counts as lacking an index after the service reported it. Then it is tried again, in case the
/// index was added meanwhile.
const INDEX_LACKING: Duration = Duration::from_secs(5 * 60);

/// Prefix of the SDK's continuation tokens. Others are foreign and are not sent to the service.
const TOKEN_PREFIX: &str = "c1.";

/// Longest page that the service returns.
const LONGEST_PAGE: usize = 1000;

/// The service timestamps writes in seconds. [`PartitionIndex::changes`] cannot detect a second write within the same
/// second, so a mark counts only after that second, plus a margin for clock skew.
const SETTLING: Duration = Duration::from_secs(5);

/// Result of [`sql::changes`]. `newest` is missing for an empty partition.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counted {
    documents: f64,
    newest: Option<f64>,
    total: f64,
}

/// [`DocumentStore`] on Azure Cosmos DB.
pub struct CosmosStore {
    account: Cosmos,
    identity: Identity,
    metrics: Metrics,
    client: Once<CosmosClient>,
    containers: [Once<ContainerClient>; Container::ALL.len()],
    /// Sort orders for which a container lacks the composite index, and when the service reported it.
    lacking: Mutex<HashMap<Index, Instant>>,
}

/// A container and a sort order.
type Index = (Container, Vec<(&'static str, Direction)>);

impl CosmosStore {
    /// Creates the store without connecting. Without an account key, it authenticates with `identity`.
    pub fn new(account: Cosmos, identity: Identity) -> Self {
        Self {
            account,
            identity,
            metrics: Metrics::off(),
            client: Once::new(),
            containers: [const { Once::new() }; Container::ALL.len()],
            lacking: Mutex::default(),
        }
    }

    /// Records the cost of calls as metrics.
    #[must_use]
    pub fn watched(self, metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// Returns the client, created by the first call. A failure is not cached, so the next call tries again.
    async fn client(&self) -> Result<&CosmosClient> {
        let make = || {
            let (account, identity, metrics) = (self.account.clone(), self.identity.clone(), self.metrics.clone());
            async move { connect(&account, &identity, &metrics).await }
        };
        self.client.get_or_make(CONNECT_DEADLINE, make).await
    }

    async fn container(&self, container: Container) -> Result<&ContainerClient> {
        let described = &self.containers[container as usize];
        if let Some(client) = described.get() {
            return Ok(client);
        }
        let describe = async {
            let database = self.client().await?.database_client(self.account.database.clone());
            let name = self.account.container_name(container).to_owned();
            let make = || async move { database.container_client(name, None).await.map_err(error) };
            described.get_or_make(CONNECT_DEADLINE, make).await
        };
        deadline::within(CONNECT_DEADLINE, describe).await?
    }

    /// Returns the outcome of a write. The SDK repeats a write whose response it did not get, so a conflict may be with
    /// our own earlier attempt: then the stored document equals ours, and the write succeeded. Documents that are
    /// written to win a race must contain something unique to the writer; otherwise an equal document of another writer
    /// would count as ours.
    async fn written(
        &self,
        key: &Key,
        document: &Value,
        size_bytes: usize,
        outcome: azure_data_cosmos::Result<ItemResponse>,
    ) -> Result<ETag> {
        match outcome {
            Ok(response) => etag_of(&response),
            Err(failure) => {
                let own = if was_repeated(&failure) { self.stored_as(key, document).await? } else { None };
                own.ok_or_else(|| write_error(failure, size_bytes))
            }
        }
    }

    /// Returns the version of the document at `key` if its content equals `document`.
    async fn stored_as(&self, key: &Key, document: &Value) -> Result<Option<ETag>> {
        let Some(stored) = self.read(key).await? else { return Ok(None) };
        let content: Value = stored.parse().map_err(|fault| Error::Failed(fault.into()))?;
        let mut wanted = document.clone();
        if let Some(fields) = wanted.as_object_mut() {
            // The service replaces these.
            fields.retain(|name, _| !SYSTEM_FIELDS.contains(&name.as_str()));
        }
        Ok(same_content(&content, &wanted).then_some(stored.etag))
    }

    /// Whether the store is in the state that `writes` lead to.
    async fn all_done(&self, container: Container, partition: &str, writes: &[Write]) -> Result<bool> {
        for write in writes {
            let done = match write {
                Write::Create { document } | Write::Replace { document, .. } => {
                    let key = key_of(container, partition, document)?;
                    self.stored_as(&key, document).await?.is_some()
                }
                Write::Delete { id, .. } => self.read(&Key::new(container, partition, id)).await?.is_none(),
            };
            if !done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the number of the partition's documents, and the newest and the sum of their timestamps.
    async fn count_changes(&self, container: Container, partition: &str) -> Result<Counted> {
        let scope = Scope::Partition(partition.to_owned());
        self.aggregate(container, &scope, sql::changes(container, partition)?).await
    }

    /// Runs an aggregate statement and adds up its partial results.
    async fn aggregate(
        &self,
        container: Container,
        scope: &Scope,
        statement: azure_data_cosmos::Query,
    ) -> Result<Counted> {
        let client = self.container(container).await?;
        let asked = answered(client.query_items::<Counted>(statement, feed(scope), None)).await?;
        let mut pages = asked.map_err(error)?.into_pages();
        let mut all = Counted::default();
        // A large partition returns partial results.
        while let Some(answer) = answered(pages.try_next()).await?.map_err(error)? {
            for part in answer.into_items() {
                all.documents += part.documents;
                all.newest = all.newest.into_iter().chain(part.newest).reduce(f64::max);
                all.total += part.total;
            }
        }
        Ok(all)
    }

    /// Returns a page in the query's order. Several sort keys need a composite index; if the container lacks it,
    /// documents are sorted across pages only by the first key that the filter does not fix, which needs none.
    async fn page(&self, query: &Query) -> Result<Page> {
        if query.order.len() < 2 {
            return self.collect_page(query, &sql::Sql::new(query)).await;
        }
        let index = (query.container, query.order.clone());
        if !self.is_lacking(&index) {
            match self.collect_page(query, &sql::Sql::new(query)).await {
                Err(Error::Failed(cause)) if wants_index(&*cause) => self.note_lacking(index),
                outcome => return outcome,
            }
        }
        let mut order = query.varying_order();
        let ties = order.split_off(order.len().min(1));
        let query = Query { order, ..query.clone() };
        let mut page = self.collect_page(&query, &sql::Sql::new(&query)).await?;
        page.loose_ties = !ties.is_empty();
        if let [(first, _)] = query.order[..]
            && query.fields.is_none_or(|fields| fields.contains(&first))
        {
            sort_ties(&mut page.documents, first, &ties)?;
        }
        Ok(page)
    }

    fn is_lacking(&self, index: &Index) -> bool {
        let lacking = self.lacking.lock();
        lacking.get(index).is_some_and(|since| since.elapsed() < INDEX_LACKING)
    }

    fn note_lacking(&self, index: Index) {
        let container = self.account.container_name(index.0);
        let order = schema::in_words(&index.1);
        warn!(%container, %order, "composite index missing: run `pluckit storage init`, or deploy the template");
        self.lacking.lock().insert(index, Instant::now());
    }

    /// Requests pages until there are enough documents, or no more.
    async fn collect_page(&self, query: &Query, sql: &sql::Sql) -> Result<Page> {
        let statement = sql.statement()?;
        let mut page = Page::default();
        let mut token = query.after.clone().filter(|token| token.starts_with(TOKEN_PREFIX));
        let (mut is_given, mut bytes) = (token.is_some(), 0);
        loop {
            let wanted = (query.limit - page.documents.len()).min(LONGEST_PAGE);
            match self.ask(query, statement.clone(), token.take(), wanted).await {
                // An invalid token, or one of another query: start from the beginning.
                Err(error) if is_given && refuses_token(&error) => {
                    debug!(error = %Chain(&error), "continuation token not usable");
                }
                Err(error) => return Err(error),
                Ok((documents, next)) => {
                    bytes += documents.iter().map(|stored| stored.json.len()).sum::<usize>();
                    page.documents.extend(documents);
                    if next.is_none() || page.documents.len() >= query.limit || bytes >= query.most_bytes {
                        page.next = next;
                        return Ok(page);
                    }
                    token = next;
                }
            }
            is_given = false;
        }
    }

    /// Requests one page of the service; also returns the continuation token.
    async fn ask(
        &self,
        query: &Query,
        statement: azure_data_cosmos::Query,
        token: Option<String>,
        wanted: usize,
    ) -> Result<(Vec<Stored>, Option<String>)> {
        let container = self.container(query.container).await?;
        let hint = u32::try_from(wanted).ok().and_then(NonZeroU32::new);
        let mut options = QueryOptions::default()
            .with_max_item_count(hint.map_or(MaxItemCountHint::ServerDecides, MaxItemCountHint::Limit));
        if let Some(token) = token {
            options = options.with_continuation_token(ContinuationToken::from_string(token));
        }
        let ask = async {
            let mut pages =
                container.query_items::<Document>(statement, feed(&query.scope), Some(options)).await?.into_pages();
            let Some(answer) = pages.try_next().await? else { return Ok((Vec::new(), None)) };
            Ok::<_, CosmosError>((answer.into_items(), Some(pages.to_continuation_token()?)))
        };
        let (documents, token) = answered(ask).await?.map_err(error)?;
        let documents = documents.into_iter().map(|Document(stored)| stored).collect();
        Ok((documents, token.filter(|token| !is_end(token)).map(|token| token.as_str().to_owned())))
    }
}

#[async_trait]
impl DocumentStore for CosmosStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>> {
        if !key.is_valid() {
            return Ok(None);
        }
        let container = self.container(key.container).await?;
        match answered(container.read_item(key.partition.clone(), &key.id, None)).await? {
            Ok(response) => {
                let Document(stored) = response.into_model().map_err(error)?;
                Ok(Some(stored))
            }
            Err(failure) if failure.status().is_not_found() => Ok(None),
            Err(failure) => Err(error(failure)),
        }
    }

    async fn create(&self, key: &Key, document: &Value) -> Result<ETag> {
        let text = checked(key, document)?;
        let size_bytes = text.get().len();
        let container = self.container(key.container).await?;
        let outcome = answered(container.create_item(key.partition.clone(), &key.id, text, None)).await?;
        self.written(key, document, size_bytes, outcome).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> Result<ETag> {
        let text = checked(key, document)?;
        let size_bytes = text.get().len();
        let container = self.container(key.container).await?;
        let outcome = answered(container.upsert_item(key.partition.clone(), &key.id, text, None)).await?;
        etag_of(&outcome.map_err(|failure| write_error(failure, size_bytes))?)
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> Result<ETag> {
        let text = checked(key, document)?;
        let size_bytes = text.get().len();
        let container = self.container(key.container).await?;
        let options = ItemWriteOptions::default().with_precondition(if_match(etag));
        let outcome = answered(container.replace_item(key.partition.clone(), &key.id, text, Some(options))).await?;
        self.written(key, document, size_bytes, outcome).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> Result<bool> {
        if !key.is_valid() {
            return if etag.is_some() { Err(Error::Conflict) } else { Ok(false) };
        }
        let container = self.container(key.container).await?;
        let options = etag.map(|etag| ItemWriteOptions::default().with_precondition(if_match(etag)));
        match answered(container.delete_item(key.partition.clone(), &key.id, options)).await? {
            Ok(_) => Ok(true),
            Err(failure) if failure.status().is_not_found() => {
                // Already deleted, possibly by an earlier attempt of this call.
                if was_repeated(&failure) {
                    Ok(true)
                } else if etag.is_some() {
                    Err(Error::Conflict)
                } else {
                    Ok(false)
                }
            }
            Err(failure) => Err(write_error(failure, 0)),
        }
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        check_batch(writes)?;
        let mut batch = TransactionalBatch::new(partition.to_owned());
        let mut size_bytes = 0;
        for write in writes {
            batch = match write {
                Write::Create { document } => {
                    size_bytes += checked(&key_of(container, partition, document)?, document)?.get().len();
                    batch.create_item(document)
                }
                Write::Replace { document, etag } => {
                    let key = key_of(container, partition, document)?;
                    size_bytes += checked(&key, document)?.get().len();
                    let options = BatchReplaceOptions::default().with_precondition(if_match(etag));
                    batch.replace_item(key.id, document, Some(options))
                }
                Write::Delete { id, etag } => {
                    if !Key::new(container, partition, id).is_valid() {
                        return Err(Error::Conflict);
                    }
                    let options = BatchDeleteOptions::default().with_precondition(if_match(etag));
                    Ok(batch.delete_item(id.clone(), Some(options)))
                }
            }
            .map_err(error)?;
        }
        check_size(size_bytes)?;
        let client = self.container(container).await?;
        let answered = answered(client.execute_transactional_batch(batch, None)).await?;
        let response = answered.map_err(|failure| write_error(failure, size_bytes))?;
        let repeated = was_attempted_before(&response.diagnostics());
        // The overall status says little: each write has its own, and when one is refused, the others get 424.
        let results = response.into_model().map_err(error)?;
        match batch_outcome(results.results(), size_bytes) {
            Err(Error::Conflict) if repeated && self.all_done(container, partition, writes).await? => Ok(()),
            outcome => outcome,
        }
    }

    async fn query(&self, query: &Query) -> Result<Page> {
        deadline::within(QUERY_DEADLINE, Box::pin(self.page(query))).await?
    }
}

#[async_trait]
impl PartitionIndex for CosmosStore {
    async fn changes(&self, container: Container, partition: &str) -> Result<Option<ChangeMark>> {
        if !container.spec().tracks_changes {
            return Ok(None);
        }
        let counted = deadline::within(QUERY_DEADLINE, Box::pin(self.count_changes(container, partition))).await;
        let Counted { documents, newest, total } = counted??;
        // These are whole numbers, which the service may send in any format.
        let value = format!("{documents:.0}-{:.0}-{total:.0}", newest.unwrap_or_default());
        let newest = newest.and_then(|newest| OffsetDateTime::from_unix_timestamp(newest as i64).ok());
        Ok(Some(ChangeMark { value, certain_from: newest.map(|newest| newest + SETTLING) }))
    }

    async fn count(&self, query: &Query) -> Result<u64> {
        let statement = sql::Sql::count(query).statement()?;
        let counting = Box::pin(self.aggregate(query.container, &query.scope, statement));
        let Counted { documents, .. } = deadline::within(QUERY_DEADLINE, counting).await??;
        // A non-negative whole number, which the service may send in any format.
        Ok(documents as u64)
    }

    async fn nearest(&self, query: &Query, field: &'static str, vector: &[f32]) -> Result<Option<Vec<Stored>>> {
        if !self.account.vector_search {
            return Ok(None);
        }
        let statement = sql::Sql::nearest(query, field, vector);
        let query = Query { order: Vec::new(), after: None, ..query.clone() };
        let collected = deadline::within(QUERY_DEADLINE, Box::pin(self.collect_page(&query, &statement))).await;
        Ok(Some(collected??.documents))
    }
}

#[async_trait]
impl Upkeep for CosmosStore {
    async fn ping(&self) -> Result<()> {
        write_trial(self).await
    }

    /// Does nothing: the service deletes expired documents.
    async fn sweep_expired(&self) -> Result<usize> {
        Ok(0)
    }

    /// Does nothing: the service maintains its data.
    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Waits for the SDK with our time limit, because the SDK does not apply its own to all steps of a call.
async fn answered<T>(call: impl Future<Output = T>) -> Result<T> {
    // On the heap: the SDK's futures are large.
    Ok(deadline::within(OPERATION_DEADLINE, Box::pin(call)).await?)
}

fn feed(scope: &Scope) -> FeedScope {
    match scope {
        Scope::Partition(partition) => FeedScope::partition(partition.clone()),
        Scope::All => FeedScope::full_container(),
    }
}

/// Serialises the document after checking that it can be saved at `key`.
fn checked(key: &Key, document: &Value) -> Result<Box<RawValue>> {
    check_key(key, document)?;
    let text = serde_json::value::to_raw_value(document).map_err(|fault| Error::Failed(fault.into()))?;
    check_size(text.get().len())?;
    Ok(text)
}

/// Whether the service refused a sort order because its composite index is missing.
fn wants_index(cause: &(dyn std::error::Error + 'static)) -> bool {
    Chain(cause).to_string().contains("composite index")
}

/// Whether a query failed because of its continuation token. The service refuses a token of another query; for an
/// unreadable one the SDK itself returns a 500.
fn refuses_token(error: &Error) -> bool {
    match error {
        Error::Failed(cause) => !wants_index(&**cause),
        Error::Unavailable(cause) => Chain(&**cause).to_string().contains("continuation token"),
        Error::Conflict | Error::TooLarge { .. } => false,
    }
}

/// Sorts runs of documents with the same `first` by `ties`.
fn sort_ties(documents: &mut Vec<Stored>, first: &str, ties: &[(&'static str, Direction)]) -> Result<()> {
    let keyed = documents.drain(..).map(|stored| Ok((stored.parse::<Map<String, Value>>()?, stored)));
    let mut keyed = keyed.collect::<serde_json::Result<Vec<_>>>().map_err(|fault| Error::Failed(fault.into()))?;
    for tied in keyed.chunk_by_mut(|(one, _), (other, _)| one.get(first) == other.get(first)) {
        tied.sort_by(|(one, _), (other, _)| {
            let orders = ties.iter().map(|(key, direction)| {
                let text = |fields: &Map<String, Value>| fields.get(*key).and_then(Value::as_str).map(str::to_owned);
                let order = text(one).cmp(&text(other));
                if *direction == Direction::Descending { order.reverse() } else { order }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
    }
    documents.extend(keyed.into_iter().map(|(_, stored)| stored));
    Ok(())
}

fn if_match(etag: &ETag) -> Precondition {
    Precondition::if_match(Etag::from(etag.0.clone()))
}

/// Whether nothing is left to read. Only the SDK's token says so without another request. If the token format changes,
/// the only effect is an empty last page.
fn is_end(token: &ContinuationToken) -> bool {
    let decoded = token.as_str().strip_prefix(TOKEN_PREFIX).and_then(|body| BASE64_URL_SAFE_NO_PAD.decode(body).ok());
    let state: Option<Value> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
    state.is_some_and(|state| state.pointer("/root/kind").and_then(Value::as_str) == Some("drained"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_a_query_is_read_from_the_token() {
        let token = |state: Value| {
            ContinuationToken::from_string(format!("c1.{}", BASE64_URL_SAFE_NO_PAD.encode(state.to_string())))
        };
        assert!(is_end(&token(json!({ "root": { "kind": "drained" } }))));
        assert!(!is_end(&token(json!({ "root": { "kind": "request", "server_continuation": "drained" } }))));
        assert!(!is_end(&ContinuationToken::from_string("of the service".to_owned())));
    }
}
