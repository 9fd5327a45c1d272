//! Wraps store, queue and blobs to inject faults, count calls or simulate a network.

use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use pluckit::blob::{self, Blob, BlobName, BlobStore, ContainerName, Properties, Put, SourceHash, Span};
use pluckit::queue::{self, JobQueue, Message};
use pluckit::store::{
    self, ChangeMark, Container, DocumentStore, ETag, Key, Page, PartitionIndex, Query, Stored, Upkeep, Write,
};
use serde_json::Value;
use time::OffsetDateTime;
use url::Url;

/// Why a call failed.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// The effect of a call on the service; it happens each time this is called.
pub type Effect<R, E> = Box<dyn Fn() -> BoxFuture<'static, Result<R, E>> + Send>;

/// A call to a dependency of the service.
#[derive(Clone)]
pub struct Call<'a> {
    /// Dependency and operation, such as `store.read`.
    pub name: &'static str,
    /// The documents, queue or blob concerned.
    pub subject: String,
    /// The container of a call to the store.
    pub container: Option<Container>,
    /// The documents that it writes.
    pub keys: Vec<Key>,
    /// The document that it writes, if it writes a single whole one.
    pub document: Option<&'a Value>,
    /// The query that it runs.
    pub query: Option<&'a Query>,
}

impl Call<'_> {
    /// Creates a call without details.
    pub fn new(name: &'static str) -> Self {
        Self::about(name, String::new())
    }

    fn about(name: &'static str, subject: String) -> Self {
        Self { name, subject, container: None, keys: Vec::new(), document: None, query: None }
    }

    fn to_container(name: &'static str, container: Container) -> Self {
        Self { container: Some(container), ..Self::new(name) }
    }

    fn to_document(name: &'static str, key: &Key) -> Self {
        Self { container: Some(key.container), ..Self::about(name, place(key)) }
    }

    fn writing(name: &'static str, key: &Key) -> Self {
        Self { keys: vec![key.clone()], ..Self::to_document(name, key) }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)?;
        if let Some(container) = self.container {
            write!(formatter, " {container:?}")?;
        }
        if !self.subject.is_empty() {
            write!(formatter, " {}", self.subject)?;
        }
        if let Some(document) = self.document {
            write!(formatter, " {document}")?;
        }
        if let Some(query) = self.query {
            write!(formatter, " {query:?}")?;
        }
        Ok(())
    }
}

fn place(key: &Key) -> String {
    format!("{}/{}", key.partition, key.id)
}

/// Intercepts calls to a dependency.
#[async_trait]
pub trait Between: Send + Sync {
    /// Carries a call to the dependency, and its answer back. `unavailable` creates the error of a call that does not
    /// arrive.
    async fn carry<R, E>(&self, call: Call<'_>, unavailable: fn(Cause) -> E, effect: Effect<R, E>) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static;

    /// Returns a page instead of the store's.
    fn query(&self, _query: &Query) -> Option<Page> {
        None
    }

    /// Returns a result of the vector index instead of the store's.
    fn nearest(&self, _query: &Query, _field: &'static str) -> Option<Vec<Stored>> {
        None
    }

    /// Returns a wait instead of the queue's.
    fn wait(&self, _limit: Duration) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// A dependency behind an interceptor.
pub struct Reached<T: ?Sized, B> {
    pub inner: Arc<T>,
    pub between: B,
}

impl<T: ?Sized, B> Reached<T, B> {
    pub fn new(inner: Arc<T>, between: B) -> Arc<Self> {
        Arc::new(Self { inner, between })
    }
}

impl<T: ?Sized, B> Deref for Reached<T, B> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// Builds the effect of a call to `$service` with copies of these arguments.
macro_rules! effect {
    ($reached:ident, [$($argument:ident),*], $service:ident => $call:expr) => {{
        let $service = $reached.inner.clone();
        $(let $argument = $argument.to_owned();)*
        Box::new(move || {
            let $service = $service.clone();
            $(let $argument = $argument.clone();)*
            async move { $call.await }.boxed()
        })
    }};
}

#[async_trait]
impl<T: DocumentStore + ?Sized + 'static, B: Between> DocumentStore for Reached<T, B> {
    async fn read(&self, key: &Key) -> store::Result<Option<Stored>> {
        let effect = effect!(self, [key], store => store.read(&key));
        self.between.carry(Call::to_document("store.read", key), store::Error::Unavailable, effect).await
    }

    async fn create(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let effect = effect!(self, [key, document], store => store.create(&key, &document));
        let call = Call { document: Some(document), ..Call::writing("store.create", key) };
        self.between.carry(call, store::Error::Unavailable, effect).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let effect = effect!(self, [key, document], store => store.upsert(&key, &document));
        let call = Call { document: Some(document), ..Call::writing("store.upsert", key) };
        self.between.carry(call, store::Error::Unavailable, effect).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> store::Result<ETag> {
        let effect = effect!(self, [key, document, etag], store => store.replace(&key, &document, &etag));
        let call = Call { document: Some(document), ..Call::writing("store.replace", key) };
        self.between.carry(call, store::Error::Unavailable, effect).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> store::Result<bool> {
        let etag = etag.cloned();
        let effect = effect!(self, [key, etag], store => store.delete(&key, etag.as_ref()));
        self.between.carry(Call::writing("store.delete", key), store::Error::Unavailable, effect).await
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> store::Result<()> {
        let ids = writes.iter().map(|write| match write {
            Write::Create { document } | Write::Replace { document, .. } => document["id"].as_str().unwrap_or_default(),
            Write::Delete { id, .. } => id,
        });
        let keys: Vec<_> = ids.map(|id| Key::new(container, partition, id)).collect();
        let subject = keys.iter().map(place).collect::<Vec<_>>().join(", ");
        let call = Call { container: Some(container), keys, ..Call::about("store.batch", subject) };
        let effect = effect!(self, [partition, writes], store => store.batch(container, &partition, &writes));
        self.between.carry(call, store::Error::Unavailable, effect).await
    }

    async fn query(&self, query: &Query) -> store::Result<Page> {
        let call = Call { query: Some(query), ..Call::to_container("store.query", query.container) };
        let effect: Effect<_, _> = match self.between.query(query) {
            Some(page) => Box::new(move || futures::future::ok(page.clone()).boxed()),
            None => effect!(self, [query], store => store.query(&query)),
        };
        self.between.carry(call, store::Error::Unavailable, effect).await
    }
}

#[async_trait]
impl<T: DocumentStore + ?Sized + 'static, B: Between> PartitionIndex for Reached<T, B> {
    async fn changes(&self, container: Container, partition: &str) -> store::Result<Option<ChangeMark>> {
        let effect = effect!(self, [partition], store => store.changes(container, &partition));
        self.between.carry(Call::to_container("store.changes", container), store::Error::Unavailable, effect).await
    }

    async fn count(&self, query: &Query) -> store::Result<u64> {
        let call = Call { query: Some(query), ..Call::to_container("store.count", query.container) };
        let effect = effect!(self, [query], store => store.count(&query));
        self.between.carry(call, store::Error::Unavailable, effect).await
    }

    async fn nearest(&self, query: &Query, field: &'static str, vector: &[f32]) -> store::Result<Option<Vec<Stored>>> {
        let call = Call { query: Some(query), ..Call::to_container("store.nearest", query.container) };
        let effect: Effect<_, _> = match self.between.nearest(query, field) {
            Some(found) => Box::new(move || futures::future::ok(Some(found.clone())).boxed()),
            None => effect!(self, [query, vector], store => store.nearest(&query, field, &vector)),
        };
        self.between.carry(call, store::Error::Unavailable, effect).await
    }
}

#[async_trait]
impl<T: DocumentStore + ?Sized + 'static, B: Between> Upkeep for Reached<T, B> {
    async fn ping(&self) -> store::Result<()> {
        let effect = effect!(self, [], store => store.ping());
        self.between.carry(Call::new("store.ping"), store::Error::Unavailable, effect).await
    }

    async fn sweep_expired(&self) -> store::Result<usize> {
        let effect = effect!(self, [], store => store.sweep_expired());
        self.between.carry(Call::new("store.sweep_expired"), store::Error::Unavailable, effect).await
    }

    async fn find_damage(&self) -> store::Result<Option<String>> {
        let effect = effect!(self, [], store => store.find_damage());
        self.between.carry(Call::new("store.find_damage"), store::Error::Unavailable, effect).await
    }
}

#[async_trait]
impl<T: JobQueue + ?Sized + 'static, B: Between> JobQueue for Reached<T, B> {
    async fn send(&self, queue: &str, text: &str) -> queue::Result<()> {
        let call = Call::about("queue.send", queue.to_owned());
        let effect = effect!(self, [queue, text], service => service.send(&queue, &text));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn send_for(&self, queue: &str, user: &str, text: &str) -> queue::Result<()> {
        let call = Call::about("queue.send", queue.to_owned());
        let effect = effect!(self, [queue, user, text], service => service.send_for(&queue, &user, &text));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> queue::Result<Vec<Message>> {
        let call = Call::about("queue.receive", queue.to_owned());
        let effect = effect!(self, [queue], service => service.receive(&queue, most, visibility));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> queue::Result<()> {
        let call = Call::about("queue.renew", format!("{queue}/{}", message.id));
        let held = &*message;
        let effect = effect!(self, [queue, held], service => async {
            let mut held = held;
            service.renew(&queue, &mut held, visibility).await.map(|()| held)
        });
        *message = self.between.carry(call, queue::Error::Unavailable, effect).await?;
        Ok(())
    }

    async fn delete(&self, queue: &str, message: &Message) -> queue::Result<()> {
        let call = Call::about("queue.delete", format!("{queue}/{}", message.id));
        let effect = effect!(self, [queue, message], service => service.delete(&queue, &message));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> queue::Result<()> {
        let call = Call::about("queue.move_to", format!("{from}/{} to {to}", message.id));
        let effect = effect!(self, [from, message, to], service => service.move_to(&from, &message, &to));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn length(&self, queue: &str) -> queue::Result<usize> {
        let call = Call::about("queue.length", queue.to_owned());
        let effect = effect!(self, [queue], service => service.length(&queue));
        self.between.carry(call, queue::Error::Unavailable, effect).await
    }

    async fn wait(&self, queue: &str, limit: Duration) {
        match self.between.wait(limit) {
            Some(wait) => wait.await,
            None => self.inner.wait(queue, limit).await,
        }
    }
}

#[async_trait]
impl<T: BlobStore + ?Sized + 'static, B: Between> BlobStore for Reached<T, B> {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> blob::Result<Put> {
        let call = Call::about("blobs.put_if_absent", name.to_string());
        let source = source.cloned();
        let effect = effect!(self, [container, name, content, source], blobs => {
            blobs.put_if_absent(&container, &name, content, source.as_ref())
        });
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> blob::Result<()> {
        let call = Call::about("blobs.put", name.to_string());
        let effect = effect!(self, [container, name, content], blobs => blobs.put(&container, &name, content));
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> blob::Result<Option<Blob>> {
        let call = Call::about("blobs.get", name.to_string());
        let effect = effect!(self, [container, name], blobs => blobs.get(&container, &name, span));
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> blob::Result<Option<Properties>> {
        let call = Call::about("blobs.properties", name.to_string());
        let effect = effect!(self, [container, name], blobs => blobs.properties(&container, &name));
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    async fn list(
        &self,
        container: &ContainerName,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> blob::Result<blob::Page> {
        let call = Call::about("blobs.list", prefix.to_owned());
        let after = after.map(str::to_owned);
        let effect = effect!(self, [container, prefix, after], blobs => {
            blobs.list(&container, &prefix, after.as_deref(), most)
        });
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> blob::Result<bool> {
        let call = Call::about("blobs.delete", name.to_string());
        let effect = effect!(self, [container, name], blobs => blobs.delete(&container, &name));
        self.between.carry(call, blob::Error::Unavailable, effect).await
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        self.inner.public_url(container, name)
    }

    fn shown_url(&self, container: &ContainerName, name: &BlobName, now: OffsetDateTime) -> Url {
        self.inner.shown_url(container, name, now)
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        self.inner.locate(address)
    }

    async fn is_ready(&self, container: &ContainerName) -> blob::Result<bool> {
        let effect = effect!(self, [container], blobs => blobs.is_ready(&container));
        self.between.carry(Call::new("blobs.is_ready"), blob::Error::Unavailable, effect).await
    }

    async fn sweep(&self, now: OffsetDateTime) -> blob::Result<usize> {
        let effect = effect!(self, [], blobs => blobs.sweep(now));
        self.between.carry(Call::new("blobs.sweep"), blob::Error::Unavailable, effect).await
    }
}
