//! The UI message stream of the AI SDK, as the SDK's own packages read it: in Node.js, and in a browser.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::model::{Answer, ModelServer, Received, Step, call, say, text};
use crate::support::service::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements/tools/ui");
/// No script takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What the model says to the messages of the scripts.
fn answer(request: &Received) -> Answer {
    let body = request.body["messages"].as_array().unwrap();
    let message = body.iter().rfind(|message| message["role"] == "user").unwrap()["content"].as_str().unwrap();
    let numbers: Vec<String> = (0..40).map(|n| format!("{n} ")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let asks = |words: &str| message.ends_with(words);
    if request.tool_results() > 0 {
        return say(&["Wear the ", "navy shirt."]).into();
    }
    if asks("unknown tool please") {
        return call("a", "format_disk", "{}").into();
    }
    if asks("tools please") {
        return say(&["Let me look."]).call("a", "get_wardrobe_summary", "{}").into();
    }
    if asks("slow please") {
        return say(&numbers).pause(Duration::from_millis(30)).into();
    }
    if asks("long please") {
        return say(&numbers).pause(Duration::from_millis(150)).into();
    }
    if asks("endless please") {
        let mut steps: Vec<Step> = numbers.iter().map(|number| text(number)).collect();
        steps.push(Step::Stall);
        return steps.into();
    }
    if asks("fail please") {
        return Answer::error(400, "bad", "no");
    }
    say(&["Hello."]).into()
}

async fn run_script(name: &str, arguments: &[&str]) {
    let model = ModelServer::start().await;
    model.otherwise(answer);
    let launch = Launch::development(BINARY).asking(&model.base_url()).setting("PLUCKIT_DEMO", "false");
    let (_service, address) = launch.start();
    let output = Command::new("node")
        .arg(format!("{SCRIPTS}/{name}"))
        .arg(format!("http://{address}"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, output).await.expect("the script ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn the_package_ai_reads_every_answer() {
    run_script("transport.mjs", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node.js and packages: run scripts/test"]
async fn a_page_with_use_chat_shows_answers_to_their_end() {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where")]
    let kept = std::env::var("PLUCKIT_TEST_SCREENSHOTS").ok();
    let directory = tempfile::tempdir().unwrap();
    let place = kept.unwrap_or_else(|| directory.path().display().to_string());
    run_script("browser.mjs", &[&place]).await;
}
