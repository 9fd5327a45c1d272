//! The wardrobe for other assistants, as the packages that they are made with use it, and the official conformance suite.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::service::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/mcp");
/// No program takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a program on a service with the demo wardrobe. It gets the service's URL, the binary, and the directory of the
/// service's data, on which it starts `pluckit mcp`.
async fn run(program: &str, arguments: &[&str]) {
    let launch = Launch::development(BINARY);
    let data = launch.value("PLUCKIT_DATA_DIR").unwrap();
    let weather = ["OPEN_METEO_GEOCODING_URL", "OPEN_METEO_FORECAST_URL"];
    let weather = weather.map(|setting| (setting, launch.value(setting).unwrap()));
    // Where no settings file lies.
    let directory = tempfile::tempdir().unwrap();
    let (_service, address) = launch.start();
    let output = Command::new(program)
        .args(arguments)
        .args([&format!("http://{address}"), BINARY, &data])
        .envs(weather)
        // Also in a container.
        .env("PLUCKIT_ALLOW_INSECURE_DEV", "1")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.expect("the program ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn both_generations_of_the_npm_package_use_it_over_http_and_pipes() {
    run("node", &[&format!("{SCRIPTS}/clients.mjs")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a package of its own, built by scripts/test"]
async fn the_official_rust_package_uses_it_over_http_and_pipes() {
    run(&format!("{SCRIPTS}/rmcp-client/target/debug/rmcp-client"), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn the_conformance_suite_is_content() {
    run("node", &[&format!("{SCRIPTS}/conformance.mjs")]).await;
}
