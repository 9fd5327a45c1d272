//! Clients that disconnect before they have an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use pluckit::base::clock::{ManualClock, SystemClock};
use pluckit::net;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::sync::Notify;

use crate::support::events::EventStream;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{Answer, Kind, ModelServer, Step, say, text};
use crate::support::service::Launch;
use crate::support::{TestApp, until};

/// More calls to the store than an action makes.
const MOST_CALLS: usize = 40;

/// The client disconnects at each call that its request makes to the store.
#[tokio::test]
async fn an_action_is_completed_and_recorded_wherever_its_client_disconnects() {
    for last_call in 1..=MOST_CALLS {
        let (left, reached) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(Notify::new()));
        let (counted, at_last_call) = (left.clone(), reached.clone());
        let interceptor = move |_: &Call<'_>| {
            if counted.fetch_sub(1, Ordering::SeqCst) == 1 {
                at_last_call.notify_one();
            }
            Fate::GivesWay
        };
        let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
        let store = Intercepted::new(store, Arc::new(interceptor));
        let app = TestApp::builder().store(store).setting("ADMIN_USER_IDS", "grace").start();
        let grace = app.user("grace").await.header("idempotency-key", "key-1");
        let ban = async || grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
        left.store(last_call, Ordering::SeqCst);
        let is_answered = tokio::select! {
            biased;
            () = reached.notified() => false,
            answer = ban() => answer.status == StatusCode::OK,
        };
        until("the key is free again", async || ban().await.status == StatusCode::OK).await;
        assert_eq!(ban().await.header("idempotency-replayed"), "true");
        let actions = grace.get("/api/admin/audit").await.json();
        let statuses: Vec<&Value> =
            actions["actions"].as_array().unwrap().iter().map(|entry| &entry["status"]).collect();
        assert_eq!(statuses, [200], "after {last_call} calls");
        if is_answered {
            assert!(last_call > 3, "the client disconnected {last_call} times");
            return;
        }
    }
    panic!("an action makes more than {MOST_CALLS} calls");
}

#[tokio::test]
async fn readers_of_a_run_whose_work_panicked_do_not_wait_for_ever() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let panics = Arc::new(AtomicUsize::new(0));
    let panicked = panics.clone();
    let interceptor = move |call: &Call<'_>| {
        let writes_memory = call.container == Some(Container::Conversations) && !call.keys.is_empty();
        assert!(!writes_memory || panicked.fetch_add(1, Ordering::SeqCst) > 0, "as the test wants it");
        Fate::Passes
    };
    let model = ModelServer::start().await;
    model.otherwise(|_| say(&["Wear ", "navy."]));
    let store = Intercepted::new(store, Arc::new(interceptor));
    let app = TestApp::builder().store(store).clock(clock).model_server(&model).start();
    let ada = app.user("ada").await;
    // A conversation long enough to be summarized in the memory.
    let recent: Vec<Value> = (0..14)
        .map(|number| json!({"role": if number % 2 == 0 { "user" } else { "assistant" }, "content": "I love navy."}))
        .collect();
    let body = json!({"message": "And now?", "recentMessages": recent, "chatId": "c1", "onDisconnect": "continue"});
    let mut stream = EventStream::ask(&ada, body).await;
    until("the work has panicked", async || panics.load(Ordering::SeqCst) == 1).await;
    app.clock.advance(Duration::from_secs(11));
    app.state.runs.sweep().await.unwrap();
    // This client may be ahead of what is stored. Then it must come back.
    stream.rest().await;
    let events = EventStream::follow(&ada, &stream.run(), 0).await.rest().await;
    assert_eq!(events.last().unwrap().event["type"], "done");
}

/// A change that only its client wants ends with it; the log says that it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_nobody_is_stopped_and_logged() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, Answer::Steps(vec![text("Wear "), Step::Stall]));
    let launch = Launch::development(env!("CARGO_BIN_EXE_pluckit")).setting("OPENAI_BASE_URL", &server.base_url());
    let (service, address) = launch.start();
    let body = json!({"model": "pluckit-stylist", "messages": [{"role": "user", "content": "Go on for ever"}]});
    let http = net::builder().no_proxy().build().unwrap();
    let request = http.post(format!("http://{address}/api/v1/chat/completions")).header("x-request-id", "left");
    let request = request.json(&body).timeout(Duration::from_millis(500));
    assert!(request.send().await.is_err_and(|error| error.is_timeout()));
    assert!(server.wait_for_closed_early(1, Duration::from_secs(5)).await.is_some(), "the model goes on");
    until("it is logged", async || {
        let log = service.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| {
            line["message"] == "client disconnected before the answer"
                && line["http.status"] == 499
                && line["spans"][0]["request.id"] == "left"
        })
    })
    .await;
    let runs = || async {
        let runs = http.get(format!("http://{address}/api/chat/runs")).send().await.unwrap();
        runs.json::<Value>().await.unwrap()["runs"][0]["status"].clone()
    };
    until("the run is stopped", async || runs().await == "stopped").await;
}
