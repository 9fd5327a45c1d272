//! `pluckit health`: checks that a running service answers, for scripts and container health checks.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::block_on;
use super::client::{Service, foreign, parse_url, read};
use super::output::say;
use crate::config::read_port;

/// Flags of `health`.
#[derive(Args)]
pub struct Arguments {
    /// URL of the service [default: http://127.0.0.1 with the setting PORT]
    #[arg(long, value_parser = parse_url)]
    url: Option<Url>,
    /// Check that documents, blobs, queue and model answer, too
    #[arg(long)]
    ready: bool,
    /// Time limit for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

#[derive(Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    checks: Map<String, Value>,
}

/// Queries the service and prints its answer. The exit code is 0 if it is healthy.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://127.0.0.1:{}", read_port()?)).context("the port is not valid in a URL")?,
    };
    let service = Service::new(url, None)?;
    let limit = Duration::from_secs(arguments.timeout);
    let (is_well, health) = block_on(async {
        tokio::time::timeout(limit, ask(&service, arguments.ready))
            .await
            .with_context(|| format!("no answer from {} within {} s", service.address(), limit.as_secs()))?
    })?;
    let failing = health.checks.iter().filter(|(_, state)| *state == "failing").map(|(name, _)| name.as_str());
    let failing: Vec<&str> = failing.collect();
    let reason = if failing.is_empty() { String::new() } else { format!(": {} failing", failing.join(", ")) };
    say(&format!("{}{reason}", health.status))?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(service: &Service, ready: bool) -> anyhow::Result<(bool, Health)> {
    let path = if ready { "/api/health/ready" } else { "/api/health" };
    let response = service.try_send(service.request(Method::GET, path)).await?;
    let status = response.status();
    // A service that is not ready says so in the same form.
    if status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE && ready {
        return Ok((status.is_success(), read(response).await?));
    }
    anyhow::bail!("{} ({})", foreign(service.address()), status.as_u16())
}
