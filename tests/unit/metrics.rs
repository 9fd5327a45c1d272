//! The metrics page, and the dashboard and alerts based on it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pluckit::net;
use serde_json::{Value, json};

use crate::support::service::Launch;
use crate::support::until;
use crate::support::{TestApp, refusal};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
/// Beginnings of our metrics' names.
const OURS: [&str; 3] = ["http_server_", "gen_ai_", "pluckit_"];
/// Ends of the names of a histogram's series.
const SERIES: [&str; 3] = ["_bucket", "_count", "_sum"];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The metric that a series belongs to.
fn stem(name: &str) -> &str {
    SERIES.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The names of our series in a text.
fn names(text: &str) -> Vec<&str> {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    // Labels begin like this, too.
    let is_label = |word: &str| {
        ["gen_ai_request_model", "gen_ai_token_type", "gen_ai_operation_name", "pluckit_purpose", "pluckit_processor"]
            .contains(&word)
    };
    words.filter(|word| OURS.iter().any(|start| word.starts_with(start)) && !is_label(word)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_alerts_use_series_that_there_are() {
    let launch = Launch::development(BINARY).setting("METRICS", "on").setting("ADMIN_USER_IDS", "local-dev-user");
    let (service, address) = launch.start();
    until("the demo is complete", async || service.log().contains("pictures of the demo written")).await;
    let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let url = |path: &str| format!("http://{address}{path}");
    // Something of every kind: a turn, statistics, a digest by a timer, and a message that cannot be done.
    let turn = http.post(url("/api/chat")).json(&json!({"message": "What should I wear?"}));
    assert!(turn.send().await.unwrap().text().await.unwrap().contains("\"done\""));
    assert_eq!(http.get(url("/api/insights/vault")).send().await.unwrap().status(), 200);
    let timer = http.post(url("/api/admin/timers/PluckItWeeklyDigest/run"));
    assert_eq!(timer.send().await.unwrap().status(), 202);
    fs::remove_dir_all(launch.store_file().with_file_name("blobs")).unwrap();
    let feed: Value = http.get(url("/api/scraper/items")).send().await.unwrap().json().await.unwrap();
    let item = feed["items"][0]["id"].as_str().unwrap();
    let vote = http.post(url(&format!("/api/scraper/items/{item}/feedback"))).json(&json!({"signal": "up"}));
    assert_eq!(vote.send().await.unwrap().status(), 200);

    let scrape = async || http.get(url("/metrics")).send().await.unwrap();
    assert_eq!(scrape().await.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let dashboard = file("deploy/grafana-dashboard.json");
    let texts = [dashboard.clone(), file("deploy/alerts.yaml"), file("docs/operations.md")].concat();
    // What Cosmos DB charges is a metric with Cosmos DB alone.
    let wanted: Vec<&str> = names(&texts).into_iter().filter(|name| !name.starts_with("pluckit_store_")).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    until("every series is there", async || {
        let page = scrape().await.text().await.unwrap();
        let there = names(&page);
        wanted.iter().all(|name| there.contains(name)) && page.contains("outcome=\"failed\"")
    })
    .await;
    let page = scrape().await.text().await.unwrap();
    // Every metric is on the dashboard.
    let shown: Vec<&str> = names(&dashboard).into_iter().map(stem).collect();
    let unseen: Vec<_> = names(&page).into_iter().map(stem).filter(|name| !shown.contains(name)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
    assert!(page.contains("http_route=\"/api/chat\""));
    for secret in ["local-dev-user", "What should I wear"] {
        assert!(!page.contains(secret));
    }
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_who_has_the_token() {
    let off = TestApp::new();
    assert_eq!(off.nobody().get("/metrics").await.status, 404);

    let app = TestApp::builder().setting("METRICS", "on").start();
    assert_eq!(app.nobody().get("/metrics").await.status, 200);
    for stranger in [
        app.nobody().from("192.0.2.7"),
        app.nobody().header("x-forwarded-for", "192.0.2.7"),
        app.nobody().header("origin", "https://elsewhere.example"),
        app.nobody().header("host", "rebound.example"),
    ] {
        let answer = stranger.get("/metrics").await.summary();
        assert_eq!(answer, (403, refusal("Without METRICS_TOKEN, only callers on this machine may read metrics.")));
    }

    let app = TestApp::builder().setting("METRICS", "on").setting("METRICS_TOKEN", "let me see").start();
    let refused = (401, refusal("Send the value of METRICS_TOKEN as a bearer token."));
    assert_eq!(app.nobody().get("/metrics").await.summary(), refused);
    assert_eq!(app.bearer("let me").get("/metrics").await.summary(), refused);
    assert_eq!(app.user("ada").await.get("/metrics").await.summary(), refused);
    assert_eq!(app.bearer("let me see").from("192.0.2.7").get("/metrics").await.status, 200);
}
