//! Repeated requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::jobs::Stage;
use crate::support::{TestApp, refusal};

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
    assert_eq!(long.post("/api/admin/ban/eve", json!({})).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn clients_that_show_errors_as_text_get_a_text() {
    let app = TestApp::new();
    let ada = app.user("ada").await.header("idempotency-key", "n1");
    assert_eq!(ada.post("/api/wardrobe", json!({"notes": "a"})).await.status, StatusCode::CREATED);
    let other = ada.post("/api/wardrobe", json!({"notes": "b"})).await;
    assert_eq!(other.summary(), (400, refusal("The Idempotency-Key was used for another request.")));
}

#[tokio::test]
async fn former_administrators_get_no_replayed_answers() {
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let before = TestApp::builder().store(store.clone()).setting("ADMIN_USER_IDS", "grace").start();
    let request = json!({"reason": "spam"});
    assert_eq!(ban(&before).await.post("/api/admin/ban/eve", request.clone()).await.status, StatusCode::OK);
    let after = TestApp::builder().store(store).setting("ADMIN_USER_IDS", "root").start();
    let answer = ban(&after).await.post("/api/admin/ban/eve", request).await;
    assert_eq!(answer.summary(), (403, refusal("Admin access required.")));
}

/// The id of the one record of `user`.
async fn record(app: &TestApp, user: &str) -> Key {
    let records = records(app, user).await;
    let [id] = &records[..] else { panic!("{records:?}") };
    Key::new(Container::Conversations, user, id)
}

async fn records(app: &TestApp, user: &str) -> Vec<String> {
    let query = Query::partition(Container::Conversations, user).limit(5000);
    let page = app.state.data.store.query(&query).await.unwrap();
    let ids = page.documents.iter().map(|stored| stored.parse::<Value>().unwrap()["id"].as_str().unwrap().to_owned());
    ids.filter(|id| id.starts_with("idempotency-")).collect()
}

#[tokio::test]
async fn a_request_whose_process_died_is_done_again_after_seconds() {
    let app = app();
    let grace = ban(&app).await;
    grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    // The state after its process was killed.
    let key = record(&app, "grace").await;
    let mut record: Value = app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap();
    record["answer"] = Value::Null;
    record["leaseOwner"] = json!("the dead one");
    record["leaseExpiresAt"] = json!((app.clock.now() + Duration::from_secs(10)).format(&Rfc3339).unwrap());
    app.state.data.store.upsert(&key, &record).await.unwrap();
    let again = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!(again.summary(), (409, refusal("A request with this Idempotency-Key is under way.")));
    assert_eq!(again.header("retry-after"), "2");
    app.clock.advance(Duration::from_secs(10));
    let again = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::OK, ""));
    let again = grace.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::OK, "true"));
}

#[tokio::test]
async fn a_job_restarted_again_because_the_answer_was_lost_runs_once() {
    let is_cut = Arc::new(AtomicBool::new(false));
    let switch = is_cut.clone();
    let interceptor = move |call: &Call<'_>| {
        let is_new_job = call.name == "store.batch"
            || call.name == "store.create" && call.document.is_some_and(|document| document.get("jobId").is_some());
        let is_lost = is_new_job && call.container == Some(Container::Jobs) && switch.swap(false, Ordering::SeqCst);
        if is_lost { Fate::LosesAnswer } else { Fate::Passes }
    };
    let store = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let store = Intercepted::new(store, Arc::new(interceptor));
    let app = TestApp::builder().kinds(Stage::new().kinds()).store(store).start();
    let job = app.accept("ada", &["done"]).await;
    app.work_all().await;
    let ada = app.user("ada").await;
    let path = format!("/api/jobs/{job}/restart");
    let restart = async |key: &str| ada.clone().header("idempotency-key", key).post(&path, json!({})).await;
    is_cut.store(true, Ordering::SeqCst);
    assert_eq!(restart("key").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let again = restart("key").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::ACCEPTED, ""));
    let jobs = async || ada.get("/api/jobs").await.json()["jobs"].as_array().unwrap().len();
    assert_eq!(jobs().await, 2, "the job and one restart");
    assert_eq!(restart("key").await.json()["id"], again.json()["id"]);
    assert_eq!((restart("other").await.status, jobs().await), (StatusCode::ACCEPTED, 3));
    app.work_all().await;
}

/// An item of nearly a megabyte, more than half of it in its answer.
#[tokio::test]
async fn a_long_answer_is_repeated_as_well() {
    let app = TestApp::new();
    // Larger than the API allows, as an older version stored it.
    let tags: Vec<String> = (0..200).map(|number| format!("{number:03}{}", "😀".repeat(197))).collect();
    let coat = json!({ "id": "coat", "userId": "ada", "tags": tags, "careInfo": tags, "aestheticTags": tags });
    app.save(Container::Wardrobe, "ada", coat).await;
    let ada = app.user("ada").await.header("idempotency-key", "large");
    let wear = async || ada.send(Method::PATCH, "/api/wardrobe/coat/wear", None, "{}").await;
    let (first, again) = (wear().await, wear().await);
    assert_eq!(first.status, StatusCode::OK);
    assert!(first.body.len() > 470_000);
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn the_place_of_an_item_is_repeated_with_its_answer() {
    let app = TestApp::new();
    let ada = app.user("ada").await.header("idempotency-key", "new");
    let create = async || ada.post("/api/wardrobe", json!({ "category": "Tops" })).await;
    let (first, again) = (create().await, create().await);
    assert_eq!((first.status, first.header("location").is_empty()), (StatusCode::CREATED, false));
    assert_eq!((again.header("idempotency-replayed"), again.header("location")), ("true", first.header("location")));
}

#[tokio::test]
async fn an_answer_too_long_to_be_kept_is_given_whole_and_what_it_did_is_done_once() {
    let app = TestApp::new();
    let notes = "\"\n".repeat(500_000);
    let coat = json!({ "id": "coat", "userId": "ada", "notes": notes });
    for (number, document) in
        [coat, json!({ "id": "coat", "userId": "ada", "notes": "é".repeat(900_000) })].iter().enumerate()
    {
        app.save(Container::Wardrobe, "ada", document.clone()).await;
        let ada = app.user("ada").await.header("idempotency-key", &format!("wear-{number}"));
        for _ in 0..2 {
            let answer = ada.send(Method::PATCH, "/api/wardrobe/coat/wear", None, r#"{"clientEventId":" "}"#).await;
            assert_eq!((answer.status, answer.header("idempotency-replayed")), (StatusCode::OK, ""));
            assert_eq!((&answer.json()["notes"], &answer.json()["wearCount"]), (&document["notes"], &json!(1)));
        }
    }
}

/// How many documents of the user there are in each container that requests add to.
async fn added(app: &TestApp, user: &str) -> Vec<u64> {
    let containers = [Container::Wardrobe, Container::Collections, Container::StylingActivity, Container::WearEvents];
    let counts = containers
        .map(|container| async move { app.state.data.store.count(&Query::partition(container, user)).await.unwrap() });
    join_all(counts).await
}

#[tokio::test]
async fn an_item_created_before_the_process_died_is_shown_as_it_is_now() {
    let app = TestApp::new();
    let ada = app.user("ada").await.header("idempotency-key", "key-1");
    let create = async || ada.post("/api/wardrobe", json!({"category": "Tops", "brand": "A"})).await;
    let created = create().await.json();
    let key = record(&app, "ada").await;
    let mut record: Value = app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap();
    record["answer"] = Value::Null;
    app.state.data.store.upsert(&key, &record).await.unwrap();
    let path = format!("/api/wardrobe/{}", created["id"].as_str().unwrap());
    let edited = app.user("ada").await.put(&path, json!({"id": created["id"], "category": "Tops", "brand": "B"})).await;
    assert_eq!(edited.status, StatusCode::NO_CONTENT);
    app.clock.advance(Duration::from_secs(60));
    let again = create().await;
    assert_eq!((again.status, &again.json()["brand"]), (StatusCode::CREATED, &json!("B")));
    assert_eq!(again.json()["dateAdded"], created["dateAdded"]);
}

#[tokio::test]
async fn what_a_request_created_before_its_process_died_is_created_once() {
    let app = TestApp::new();
    let coat = json!({ "id": "coat", "userId": "ada", "category": "Outerwear" });
    app.save(Container::Wardrobe, "ada", coat).await;
    let requests = [
        (Method::POST, "/api/wardrobe", json!({ "category": "Tops" })),
        (Method::POST, "/api/collections", json!({ "name": "Summer" })),
        (Method::POST, "/api/wardrobe/styling-activity", json!({ "itemId": "coat" })),
        (Method::PATCH, "/api/wardrobe/coat/wear", json!({})),
    ];
    for (number, (method, path, body)) in requests.into_iter().enumerate() {
        let ada = app.user("ada").await.header("idempotency-key", &format!("key-{number}"));
        let before = records(&app, "ada").await;
        let send = async || ada.send(method.clone(), path, Some("application/json"), body.to_string()).await;
        let first = send().await;
        assert!(first.status.is_success(), "{path}: {first:?}");
        let there = added(&app, "ada").await;
        // As it is when the process died after that, or the store's answer was lost.
        let new = records(&app, "ada").await.into_iter().find(|id| !before.contains(id)).unwrap();
        let key = Key::new(Container::Conversations, "ada", &new);
        let mut record: Value = app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap();
        record["answer"] = Value::Null;
        app.state.data.store.upsert(&key, &record).await.unwrap();
        let again = send().await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (first.status, ""), "{path}");
        assert_eq!(added(&app, "ada").await, there, "{path}");
        let id = |answer: &Answer| answer.json().get("id").or(answer.json().get("activityId")).cloned();
        assert_eq!(id(&again), id(&first), "{path}");
    }
    let coat = app.user("ada").await.get("/api/wardrobe/coat").await.json();
    assert_eq!(coat["wearCount"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_answers_to_a_user_the_newest_thousand_are_kept() {
    let app = app();
    let grace = app.user("grace").await;
    for number in 0..1100 {
        let caller = grace.clone().header("idempotency-key", &format!("key-{number}"));
        caller.post("/api/admin/unban/eve", json!({})).await;
        app.clock.advance(Duration::from_millis(10));
    }
    crate::support::until("the oldest are gone", async || records(&app, "grace").await.len() == 1000).await;
    let replayed = async |number: u32| {
        let caller = grace.clone().header("idempotency-key", &format!("key-{number}"));
        caller.post("/api/admin/unban/eve", json!({})).await.header("idempotency-replayed") == "true"
    };
    assert!(replayed(100).await && replayed(1099).await);
    assert!(!replayed(99).await);
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
    assert!(answers.iter().all(|answer| answer.status != StatusCode::CONFLICT || answer.header("retry-after") == "2"));
}
