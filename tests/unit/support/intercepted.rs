//! Store, queue, blobs and model behind an interceptor, which sees each call and may make it fail.

use std::future::{Future, pending};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use pluckit::blob::{self, Blob, BlobName, BlobStore, ContainerName, Properties, Put, SourceHash, Span};
use pluckit::llm::{self, CallContext, ChatRequest, Model, PartStream, Purpose, Reply};
use pluckit::queue::{self, JobQueue, Message};
use pluckit::store::{
    self, ChangeMark, Container, DocumentStore, ETag, Key, Page, PartitionIndex, Query, Stored, Upkeep, Write,
};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::yield_now;
use url::Url;

/// A call to something that the service depends on.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What is called, and how: `store.read`.
    pub name: &'static str,
    /// The container of a call to the store.
    pub container: Option<Container>,
    /// The document that it writes.
    pub document: Option<&'a Value>,
    /// The query that it runs.
    pub query: Option<&'a Query>,
    /// How many documents a batch writes.
    pub writes: usize,
}

impl Call<'_> {
    fn to(name: &'static str) -> Self {
        Self { name, container: None, document: None, query: None, writes: 0 }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on.
    Passes,
    /// It is passed on after all other tasks had a turn, so that independent calls overlap.
    GivesWay,
    /// It fails, and nothing is done.
    Fails,
    /// It is done, and the answer is lost.
    LosesAnswer,
    /// It never ends.
    Hangs,
}

/// Sees each call.
pub trait Interceptor: Send + Sync {
    /// What becomes of the call.
    fn before(&self, call: &Call<'_>) -> Fate;

    /// The call is done or has failed, and its answer is on the way.
    fn after(&self, _call: &Call<'_>) {}

    /// A page in place of the store's own.
    fn query(&self, _query: &Query) -> Option<Page> {
        None
    }

    /// What the store's index of vectors finds, in place of the store's own answer.
    fn nearest(&self, _query: &Query, _field: &'static str) -> Option<Vec<Stored>> {
        None
    }
}

impl<F: Fn(&Call<'_>) -> Fate + Send + Sync> Interceptor for F {
    fn before(&self, call: &Call<'_>) -> Fate {
        self(call)
    }
}

/// Something that is called, behind an interceptor.
pub struct Intercepted<T: ?Sized> {
    inner: Arc<T>,
    interceptor: Arc<dyn Interceptor>,
}

impl<T: ?Sized> Intercepted<T> {
    pub fn new(inner: Arc<T>, interceptor: Arc<dyn Interceptor>) -> Arc<Self> {
        Arc::new(Self { inner, interceptor })
    }

    async fn through<R, E>(
        &self,
        call: Call<'_>,
        fault: fn(Box<dyn std::error::Error + Send + Sync>) -> E,
        work: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        match self.interceptor.before(&call) {
            fate @ (Fate::Passes | Fate::GivesWay) => {
                if fate == Fate::GivesWay {
                    yield_now().await;
                }
                let done = work.await;
                self.interceptor.after(&call);
                done
            }
            Fate::Fails => Err(fault("intercepted before it was done".into())),
            Fate::LosesAnswer => {
                work.await?;
                Err(fault("intercepted after it was done".into()))
            }
            Fate::Hangs => pending().await,
        }
    }
}

impl<T: ?Sized> Deref for Intercepted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

fn at(name: &'static str, container: Container) -> Call<'static> {
    Call { container: Some(container), ..Call::to(name) }
}

#[async_trait]
impl<T: DocumentStore + ?Sized> DocumentStore for Intercepted<T> {
    async fn read(&self, key: &Key) -> store::Result<Option<Stored>> {
        self.through(at("store.read", key.container), store::Error::Unavailable, self.inner.read(key)).await
    }

    async fn create(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let call = Call { document: Some(document), ..at("store.create", key.container) };
        self.through(call, store::Error::Unavailable, self.inner.create(key, document)).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let call = Call { document: Some(document), ..at("store.upsert", key.container) };
        self.through(call, store::Error::Unavailable, self.inner.upsert(key, document)).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> store::Result<ETag> {
        let call = Call { document: Some(document), ..at("store.replace", key.container) };
        self.through(call, store::Error::Unavailable, self.inner.replace(key, document, etag)).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> store::Result<bool> {
        let work = self.inner.delete(key, etag);
        self.through(at("store.delete", key.container), store::Error::Unavailable, work).await
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> store::Result<()> {
        let work = self.inner.batch(container, partition, writes);
        let call = Call { writes: writes.len(), ..at("store.batch", container) };
        self.through(call, store::Error::Unavailable, work).await
    }

    async fn query(&self, query: &Query) -> store::Result<Page> {
        let call = Call { query: Some(query), ..at("store.query", query.container) };
        let work = async {
            match self.interceptor.query(query) {
                Some(page) => Ok(page),
                None => self.inner.query(query).await,
            }
        };
        self.through(call, store::Error::Unavailable, work).await
    }
}

#[async_trait]
impl<T: DocumentStore + ?Sized> PartitionIndex for Intercepted<T> {
    async fn changes(&self, container: Container, partition: &str) -> store::Result<Option<ChangeMark>> {
        let work = self.inner.changes(container, partition);
        self.through(at("store.changes", container), store::Error::Unavailable, work).await
    }

    async fn count(&self, query: &Query) -> store::Result<u64> {
        let call = Call { query: Some(query), ..at("store.count", query.container) };
        self.through(call, store::Error::Unavailable, self.inner.count(query)).await
    }

    async fn nearest(&self, query: &Query, field: &'static str, vector: &[f32]) -> store::Result<Option<Vec<Stored>>> {
        let call = Call { query: Some(query), ..at("store.nearest", query.container) };
        let work = async {
            match self.interceptor.nearest(query, field) {
                Some(found) => Ok(Some(found)),
                None => self.inner.nearest(query, field, vector).await,
            }
        };
        self.through(call, store::Error::Unavailable, work).await
    }
}

#[async_trait]
impl<T: DocumentStore + ?Sized> Upkeep for Intercepted<T> {
    async fn ping(&self) -> store::Result<()> {
        self.through(Call::to("store.ping"), store::Error::Unavailable, self.inner.ping()).await
    }

    async fn sweep_expired(&self) -> store::Result<usize> {
        self.through(Call::to("store.sweep_expired"), store::Error::Unavailable, self.inner.sweep_expired()).await
    }

    async fn find_damage(&self) -> store::Result<Option<String>> {
        self.through(Call::to("store.find_damage"), store::Error::Unavailable, self.inner.find_damage()).await
    }
}

#[async_trait]
impl<T: JobQueue + ?Sized> JobQueue for Intercepted<T> {
    async fn send(&self, queue: &str, text: &str) -> queue::Result<()> {
        self.through(Call::to("queue.send"), queue::Error::Unavailable, self.inner.send(queue, text)).await
    }

    async fn send_for(&self, queue: &str, user: &str, text: &str) -> queue::Result<()> {
        let work = self.inner.send_for(queue, user, text);
        self.through(Call::to("queue.send"), queue::Error::Unavailable, work).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> queue::Result<Vec<Message>> {
        let work = self.inner.receive(queue, most, visibility);
        self.through(Call::to("queue.receive"), queue::Error::Unavailable, work).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> queue::Result<()> {
        let work = self.inner.renew(queue, message, visibility);
        self.through(Call::to("queue.renew"), queue::Error::Unavailable, work).await
    }

    async fn delete(&self, queue: &str, message: &Message) -> queue::Result<()> {
        self.through(Call::to("queue.delete"), queue::Error::Unavailable, self.inner.delete(queue, message)).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> queue::Result<()> {
        let work = self.inner.move_to(from, message, to);
        self.through(Call::to("queue.move_to"), queue::Error::Unavailable, work).await
    }

    async fn length(&self, queue: &str) -> queue::Result<usize> {
        self.through(Call::to("queue.length"), queue::Error::Unavailable, self.inner.length(queue)).await
    }

    async fn wait(&self, queue: &str, limit: Duration) {
        self.inner.wait(queue, limit).await;
    }
}

#[async_trait]
impl<T: BlobStore + ?Sized> BlobStore for Intercepted<T> {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> blob::Result<Put> {
        let work = self.inner.put_if_absent(container, name, content, source);
        self.through(Call::to("blobs.put_if_absent"), blob::Error::Unavailable, work).await
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> blob::Result<()> {
        let work = self.inner.put(container, name, content);
        self.through(Call::to("blobs.put"), blob::Error::Unavailable, work).await
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> blob::Result<Option<Blob>> {
        let work = self.inner.get(container, name, span);
        self.through(Call::to("blobs.get"), blob::Error::Unavailable, work).await
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> blob::Result<Option<Properties>> {
        let work = self.inner.properties(container, name);
        self.through(Call::to("blobs.properties"), blob::Error::Unavailable, work).await
    }

    async fn list(
        &self,
        container: &ContainerName,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> blob::Result<blob::Page> {
        let work = self.inner.list(container, prefix, after, most);
        self.through(Call::to("blobs.list"), blob::Error::Unavailable, work).await
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> blob::Result<bool> {
        let work = self.inner.delete(container, name);
        self.through(Call::to("blobs.delete"), blob::Error::Unavailable, work).await
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
        self.through(Call::to("blobs.is_ready"), blob::Error::Unavailable, self.inner.is_ready(container)).await
    }

    async fn sweep(&self, now: OffsetDateTime) -> blob::Result<usize> {
        self.through(Call::to("blobs.sweep"), blob::Error::Unavailable, self.inner.sweep(now)).await
    }
}

#[async_trait]
impl<T: Model + ?Sized> Model for Intercepted<T> {
    fn name(&self, purpose: Purpose) -> &str {
        self.inner.name(purpose)
    }

    /// A stream whose answer is lost breaks off after its first part.
    async fn stream(&self, context: &CallContext, request: ChatRequest) -> llm::Result<PartStream> {
        let call = Call::to("model.stream");
        match self.interceptor.before(&call) {
            Fate::Passes | Fate::GivesWay => {
                let parts = self.inner.stream(context, request).await;
                self.interceptor.after(&call);
                parts
            }
            Fate::Fails => Err(llm::Error::Unavailable("intercepted before it was done".into())),
            Fate::LosesAnswer => {
                let first = self.inner.stream(context, request).await?.take(1);
                let cut = stream::iter([Err(llm::Error::Interrupted("intercepted".into()))]);
                Ok(first.chain(cut).boxed())
            }
            Fate::Hangs => pending().await,
        }
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        self.through(Call::to("model.complete"), llm::Error::Unavailable, self.inner.complete(context, request)).await
    }

    async fn embed(&self, context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        self.through(Call::to("model.embed"), llm::Error::Unavailable, self.inner.embed(context, texts)).await
    }

    async fn ping(&self) -> llm::Result<()> {
        self.through(Call::to("model.ping"), llm::Error::Unavailable, self.inner.ping()).await
    }
}
