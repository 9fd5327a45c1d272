//! The wardrobe in other assistants: tests with the official client packages and the conformance suite.

use std::process::Stdio;
use std::time::Duration;

use pluckit::net;
use rmcp::model::{CallToolRequestParams, GetPromptRequestParams, ProtocolVersion, ReadResourceRequestParams};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::service::{Launch, Service};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/mcp");
/// No program takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// A service with the demo wardrobe.
struct Wardrobe {
    _service: Service,
    url: String,
    data: String,
    /// Services for weather that answer here, for `pluckit mcp`.
    weather: [(&'static str, String); 2],
    /// Where no settings file lies.
    directory: tempfile::TempDir,
}

impl Wardrobe {
    fn start() -> Self {
        let launch = Launch::development(BINARY);
        let data = launch.value("PLUCKIT_DATA_DIR").unwrap();
        let weather = ["OPEN_METEO_GEOCODING_URL", "OPEN_METEO_FORECAST_URL"];
        let weather = weather.map(|setting| (setting, launch.value(setting).unwrap()));
        let (service, address) = launch.start();
        let directory = tempfile::tempdir().unwrap();
        Self { _service: service, url: format!("http://{address}"), data, weather, directory }
    }

    /// Returns a program with what it needs to run `pluckit mcp` on the data of this service.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // The second setting is for containers.
        command.envs(self.weather.clone()).env("PLUCKIT_ALLOW_INSECURE_DEV", "1");
        command.current_dir(self.directory.path()).kill_on_drop(true);
        command
    }
}

/// Runs a script on a service. It gets the service's URL, the binary, and the directory of the service's data, on which
/// it starts `pluckit mcp`.
async fn run(script: &str) {
    let wardrobe = Wardrobe::start();
    let output = wardrobe
        .command("node")
        .args([&format!("{SCRIPTS}/{script}"), &wardrobe.url, BINARY, &wardrobe.data])
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.expect("the script ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

type Client = RunningService<RoleClient, ()>;

/// How clients begin: those before and those since the version 2026-07-28.
fn beginnings() -> [ClientLifecycleMode; 2] {
    let newer = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    [ClientLifecycleMode::Initialize, newer]
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Value {
    let arguments = arguments.as_object().cloned().unwrap();
    let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap();
    assert_ne!(result.is_error, Some(true), "{tool}: {:?}", result.content);
    result.structured_content.unwrap()
}

/// Uses tools, resources and prompts. `key` names a wear.
async fn try_out(client: Client, key: &str) {
    let tools = client.list_all_tools().await.unwrap();
    assert_eq!(tools.len(), 16);
    assert!(tools.iter().all(|tool| tool.output_schema.is_some()));
    let found = call(&client, "search_wardrobe", json!({ "query": "" })).await;
    let id = found["items"][0]["id"].as_str().unwrap().to_owned();
    let wear = json!({ "item_id": id, "idempotency_key": key });
    assert_eq!(call(&client, "log_wear", wear.clone()).await["counted"], true);
    assert_eq!(call(&client, "log_wear", wear).await["counted"], false);
    let resources = client.list_all_resources().await.unwrap();
    let picture = resources.iter().find(|resource| resource.uri.ends_with("/picture")).unwrap();
    for uri in [format!("wardrobe://items/{id}"), picture.uri.clone()] {
        let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        assert_eq!(read.contents.len(), 1);
    }
    assert!(client.read_resource(ReadResourceRequestParams::new("wardrobe://items/none")).await.is_err());
    assert_eq!(client.list_all_prompts().await.unwrap().len(), 2);
    let prompt = client.get_prompt(GetPromptRequestParams::new("outfit_for_today")).await.unwrap();
    assert_eq!(prompt.messages.len(), 1);
    client.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn both_generations_of_the_npm_package_use_it_over_http_and_pipes() {
    run("clients.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_rust_package_uses_it_over_http() {
    let wardrobe = Wardrobe::start();
    for (index, beginning) in beginnings().into_iter().enumerate() {
        let config = StreamableHttpClientTransportConfig::with_uri(format!("{}/api/mcp", wardrobe.url));
        let http = net::builder().no_proxy().build().unwrap();
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let client = ().serve_with_lifecycle(transport, beginning).await.unwrap();
        let key = format!("over HTTP {index}");
        tokio::time::timeout(LIMIT, try_out(client, &key)).await.expect("the service answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_rust_package_uses_it_over_pipes() {
    let wardrobe = Wardrobe::start();
    for (index, beginning) in beginnings().into_iter().enumerate() {
        let mut child = wardrobe.command(BINARY);
        child.args(["mcp", "--data-dir", &wardrobe.data]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let client = ().serve_with_lifecycle(pipes, beginning).await.unwrap();
        let key = format!("over pipes {index}");
        tokio::time::timeout(LIMIT, try_out(client, &key)).await.expect("the service answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn the_conformance_suite_is_content() {
    run("conformance.mjs").await;
}
