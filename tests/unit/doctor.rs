//! `pluckit doctor` on a healthy, a partly broken and a dead deployment, with the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use axum::Router;
use axum::routing::get;
use azure_data_cosmos::models::ContainerProperties;
use pluckit::app;
use pluckit::config::{Config, Source};
use pluckit::telemetry::metrics::Metrics;
use pluckit::workers::{self, package};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::store::cosmos_backend;
use crate::support::google::{CLIENT_ID, Google};
use crate::support::model::{Answer, Kind, ModelServer, say};
use crate::support::service::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");

/// Verdicts by check; each with what was found.
type Reports = BTreeMap<String, Vec<(String, String)>>;

fn run(launch: &Launch) -> (bool, Reports, Output) {
    let output = launch.command().args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let reports: Vec<Value> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    let mut by_check = Reports::new();
    for report in reports {
        let field = |name: &str| report[name].as_str().unwrap().to_owned();
        assert_eq!(field("verdict") == "fault" || field("verdict") == "warning", !field("fix").is_empty(), "{report}");
        by_check.entry(field("check")).or_default().push((field("verdict"), field("found")));
    }
    (output.status.success(), by_check, output)
}

fn verdicts(reports: &Reports, check: &str) -> Vec<String> {
    reports[check].iter().map(|(verdict, _)| verdict.clone()).collect()
}

#[test]
fn a_fresh_machine_is_well() {
    let (is_well, reports, _) = run(&Launch::development(BINARY));
    assert!(is_well, "{reports:?}");
    for check in ["certificates", "documents", "queues", "blobs"] {
        assert_eq!(verdicts(&reports, check), ["good"], "{check}");
    }
    for check in ["identity", "model", "embeddings", "sign-in", "segmentation"] {
        assert_eq!(verdicts(&reports, check), ["skipped"], "{check}");
    }
    let table = Launch::development(BINARY).command().arg("doctor").output().unwrap();
    assert!(String::from_utf8_lossy(&table.stdout).contains("0 faults"));
}

#[test]
fn without_certificates_of_authorities_all_but_https_works() {
    let launch = Launch::development(BINARY).setting("SSL_CERT_FILE", "/nowhere").setting("SSL_CERT_DIR", "/nowhere");
    let (is_well, reports, _) = run(&launch);
    assert!(is_well, "{reports:?}");
    assert_eq!(verdicts(&reports, "certificates"), ["warning"]);
    let (service, address) = launch.start();
    let url = format!("http://{address}");
    let chat =
        launch.command().args(["chat", "--url", &url, "What should I wear to a casual dinner?"]).output().unwrap();
    assert!(chat.status.success(), "{}", String::from_utf8_lossy(&chat.stderr));
    assert!(service.log().contains("install ca-certificates"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_dead_is_named_with_what_to_do() {
    let nobody = "http://127.0.0.1:9";
    let storage = format!(
        "DefaultEndpointsProtocol=http;AccountName=dead;AccountKey=c2VjcmV0LWtleS12YWx1ZQ==;BlobEndpoint={nobody}/dead;\
         QueueEndpoint={nobody}/dead"
    );
    let launch = Launch::production(BINARY)
        .setting("COSMOS_DB_ENDPOINT", nobody)
        .setting("COSMOS_DB_KEY", "c2VjcmV0LWtleS12YWx1ZQ==")
        .setting("AzureWebJobsStorage", &storage)
        .setting("OPENAI_BASE_URL", nobody)
        .setting("GOOGLE_CLIENT_ID", CLIENT_ID)
        .setting("GOOGLE_JWKS_URL", nobody)
        .setting("SEGMENTATION_ENDPOINT_URL", nobody)
        .setting("METADATA_EXTRACT_AUTH_MODE", "azuread");
    let (is_well, reports, output) = tokio::task::spawn_blocking(move || run(&launch)).await.unwrap();
    assert!(!is_well);
    for check in ["documents", "queues", "blobs", "model", "embeddings", "sign-in", "service tokens", "segmentation"] {
        assert!(verdicts(&reports, check).contains(&"fault".to_owned()), "{check}: {reports:?}");
    }
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains("c2VjcmV0LWtleS12YWx1ZQ"), "no key is shown");
}

#[test]
fn damage_is_found_and_does_not_end_the_examination() {
    let launch = Launch::development(BINARY);
    let made = launch.command().args(["reset", "--demo", "--yes"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = launch.store_file();
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8192].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let (is_well, reports, output) = run(&launch);
    assert!(!is_well);
    assert!(reports["documents"].iter().any(|(_, found)| found.starts_with("damage found: ")), "{reports:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("restore a backup"));
    for check in ["queues", "blobs"] {
        assert_eq!(verdicts(&reports, check), ["good"], "{check}: {reports:?}");
    }

    // A back end that cannot be opened is one fault among many checks.
    bytes[..4096].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    fs::write(file.with_file_name("queue.db"), "no database, either").unwrap();
    let launch = launch.setting("CUTOUT_MODEL", "/nowhere/u2netp.onnx");
    let (is_well, reports, output) = run(&launch);
    assert!(!is_well);
    for check in ["documents", "queues", "cut-outs"] {
        assert_eq!(verdicts(&reports, check), ["fault"], "{check}: {reports:?}");
    }
    assert_eq!(verdicts(&reports, "blobs"), ["good"], "{reports:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("check PLUCKIT_DATA_DIR") && !told.contains("check StorageQueue"), "{told}");
    assert!(told.contains("check CUTOUT_MODEL"), "{told}");
}

#[test]
fn a_directory_that_cannot_be_written_is_found_before_the_first_start() {
    // Nobody can create files there, not even root.
    let launch = Launch::development(BINARY).setting("PLUCKIT_DATA_DIR", "/proc/pluckit");
    let (is_well, reports, _) = run(&launch);
    assert!(!is_well);
    for check in ["documents", "queues", "blobs"] {
        assert_eq!(verdicts(&reports, check), ["fault"], "{check}: {reports:?}");
    }
    assert_eq!(verdicts(&reports, "certificates"), ["good"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_names_of_models_and_a_wrong_clock_are_found() {
    let model = ModelServer::start().await;
    model.when(
        |request| request.kind == Kind::Complete,
        |_| Answer::error(404, "DeploymentNotFound", "no such deployment"),
    );
    model.when(|request| request.kind == Kind::Embeddings, |_| Answer::Embeddings);
    let keys = keys_of_the_past().await;
    let launch = Launch::production(BINARY)
        .setting("OPENAI_BASE_URL", &model.base_url())
        .setting("OPENAI_MODEL", "typo-4")
        .setting("GOOGLE_CLIENT_ID", CLIENT_ID)
        .setting("GOOGLE_JWKS_URL", &keys);
    let (is_well, reports, _) = tokio::task::spawn_blocking(move || run(&launch)).await.unwrap();
    assert!(!is_well);
    assert!(
        reports["model"].iter().any(|(verdict, found)| verdict == "fault" && found.contains("typo-4")),
        "{reports:?}"
    );
    assert_eq!(verdicts(&reports, "embeddings"), ["good"]);
    assert_eq!(verdicts(&reports, "sign-in"), ["good"]);
    assert_eq!(verdicts(&reports, "clock"), ["fault"]);
    assert_eq!(verdicts(&reports, "documents"), ["good"]);
}

/// Starts a key server with a clock in the past.
#[expect(clippy::disallowed_methods, reason = "this server is not part of the service")]
async fn keys_of_the_past() -> String {
    let keys = async || ([("date", "Mon, 02 Mar 2026 09:15:00 GMT")], r#"{"keys":[{"kid":"1"}]}"#);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/certs", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/certs", get(keys))).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn emulators_are_looked_over_whole_and_half_made() {
    let variable = cosmos_backend::setting;
    let model = ModelServer::start().await;
    model.otherwise(|request| if request.kind == Kind::Embeddings { Answer::Embeddings } else { say(&["ok"]).into() });
    let google = Google::start().await;
    let database = format!("doctor-{}", Uuid::new_v4());
    let launch = Launch::production(BINARY)
        .setting("COSMOS_DB_ENDPOINT", &variable("PLUCKIT_TEST_COSMOS_ENDPOINT"))
        .setting("COSMOS_DB_KEY", &variable("PLUCKIT_TEST_COSMOS_KEY"))
        .setting("COSMOS_DB_DATABASE", &database)
        .setting("AzureWebJobsStorage", &variable("PLUCKIT_TEST_STORAGE"))
        .setting("OPENAI_BASE_URL", &model.base_url())
        .setting("GOOGLE_CLIENT_ID", CLIENT_ID)
        .setting("GOOGLE_JWKS_URL", &google.url);
    // One container is there, partitioned by something else.
    let settings = BTreeMap::from([
        ("COSMOS_DB_ENDPOINT", variable("PLUCKIT_TEST_COSMOS_ENDPOINT")),
        ("COSMOS_DB_KEY", variable("PLUCKIT_TEST_COSMOS_KEY")),
    ]);
    make_wrong_container(&settings, &database).await;
    let half = launch.clone();
    let (is_well, reports, _) = tokio::task::spawn_blocking(move || run(&half)).await.unwrap();
    assert!(!is_well);
    let found: Vec<&str> = reports["documents"].iter().map(|(_, found)| found.as_str()).collect();
    assert!(found.contains(&"container Wardrobe is partitioned by /id, not /userId"), "{found:?}");
    assert!(found.contains(&"container Moods is missing"), "{found:?}");
    assert_eq!(verdicts(&reports, "queues")[0], "good");

    let fresh = launch.setting("COSMOS_DB_DATABASE", &format!("doctor-{}", Uuid::new_v4()));
    let made = fresh.clone();
    let made = tokio::task::spawn_blocking(move || made.command().args(["storage", "init"]).output().unwrap()).await;
    assert!(made.unwrap().status.success());
    let (is_well, reports, _) = tokio::task::spawn_blocking(move || run(&fresh)).await.unwrap();
    assert!(is_well, "{reports:?}");
    for check in ["documents", "blobs", "embeddings", "sign-in"] {
        assert_eq!(verdicts(&reports, check), ["good"], "{check}: {reports:?}");
    }
}

async fn make_wrong_container(settings: &BTreeMap<&str, String>, database: &str) {
    let config = Config::read(|name| settings.get(name).map(|value| (value.clone(), Source::Environment))).unwrap();
    let pluckit::config::Documents::Cosmos(cosmos) = &config.documents else { panic!("Cosmos DB is set") };
    let client = pluckit::store::cosmos::connect(cosmos, &app::identity(&config), &Metrics::off()).await.unwrap();
    client.create_database(database, None).await.unwrap();
    let properties = ContainerProperties::new("Wardrobe", "/id".into());
    client.database_client(database.to_owned()).create_container(properties, None).await.unwrap();
}

#[test]
fn templates_create_the_containers_that_the_code_expects() {
    let schema = package::azure_schema(workers::FUNCTIONS).unwrap();
    let written: Value = serde_json::from_str(include_str!("../../deploy/storage.json")).unwrap();
    assert_eq!(written, schema, "write it anew: cargo run -- storage schema > deploy/storage.json");
    assert_eq!(schema["containers"][0]["id"], "Wardrobe");
    assert_eq!(schema["containers"][0]["partitionKey"]["paths"], json!(["/userId"]));
}
