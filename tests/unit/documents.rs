//! The documents: their examples run as printed against the real binary, and their tables match the code.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use pluckit::app::openapi;
use pluckit::workers::FUNCTIONS;
use tempfile::TempDir;

use crate::support::service::Launch;
use crate::terminal::dead_letters;

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

/// Requirements of shell blocks that tests lack, written after `sh` in the first line of a block.
const NOT_RUN: [&str; 4] = ["azure", "build", "docker", "systemd"];

/// The code blocks of a Markdown text that are shell commands and need nothing special. They may be indented.
fn shell_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(needs) = line.trim_start().strip_prefix("```sh") else { continue };
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        let block: Vec<&str> = block.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
        match needs.trim() {
            "" => blocks.push(block.join("\n")),
            needs => assert!(NOT_RUN.contains(&needs), "{line}"),
        }
    }
    blocks
}

/// The settings of a block that starts a server: `NAME=value pluckit serve`.
fn server_settings(block: &str) -> Option<Vec<(String, String)>> {
    let assignments = block.trim().strip_suffix("pluckit serve")?;
    let assignments = assignments.strip_suffix("target/release/").unwrap_or(assignments).replace("\\\n", " ");
    let setting = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.replace('"', "")));
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

/// Runs `pluckit` as an operator would: commands that call a service call the one of this test, and `ID` stands for
/// what there is to name: a job that has ended, one whose site no name server knows, so that it waits, a token, a dead
/// letter.
const OPERATING: &str = r#"
pluckit() {
    local id
    case "$1 ${2-}" in
        "jobs terminate") id=$waiting ;;
        "jobs "*) id=$job ;;
        "token "*) id=$key ;;
        *) id=$letter ;;
    esac
    case "$1" in
        chat | jobs | dead-letters | health)
            case "$*" in *--url*) ;; *) set -- "$@" --url "http://localhost:7071" ;; esac ;;
    esac
    local argument arguments=()
    for argument; do
        if [[ $argument == ID ]]; then argument=$id; fi
        arguments+=("$argument")
    done
    command pluckit "${arguments[@]}"
}
curl() { command curl --silent --show-error --fail --max-time 300 "$@"; }
jq() { grep --quiet . && echo "$1"; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
job=$(curl -X POST localhost:7071/api/digest/run -H 'Prefer: respond-async' | field id)
waiting=$(curl -X POST localhost:7071/api/scraper/run/brand-example-atelier -H 'Prefer: respond-async' | field id)
command pluckit token create Other 2>told >token.txt
key=$(cut -d ' ' -f 2 told)
"#;

/// Creates the files that the documents' commands read, in their working directory.
fn lay_files(place: &Path) {
    let write = |name: &str, text: &str| fs::write(place.join(name), text).unwrap();
    write("wardrobe.csv", "id,category,brand\ncoat-1,outerwear,COS\n");
    write("items.json", r#"[{"id": "coat-2", "category": "outerwear"}]"#);
    write("profile.json", r#"{"currencyCode": "EUR"}"#);
    write("wears.jsonl", "{\"id\": \"w\", \"itemId\": \"coat-2\", \"occurredAt\": \"2026-03-02\"}\n");
    write("export.json", r#"[{"id": "coat-3", "category": "outerwear"}]"#);
    fs::create_dir_all(place.join("photos")).unwrap();
    fs::create_dir_all(place.join("client")).unwrap();
    write("client/index.html", "<!doctype html><title>Client</title>");
    for (from, to) in [("plain.heic", "coat.heic"), ("shirt.jpg", "photos/a.jpg"), ("grey.jpg", "photos/b.jpg")] {
        fs::copy(Path::new(ROOT).join("tests/data").join(from), place.join(to)).unwrap();
    }
    std::os::unix::fs::symlink(Path::new(ROOT).join("demo"), place.join("demo")).unwrap();
    fs::create_dir_all(place.join("bin")).unwrap();
    std::os::unix::fs::symlink(BINARY, place.join("bin/pluckit")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_documents_runs() {
    for document in ["README.md", "docs/cli.md", "docs/operations.md"] {
        let place = TempDir::new().unwrap();
        lay_files(place.path());
        let launch = Launch::development(BINARY).setting("ADMIN_USER_IDS", "local-dev-user");
        let letter = dead_letters(&launch, 1).await.remove(0);
        let (_service, address) = launch.start();
        let mut script = String::new();
        for block in shell_blocks(&file(document)) {
            let Some(settings) = server_settings(&block) else {
                script += &format!("{block}\n");
                continue;
            };
            let set = |launch: Launch, (name, value): (String, String)| match name.as_str() {
                "WEB_ROOT" => launch.setting(&name, &place.path().join("client").display().to_string()),
                _ => launch.setting(&name, &value),
            };
            // Only checks that it listens.
            settings.into_iter().fold(Launch::development(BINARY), set).start();
        }
        let here = format!("localhost:{}", address.port());
        let script = format!("letter={letter}\n{OPERATING}\n{script}")
            .replace("https://pluckit.example", &format!("http://{here}"));
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", place.path().join("bin").display());
        let data = launch.store_file().parent().unwrap().display().to_string();
        let done = Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", &script.replace("localhost:7071", &here)])
            .env_clear()
            .envs([
                ("PATH", path.as_str()),
                ("PLUCKIT_DATA_DIR", data.as_str()),
                ("HOME", place.path().to_str().unwrap()),
            ])
            .stdin(Stdio::null())
            .current_dir(place.path())
            .output()
            .expect("bash and curl are needed");
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{document}: {said}\n{script}");
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
