//! Sweeps with an item that cannot be handled, which must not stop the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::blob::{self, Blob, BlobName, BlobStore, ContainerName, Page, Properties, Put, SourceHash, Span};
use pluckit::data::update::Edit;
use pluckit::model::ids::JobId;
use pluckit::model::job::JobStatus::{Failed, Pending};
use pluckit::model::taste_job::{TasteJob, TastePayload};
use pluckit::queue::MAX_MESSAGE_BYTES;
use pluckit::store::{Container, Key, MAX_DOCUMENT_BYTES};
use serde_json::Value;
use time::macros::datetime;
use url::Url;

use crate::doubles::blobs::MemoryBlobs;
use crate::support::TestApp;
use crate::support::intercepted::{Call, Fate};
use crate::support::jobs::{QUEUE, Stage};
use crate::support::photos::{photo, uploaded};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Token of the page after the first, empty one.
const BEGIN: &str = "the beginning";

/// Blobs whose listings begin with an empty page, as those of Azure may, and some of which cannot be deleted.
struct Odd {
    inner: MemoryBlobs,
    /// Part of the names of the blobs that cannot be deleted.
    undeletable: Mutex<Option<String>>,
}

impl Odd {
    fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        let base = "http://127.0.0.1:7071/api/media".parse().unwrap();
        Arc::new(Self { inner: MemoryBlobs::new(base, clock), undeletable: Mutex::default() })
    }
}

#[async_trait]
impl BlobStore for Odd {
    async fn put_if_absent(
        &self,
        container: &ContainerName,
        name: &BlobName,
        content: Bytes,
        source: Option<&SourceHash>,
    ) -> blob::Result<Put> {
        self.inner.put_if_absent(container, name, content, source).await
    }

    async fn put(&self, container: &ContainerName, name: &BlobName, content: Bytes) -> blob::Result<()> {
        self.inner.put(container, name, content).await
    }

    async fn get(&self, container: &ContainerName, name: &BlobName, span: Span) -> blob::Result<Option<Blob>> {
        self.inner.get(container, name, span).await
    }

    async fn properties(&self, container: &ContainerName, name: &BlobName) -> blob::Result<Option<Properties>> {
        self.inner.properties(container, name).await
    }

    async fn list(
        &self,
        container: &ContainerName,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> blob::Result<Page> {
        // Other tasks run, as while a call to Azure is in progress.
        tokio::task::yield_now().await;
        match after {
            None => Ok(Page { blobs: Vec::new(), next: Some(BEGIN.to_owned()) }),
            Some(after) => self.inner.list(container, prefix, Some(after).filter(|token| *token != BEGIN), most).await,
        }
    }

    async fn delete(&self, container: &ContainerName, name: &BlobName) -> blob::Result<bool> {
        if self.undeletable.lock().as_ref().is_some_and(|part| name.contains(part)) {
            return Err(blob::Error::Failed("as the test wants it".into()));
        }
        self.inner.delete(container, name).await
    }

    fn public_url(&self, container: &ContainerName, name: &BlobName) -> Url {
        self.inner.public_url(container, name)
    }

    fn locate(&self, address: &str) -> Option<(ContainerName, BlobName)> {
        self.inner.locate(address)
    }

    async fn is_ready(&self, container: &ContainerName) -> blob::Result<bool> {
        self.inner.is_ready(container).await
    }
}

/// A service with scripted jobs on odd blobs.
fn odd() -> (TestApp, Arc<Odd>) {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let blobs = Odd::new(clock.clone());
    (TestApp::builder().kinds(Stage::new().kinds()).clock(clock).blobs(blobs.clone()).start(), blobs)
}

async fn read(app: &TestApp, key: &Key) -> Value {
    app.state.data.store.read(key).await.unwrap().unwrap().parse().unwrap()
}

/// Fills a document with text, so that every edit makes it too long.
async fn fill(app: &TestApp, key: &Key, field: &str) {
    let mut document = read(app, key).await;
    document[field] = "".into();
    let rest = MAX_DOCUMENT_BYTES - document.to_string().len();
    document[field] = "x".repeat(rest).into();
    app.state.data.store.upsert(key, &document).await.unwrap();
}

fn key(job: &JobId) -> Key {
    Key::new(Container::Jobs, "ada", job.as_str())
}

async fn queued(app: &TestApp) -> usize {
    app.state.queue.length(QUEUE).await.unwrap()
}

#[tokio::test]
async fn a_job_that_cannot_be_changed_stops_no_other() {
    let app = TestApp::builder().kinds(Stage::new().kinds()).start();
    let old = app.accept("ada", &["done"]).await;
    app.work_all().await;
    app.clock.advance(8 * DAY);
    let odd = app.accept("ada", &["done"]).await;
    fill(&app, &key(&odd), "input").await;
    app.clock.advance(Duration::from_secs(1));
    let lost = app.accept("ada", &["done"]).await;
    app.clock.advance(Duration::from_secs(181));
    app.state.jobs.sweep().await.unwrap_err();
    assert_eq!((app.job("ada", &odd).await.requeues, app.job("ada", &lost).await.requeues), (0, 1));
    assert_eq!(queued(&app).await, 3, "two messages, and one again");
    assert!(app.state.data.jobs.find(&"ada".into(), &old).await.unwrap().is_none(), "old jobs are deleted as well");
}

#[tokio::test]
async fn while_blobs_are_down_jobs_without_a_worker_are_queued() {
    let is_down = Arc::new(AtomicBool::new(true));
    let switch = is_down.clone();
    let interceptor = move |call: &Call<'_>| {
        let is_cut = call.name.starts_with("blobs.") && switch.load(Ordering::SeqCst);
        if is_cut { Fate::Fails } else { Fate::Passes }
    };
    let app = TestApp::builder().kinds(Stage::new().kinds()).intercept_blobs(Arc::new(interceptor)).start();
    let hopeless = app.accept("ada", &["done"]).await;
    let mut document = read(&app, &key(&hopeless)).await;
    document["requeues"] = 8.into();
    app.save(Container::Jobs, "ada", document).await;
    app.clock.advance(Duration::from_secs(1));
    let lost = app.accept("ada", &["done"]).await;
    app.clock.advance(Duration::from_secs(181));
    app.state.jobs.sweep().await.unwrap_err();
    assert_eq!((queued(&app).await, app.job("ada", &lost).await.requeues), (3, 1));
    assert_eq!(app.job("ada", &hopeless).await.status, Pending, "its report cannot be written");
    is_down.store(false, Ordering::SeqCst);
    app.clock.advance(DAY);
    app.state.jobs.sweep().await.unwrap();
    assert_eq!(app.job("ada", &hopeless).await.status, Failed);
}

#[tokio::test]
async fn a_job_is_deleted_though_its_blobs_are_on_a_later_page() {
    let (app, blobs) = odd();
    let job = app.accept("ada", &["write a.md x", "big"]).await;
    app.work_all().await;
    let container = app.state.config.storage.jobs_container.clone();
    let left = async || blobs.inner.list(&container, "", None, 1000).await.unwrap().blobs.len();
    assert_eq!(left().await, 3);
    let ada = app.user("ada").await;
    let path = format!("/api/jobs/{job}");
    let deletion = tokio::time::timeout(Duration::from_secs(20), ada.delete(&path)).await;
    assert_eq!(deletion.expect("it ends").status, 200);
    assert_eq!(left().await, 0);
    assert_eq!(ada.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_job_that_cannot_be_deleted_stops_no_other() {
    let (app, blobs) = odd();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(app.accept("ada", &["done"]).await);
        app.work_all().await;
        app.clock.advance(Duration::from_secs(1));
    }
    *blobs.undeletable.lock() = Some(jobs[0].to_string());
    app.clock.advance(7 * DAY);
    app.state.jobs.sweep().await.unwrap_err();
    let mut left = Vec::new();
    for job in &jobs {
        left.push(app.state.data.jobs.find(&"ada".into(), job).await.unwrap().is_some());
    }
    assert_eq!(left, [true, false, false]);
    *blobs.undeletable.lock() = None;
    app.state.jobs.sweep().await.unwrap();
    assert!(app.state.data.jobs.find(&"ada".into(), &jobs[0]).await.unwrap().is_none());
}

#[tokio::test]
async fn an_analysis_whose_message_is_too_long_stops_no_other() {
    let app = TestApp::new();
    let long = format!("https://i.example/{}", "x".repeat(MAX_MESSAGE_BYTES));
    for (url, age) in [(long.as_str(), 2), ("https://i.example/a.png", 1)] {
        let payload = TastePayload::new("ada".into(), "i".into(), url.to_owned(), None);
        let now = app.clock.now();
        let job = TasteJob::queued(payload.clone(), now.into(), (now - Duration::from_secs(age)).into());
        let stored = app.state.data.taste_jobs.edit(&payload.job_id, |_| Edit::Save(job.clone(), ()));
        stored.await.unwrap();
    }
    app.state.taste.requeue_stale().await.unwrap_err();
    assert_eq!(app.state.queue.length("taste-analysis-jobs").await.unwrap(), 1);
}

#[tokio::test]
async fn a_draft_that_cannot_be_changed_stops_no_other() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let odd = uploaded(&ada, &photo([170, 30, 30])).await;
    app.clock.advance(Duration::from_secs(1));
    let lost = uploaded(&ada, &photo([30, 30, 170])).await;
    fill(&app, &Key::new(Container::Wardrobe, "ada", odd), "notes").await;
    app.clock.advance(Duration::from_secs(10 * 60));
    app.state.drafts.requeue_stale().await.unwrap_err();
    let queue = &app.state.config.queues.images.work;
    assert_eq!(app.state.queue.length(queue).await.unwrap(), 3, "two messages, and one again");
    assert_eq!(read(&app, &Key::new(Container::Wardrobe, "ada", lost)).await["draftAttempts"], 1);
}

#[tokio::test]
async fn a_blob_that_cannot_be_deleted_stops_no_other() {
    let (app, blobs) = odd();
    let archive = app.state.config.storage.archive_container.clone();
    for name in ["aa-transparent.webp", "bb-transparent.webp"] {
        blobs.inner.put(&archive, &name.parse().unwrap(), Bytes::new()).await.unwrap();
    }
    *blobs.undeletable.lock() = Some("aa-transparent".to_owned());
    app.clock.advance(8 * DAY);
    app.state.drafts.delete_orphans().await.unwrap_err();
    let left = blobs.inner.list(&archive, "", None, 10).await.unwrap().blobs;
    assert_eq!(left.iter().map(|listed| &*listed.name).collect::<Vec<_>>(), ["aa-transparent.webp"]);
}
