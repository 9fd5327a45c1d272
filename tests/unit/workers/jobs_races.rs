//! Long operations that another process changes between a read and a write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use pluckit::base::clock::SystemClock;
use pluckit::data::update::Edit;
use pluckit::domain::jobs::{Changed, Finished, JobFault, JobKind, Report, Run};
use pluckit::model::ids::JobId;
use pluckit::model::job::JobStatus::{Completed, Failed, Pending, Running, Terminated};
use pluckit::model::job::{Job, JobMessage};
use pluckit::model::lease::Lease;
use pluckit::queue::local::LocalQueue;
use pluckit::state::AppState;
use pluckit::store::Container;
use pluckit::store::sqlite::SqliteStore;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::support::TestApp;
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::jobs::{QUEUE, Stage};

/// Runs planned work just before a call.
#[derive(Default)]
struct Meanwhile {
    planned: Mutex<Option<(&'static str, BoxFuture<'static, ()>)>>,
    /// Whether the queue refuses messages.
    is_queue_down: Mutex<bool>,
}

impl Meanwhile {
    fn plan(&self, before: &'static str, what: impl Future<Output = ()> + Send + 'static) {
        *self.planned.lock() = Some((before, Box::pin(what)));
    }
}

impl Interceptor for Meanwhile {
    fn before(&self, call: &Call<'_>) -> Fate {
        let is_about_jobs = call.container.is_none_or(|container| container == Container::Jobs);
        let planned = self.planned.lock().take_if(|(name, _)| *name == call.name && is_about_jobs);
        if let Some((_, what)) = planned {
            block_in_place(|| Handle::current().block_on(what));
        }
        if call.name == "queue.send" && *self.is_queue_down.lock() { Fate::Fails } else { Fate::Passes }
    }
}

struct Scene {
    app: TestApp,
    meanwhile: Arc<Meanwhile>,
}

impl Scene {
    fn new() -> Self {
        let meanwhile = Arc::new(Meanwhile::default());
        let builder = TestApp::builder().kinds(Stage::new().kinds());
        let store = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
        let queue = Arc::new(LocalQueue::in_memory(Arc::new(SystemClock)).unwrap());
        let builder = builder
            .store(Intercepted::new(store, meanwhile.clone()))
            .queue(Intercepted::new(queue, meanwhile.clone()))
            .intercept_blobs(meanwhile.clone());
        Self { app: builder.start(), meanwhile }
    }

    async fn job(&self, id: &JobId) -> Job {
        self.app.job("ada", id).await
    }

    async fn queued(&self) -> usize {
        self.app.state.queue.length(QUEUE).await.unwrap()
    }
}

/// Changes Ada's job like another process.
async fn change(state: &AppState, id: &JobId, change: fn(&mut Job)) {
    let user = "ada".into();
    let edited = state.data.jobs.edit(&user, id, |mut job| {
        change(&mut job);
        Edit::Save(job, ())
    });
    edited.await.unwrap().unwrap();
}

/// Changes a job like a worker that claims it.
fn take(job: &mut Job) {
    job.status = Running;
    job.attempt += 1;
    job.lease = Lease::new("somebody-else", job.created_time + Duration::from_secs(30));
}

fn message(id: &JobId) -> JobMessage {
    JobMessage { job_id: id.clone(), user_id: "ada".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_went_on_since_it_was_found_is_not_queued_again() {
    let changes: [fn(&mut Job); 4] = [
        |job| job.status = Completed,
        |job| job.lease = Lease::new("somebody-else", job.created_time + Duration::from_secs(200)),
        |job| job.attempt += 1,
        |job| job.requeues += 1,
    ];
    for (number, changed) in changes.into_iter().enumerate() {
        let scene = Scene::new();
        let id = scene.app.accept("ada", &["done"]).await;
        scene.app.clock.advance(Duration::from_secs(181));
        let (state, job) = (scene.app.state.clone(), id.clone());
        scene.meanwhile.plan("store.read", async move { change(&state, &job, changed).await });
        scene.app.state.jobs.sweep().await.unwrap();
        assert!(scene.meanwhile.planned.lock().is_none());
        assert_eq!((scene.queued().await, scene.job(&id).await.history.len()), (1, 1), "change {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_or_is_taken_while_it_is_given_up_stays_as_it_is() {
    for (status, is_ended) in [(Terminated, true), (Running, false)] {
        let scene = Scene::new();
        let id = scene.app.accept("ada", &["done"]).await;
        change(&scene.app.state, &id, |job| job.failures = 5).await;
        let (state, job) = (scene.app.state.clone(), id.clone());
        scene.meanwhile.plan("blobs.put_if_absent", async move {
            if is_ended {
                assert_eq!(state.jobs.terminate(&"ada".into(), &job, None).await.unwrap(), Changed::Done);
            } else {
                change(&state, &job, take).await;
            }
        });
        scene.app.state.jobs.give_up(&message(&id)).await.unwrap();
        let job = scene.job(&id).await;
        assert_eq!((job.status, job.error, job.outputs.len()), (status, None, usize::from(is_ended)));
    }
}

#[tokio::test]
async fn a_message_that_came_too_often_ends_only_what_failed_too_often() {
    let scene = Scene::new();
    let give_up = async |id: &JobId| scene.app.state.jobs.give_up(&message(id)).await.unwrap();
    let done = scene.app.accept("ada", &["done"]).await;
    scene.app.work_all().await;
    give_up(&done).await;
    assert_eq!((scene.job(&done).await.status, scene.queued().await), (Completed, 0));

    let held = scene.app.accept("ada", &["done"]).await;
    change(&scene.app.state, &held, |job| {
        take(job);
        job.failures = 5;
    })
    .await;
    give_up(&held).await;
    assert_eq!((scene.job(&held).await.status, scene.queued().await), (Running, 1));

    let over: [fn(&mut Job); 2] = [|job| job.failures = 5, |job| job.stalls = 10];
    for counted in over {
        let id = scene.app.accept("ada", &["done"]).await;
        change(&scene.app.state, &id, counted).await;
        give_up(&id).await;
        let job = scene.job(&id).await;
        let expected = (Failed, Some("The job failed too often."));
        assert_eq!((job.status, job.error.as_deref()), expected);
    }

    let spared: [fn(&mut Job); 2] = [|job| job.failures = 4, |job| job.stalls = 9];
    for counted in spared {
        let id = scene.app.accept("ada", &["done"]).await;
        change(&scene.app.state, &id, counted).await;
        let before = scene.queued().await;
        give_up(&id).await;
        assert_eq!((scene.job(&id).await.status, scene.queued().await), (Pending, before + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_message_was_not_sent_is_queued_by_the_next_sweep() {
    let scene = Scene::new();
    *scene.meanwhile.is_queue_down.lock() = true;
    let id = scene.app.accept("ada", &["done"]).await;
    *scene.meanwhile.is_queue_down.lock() = false;
    assert_eq!(scene.queued().await, 0);
    scene.app.state.jobs.sweep().await.unwrap();
    assert_eq!(scene.queued().await, 1, "at once");
    scene.app.work_all().await;
    assert_eq!(scene.job(&id).await.status, Completed);
}

/// The message did arrive although sending reported an error, and a worker claimed the job or failed once.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_worker_had_already_waits_as_long_as_the_worker_said() {
    for changed in [
        (|job: &mut Job| {
            job.attempt = 1;
            job.lease = Lease::waiting(job.created_time + Duration::from_secs(30));
        }) as fn(&mut Job),
        take,
    ] {
        let scene = Scene::new();
        *scene.meanwhile.is_queue_down.lock() = true;
        let state = scene.app.state.clone();
        scene.meanwhile.plan("queue.send", async move {
            let (jobs, _) = state.data.jobs.page(Some(&"ada".into()), Some(Pending), None, 10).await.unwrap();
            change(&state, &jobs[0].id, changed).await;
        });
        let id = scene.app.accept("ada", &["done"]).await;
        *scene.meanwhile.is_queue_down.lock() = false;
        let job = scene.job(&id).await;
        assert_eq!(job.lease.expires_at(), Some(job.created_time + Duration::from_secs(30)));
    }
}

#[tokio::test]
async fn terminating_a_job_stops_its_worker_and_no_other() {
    let stage = Stage::new();
    let app = TestApp::builder().kinds(stage.kinds()).start();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let id = app.accept("ada", &["hold"]).await;
        let (jobs, taken) = (app.state.jobs.clone(), message(&id));
        workers.push((id, app.state.tasks.spawn(async move { jobs.work(&taken).await })));
    }
    stage.until_begun(0, 2).await;
    let [(first, stopped), (second, goes_on)] = workers.try_into().unwrap_or_else(|_| panic!("two"));
    app.state.jobs.terminate(&"ada".into(), &first, None).await.unwrap();
    // Well before the next renewal of its lease.
    let stopped = tokio::time::timeout(Duration::from_secs(4), stopped).await;
    assert!(stopped.is_ok(), "it is stopped at once");
    stage.open();
    goes_on.await.unwrap().unwrap();
    assert_eq!((app.job("ada", &first).await.status, app.job("ada", &second).await.status), (Terminated, Completed));
}

/// Another process terminates the job, and this one does not know yet.
#[tokio::test]
async fn a_worker_that_has_lost_its_job_begins_no_step_and_writes_no_file() {
    let (others, begun) = (Arc::new(OnceLock::<AppState>::new()), Arc::new(AtomicUsize::new(0)));
    let (elsewhere, counted) = (others.clone(), begun.clone());
    let kind = JobKind::new("test.lost", false, move |run: Run, _: Value| {
        let (elsewhere, counted) = (elsewhere.clone(), counted.clone());
        async move {
            run.step("first", async { Ok(()) }).await?;
            change(elsewhere.get().unwrap(), run.id(), |job| job.status = Terminated).await;
            assert!(matches!(run.write_output("late.md", "x").await, Err(JobFault::Lost)));
            let begin = async {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            run.step("second", begin).await?;
            Ok(Finished { result: Value::Null, report: Report::default() })
        }
    });
    let app = TestApp::builder().kinds(vec![kind]).start();
    assert!(others.set(app.state.clone()).is_ok());
    let id = app.state.jobs.accept(&"ada".into(), "test.lost", Value::Null, None).await.unwrap();
    app.work_all().await;
    assert_eq!((begun.load(Ordering::Relaxed), app.blobs_of(&id).await), (0, vec![]));
}
