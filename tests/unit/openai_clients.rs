//! OpenAI's own clients against the real binary: answers, errors, and disconnecting.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::store::cosmos_backend::setting;
use crate::support::model::{Answer, ModelServer, Step, call, say, text};
use crate::support::service::{Launch, Service};

/// No client takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// A service that asks this model server, with limits, and a key for it.
fn start(model_url: &str, turns_per_minute: &str) -> (Service, String, String) {
    let launch = Launch::production(env!("CARGO_BIN_EXE_pluckit"))
        .setting("OPENAI_BASE_URL", model_url)
        .setting("RATE_LIMITS", "true")
        .setting("RATE_LIMIT_MODEL_PER_MINUTE", turns_per_minute);
    let (service, address) = launch.start();
    let made = launch.command().args(["token", "create", "A client", "--user", "ada"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    (service, format!("http://{address}/api/v1"), key)
}

/// Has a client try two services, and compares what it was given.
async fn is_satisfied(program: impl AsRef<OsStr>, script: &str) {
    let server = ModelServer::start().await;
    server.otherwise(|request| match (request.tool_results(), request.last_message()) {
        (0, "What do I own?") => Answer::from(call("a", "get_wardrobe_summary", "{}").usage(100, 10)),
        (_, "Go on for ever") => Answer::from(vec![text("one "), text("two "), Step::Stall]),
        _ => Answer::from(say(&["You own ", "a coat."]).usage(200, 20)),
    });
    let (_service, url, key) = start(&server.base_url(), "1000");
    let (_broken, broken_url, broken_key) = start("http://127.0.0.1:9/v1", "2");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements/tools").join(script);
    let mut command = Command::new(program);
    command.arg(script).args([&url, &key, &broken_url, &broken_key]).stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(LIMIT, command.output()).await.expect("the client ends").unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let given: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(given, expected());
    assert!(server.wait_for_closed_early(1, Duration::from_secs(1)).await.is_some(), "the model goes on");
}

fn expected() -> Value {
    let usage = json!({"prompt_tokens": 300, "completion_tokens": 30, "total_tokens": 330});
    let answer = "You own a coat.";
    let error = |kind: &str, status: Option<u16>, code: Option<&str>, param: Option<&str>, of: &str| json!({"kind": kind, "status": status, "code": code, "param": param, "type": of});
    let invalid = |kind, status, code, param| error(kind, Some(status), code, param, "invalid_request_error");
    json!({
        "models": ["pluckit-stylist"],
        "model": "pluckit",
        "whole": {"text": answer, "role": "assistant", "finish": "stop", "usage": usage},
        "streamed": {"text": answer, "finish": "stop", "usage": null},
        "counted": {"text": answer, "finish": "stop", "usage": usage},
        "tools": {"text": format!("[get_wardrobe_summary]\n\n{answer}"), "finish": "stop", "usage": null},
        "errors": {
            "n": invalid("BadRequestError", 400, Some("unsupported_value"), Some("n")),
            "tools": invalid("BadRequestError", 400, Some("unsupported_value"), Some("tools")),
            "model": invalid("NotFoundError", 404, Some("model_not_found"), Some("model")),
            "retrieve": invalid("NotFoundError", 404, Some("model_not_found"), Some("model")),
            "path": invalid("NotFoundError", 404, None, None),
            "key": invalid("AuthenticationError", 401, Some("invalid_api_key"), None),
            "type": invalid("UnprocessableEntityError", 422, None, Some("messages.0.content")),
            "large": {"status": 413, "code": null, "param": null, "type": "invalid_request_error"},
            "down": error("InternalServerError", Some(503), None, None, "server_error"),
            "amid": error("APIError", None, None, None, "server_error"),
            "limit": error("RateLimitError", Some(429), Some("rate_limit_exceeded"), None, "rate_limit_error"),
        },
        "left": "one two ",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenAI's clients: run scripts/test"]
async fn the_client_for_javascript_is_satisfied() {
    is_satisfied("node", "openai-client.mjs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenAI's clients: run scripts/test"]
async fn the_client_for_python_is_satisfied() {
    is_satisfied(setting("PLUCKIT_TEST_OPENAI_PYTHON"), "openai-client.py").await;
}
