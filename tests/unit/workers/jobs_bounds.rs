//! Limits of long operations: time, results, files and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pluckit::domain::jobs::{Finished, JobFault, JobKind, Report, Run};
use pluckit::model::ids::JobId;
use pluckit::model::job::JobStatus::{Completed, Failed, Pending};
use pluckit::model::job::StepResult;
use pluckit::workers::JobError;
use serde_json::{Value, json};

use crate::support::jobs::{QUEUE, Stage, message};
use crate::support::{TestApp, until};

const KIND: &str = "test.bounds";

/// Starts a service with one kind of job, and accepts one such job.
async fn app_with_job<F>(work: impl Fn(Run) -> F + Send + Sync + 'static) -> (TestApp, JobId)
where
    F: Future<Output = Result<Finished, JobFault>> + Send + 'static,
{
    let kind = JobKind::new(KIND, false, move |run, _: Value| work(run));
    let app = TestApp::builder().kinds(vec![kind]).start();
    let id = app.state.jobs.accept(&"ada".into(), KIND, Value::Null, None).await.unwrap();
    (app, id)
}

fn finished() -> Result<Finished, JobFault> {
    Ok(Finished { result: Value::Null, report: Report::default() })
}

fn down() -> JobFault {
    JobFault::retry("The model is down.", "as the test says")
}

#[tokio::test]
async fn a_file_has_eight_mebibytes_at_most() {
    let (app, id) = app_with_job(|run: Run| async move {
        run.write_output("longest.txt", Bytes::from(vec![b'x'; 8 * 1024 * 1024])).await?;
        run.write_output("longer.txt", Bytes::from(vec![b'x'; 8 * 1024 * 1024 + 1])).await?;
        finished()
    })
    .await;
    app.work_all().await;
    let job = app.job("ada", &id).await;
    assert_eq!((job.status, job.error.as_deref()), (Failed, Some("The file longer.txt is longer than 8 MiB.")));
    let outputs: Vec<_> = job.outputs.iter().map(|output| (&*output.path, output.size)).collect();
    assert_eq!(outputs[1..], [("longest.txt", 8 * 1024 * 1024)]);
}

#[tokio::test]
async fn a_result_of_four_kibibytes_is_kept_in_the_record_and_a_longer_one_beside_it() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (app, id) = app_with_job(move |run: Run| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        async move {
            // 4 KiB with the two quotation marks.
            let short: String = run.step("short", async { Ok("s".repeat(4094)) }).await?;
            let long: String = run.step("long", async { Ok("l".repeat(4095)) }).await?;
            assert_eq!((short.len(), long.len()), (4094, 4095));
            run.step("last", async { if attempt == 0 { Err(down()) } else { Ok(()) } }).await?;
            finished()
        }
    })
    .await;
    assert!(matches!(app.work_once().await, Some(Err(JobError::Retry(_)))));
    let steps = app.job("ada", &id).await.steps;
    assert!(matches!((&steps["short"], &steps["long"]), (StepResult::Value(_), StepResult::Blob(_))));
    app.work_all().await;
    assert_eq!(app.job("ada", &id).await.status, Completed, "both were read again");
}

#[tokio::test]
async fn a_job_whose_earlier_result_is_gone_fails() {
    let (app, id) = app_with_job(|run: Run| async move {
        let _: String = run.step("long", async { Ok("l".repeat(10_000)) }).await?;
        run.step::<()>("last", async { Err(down()) }).await?;
        finished()
    })
    .await;
    assert!(matches!(app.work_once().await, Some(Err(JobError::Retry(_)))));
    let container = &app.state.config.storage.jobs_container;
    let StepResult::Blob(blob) = &app.job("ada", &id).await.steps["long"] else { panic!("it is long") };
    assert!(app.state.blobs.delete(container, &blob.parse().unwrap()).await.unwrap());
    app.work_all().await;
    let job = app.job("ada", &id).await;
    let expected = "The result of an earlier step no longer exists.";
    assert_eq!((job.status, job.error.as_deref()), (Failed, Some(expected)));
}

#[tokio::test]
async fn a_job_whose_record_becomes_too_long_fails() {
    let (app, id) = app_with_job(|run: Run| async move {
        for number in 0..10 {
            run.step(&format!("{number}{}", "n".repeat(300_000)), async { Ok(number) }).await?;
        }
        finished()
    })
    .await;
    app.work_all().await;
    let job = app.job("ada", &id).await;
    assert_eq!((job.status, job.error.as_deref()), (Failed, Some("The job's record became too long.")));
}

#[tokio::test]
async fn what_a_step_wrote_is_shown_when_it_is_finished() {
    let (app, id) = app_with_job(|run: Run| async move {
        run.step("first", async { run.write_output("first.md", "one").await }).await?;
        run.step::<()>("second", async {
            run.write_output("first.md", "one and a half").await?;
            run.write_output("second.md", "two").await?;
            Err(down())
        })
        .await?;
        finished()
    })
    .await;
    for _ in 0..2 {
        assert!(matches!(app.work_once().await, Some(Err(JobError::Retry(_)))));
        let paths: Vec<_> = app.job("ada", &id).await.outputs.into_iter().map(|output| output.path).collect();
        assert_eq!(paths, ["first.md"]);
        let shown = app.user("ada").await.get(&format!("/api/jobs/{id}/outputs/first.md")).await;
        assert!(shown.text().contains("one") && !shown.text().contains("half"), "{}", shown.text());
    }
}

#[tokio::test]
async fn an_output_that_is_written_twice_has_its_last_content() {
    let (app, id) = app_with_job(|run: Run| async move {
        run.step("first", async {
            run.write_output("a.md", "one").await?;
            run.write_output("a.md", "two").await
        })
        .await?;
        run.write_output("a.md", "three").await?;
        run.write_output("b.md", "four").await?;
        run.write_output("b.md", "five").await?;
        finished()
    })
    .await;
    app.work_all().await;
    let ada = app.user("ada").await;
    let outputs = ada.get(&format!("/api/jobs/{id}/outputs")).await.json();
    let paths: Vec<_> =
        outputs["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["index.md", "a.md", "b.md"]);
    for (path, content) in [("a.md", "three"), ("b.md", "five")] {
        let raw = ada.clone().header("accept", "text/markdown").get(&format!("/api/jobs/{id}/outputs/{path}")).await;
        assert_eq!(raw.text(), content, "{path}");
    }
}

/// Advances tokio's time at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_step_that_does_not_end_is_broken_off_before_the_host_does_it() {
    let stage = Stage::new();
    let app = TestApp::builder().kinds(stage.kinds()).start();
    let id = app.accept("ada", &["hold"]).await;
    drop(app.receive_job().await.unwrap());
    let (state, delivery) = (app.state.clone(), message("ada", &id));
    let worker = app.state.tasks.spawn(async move { pluckit::workers::jobs::run(&state, delivery).await });
    stage.until_begun(0, 1).await;
    // The host's limit for a function is nine minutes.
    pass(Duration::from_secs(8 * 60 + 25)).await;
    until("the lease is renewed", async || app.job("ada", &id).await.lease.owner().is_some()).await;
    assert!(!worker.is_finished());
    pass(Duration::from_secs(10)).await;
    assert!(matches!(worker.await.unwrap(), Err(JobError::Retry(_))));
    let job = app.job("ada", &id).await;
    let detail = job.history.last().unwrap().detail.as_deref();
    assert_eq!((job.status, detail), (Pending, Some("to be tried again: A step took too long.")));
}

#[tokio::test]
async fn a_long_queue_does_not_grow() {
    let stage = Stage::new();
    let app = TestApp::builder().kinds(stage.kinds()).start();
    app.accept("ada", &["done"]).await;
    let mut queued = Vec::new();
    for _ in 0..8 {
        app.clock.advance(Duration::from_secs(181));
        app.state.jobs.sweep().await.unwrap();
        queued.push(app.state.queue.length(QUEUE).await.unwrap());
    }
    // After 3, 9 and 21 minutes.
    assert_eq!(queued, [2, 2, 3, 3, 3, 3, 4, 4]);
}

#[tokio::test]
async fn the_record_tells_what_became_of_each_attempt() {
    let stage = Stage::new();
    let app = TestApp::builder().kinds(stage.kinds()).start();
    let id = app.accept("ada", &["fail 1"]).await;
    assert!(matches!(app.work_once().await, Some(Err(JobError::Retry(_)))));
    app.work_all().await;
    let job = serde_json::to_value(app.job("ada", &id).await).unwrap();
    let history: Vec<_> = job["history"].as_array().unwrap().iter().map(|change| change["detail"].clone()).collect();
    let again = "to be tried again: The model is down.";
    assert_eq!(history, [Value::Null, Value::Null, json!(again), json!("attempt 2"), Value::Null]);
}
