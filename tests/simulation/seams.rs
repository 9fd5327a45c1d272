//! The services that an instance calls, as it finds them: far away, slow, and now and then out of order.
//!
//! A call is carried out by the real store, queue or double at one moment, and its answer travels back. Who gives a call up
//! does not take it back: what is on its way takes effect. Of a process that has died, no call leaves and no answer arrives.

use std::error::Error as StdError;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use pluckit::blob::{self, Blob, BlobName, BlobStore, ContainerName, Properties, Put, SourceHash, Span};
use pluckit::queue::local::LocalQueue;
use pluckit::queue::{self, JobQueue, Message};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{
    self, ChangeMark, Container, DocumentStore, ETag, Key, Page, PartitionIndex, Query, Stored, Upkeep, Write,
};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use url::Url;

use crate::doubles::blobs::MemoryBlobs;
use crate::world::{Fault, Life, World};

type Cause = Box<dyn StdError + Send + Sync>;

/// The way from an instance to the services.
#[derive(Clone)]
pub struct Link {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl Link {
    /// Makes a call to `service`, named `what` in the trace. `effect` is carried out at one moment, or twice.
    pub async fn call<R, E>(
        &self,
        service: &'static str,
        what: String,
        unavailable: fn(Cause) -> E,
        mut effect: impl FnMut() -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: Display + Send + 'static,
    {
        self.life.goes_on().await;
        let fate = self.world.fate(service);
        let (reply, answer) = oneshot::channel();
        let (world, who) = (self.world.clone(), self.life.name.clone());
        self.world.tasks.spawn(async move {
            tokio::time::sleep(fate.before).await;
            let outcome = if fate.fault == Some(Fault::Refused) {
                Err(unavailable("refused".into()))
            } else {
                world.set_server_clock();
                let outcome = effect();
                if fate.fault == Some(Fault::Twice) { effect() } else { outcome }
            };
            let result = outcome.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned());
            let fault = fate.fault.map_or_else(String::new, |fault| format!(" [{fault:?}]"));
            world.note(&who, &format!("{service} {what}: {result}{fault}"));
            tokio::time::sleep(fate.after).await;
            let lost = fate.fault == Some(Fault::AnswerLost);
            let outcome = outcome.and_then(|done| if lost { Err(unavailable("answer lost".into())) } else { Ok(done) });
            // Whoever asked may have given up.
            drop(reply.send(outcome));
        });
        let answer = answer.await.expect("every call is answered");
        self.life.goes_on().await;
        answer
    }
}

/// The document store.
pub struct Documents {
    pub link: Link,
    pub store: Arc<SqliteStore>,
}

impl Documents {
    async fn call<R: Send + 'static>(
        &self,
        what: String,
        effect: impl Fn(&SqliteStore) -> store::Result<R> + Send + 'static,
    ) -> store::Result<R> {
        let store = self.store.clone();
        self.link.call("store", what, store::Error::Unavailable, move || effect(&store)).await
    }

    /// A call that writes these documents of which checks want to know what they were and are.
    async fn write<R: Send + 'static>(
        &self,
        what: String,
        keys: Vec<Key>,
        effect: impl Fn(&SqliteStore) -> store::Result<R> + Send + 'static,
    ) -> store::Result<R> {
        let (world, life) = (self.link.world.clone(), self.link.life.clone());
        let watched: Vec<Key> = keys.into_iter().filter(|key| crate::checks::is_watched(key.container)).collect();
        self.call(what, move |store| {
            let look = |key: &Key| -> Option<Value> { block_on(store.read(key)).unwrap()?.parse().ok() };
            let before: Vec<_> = watched.iter().map(look).collect();
            let outcome = effect(store);
            if outcome.is_ok() {
                for (key, before) in watched.iter().zip(before) {
                    crate::checks::written(&world, &life, key, before.as_ref(), look(key).as_ref());
                }
            }
            outcome
        })
        .await
    }
}

fn place(key: &Key) -> String {
    format!("{:?}/{}/{}", key.container, key.partition, key.id)
}

#[async_trait]
impl DocumentStore for Documents {
    async fn read(&self, key: &Key) -> store::Result<Option<Stored>> {
        let key = key.clone();
        self.call(format!("read {}", place(&key)), move |store| block_on(store.read(&key))).await
    }

    async fn create(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let (key, document) = (key.clone(), document.clone());
        let what = format!("create {} {document}", place(&key));
        self.write(what, vec![key.clone()], move |store| block_on(store.create(&key, &document))).await
    }

    async fn upsert(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        let (key, document) = (key.clone(), document.clone());
        let what = format!("upsert {} {document}", place(&key));
        self.write(what, vec![key.clone()], move |store| block_on(store.upsert(&key, &document))).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> store::Result<ETag> {
        let (key, document, etag) = (key.clone(), document.clone(), etag.clone());
        let what = format!("replace {} {document}", place(&key));
        self.write(what, vec![key.clone()], move |store| block_on(store.replace(&key, &document, &etag))).await
    }

    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> store::Result<bool> {
        let (key, etag) = (key.clone(), etag.cloned());
        let what = format!("delete {}", place(&key));
        self.write(what, vec![key.clone()], move |store| block_on(store.delete(&key, etag.as_ref()))).await
    }

    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> store::Result<()> {
        let (partition, writes) = (partition.to_owned(), writes.to_vec());
        let ids = writes.iter().map(|write| match write {
            Write::Create { document } | Write::Replace { document, .. } => document["id"].as_str().unwrap_or_default(),
            Write::Delete { id, .. } => id,
        });
        let keys: Vec<Key> = ids.map(|id| Key::new(container, partition.as_str(), id)).collect();
        let what = format!("batch {:?} {writes:?}", keys.iter().map(place).collect::<Vec<_>>());
        self.write(what, keys, move |store| block_on(store.batch(container, &partition, &writes))).await
    }

    async fn query(&self, query: &Query) -> store::Result<Page> {
        let query = query.clone();
        self.call(format!("query {:?}", query.container), move |store| block_on(store.query(&query))).await
    }
}

#[async_trait]
impl PartitionIndex for Documents {
    async fn changes(&self, container: Container, partition: &str) -> store::Result<Option<ChangeMark>> {
        let partition = partition.to_owned();
        self.call("changes".to_owned(), move |store| block_on(store.changes(container, &partition))).await
    }

    async fn count(&self, query: &Query) -> store::Result<u64> {
        let query = query.clone();
        self.call(format!("count {:?}", query.container), move |store| block_on(store.count(&query))).await
    }

    async fn nearest(&self, query: &Query, field: &'static str, vector: &[f32]) -> store::Result<Option<Vec<Stored>>> {
        let (query, vector) = (query.clone(), vector.to_vec());
        self.call("nearest".to_owned(), move |store| block_on(store.nearest(&query, field, &vector))).await
    }
}

#[async_trait]
impl Upkeep for Documents {
    async fn ping(&self) -> store::Result<()> {
        self.call("ping".to_owned(), |store| block_on(store.ping())).await
    }

    async fn sweep_expired(&self) -> store::Result<usize> {
        self.call("sweep".to_owned(), |store| block_on(store.sweep_expired())).await
    }

    async fn find_damage(&self) -> store::Result<Option<String>> {
        self.call("look for damage".to_owned(), |store| block_on(store.find_damage())).await
    }
}

/// The queue.
pub struct Messages {
    pub link: Link,
    pub queue: Arc<LocalQueue>,
}

impl Messages {
    async fn call<R: Send + 'static>(
        &self,
        what: String,
        effect: impl Fn(&LocalQueue) -> queue::Result<R> + Send + 'static,
    ) -> queue::Result<R> {
        let queue = self.queue.clone();
        self.link.call("queue", what, queue::Error::Unavailable, move || effect(&queue)).await
    }
}

#[async_trait]
impl JobQueue for Messages {
    async fn send(&self, queue: &str, text: &str) -> queue::Result<()> {
        self.send_for(queue, "", text).await
    }

    async fn send_for(&self, queue: &str, user: &str, text: &str) -> queue::Result<()> {
        let (name, user, text) = (queue.to_owned(), user.to_owned(), text.to_owned());
        let world = self.link.world.clone();
        let effect = move |queue: &LocalQueue| {
            block_on(queue.send_for(&name, &user, &text))?;
            world.queued.notify_waiters();
            Ok(())
        };
        self.call(format!("send {queue}"), effect).await
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> queue::Result<Vec<Message>> {
        let name = queue.to_owned();
        let effect = move |queue: &LocalQueue| block_on(queue.receive(&name, most, visibility));
        self.call(format!("receive {queue}"), effect).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> queue::Result<()> {
        let (name, held, world) = (queue.to_owned(), message.clone(), self.link.world.clone());
        let effect = move |queue: &LocalQueue| {
            let mut held = held.clone();
            block_on(queue.renew(&name, &mut held, visibility))?;
            world.queued.notify_waiters();
            Ok(held)
        };
        *message = self.call(format!("renew {queue}/{}", message.id), effect).await?;
        Ok(())
    }

    async fn delete(&self, queue: &str, message: &Message) -> queue::Result<()> {
        let (name, held) = (queue.to_owned(), message.clone());
        let effect = move |queue: &LocalQueue| block_on(queue.delete(&name, &held));
        self.call(format!("delete {queue}/{}", message.id), effect).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> queue::Result<()> {
        let (source, target, held) = (from.to_owned(), to.to_owned(), message.clone());
        let effect = move |queue: &LocalQueue| block_on(queue.move_to(&source, &held, &target));
        self.call(format!("move {from}/{} to {to}", message.id), effect).await
    }

    async fn length(&self, queue: &str) -> queue::Result<usize> {
        let name = queue.to_owned();
        self.call("length".to_owned(), move |queue: &LocalQueue| block_on(queue.length(&name))).await
    }

    async fn wait(&self, _queue: &str, limit: Duration) {
        tokio::select! {
            biased;
            () = self.link.world.queued.notified() => {}
            () = tokio::time::sleep(limit) => {}
        }
    }
}

/// The blobs.
pub struct Files {
    pub link: Link,
    pub blobs: Arc<MemoryBlobs>,
}

impl Files {
    async fn call<R: Send + 'static>(
        &self,
        what: String,
        effect: impl Fn(&MemoryBlobs) -> blob::Result<R> + Send + 'static,
    ) -> blob::Result<R> {
        let blobs = self.blobs.clone();
        self.link.call("blobs", what, blob::Error::Unavailable, move || effect(&blobs)).await
    }
}

#[async_trait]
impl BlobStore for Files {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> blob::Result<Put> {
        let (what, source) = (format!("put {name} if absent"), source.cloned());
        let (container, name) = (container.clone(), name.clone());
        self.call(what, move |blobs| block_on(blobs.put_if_absent(&container, &name, content.clone(), source.as_ref())))
            .await
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> blob::Result<()> {
        let (what, container, name) = (format!("put {name}"), container.clone(), name.clone());
        self.call(what, move |blobs| block_on(blobs.put(&container, &name, content.clone()))).await
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> blob::Result<Option<Blob>> {
        let (what, container, name) = (format!("get {name}"), container.clone(), name.clone());
        self.call(what, move |blobs| block_on(blobs.get(&container, &name, span))).await
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> blob::Result<Option<Properties>> {
        let (what, container, name) = (format!("look at {name}"), container.clone(), name.clone());
        self.call(what, move |blobs| block_on(blobs.properties(&container, &name))).await
    }

    async fn list(
        &self,
        container: &ContainerName,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> blob::Result<blob::Page> {
        let (container, prefix, after) = (container.clone(), prefix.to_owned(), after.map(str::to_owned));
        let what = format!("list {prefix}");
        self.call(what, move |blobs| block_on(blobs.list(&container, &prefix, after.as_deref(), most))).await
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> blob::Result<bool> {
        let (what, container, name) = (format!("delete {name}"), container.clone(), name.clone());
        self.call(what, move |blobs| block_on(blobs.delete(&container, &name))).await
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        self.blobs.public_url(container, name)
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        self.blobs.locate(address)
    }

    async fn is_ready(&self, container: &ContainerName) -> blob::Result<bool> {
        let container = container.clone();
        self.call("is ready".to_owned(), move |blobs| block_on(blobs.is_ready(&container))).await
    }

    async fn sweep(&self, now: OffsetDateTime) -> blob::Result<usize> {
        self.call("sweep".to_owned(), move |blobs| block_on(blobs.sweep(now))).await
    }
}
