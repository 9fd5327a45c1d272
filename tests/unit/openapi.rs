//! The OpenAPI document: it states the callers of every route, and the service's answers match it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use pluckit::app::groups::Access;
use pluckit::app::openapi;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::blob::local::LocalBlobs;
use pluckit::cli::demo::{self, Gallery};
use pluckit::data::Data;
use pluckit::data::lease::Claimed;
use pluckit::identity::session::SessionService;
use pluckit::llm::offline::OfflineModel;
use pluckit::model::source::Source;
use pluckit::store::sqlite::SqliteStore;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::access::ROUTES;
use crate::store::cosmos_backend;
use crate::support::TestApp;
use crate::support::google::{CLIENT_ID, Google};
use crate::support::service::Launch;

/// Operations as the description lists them, by path and method.
fn operations() -> BTreeMap<(String, String), Value> {
    let document = openapi::document(true);
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().clone();
        item.into_iter().map(move |(method, operation)| ((path.clone(), method.to_uppercase()), operation))
    });
    operations.collect()
}

/// Whether a path is one of those that a template stands for.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(step, given): (&&str, &&str)| step.starts_with('{') || step == given;
    template.len() <= path.len() && template.iter().zip(&path).all(same) && {
        // Only the rest of a path has more steps than its template.
        template.len() == path.len() || template.last().is_some_and(|last| last.starts_with('{'))
    }
}

#[test]
fn every_route_says_who_may_call_it() {
    let operations = operations();
    let mut listed = 0;
    for ((path, method), operation) in &operations {
        let found = ROUTES.iter().filter(|(known, example, _)| known == method.as_str() && fits(path, example));
        // Of two that fit, the one with fewer variable steps is meant.
        let exact = |example: &str| {
            let others = operations.keys().filter(|(other, verb)| verb == method && fits(other, example));
            others.max_by_key(|(other, _)| other.split('/').filter(|step| !step.starts_with('{')).count())
        };
        let found: Vec<_> =
            found.filter(|(_, example, _)| exact(example).is_some_and(|(best, _)| best == path)).collect();
        assert!(!found.is_empty(), "{method} {path} has no line in access.rs");
        listed += found.len();
        for (_, example, access) in found {
            let (security, forbidden) = match access {
                Access::Public => (json!([]), false),
                // A token that may only read changes nothing.
                Access::User => (json!([{"user": []}, {"apiToken": []}]), true),
                Access::SignedIn | Access::Admin => (json!([{"user": []}]), true),
                Access::UserOrService => {
                    (json!([{"user": []}, {"apiToken": []}, {"serviceKey": []}, {"serviceToken": []}]), true)
                }
                Access::Service => (json!([{"serviceKey": []}, {"serviceToken": []}]), false),
            };
            assert_eq!(operation["security"], security, "{method} {example}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(!forbidden || responses.contains_key("403"), "{method} {example}");
            assert!(*access == Access::Public || responses.contains_key("401"), "{method} {example}");
        }
    }
    assert_eq!(listed, ROUTES.len(), "a line of access.rs has a route that is not described");
}

/// The references in a part of the document.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members
            .iter()
            .filter_map(|(name, value)| value.as_str().filter(|_| name == "$ref"))
            .chain(members.values().flat_map(references))
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn the_document_holds_together() {
    let document = openapi::document(true);
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    for reference in references(&document) {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for ((path, method), operation) in operations() {
        let at = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}: the name is not its own");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{at}: no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}: {:?}", responses.keys());
        for (status, response) in responses {
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => response,
            };
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{at} {status}");
            if ["414", "431"].contains(&&**status) {
                continue; // Answered below the routes, without any of this.
            }
            assert!(response["headers"]["x-request-id"].is_object(), "{at} {status}");
            // A notification of the Model Context Protocol is answered with a status alone.
            let is_empty = ["204", "304"].contains(&&**status) || (at.as_str(), &**status) == ("POST /api/mcp", "202");
            assert!(is_empty || response["content"].is_object(), "{at} {status}");
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let in_path: BTreeSet<_> =
            in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
        let wanted: BTreeSet<_> = path.split('/').filter(|step| step.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(in_path, wanted, "{at}");
    }
}

#[tokio::test]
async fn events_of_the_chat_have_the_fields_that_are_described() {
    let app = TestApp::new();
    let question = json!({"message": "What navy tops do I have?", "traceId": "t"});
    let events = app.user("ada").await.post("/api/chat", question).await.events();
    let document = openapi::document(true);
    let kinds = document.pointer("/components/schemas/ChatEvent/oneOf").unwrap().as_array().unwrap();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|kind| document.pointer(kind["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap())
        .collect();
    let seen: BTreeSet<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(seen.len() >= 5, "{seen:?}");
    for event in events {
        let kind = kinds.iter().find(|kind| kind["properties"]["type"]["enum"][0] == event["type"]).unwrap();
        let mut described: BTreeSet<_> = kind["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        described.remove("stopped");
        let fields: BTreeSet<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, described);
    }
}

#[tokio::test]
async fn the_description_is_for_everybody_and_the_page_for_developers() {
    let app = TestApp::new();
    let answer = app.nobody().get("/api/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(answer.json(), openapi::document(true));
    let packed = app.nobody().header("accept-encoding", "gzip").get("/api/openapi.json").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() * 5 < answer.body.len(), "{} bytes", packed.body.len());
    assert_eq!(app.nobody().get("/api/docs").await.status, StatusCode::NOT_FOUND);

    let app = TestApp::builder().setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development").start();
    let page = app.nobody().get("/api/docs").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    for (elsewhere, place) in [("/redoc", "/api/docs"), ("/openapi.json", "/api/openapi.json")] {
        let moved = app.nobody().get(elsewhere).await;
        assert_eq!((moved.status, moved.header("location")), (StatusCode::TEMPORARY_REDIRECT, place));
    }
    let foreign = page.text().split(['"', '\'', '(']).find(|text| text.starts_with("http") || text.starts_with("//"));
    assert_eq!(foreign, None, "the page works offline");
}

// --- Schemathesis ---------------------------------------------------------------------------------------------------

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
/// The environment variable that names the program `st`; `scripts/test` sets it.
const SCHEMATHESIS: &str = "PLUCKIT_TEST_SCHEMATHESIS";
const USER: &str = "ada";
const ADMIN: &str = "grace";
const KEY: &str = "a-key-of-services";

/// Has the real binary tried by Schemathesis: these operations, signed in as this user, or with these headers.
async fn try_out(is_tried: impl Fn(&Value) -> bool, user: Option<&str>, headers: &[String]) {
    // All but the one that answers with the document, which Schemathesis reads.
    let all = operations().into_iter().filter(|((path, _), _)| path != "/api/openapi.json");
    let tried = all.filter(|(_, operation)| is_tried(operation));
    let tried: Vec<_> = tried.map(|(_, operation)| operation["operationId"].as_str().unwrap().to_owned()).collect();
    let google = Google::start().await;
    let launch = Launch::production(BINARY)
        .setting("GOOGLE_CLIENT_ID", CLIENT_ID)
        .setting("GOOGLE_JWKS_URL", &google.url)
        .setting("METADATA_EXTRACT_API_KEY", KEY)
        .setting("ADMIN_USER_IDS", ADMIN)
        .setting("MOOD_FEEDS", ",")
        .setting("MOOD_SITEMAPS", ",");
    let mut headers = headers.to_vec();
    // Something to find, and somebody to find it.
    std::fs::create_dir_all(launch.store_file().parent().unwrap()).unwrap();
    let data = Data::new(Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap()));
    let owner = user.unwrap_or(USER).into();
    let files = tempfile::tempdir().unwrap();
    let blobs =
        LocalBlobs::open(files.path(), "http://127.0.0.1:7071/api/media".parse().unwrap(), &SystemClock).unwrap();
    let gallery = Gallery { blobs: &blobs, container: &"archive".parse().unwrap() };
    assert!(demo::load_if_empty(&data, &OfflineModel::new(), gallery, &owner, SystemClock.now()).await.unwrap());
    // Leases keep the service from contacting the internet: another run holds all sources.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let leases = data.leases(&clock, Source::LONGEST_LEASE);
    for source in data.sources.visible_to(&owner).await.unwrap() {
        let claim = data.sources.claim(&leases, &source, "run-elsewhere", |_| false).await.unwrap();
        assert!(matches!(claim, Claimed::Ours(_)), "{}", source.id);
    }
    if let Some(user) = user {
        let sessions = SessionService::new(data.sessions.clone(), Arc::new(SystemClock));
        let grant = sessions.open(user.into()).await.unwrap();
        headers.push(format!("Authorization: Bearer {}", grant.access_token));
    }
    drop(data);
    let (service, address) = launch.start();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(cosmos_backend::setting(SCHEMATHESIS));
    command
        .arg("--config-file")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/schemathesis.toml"))
        .args(["run", &format!("http://{address}/api/openapi.json"), "--no-color"])
        .args(headers.iter().flat_map(|header| ["--header", header]))
        .args(tried.iter().flat_map(|id| ["--include-operation-id", id]))
        .env("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/schemathesis_hooks.py"))
        // Who is signed in is so in every request, the one that should lack the header too: that check is the others'.
        .args(user.map(|_| "--exclude-checks=missing_required_header"))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("the run is bounded").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let count = tried.len();
    assert!(said.contains(&format!("Tested: {count}")), "not all of {count} operations were tried:\n{said}");
    let log = service.log();
    let worst = log.lines().find(|line| line.contains("\"level\":\"ERROR\"") || line.contains("\"http.status\":5"));
    assert_eq!(worst, None);
}

/// No run takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(400);

/// Whether only administrators may call an operation.
fn is_for_administrators(operation: &Value) -> bool {
    operation["description"].as_str().unwrap().contains("For administrators (")
}

/// Tests what everybody may call. Other operations refuse a caller without a credential before they read anything,
/// which `access.rs` checks for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Schemathesis: run scripts/test"]
async fn nobody_finds_an_answer_that_is_not_described() {
    try_out(|operation| operation["security"] == json!([]), None, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Schemathesis: run scripts/test"]
async fn no_user_finds_an_answer_that_is_not_described() {
    try_out(|operation| !is_for_administrators(operation), Some(USER), &[]).await;
}

/// Tests everything that only administrators may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Schemathesis: run scripts/test"]
async fn no_administrator_finds_an_answer_that_is_not_described() {
    try_out(is_for_administrators, Some(ADMIN), &[]).await;
}

/// Whatever other services may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Schemathesis: run scripts/test"]
async fn no_service_finds_an_answer_that_is_not_described() {
    let is_theirs = |operation: &Value| operation["security"].to_string().contains("serviceKey");
    try_out(is_theirs, None, &[format!("X-API-Key: {KEY}")]).await;
}
