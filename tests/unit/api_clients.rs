//! The OpenAPI document as used by linters and client generators; the tests use the generated clients. The service must
//! answer its examples.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pluckit::app::openapi;
use pluckit::net;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::store::cosmos_backend::setting;
use crate::support::service::{Launch, Service};
use crate::support::until;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/description");
/// The environment variable that names the program `openapi-python-client`; `scripts/test` sets it.
const PYTHON_GENERATOR: &str = "PLUCKIT_TEST_PYTHON_CLIENT";
/// Time limit of a tool.
const LIMIT: Duration = Duration::from_secs(240);

/// Starts the service with defaults, an administrator, and access for other services.
fn start() -> (Service, SocketAddr) {
    let launch = Launch::development(BINARY).setting("ADMIN_USER_IDS", "local-dev-user");
    launch.setting("METADATA_EXTRACT_API_KEY", "example").start()
}

/// The description in a file.
fn description(directory: &Path) -> String {
    let file = directory.join("openapi.json");
    fs::write(&file, openapi::document(true).to_string()).unwrap();
    file.display().to_string()
}

/// Runs a program, which must succeed; returns its output.
async fn run(program: impl AsRef<OsStr>, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("the program ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[tokio::test]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn linters_find_nothing_in_the_description() {
    let directory = TempDir::new().unwrap();
    run("node", &[&format!("{TOOLS}/lint.mjs"), &description(directory.path())], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn a_typescript_client_is_generated_and_works() {
    let directory = TempDir::new().unwrap();
    let (_service, address) = start();
    let place = directory.path().display().to_string();
    run("node", &[&format!("{TOOLS}/typescript.mjs"), &format!("http://{address}"), &place], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs openapi-python-client: run scripts/test"]
async fn a_python_client_is_generated_and_works() {
    let directory = TempDir::new().unwrap();
    let (_service, address) = start();
    let generator = setting(PYTHON_GENERATOR);
    let package = directory.path().join("client").display().to_string();
    let (file, config) = (description(directory.path()), format!("{TOOLS}/python.yaml"));
    let said = run(
        &generator,
        &["generate", "--path", &file, "--config", &config, "--output-path", &package, "--fail-on-warning"],
        &[],
    )
    .await;
    assert!(!said.to_lowercase().contains("warning"), "something is left out: {said}");
    let python = Path::new(&generator).with_file_name("python");
    let photograph = format!("{ROOT}/demo/photographs/oxford-shirt-on-a-wall.jpg");
    let arguments = [&format!("{TOOLS}/client.py"), &format!("http://{address}"), &photograph];
    run(python, &arguments.map(String::as_str), &[("PYTHONPATH", &package)]).await;
}

/// Operations whose examples are refused, with the status: tokens that nobody gave, a shop that is not there, and a
/// draft that is ready, where only one that failed can be tried again.
const REFUSED: [(&str, u16); 4] =
    [("sign_in", 401), ("refresh_session", 401), ("suggest_source", 400), ("retry_draft", 409)];

/// An operation's request as the description shows it: path with query, and body.
fn example(document: &Value, path: &str, operation: &Value) -> Result<(String, Option<Value>), String> {
    let mut path = path.to_owned();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let shown = [&parameter["example"], &parameter["schema"]["examples"][0]].into_iter().find_map(Value::as_str);
        match (parameter["in"].as_str().unwrap(), shown) {
            ("path", Some(value)) => path = path.replace(&format!("{{{name}}}"), value),
            ("query", Some(value)) => {
                query.append_pair(name, value);
            }
            (_, None) if parameter["required"] == true => return Err(format!("no example of {name}")),
            _ => {}
        }
    }
    let query = query.finish();
    let path = if query.is_empty() { path } else { format!("{path}?{query}") };
    let content = &operation["requestBody"]["content"];
    let json = &content["application/json"];
    if json.is_object() && json["example"].is_null() {
        return Err("no example of the body".to_owned());
    }
    if content.is_object() && json.is_null() {
        let schema = &content["multipart/form-data"]["schema"];
        let reference = schema["$ref"].as_str().unwrap_or_default().trim_start_matches('#');
        let is_known = document.pointer(reference).is_some_and(|schema| schema["properties"].is_object());
        return if is_known { Ok((path, None)) } else { Err("no form".to_owned()) };
    }
    Ok((path, json.get("example").cloned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_described_and_its_example_works() {
    let document = openapi::document(true);
    let (service, address) = start();
    until("the examples are there", async || service.log().contains("pictures of the demo written")).await;
    let http = net::builder().no_proxy().timeout(LIMIT).build().unwrap();
    let mut faults = Vec::new();
    // Leases come before operations that need them. Operations that end or delete something come last, because other
    // examples refer to it.
    let mut operations: Vec<(&str, &str, &Value)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        operations.extend(
            item.as_object().unwrap().iter().map(|(method, operation)| (path.as_str(), method.as_str(), operation)),
        );
    }
    operations
        .sort_by_key(|(path, method, _)| (*method == "delete", path.ends_with("/complete"), !path.contains("/lease/")));
    for (path, method, operation) in operations {
        let name = operation["operationId"].as_str().unwrap();
        let (address_of, body) = match example(&document, path, operation) {
            Ok(example) => example,
            Err(fault) => {
                faults.push(format!("{method} {path}: {fault}"));
                continue;
            }
        };
        let is_described = operation["description"].as_str().is_some_and(|text| text.contains("For "));
        let is_upload = operation["requestBody"]["content"]["multipart/form-data"].is_object();
        if !is_described {
            faults.push(format!("{method} {path}: no description"));
        }
        if is_upload {
            continue; // An example cannot have a file; docs/api.md sends one.
        }
        let mut request = http.request(method.to_uppercase().parse().unwrap(), format!("http://{address}{address_of}"));
        if operation["security"].to_string().contains("serviceKey") {
            request = request.header("x-api-key", "example");
        }
        if path.ends_with("/seed") || path.contains("/scraper/run/") {
            request = request.header("prefer", "respond-async");
        }
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, status)| *status);
        let works = match refused {
            Some(expected) => status == expected,
            None => (200..300).contains(&status),
        };
        let is_documented = operation["responses"].get(status.to_string()).is_some();
        if !works || !is_documented {
            faults.push(format!("{method} {address_of}: {status} {text}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
