//! A process that dies at any point of a run: whatever it left behind, the next one brings to the same end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pluckit::clock::ManualClock;
use pluckit::queue::{self, JobQueue, Message, local::LocalQueue};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{self, Container, DocumentStore, ETag, Key, Page, Query, Stored, Write};
use pluckit::workers::daily_moods;
use serde_json::Value;
use time::macros::datetime;

use super::{answer, asks_for_moods, day, drain, feed, mood, stored};
use crate::support::TestApp;
use crate::support::model::ModelServer;
use crate::support::web::{self, Web};

/// What is left of a process: so many calls to what keeps things. One that is cut after a call leaves what one leaves
/// that is cut before the next.
struct Life(AtomicUsize);

#[derive(Debug, thiserror::Error)]
#[error("the process is dead")]
struct Dead;

impl Life {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    async fn through<T, E>(&self, work: impl Future<Output = Result<T, E>>, dead: fn(Dead) -> E) -> Result<T, E> {
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => work.await,
            Err(_) => Err(dead(Dead)),
        }
    }
}

struct Mortal<T> {
    inner: Arc<T>,
    life: Arc<Life>,
}

fn no_store(dead: Dead) -> store::Error {
    store::Error::Unavailable(dead.into())
}

fn no_queue(dead: Dead) -> queue::Error {
    queue::Error::Unavailable(dead.into())
}

#[async_trait]
impl DocumentStore for Mortal<SqliteStore> {
    async fn read(&self, key: &Key) -> store::Result<Option<Stored>> {
        self.life.through(self.inner.read(key), no_store).await
    }
    async fn create(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        self.life.through(self.inner.create(key, document), no_store).await
    }
    async fn upsert(&self, key: &Key, document: &Value) -> store::Result<ETag> {
        self.life.through(self.inner.upsert(key, document), no_store).await
    }
    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> store::Result<ETag> {
        self.life.through(self.inner.replace(key, document, etag), no_store).await
    }
    async fn delete(&self, key: &Key, etag: Option<&ETag>) -> store::Result<bool> {
        self.life.through(self.inner.delete(key, etag), no_store).await
    }
    async fn batch(&self, container: Container, partition: &str, writes: &[Write]) -> store::Result<()> {
        self.life.through(self.inner.batch(container, partition, writes), no_store).await
    }
    async fn query(&self, query: &Query) -> store::Result<Page> {
        self.life.through(self.inner.query(query), no_store).await
    }
    async fn ping(&self) -> store::Result<()> {
        self.inner.ping().await
    }
}

#[async_trait]
impl JobQueue for Mortal<LocalQueue> {
    async fn send(&self, queue: &str, text: &str) -> queue::Result<()> {
        self.life.through(self.inner.send(queue, text), no_queue).await
    }
    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> queue::Result<Vec<Message>> {
        self.inner.receive(queue, most, visibility).await
    }
    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> queue::Result<()> {
        self.inner.renew(queue, message, visibility).await
    }
    async fn delete(&self, queue: &str, message: &Message) -> queue::Result<()> {
        self.inner.delete(queue, message).await
    }
    async fn move_to(&self, from: &str, message: &Message, to: &str) -> queue::Result<()> {
        self.inner.move_to(from, message, to).await
    }
    async fn length(&self, queue: &str) -> queue::Result<usize> {
        self.inner.length(queue).await
    }
    async fn wait(&self, queue: &str, limit: Duration) {
        self.inner.wait(queue, limit).await;
    }
}

/// Runs a day in a process that dies after so many calls, then another in one that lives. Returns whether the first one
/// lived to its end.
async fn run_with(calls: usize, model: &ModelServer, web: &Web) -> bool {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 06:00 UTC)));
    let documents = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let messages = Arc::new(LocalQueue::in_memory(clock.clone()).unwrap());
    let life = Arc::new(Life(AtomicUsize::new(calls)));
    let process = |store: Arc<dyn DocumentStore>, queue: Arc<dyn JobQueue>| {
        let builder = TestApp::builder().clock(clock.clone()).store(store).queue(queue).model_server(model).web(web);
        builder.setting("MOOD_FEEDS", "https://a.example/rss,https://b.example/rss").start()
    };
    let mortal = process(
        Arc::new(Mortal { inner: documents.clone(), life: life.clone() }),
        Arc::new(Mortal { inner: messages.clone(), life: life.clone() }),
    );
    if daily_moods::run(&mortal.state).await.is_ok() {
        drain(&mortal).await;
    }
    let lived = !life.is_over();
    drop(mortal);
    // Long enough for leases to end and messages to be seen again.
    clock.advance(Duration::from_secs(60));
    let next = process(documents, messages);
    day(&next).await;
    let moods = stored(&next).await;
    let scores: Vec<f64> = moods.iter().map(|mood| mood["trendScore"].as_f64().unwrap()).collect();
    let mut urls: Vec<&str> = moods
        .iter()
        .flat_map(|mood| mood["sources"].as_array().unwrap())
        .map(|source| source["url"].as_str().unwrap())
        .collect();
    let found = urls.len();
    urls.sort_unstable();
    urls.dedup();
    // Each article once, in one mood: that of its chunk.
    assert_eq!((scores, found, urls.len()), (vec![10.0, 10.0], 20, 20), "after {calls} calls: {moods:#?}");
    lived
}

#[tokio::test]
async fn wherever_a_run_is_cut_each_article_counts_once() {
    let (model, web) = (ModelServer::start().await, Web::start().await);
    // Never the same name twice: what is asked again is another mood.
    let asked = AtomicUsize::new(0);
    model.when(asks_for_moods, move |_| {
        let name = format!("Mood {}", asked.fetch_add(1, Ordering::SeqCst));
        answer(&[mood("Classic", &name, 1..=10)])
    });
    model.record(false);
    web.page("https://a.example/rss", |_| web::page("text/xml", feed("a.example", 0..25)));
    web.page("https://b.example/rss", |_| web::page("text/xml", feed("b.example", 0..15)));
    let mut calls = 0;
    while !run_with(calls, &model, &web).await {
        calls += 1;
        assert!(calls < 200, "a run makes fewer calls");
    }
    assert!(calls > 20, "a run of {calls} calls is none");
}
