//! Health and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use pluckit::azure::Identity;
use pluckit::base::clock::ManualClock;
use pluckit::config::Cosmos;
use pluckit::queue::local::LocalQueue;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::sqlite::SqliteStore;
use serde_json::json;
use time::macros::datetime;

use crate::support::TestApp;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::ModelServer;

#[tokio::test]
async fn the_process_says_that_it_lives() {
    let app = TestApp::new();
    let answer = app.nobody().get("/api/health").await;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(answer.summary(), (200, json!({"status": "ok", "service": "pluckit-processor", "version": version})));
    let head = app.nobody().send(Method::HEAD, "/api/health", None, "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn readiness_says_what_answers() {
    let app = TestApp::new();
    let answer = app.nobody().get("/api/health/ready").await;
    let checks = json!({"documents": "ok", "blobs": "ok", "queue": "ok", "model": "unconfigured"});
    assert_eq!(
        answer.summary(),
        (200, json!({"status": "ready", "checks": checks, "model": "offline", "segmentation": "builtin"}))
    );

    let server = ModelServer::start().await;
    let app = TestApp::builder().setting("OPENAI_BASE_URL", &server.base_url()).model_server(&server).start();
    let answer = app.nobody().get("/api/health/ready").await;
    assert_eq!(answer.json()["checks"]["model"], "ok");
    assert_eq!(answer.json()["model"], "stylist-1");
}

#[tokio::test]
async fn what_takes_no_writes_is_not_ready_although_it_can_be_read() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = pings.clone();
    let read_only = move |call: &Call<'_>| {
        counted.fetch_add(usize::from(call.name == "store.ping"), Ordering::Relaxed);
        if call.name == "store.read" { Fate::Passes } else { Fate::Fails }
    };
    let whole = TestApp::new();
    let store = Intercepted::new(whole.state.data.store.clone(), Arc::new(read_only));
    let app = TestApp::builder().store(store).start();
    for _ in 0..3 {
        let answer = app.nobody().get("/api/health/ready").await;
        assert_eq!(
            (answer.status, &answer.json()["checks"]["documents"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("failing"))
        );
    }
    assert_eq!(pings.load(Ordering::Relaxed), 1, "an answer counts for five seconds");
    app.clock.advance(Duration::from_secs(5));
    app.nobody().get("/api/health/ready").await;
    assert_eq!(pings.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn files_that_are_gone_take_no_writes_until_they_are_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store = Arc::new(SqliteStore::open(&data.join("pluckit.db"), clock.clone()).unwrap());
    let queue = Arc::new(LocalQueue::open(&data.join("queue.db"), clock.clone()).unwrap());
    let blobs = Arc::new(crate::blob::local_store(&data.join("blobs")));
    let app = TestApp::builder().store(store).queue(queue).blobs(blobs).clock(clock.clone()).start();
    let ada = app.user("ada").await;
    let remember = || ada.put("/api/chat/memory", json!({"summary": "Likes wool."}));
    assert_eq!(remember().await.status, StatusCode::OK);
    assert_eq!(app.nobody().get("/api/health/ready").await.status, StatusCode::OK);
    std::fs::rename(&data, directory.path().join("away")).unwrap();
    clock.advance(Duration::from_secs(5));
    let ready = app.nobody().get("/api/health/ready").await;
    let checks = json!({"documents": "failing", "blobs": "failing", "queue": "failing", "model": "unconfigured"});
    assert_eq!((ready.status, ready.json()["checks"].clone()), (StatusCode::SERVICE_UNAVAILABLE, checks));
    let refused = remember().await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    let picture = crate::routes::media::a_picture(&ada).await;
    assert_eq!((picture.status, picture.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    let job = ada.clone().header("prefer", "respond-async").post("/api/digest/run", json!({})).await;
    assert_eq!(job.status, StatusCode::SERVICE_UNAVAILABLE);
    // Back, and nothing has to be started again.
    std::fs::rename(directory.path().join("away"), &data).unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(app.nobody().get("/api/health/ready").await.status, StatusCode::OK);
    assert_eq!(remember().await.status, StatusCode::OK);
    assert_eq!(crate::routes::media::a_picture(&ada).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn damage_that_is_found_makes_the_service_unready() {
    let app = TestApp::new();
    app.state.readiness.inspect("documents", async { Ok::<_, std::io::Error>(None) }).await;
    assert_eq!(app.nobody().get("/api/health/ready").await.status, StatusCode::OK);
    let found = async { Ok::<_, std::io::Error>(Some("Wardrobe: 7 rows are missing".to_owned())) };
    app.state.readiness.inspect("queue", found).await;
    let ready = app.nobody().get("/api/health/ready").await;
    assert_eq!((ready.status, &ready.json()["checks"]["queue"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failing")));
}

#[tokio::test]
async fn a_dependency_that_is_down_is_named() {
    // Port 9 (discard) is closed everywhere.
    let options = Cosmos {
        endpoint: "http://127.0.0.1:9".parse().unwrap(),
        key: Some("a2V5".to_owned().into()),
        database: "PluckIt".into(),
        containers: std::collections::BTreeMap::new(),
        emulator: true,
        vector_search: false,
    };
    let app = TestApp::builder().store(Arc::new(CosmosStore::new(options, Identity::default()))).start();
    let answer = app.nobody().get("/api/health/ready").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["status"], "degraded");
    assert_eq!(answer.json()["checks"]["documents"], "failing");
    let health = app.nobody().get("/api/health").await;
    assert_eq!(health.status, StatusCode::OK, "liveness asks nobody");
    // A credential that cannot be checked is no bad credential.
    let answer = app.bearer("at-0123").get("/api/chat/memory").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "5");
}
