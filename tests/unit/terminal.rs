//! The commands for people: the conversation on a terminal, and those that look after a running service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::model::dead_letter::{DeadLetter, DeadLetterStatus};
use pluckit::model::lease::Lease;
use pluckit::store::sqlite::SqliteStore;
use serde_json::json;
use tempfile::TempDir;

use crate::support::model::{Answer, ModelServer, call, say};
use crate::support::service::{Launch, bare};
use crate::support::terminal::Terminal;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const QUESTION: &str = "What should I wear to a casual dinner?";

fn pluckit(home: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(BINARY, home);
    command.args(arguments).env("HOME", home).env("TERM", "xterm-256color");
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    pluckit(home, arguments).stdin(Stdio::null()).output().unwrap()
}

/// The lines of a terminal without its escapes, as they were printed.
fn lines(shown: &str) -> Vec<String> {
    let mut parts = shown.split('\x1b');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('[').map(|part| part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()));
        text.push_str(rest.map_or(part, |rest| rest.get(1..).unwrap_or_default()));
    }
    text.replace("\r\n", "\n").split(['\n', '\r']).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_on_a_terminal() {
    let model = ModelServer::start().await;
    model.otherwise(|request| {
        let pieces = [
            "For a dinner on a mild evening I would wear ",
            "your navy Uniqlo button",
            "-down and **your brown ",
            "Carmina loafers**.",
        ];
        match (request.tool_results(), request.last_message()) {
            (0, QUESTION) => Answer::from(call("a", "search_wardrobe", r#"{"query":"navy"}"#)),
            (1.., _) => Answer::from(say(&pieces).pause(Duration::from_millis(20))),
            _ => Answer::from(say(&["Yes."])),
        }
    });
    let launch =
        Launch::development(BINARY).setting("OPENAI_BASE_URL", &model.base_url()).setting("PLUCKIT_DEMO", "false");
    let (_service, address) = launch.start();
    let home = TempDir::new().unwrap();
    let file = home.path().join("wardrobe.csv");
    fs::write(&file, "id,category,brand,tags,colours\na,tops,Uniqlo,button-down,navy\nb,shoes,Carmina,loafers,brown\n")
        .unwrap();
    let data = launch.store_file().parent().unwrap().display().to_string();
    let imported = run(home.path(), &["import", &file.display().to_string(), "--data-dir", &data]);
    assert!(imported.status.success(), "{imported:?}");
    let url = format!("http://{address}");
    let mut terminal = Terminal::start(pluckit(home.path(), &["chat", "--url", &url]), 50);
    terminal.wait_for(&format!("The stylist at {url}."));
    terminal.wait_for("> ");
    terminal.press("/help\r");
    terminal.wait_for("/memory   show what the stylist remembers");
    terminal.wait_for("> ");
    terminal.press("/nonsense\r");
    // Wrapped at words.
    terminal.wait_for("there is no command /nonsense: /help\r\nlists them");
    terminal.wait_for("> ");
    // A letter is missing: back over the question mark and one letter.
    terminal.press("What should I wear to a casual dinnr?\x1b[D\x1b[De\r");
    terminal.wait_for("Thinking");
    let answer = terminal.wait_for("brown Carmina loafers, never worn");
    let shown = lines(&answer);
    assert!(
        shown.iter().any(|line| line.starts_with("[Looking through your wardrobe, ") && line.ends_with(" ms]")),
        "{shown:?}"
    );
    assert!(shown.iter().any(|line| line == "For a dinner on a mild evening I would wear your"), "{shown:?}");
    assert!(shown.iter().all(|line| line.trim_end().chars().count() < 50 && !line.contains(['{', '*'])), "{shown:?}");
    assert!(answer.contains("\x1b[1myour brown"), "{answer:?}");
    terminal.wait_for("> ");
    terminal.press("/new\r");
    terminal.wait_for("New conversation. What the stylist remembers");
    terminal.wait_for("> ");
    // Up, twice: over the command, to the question; then it is discarded.
    terminal.press("\x1b[A\x1b[A");
    terminal.wait_for(QUESTION);
    terminal.press("\x15/quit\r");
    let (status, _) = terminal.end();
    assert!(status.success());
    let history = home.path().join(".local/state/pluckit/chat_history");
    assert!(fs::read_to_string(&history).unwrap().contains(QUESTION));
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);

    // The history is there the next time, and Ctrl-D leaves.
    let mut terminal = Terminal::start(pluckit(home.path(), &["chat", "--url", &url]), 80);
    terminal.wait_for("> ");
    terminal.press("\x1b[A\x1b[A\x1b[A");
    terminal.wait_for(QUESTION);
    terminal.press("\x03");
    assert!(terminal.end().0.success());

    for (name, value, refused) in [("NO_COLOR", "1", ["\x1b[1m", "\x1b[2m"]), ("TERM", "dumb", ["\x1b", "\r\r"])] {
        let mut command = pluckit(home.path(), &["chat", "--url", &url, QUESTION]);
        command.env(name, value);
        let (status, shown) = Terminal::start(command, 50).end();
        assert!(status.success() && shown.contains("brown Carmina loafers, never worn"), "{shown:?}");
        assert!(refused.iter().all(|refused| !shown.contains(refused)), "{name}={value}: {shown:?}");
    }
    let mut command = pluckit(home.path(), &["chat", "--url", &url]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(command, 50);
    terminal.wait_for("> ");
    terminal.press("/quit\n");
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn nobody_types_for_a_service_that_is_not_there() {
    let home = TempDir::new().unwrap();
    let (status, shown) = Terminal::start(pluckit(home.path(), &["chat", "--url", "http://127.0.0.1:9"]), 120).end();
    assert_eq!(status.code(), Some(1));
    assert!(shown.contains("nothing answers at http://127.0.0.1:9: start the service"), "{shown}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn commands_that_read_create_no_store() {
    let home = TempDir::new().unwrap();
    for (arguments, code, said) in [
        (
            &["insights"][..],
            1,
            "pluckit: there is no store in ./data: start the service, import a wardrobe, or name another",
        ),
        (&["export"], 1, "pluckit: there is no store in ./data"),
        (&["mcp", "--read-only"], 1, "pluckit: there is no store in ./data"),
        (
            &["export", "--output", "all.json", "--data-dir", "/nowhere/data"],
            1,
            "pluckit: there is no store in /nowhere/data",
        ),
        (&["token", "list"], 1, "pluckit: there is no store in ./data"),
        (&["usage"], 1, "pluckit: there is no store in ./data"),
        (&["token", "delete", "x"], 1, "pluckit: there is no store in ./data"),
        (&["import", "--dry-run", "-", "--format", "jsonl"], 0, "0 created, 0 updated, 0 unchanged, 0 rejected"),
        (&["doctor"], 0, "there is no store in ./data yet: the first start creates it"),
        (&["config"], 0, "PLUCKIT_DATA_DIR"),
        (&["storage", "schema"], 0, "containers"),
        (&["jobs", "--url", "http://127.0.0.1:9"], 1, "nothing answers at http://127.0.0.1:9"),
        (&["dead-letters", "--url", "http://127.0.0.1:9"], 1, "nothing answers at http://127.0.0.1:9"),
        (&["health", "--url", "http://127.0.0.1:9"], 1, "nothing answers at http://127.0.0.1:9"),
        (&["chat", "--url", "http://127.0.0.1:9", "Hello"], 1, "nothing answers at http://127.0.0.1:9"),
    ] {
        let Output { status, stdout, stderr } = run(home.path(), arguments);
        let shown = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(said), "{arguments:?}: {shown}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn health_is_an_exit_code() {
    let home = TempDir::new().unwrap();
    let (service, address) = Launch::development(BINARY).start();
    let answer = |arguments: &[&str]| {
        let mut command = pluckit(home.path(), arguments);
        let output = command.env("PORT", address.port().to_string()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(answer(&["health"]), (Some(0), "ok\n".to_owned()));
    assert_eq!(answer(&["health", "--ready"]), (Some(0), "ready\n".to_owned()));
    // It is there, but says nothing.
    service.signal("STOP");
    assert_eq!(answer(&["health", "--timeout", "1"]), (Some(1), String::new()));
}

/// Puts dead letters into the store of a service that has not started; returns their ids.
pub async fn dead_letters(launch: &Launch, count: usize) -> Vec<String> {
    fs::create_dir_all(launch.store_file().parent().unwrap()).unwrap();
    let store = SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap();
    let letters = Data::new(Arc::new(store)).dead_letters;
    let ids: Vec<String> = (0..count).map(|number| format!("letter-{number:03}")).collect();
    for id in &ids {
        let letter = DeadLetter {
            id: id.as_str().into(),
            job_id: "unparsed".into(),
            status: DeadLetterStatus::DeadLettered,
            payload: json!({ "raw_payload": "not\u{1b}[2J JSON" }),
            created_at: serde_json::from_value(json!("2026-03-02T09:15:00Z")).unwrap(),
            source_queue: "taste-jobs".to_owned(),
            reason: "the message cannot be read".to_owned(),
            dequeue_count: Some(5),
            replayed_at: None,
            lease: Lease::default(),
        };
        letters.add(&letter).await.unwrap();
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_replayed_and_deleted() {
    let launch =
        Launch::development(BINARY).setting("ADMIN_USER_IDS", "local-dev-user").setting("PLUCKIT_DEMO", "false");
    dead_letters(&launch, 120).await;
    let (_service, address) = launch.start();
    let home = TempDir::new().unwrap();
    let url = format!("http://{address}");
    let command = |arguments: &[&str]| {
        let output = run(home.path(), &[&["dead-letters", "--url", &url], arguments].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, listed, _) = command(&[]);
    assert_eq!((code, listed.lines().count()), (Some(0), 120), "every page: {listed}");
    assert!(listed.lines().all(|line| line.contains("dead_lettered") && line.ends_with("the message cannot be read")));
    let (code, shown, _) = command(&["show", "letter-000"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("Queue    taste-jobs\nReason   the message cannot be read\n"), "{shown}");
    assert!(shown.contains("Tries    5\n") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(command(&["show", "letter"]).2, "pluckit: there is no dead letter letter\n");
    let (code, out, error) = command(&["delete", "letter-001", "none", "letter-002"]);
    assert_eq!((code, out.as_str()), (Some(1), "letter-001 is deleted\nletter-002 is deleted\n"), "{error}");
    assert_eq!(error, "none: Dead letter not found. (404)\n");
    let (code, out, error) = command(&["replay", "letter-003"]);
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), "letter-003 is replayed\n", ""));
    assert_eq!(command(&["replay", "letter-003"]).2, "letter-003: Dead letter already replayed. (409)\n");
    assert_eq!(command(&["list", "--status", "replayed"]).1.lines().count(), 1);
}
