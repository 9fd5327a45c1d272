//! Chat runs through kills of their process: the real binary, killed with SIGKILL while clients follow answers.
//!
//! `PLUCKIT_TEST_KILLS` is the number of kills per test, in groups that run at the same time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pluckit::base::clock::SystemClock;
use pluckit::net;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::store::cosmos_backend;
use crate::support::events::{Parser, Transcript};
use crate::support::model::{Kind, ModelServer, Turn, call, say};
use crate::support::process::up_to;
use crate::support::service::{Launch, Service};
use crate::support::{number_of, until};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
/// Runs that go on when a process is killed.
const RUNS: usize = 3;
/// Groups of processes that are killed at the same time.
const MOST_GROUPS: usize = 10;
/// Steps of each run: two with a tool, and the answer.
const STEPS: usize = 3;
const PIECES: usize = 40;
/// Longer than any run takes, kills included.
const PATIENCE: Duration = Duration::from_secs(90);

fn kills(by_default: usize) -> usize {
    number_of("PLUCKIT_TEST_KILLS", by_default)
}

fn answer() -> String {
    (0..PIECES).map(|n| format!("piece {n}, ")).collect()
}

/// What the model says: a tool, another one, and the answer.
fn turn(tool_results: usize) -> Turn {
    let turn = match tool_results {
        0 => call("a", "get_wardrobe_summary", "{}"),
        1 => call("b", "get_user_profile", "{}"),
        _ => {
            let pieces: Vec<String> = (0..PIECES).map(|n| format!("piece {n}, ")).collect();
            say(&pieces.iter().map(String::as_str).collect::<Vec<_>>())
        }
    };
    turn.first_pause(Duration::from_millis(100)).pause(Duration::from_millis(20)).usage(10, 5)
}

/// Where the processes of a group listen.
#[derive(Clone)]
struct Addresses(Arc<Mutex<Vec<SocketAddr>>>);

/// A process that can be killed.
struct Node {
    launch: Launch,
    service: Service,
}

struct Client {
    http: reqwest::Client,
    addresses: Addresses,
}

impl Client {
    fn new(addresses: Addresses) -> Self {
        let http = net::builder().no_proxy().connect_timeout(Duration::from_secs(2)).build().unwrap();
        Self { http, addresses }
    }

    fn url(&self, at: usize, path: &str) -> String {
        let addresses = self.addresses.0.lock();
        format!("http://{}{path}", addresses[at % addresses.len()])
    }

    async fn get(&self, at: usize, path: &str) -> Value {
        self.http.get(self.url(at, path)).send().await.unwrap().json().await.unwrap()
    }

    /// Begins a run, and leaves it.
    async fn begin(&self, at: usize, message: &str) -> String {
        let body = json!({"message": message, "chatId": message, "onDisconnect": "continue"});
        let response = self.http.post(self.url(at, "/api/chat")).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["x-run-id"].to_str().unwrap().to_owned()
    }

    /// Follows a run to its end, at one process after the other.
    async fn follow(&self, first: usize, run: &str) -> Transcript {
        let (mut transcript, mut at) = (Transcript::default(), first);
        while !transcript.is_over() {
            let path = format!("/api/chat/runs/{run}/events?after={}", transcript.last);
            if let Ok(mut response) = self.http.get(self.url(at, &path)).send().await
                && response.status() == 200
            {
                let mut parser = Parser::default();
                while let Ok(Some(bytes)) = response.chunk().await {
                    for event in parser.push(&bytes) {
                        transcript.add(event);
                    }
                }
            }
            at += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        transcript
    }
}

/// Kills processes of one group, one after the other, while runs go on. Returns the runs.
async fn kill_group(launches: Vec<Launch>, model: Arc<ModelServer>, kills: usize) -> Vec<String> {
    let mut nodes = Vec::new();
    let addresses = Addresses(Arc::default());
    for launch in launches {
        let (started, address) = tokio::task::spawn_blocking(move || {
            let (service, address) = launch.start();
            (Node { launch, service }, address)
        })
        .await
        .unwrap();
        nodes.push(started);
        addresses.0.lock().push(address);
    }
    let client = Arc::new(Client::new(addresses.clone()));
    client
        .http
        .put(client.url(0, "/api/chat/memory"))
        .json(&json!({"summary": "Likes navy."}))
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let mut runs = Vec::new();
    for kill in 0..kills {
        let victim = kill % nodes.len();
        let mut followers = JoinSet::new();
        for _ in 0..RUNS {
            let message = Uuid::new_v4().to_string();
            let run = client.begin(victim, &message).await;
            let client = client.clone();
            followers.spawn(async move {
                // At the process that dies, and then wherever one answers.
                let transcript = client.follow(victim, &run).await;
                (message, run, transcript)
            });
        }
        // Three steps take about 1.1 s.
        tokio::time::sleep(up_to(Duration::from_millis(1100))).await;
        let mut node = nodes.swap_remove(victim);
        let restarted = tokio::task::spawn_blocking(move || {
            node.service.kill();
            let (service, address) = node.launch.start();
            (Node { service, ..node }, address)
        });
        let (node, address) = restarted.await.unwrap();
        nodes.push(node);
        let last = nodes.len() - 1;
        nodes.swap(victim, last);
        addresses.0.lock()[victim] = address;
        let ended = tokio::time::timeout(PATIENCE, followers.join_all()).await.expect("every run ends");
        for (message, run, transcript) in ended {
            check(&client, &model, &message, &run, &transcript).await;
            runs.push(run);
        }
    }
    runs
}

async fn check(client: &Client, model: &ModelServer, message: &str, run: &str, transcript: &Transcript) {
    assert_eq!(transcript.text(), answer(), "{run}");
    assert_eq!(
        transcript.kinds(),
        ["tool_use", "tool_result", "tool_use", "tool_result", "token", "memory_update", "done"],
        "{run}"
    );
    let path = format!("/api/chat/runs/{run}");
    until("the run has ended", async || client.get(0, &path).await["status"] != "running").await;
    let shown = client.get(0, &path).await;
    assert_eq!((&shown["status"], &shown["answer"]), (&json!("completed"), &json!(answer())), "{run}");
    assert_eq!(shown["usage"]["calls"], STEPS, "{run}: {shown}");
    let asked = model.received();
    let asked =
        asked.iter().filter(|request| request.kind == Kind::Stream && request.body.to_string().contains(message));
    let mut steps: Vec<usize> = asked.map(|request| request.tool_results()).collect();
    steps.sort_unstable();
    let repeated = steps.len() - STEPS;
    assert!(repeated <= 1, "{run}: no step but the one that was broken off is done again: {steps:?}");
}

async fn kill_all(launches: impl Fn(&ModelServer) -> Vec<Launch>, kills: usize) -> Vec<(Vec<Launch>, Vec<String>)> {
    let mut groups = JoinSet::new();
    let count = kills.clamp(1, MOST_GROUPS);
    for group in 0..count {
        let model = Arc::new(ModelServer::start().await);
        model.otherwise(|request| turn(request.tool_results()));
        let launches = launches(&model);
        let kills = kills / count + usize::from(group < kills % count);
        groups.spawn(async move { (launches.clone(), kill_group(launches, model, kills).await) });
    }
    groups.join_all().await
}

fn launch(model: &ModelServer) -> Launch {
    Launch::development(BINARY)
        .setting("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        .asking(&model.base_url())
        .setting("PLUCKIT_DEMO", "false")
}

/// The memory has counted each run once.
async fn check_memory(store: &dyn DocumentStore, user: &str, runs: usize) {
    let memory = store.read(&Key::new(Container::Conversations, user, user)).await.unwrap().unwrap();
    assert_eq!(memory.parse::<Value>().unwrap()["messagesSince"], 2 * runs);
}

async fn check_embedded(groups: Vec<(Vec<Launch>, Vec<String>)>) {
    let mut runs = 0;
    for (launches, ended) in groups {
        let store = SqliteStore::open(&launches[0].store_file(), Arc::new(SystemClock)).unwrap();
        check_memory(&store, "local-dev-user", ended.len()).await;
        runs += ended.len();
    }
    assert!(runs >= RUNS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_kills_of_a_process_alone() {
    check_embedded(kill_all(|model| vec![launch(model)], kills(2)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_kills_of_one_of_two_processes_on_one_store() {
    let pair = |model: &ModelServer| {
        let launch = launch(model);
        vec![launch.clone(), launch]
    };
    check_embedded(kill_all(pair, kills(2)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn runs_survive_kills_of_one_of_two_processes_on_cosmos_db() {
    let store = cosmos_backend::cosmos().await;
    let options = cosmos_backend::options();
    let pair = |model: &ModelServer| {
        let launch = launch(model)
            .setting("COSMOS_DB_ENDPOINT", options.endpoint.as_str())
            .setting("COSMOS_DB_KEY", &cosmos_backend::setting("PLUCKIT_TEST_COSMOS_KEY"))
            .setting("COSMOS_DB_DATABASE", &options.database)
            .setting("LOCAL_DEV_USER_ID", &format!("user-{}", Uuid::new_v4()));
        vec![launch.clone(), launch]
    };
    for (launches, runs) in kill_all(pair, kills(1)).await {
        let user = launches[0].value("LOCAL_DEV_USER_ID").unwrap();
        check_memory(&store, &user, runs.len()).await;
    }
}
