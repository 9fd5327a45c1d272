//! Background removal, metadata, and finished pictures.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::{join, join_all};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use pluckit::blob::{BlobStore, Span};
use pluckit::net::segmentation::ServiceOptions;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::caller::{Answer, Caller};
use crate::support::google::{Google, Key, NEXT, STRANGE};
use crate::support::model::ModelServer;
use crate::support::segmentation::{Behaviour, SegmentationServer};

pub const BOUNDARY: &str = "----pluckit";
const AUDIENCE: &str = "api://pluckit";
const PATIENCE: Duration = Duration::from_secs(20);

/// Has a picture of this name processed.
pub async fn upload(caller: &Caller, id: &str) -> Answer {
    send_form(caller, &[("item_id", id.as_bytes()), ("image", &picture(ImageFormat::Jpeg))]).await
}

/// Has a picture of no name processed.
pub async fn a_picture(caller: &Caller) -> Answer {
    send_raw(caller, "/api/process-image", picture(ImageFormat::Jpeg)).await
}

/// A blue garment on a white wall.
fn picture(format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(320, 240, |x, y| {
        if (90..230).contains(&x) && (50..190).contains(&y) { Rgb([20, 40, 160]) } else { Rgb([245, 245, 245]) }
    });
    let mut file = Vec::new();
    DynamicImage::from(picture).write_to(&mut Cursor::new(&mut file), format).unwrap();
    file
}

pub fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let file = if *name == "image" { "; filename=\"my coat.jpg\"\r\nContent-Type: image/jpeg" } else { "" };
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

pub async fn send_form(caller: &Caller, fields: &[(&str, &[u8])]) -> Answer {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    caller.send(Method::POST, "/api/process-image", Some(&content_type), form(fields)).await
}

pub async fn send_raw(caller: &Caller, path: &str, body: impl Into<axum::body::Bytes>) -> Answer {
    caller.send(Method::POST, path, Some("image/jpeg"), body).await
}

pub fn path_of(answer: &Answer) -> String {
    let url = answer.json()["imageUrl"].as_str().unwrap().to_owned();
    url.strip_prefix("http://127.0.0.1:7071").unwrap_or_else(|| panic!("{url} is not ours")).to_owned()
}

fn detail(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.json()["detail"].clone())
}

async fn blobs(app: &TestApp) -> usize {
    let archive = &app.state.config.storage.archive_container;
    app.state.blobs.list(archive, "", None, 1000).await.unwrap().blobs.len()
}

#[tokio::test]
async fn a_picture_is_cut_out_kept_and_shown() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let answer = send_form(&ada, &[("item_id", b"coat-1"), ("image", &picture(ImageFormat::Jpeg))]).await;
    // The start of the SHA-256 of "ada".
    let url = "http://127.0.0.1:7071/api/media/archive/fdee430d40bd57de/coat-1-transparent.webp";
    assert_eq!(answer.summary(), (201, json!({"id": "coat-1", "imageUrl": url, "mediaType": "image/webp"})));

    let shown = app.nobody().get(&path_of(&answer)).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.header("content-type"), "image/webp");
    assert_eq!(shown.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    assert_eq!(shown.header("content-length"), shown.body.len().to_string());
    let cut = image::load_from_memory_with_format(&shown.body, ImageFormat::WebP).unwrap().to_rgba8();
    assert_eq!(cut.dimensions(), (320, 240));
    assert!(cut.get_pixel(5, 5).0[3] < 10, "the wall is gone");
    let garment = cut.get_pixel(160, 120).0;
    assert!(garment[3] > 245 && garment[2] > 120 && garment[0] < 60, "{garment:?}");
}

#[tokio::test]
async fn a_whole_body_is_a_picture_too_and_ids_are_made_up() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let answer = send_raw(&ada, "/api/process-image", picture(ImageFormat::Png)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(answer.json()["id"].as_str().unwrap().starts_with("image-"));
    let answer = send_raw(&ada, "/api/process-image?item_id=raw.1", picture(ImageFormat::Png)).await;
    assert_eq!(answer.json()["id"], "raw.1");
    for id in [&b""[..], b"  "] {
        let answer = send_form(&ada, &[("image", &picture(ImageFormat::Jpeg)), ("item_id", id)]).await;
        let made = answer.json()["id"].as_str().unwrap().to_owned();
        assert!(made.starts_with("my-coat-") && made.len() == "my-coat-".len() + 32, "{made}");
        assert_eq!(app.nobody().get(&path_of(&answer)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let refused = |status: u16, text: &str| (status, json!(text));
    let none = refused(400, "No image provided.");
    assert_eq!(detail(&send_raw(&ada, "/api/process-image", "").await), none);
    assert_eq!(detail(&send_form(&ada, &[]).await), none);
    assert_eq!(detail(&send_form(&ada, &[("item_id", b"a")]).await), none);
    assert_eq!(detail(&send_form(&ada, &[("item_id", b"a"), ("image", b"")]).await), none);
    let corrupt = refused(400, "Unsupported or corrupt image.");
    let whole = picture(ImageFormat::Jpeg);
    let avif = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/plain.avif")).unwrap();
    // The same under the name that HEIC has, too.
    let mut heif = avif.clone();
    assert_eq!(heif[8..12], *b"avif");
    heif[8..12].copy_from_slice(b"mif1");
    for bytes in [&b"PK\x03\x04"[..], b"<svg/>", &whole[..whole.len() / 3], &avif, &heif] {
        assert_eq!(detail(&send_raw(&ada, "/api/process-image", bytes.to_vec()).await), corrupt);
    }
    let long = "a".repeat(129);
    for id in ["a/b", "..", ".", "a b", "é", long.as_str()] {
        let answer = send_form(&ada, &[("item_id", id.as_bytes()), ("image", &whole)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
    }
    let broken = ada.send(Method::POST, "/api/process-image", Some("multipart/form-data"), "x").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let large = vec![0_u8; (20 << 20) + 1];
    assert_eq!(send_form(&ada, &[("item_id", b"l"), ("image", &large)]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send_raw(&ada, "/api/process-image", large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // 8000 × 8000 pixels of one colour, in a small file.
    let mut wide = Vec::new();
    let pixels = DynamicImage::from(image::GrayImage::new(8000, 8000));
    pixels.write_to(&mut Cursor::new(&mut wide), ImageFormat::Png).unwrap();
    let wide = send_raw(&ada, "/api/process-image", wide).await;
    assert_eq!(detail(&wide), refused(413, "The picture is too large."));
    assert_eq!(blobs(&app).await, 0);
}

#[tokio::test]
async fn a_retry_is_free() {
    let server = SegmentationServer::start([Behaviour::Cut]).await;
    let app = TestApp::builder().segmentation(server.options.clone()).start();
    let ada = app.user("ada").await;
    let first = send_form(&ada, &[("item_id", b"a"), ("image", &picture(ImageFormat::Jpeg))]).await;
    let before = app.nobody().get(&path_of(&first)).await;
    let file = picture(ImageFormat::Jpeg);
    for fields in [[("item_id", &b"a"[..]), ("image", &file)], [("image", &file), ("item_id", b"a")]] {
        assert_eq!(send_form(&ada, &fields).await.summary(), first.summary());
    }
    assert_eq!(server.seen().len(), 1);
    assert_eq!(app.nobody().get(&path_of(&first)).await.body, before.body);
}

#[tokio::test]
async fn a_user_cannot_give_one_id_to_two_pictures() {
    let server = SegmentationServer::start([Behaviour::Cut]).await;
    let app = TestApp::builder().segmentation(server.options.clone()).start();
    let ada = app.user("ada").await;
    let first = send_raw(&ada, "/api/process-image?item_id=a", picture(ImageFormat::Jpeg)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    for other in [picture(ImageFormat::Png), b"anything".to_vec()] {
        let refused = send_raw(&ada, "/api/process-image?item_id=a", other).await;
        assert_eq!(detail(&refused), (409, json!("Another picture has this id.")));
    }
    // Sent at the same time, too, one of them has the id.
    let other = picture(ImageFormat::Png);
    let one = send_raw(&ada, "/api/process-image?item_id=b", picture(ImageFormat::Jpeg));
    let (one, two) = join(one, send_raw(&ada, "/api/process-image?item_id=b", other)).await;
    assert_eq!(one.status.as_u16().min(two.status.as_u16()), 201);
    assert_eq!(one.status.as_u16().max(two.status.as_u16()), 409);
    assert_eq!(blobs(&app).await, 2);
}

#[tokio::test]
async fn one_id_of_two_users_means_two_pictures() {
    let app = TestApp::builder().setting("METADATA_EXTRACT_API_KEY", "key-1").start();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let service = app.nobody().header("x-api-key", "key-1");
    let mut paths = Vec::new();
    for (caller, format) in [(&ada, ImageFormat::Jpeg), (&eve, ImageFormat::Png), (&service, ImageFormat::Jpeg)] {
        let answer = send_raw(caller, "/api/process-image?item_id=a", picture(format)).await;
        assert_eq!((answer.status, &answer.json()["id"]), (StatusCode::CREATED, &json!("a")));
        let path = path_of(&answer);
        assert_eq!(app.nobody().get(&path).await.status, StatusCode::OK);
        paths.push(path);
    }
    let flat = "/api/media/archive/a-transparent.webp";
    assert_eq!((paths[2].as_str(), blobs(&app).await), (flat, 3));
    // A service that repeats an id means the picture that is there, as it always did.
    let again = send_raw(&service, "/api/process-image?item_id=a", picture(ImageFormat::Png)).await;
    assert_eq!((again.status, path_of(&again).as_str()), (StatusCode::CREATED, flat));
}

#[tokio::test]
async fn two_hundred_uploads_of_one_id_are_one_piece_of_work() {
    let server = SegmentationServer::start([Behaviour::Cut]).await;
    let app = TestApp::builder().segmentation(server.options.clone()).start();
    let ada = app.user("ada").await;
    let file = picture(ImageFormat::Jpeg);
    let fields = [("item_id", &b"a"[..]), ("image", &file)];
    let answers = join_all((0..200).map(|_| send_form(&ada, &fields))).await;
    assert_eq!(answers[0].status, StatusCode::CREATED);
    assert!(answers.iter().all(|answer| answer.summary() == answers[0].summary()));
    assert_eq!((server.seen().len(), blobs(&app).await), (1, 1));
}

#[tokio::test]
async fn the_first_may_leave_without_harm_to_the_others() {
    let server = SegmentationServer::start([Behaviour::CutLater]).await;
    let app = TestApp::builder().segmentation(server.options.clone()).start();
    let ada = app.user("ada").await;
    let file = picture(ImageFormat::Jpeg);
    let fields = [("item_id", &b"a"[..]), ("image", &file)];
    {
        let mut first = Box::pin(send_form(&ada, &fields));
        let started = Instant::now();
        while server.seen().is_empty() {
            assert!(started.elapsed() < PATIENCE);
            assert!(futures::poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
    }
    let second = send_form(&ada, &fields);
    let (answer, ()) = join(second, async { server.release() }).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!((server.seen().len(), blobs(&app).await), (1, 1));
}

#[tokio::test]
async fn the_service_gets_what_it_needs_and_what_it_cuts_is_kept() {
    let server = SegmentationServer::start([Behaviour::Cut]).await;
    let app = TestApp::builder().segmentation(server.options.clone()).start();
    assert_eq!(app.nobody().get("/api/health/ready").await.json()["segmentation"], "service");
    let ada = app.user("ada").await;
    let mut large = Vec::new();
    let pixels = DynamicImage::from(RgbImage::from_pixel(3000, 1500, Rgb([200, 30, 30])));
    pixels.write_to(&mut Cursor::new(&mut large), ImageFormat::Png).unwrap();
    let answer = send_raw(&ada, "/api/process-image?item_id=a", large).await;
    let (headers, body) = server.seen().remove(0);
    assert_eq!(headers["content-type"], "image/jpeg");
    assert_eq!(headers["authorization"], "Bearer segmentation-token");
    let sent = image::load_from_memory_with_format(&body, ImageFormat::Jpeg).unwrap();
    assert_eq!((sent.width(), sent.height()), (1536, 768));
    let shown = app.nobody().get(&path_of(&answer)).await;
    let cut = image::load_from_memory(&shown.body).unwrap().to_rgba8();
    assert_eq!((cut.get_pixel(100, 300).0[3], cut.get_pixel(1400, 300).0[3]), (0, 255));
}

#[tokio::test]
async fn a_service_that_fails_is_told_in_plain_words_and_not_remembered() {
    for (behaviour, reason) in [
        (Behaviour::Status(500, "Traceback: secret"), "the segmentation service answered with status 500"),
        (Behaviour::Status(200, "<html>"), "the segmentation service did not answer with a PNG"),
        (Behaviour::Opaque, "the segmentation service answered with a picture without transparency"),
        (Behaviour::Distorted, "the segmentation service answered with a picture of different proportions"),
        (Behaviour::Endless, "the segmentation service's answer is too long"),
    ] {
        let server = SegmentationServer::start([behaviour, Behaviour::Cut]).await;
        let app = TestApp::builder().segmentation(server.options.clone()).start();
        let ada = app.user("ada").await;
        let file = picture(ImageFormat::Jpeg);
        let fields = [("item_id", &b"a"[..]), ("image", &file)];
        let answer = send_form(&ada, &fields).await;
        assert_eq!(detail(&answer), (500, json!(format!("Image segmentation failed: {reason}"))));
        assert_eq!((server.seen().len(), blobs(&app).await), (1, 0), "{reason}");
        assert_eq!(send_form(&ada, &fields).await.status, StatusCode::CREATED, "after: {reason}");
    }
}

#[tokio::test]
async fn a_service_that_is_slow_or_down_is_not_waited_for() {
    let server = SegmentationServer::start([Behaviour::Silence]).await;
    let slow = server.options_within(Duration::from_millis(200));
    // Port 9 (discard) is closed everywhere.
    let down = ServiceOptions::new("http://127.0.0.1:9/cut".parse().unwrap(), None);
    for (options, reason) in [(slow, "did not answer within 0.2 s"), (down, "cannot be reached")] {
        let app = TestApp::builder().segmentation(options).start();
        let ada = app.user("ada").await;
        let answer = send_raw(&ada, "/api/process-image", picture(ImageFormat::Jpeg)).await;
        let text = format!("Image segmentation failed: the segmentation service {reason}");
        assert_eq!((detail(&answer), answer.header("retry-after")), ((503, json!(text)), "5"));
        // Later pictures use the result of the first one.
        let next = send_raw(&ada, "/api/process-image", picture(ImageFormat::Jpeg)).await;
        assert_eq!(detail(&next), (503, json!(text)));
    }
    assert_eq!(server.seen().len(), 1, "silence is not asked again");
}

#[tokio::test]
async fn pictures_are_for_users_and_services_unless_opened() {
    let file = picture(ImageFormat::Jpeg);
    let app = TestApp::builder().setting("METADATA_EXTRACT_API_KEY", "key-1").start();
    let refused = send_raw(&app.nobody(), "/api/process-image", file.clone()).await;
    assert_eq!(detail(&refused), (401, json!("Missing Authorization header.")));
    let wrong = app.nobody().header("x-api-key", "key-2");
    assert_eq!(send_raw(&wrong, "/api/process-image", file.clone()).await.status, StatusCode::UNAUTHORIZED);
    let service = app.nobody().header("x-api-key", "key-1");
    assert_eq!(send_raw(&service, "/api/process-image", file.clone()).await.status, StatusCode::CREATED);
    let open = TestApp::builder().setting("PROCESS_IMAGE_AUTH_MODE", "anonymous").start();
    let anybody = send_raw(&open.nobody(), "/api/process-image?item_id=a", file.clone()).await;
    assert_eq!(path_of(&anybody), "/api/media/archive/a-transparent.webp");
    let unknown = send_raw(&open.bearer("at-unknown"), "/api/process-image?item_id=b", file.clone()).await;
    assert_eq!(path_of(&unknown), "/api/media/archive/b-transparent.webp");
    let ada = open.user("ada").await;
    let hers = send_raw(&ada, "/api/process-image?item_id=a", file).await;
    assert_eq!(path_of(&hers), "/api/media/archive/fdee430d40bd57de/a-transparent.webp");
}

// --- What is shown --------------------------------------------------------------------------------------------------

async fn app_with_digits() -> TestApp {
    let app = TestApp::new();
    let archive = &app.state.config.storage.archive_container;
    for name in ["digits.webp", "u1/ä b.webp"] {
        app.state.blobs.put(archive, &name.parse().unwrap(), "0123456789".into()).await.unwrap();
    }
    app.state.blobs.put(&"uploads".parse().unwrap(), &"a.webp".parse().unwrap(), "secret".into()).await.unwrap();
    app
}

#[tokio::test]
async fn parts_and_versions_are_honoured() {
    let app = app_with_digits().await;
    let path = "/api/media/archive/digits.webp";
    let whole = app.nobody().get(path).await;
    let etag = whole.header("etag").to_owned();
    assert_eq!((whole.text(), whole.header("accept-ranges")), ("0123456789", "bytes"));
    assert!(whole.header("last-modified").ends_with(" GMT"));
    for (range, text, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=5-99999999999999999999", "56789", "bytes 5-9/10"),
    ] {
        let part = app.nobody().header("range", range).get(path).await;
        assert_eq!((part.status.as_u16(), part.text(), part.header("content-range")), (206, text, content_range));
        assert_eq!(part.header("content-length"), text.len().to_string());
    }
    for range in ["bytes=10-", "bytes=-0", "bytes=99-100"] {
        let refused = app.nobody().header("range", range).get(path).await;
        assert_eq!((refused.status.as_u16(), refused.header("content-range")), (416, "bytes */10"), "{range}");
        assert_eq!(refused.json()["detail"], "Range Not Satisfiable");
    }
    for range in ["bytes=0-1,3-4", "lines=1-2", "bytes=4-2", "nonsense"] {
        let ignored = app.nobody().header("range", range).get(path).await;
        assert_eq!((ignored.status.as_u16(), ignored.body.len()), (200, 10), "{range}");
    }
    let same = app.nobody().header("range", "bytes=0-0").header("if-range", &etag).get(path).await;
    assert_eq!(same.text(), "0");
    let other = app.nobody().header("range", "bytes=0-0").header("if-range", "\"x\"").get(path).await;
    assert_eq!(other.status, StatusCode::OK);
    let known = app.nobody().header("if-none-match", &etag).get(path).await;
    assert_eq!((known.status.as_u16(), known.body.len(), known.header("etag")), (304, 0, &*etag));
    let head = app.nobody().send(Method::HEAD, path, None, "").await;
    assert_eq!((head.status.as_u16(), head.body.len(), head.header("content-length")), (200, 0, "10"));
    let unusual = app.nobody().get("/api/media/archive/u1/%C3%A4%20b.webp").await;
    assert_eq!(unusual.status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_else_is_shown() {
    let app = app_with_digits().await;
    for path in [
        "archive/missing.webp",
        "archive/u1",
        "uploads/a.webp",
        "ARCHIVE/digits.webp",
        ".writing/x",
        "archive/../uploads/a.webp",
        "archive/..%2fuploads%2fa.webp",
        "archive/%2e%2e/uploads/a.webp",
        "archive/%252e%252e/uploads/a.webp",
        "archive/..%5cuploads%5ca.webp",
        "archive/u1/../digits.webp",
        "archive/./digits.webp",
        "archive//digits.webp",
        "archive/%2fetc%2fpasswd",
        "archive/digits.webp%00.png",
        "archive/%ff",
        "..%2fuploads/a.webp",
        "archive",
    ] {
        let answer = app.nobody().get(&format!("/api/media/{path}")).await;
        assert_eq!(detail(&answer), (404, json!("Not Found")), "{path}");
    }
}

// --- Metadata -------------------------------------------------------------------------------------------------------

fn extraction(image: &[u8]) -> Value {
    json!({"item_id": "a", "image_bytes_base64": STANDARD.encode(image)})
}

async fn extract(caller: &Caller, body: Value) -> Answer {
    caller.post("/api/extract-clothing-metadata", body).await
}

#[tokio::test]
async fn a_key_lets_services_in() {
    let refused = (401, json!("Unauthorized metadata request."));
    let body = || extraction(&picture(ImageFormat::Jpeg));
    let app = TestApp::builder().setting("METADATA_EXTRACT_API_KEY", "key-1").start();
    assert_eq!(detail(&extract(&app.nobody(), body()).await), refused);
    for wrong in ["", "key-2", "key-", "key-11", "KEY-1"] {
        assert_eq!(detail(&extract(&app.nobody().header("x-api-key", wrong), body()).await), refused, "{wrong}");
    }
    assert_eq!(detail(&extract(&app.user("ada").await, body()).await), refused, "a user is no service");
    assert_eq!(extract(&app.nobody().header("x-api-key", "key-1"), body()).await.status, StatusCode::OK);
    let without = TestApp::new();
    let answer = extract(&without.nobody().header("x-api-key", ""), body()).await;
    assert_eq!(detail(&answer), (500, json!("METADATA_EXTRACT_API_KEY is not configured.")));
    let unknown = TestApp::builder().setting("METADATA_EXTRACT_AUTH_MODE", "magic").start();
    let answer = extract(&unknown.nobody().header("x-api-key", "key-1"), body()).await;
    assert_eq!(detail(&answer), (500, json!("Invalid metadata auth mode configuration.")));
}

#[tokio::test]
async fn a_tenant_s_tokens_let_services_in() {
    let tenant = Google::start().await;
    let app = TestApp::builder()
        .setting("METADATA_EXTRACT_AUTH_MODE", "azuread")
        .setting("METADATA_EXTRACT_AZURE_AD_ISSUER", &tenant.issuer)
        .setting("METADATA_EXTRACT_AZURE_AD_AUDIENCE", AUDIENCE)
        .start();
    let now = app.state.clock.now().unix_timestamp();
    let claims = json!({"iss": tenant.issuer, "aud": AUDIENCE, "sub": "svc", "exp": now + 600, "nbf": now - 5});
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let ask = async |token: &str| detail_of(extract(&app.bearer(token), extraction(&picture(ImageFormat::Png))).await);
    let refused = (401, "Unauthorized metadata request.".to_owned());
    assert_eq!(ask(&tenant.key.sign(&claims)).await.0, 200);
    assert_eq!(ask(&tenant.key.sign(&with("exp", json!(now - 30)))).await.0, 200, "within the leeway");
    assert_eq!(ask(&tenant.key.sign(&with("nbf", json!(now + 60)))).await.0, 200, "within the leeway");
    for bad in [
        with("aud", json!("api://other")),
        with("iss", json!("https://login.example")),
        with("exp", json!(now - 60)),
        with("nbf", json!(now + 61)),
        without("exp"),
        without("aud"),
        without("iss"),
    ] {
        assert_eq!(ask(&tenant.key.sign(&bad)).await, refused, "{bad}");
    }
    let forged = Key::new("key-1", STRANGE);
    let none = format!("{}.{}.", b64(r#"{"alg":"none","kid":"key-1"}"#), b64(&claims.to_string()));
    for token in [
        forged.sign(&claims),
        tenant.key.sign_as("HS256", &claims),
        tenant.key.sign_as("RS512", &claims),
        none,
        "x.y.z".to_owned(),
        "at-0123".to_owned(),
        tenant.key.sign_without_id(&claims), // the set has more keys than one
    ] {
        assert_eq!(ask(&token).await, refused, "{token}");
    }
    assert_eq!(detail(&extract(&app.nobody(), extraction(b"x")).await).0, 401);
    assert_eq!((tenant.descriptions(), tenant.fetches()), (1, 1), "both are kept");
    let picture =
        send_raw(&app.bearer(&tenant.key.sign(&claims)), "/api/process-image", picture(ImageFormat::Png)).await;
    assert_eq!(picture.status, StatusCode::CREATED, "a service may have pictures processed");

    // A key that is new is found, at most once a minute; one that stands alone needs no name.
    let next = Key::new("key-2", NEXT);
    tenant.publish_only(&next);
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(ask(&next.sign(&claims)).await.0, 200);
    assert_eq!(ask(&next.sign_without_id(&claims)).await.0, 200);
    assert_eq!((tenant.descriptions(), tenant.fetches()), (2, 2));
    // Without an id, tokens of 16 KiB exist.
    let padded = |bytes: usize| next.sign_without_id(&with("padding", json!("x".repeat(bytes))));
    let about = (16 * 1024 - padded(0).len()) / 4 * 3;
    let most = (about - 3..).find(|bytes| padded(*bytes).len() >= 16 * 1024).unwrap();
    for (bytes, length, status) in [(most, 16 * 1024, 200), (most + 1, 16 * 1024 + 2, 401)] {
        let token = padded(bytes);
        assert_eq!((token.len(), ask(&token).await.0), (length, status));
    }
    // The old set serves while the provider is down, and a service that never reached it lets nobody in.
    tenant.set_down(true);
    app.clock.advance(Duration::from_secs(590));
    assert_eq!(ask(&next.sign(&with("exp", json!(now + 6000)))).await.0, 200);
}

fn b64(text: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn detail_of(answer: Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn tokens_that_cannot_be_checked_are_refused() {
    let tenant = Google::start().await;
    let claims = json!({"iss": "http://127.0.0.1:9", "aud": AUDIENCE, "exp": 4_000_000_000_u64});
    let token = tenant.key.sign(&claims);
    for (issuer, audience) in [("http://127.0.0.1:9", AUDIENCE), ("", AUDIENCE), ("http://127.0.0.1:9", "")] {
        let app = TestApp::builder()
            .setting("METADATA_EXTRACT_AUTH_MODE", "azuread")
            .setting("METADATA_EXTRACT_AZURE_AD_ISSUER", issuer)
            .setting("METADATA_EXTRACT_AZURE_AD_AUDIENCE", audience)
            .start();
        let answer = extract(&app.bearer(&token), extraction(b"x")).await;
        assert_eq!(detail_of(answer), (401, "Unauthorized metadata request.".to_owned()));
    }
}

fn service_app(builder: crate::support::Builder) -> (TestApp, Caller) {
    let app = builder.setting("METADATA_EXTRACT_API_KEY", "key-1").start();
    let caller = app.nobody().header("x-api-key", "key-1");
    (app, caller)
}

#[tokio::test]
async fn the_payload_is_strict_base64() {
    let (_app, service) = service_app(TestApp::builder());
    for empty in ["", "  ", "data:image/png;base64,"] {
        let answer = extract(&service, json!({"item_id": "a", "image_bytes_base64": empty})).await;
        assert_eq!(detail(&answer), (400, json!("image_bytes_base64 is required.")), "{empty:?}");
    }
    for bad in ["a", "!!!!", "QUJ", "QUI_", "QU JD", "data:x,@@"] {
        let answer = extract(&service, json!({"itemId": "a", "imageBytesBase64": bad})).await;
        let text = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(text.starts_with("Invalid image_bytes_base64 payload: "), "{bad}: {text}");
    }
    assert_eq!(extract(&service, json!({"item_id": "a"})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let large = "A".repeat(28 << 20);
    let answer = extract(&service, json!({"item_id": "a", "image_bytes_base64": large})).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn without_a_model_colours_are_told() {
    let (_app, service) = service_app(TestApp::builder());
    let prefixed = format!("data:image/jpeg;base64,{}", STANDARD.encode(picture(ImageFormat::Jpeg)));
    let answer = extract(&service, json!({"item_id": "a", "image_bytes_base64": prefixed})).await;
    let found = answer.json();
    assert_eq!((&found["brand"], &found["category"], &found["tags"]), (&Value::Null, &Value::Null, &json!([])));
    let colours = found["colours"].as_array().unwrap();
    assert_eq!(colours.len(), 1, "{found}");
    for colour in colours {
        let hex = colour["hex"].as_str().unwrap();
        assert!(hex.len() == 7 && hex.starts_with('#') && hex.to_lowercase() == hex, "{hex}");
        assert!(!colour["name"].as_str().unwrap().is_empty());
    }
    let nonsense = extract(&service, extraction(b"no picture at all")).await;
    let nothing = json!({"brand": null, "category": null, "tags": [], "colours": []});
    assert_eq!(nonsense.summary(), (200, nothing));
}

#[tokio::test]
async fn without_a_model_transparent_pixels_have_no_colour() {
    let (_app, service) = service_app(TestApp::builder());
    for (alpha, expected) in [(255, vec!["red"]), (0, vec![])] {
        let garment = image::RgbaImage::from_fn(90, 90, |x, _| match x {
            30..60 => image::Rgba([170, 30, 30, alpha]),
            _ => image::Rgba([255, 255, 255, 0]),
        });
        let mut file = Cursor::new(Vec::new());
        garment.write_to(&mut file, ImageFormat::Png).unwrap();
        let found = extract(&service, extraction(file.get_ref())).await.json();
        let names: Vec<_> = found["colours"].as_array().unwrap().iter().map(|colour| &colour["name"]).collect();
        assert_eq!(names, expected, "{found}");
    }
}

#[tokio::test]
async fn a_race_between_two_processes_gives_both_the_same_address() {
    let directory = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn BlobStore> { Arc::new(crate::blob::local_store(directory.path())) };
    let server = SegmentationServer::start([Behaviour::Cut]).await;
    let builder = || TestApp::builder().segmentation(server.options.clone()).blobs(open());
    let (one, other) = (builder().start(), builder().start());
    let (ada, eve) = (one.user("ada").await, other.user("ada").await);
    let file = picture(ImageFormat::Jpeg);
    let fields = [("item_id", &b"a"[..]), ("image", &file)];
    let (first, second) = join(send_form(&ada, &fields), send_form(&eve, &fields)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(first.summary(), second.summary());
    assert_eq!(blobs(&one).await, 1);
    let archive = &one.state.config.storage.archive_container;
    let blob = one
        .state
        .blobs
        .get(archive, &"fdee430d40bd57de/a-transparent.webp".parse().unwrap(), Span::Whole)
        .await
        .unwrap();
    assert!(image::load_from_memory(&blob.unwrap().bytes().await.unwrap()).is_ok());
}

#[tokio::test]
async fn a_model_that_fails_costs_nobody_the_garment() {
    // Every answer of a server that has no script is an error.
    let server = ModelServer::start().await;
    let (_app, service) = service_app(TestApp::builder().model_server(&server));
    let answer = extract(&service, extraction(&picture(ImageFormat::Jpeg))).await;
    assert_eq!(answer.summary(), (200, json!({"brand": null, "category": null, "tags": [], "colours": []})));
}
