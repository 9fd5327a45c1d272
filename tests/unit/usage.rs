//! Usage of models: recorded once per call, however it ends, and visible only to its owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use http_body_util::BodyExt;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::llm::{CallContext, ChatRequest, Message, Purpose};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore};
use serde_json::{Value, json};
use time::macros::date;
use uuid::Uuid;

use crate::support::caller::Caller;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{Answer, Kind, ModelServer, Step, finish, say, text};
use crate::support::service::{Launch, wait_until};
use crate::support::{Builder, TestApp, until};

const USAGE: &str = "/api/usage";

async fn ask(caller: &Caller) {
    let answer = caller.post("/api/chat", json!({"message": "Hello"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.events().last().unwrap()["type"], "done");
}

async fn days(caller: &Caller, query: &str) -> Vec<Value> {
    let answer = caller.get(&format!("{USAGE}{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["days"].as_array().unwrap().clone()
}

fn entry(date: &str, model: &str, calls: u64, input: u64, output: u64) -> Value {
    json!({"date": date, "model": model, "calls": calls, "inputTokens": input, "outputTokens": output})
}

/// Waits until this is the caller's usage.
async fn until_usage(caller: &Caller, expected: &[Value]) {
    until(&format!("the usage is {expected:?}"), async || days(caller, "").await == expected).await;
}

/// A service that asks this server, with a budget if it says so.
fn app(server: &ModelServer) -> Builder {
    TestApp::builder().model_server(server).setting("ADMIN_USER_IDS", "grace")
}

#[tokio::test]
async fn a_turn_is_in_the_usage_of_its_user_and_nobody_else_s() {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&["Hello."]).usage(3_000, 250));
    let app = app(&server).setting("MODEL_PRICES", "stylist-1=0.40/1.60").start();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    assert_eq!(days(&ada, "").await, [] as [Value; 0]);
    ask(&ada).await;
    ask(&ada).await;
    let mut expected = entry("2026-03-02", "stylist-1", 2, 6_000, 500);
    // 6,000 at 0.40 and 500 at 1.60 a million.
    expected["cost"] = json!("0.0032");
    until_usage(&ada, &[expected]).await;
    assert_eq!(days(&eve, "").await, [] as [Value; 0]);
    assert_eq!(eve.get("/api/admin/usage").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn usage_is_counted_without_a_budget_and_by_model() {
    let server = ModelServer::start().await;
    server.otherwise(|request| match request.kind {
        Kind::Embeddings => Answer::Embeddings,
        _ => say(&["Yes."]).usage(100, 10).into(),
    });
    let app = app(&server).setting("MODEL_TOKENS_PER_USER_AND_DAY", "0").start();
    let ada = app.user("ada").await;
    ask(&ada).await;
    let context = CallContext::user(&"ada".into());
    let request = |purpose| ChatRequest {
        purpose,
        messages: vec![Message::User("Well?".to_owned())],
        tools: [].into(),
        max_tokens: None,
    };
    app.state.model.complete(&context, request(Purpose::ExpandQuery)).await.unwrap();
    app.state.model.embed(&context, &["12345678".to_owned(), "1".to_owned()]).await.unwrap();
    app.state.model.complete(&CallContext::service(), request(Purpose::ExtractMoods)).await.unwrap();
    until("all is stored", async || days(&ada, "").await.len() == 3).await;
    let by_model: BTreeMap<_, _> =
        days(&ada, "").await.into_iter().map(|day| (day["model"].as_str().unwrap().to_owned(), day)).collect();
    assert_eq!(by_model["stylist-1"], entry("2026-03-02", "stylist-1", 1, 100, 10));
    assert_eq!(by_model["nano-1"], entry("2026-03-02", "nano-1", 1, 100, 10));
    // Servers do not count embeddings: a quarter of the bytes, rounded up.
    assert_eq!(by_model["embedding-1"], entry("2026-03-02", "embedding-1", 1, 3, 0));
    let grace = app.user("grace").await;
    until("the service's own call is stored", async || {
        let all = grace.get("/api/admin/usage").await.json()["days"].as_array().unwrap().clone();
        let mut own = entry("2026-03-02", "nano-1", 1, 100, 10);
        own["userId"] = Value::Null;
        all.len() == 4 && all.contains(&own)
    })
    .await;
}

#[tokio::test]
async fn who_leaves_and_a_server_that_counts_nothing_are_estimated() {
    let server = ModelServer::start().await;
    let app = app(&server).start();
    let ada = app.user("ada").await;
    server.otherwise(|_| Answer::Steps(vec![text("one "), text("two "), text("three"), finish("stop"), Step::Done]));
    ask(&ada).await;
    until("the turn is stored", async || days(&ada, "").await.len() == 1).await;
    let first = days(&ada, "").await.remove(0);
    assert_eq!((&first["calls"], &first["outputTokens"]), (&json!(1), &json!(4)), "13 bytes");
    let prompt = first["inputTokens"].as_u64().unwrap();
    assert!(prompt > 500, "the tools are a part of it: {prompt}");

    server.otherwise(|_| Answer::Steps((0..40).map(|_| text("w ")).chain([Step::Stall]).collect()));
    let body = json!({"message": "Hello"}).to_string();
    let mut body = ada.begin(Method::POST, "/api/chat", Some("application/json"), body).await.into_body();
    let mut seen = 0;
    while seen < 40 {
        let frame = body.frame().await.unwrap().unwrap();
        seen += std::str::from_utf8(frame.data_ref().unwrap()).unwrap().matches("token").count();
    }
    drop(body);
    until_usage(&ada, &[entry("2026-03-02", "stylist-1", 2, 2 * prompt, 44)]).await;
}

#[tokio::test]
async fn a_call_that_costs_nothing_is_no_usage() {
    let server = ModelServer::start().await;
    server.otherwise(|_| Answer::error(401, "invalid_api_key", "wrong key"));
    let app = app(&server).start();
    let ada = app.user("ada").await;
    ask(&ada).await;
    app.state.tasks.close();
    app.state.tasks.wait().await;
    assert_eq!(days(&ada, "").await, [] as [Value; 0]);
}

#[tokio::test]
async fn days_are_those_of_the_question() {
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "grace").start();
    for (day, calls) in [("2026-03-02", 3), ("2026-03-01", 2), ("2026-01-31", 1), ("2024-12-01", 9)] {
        let models = json!([{"model": "m", "calls": calls, "inputTokens": 10, "outputTokens": 1}]);
        app.save(Container::Usage, "ada", json!({"id": day, "userId": "ada", "date": day, "models": models})).await;
    }
    let ada = app.user("ada").await;
    let listed = async |query: &str| -> Vec<u64> {
        days(&ada, query).await.iter().map(|day| day["calls"].as_u64().unwrap()).collect()
    };
    assert_eq!(listed("").await, [3, 2]);
    assert_eq!(listed("?days=1").await, [3]);
    assert_eq!(listed("?days=31").await, [3, 2, 1]);
    assert_eq!(listed("?days=400").await, [3, 2, 1]);
    for bad in ["0", "401", "x", "-1"] {
        assert_eq!(ada.get(&format!("{USAGE}?days={bad}")).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

/// Each scene with users of its own, on both stores.
macro_rules! on_both_stores {
    ($($name:ident)+) => {$(
        mod $name {
            #[tokio::test]
            async fn on_sqlite() {
                let store = super::super::SqliteStore::in_memory(std::sync::Arc::new(super::super::SystemClock));
                super::super::$name(std::sync::Arc::new(store.unwrap())).await;
            }

            #[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn on_cosmos() {
                super::super::$name(std::sync::Arc::new(crate::store::cosmos_backend::cosmos().await)).await;
            }
        }
    )+};
}

mod both {
    on_both_stores! {
        calls_of_two_instances_are_added_up
        a_write_whose_answer_is_lost_counts_once
        administrators_see_everybody_page_by_page
    }
}

fn new_user(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4())
}

async fn calls_of_two_instances_are_added_up(store: Arc<dyn DocumentStore>) {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&["Hello."]).usage(60, 50));
    let instances = [0, 1].map(|_| app(&server).store(store.clone()).setting("CHAT_STREAMS_PER_USER", "50").start());
    let user = new_user("ada");
    let callers = [instances[0].user(&user).await, instances[1].user(&user).await];
    join_all((0..20).map(|turn| ask(&callers[turn % 2]))).await;
    let expected = [entry("2026-03-02", "stylist-1", 20, 1_200, 1_000)];
    until_usage(&callers[0], &expected).await;
    for instance in &instances {
        instance.state.tasks.close();
        instance.state.tasks.wait().await;
    }
    assert_eq!(days(&callers[1], "").await, expected);
    let day = date!(2026 - 03 - 02);
    let payer = pluckit::llm::Payer::User(user.as_str().into());
    let (stored, _) = instances[0].state.data.usage.find(&payer, day).await.unwrap().unwrap();
    assert_eq!(stored.tokens, 2_200, "the budget is the same sum");
}

async fn a_write_whose_answer_is_lost_counts_once(store: Arc<dyn DocumentStore>) {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&["Hello."]).usage(60, 50));
    for fate in [Fate::LosesAnswer, Fate::Fails] {
        let writes = Arc::new(AtomicUsize::new(0));
        let breaks = {
            let writes = writes.clone();
            move |call: &Call<'_>| {
                let is_write = call.container == Some(Container::Usage) && call.document.is_some();
                // Two in a row: one could be taken for a lost race.
                if is_write && writes.fetch_add(1, Ordering::SeqCst) < 2 { fate } else { Fate::Passes }
            }
        };
        let app = app(&server).store(Intercepted::new(store.clone(), Arc::new(breaks))).start();
        let ada = app.user(&new_user("ada")).await;
        ask(&ada).await;
        ask(&ada).await;
        until_usage(&ada, &[entry("2026-03-02", "stylist-1", 2, 120, 100)]).await;
        app.state.tasks.close();
        app.state.tasks.wait().await;
        assert_eq!(days(&ada, "").await, [entry("2026-03-02", "stylist-1", 2, 120, 100)], "{fate:?}");
        assert!(writes.load(Ordering::SeqCst) >= 2);
    }
}

async fn administrators_see_everybody_page_by_page(store: Arc<dyn DocumentStore>) {
    // A time that no other test has: everybody is in the answer.
    let clock = Arc::new(pluckit::base::clock::ManualClock::new(SystemClock.now() + Duration::from_secs(800 * 86_400)));
    let app = TestApp::builder().store(store).clock(clock).setting("ADMIN_USER_IDS", "grace").start();
    let today = app.clock.now().date();
    let run = Uuid::new_v4().simple().to_string();
    let users: Vec<String> = (0..130).map(|number| format!("{run}-{number:03}")).collect();
    for user in &users {
        let models = json!([
            {"model": "main", "calls": 1, "inputTokens": 10, "outputTokens": 1},
            {"model": "nano", "calls": 2, "inputTokens": 20, "outputTokens": 2},
        ]);
        let document = json!({"id": today.to_string(), "userId": user, "date": today.to_string(), "models": models});
        app.save(Container::Usage, user, document).await;
    }
    let grace = app.user("grace").await;
    let (mut seen, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = grace.get(&format!("/api/admin/usage?days=1&continuationToken={after}")).await;
        assert_eq!(page.status, StatusCode::OK);
        let page = page.json();
        let entries = page["days"].as_array().unwrap();
        assert!(entries.len() <= 200);
        seen.extend(
            entries.iter().filter(|day| day["userId"].as_str().is_some_and(|user| user.starts_with(&run))).cloned(),
        );
        pages += 1;
        let Some(next) = page["nextContinuationToken"].as_str() else { break };
        after = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    }
    assert!(pages >= 2);
    let expected: Vec<_> =
        users.iter().flat_map(|user| [(user.as_str(), "main", 1), (user.as_str(), "nano", 2)]).collect();
    let seen: Vec<_> = seen
        .iter()
        .map(|day| (day["userId"].as_str().unwrap(), day["model"].as_str().unwrap(), day["calls"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, expected);
}

/// A hard kill does not lose finished turns. The count of the last one may be on its way to the disk.
#[test]
fn a_killed_service_has_counted_what_had_ended() {
    let launch = Launch::development(env!("CARGO_BIN_EXE_pluckit"));
    let mut calls = 0;
    for _ in 0..5 {
        let (mut service, address) = launch.start();
        let curl = |path: &str, body: Option<&str>| {
            let mut curl = std::process::Command::new("curl");
            curl.args(["-s", "-N", "--max-time", "30", &format!("http://localhost:{}{path}", address.port())]);
            curl.args(body.iter().flat_map(|body| ["-H", "content-type: application/json", "-d", *body]));
            String::from_utf8(curl.output().unwrap().stdout).unwrap()
        };
        let counted = || {
            let answer: Value = serde_json::from_str(&curl(USAGE, None)).unwrap();
            answer["days"].as_array().unwrap().iter().map(|day| day["calls"].as_u64().unwrap()).sum::<u64>()
        };
        let found = counted();
        assert!((calls.max(1) - 1..=calls).contains(&found), "{calls} calls had ended, and {found} are counted");
        calls = found;
        for _ in 0..3 {
            let answer = curl("/api/chat", Some(r#"{"message": "Thank you!"}"#));
            assert!(answer.contains("\"done\""), "{answer}");
            assert!(!answer.contains("tool_use"), "one call a turn: {answer}");
            calls += 1;
        }
        let is_counted = || (counted() + 1 >= calls).then_some(());
        wait_until("all turns but the last are counted", Duration::from_secs(10), is_counted);
        service.kill();
    }
}
