//! Requests that are sent again.

use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;

use crate::support::TestApp;
use crate::support::caller::Caller;

async fn ban(app: &TestApp) -> Caller {
    app.user("grace").await.header("idempotency-key", "key-1 / ?#")
}

fn app() -> TestApp {
    TestApp::builder().setting("ADMIN_USER_IDS", "grace").start()
}

#[tokio::test]
async fn a_request_sent_again_is_done_once_and_answered_as_before() {
    let app = app();
    let grace = ban(&app).await;
    let first = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.header("idempotency-replayed"), "");
    let plain = app.user("grace").await;
    assert_eq!(plain.post("/api/admin/unban/eve", json!({})).await.status, StatusCode::OK);
    let again = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!((again.header("idempotency-replayed"), again.header("content-type")), ("true", "application/json"));
    assert_eq!(plain.get("/api/admin/bans").await.json()["bans"], json!([]), "it was not done again");

    app.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let grace = ban(&app).await;
    let next_day = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!(next_day.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_user() {
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "grace, root").start();
    let grace = ban(&app).await;
    assert_eq!(grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await.status, StatusCode::OK);
    for (path, body) in
        [("/api/admin/ban/eve", json!({"reason": "other"})), ("/api/admin/ban/bob", json!({"reason": "spam"}))]
    {
        let other = grace.post(path, body).await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(other.json()["detail"][0]["loc"], json!(["header", "Idempotency-Key"]));
    }
    let root = app.user("root").await.header("idempotency-key", "key-1 / ?#");
    assert_eq!(root.post("/api/admin/ban/bob", json!({"reason": "x"})).await.status, StatusCode::OK);
    let long = app.user("grace").await.header("idempotency-key", &"k".repeat(129));
    assert_eq!(long.post("/api/admin/ban/eve", json!({})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_was_refused_is_refused_again_and_what_only_reads_is_read_anew() {
    let app = app();
    let grace = ban(&app).await;
    let first = grace.post("/api/admin/unban/nobody", json!({})).await;
    assert_eq!(first.status, StatusCode::NOT_FOUND);
    let again = grace.post("/api/admin/unban/nobody", json!({})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::NOT_FOUND, "true"));
    assert_eq!(grace.get("/api/admin/bans").await.status, StatusCode::OK);
}

#[tokio::test]
async fn preferring_to_ask_later_changes_nothing_where_nobody_can() {
    let app = app();
    let grace = ban(&app).await.header("prefer", "respond-async");
    assert_eq!(grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await.status, StatusCode::OK);
    let again = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_long_operation_knows_its_key_however_the_preference_is_written() {
    let app = app();
    let grace = ban(&app).await.header("prefer", "wait=5, Respond-Async");
    let first = grace.post("/api/digest/run", json!({})).await;
    let again = grace.post("/api/digest/run", json!({})).await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!((again.header("retry-after"), again.header("idempotency-replayed")), ("2", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_one_is_done() {
    let app = app();
    let grace = ban(&app).await;
    let answers = join_all((0..100).map(|_| grace.post("/api/admin/ban/eve", json!({"reason": "spam"})))).await;
    let done = answers.iter().filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(done.filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 409)));
}
