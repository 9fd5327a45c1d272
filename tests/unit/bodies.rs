//! Request bodies that are too large, too many or malformed, through the whole router.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, request};
use axum::response::Response;
use futures::stream;
use http_body_util::BodyExt;
use pluckit::app::openapi;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt;

use crate::support::{TestApp, refusal, until};

const JSON: Option<&str> = Some("application/json");
const MEMORY: &str = "/api/chat/memory";
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn app() -> TestApp {
    TestApp::builder()
        .setting("ADMIN_USER_IDS", "grace")
        .setting("METADATA_EXTRACT_API_KEY", "key")
        .setting("RATE_LIMITS", "true")
        .setting("RATE_LIMIT_MODEL_PER_MINUTE", "0")
        .setting("RATE_LIMIT_AUTH_PER_MINUTE", "0")
        .setting("RATE_LIMIT_INGEST_PER_MINUTE", "0")
        .start()
}

/// A body without end that begins with `start`, and how much of it was asked for.
fn endless(start: &'static str) -> (Body, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let rest = std::iter::repeat_with(move || {
        counter.fetch_add(16 * KIB, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 * KIB]))
    });
    (Body::from_stream(stream::iter(std::iter::once(Ok(Bytes::from_static(start.as_bytes()))).chain(rest))), asked)
}

#[tokio::test]
async fn no_route_reads_a_body_without_end() {
    let app = app();
    let grace = app.state.sessions.open("grace".into()).await.unwrap();
    let document = openapi::document(true);
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let example: Vec<_> = path.split('/').map(|step| if step.starts_with('{') { "x" } else { step }).collect();
        for method in item.as_object().unwrap().keys() {
            for (content_type, start, key) in [
                ("application/json", "{\"a\":\"", None),
                ("application/json", "[", Some("key")),
                // The headers of a part, a preamble, and the end of a part that never comes.
                ("multipart/form-data; boundary=b", "--b\r\ncontent-disposition: form-data; name=", None),
                ("multipart/form-data; boundary=b", "preamble", None),
                ("multipart/form-data; boundary=b", "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n", None),
                ("image/jpeg", "", None),
            ] {
                let (body, asked) = endless(start);
                let mut request = Request::builder()
                    .method(method.to_uppercase().as_str())
                    .uri(example.join("/"))
                    .header("authorization", format!("Bearer {}", grace.access_token))
                    .header("x-api-key", "key")
                    .header("content-type", content_type);
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                let response = app.service().oneshot(request.body(body).unwrap()).await.unwrap();
                let (status, at) = (response.status().as_u16(), format!("{method} {path} with {content_type}"));
                drop(response);
                let asked = asked.load(Ordering::Relaxed);
                assert!(asked < 28 * MIB, "{at}: {asked} bytes");
                let limit = match path.as_str() {
                    path if path.starts_with("/api/auth/") => 32 * KIB,
                    "/api/chat" => 8 * MIB,
                    "/api/mcp" | "/api/v1/chat/completions" => MIB,
                    "/api/scraper/ingest/reddit" => 4 * MIB,
                    "/api/process-image" | "/api/wardrobe/upload" | "/api/extract-clothing-metadata" => 28 * MIB,
                    path if ["/api/wardrobe", "/api/profile", "/api/collections", "/api/stylist"]
                        .iter()
                        .any(|start| path.starts_with(start)) =>
                    {
                        MIB
                    }
                    _ => 64 * KIB,
                };
                // Pieces are read whole, and one more is asked for.
                assert!(asked <= limit + 64 * KIB, "{at}: {asked} bytes");
                assert!(asked < 64 * KIB || status == 413, "{at}: {status} after {asked} bytes");
                assert_eq!(app.state.bodies.held(), 0, "{at}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test]
async fn limits_are_those_of_the_group() {
    let app = app();
    let ada = app.user("ada").await;
    let put = async |size: usize| {
        let body = format!("{{\"x\":\"{}\",\"summary\":\"s\"}}", "x".repeat(size - 22));
        ada.send(Method::PUT, MEMORY, JSON, body).await.status.as_u16()
    };
    assert_eq!((put(64 * KIB - 1).await, put(64 * KIB).await, put(64 * KIB + 1).await), (200, 200, 413));
    // An idempotency key changes no limit.
    let posts = json!({"source_id": "nothing", "posts": [{"a": "x".repeat(2 * MIB)}]});
    let keyed = app.user("ada").await.header("idempotency-key", "k");
    assert_eq!(ada.post("/api/scraper/ingest/reddit", posts.clone()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(keyed.post("/api/scraper/ingest/reddit", posts).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn values_of_a_body_count_and_not_only_its_bytes() {
    let app = app();
    let ada = app.user("ada").await;
    // Each number takes two bytes here, and sixteen times as much when it is read.
    let posts = json!({"source_id": "nothing", "posts": [{"a": vec![0; 2 * MIB - 100]}]});
    let answer = ada.post("/api/scraper/ingest/reddit", posts).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(app.state.bodies.held(), 0);
}

#[tokio::test]
async fn a_form_has_sixteen_parts() {
    let app = app();
    let ada = app.user("ada").await;
    let form = |parts: usize| {
        let part = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        format!("{}--b--\r\n", part.repeat(parts))
    };
    let send = async |parts| {
        let form = form(parts);
        ada.send(Method::POST, "/api/process-image", Some("multipart/form-data; boundary=b"), form).await.summary()
    };
    assert_eq!(send(16).await, (400, refusal("No image provided.")));
    assert_eq!(send(17).await, (400, refusal("A form may have at most 16 parts.")));
}

/// Sends a request whose body stalls.
async fn begin(
    app: &TestApp,
    request: request::Builder,
) -> (mpsc::Sender<Result<Bytes, Infallible>>, impl Future<Output = Response> + use<>) {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(Ok(Bytes::from_static(b"{"))).await.unwrap();
    let request = request.body(Body::from_stream(ReceiverStream::new(receiver))).unwrap();
    let service = app.service();
    (sender, async move { service.oneshot(request).await.unwrap() })
}

#[tokio::test]
async fn a_caller_has_so_many_requests_at_once_and_others_have_theirs() {
    let app = app();
    let ada = app.state.sessions.open("ada".into()).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..32 {
        let request = Request::put(MEMORY).header("authorization", format!("Bearer {}", ada.access_token));
        let (sender, answer) = begin(&app, request).await;
        open.push((sender, app.state.tasks.spawn(answer)));
    }
    until("all bodies have begun", async || app.state.bodies.held() == 32).await;
    let refused = app.bearer(&ada.access_token).get(MEMORY).await;
    let detail = "Too many concurrent requests. Wait until one of them has finished.";
    assert_eq!(refused.summary(), (429, refusal(detail)));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(app.user("eve").await.get(MEMORY).await.status, StatusCode::OK);
    let (sender, answer) = open.pop().unwrap();
    sender.send(Ok(Bytes::from_static(b"\"summary\":\"s\"}"))).await.unwrap();
    drop(sender);
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    assert_eq!(app.bearer(&ada.access_token).get(MEMORY).await.status, StatusCode::OK);
    for (sender, answer) in open {
        drop(sender);
        let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("json_invalid"));
    }
    assert_eq!(app.state.bodies.held(), 0);
}

#[tokio::test]
async fn services_have_any_number_of_requests_at_once_and_callers_without_a_credential_do_not() {
    let path = "/api/process-image?item_id=a";
    for (name, value, status) in
        [("METADATA_EXTRACT_API_KEY", "key", 400), ("PROCESS_IMAGE_AUTH_MODE", "anonymous", 429)]
    {
        let app = TestApp::builder().setting("RATE_LIMITS", "true").setting("MAX_CONCURRENT_REQUESTS_PER_CALLER", "1");
        let app = app.setting(name, value).start();
        let (sender, answer) = begin(&app, Request::post(path).header("x-api-key", "key")).await;
        let first = app.state.tasks.spawn(answer);
        until("the body has begun", async || app.state.bodies.held() == 1).await;
        let second = app.nobody().header("x-api-key", "key").send(Method::POST, path, Some("image/jpeg"), "x").await;
        assert_eq!(second.code(), status, "{name}: {}", second.text());
        drop(sender);
        assert_eq!(first.await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn texts_that_were_cut_within_a_character_are_read() {
    let app = app();
    let ada = app.user("ada").await;
    let put = async |body: &[u8]| ada.send(Method::PUT, MEMORY, JSON, body.to_vec()).await;
    for (body, kept) in [
        (&br#"{"summary":"coat \ud83d"}"#[..], "coat \u{fffd}"),
        (br#"{"summary":"\udc57\ud83d\\ud83d \ud83d\udc57 \ud83dx"}"#, "\u{fffd}\u{fffd}\\ud83d \u{1f457} \u{fffd}x"),
        (br#"{"\udc57":1,"summary":"\ud83d\ud83d\udc57"}"#, "\u{fffd}\u{1f457}"),
        ("\u{feff}{\"summary\":\"with a mark\"}".as_bytes(), "with a mark"),
    ] {
        let answer = put(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{} {}", String::from_utf8_lossy(body), answer.text());
        assert_eq!(ada.get(MEMORY).await.json()["summary"], kept);
    }
    let utf_16: Vec<u8> = "{\"summary\":\"s\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [&[&[0xFF, 0xFE][..], &utf_16].concat(), &utf_16] {
        let answer = put(body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json()["detail"][0]["ctx"]["error"], "the body is not UTF-8");
    }
    assert_eq!(put(br#"{"summary":"\ud83d"#).await.json()["detail"][0]["type"], "json_invalid");
}

#[tokio::test]
async fn a_fault_shows_little_of_what_was_sent() {
    let app = app();
    let ada = app.user("ada").await;
    let long = "x".repeat(30_000);
    let many: Vec<Value> =
        (0..50).map(|_| json!({ "role": [&long[..100]], "content": { "a": &long[..100] } })).collect();
    let wide: Value =
        (0..2000).map(|number| (format!("name{number}"), json!(number))).collect::<serde_json::Map<_, _>>().into();
    for (path, body) in [
        ("/api/chat", json!({ "message": { "a": long } })),
        ("/api/chat", json!({ "message": [long] })),
        ("/api/chat", json!({ "message": "m", "recentMessages": many })),
        ("/api/chat", wide),
        ("/api/digest/feedback", json!({ "x": long })),
        ("/api/auth/refresh", json!([long])),
        ("/api/auth/refresh", json!({ "refresh_token": { long.clone(): 1 } })),
    ] {
        let answer = ada.post(path, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", answer.text());
        let shown: usize =
            answer.json()["detail"].as_array().unwrap().iter().map(|fault| fault["input"].to_string().len()).sum();
        assert!(shown <= 1024 + 100 * "null".len(), "{path}: {shown}");
    }
    let names = ada.post("/api/digest/feedback", json!({ "note": long })).await.json()["detail"][0]["input"].clone();
    assert_eq!(names, json!(["note"]));
}

#[tokio::test]
async fn answers_are_for_one_reader_and_are_what_they_say() {
    let app = app();
    let ada = app.user("ada").await;
    let token = json!({"refresh_token": app.state.sessions.open("ada".into()).await.unwrap().refresh_token});
    for (answer, cached) in [
        (ada.get(MEMORY).await, "no-store"),
        (app.nobody().post("/api/auth/refresh", token).await, "no-store"),
        (app.nobody().get(MEMORY).await, "no-store"),
        (ada.get("/api/digest/latest").await, "no-cache, no-store, max-age=0, must-revalidate"),
        (ada.post("/api/chat", json!({"message": "Hello"})).await, "no-cache"),
    ] {
        assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), (cached, "nosniff"));
    }
}
