//! Execution of long operations: leases, steps, failures, and late workers.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pluckit::domain::dead_letters::FailedMessage;
use pluckit::domain::jobs;
use pluckit::model::ids::{JobId, UserId};
use pluckit::model::job::JobStatus::{Completed, Failed, Pending, Running, Terminated};
use pluckit::model::job::{Job, JobStatus, StepResult};
use pluckit::model::lease::Lease;
use pluckit::store::{Container, DocumentStore, Key};
use pluckit::workers::jobs::{give_up, run};
use pluckit::workers::{Delivery, JobError, sweeper};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::TestApp;
use crate::support::jobs::{QUEUE, SCRIPTED, Stage, message, script};

/// A service with scripted jobs, and one user of it.
struct Scene {
    app: TestApp,
    stage: Arc<Stage>,
    user: String,
}

impl Scene {
    fn on(store: Option<Arc<dyn DocumentStore>>) -> Self {
        let stage = Stage::new();
        let builder = TestApp::builder().kinds(stage.kinds());
        let builder = match store {
            Some(store) => builder.store(store),
            None => builder,
        };
        Self { app: builder.start(), stage, user: format!("ada-{}", Uuid::new_v4()) }
    }

    fn new() -> Self {
        Self::on(None)
    }

    async fn accept(&self, steps: &[&str]) -> JobId {
        self.app.accept(&self.user, steps).await
    }

    async fn job(&self, id: &JobId) -> Job {
        self.app.job(&self.user, id).await
    }

    async fn queued(&self) -> usize {
        self.app.state.queue.length(QUEUE).await.unwrap()
    }

    async fn statuses(&self, id: &JobId) -> Vec<JobStatus> {
        self.job(id).await.history.into_iter().map(|change| change.status).collect()
    }

    fn user(&self) -> UserId {
        self.user.as_str().into()
    }

    /// Version of the job's document.
    async fn version(&self, id: &JobId) -> String {
        let key = Key::new(Container::Jobs, &self.user, id.as_str());
        self.app.state.data.store.read(&key).await.unwrap().unwrap().etag.to_string()
    }

    /// Starts a worker with the job's message.
    fn start_worker(&self, id: &JobId) -> tokio::task::JoinHandle<Result<(), JobError>> {
        let (app, delivery) = (self.app.state.clone(), message(&self.user, id));
        self.app.state.tasks.spawn(async move { run(&app, delivery).await })
    }
}

/// Makes each scene a test on both stores.
macro_rules! on_both_stores {
    ($($name:ident)+) => {$(
        mod $name {
            #[tokio::test]
            async fn on_sqlite() {
                super::super::$name(super::super::Scene::new()).await;
            }

            #[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn on_cosmos() {
                let store = std::sync::Arc::new(crate::store::cosmos_backend::cosmos_with_own_jobs().await);
                super::super::$name(super::super::Scene::on(Some(store))).await;
            }
        }
    )+};
}

mod both {
    on_both_stores! {
        a_job_is_done_step_by_step
        a_worker_that_comes_too_late_writes_nothing
        a_hundred_requests_with_one_key_are_one_job
        a_job_whose_message_was_lost_is_found
        a_terminated_job_stops_where_it_is
        a_job_is_deleted_a_week_after_its_end
        each_sees_the_own_jobs_page_by_page
    }
}

async fn a_job_is_done_step_by_step(scene: Scene) {
    let id = scene.accept(&["done", "big", "write part-2.md # Second", "write part-10.md plain"]).await;
    assert_eq!(scene.job(&id).await.status, Pending);
    assert_eq!(scene.app.work_all().await, 1);
    let job = scene.job(&id).await;
    assert_eq!((job.status, job.result), (Completed, Some(json!({"steps": 4}))));
    assert_eq!(scene.statuses(&id).await, [Pending, Running, Completed]);
    assert_eq!(job.lease, Lease::default());
    let outputs: Vec<_> = job.outputs.iter().map(|output| (&*output.path, &*output.title)).collect();
    assert_eq!(outputs, [("index.md", "Scripted"), ("part-2.md", "Second"), ("part-10.md", "part-10.md")]);
    let progress = job.custom_status.unwrap();
    assert_eq!((progress.done, progress.total), (4, 4));
    assert_eq!(scene.queued().await, 0);
}

async fn a_worker_that_comes_too_late_writes_nothing(scene: Scene) {
    let id = scene.accept(&["done", "hold first late.md", "done"]).await;
    drop(scene.app.receive_job().await.unwrap());
    let late = scene.start_worker(&id);
    scene.stage.until_begun(1, 1).await;
    assert!(matches!(run(&scene.app.state, message(&scene.user, &id)).await, Err(JobError::NotNow)));

    scene.app.clock.advance(Duration::from_secs(46));
    run(&scene.app.state, message(&scene.user, &id)).await.unwrap();
    let (job, version, blobs) = (scene.job(&id).await, scene.version(&id).await, scene.app.blobs_of(&id).await);
    assert_eq!((job.status, job.attempt), (Completed, 2));
    assert_eq!((scene.stage.begun(0), scene.stage.begun(1)), (1, 2), "the first step was not repeated");

    scene.stage.open();
    late.await.unwrap().unwrap();
    assert_eq!((scene.version(&id).await, scene.app.blobs_of(&id).await), (version, blobs), "nothing was written");
    assert_eq!(scene.stage.begun(2), 1, "the late worker did not go on");
}

async fn a_hundred_requests_with_one_key_are_one_job(scene: Scene) {
    let user = scene.user();
    let accept = |steps: &'static str, key: &'static str| {
        let (jobs, user) = (scene.app.state.jobs.clone(), user.clone());
        async move { jobs.accept(&user, SCRIPTED, script(&[steps]), Some(key)).await }
    };
    let ids: Vec<_> = join_all((0..100).map(|_| accept("done", "k"))).await.into_iter().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(scene.queued().await, 1);
    let (found, _) = scene.app.state.data.jobs.page(Some(&user), None, None, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(matches!(accept("big", "k").await, Err(jobs::Error::KeyReused)), "the same key for something else");
    assert_ne!(accept("done", "other").await.unwrap(), ids[0]);
    let eve = UserId::from(format!("eve-{user}"));
    let hers = scene.app.state.jobs.accept(&eve, SCRIPTED, script(&["done"]), Some("k")).await.unwrap();
    assert_ne!(hers, ids[0], "somebody else's key is another one");

    scene.app.work_all().await;
    assert_eq!(accept("done", "k").await.unwrap(), ids[0], "also when it is done");
    scene.app.state.jobs.purge(&user, &ids[0]).await.unwrap();
    let anew = join_all((0..10).map(|_| accept("done", "k"))).await;
    let anew: Vec<_> = anew.into_iter().map(Result::unwrap).collect();
    assert!(anew[0] != ids[0] && anew.iter().all(|id| *id == anew[0]), "made anew, once: {anew:?}, {}", ids[0]);
}

async fn a_job_whose_message_was_lost_is_found(scene: Scene) {
    let id = scene.accept(&["done"]).await;
    let lost = scene.app.receive_job().await.unwrap();
    scene.app.state.queue.delete(QUEUE, &lost).await.unwrap();
    sweeper::run(&scene.app.state).await.unwrap();
    assert_eq!(scene.queued().await, 0, "not yet");
    scene.app.clock.advance(Duration::from_secs(181));
    for _ in 0..2 {
        sweeper::run(&scene.app.state).await.unwrap();
    }
    assert_eq!(scene.queued().await, 1, "queued again, once");
    scene.app.work_all().await;
    assert_eq!(scene.job(&id).await.status, Completed);
}

async fn a_terminated_job_stops_where_it_is(scene: Scene) {
    let jobs = &scene.app.state.jobs;
    let waiting = scene.accept(&["done"]).await;
    assert_eq!(jobs.terminate(&scene.user(), &waiting, Some("no need")).await.unwrap(), jobs::Changed::Done);
    assert_eq!(scene.app.work_all().await, 1);
    let job = scene.job(&waiting).await;
    assert_eq!((job.status, job.terminate_reason.as_deref(), job.attempt), (Terminated, Some("no need"), 0));
    assert_eq!(job.outputs.len(), 1, "its report says so");
    assert_eq!(jobs.terminate(&scene.user(), &waiting, None).await.unwrap(), jobs::Changed::Refused);

    let running = scene.accept(&["write a.md x", "hold all late.md", "done"]).await;
    drop(scene.app.receive_job().await.unwrap());
    let worker = scene.start_worker(&running);
    scene.stage.until_begun(1, 1).await;
    assert_eq!(jobs.terminate(&scene.user(), &running, None).await.unwrap(), jobs::Changed::Done);
    let (version, blobs) = (scene.version(&running).await, scene.app.blobs_of(&running).await);
    scene.stage.open();
    worker.await.unwrap().unwrap();
    assert_eq!((scene.version(&running).await, scene.app.blobs_of(&running).await), (version, blobs));
    assert_eq!(scene.stage.begun(2), 0);
    let paths: Vec<_> = scene.job(&running).await.outputs.into_iter().map(|output| output.path).collect();
    assert_eq!(paths, ["index.md", "a.md"], "what finished steps wrote is kept");

    // Its worker may still be busy: it is gone for callers, and gone for good when the lease has run out.
    assert_eq!(jobs.purge(&scene.user(), &running).await.unwrap(), jobs::Changed::Done);
    assert!(jobs.find(&scene.user(), &running).await.unwrap().is_none());
    assert!(!scene.app.blobs_of(&running).await.is_empty());
    scene.app.clock.advance(Duration::from_secs(46));
    sweeper::run(&scene.app.state).await.unwrap();
    assert_eq!(scene.app.blobs_of(&running).await, []);
    assert!(scene.app.state.data.jobs.find(&scene.user(), &running).await.unwrap().is_none());
}

async fn a_job_is_deleted_a_week_after_its_end(scene: Scene) {
    let (id, waiting) = (scene.accept(&["write a.md x", "big"]).await, scene.accept(&["done"]).await);
    let message = scene.app.receive_job().await.unwrap();
    let first = if message.text.contains(id.as_str()) { &id } else { &waiting };
    run(&scene.app.state, self::message(&scene.user, first)).await.unwrap();
    run(&scene.app.state, self::message(&scene.user, &id)).await.unwrap();
    assert_eq!(scene.app.blobs_of(&id).await.len(), 3, "two outputs and a step");
    scene.app.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    sweeper::run(&scene.app.state).await.unwrap();
    assert_eq!(scene.job(&id).await.status, Completed);
    scene.app.clock.advance(Duration::from_secs(2));
    sweeper::run(&scene.app.state).await.unwrap();
    assert!(scene.app.state.data.jobs.find(&scene.user(), &id).await.unwrap().is_none());
    assert_eq!(scene.app.blobs_of(&id).await, []);
}

async fn each_sees_the_own_jobs_page_by_page(scene: Scene) {
    let data = &scene.app.state.data;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.insert(0, scene.accept(&["done"]).await);
        scene.app.clock.advance(Duration::from_secs(1));
    }
    // What else lives in the container.
    let timer = json!({"id": "timer-X", "userId": scene.user, "lastDue": "2026-03-02T09:00:00.000Z"});
    data.store.create(&Key::new(Container::Jobs, &scene.user, "timer-X"), &timer).await.unwrap();
    let (user, key) = (scene.user(), Some("k"));
    ids.insert(0, scene.app.state.jobs.accept(&user, SCRIPTED, script(&["done"]), key).await.unwrap());
    run(&scene.app.state, message(&scene.user, &ids[3])).await.unwrap();
    scene.app.state.jobs.purge(&user, &ids.remove(3)).await.unwrap();
    run(&scene.app.state, message(&scene.user, &ids[5])).await.unwrap();

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = data.jobs.page(Some(&user), None, after, 2).await.unwrap();
        seen.extend(page.into_iter().map(|job| job.id));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let (completed, _) = data.jobs.page(Some(&user), Some(Completed), None, 10).await.unwrap();
    assert_eq!(completed.iter().map(|job| &job.id).collect::<Vec<_>>(), [&ids[5]]);
    let (all, _) = data.jobs.page(None, None, None, 500).await.unwrap();
    assert_eq!(all.into_iter().filter(|job| job.user_id == user).map(|job| job.id).collect::<Vec<_>>(), ids);
    let found = data.jobs.find_for_any_user(&ids[0]).await.unwrap().unwrap();
    assert_eq!(found.user_id, user);
    assert!(data.jobs.find_for_any_user(&"timer-X".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_goes_on_after_the_last_finished_step() {
    let scene = Scene::new();
    let id = scene.accept(&["done", "big", "fail 2", "done"]).await;
    for failures in 1..=2 {
        assert!(matches!(scene.app.work_once().await, Some(Err(JobError::Retry(_)))));
        let job = scene.job(&id).await;
        assert_eq!((job.status, job.failures, job.lease.owner()), (Pending, failures, None));
    }
    assert!(matches!(scene.job(&id).await.steps["1"], StepResult::Blob(_)), "a long result is not in the document");
    assert_eq!(scene.app.work_all().await, 1);
    assert_eq!(scene.job(&id).await.status, Completed);
    assert_eq!([0, 1, 2, 3].map(|step| scene.stage.begun(step)), [1, 1, 3, 1]);
}

#[tokio::test]
async fn a_job_that_keeps_failing_fails_in_plain_words() {
    for step in ["fail 99", "panic"] {
        let scene = Scene::new();
        let id = scene.accept(&["done", step]).await;
        for _ in 0..4 {
            assert!(matches!(scene.app.work_once().await, Some(Err(JobError::Retry(_)))));
        }
        scene.app.work_once().await.unwrap().unwrap();
        let job = scene.job(&id).await;
        let expected = if step == "panic" { "A step ended unexpectedly." } else { "The model is down." };
        assert_eq!((job.status, job.error.clone()), (Failed, Some(format!("{expected} It was tried 5 times."))));
        let document = serde_json::to_string(&job).unwrap();
        assert!(!document.contains("at-secret") && !document.contains("/srv"), "causes are for the log: {document}");
        assert_eq!(job.outputs.iter().map(|output| &*output.path).collect::<Vec<_>>(), ["index.md"]);
        assert_eq!(scene.queued().await, 0);
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_done_is_not_tried_again() {
    let scene = Scene::new();
    let id = scene.accept(&["refuse"]).await;
    assert_eq!(scene.app.work_all().await, 1);
    let job = scene.job(&id).await;
    assert_eq!((job.status, job.error.as_deref()), (Failed, Some("There is nothing to do.")));
    let report = format!("/api/jobs/{id}/outputs/index.md");
    let report = scene.app.user(&scene.user).await.get(&report).await.json()["content"].clone();
    let expected = "# test.scripted failed\n\nThere is nothing to do.\n";
    assert!(report.as_str().unwrap().starts_with(expected), "{report}");
    let user = scene.user();
    let bad = scene.app.state.jobs.accept(&user, SCRIPTED, json!({"steps": 7}), None).await.unwrap();
    assert_eq!(scene.app.work_all().await, 1);
    assert_eq!(scene.job(&bad).await.error.unwrap(), "The job's input is not what this kind of job takes.");
}

#[tokio::test]
async fn a_long_job_is_handed_on_between_steps() {
    let stage = Stage::new();
    let app = TestApp::builder().kinds(stage.kinds()).setting("LONG_OPERATION_SLICE_SECONDS", "0").start();
    let scene = Scene { app, stage, user: "ada".to_owned() };
    let id = scene.accept(&["done", "big", "done"]).await;
    scene.app.work_once().await.unwrap().unwrap();
    assert_eq!(scene.statuses(&id).await, [Pending, Running, Pending]);
    assert_eq!((scene.queued().await, scene.stage.begun(1)), (1, 0));
    assert_eq!(scene.app.work_all().await, 2, "a message for each step, and none for the end");
    assert_eq!(scene.statuses(&id).await, [Pending, Running, Pending, Running, Pending, Running, Completed]);
    assert_eq!([0, 1, 2].map(|step| scene.stage.begun(step)), [1, 1, 1]);
}

#[tokio::test]
async fn a_process_that_is_to_end_hands_its_jobs_on() {
    let scene = Scene::new();
    let id = scene.accept(&["hold", "done"]).await;
    drop(scene.app.receive_job().await.unwrap());
    let worker = scene.start_worker(&id);
    scene.stage.until_begun(0, 1).await;
    scene.app.state.shutdown.cancel();
    scene.stage.open();
    worker.await.unwrap().unwrap();
    let job = scene.job(&id).await;
    assert_eq!((job.status, job.lease.owner(), scene.stage.begun(1)), (Pending, None, 0));
    assert!(job.steps.contains_key("0"));
}

#[tokio::test]
async fn messages_without_a_job_are_kept_or_dropped() {
    let scene = Scene::new();
    let deliver = |text: &str| Delivery { text: text.to_owned(), dequeue_count: 1, id: None };
    let strange = format!(r#"{{"jobId":"{}","userId":"ada"}}"#, "z".repeat(32));
    let texts = ["", "{}", "null", r#"{"jobId":"timer-X","userId":"system"}"#, r#"{"jobId":"../..","userId":"ada"}"#];
    for text in texts.into_iter().chain([strange.as_str(), r#"{"jobId":"0a","userId":"ada"}"#]) {
        assert!(matches!(run(&scene.app.state, deliver(text)).await, Err(JobError::GiveUp(_))), "{text}");
    }
    give_up(&scene.app.state, deliver("not json").into_failed(QUEUE, None)).await.unwrap();
    let (letters, _) = scene.app.state.data.dead_letters.page(None, None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].payload, json!({"raw_payload": "not json"}));
    // A job that was deleted meanwhile.
    run(&scene.app.state, message("ada", &"0".repeat(32).into())).await.unwrap();
    give_up(&scene.app.state, message("ada", &"0".repeat(32).into()).into_failed(QUEUE, None)).await.unwrap();
}

fn failed(scene: &Scene, id: &JobId) -> FailedMessage {
    message(&scene.user, id).into_failed(QUEUE, Some("the work failed".to_owned()))
}

#[tokio::test]
async fn a_job_is_given_up_by_its_own_count_not_by_its_message_s() {
    let scene = Scene::new();
    let id = scene.accept(&["done"]).await;
    drop(scene.app.receive_job().await.unwrap());
    give_up(&scene.app.state, failed(&scene, &id)).await.unwrap();
    let job = scene.job(&id).await;
    assert_eq!((job.status, scene.queued().await), (Pending, 2), "it never failed, so it is queued again");

    // A job that ends every process that takes it.
    let deadly = scene.accept(&["hold"]).await;
    for attempt in 1..=10 {
        let worker = scene.start_worker(&deadly);
        scene.stage.until_begun(0, attempt).await;
        worker.abort();
        assert!(worker.await.is_err());
        scene.app.clock.advance(Duration::from_secs(46));
    }
    run(&scene.app.state, message(&scene.user, &deadly)).await.unwrap();
    let job = scene.job(&deadly).await;
    assert_eq!((job.status, job.attempt, scene.stage.begun(0)), (Failed, 10, 10));
    assert!(job.error.unwrap().contains("stopped before it had finished a step"));
}

#[tokio::test]
async fn a_job_that_nobody_ever_takes_is_given_up() {
    let scene = Scene::new();
    let id = scene.accept(&["done"]).await;
    for _ in 0..9 {
        scene.app.clock.advance(Duration::from_secs(180 * 256 + 1));
        sweeper::run(&scene.app.state).await.unwrap();
    }
    let job = scene.job(&id).await;
    assert_eq!((job.status, job.error.unwrap().contains("no worker took it")), (Failed, true));
    assert_eq!(scene.queued().await, 9);
    assert_eq!(scene.app.work_all().await, 9, "its messages find nothing to do");
    assert_eq!(scene.stage.begun(0), 0);
}

#[tokio::test]
async fn unknown_kinds_wait_for_a_version_that_knows_them() {
    let scene = Scene::new();
    let id = scene.app.state.jobs.accept(&scene.user(), "of.the_future", Value::Null, None).await.unwrap();
    assert!(matches!(scene.app.work_once().await, Some(Err(JobError::Retry(_)))));
    assert_eq!(scene.job(&id).await.status, Pending);
}
