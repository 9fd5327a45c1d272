//! Uses a running service with the official Rust SDK, as assistants of both eras do, over HTTP and over pipes.
//! `rmcp-client URL BINARY DATA_DIRECTORY`

use std::process::Stdio;

use anyhow::{Context, ensure};
use rmcp::model::{CallToolRequestParams, GetPromptRequestParams, ProtocolVersion, ReadResourceRequestParams};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::process::Command;

type Client = RunningService<RoleClient, ()>;

fn eras() -> [(&'static str, ClientLifecycleMode); 2] {
    let newer = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    [("initialize", ClientLifecycleMode::Initialize), ("2026-07-28", newer)]
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> anyhow::Result<Value> {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    ensure!(result.is_error != Some(true), "{tool}: {:?}", result.content);
    result.structured_content.context("a structured result")
}

async fn try_out(client: Client, name: &str) -> anyhow::Result<()> {
    let tools = client.list_all_tools().await?;
    ensure!(tools.len() == 16 && tools.iter().all(|tool| tool.output_schema.is_some()), "{} tools", tools.len());
    let found = call(&client, "search_wardrobe", json!({ "query": "" })).await?;
    let id = found["items"][0]["id"].as_str().context("an item")?.to_owned();
    let wear = json!({ "item_id": id, "idempotency_key": format!("rmcp {name} {}", std::process::id()) });
    let counted = [call(&client, "log_wear", wear.clone()).await?, call(&client, "log_wear", wear).await?];
    ensure!(counted[0]["counted"] == true && counted[1]["counted"] == false, "{counted:?}");
    let resources = client.list_all_resources().await?;
    let picture = resources.iter().find(|resource| resource.uri.ends_with("/picture")).context("a picture")?;
    for uri in [format!("wardrobe://items/{id}"), picture.uri.clone()] {
        ensure!(client.read_resource(ReadResourceRequestParams::new(uri)).await?.contents.len() == 1);
    }
    ensure!(client.read_resource(ReadResourceRequestParams::new("wardrobe://items/none")).await.is_err());
    ensure!(client.list_all_prompts().await?.len() == 2);
    let prompt = client.get_prompt(GetPromptRequestParams::new("outfit_for_today")).await?;
    ensure!(prompt.messages.len() == 1);
    client.cancel().await?;
    println!("rmcp {name}: good");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, binary, directory] = &arguments[..] else { anyhow::bail!("rmcp-client URL BINARY DATA_DIRECTORY") };
    for (era, mode) in eras() {
        let config = StreamableHttpClientTransportConfig::with_uri(format!("{url}/api/mcp"));
        let transport = StreamableHttpClientTransport::with_client(reqwest::Client::new(), config);
        try_out(().serve_with_lifecycle(transport, mode).await?, &format!("over HTTP, {era}")).await?;
    }
    for (era, mode) in eras() {
        let mut child = Command::new(binary);
        child.args(["mcp", "--data-dir", directory]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = child.spawn()?;
        let pipes = (child.stdout.take().context("a pipe")?, child.stdin.take().context("a pipe")?);
        try_out(().serve_with_lifecycle(pipes, mode).await?, &format!("over pipes, {era}")).await?;
    }
    Ok(())
}
