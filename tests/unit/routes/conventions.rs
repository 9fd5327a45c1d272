//! Conventions of all routes: errors, ids, trailing slashes, CORS, limits, panics.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use pluckit::app::router;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::{TestApp, refusal};

const JSON: Option<&str> = Some("application/json");
const REFRESH: &str = "/api/auth/refresh";

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let app = TestApp::new();
    for path in ["/", "/api", "/api/nothing", "/api/chat/memory/more", "/ProcessTasteAnalysisJob", "/api/%2e%2e/etc"] {
        assert_eq!(app.nobody().get(path).await.summary(), (404, refusal("Not Found")), "{path}");
    }
    let answer = app.nobody().send(Method::DELETE, "/api/health", None, "").await;
    assert_eq!(answer.summary(), (405, refusal("Method Not Allowed")));
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let answer = app.user("ada").await.get("/api/chat").await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    let answer = app.user("ada").await.post("/api/chat/memory", json!({})).await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD,PUT"));
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for path in ["/api/health/", "/api/health//", "/api/chat/memory/", "/api/chat/memory/?x=1"] {
        assert_eq!(ada.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let app = TestApp::new();
    let given = app.nobody().header("x-request-id", "abc-1.2:3_4").get("/api/health").await;
    assert_eq!(given.header("x-request-id"), "abc-1.2:3_4");
    let long = "x".repeat(129);
    for odd in ["", "a b", "a\tb", "<script>", long.as_str()] {
        let answer = app.nobody().header("x-request-id", odd).get("/api/health").await;
        let id = answer.header("x-request-id");
        assert!(id != odd && uuid::Uuid::parse_str(id).is_ok(), "{odd:?} gave {id:?}");
    }
    let answer = app.nobody().get("/api/nothing").await;
    assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok(), "errors have one, too");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_answered_with_their_fault() {
    let app = TestApp::new();
    let post = async |content_type: Option<&str>, body: Vec<u8>| {
        app.nobody().send(Method::POST, REFRESH, content_type, body).await
    };
    let fault = |answer: &crate::support::caller::Answer| answer.json()["detail"][0].clone();

    let answer = post(JSON, b"{\"refresh_token\": ".to_vec()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "detail": [
        {
          "ctx": {
            "error": "EOF while parsing a value"
          },
          "input": {},
          "loc": [
            "body",
            18
          ],
          "msg": "JSON decode error",
          "type": "json_invalid"
        }
      ],
      "error": "body.18: JSON decode error"
    }
    "#);
    for malformed in [&b"{'a':1}"[..], b"nul", b"{\"a\":\"\xff\xfe\"}", b"\xff", b"{\"a\":\"\\ud8\"}", b"{}{}", b"[1,]"]
    {
        let answer = post(JSON, malformed.to_vec()).await;
        assert_eq!(
            (answer.status.as_u16(), fault(&answer)["type"].clone()),
            (422, json!("json_invalid")),
            "{malformed:?}"
        );
    }
    let deep = "[".repeat(20_000).into_bytes();
    assert_eq!(fault(&post(JSON, deep).await)["type"], "json_invalid");
    for (body, kind) in [("[]", "model_attributes_type"), ("7", "model_attributes_type"), ("", "missing")] {
        assert_eq!(fault(&post(JSON, body.into()).await)["type"], kind, "{body}");
    }
    let answer = post(JSON, br#"{"refresh_token": 7}"#.to_vec()).await;
    assert_eq!(fault(&answer)["type"], "string_type");
    assert_eq!(fault(&answer)["loc"], json!(["body", "refresh_token"]));

    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"]
    {
        let answer = post(Some(content_type), b"{}".to_vec()).await;
        assert_eq!(answer.summary(), (415, refusal("Unsupported Media Type")), "{content_type}");
    }
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for coding in ["gzip", "br", "identity, gzip"] {
        let coded = ada.clone().header("content-encoding", coding);
        for (method, path, content_type) in [
            (Method::PUT, "/api/chat/memory", JSON),
            (Method::POST, "/api/chat", JSON),
            (Method::POST, "/api/wardrobe", JSON),
            (Method::POST, "/api/wardrobe/upload", Some("image/jpeg")),
            (Method::POST, "/api/wardrobe/upload", Some("multipart/form-data; boundary=x")),
            (Method::POST, "/api/mcp", JSON),
        ] {
            let answer = coded.send(method, path, content_type, vec![0x1F, 0x8B, 8]).await;
            assert_eq!((answer.code(), answer.header("accept-encoding")), (415, "identity"), "{coding} {path}");
        }
    }
    let plain = ada.clone().header("content-encoding", "identity");
    assert_eq!(plain.put("/api/chat/memory", json!({"summary": ""})).await.status, StatusCode::OK);
    for content_type in
        [None, Some("application/json; charset=utf-8"), Some("APPLICATION/JSON"), Some("application/x+json")]
    {
        assert_eq!(post(content_type, b"{}".to_vec()).await.status, StatusCode::BAD_REQUEST, "{content_type:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let app = TestApp::new();
    let body = |size: usize| format!("{{\"refresh_token\":\"x\",\"more\":\"{}\"}}", "x".repeat(size - 31));
    let at_limit = app.nobody().send(Method::POST, REFRESH, JSON, body(32 * 1024)).await;
    assert_eq!(at_limit.status, StatusCode::UNAUTHORIZED);
    for size in [32 * 1024 + 1, 10_000_000] {
        let answer = app.nobody().send(Method::POST, REFRESH, JSON, body(size)).await;
        assert_eq!(answer.summary(), (413, refusal("Request body too large.")));
    }
}

#[tokio::test]
async fn listed_origins_may_call_with_credentials_and_others_may_not() {
    let app = TestApp::builder()
        .setting("CORS_ALLOWED_ORIGINS", "https://app.pluckit.example, *,null,ftp://x.example,http://localhost:3000/")
        .start();
    let listed = app.nobody().header("origin", "https://app.pluckit.example");
    let answer = listed.get("/api/health").await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.pluckit.example");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(
        answer.header("access-control-expose-headers"),
        "etag,location,retry-after,x-request-id,ratelimit,ratelimit-policy,preference-applied,idempotency-replayed,\
         x-run-id,x-vercel-ai-ui-message-stream,x-resumable-stream-id,x-workflow-run-id,x-workflow-stream-tail-index"
    );
    let preflight = async |origin: &str| {
        let caller = app.nobody().header("origin", origin).header("access-control-request-method", "PUT");
        let caller = caller.header("access-control-request-headers", "authorization,x-anything");
        caller.send(Method::OPTIONS, "/api/chat/memory", None, "").await
    };
    let allowed = preflight("https://app.pluckit.example").await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.header("access-control-allow-methods"), "GET,POST,PUT,PATCH,DELETE,OPTIONS");
    assert_eq!(allowed.header("access-control-allow-headers"), "authorization,x-anything");
    assert_eq!(allowed.header("access-control-max-age"), "600");
    assert_eq!(
        listed.get("/api/chat/memory").await.header("access-control-allow-origin"),
        "https://app.pluckit.example"
    );
    for origin in
        ["https://evil.example", "null", "*", "https://app.pluckit.example.evil.example", "http://localhost:4200"]
    {
        let answer = app.nobody().header("origin", origin).get("/api/health").await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "{origin}");
        let refused = preflight(origin).await;
        assert_eq!(refused.summary(), (400, refusal("Disallowed CORS origin.")), "{origin}");
        assert!(!refused.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn without_origins_a_preflight_is_a_request_like_any_other() {
    let app = TestApp::builder().setting("CORS_ALLOWED_ORIGINS", "null").start();
    let caller = app.nobody().header("origin", "null").header("access-control-request-method", "GET");
    let answer = caller.send(Method::OPTIONS, "/api/health", None, "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::METHOD_NOT_ALLOWED, ""));
}

#[tokio::test]
async fn in_development_pages_of_this_machine_may_call() {
    let app = TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development").start();
    for (origin, expected) in [
        ("http://localhost:4200", StatusCode::OK),
        ("http://127.0.0.1:8080", StatusCode::OK),
        ("http://[::1]:5173", StatusCode::OK),
        ("http://localhost.evil.example", StatusCode::BAD_REQUEST),
        ("https://evil.example", StatusCode::BAD_REQUEST),
        ("null", StatusCode::BAD_REQUEST),
    ] {
        let caller = app.nobody().header("origin", origin).header("access-control-request-method", "GET");
        let answer = caller.send(Method::OPTIONS, "/api/chat/memory", None, "").await;
        assert_eq!(answer.status, expected, "{origin}");
        let allowed = if expected == StatusCode::OK { origin } else { "" };
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
    }
}

#[tokio::test]
async fn errors_say_nothing_of_the_inside() {
    let app = TestApp::new();
    // A document that nothing can be made of: the memory of a user is not an object of the right shape.
    app.save(
        pluckit::store::Container::Conversations,
        "ada",
        json!({"id": "ada", "userId": "ada", "summary": {"x": 1}}),
    )
    .await;
    let ada = app.user("ada").await;
    let answer = ada.get("/api/chat/memory").await;
    assert_eq!(
        answer.summary(),
        (200, json!({"summary": "", "updatedAt": Value::Null, "preferences": []})),
        "a bad document never costs a request"
    );
}

/// What has been logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_logged_with_the_request_s_id() {
    async fn give_up() -> &'static str {
        panic!("secret words")
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // While there is only one subscriber, a span that another test's thread meets first is off for all threads.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let app = TestApp::new();
    let routes = Router::new().route("/api/panic", get(give_up));
    let caller = Caller::new(router::with_layers(Router::new(), routes, app.state.clone()), None);
    for _ in 0..2 {
        let answer = caller.clone().header("x-request-id", "request-7").get("/api/panic").await;
        assert_eq!(answer.summary(), (500, refusal("Internal server error.")));
        assert_eq!(answer.header("x-request-id"), "request-7");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&json!("ERROR"), &json!("request failed")));
    assert_eq!((&lines[0]["http.status"], &lines[0]["span"]["request.id"]), (&json!(500), &json!("request-7")));
    assert_eq!(lines[0]["span"]["http.route"], "/api/panic");
    assert!(!log.contains("secret"), "{log}");
}
