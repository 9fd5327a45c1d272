//! The documents: their examples run as printed against the real binary, and their tables say what the code says.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pluckit::app::openapi;
use pluckit::workers::FUNCTIONS;
use tempfile::TempDir;

use crate::support::service::Launch;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Path parameters that stand for more than one segment.
const REST_PARAMETERS: [&str; 2] = ["/{name}", "/{path}"];
/// Makes `curl` note the status, method and URL of each of its requests.
const RECORDING_CURL: &str = r#"
curl() {
    command curl --silent --show-error --max-time 300 --write-out '%{stderr}\n@@ %{http_code} %{method} %{url_effective}\n' \
        "$@" 2>>"$RECORD"
}
"#;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

/// The code blocks of a Markdown text that are shell commands.
fn shell_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```sh\n").skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

/// The settings of a block that starts a server: `NAME=value pluckit serve`.
fn server_settings(block: &str) -> Option<Vec<(String, String)>> {
    let assignments = block.trim().strip_suffix("pluckit serve")?;
    let setting = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    assignments.split_whitespace().map(setting).collect()
}

/// The statuses that the comments behind commands promise, in order.
fn promised(script: &str) -> Vec<u16> {
    let comments = script.lines().filter_map(|line| line.rsplit_once("# "));
    comments.filter_map(|(_, comment)| comment.trim().parse().ok()).collect()
}

/// An answer to a request of a script.
struct Answer {
    status: u16,
    method: String,
    path: String,
}

/// Runs a script against the server and returns what it was answered.
fn run(script: &str, server: SocketAddr) -> Vec<Answer> {
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink(Path::new(ROOT).join("demo"), directory.path().join("demo")).unwrap();
    let record = directory.path().join("record");
    let commands = script.replace("localhost:7071", &format!("localhost:{}", server.port()));
    let pluckit = format!("pluckit() {{ '{BINARY}' \"$@\"; }}");
    let done = Command::new("bash")
        .args(["-e", "-u", "-c", &format!("{RECORDING_CURL}\n{pluckit}\n{commands}")])
        .env("RECORD", &record)
        .current_dir(directory.path())
        .output()
        .expect("bash and curl are needed");
    let recorded = fs::read_to_string(&record).unwrap_or_default();
    assert!(done.status.success(), "{}\n{recorded}\n{commands}", String::from_utf8_lossy(&done.stderr));
    let lines = recorded.lines().filter_map(|line| line.strip_prefix("@@ "));
    let answer = |line: &str| {
        let (status, request) = line.split_once(' ')?;
        let (method, url) = request.split_once(' ')?;
        let path = url.split_once(&server.port().to_string())?.1.split('?').next()?;
        Some(Answer { status: status.parse().ok()?, method: method.to_owned(), path: path.to_owned() })
    };
    lines.map(|line| answer(line).unwrap()).collect()
}

/// Whether a path is one of those that an OpenAPI path such as `/api/moods/{mood_id}` stands for.
fn matches(template: &str, path: &str) -> bool {
    let takes_rest = REST_PARAMETERS.iter().any(|parameter| template.ends_with(parameter));
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    (template.len() == path.len() || takes_rest && template.len() < path.len())
        && template.iter().zip(&path).all(|(expected, got)| expected.starts_with('{') || expected == got)
}

#[test]
fn every_example_of_the_api_is_answered_as_printed() {
    let blocks = shell_blocks(&file("docs/api.md"));
    let mut definitions = String::new();
    let mut servers: Vec<(Vec<(String, String)>, String)> = Vec::new();
    for block in &blocks {
        match (server_settings(block), servers.last_mut()) {
            (Some(settings), _) => servers.push((settings, definitions.clone())),
            (None, Some((_, script))) => *script += &format!("{block}\n"),
            (None, None) => definitions += &format!("{block}\n"),
        }
    }
    let mut answers = Vec::new();
    for (settings, script) in servers {
        let launch = Launch::development(BINARY).setting("RATE_LIMITS", "true");
        let launch = settings.iter().fold(launch, |launch, (name, value)| launch.setting(name, value));
        let (_service, address) = launch.start();
        let got = run(&script, address);
        let statuses: Vec<_> = got.iter().map(|answer| answer.status).collect();
        let requests: Vec<_> = got.iter().map(|it| format!("{} {} {}", it.status, it.method, it.path)).collect();
        assert_eq!(statuses, promised(&script), "{requests:#?}");
        answers.extend(got);
    }
    let document = openapi::document(true);
    let mut missing = Vec::new();
    for (template, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let is_shown =
                |answer: &Answer| answer.method.eq_ignore_ascii_case(method) && matches(template, &answer.path);
            if !answers.iter().any(is_shown) {
                missing.push(format!("{method} {template}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/api.md has no example of {missing:?}");
}

#[test]
fn the_examples_of_the_readme_succeed() {
    let readme = file("README.md");
    let section = readme.split_once("\n## Call\n").unwrap().1.split("\n## ").next().unwrap();
    let (_service, address) = Launch::development(BINARY).start();
    let answers = run(&shell_blocks(section).concat(), address);
    assert_eq!(answers.len(), 3);
    for Answer { status, method, path } in answers {
        assert!((200..300).contains(&status), "{status} {method} {path}");
    }
}

#[test]
fn the_table_of_functions_has_every_function() {
    let operations = file("docs/operations.md");
    let section = operations.split_once("\n### Functions\n").unwrap().1.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<_> = rows.collect();
    let functions: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(listed, functions);
}
