//! Health and readiness.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use pluckit::store::cosmos::{CosmosOptions, CosmosStore};
use serde_json::json;

use crate::support::TestApp;
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
async fn a_dependency_that_is_down_is_named_and_asked_again_after_five_seconds() {
    // Port 9 (discard) is closed everywhere.
    let options = CosmosOptions {
        endpoint: "http://127.0.0.1:9".parse().unwrap(),
        key: Some("a2V5".to_owned().into()),
        identity: pluckit::azure::Identity::default(),
        database: "PluckIt".into(),
        container_names: std::collections::BTreeMap::new(),
        emulator: true,
        vector_search: false,
    };
    let app = TestApp::builder().store(Arc::new(CosmosStore::new(options))).start();
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
    app.clock.advance(Duration::from_secs(5));
    assert_eq!(app.nobody().get("/api/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
