//! Messages of any queue that failed for good: stored with a reason, listed, replayed.

use std::time::Duration;

use pluckit::base::backoff::Backoff;
use pluckit::workers::pump::{self, Options};
use pluckit::workers::{Function, poison, store, work};
use serde_json::{Value, json};

use super::{follow_script, fresh_key, script, until_begun};
use crate::support::{TestApp, until};

static FUNCTIONS: [Function; 2] = [
    work("Follow", "DIGEST_BATCH_QUEUE_NAME", |config| &config.queues.digest, follow_script, store),
    poison("FollowDlq", "DIGEST_BATCH_QUEUE_NAME", |config| &config.queues.digest, store),
];

fn app() -> TestApp {
    TestApp::builder().functions(&FUNCTIONS).setting("ADMIN_USER_IDS", "grace").start()
}

fn options(app: &TestApp) -> Options {
    let options = Options::from_config(&app.state.config);
    Options { retry: Backoff { first: Duration::ZERO, ..options.retry }, ..options }
}

async fn letters(app: &TestApp) -> Vec<Value> {
    let page = app.user("grace").await.get("/api/admin/dead-letters").await.json();
    page["deadLetters"].as_array().unwrap().clone()
}

async fn until_letters(app: &TestApp, count: usize) -> Vec<Value> {
    until("the dead letters", async || letters(app).await.len() == count).await;
    letters(app).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_always_fails_is_kept_with_its_last_failure_and_can_be_put_back() {
    let app = app();
    let key = fresh_key();
    let text = script(&key, &["fail", "fail", "fail", "fail", "fail", "done"]);
    app.state.queue.send("digest-batches", &text).await.unwrap();
    pump::start(&app.state, &FUNCTIONS, &options(&app));
    let letter = until_letters(&app, 1).await.remove(0);
    assert_eq!(super::record(&key).counts, [1, 2, 3, 4, 5]);
    assert_eq!(letter["reason"], "the model is down");
    assert_eq!((&letter["sourceQueue"], &letter["dequeueCount"]), (&json!("digest-batches"), &json!(5)));
    assert_eq!(letter["payload"], serde_json::from_str::<Value>(&text).unwrap());

    let path = format!("/api/admin/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    let grace = app.user("grace").await;
    assert_eq!(grace.post(&path, json!({})).await.status, 200);
    assert_eq!(grace.post(&path, json!({})).await.status, 409);
    until_begun(&key, 6).await;
    until("an empty queue", async || app.state.queue.length("digest-batches").await.unwrap() == 0).await;
    assert_eq!(letters(&app).await.len(), 1, "it was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_at_once_and_what_ends_in_the_poison_queue_too() {
    let app = app();
    for text in ["no script", "[]", "\u{1F457} \"quoted\"", ""] {
        app.state.queue.send("digest-batches", text).await.unwrap();
    }
    app.state.queue.send("digest-batches-poison", r#"{"batch":7}"#).await.unwrap();
    pump::start(&app.state, &FUNCTIONS, &options(&app));
    let letters = until_letters(&app, 5).await;
    let find = |payload: Value| {
        letters.iter().find(|letter| letter["payload"] == payload).unwrap_or_else(|| panic!("{payload}"))
    };
    for text in ["no script", "[]", "\u{1F457} \"quoted\"", ""] {
        let letter = find(json!({ "raw_payload": text }));
        assert_eq!((&letter["reason"], &letter["dequeueCount"]), (&json!("no script"), &json!(1)));
    }
    let poisoned = find(json!({"batch": 7}));
    assert_eq!(poisoned["sourceQueue"], "digest-batches-poison");
    assert_eq!(poisoned["reason"], "the process died during every delivery");
}
