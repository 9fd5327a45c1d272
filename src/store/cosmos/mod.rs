//! Documents in Azure Cosmos DB.
//!
//! The client is made by the first call that needs it, so starting up never waits for Cosmos DB; until it can be made,
//! calls answer [`Error::Unavailable`]. [`CosmosStore::init`] makes database and containers where that is our task.

mod document;
mod once;
pub mod schema;
mod sql;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::Context;
use azure_core::http::Etag;
use azure_data_cosmos::diagnostics::{CosmosOperationContext, DiagnosticsContext, DiagnosticsHandler};
use azure_data_cosmos::feed::{ContinuationToken, FeedScope};
use azure_data_cosmos::models::{ItemResponse, TransactionalBatchOperationResult};
use azure_data_cosmos::options::{
    BatchDeleteOptions, BatchReplaceOptions, BinaryEncodingOptions, ConnectionPoolOptions, ItemWriteOptions,
    MaxItemCountHint, OperationOptionsBuilder, Precondition, QueryOptions, ServerCertificateValidation,
    ThrottlingRetryOptionsBuilder,
};
use azure_data_cosmos::{
    AccountEndpoint, AccountReference, ContainerClient, CosmosClient, CosmosError, CosmosRuntime, RoutingStrategy,
    TransactionalBatch,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::TryStreamExt;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use schema::InitReport;

use self::document::Document;
use self::once::Once;
use super::{
    ChangeMark, Container, Direction, DocumentStore, ETag, Error, Key, MAX_DOCUMENT_BYTES, Page, PartitionIndex, Query,
    Result, Scope, Stored, Upkeep, Write, check_size, write_trial,
};
use crate::azure::Identity;
use crate::base::chain::Chain;
use crate::base::crypto;
use crate::base::deadline;
use crate::base::outage;
use crate::config::Cosmos;
use crate::telemetry::metrics::Metrics;

/// How long one read, write or page may take, retries included, whatever the SDK does within.
const OPERATION_DEADLINE: Duration = Duration::from_secs(8);

/// The same as the SDK is told, which then says more about what it waited for.
const SDK_DEADLINE: Duration = Duration::from_millis(7_500);

/// How long a whole query may take: filtered pages can come back nearly empty, so one page of ours may be many of the
/// service's.
const QUERY_DEADLINE: Duration = Duration::from_secs(30);

/// How long the first call may wait for the client or the container's description.
const CONNECT_DEADLINE: Duration = Duration::from_secs(8);

/// How long a container counts as lacking an index after the service said so. Then it is asked again, so that one which
/// was added meanwhile is used.
const INDEX_LACKING: Duration = Duration::from_secs(5 * 60);

/// What the SDK's continuation tokens begin with. Others come from somewhere else, and are not sent to the service.
const TOKEN_PREFIX: &str = "c1.";

/// Longest page that the service gives.
const LONGEST_PAGE: usize = 1000;

/// Most operations in a batch of the service.
const LARGEST_BATCH: usize = 100;

/// The service notes the second of a write. A second write within it changes nothing that [`PartitionIndex::changes`]
/// sees, so a mark counts only when that second is over, on a clock that may differ from the service's by some more.
const SETTLING: Duration = Duration::from_secs(5);

/// The answer to [`sql::changes`]. There is nothing newest in an empty partition.
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
    /// The orders that a container has no composite index for, and when the service said so.
    lacking: Mutex<HashMap<Index, Instant>>,
}

/// A container and an order of its documents.
type Index = (Container, Vec<(&'static str, Direction)>);

impl CosmosStore {
    /// The store. Makes no call yet.
    /// Without a key, `identity` signs in.
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

    /// The store, which records what its calls cost.
    #[must_use]
    pub fn watched(self, metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    /// The client, made by the first call; a failure is forgotten, so that the next call tries again.
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

    /// What a write came to. The SDK repeats a write whose answer it did not get, so a conflict can be with our own
    /// earlier attempt: then the document is just as we wanted it. Who writes documents to win a race puts something of
    /// its own into them, or someone else's equal document could pass for ours here.
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

    /// The version of the document at `key` if its content is `document`.
    async fn stored_as(&self, key: &Key, document: &Value) -> Result<Option<ETag>> {
        let Some(stored) = self.read(key).await? else { return Ok(None) };
        let content: Value = stored.parse().map_err(|fault| Error::Failed(fault.into()))?;
        let mut wanted = document.clone();
        if let Some(fields) = wanted.as_object_mut() {
            // The service puts its own in their place.
            fields.retain(|name, _| !document::SYSTEM_FIELDS.contains(&name.as_str()));
        }
        Ok(same_content(&content, &wanted).then_some(stored.etag))
    }

    /// Whether everything that `writes` asks for is there.
    async fn all_done(&self, container: Container, partition: &str, writes: &[Write]) -> Result<bool> {
        for write in writes {
            let done = match write {
                Write::Create { document } | Write::Replace { document, .. } => {
                    let key = Key::new(container, partition, id_of(document)?);
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

    /// How many documents the partition has, and the newest and the sum of the seconds in which they were written.
    async fn count_changes(&self, container: Container, partition: &str) -> Result<Counted> {
        let scope = Scope::Partition(partition.to_owned());
        self.aggregate(container, &scope, sql::changes(container, partition)?).await
    }

    /// The sums of a statement that counts documents.
    async fn aggregate(
        &self,
        container: Container,
        scope: &Scope,
        statement: azure_data_cosmos::Query,
    ) -> Result<Counted> {
        let client = self.container(container).await?;
        let scope = match scope {
            Scope::Partition(partition) => FeedScope::partition(partition.clone()),
            Scope::All => FeedScope::full_container(),
        };
        let asked = answered(client.query_items::<Counted>(statement, scope, None)).await?;
        let mut pages = asked.map_err(error)?.into_pages();
        let mut all = Counted::default();
        // A large partition is counted in parts.
        while let Some(answer) = answered(pages.try_next()).await?.map_err(error)? {
            for part in answer.into_items() {
                all.documents += part.documents;
                all.newest = all.newest.into_iter().chain(part.newest).reduce(f64::max);
                all.total += part.total;
            }
        }
        Ok(all)
    }

    /// A page in the query's order. An order of several keys needs a composite index; where the container lacks it, the
    /// first key that the filter does not fix orders the walk, which every container can do.
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

    /// Asks for pages until there are as many documents as wanted, or no more.
    async fn collect_page(&self, query: &Query, sql: &sql::Sql) -> Result<Page> {
        let statement = sql.statement()?;
        let mut page = Page::default();
        let mut token = query.after.clone().filter(|token| token.starts_with(TOKEN_PREFIX));
        let mut is_given = token.is_some();
        loop {
            let wanted = (query.limit - page.documents.len()).min(LONGEST_PAGE);
            match self.ask(query, statement.clone(), token.take(), wanted).await {
                // Made up, or of another query: it starts from the beginning.
                Err(error) if is_given && refuses_token(&error) => {
                    debug!(error = %Chain(&error), "continuation token not usable");
                }
                Err(error) => return Err(error),
                Ok((documents, next)) => {
                    page.documents.extend(documents);
                    if next.is_none() || page.documents.len() >= query.limit {
                        page.next = next;
                        return Ok(page);
                    }
                    token = next;
                }
            }
            is_given = false;
        }
    }

    /// One page of the service, and what continues after it.
    async fn ask(
        &self,
        query: &Query,
        statement: azure_data_cosmos::Query,
        token: Option<String>,
        wanted: usize,
    ) -> Result<(Vec<Stored>, Option<String>)> {
        let container = self.container(query.container).await?;
        let scope = match &query.scope {
            Scope::Partition(partition) => FeedScope::partition(partition.clone()),
            Scope::All => FeedScope::full_container(),
        };
        let hint = u32::try_from(wanted).ok().and_then(NonZeroU32::new);
        let mut options = QueryOptions::default()
            .with_max_item_count(hint.map_or(MaxItemCountHint::ServerDecides, MaxItemCountHint::Limit));
        if let Some(token) = token {
            options = options.with_continuation_token(ContinuationToken::from_string(token));
        }
        let ask = async {
            let mut pages = container.query_items::<Document>(statement, scope, Some(options)).await?.into_pages();
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
                // Gone already: an earlier attempt of this call may well have done it.
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
        if writes.len() > LARGEST_BATCH {
            return Err(failed(format!("a batch has at most {LARGEST_BATCH} writes, not {}", writes.len())));
        }
        let mut batch = TransactionalBatch::new(partition.to_owned());
        let mut size_bytes = 0;
        for write in writes {
            batch = match write {
                Write::Create { document } => {
                    size_bytes += checked(&Key::new(container, partition, id_of(document)?), document)?.get().len();
                    batch.create_item(document)
                }
                Write::Replace { document, etag } => {
                    let key = Key::new(container, partition, id_of(document)?);
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
        if size_bytes > MAX_DOCUMENT_BYTES {
            return Err(Error::TooLarge { size_bytes });
        }
        let client = self.container(container).await?;
        let answered = answered(client.execute_transactional_batch(batch, None)).await?;
        let response = answered.map_err(|failure| write_error(failure, size_bytes))?;
        let repeated = was_attempted_before(&response.diagnostics());
        // The answer as a whole says little: one refused write makes the others 424, and each tells its own.
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
        // Seconds of this size are whole numbers, which the service sends as it likes.
        let value = format!("{documents:.0}-{:.0}-{total:.0}", newest.unwrap_or_default());
        let newest = newest.and_then(|newest| OffsetDateTime::from_unix_timestamp(newest as i64).ok());
        Ok(Some(ChangeMark { value, certain_from: newest.map(|newest| newest + SETTLING) }))
    }

    async fn count(&self, query: &Query) -> Result<u64> {
        let statement = sql::Sql::count(query).statement()?;
        let counting = Box::pin(self.aggregate(query.container, &query.scope, statement));
        let Counted { documents, .. } = deadline::within(QUERY_DEADLINE, counting).await??;
        // A whole number that is not negative, sent as the service likes.
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

    /// The service deletes expired documents by itself.
    async fn sweep_expired(&self) -> Result<usize> {
        Ok(0)
    }

    /// The service looks after what it stores.
    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Waits for an answer of the SDK. Its calls keep a deadline by themselves, but not in all of their steps.
async fn answered<T>(call: impl Future<Output = T>) -> Result<T> {
    // On the heap: the SDK's futures are large.
    Ok(deadline::within(OPERATION_DEADLINE, Box::pin(call)).await?)
}

/// A client of the account.
///
/// # Errors
/// When it cannot be reached, or the key cannot be used.
pub async fn connect(account: &Cosmos, identity: &Identity, metrics: &Metrics) -> Result<CosmosClient> {
    crypto::install(); // the SDK makes clients of its own
    let endpoint: AccountEndpoint =
        account.endpoint.as_str().parse().map_err(|fault: CosmosError| Error::Failed(fault.into()))?;
    let reference = match &account.key {
        Some(key) => AccountReference::with_authentication_key(endpoint, key.expose_secret().to_owned()),
        None => {
            let credential = identity.credential().map_err(|fault| Error::Failed(fault.into()))?;
            AccountReference::with_credential(endpoint, credential)
        }
    };
    let mut pool = ConnectionPoolOptions::builder()
        .with_max_connect_timeout(Duration::from_secs(2))
        .with_max_metadata_request_timeout(Duration::from_secs(5));
    if account.emulator {
        pool = pool
            .with_is_http2_allowed(false)
            .with_server_certificate_validation(ServerCertificateValidation::RequiredUnlessEmulator);
    }
    let pool = pool.build().map_err(error)?;
    let runtime = CosmosRuntime::builder().with_connection_pool(pool).build().await.map_err(error)?;
    let operations = OperationOptionsBuilder::new()
        .with_end_to_end_latency_policy(SDK_DEADLINE.into())
        .with_throttling_retry_options(ThrottlingRetryOptionsBuilder::new().with_max_retry_count(3).build())
        .build();
    let mut builder = CosmosClient::builder()
        .with_runtime(runtime)
        .with_default_operation_options(operations)
        // JSON text, so that what we read is byte for byte what was stored, on every account and emulator alike.
        .with_binary_encoding_options(BinaryEncodingOptions::new().with_enabled(false));
    if metrics.is_on() {
        builder = builder.with_diagnostics_handler(Arc::new(CallMeter(metrics.clone())));
    }
    // No preference: the order in which the account lists its regions.
    builder.build(reference, RoutingStrategy::PreferredRegions(Vec::new())).await.map_err(error)
}

/// Records what each call of the SDK cost.
struct CallMeter(Metrics);

impl DiagnosticsHandler for CallMeter {
    fn handle(&self, diagnostics: &DiagnosticsContext, context: &Context<'_>) {
        let operation = context.value::<CosmosOperationContext>();
        let container = operation.and_then(CosmosOperationContext::container_name).unwrap_or("none");
        let retries = diagnostics.request_count().saturating_sub(1);
        let request_units = diagnostics.total_request_charge().value();
        self.0.store_call(container, request_units, u64::try_from(retries).unwrap_or(u64::MAX));
    }
}

/// The document as text, once it is sure that it can be saved at `key`.
fn checked(key: &Key, document: &Value) -> Result<Box<RawValue>> {
    let partition_key = key.container.spec().partition_key;
    if !key.is_valid() {
        return Err(failed("no document can have this id and partition key"));
    }
    if document.get("id").and_then(Value::as_str) != Some(&key.id)
        || document.get(partition_key).and_then(Value::as_str) != Some(&key.partition)
    {
        return Err(failed("the document's id and partition key are not those it is saved under"));
    }
    let text = serde_json::value::to_raw_value(document).map_err(|fault| Error::Failed(fault.into()))?;
    check_size(text.get())?;
    Ok(text)
}

/// Whether the service refused an order because there is no composite index for it.
fn wants_index(cause: &(dyn std::error::Error + 'static)) -> bool {
    Chain(cause).to_string().contains("composite index")
}

/// Whether a query failed because of its continuation token. The service refuses one of another query; one that the SDK
/// cannot read is a 500 of its own.
fn refuses_token(error: &Error) -> bool {
    match error {
        Error::Failed(cause) => !wants_index(&**cause),
        Error::Unavailable(cause) => Chain(&**cause).to_string().contains("continuation token"),
        Error::Conflict | Error::TooLarge { .. } => false,
    }
}

/// Sorts those documents by `ties` that have the same `first` and follow each other.
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

fn id_of(document: &Value) -> Result<&str> {
    document.get("id").and_then(Value::as_str).ok_or_else(|| failed("a document without an id"))
}

fn if_match(etag: &ETag) -> Precondition {
    Precondition::if_match(Etag::from(etag.0.clone()))
}

fn etag_of(response: &ItemResponse) -> Result<ETag> {
    let etag = response.headers().etag().ok_or_else(|| failed("the service answered a write without a version"))?;
    Ok(ETag(etag.to_string()))
}

/// Whether nothing is left to read. The SDK writes this into its token and offers no other way to see it without asking
/// the service once more. If the form of the token changes, this costs an empty page at the end, no more.
fn is_end(token: &ContinuationToken) -> bool {
    let decoded = token.as_str().strip_prefix(TOKEN_PREFIX).and_then(|body| BASE64_URL_SAFE_NO_PAD.decode(body).ok());
    let state: Option<Value> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
    state.is_some_and(|state| state.pointer("/root/kind").and_then(Value::as_str) == Some("drained"))
}

/// Whether an earlier attempt of the same call may have been carried out: it was sent, and what came back, if anything,
/// does not rule it out.
fn was_attempted_before(diagnostics: &azure_data_cosmos::diagnostics::DiagnosticsContext) -> bool {
    let requests = diagnostics.requests();
    let attempts: Vec<_> = requests.iter().filter(|request| request.pipeline_type().is_data_plane()).collect();
    let forgotten = diagnostics.request_count() > diagnostics.retained_request_count();
    let Some((_, earlier)) = attempts.split_last() else { return forgotten };
    forgotten
        || earlier.iter().any(|attempt| {
            let code = u16::from(attempt.status().status_code());
            attempt.request_sent().may_have_been_sent() && matches!(code, 408 | 410 | 500..)
        })
}

fn was_repeated(failure: &CosmosError) -> bool {
    let status = failure.status();
    let is_conflict = status.is_conflict() || status.is_precondition_failed() || status.is_not_found();
    is_conflict && failure.diagnostics().is_some_and(|diagnostics| was_attempted_before(&diagnostics))
}

/// Equality of documents. The service keeps numbers as doubles, so `1.0` comes back as `1`.
fn same_content(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_content(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_content(a, b)))
        }
        _ => a == b,
    }
}

fn batch_outcome(results: &[TransactionalBatchOperationResult], size_bytes: usize) -> Result<()> {
    // 424 only says that another one failed.
    let refused = results.iter().map(TransactionalBatchOperationResult::status_code).filter(|code| *code >= 400);
    match refused.min_by_key(|code| *code == 424) {
        None => Ok(()),
        Some(404 | 409 | 412) => Err(Error::Conflict),
        Some(413) => Err(Error::TooLarge { size_bytes }),
        Some(code) if outage::of_status(code) => {
            Err(Error::Unavailable(format!("the batch was answered with {code}").into()))
        }
        Some(code) => Err(failed(format!("the batch was answered with {code}"))),
    }
}

/// The error of an operation that expects to find nothing in its way.
fn error(failure: CosmosError) -> Error {
    let status = failure.status();
    match u16::from(status.status_code()) {
        code if outage::of_status(code) => Error::Unavailable(failure.into()),
        // Another replica has not caught up yet.
        404 if status.is_read_session_not_available() => Error::Unavailable(failure.into()),
        _ => Error::Failed(failure.into()),
    }
}

/// The error of a write of so many bytes: what is in its way is a conflict.
fn write_error(failure: CosmosError, size_bytes: usize) -> Error {
    let status = failure.status();
    if status.is_conflict() || status.is_precondition_failed() || status.is_not_found() {
        return Error::Conflict;
    }
    if u16::from(status.status_code()) == 413 {
        return Error::TooLarge { size_bytes };
    }
    error(failure)
}

fn failed(message: impl Into<String>) -> Error {
    Error::Failed(message.into().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(codes: &[u16]) -> Vec<TransactionalBatchOperationResult> {
        codes.iter().map(|code| serde_json::from_value(json!({ "statusCode": code })).unwrap()).collect()
    }

    #[test]
    fn a_batch_fails_for_the_reason_of_the_refused_write() {
        assert!(batch_outcome(&results(&[200, 201, 204]), 9).is_ok());
        for conflict in [404, 409, 412] {
            assert!(matches!(batch_outcome(&results(&[424, conflict, 424]), 9), Err(Error::Conflict)));
        }
        assert!(matches!(batch_outcome(&results(&[424, 429]), 9), Err(Error::Unavailable(_))));
        assert!(matches!(batch_outcome(&results(&[424, 413]), 9), Err(Error::TooLarge { size_bytes: 9 })));
        assert!(matches!(batch_outcome(&results(&[400, 424]), 9), Err(Error::Failed(_))));
        // All are bystanders only when the service keeps the reason to itself.
        assert!(matches!(batch_outcome(&results(&[424, 424]), 9), Err(Error::Failed(_))));
    }

    #[test]
    fn numbers_are_equal_by_value_and_all_else_by_form() {
        assert!(same_content(&json!({ "a": [1.0, { "b": null }] }), &json!({ "a": [1, { "b": null }] })));
        assert!(!same_content(&json!({ "a": 1 }), &json!({ "a": "1" })));
        assert!(!same_content(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(!same_content(&json!([1]), &json!([1, 2])));
    }

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
