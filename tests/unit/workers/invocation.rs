//! Requests of the Functions host, and their answers.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use futures::stream;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{SCRIPTED, fresh_key, record, release, script, until_begun};
use crate::support::caller::Answer;
use crate::support::host::{self, queue_envelope};
use crate::support::{TestApp, refusal};

fn hosted() -> TestApp {
    TestApp::builder().under_functions_host().functions(&SCRIPTED).start()
}

fn envelope(function: &str, text: &str, dequeue_count: i64) -> Value {
    queue_envelope(function, "item", text, "5d0c7c1e-8f0a-4c53-9d6a-0f3d6b1f2a11", dequeue_count)
}

fn timer_envelope(status: &Value) -> Value {
    let mut envelope = host::timer_envelope("ScriptedTimer", "item");
    envelope["Data"]["item"]["ScheduleStatus"] = status.clone();
    envelope
}

/// Checks the form that every answer to the host has, and returns its status.
fn status(answer: &Answer) -> u16 {
    let body = answer.json();
    assert_eq!(body["Outputs"], json!({}), "{body}");
    assert_eq!(body["ReturnValue"], Value::Null);
    assert!(body["Logs"].is_array() && body.as_object().unwrap().len() == 3, "{body}");
    assert_eq!(answer.header("content-type"), "application/json");
    answer.status.as_u16()
}

#[tokio::test]
async fn a_message_is_done_when_the_host_is_told_so() {
    let app = hosted();
    let key = fresh_key();
    let answer = app.nobody().post("/Scripted", envelope("Scripted", &script(&key, &["done"]), 3)).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(answer.json()["Logs"], json!(["Scripted done"]));
    assert_eq!(record(&key).counts, [3]);
}

#[tokio::test]
async fn failed_work_is_a_failed_call() {
    let app = hosted();
    for step in ["fail", "panic"] {
        let key = fresh_key();
        let answer = app.nobody().post("/Scripted", envelope("Scripted", &script(&key, &[step]), 1)).await;
        assert_eq!(status(&answer), 500, "{step}");
        assert!(!answer.text().contains("the model is down"), "causes stay in the log: {}", answer.text());
        assert_eq!(record(&key).begun.len(), 1, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_hangs_is_ended_before_the_host_ends_us() {
    let app = hosted();
    let key = fresh_key();
    let started = tokio::time::Instant::now();
    let post = app.service().oneshot(
        Request::post("/Scripted")
            .body(Body::from(envelope("Scripted", &script(&key, &["hang"]), 1).to_string()))
            .unwrap(),
    );
    assert_eq!(post.await.unwrap().status(), 500);
    assert_eq!(started.elapsed().as_secs(), 9 * 60);
    assert_eq!(record(&key).running, 0);
}

#[tokio::test(start_paused = true)]
async fn work_that_somebody_else_does_is_waited_for() {
    let app = hosted();
    let key = fresh_key();
    let text = script(&key, &["not now", "not now", "done"]);
    assert_eq!(status(&app.nobody().post("/Scripted", envelope("Scripted", &text, 2)).await), 200);
    assert_eq!(record(&key).counts, [2, 2, 2], "one delivery");

    let key = fresh_key();
    let post = app.service().oneshot(
        Request::post("/Scripted")
            .body(Body::from(envelope("Scripted", &script(&key, &["not now"]), 1).to_string()))
            .unwrap(),
    );
    assert_eq!(post.await.unwrap().status(), 500, "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_another_worker_leaves_half_of_its_time_for_the_work() {
    let app = hosted();
    let (held, free_at_last) = (fresh_key(), fresh_key());
    let call = async |text: &str| {
        let started = tokio::time::Instant::now();
        let body = Body::from(envelope("Scripted", text, 1).to_string());
        let answer = app.service().oneshot(Request::post("/Scripted").body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 500);
        started.elapsed().as_secs()
    };
    let waited = call(&script(&held, &["not now"])).await;
    let attempts = record(&held).begun.len();
    assert_eq!((waited, attempts), (265, 54), "an attempt every five seconds for four and a half minutes");
    let steps: Vec<_> = std::iter::repeat_n("not now", attempts - 1).chain(["hang"]).collect();
    assert_eq!(call(&script(&free_at_last, &steps)).await, 9 * 60, "the last attempt has the rest of the time");
}

#[tokio::test]
async fn what_cannot_be_done_is_kept_and_done_with() {
    let app = hosted();
    let key = fresh_key();
    let text = script(&key, &["give up"]);
    assert_eq!(status(&app.nobody().post("/Scripted", envelope("Scripted", &text, 1)).await), 200);
    assert_eq!(record(&key).given_up, [("as the script says".to_owned(), text)]);

    let text = format!("{{\"broken {key}");
    assert_eq!(status(&app.nobody().post("/Scripted", envelope("Scripted", &text, 1)).await), 200);
    assert_eq!(record(&text).given_up, [("no script".to_owned(), text)], "with its raw text");
}

#[tokio::test]
async fn the_plain_form_of_the_documentation_is_read_too() {
    let app = hosted();
    let key = fresh_key();
    let plain = json!({"Data": {"item": script(&key, &["done"])}, "Metadata": {"DequeueCount": 4, "Id": "m-17"}});
    assert_eq!(status(&app.nobody().post("/Scripted", plain).await), 200);
    assert_eq!(record(&key).counts, [4]);
}

#[tokio::test]
async fn the_longest_message_arrives_in_pieces_and_whole() {
    let app = hosted();
    let key = fresh_key();
    // As many quotes as fit: each becomes four characters in the envelope.
    let filling = "\"".repeat(32 * 1024 - 100);
    let text = json!({"key": key, "steps": ["done"], "filling": filling}).to_string();
    assert!(text.len() > 65_000, "{}", text.len());
    let body = envelope("Scripted", &text, 1).to_string();
    let pieces: Vec<_> = body.as_bytes().chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let request = Request::post("/Scripted").header(CONTENT_TYPE, "application/json");
    let response = app.service().oneshot(request.body(Body::from_stream(stream::iter(pieces))).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(record(&key).begun.len(), 1);
}

#[tokio::test]
async fn a_timer_runs_whatever_its_status_says() {
    let app = TestApp::builder()
        .under_functions_host()
        .functions(&SCRIPTED)
        .setting("LOCAL_DEV_USER_ID", "timer-statuses")
        .start();
    let first = json!({"Last": "0001-01-01T00:00:00", "Next": "2026-03-08T06:00:00+00:00", "LastUpdated": "0001-01-01T00:00:00"});
    for timer in [first, Value::Null, json!({"Last": "yesterday"})] {
        assert_eq!(status(&app.nobody().post("/ScriptedTimer", timer_envelope(&timer)).await), 200, "{timer}");
    }
    assert_eq!(record("timer-statuses").begun.len(), 3);
    super::fail_timer("timer-statuses", 1);
    assert_eq!(status(&app.nobody().post("/ScriptedTimer", timer_envelope(&Value::Null)).await), 500);
}

#[tokio::test]
async fn what_is_no_envelope_is_refused_in_the_same_form() {
    let app = hosted();
    for body in ["", "not json", "[]", "{}", r#"{"Data":{}}"#, "\u{feff}{}"] {
        let answer = app.nobody().send(Method::POST, "/Scripted", Some("application/json"), body.to_owned()).await;
        assert_eq!(status(&answer), 400, "{body}");
    }
    let answer = app.nobody().send(Method::POST, "/Scripted", None, vec![0xff, 0xfe, 0x00]).await;
    assert_eq!(status(&answer), 400);
    let answer = app.nobody().send(Method::POST, "/Scripted", None, vec![b' '; 1024 * 1024 + 1]).await;
    assert_eq!(status(&answer), 413);
}

#[tokio::test]
async fn the_world_outside_finds_no_functions() {
    let key = fresh_key();
    let message = envelope("Scripted", &script(&key, &["done"]), 1);
    let alone = TestApp::builder().functions(&SCRIPTED).start();
    let hosted = hosted();
    let forged = hosted.nobody().header("x-ms-invocation-id", &fresh_key());
    let unknown = alone.nobody().post("/NoSuchFunction", message.clone()).await;
    assert_eq!(unknown.summary(), (404, refusal("Not Found")));
    for path in ["/Scripted", "/ScriptedDlq", "/ScriptedTimer", "/Scripted/"] {
        for answer in [alone.nobody().post(path, message.clone()).await, forged.post(path, message.clone()).await] {
            assert_eq!(answer.summary(), unknown.summary(), "{path}");
        }
        assert_eq!(forged.get(path).await.summary(), unknown.summary(), "{path}");
    }
    for caller in [alone.nobody(), hosted.nobody(), forged] {
        assert_eq!(caller.post("/api/Scripted", message.clone()).await.summary(), unknown.summary());
    }
    assert!(record(&key).begun.is_empty());
    assert_eq!(hosted.nobody().get("/Scripted").await.status, 405);
}

#[tokio::test]
async fn the_ping_is_answered_under_the_host_only() {
    assert_eq!(status(&hosted().nobody().get("/").await), 200);
    assert_eq!(TestApp::new().nobody().get("/").await.status, 404);
}

#[tokio::test]
async fn work_ends_even_if_the_host_hangs_up() {
    let app = hosted();
    let key = fresh_key();
    let body = envelope("Scripted", &script(&key, &["hold"]), 1).to_string();
    let request = Request::post("/Scripted").body(Body::from(body)).unwrap();
    let call = app.service().oneshot(request);
    let cut = tokio::time::timeout(Duration::from_millis(50), async { tokio::join!(call, until_begun(&key, 1)).0 });
    assert!(cut.await.is_err(), "the host leaves before the work is done");
    assert_eq!(record(&key).running, 1);
    release(&key);
    app.state.tasks.close();
    app.state.tasks.wait().await;
    assert_eq!(record(&key).running, 0);
}

#[tokio::test]
async fn a_stopping_service_does_not_wait_for_others() {
    let app = hosted();
    app.state.shutdown.cancel();
    let key = fresh_key();
    let body = envelope("Scripted", &script(&key, &["not now"]), 1).to_string();
    let response = app.service().oneshot(Request::post("/Scripted").body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(!response.into_body().collect().await.unwrap().to_bytes().is_empty());
}
