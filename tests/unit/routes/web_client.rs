//! The files of a web client beside the API, and the listings of Reddit that it asks for.

use std::io::Read;

use axum::http::{Method, StatusCode};
use flate2::read::GzDecoder;
use pluckit::domain::scraper::reddit::MAX_POSTS;
use serde_json::json;
use tempfile::TempDir;

use crate::support::caller::{Answer, Caller};
use crate::support::feeds::{listing, post, show_posts};
use crate::support::web::{self, Web, endless};
use crate::support::{Builder, TestApp};

const INDEX: &str = "<!doctype html><title>PluckIt</title>";
const SCRIPT: &str = "main-5AB3XK2Q.js";

/// A directory as a build tool leaves it, and files that nobody may see.
fn build() -> TempDir {
    let root = TempDir::new().unwrap();
    let script = "console.log('a line that is repeated');\n".repeat(500);
    for (path, content) in [
        ("index.html", INDEX),
        (SCRIPT, &script),
        ("favicon.ico", "icon"),
        ("ngsw.json", "{}"),
        ("assets/icons/hanger.svg", "<svg/>"),
        (".well-known/assetlinks.json", "[]"),
        (".well-known/apple-app-site-association", "{}"),
        (".env", "SECRET=1"),
        ("assets/.git/config", "secret"),
    ] {
        let file = root.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    std::fs::write(root.path().parent().unwrap().join("outside.txt"), "secret").unwrap();
    root
}

fn with_client(root: &TempDir) -> Builder {
    TestApp::builder().setting("WEB_ROOT", root.path().to_str().unwrap())
}

/// The status, and the text of the error.
fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["detail"].as_str().unwrap().to_owned())
}

fn is_index(answer: &Answer) -> bool {
    answer.status.as_u16() == 200 && answer.header("content-type") == "text/html" && answer.text() == INDEX
}

#[tokio::test]
async fn a_link_out_of_the_directory_is_not_followed() {
    let (root, other) = (build(), build());
    let link =
        |target: &std::path::Path, name: &str| std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
    link(&other.path().join("favicon.ico"), "link.txt");
    link(other.path(), "assets/other");
    link(&root.path().join("favicon.ico"), "icon.txt");
    link(&other.path().join("favicon.ico"), "ngsw.json.gz");
    let app = with_client(&root).start();
    let nobody = app.nobody();
    for path in ["/link.txt", "/assets/other/favicon.ico", "/assets/other", "/ngsw.json"] {
        assert_eq!(told(&nobody.get(path).await), (404, "Not Found".to_owned()), "{path}");
    }
    assert_eq!(nobody.get("/icon.txt").await.text(), "icon");
    // The directory may be a link itself.
    let releases = TempDir::new().unwrap();
    let current = releases.path().join("current");
    std::os::unix::fs::symlink(other.path(), &current).unwrap();
    let app = TestApp::builder().setting("WEB_ROOT", current.to_str().unwrap()).start();
    assert!(is_index(&app.nobody().get("/vault").await));
    assert_eq!(app.nobody().get("/favicon.ico").await.text(), "icon");
}

#[tokio::test]
async fn pages_and_files_of_a_client_are_served_beside_the_api() {
    let root = build();
    let app = with_client(&root).start();
    let nobody = app.nobody();
    for path in ["/", "/index.html", "/vault", "/vault/", "/collections?join=1", "/login", "/assets", "/assets/icons"] {
        let answer = nobody.get(path).await;
        assert!(is_index(&answer), "{path}: {} {:?}", answer.status, answer.headers);
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin-allow-popups", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("content-security-policy"), "frame-ancestors 'self'", "{path}");
    }
    for (path, content_type, cache) in [
        (format!("/{SCRIPT}"), "text/javascript", "public, max-age=31536000, immutable"),
        ("/favicon.ico".to_owned(), "image/x-icon", "no-cache"),
        ("/ngsw.json".to_owned(), "application/json", "no-cache"),
        ("/assets/icons/hanger.svg".to_owned(), "image/svg+xml", "no-cache"),
        ("/.well-known/assetlinks.json".to_owned(), "application/json", "no-cache"),
        ("/.well-known/apple-app-site-association".to_owned(), "application/octet-stream", "no-cache"),
    ] {
        let answer = nobody.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type), "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin-allow-popups", "{path}");
    }
    // A file that is missing is no page, and what is hidden or outside is not there.
    for path in [
        "/main-OLDER123.js",
        "/assets/missing.svg",
        "/.well-known/security.txt",
        "/.well-known/change-password",
        "/.env",
        "/%2eenv",
        "/assets/.git/config",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/assets/..%2f..%2foutside.txt",
        "/..%5coutside.txt",
        "/api",
        "/api/nothing",
        "/reddit-api",
        "/reddit-api/r/a/comments/1/a.json",
    ] {
        assert_eq!(told(&nobody.get(path).await), (404, "Not Found".to_owned()), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(nobody.send(method.clone(), "/vault", None, "").await.status.as_u16(), 404, "{method}");
    }
    assert_eq!(nobody.send(Method::HEAD, "/vault", None, "").await.status.as_u16(), 200);
    // The API is where it was, and so is the console.
    let with_console = with_client(&root).setting("CONSOLE", "on").start();
    assert!(is_index(&with_console.nobody().get("/").await));
    let console = with_console.nobody().get("/console").await;
    assert!(console.status == StatusCode::OK && console.text() != INDEX);
    assert_eq!(nobody.get("/api/health").await.json()["status"], "ok");
    assert_eq!(nobody.get("/api/chat/memory").await.status.as_u16(), 401);
}

#[tokio::test]
async fn files_are_compressed_and_asked_for_by_their_date() {
    let root = build();
    let app = with_client(&root).start();
    let plain = app.nobody().get(&format!("/{SCRIPT}")).await;
    assert_eq!(plain.header("content-encoding"), "");
    let gzip = app.nobody().header("accept-encoding", "gzip, br").get(&format!("/{SCRIPT}")).await;
    assert_eq!(
        (gzip.status.as_u16(), gzip.header("content-encoding"), gzip.header("vary")),
        (200, "gzip", "accept-encoding")
    );
    assert!(gzip.body.len() < plain.body.len() / 10, "{} of {}", gzip.body.len(), plain.body.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(&gzip.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let modified = plain.header("last-modified");
    let again = app.nobody().header("if-modified-since", modified).get(&format!("/{SCRIPT}")).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("cache-control"), "public, max-age=31536000, immutable");
    // What a build tool has compressed already is sent as it is.
    std::fs::write(root.path().join("index.html.gz"), "packed").unwrap();
    let packed = app.nobody().header("accept-encoding", "gzip").get("/vault").await;
    assert_eq!((packed.header("content-encoding"), packed.text()), ("gzip", "packed"));
}

#[tokio::test]
async fn the_functions_host_gets_no_client() {
    let root = build();
    let app = with_client(&root).under_functions_host().start();
    assert!(!is_index(&app.nobody().get("/").await), "the host asks for it");
    for path in ["/vault", "/index.html", "/reddit-api/r/aa/hot.json"] {
        assert_eq!(told(&app.nobody().get(path).await), (404, "Not Found".to_owned()), "{path}");
    }
}

// --- Reddit ---------------------------------------------------------------------------------------------------------

const HOT: &str = "/reddit-api/r/rawdenim/hot.json?limit=50";

async fn with_reddit(web: &Web) -> (TempDir, TestApp) {
    let root = build();
    let app = with_client(&root).web(web).start();
    (root, app)
}

async fn ask(caller: &Caller, path: &str) -> (u16, String) {
    told(&caller.get(path).await)
}

#[tokio::test]
async fn a_client_reads_listings_of_reddit_and_nothing_else() {
    let web = Web::start().await;
    show_posts(&web, "rawdenim", &["one", "two"]);
    for listing in ["new", "top"] {
        let answer = self::listing(&[post("rawdenim", listing)]).to_string();
        let url = format!("https://www.reddit.com/r/rawdenim/{listing}.json");
        web.page(&url, move |_| web::page("application/json", answer.clone()));
    }
    let (_root, app) = with_reddit(&web).await;
    let nobody = app.nobody();
    let answer = nobody.get(HOT).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json(), listing(&[post("rawdenim", "one"), post("rawdenim", "two")]));
    for (path, asked) in [
        ("/reddit-api/r/rawdenim/new.json", "new.json?limit=50"),
        ("/reddit-api/r/rawdenim/top.json?limit=7&t=day&after=t3_x", "top.json?limit=7"),
        ("/reddit-api/r/rawdenim/hot.json?limit=1000", "hot.json?limit=100"),
    ] {
        assert_eq!(nobody.get(path).await.status.as_u16(), 200, "{path}");
        let last = web.received().into_iter().next_back().unwrap();
        assert_eq!(last.url, format!("https://www.reddit.com/r/rawdenim/{asked}"));
        assert!(!last.headers.contains_key("authorization") && !last.headers.contains_key("cookie"));
    }
    assert_eq!(MAX_POSTS, 100);
    let before = web.received().len();
    for path in [
        "/reddit-api/r/rawdenim/rising.json",
        "/reddit-api/r/rawdenim/about.json",
        "/reddit-api/r/rawdenim/hot",
        "/reddit-api/r/a/hot.json",
        "/reddit-api/r/raw-denim/hot.json",
        "/reddit-api/r/raw%2fdenim/hot.json",
        "/reddit-api/r/..%2f..%2fapi/hot.json",
        "/reddit-api/r/rawdenim%3fx/hot.json",
        "/reddit-api/user/ada/hot.json",
    ] {
        assert_eq!(ask(&nobody, path).await, (404, "Not Found".to_owned()), "{path}");
    }
    let answer = nobody.post(HOT, json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET,HEAD"));
    assert_eq!(web.received().len(), before, "Reddit was asked for none of them");
    let without = TestApp::builder().web(&web).start();
    assert_eq!(without.nobody().get(HOT).await.status, StatusCode::NOT_FOUND, "without a client");
}

#[tokio::test]
async fn refusals_by_reddit_are_passed_on() {
    let web = Web::start().await;
    let (_root, app) = with_reddit(&web).await;
    let url = "https://www.reddit.com/r/rawdenim/hot.json";
    let show = |status: u16, content_type: &'static str, body: &'static str| {
        web.page(url, move |_| {
            let mut response = web::page(content_type, body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        });
    };
    for (status, content_type, body, code, text) in [
        (429, "application/json", "{}", 429, "Reddit is rate limiting. Try again later."),
        (403, "application/json", "{}", 403, "Reddit does not show this subreddit."),
        (404, "application/json", "{}", 404, "Reddit has no such subreddit."),
        (500, "application/json", "{}", 503, "Reddit cannot be read."),
        (200, "text/html", "<p>", 503, "Reddit cannot be read."),
        (200, "application/json", "{", 503, "Reddit cannot be read."),
        (200, "application/json", r#"{"kind": "t5", "data": {}}"#, 503, "Reddit cannot be read."),
        (
            200,
            "application/json",
            r#"{"message": "Too Many Requests", "error": 429}"#,
            429,
            "Reddit is rate limiting. Try again later.",
        ),
    ] {
        show(status, content_type, body);
        let answer = app.nobody().get(HOT).await;
        assert_eq!(told(&answer), (code, text.to_owned()), "{status} {body}");
        assert_eq!(answer.headers.contains_key("retry-after"), matches!(code, 429 | 503), "{status} {body}");
    }
    web.page(url, |_| web::page("application/json", endless("[[[[[[[[")));
    assert_eq!(ask(&app.nobody(), HOT).await, (503, "Reddit cannot be read.".to_owned()));
}

#[tokio::test]
async fn an_address_has_a_quota_of_listings() {
    let web = Web::start().await;
    show_posts(&web, "rawdenim", &["one"]);
    let root = build();
    let app = with_client(&root).web(&web).setting("RATE_LIMITS", "true").setting("RATE_LIMIT_INGEST_PER_MINUTE", "2");
    let app = app.start();
    let codes = async |address: &str| {
        let caller = app.nobody().from(address);
        [
            caller.get(HOT).await.status.as_u16(),
            caller.get(HOT).await.status.as_u16(),
            caller.get(HOT).await.status.as_u16(),
        ]
    };
    assert_eq!(codes("203.0.113.7").await, [200, 200, 429]);
    assert_eq!(codes("203.0.113.8").await, [200, 200, 429]);
}
