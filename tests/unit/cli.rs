//! The binary from outside: command lines, output and exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pluckit::store::Container;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::Date;
use time::macros::format_description;
use uuid::Uuid;

use crate::store::cosmos_backend::setting;
use crate::support::service::{bare, signal};

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(60);

/// A working directory with an empty environment.
struct Place(TempDir);

/// What a command did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(env!("CARGO_BIN_EXE_pluckit"), self.0.path());
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with_input(arguments, "")
    }

    fn run_with_input(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Done {
        finish(self.command(arguments), input)
    }

    /// The rows that `export` writes as JSON lines.
    fn rows(&self, data: &str, kind: &str) -> Vec<Value> {
        let done = self.run(&["export", "--data-dir", data, "--kind", kind, "--format", "jsonl"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs a command to its end.
fn finish(mut command: Command, input: impl AsRef<[u8]>) -> Done {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_owned();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // A command that does not read its input may be gone before it is written.
        drop(stdin.write_all(&input));
        drop(stdin);
        drop(sender.send(child.wait_with_output()));
    });
    let output = receiver.recv_timeout(LIMIT).expect("the command ends").unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running service.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    /// Starts the service on a free port and waits until it listens.
    fn start(place: &Place, flags: &[&str]) -> Self {
        let mut command = place.command(&["serve", "--port", "0"]);
        // Nothing listens there, so that tests do not contact the real weather service.
        command
            .args(flags)
            .env("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:9")
            .env("OPEN_METEO_FORECAST_URL", "http://127.0.0.1:9");
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(process.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).expect("the log is JSON lines");
                if let (Some("listening"), Some(address)) = (line["message"].as_str(), line["address"].as_str()) {
                    drop(sender.send(address.to_owned()));
                }
            }
        });
        let mut service = Self { process, url: String::new() };
        service.url = format!("http://{}", receiver.recv_timeout(LIMIT).expect("the service listens"));
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Answers one request after another, each with its answer as it is, and hands over what was asked.
fn answer_each(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // Small requests: the body ends with the object that it is.
            while !request.ends_with(b"}") {
                let length = stream.read(&mut buffer).unwrap();
                assert_ne!(length, 0, "the request ends with its body");
                request.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            drop(sender.send(String::from_utf8(request).unwrap()));
        }
    });
    (url, receiver)
}

fn answer_once(answer: &str) -> (String, mpsc::Receiver<String>) {
    answer_each(vec![answer.to_owned()])
}

/// The body of the next request.
fn body(asked: &mpsc::Receiver<String>) -> Value {
    let request = asked.recv_timeout(LIMIT).unwrap();
    let mut body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let fields = body.as_object_mut().unwrap();
    assert_eq!(fields.remove("onDisconnect"), Some(json!("continue")));
    assert!(fields.remove("chatId").is_some());
    body
}

fn events(events: &[Value]) -> String {
    let blocks: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{blocks}")
}

const ITEMS: &str = r##"[
  {"id": "coat", "category": "outerwear", "price": {"amount": 120.5, "originalCurrency": "EUR"}, "colours": [{"name": "navy", "hex": "#1f2a44"}]},
  {"id": "hat", "category": "accessories", "tags": ["wool"], "apiField": {"kept": true}},
  {"brand": "COS"}
]"##;

#[test]
fn importing_twice_changes_nothing() {
    let place = Place::new();
    place.write("items.json", ITEMS);
    let import = ["import", "items.json", "--data-dir", "store"];
    let first = place.run(&import);
    assert_eq!(
        (first.code, first.out.as_str()),
        (Some(0), "3 created, 0 updated, 0 unchanged, 0 rejected\n"),
        "{first:?}"
    );
    let second = place.run(&import);
    assert_eq!((second.code, second.out.as_str()), (Some(0), "0 created, 0 updated, 3 unchanged, 0 rejected\n"));
    assert_eq!((first.error.as_str(), second.error.as_str()), ("", ""));
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let import = ["import", "-", "--dry-run", "--data-dir", "store"];
    let done = place.run_with_input(&import, ITEMS);
    let expected = "3 created, 0 updated, 0 unchanged, 0 rejected (dry run: nothing was written)\n";
    assert_eq!((done.code, done.out.as_str()), (Some(0), expected), "{done:?}");
    assert!(!place.0.path().join("store").exists());
}

#[test]
fn bad_rows_are_named_and_good_ones_kept() {
    let place = Place::new();
    place.write("a.jsonl", "{\"id\":\"a\",\"brand\":\"x\"}\n{\"id\":\"b\",\"price\":\"free\"}\n{\"id\":\n");
    place.write("b.csv", "id,category,price\nc,tops,-2\nd,tops,3\n");
    let done = place.run(&["import", "a.jsonl", "b.csv", "--data-dir", "store"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), "2 created, 0 updated, 0 unchanged, 3 rejected\n"));
    assert_eq!(
        done.error.lines().collect::<Vec<_>>(),
        [
            "a.jsonl:2: price is \"free\": expected a number",
            "a.jsonl:3: not JSON: EOF while parsing a value",
            "b.csv:2: price is -2: expected a number, not negative",
        ]
    );
    let ids: Vec<_> = place.rows("store", "wardrobe").iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["a", "d"]);
}

#[test]
fn a_missing_file_stops_all() {
    let place = Place::new();
    place.write("items.json", ITEMS);
    let done = place.run(&["import", "items.json", "none.json", "--data-dir", "store"]);
    assert_eq!(done.code, Some(1));
    assert!(done.error.starts_with("pluckit: none.json cannot be read: "), "{done:?}");
    assert!(!place.0.path().join("store").exists());
}

#[test]
fn rows_of_another_user_need_an_explicit_user() {
    let place = Place::new();
    let row = r#"{"id":"a","userId":"bob","brand":"x"}"#;
    let refused = place.run_with_input(&["import", "-", "--data-dir", "store"], row);
    assert_eq!(refused.code, Some(1));
    assert!(refused.error.starts_with("-:1: it belongs to another user"), "{refused:?}");
    let taken = place.run_with_input(&["import", "-", "--user", "eve", "--data-dir", "store"], row);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let exported = place.run(&["export", "--user", "eve", "--format", "jsonl", "--data-dir", "store"]);
    let exported: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(exported, json!({ "id": "a", "userId": "eve", "brand": "x" }));
    assert_eq!(place.run(&["import", "-", "--user", "a/b"]).code, Some(2));
}

#[test]
fn the_demo_goes_round_in_every_format_while_the_service_runs() {
    let place = Place::new();
    let _service = Service::start(&place, &["--data-dir", "demo"]);
    for file in ["all.json", "all.jsonl", "items.csv"] {
        let left = place.write(&format!("{file}.4194305.part"), "[");
        let exported = place.run(&["export", "--data-dir", "demo", "--output", file]);
        assert_eq!((exported.code, exported.out.as_str()), (Some(0), ""), "{exported:?}");
        assert!(!left.exists(), "what a killed export left behind");
        let imported = place.run(&["import", file, "--data-dir", file.split('.').next_back().unwrap()]);
        assert_eq!((imported.code, imported.error.as_str()), (Some(0), ""), "{imported:?}");
        let again = place.run(&["import", file, "--data-dir", "demo"]);
        assert!(again.out.starts_with("0 created, 0 updated, ") && again.code == Some(0), "{again:?}");
    }
    for kind in ["wardrobe", "profile", "wear-events"] {
        let rows = place.rows("demo", kind);
        assert!(!rows.is_empty(), "the demo has a {kind}");
        assert_eq!(place.rows("json", kind), rows);
        assert_eq!(place.rows("jsonl", kind), rows);
    }
    let mut items = place.rows("demo", "wardrobe");
    for item in &mut items {
        // Tables have no columns for these.
        for name in ["wearEvents", "cutout", "draftCreatedAt", "draftUpdatedAt"] {
            item.as_object_mut().unwrap().remove(name);
        }
    }
    assert_eq!(place.rows("csv", "wardrobe"), items);
    let left_behind = fs::read_dir(place.0.path())
        .unwrap()
        .any(|file| file.unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert!(!left_behind);
}

#[test]
fn secrets_are_masked_and_sources_named() {
    let place = Place::new();
    let file = json!({ "Values": { "PORT": "1111", "ADMIN_USER_IDS": "ada", "OPENAI_MODEL": "m" } });
    place.write("local.settings.json", &file.to_string());
    let mut command = place.command(&["config", "--json"]);
    command.env("PORT", "2222").env("AZURE_OPENAI_API_KEY", "sesame").env("AZURE_OPENAI_ENDPOINT", "https://a.example");
    let done = finish(command, "");
    assert!(!done.out.contains("sesame") && done.code == Some(0), "{done:?}");
    let settings: Vec<Value> = serde_json::from_str(&done.out).unwrap();
    let shown = |name: &str| {
        let setting = settings.iter().find(|setting| setting["name"] == name).unwrap();
        [&setting["value"], &setting["source"], &setting["note"]].map(|part| part.as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(shown("PORT"), ["2222", "environment", "overrides local.settings.json"]);
    assert_eq!(shown("ADMIN_USER_IDS"), ["ada", "local.settings.json", "-"]);
    assert_eq!(shown("AZURE_OPENAI_API_KEY"), ["********", "environment", "-"]);
    assert_eq!(shown("OPENAI_MODEL"), ["m", "local.settings.json", "without effect: AZURE_OPENAI_ENDPOINT is set"]);
    let table = place.run(&["config"]).out;
    assert!(table.lines().any(|line| line.starts_with("PORT ") && line.ends_with("local.settings.json")), "{table}");
}

#[test]
fn a_wrong_setting_is_one_line_and_an_exit_code() {
    let place = Place::new();
    for (name, value) in [("PORT", "abc"), ("COSMOS_DB_ENDPOINT", "nowhere"), ("PLUCKIT_DEMO", "perhaps")] {
        for arguments in [["config"].as_slice(), &["serve"], &["export"], &["storage", "init"]] {
            let mut command = place.command(arguments);
            command.env(name, value);
            let done = finish(command, "");
            assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{done:?}");
            assert_eq!(done.error.lines().count(), 1, "{done:?}");
            assert!(done.error.starts_with(&format!("pluckit: {name} is {value:?}: expected ")), "{done:?}");
        }
    }
}

#[test]
fn storage_is_prepared_once_and_can_be_prepared_again() {
    let place = Place::new();
    let init = ["storage", "init", "--data-dir", "store"];
    for state in ["created ", "existed "] {
        let done = place.run(&init);
        let lines: Vec<_> = done.out.lines().collect();
        assert_eq!((done.code, lines.len()), (Some(0), 3), "{done:?}");
        assert!(lines[0].starts_with(state) && lines[0].ends_with("embedded store store/pluckit.db"), "{done:?}");
        assert!(lines[1].starts_with("embedded        queues in "), "{done:?}");
        assert!(lines[2].starts_with("embedded        blobs in "), "{done:?}");
    }
}

#[test]
fn tokens_are_made_listed_and_ended_and_a_running_service_takes_them() {
    let place = Place::new();
    let service = Service::start(&place, &["--data-dir", "store"]);
    let token =
        |arguments: &[&str]| place.run(&[&["token", "--data-dir", "store", "--user", "ada"], arguments].concat());
    let made = token(&["create", "  An   editor ", "--expires-in-days", "7", "--scope", "wardrobe:read"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.out.trim();
    assert!(secret.starts_with("pat-") && secret.len() == 70 && made.out.lines().count() == 1, "{made:?}");
    assert!(made.error.starts_with("token ") && made.error.contains(" of ada expires at "), "{made:?}");
    let id = made.error.split(' ').nth(1).unwrap();
    let listed = token(&["list"]);
    assert!(listed.out.starts_with(id) && listed.out.contains("never used"), "{listed:?}");
    assert!(listed.out.ends_with("  wardrobe:read  An editor\n") && listed.out.lines().count() == 1, "{listed:?}");
    // In development every local caller is the development user, unless the request comes through a proxy.
    let ask = || {
        let mut curl = Command::new("curl");
        let bearer = format!("authorization: Bearer {secret}");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "x-forwarded-for: 192.0.2.1", "-H", &bearer]);
        curl.arg(format!("{}/api/chat/memory", service.url));
        curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(curl, "").out
    };
    assert_eq!(ask(), "200");
    assert!(!token(&["list"]).out.contains("never used"));
    let ended = token(&["delete", id]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    let again = token(&["delete", id]);
    assert_eq!((again.code, again.error), (Some(1), format!("pluckit: ada has no token {id}\n")));
    assert_eq!(token(&["list"]).out, "");
    for wrong in
        [&["create", " "][..], &["create", "x", "--expires-in-days", "366"], &["create", "x", "--scope", "all"]]
    {
        assert_eq!(token(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn completions_and_manual_pages_are_made_from_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = place.run(&["completions", shell]);
        assert_eq!((done.code, done.error.as_str()), (Some(0), ""), "{done:?}");
        assert!(done.out.contains("process-image") && done.out.contains("token-file"), "{shell}: {}", done.out);
    }
    let script = place.write("pluckit.bash", &place.run(&["completions", "bash"]).out);
    let words = "COMP_WORDS=(pluckit tok); COMP_CWORD=1; _pluckit pluckit tok pluckit; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("source {}; {words}", script.display())]);
    bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(finish(bash, "").out, "token\n");
    assert_eq!(place.run(&["completions", "tcsh"]).code, Some(2));

    let done = place.run(&["man", "--out", "share/man1"]);
    assert_eq!((done.code, done.out.as_str(), done.error.as_str()), (Some(0), "", ""), "{done:?}");
    for page in ["pluckit.1", "pluckit-chat.1", "pluckit-jobs-tail.1", "pluckit-token-create.1"] {
        let page = fs::read_to_string(place.0.path().join("share/man1").join(page)).unwrap();
        assert!(page.contains(".SH NAME") && page.contains("Examples:"), "{page}");
    }
    let file = place.write("file", "");
    let done = place.run(&["man", "--out", file.to_str().unwrap()]);
    assert_eq!((done.code, done.error.lines().count()), (Some(1), 1), "{done:?}");
}

#[test]
fn storage_init_continues_after_a_part_that_fails() {
    let place = Place::new();
    let mut command = place.command(&["storage", "init", "--data-dir", "store"]);
    command.env("StorageQueue", "AccountName=a;AccountKey=not base64;QueueEndpoint=http://127.0.0.1:9/a");
    let done = finish(command, "");
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.error.starts_with("pluckit: queues: ") && done.error.lines().count() == 1, "{done:?}");
    assert!(done.out.contains("embedded store") && done.out.contains("blobs in "), "{done:?}");
}

#[test]
#[ignore = "needs the emulators: run scripts/test"]
fn accounts_are_prepared_and_take_an_import() {
    let place = Place::new();
    let name = format!("test-{}", Uuid::new_v4());
    let run = |arguments: &[&str], input: &str| {
        let mut command = place.command(arguments);
        command
            .env("COSMOS_DB_ENDPOINT", setting("PLUCKIT_TEST_COSMOS_ENDPOINT"))
            .env("COSMOS_DB_KEY", setting("PLUCKIT_TEST_COSMOS_KEY"))
            .env("AzureWebJobsStorage", setting("PLUCKIT_TEST_STORAGE"))
            .envs(
                ["COSMOS_DB_DATABASE", "ARCHIVE_CONTAINER_NAME", "TASTE_JOB_QUEUE_NAME"]
                    .map(|variable| (variable, &name)),
            )
            .env("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", format!("{name}-poison"))
            .envs(
                [
                    ("DIGEST_BATCH_QUEUE_NAME", "d"),
                    ("MOOD_CHUNK_QUEUE_NAME", "m"),
                    ("SCRAPE_QUEUE_NAME", "s"),
                    ("LONG_OPERATION_QUEUE_NAME", "l"),
                    ("JOBS_CONTAINER_NAME", "j"),
                    ("IMAGE_JOB_QUEUE_NAME", "i"),
                    ("UPLOADS_CONTAINER_NAME", "u"),
                ]
                .map(|(variable, suffix)| (variable, format!("{name}-{suffix}"))),
            );
        finish(command, input)
    };
    for state in ["created ", "existed "] {
        let done = run(&["storage", "init"], "");
        assert_eq!(done.code, Some(0), "{done:?}");
        // A database and its containers, six queues with a poison queue each, and three blob containers.
        let expected = 1 + Container::ALL.len() + 12 + 3;
        assert_eq!(done.out.lines().filter(|line| line.starts_with(state)).count(), expected, "{done:?}");
    }
    let first = run(&["import", "-"], ITEMS);
    assert_eq!(
        (first.code, first.out.as_str()),
        (Some(0), "3 created, 0 updated, 0 unchanged, 0 rejected\n"),
        "{first:?}"
    );
    let exported = run(&["export"], "");
    let again = run(&["import", "-"], &exported.out);
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "0 created, 0 updated, 3 unchanged, 0 rejected\n"),
        "{again:?}"
    );
}

#[test]
fn a_message_is_answered_with_things_from_the_demo() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let done = place.run(&["chat", "--url", &service.url, "What should I wear to a casual dinner?"]);
    assert_eq!((done.code, done.error.as_str()), (Some(0), ""), "{done:?}");
    let result =
        done.out.lines().find(|line| line.starts_with("[Putting an outfit together, ") && line.ends_with(" ms]"));
    assert!(result.is_some(), "{done:?}");
    let answer = done.out.lines().last().unwrap_or_default();
    assert!(!answer.starts_with('['), "the tools come first, the answer last: {done:?}");
    assert!(!done.out.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn lines_are_a_conversation() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let input = "What is in my wardrobe?\n\n/memory\n/clear\nAnd what did I wear last?\n/quit\nNot said any more.\n";
    let done = place.run_with_input(&["chat", "--url", &format!("{}/", service.url)], input);
    assert_eq!((done.code, done.error.as_str()), (Some(0), ""), "{done:?}");
    assert!(done.out.contains("Nothing is remembered yet.\n"), "{done:?}");
    assert!(done.out.contains("[Counting your wardrobe, "), "{done:?}");
}

#[test]
fn an_error_event_fails_the_turn_but_shows_what_was_said() {
    let place = Place::new();
    let (url, asked) = answer_once(&events(&[
        json!({ "type": "token", "content": "Let me" }),
        json!({ "type": "error", "content": "Something went wrong. Please try again." }),
        json!({ "type": "memory_update", "updated": false }),
        json!({ "type": "done", "model": "m", "tokenCount": 1, "runId": "r" }),
    ]));
    place.write("token", "at-secret\n");
    place.write("empty", "\u{feff}\n");
    let done = place.run(&["chat", "--url", &url, "--token-file", "empty", "Hello"]);
    assert_eq!((done.code, done.error.as_str()), (Some(1), "pluckit: empty has no token in it\n"));
    let done = place.run(&["chat", "--url", &url, "--token-file", "token", "Hello"]);
    assert_eq!((done.code, done.error.as_str()), (Some(1), ""), "{done:?}");
    assert_eq!(done.out, "Let me\n! Something went wrong. Please try again.\n");
    let asked = asked.recv_timeout(LIMIT).unwrap();
    assert!(asked.starts_with("POST /api/chat HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer at-secret\r\n"), "{asked}");
    let mut body: Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(body["chatId"].take().as_str().is_some_and(|chat| chat.starts_with("cli-")), "{body}");
    assert_eq!(body, json!({ "message": "Hello", "recentMessages": [], "chatId": null, "onDisconnect": "continue" }));
}

#[test]
fn an_answer_without_done_is_not_an_answer() {
    let place = Place::new();
    let (url, _) = answer_once(&events(&[json!({ "type": "token", "content": "Wear the" })]));
    let done = place.run(&["chat", "--url", &url, "Hello"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), "Wear the\n"));
    assert_eq!(done.error, "pluckit: the connection broke before the answer was complete\n");
}

#[test]
fn chat_sends_the_earlier_messages_of_the_conversation() {
    let place = Place::new();
    let say = |text: &str| json!({ "type": "token", "content": text });
    let (url, asked) = answer_each(vec![
        events(&[say("Wear "), say("it."), json!({ "type": "done" })]),
        // A truncated answer is also part of the conversation.
        events(&[say("No, we")]),
        events(&[say("Yes."), json!({ "type": "done" })]),
        events(&[json!({ "type": "done" })]),
    ]);
    let done = place.run_with_input(&["chat", "--url", &url], "One\nTwo\nThree\n/clear\nFour\n");
    assert_eq!(done.code, Some(1), "one turn was not answered: {done:?}");
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    let mut before = vec![];
    assert_eq!(body(&asked), json!({ "message": "One", "recentMessages": before }));
    before.extend([said("user", "One"), said("assistant", "Wear it.")]);
    assert_eq!(body(&asked), json!({ "message": "Two", "recentMessages": before }));
    before.extend([said("user", "Two"), said("assistant", "No, we")]);
    assert_eq!(body(&asked), json!({ "message": "Three", "recentMessages": before }));
    assert_eq!(body(&asked), json!({ "message": "Four", "recentMessages": [] }));
}

#[test]
fn a_message_that_is_refused_does_not_end_the_conversation() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let input = format!("{}\nWhat is in my wardrobe?\n", "x".repeat(8_001));
    let done = place.run_with_input(&["chat", "--url", &service.url], &input);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(done.error, "pluckit: a message has at most 8000 characters; this one has 8001\n");
    assert!(done.out.contains("[Counting your wardrobe, "), "{done:?}");
}

#[test]
fn a_line_that_is_not_utf_8_does_not_end_the_conversation() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let done = place.run_with_input(&["chat", "--url", &service.url], b"\xff bad\nWhat is in my wardrobe?\n");
    assert_eq!((done.code, done.error.as_str()), (Some(1), "pluckit: line 1 is not UTF-8: it was not sent\n"));
    assert!(done.out.contains("[Counting your wardrobe, "), "{done:?}");
}

#[test]
fn refusals_are_told_by_their_detail_and_tokens_never() {
    let place = Place::new();
    let body = r#"{"detail":"Invalid or expired session token."}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (url, _) = answer_once(&answer);
    let done = place.run(&["chat", "--url", &url, "--token", "at-secret", "Hello"]);
    assert_eq!(
        (done.code, done.out.as_str(), done.error.as_str()),
        (Some(1), "", "pluckit: Invalid or expired session token. (401)\n")
    );
    let (url, _) = answer_once(&answer);
    let done = place.run(&["chat", "--url", &url, "Hello"]);
    let hint = "pluckit: Invalid or expired session token. (401): send a token with --token-file; `pluckit token create` \
                prints one\n";
    assert_eq!((done.code, done.error.as_str()), (Some(1), hint));
    let done = place.run(&["chat", "--token", "at-sec\nret", "Hello"]);
    assert_eq!(
        (done.code, done.error.as_str()),
        (Some(1), "pluckit: the token contains characters that are not allowed in an HTTP header\n")
    );
}

#[test]
fn a_service_that_is_not_there_is_named() {
    let place = Place::new();
    // Taken and given back: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let done = place.run(&["chat", "--url", &format!("http://{address}"), "Hello"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert!(
        done.error.contains(&format!("nothing answers at http://{address}: start the service with `pluckit serve`"))
    );
}

/// Answers every request with a page, like a service other than PluckIt.
fn another_service(status: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let page = "<html>Welcome</html>";
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the head is complete");
            }
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            stream.get_ref().shutdown(Shutdown::Write).unwrap();
            // Closing with unread input would discard the answer.
            drop(stream.read_to_end(&mut Vec::new()));
        }
    });
    url
}

#[test]
fn another_service_is_told_from_pluckit() {
    let place = Place::new();
    for (status, code) in [("200 OK", ""), ("404 Not Found", " (404)")] {
        let url = another_service(status);
        for arguments in [&["chat", "Hello"][..], &["chat", "--resume"], &["health"], &["jobs"], &["dead-letters"]] {
            let done = place.run(&[arguments, &["--url", &url]].concat());
            let expected = format!(
                "pluckit: the answer of {url} is not PluckIt's: is that the address of the service (--url)?{code}\n"
            );
            assert_eq!((done.code, done.error), (Some(1), expected), "{status} {arguments:?}");
        }
    }
}

#[test]
fn an_assistant_is_told_what_it_works_on() {
    let place = Place::new();
    let begin = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let first = place.run_with_input(&["mcp", "--data-dir", "typo"], format!("{begin}\n"));
    let told = "pluckit: the wardrobe of local-dev-user, SQLite in typo: there was none, so the demo was loaded\n";
    assert_eq!((first.code, first.error.as_str()), (Some(0), told));
    let change = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "log_wear", "arguments": { "item_id": "coat", "idempotency_key": "a" },
    } });
    let again = place.run_with_input(&["mcp", "--data-dir", "typo", "--read-only"], format!("{change}\n"));
    assert_eq!(
        (again.code, again.error.as_str()),
        (Some(0), &*told.replace(": there was none, so the demo was loaded", ""))
    );
    let answer: Value = serde_json::from_str(&again.out).unwrap();
    let refused = "This server was started with --read-only and changes nothing.";
    assert_eq!(answer["result"]["content"][0]["text"], json!({ "error": refused }).to_string(), "{answer}");
}

#[test]
fn an_assistant_on_this_machine_has_the_day_of_the_machine() {
    let place = Place::new();
    let plan = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "plan_outfits" } });
    let days = ["XLI-14", "XBI12"].map(|zone| {
        let mut command = place.command(&["mcp"]);
        command.env("TZ", zone).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{plan}").unwrap();
        let output = child.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let day = answer["result"]["structuredContent"]["outfits"][0]["date"].as_str().unwrap();
        Date::parse(day, format_description!("[year]-[month]-[day]")).unwrap()
    });
    // The clocks are 26 hours apart. The second answer may be given after midnight.
    assert!((1..=2).contains(&(days[0] - days[1]).whole_days()), "{days:?}");
}

// --- What is printed ------------------------------------------------------------------------------------------------

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let place = Place::new();
    let rows: String = (0..400).map(|n| format!("{{\"id\":\"{n}\",\"notes\":\"{}\"}}\n", "x".repeat(500))).collect();
    assert_eq!(place.run_with_input(&["import", "-", "--format", "jsonl"], &rows).code, Some(0));
    for arguments in [
        &["config"][..],
        &["config", "--json"],
        &["storage", "schema"],
        &["export"],
        &["insights", "--json"],
        &["doctor"],
        &["digest"],
    ] {
        let mut command = place.command(arguments);
        command.stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        // Closed before anything is printed.
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn wrong_flags_are_refused_before_anything_is_done() {
    let place = Place::new();
    place.write("coat.jpg", "x");
    for (arguments, code, said) in [
        (&["process-image", "coat.jpg", "-o", "coat.PNG"][..], 1, "the result is a WebP file: name it coat.webp"),
        (&["chat", " "], 1, "pluckit: the message is empty"),
        (&["chat", &"é".repeat(8001)], 1, "a message has at most 8000 characters; this one has 8001"),
        (&["jobs", "list", "--status", "done"], 2, "one of Pending, Running, Completed, Failed, Terminated"),
        (&["jobs", "list", "--status", "failed", "--url", "http://127.0.0.1:9"], 1, "nothing answers"),
    ] {
        let done = place.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {done:?}");
        assert!(done.error.contains(said), "{arguments:?}: {done:?}");
    }
}

#[test]
fn a_full_disk_is_a_fault() {
    let place = Place::new();
    for arguments in [&["config"][..], &["storage", "schema"]] {
        let mut command = place.command(arguments);
        command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
    // A token that was created and cannot be shown can be revoked.
    let mut command = place.command(&["token", "create", "x"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let (_, id) = told.split_once("revoke it with `pluckit token delete ").expect(&told);
    let id = id.split(' ').next().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(place.run(&["token", "delete", id]).code, Some(0), "{told}");
}

#[test]
fn names_that_are_no_settings_are_told() {
    let place = Place::new();
    let mut command = place.command(&["config", "--json"]);
    command.env("COSMOS_DB_ENDPONT", "https://x").env("PATH", "/bin").env("HOST", "x");
    place.write("local.settings.json", r#"{"Values": {"PLUCKIT_DATADIR": "x", "FUNCTIONS_WORKER_RUNTIME": "custom"}}"#);
    let done = finish(command, "");
    assert_eq!(done.code, Some(0));
    let expected = "pluckit: warning: COSMOS_DB_ENDPONT is set, but there is no such setting: is it COSMOS_DB_ENDPOINT?\n\
                    pluckit: warning: PLUCKIT_DATADIR is set, but there is no such setting: is it PLUCKIT_DATA_DIR?\n";
    assert_eq!(done.error, expected);
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let place = Place::new();
    let done = place.run_with_input(&["import", "-", "--format", "csv"], "id,price\na,\u{9b}31m\u{1b}[2Jx\n");
    assert_eq!(done.code, Some(1));
    assert!(!done.error.contains(['\u{1b}', '\u{9b}']) && done.error.starts_with("-:2: price is "), "{}", done.error);
}

#[test]
fn an_unread_log_pipe_blocks_neither_requests_nor_shutdown() {
    let place = Place::new();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = place.command(&["serve", "--port", &port.to_string()]);
    command.env("PLUCKIT_LOG", "trace").env("RATE_LIMITS", "false");
    let mut process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Held, and never read from.
    let unread = process.stdout.take();
    let begun = std::time::Instant::now();
    let mut connection = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(connection) => break BufReader::new(connection),
            Err(_) => assert!(begun.elapsed() < LIMIT),
        }
    };
    connection.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
    // Far more lines than a pipe holds.
    for _ in 0..1000 {
        connection.get_mut().write_all(b"GET /api/nothing HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            connection.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).unwrap();
        assert_eq!(body, br#"{"detail":"Not Found","error":"Not Found"}"#);
    }
    signal(process.id(), "TERM");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(process.wait()));
    let ended = receiver.recv_timeout(LIMIT).expect("the process ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    drop(unread);
}
