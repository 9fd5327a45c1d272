//! The service as a process, tested from outside: the real binary, real connections, real signals.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::base::hash::sha256_hex;
use pluckit::model::session::Session;
use pluckit::net;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::routes::auth::{LONGEST_IN_BODY, bad_tokens};
use crate::store::cosmos_backend;
use crate::support::google::{CLIENT_ID, Google};
use crate::support::model::{self, Answer as Scripted, Kind, ModelServer, Step, call, say};
use crate::support::refusal;
use crate::support::service::{Launch, wait_until};

pub const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const SIGN_IN: &str = "/api/auth/mobile-token";
const REFRESH: &str = "/api/auth/refresh";
const CHAT: &str = "/api/chat";
const MEMORY: &str = "/api/chat/memory";
/// Time limit of things that should happen at once, on a machine of any load.
const SOON: Duration = Duration::from_secs(20);
/// What the log says when a shutdown did not wait any longer.
const GRACE_IS_OVER: &str = "streams still open after the grace period";

/// Somebody who talks to a process.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Option<String>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { http, address, token: None }
    }

    fn bearer(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = self.http.request(method.parse().unwrap(), url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request("GET", path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request("POST", path).json(&body)).await
    }

    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request("PUT", path).json(&body)).await
    }

    /// The events of a turn.
    async fn ask(&self, message: &str) -> Vec<Value> {
        let response = self.request("POST", CHAT).json(&json!({ "message": message })).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        events(&response.text().await.unwrap())
    }

    /// Signs this user in with Google and returns the grant.
    async fn sign_in(&self, google: &Google, user: &str) -> Value {
        let mut claims = Google::claims(now());
        claims["sub"] = json!(user);
        let (status, grant) = self.post(SIGN_IN, json!({ "id_token": google.key.sign(&claims) })).await;
        assert_eq!(status, 200, "{grant}");
        grant
    }

    async fn refresh(&self, token: &Value) -> (u16, Value) {
        self.post(REFRESH, json!({ "refresh_token": token })).await
    }

    async fn is_signed_in(&self, grant: &Value) -> bool {
        let (status, body) = self.bearer(text(&grant["access_token"])).get(MEMORY).await;
        assert!(matches!(status, 200 | 401), "{status} {body}");
        status == 200
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn events(stream: &str) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n").filter_map(|block| block.strip_prefix("data: "));
    blocks.map(|block| serde_json::from_str(block).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(&event["type"])).collect()
}

fn words(events: &[Value]) -> String {
    events.iter().filter(|event| event["type"] == "token").map(|event| text(&event["content"])).collect()
}

pub fn now() -> i64 {
    SystemClock.now().unix_timestamp()
}

pub fn with_google(launch: Launch, google: &Google) -> Launch {
    launch.setting("GOOGLE_CLIENT_ID", CLIENT_ID).setting("GOOGLE_JWKS_URL", &google.url)
}

/// Fails if one of the secrets, or a good part of one, is in the log.
fn assert_not_logged<'a>(log: &str, secrets: impl IntoIterator<Item = &'a str>) {
    for secret in secrets {
        let part: String = secret.chars().take(24).collect();
        assert!(!log.contains(&part), "{part:?} is in the log");
    }
}

// --- Refreshes ------------------------------------------------------------------------------------------------------

/// Spends one token after the other, each a hundred times at once. Returns all grants, the last one being the live one.
async fn race_refreshes(client: &Client, first: Value, rounds: usize) -> Vec<Value> {
    const CALLERS: usize = 100;
    let mut grants = vec![first];
    for round in 0..rounds {
        let token = grants.last().unwrap()["refresh_token"].clone();
        let barrier = Arc::new(Barrier::new(CALLERS));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, token, barrier) = (client.clone(), token.clone(), barrier.clone());
            callers.spawn(async move {
                barrier.wait().await;
                client.refresh(&token).await
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            callers.join_all().await.into_iter().partition(|(status, _)| *status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        for (status, body) in lost {
            assert_eq!((status, body), (401, refusal("Invalid or expired refresh token.")), "round {round}");
        }
        grants.extend(won.into_iter().map(|(_, grant)| grant));
    }
    grants
}

/// Moves the time of a refresh token's use before the grace period of retries.
async fn spend_long_ago(store: &dyn DocumentStore, user: &str, refresh_token: &str) {
    let hash = sha256_hex(refresh_token);
    let page = store.query(&Query::partition(Container::RefreshTokens, user)).await.unwrap();
    let sessions = page.documents.iter().map(|stored| (stored.parse::<Session>().unwrap(), &stored.etag));
    let (mut session, etag) = sessions.into_iter().find(|(session, _)| session.refresh_token_hash == hash).unwrap();
    session.rotated_at = Some((SystemClock.now() - Duration::from_secs(31)).into());
    let key = Key::new(Container::RefreshTokens, user, session.id.as_str());
    store.replace(&key, &serde_json::to_value(session).unwrap(), etag).await.unwrap();
}

async fn one_refresh_succeeds_and_late_reuse_ends_the_family(
    launch: &Launch,
    google: &Google,
    store: impl FnOnce() -> Box<dyn DocumentStore>,
) {
    let (service, address) = launch.start();
    let client = Client::new(address);
    let user = format!("user-{}", Uuid::new_v4());
    let first = client.sign_in(google, &user).await;
    let other_device = client.sign_in(google, &user).await;
    let grants = race_refreshes(&client, first, 50).await;
    let [first, .., last] = &grants[..] else { panic!("many grants") };
    assert!(client.is_signed_in(last).await, "hundreds of retries within half a minute harm nobody");
    spend_long_ago(&*store(), &user, text(&first["refresh_token"])).await;
    assert_eq!(client.refresh(&first["refresh_token"]).await.0, 401);
    assert!(!client.is_signed_in(last).await, "the family has ended");
    assert_eq!(client.refresh(&last["refresh_token"]).await.0, 401);
    assert!(client.is_signed_in(&other_device).await, "another sign-in is another family");
    let log = service.log();
    assert!(log.contains("refresh token used again"));
    let tokens = grants.iter().flat_map(|grant| [&grant["access_token"], &grant["refresh_token"]]).map(text);
    assert_not_logged(&log, tokens.chain(["ada@example.com"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_hundred_concurrent_refreshes_succeeds_on_sqlite() {
    let google = Google::start().await;
    let launch = with_google(Launch::production(BINARY), &google);
    let store = || -> Box<dyn DocumentStore> {
        // Beside the process, on the same file.
        Box::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap())
    };
    one_refresh_succeeds_and_late_reuse_ends_the_family(&launch, &google, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn one_of_a_hundred_concurrent_refreshes_succeeds_on_cosmos_db() {
    let google = Google::start().await;
    let launch = with_google(on_cosmos(), &google);
    let made = cosmos_backend::cosmos().await;
    let store = || -> Box<dyn DocumentStore> { Box::new(made) };
    one_refresh_succeeds_and_late_reuse_ends_the_family(&launch, &google, store).await;
}

// --- Crashes --------------------------------------------------------------------------------------------------------

/// A user who writes one number after the other into the memory.
struct Writer {
    token: String,
    /// The last number that the service said it has.
    acknowledged: u64,
    /// The last number that was sent.
    sent: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    const KILLS: usize = 50;
    let google = Google::start().await;
    let launch = with_google(Launch::production(BINARY), &google);
    let mut writers = Vec::new();
    {
        let (_service, address) = launch.start();
        for user in ["ada", "eve", "joe", "kim"] {
            let grant = Client::new(address).sign_in(&google, user).await;
            writers.push(Writer { token: text(&grant["access_token"]).to_owned(), acknowledged: 0, sent: 0 });
        }
    }
    let mut acknowledged_in_all = 0;
    for kill in 0..=KILLS {
        let (mut service, address) = launch.start();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let beside = Connection::open_with_flags(launch.store_file(), flags).unwrap();
        let verdict: String = beside.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "after kill {kill}");
        let client = Client::new(address);
        for writer in &writers {
            let (status, memory) = client.bearer(&writer.token).get(MEMORY).await;
            assert_eq!(status, 200, "the session is still there: {memory}");
            let found: u64 = text(&memory["summary"]).strip_prefix("number ").map_or(0, |n| n.parse().unwrap());
            let expected = writer.acknowledged..=writer.sent;
            assert!(expected.contains(&found), "after kill {kill}: {found} is not in {expected:?}");
        }
        if kill == KILLS {
            break;
        }
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut burst = JoinSet::new();
        for mut writer in writers.drain(..) {
            let (client, acknowledged) = (client.bearer(&writer.token), acknowledged.clone());
            burst.spawn(async move {
                loop {
                    writer.sent += 1;
                    let body = json!({"summary": format!("number {}", writer.sent)});
                    match client.request("PUT", MEMORY).json(&body).send().await {
                        Ok(answer) => assert_eq!(answer.status(), StatusCode::OK),
                        Err(_) => return writer,
                    }
                    writer.acknowledged = writer.sent;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // At another moment of the burst each time.
        let enough = 10 + kill * 7 % 60;
        wait_until("writes are acknowledged", SOON, || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
        service.kill();
        writers = burst.join_all().await;
        acknowledged_in_all += acknowledged.load(Ordering::Relaxed);
        assert_not_logged(&service.log(), writers.iter().map(|writer| writer.token.as_str()).chain(["number "]));
    }
    assert!(acknowledged_in_all >= 50 * 10);
}

// --- Signals and starts ---------------------------------------------------------------------------------------------

/// A service in development with a model server and no demo wardrobe.
fn with_model_only(server: &ModelServer) -> Launch {
    Launch::development(BINARY).asking(&server.base_url()).setting("PLUCKIT_DEMO", "false")
}

/// Begins a turn and reads its first bytes.
async fn begin_turn(client: &Client) -> (reqwest::Response, String) {
    let request = client.request("POST", CHAT).json(&json!({"message": "What now?"}));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let first = response.chunk().await.unwrap().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(first.starts_with("data: {\"type\":\"token\""), "{first}");
    (response, first)
}

fn wait_until_refused(address: SocketAddr) {
    wait_until("new connections are refused", SOON, || {
        TcpStream::connect(address).err().filter(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_on_this_machine_is_asked_without_a_proxy() {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&["Hello."]));
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        // Nothing listens there.
        let (_service, address) = with_model_only(&server).setting(variable, "http://127.0.0.1:9").start();
        let client = Client::new(address);
        assert_eq!(words(&client.ask("What now?").await), "Hello.", "{variable}");
        assert_eq!(client.get("/api/health/ready").await.1["checks"]["model"], "ok", "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_an_open_stream_end() {
    let server = ModelServer::start().await;
    let pieces: Vec<String> = (0..8).map(|n| format!("piece{n} ")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    server.push(Kind::Stream, say(&pieces).pause(Duration::from_millis(150)));
    let (mut service, address) = with_model_only(&server).start();
    let (response, mut stream) = begin_turn(&Client::new(address)).await;
    service.signal("TERM");
    wait_until_refused(address);
    assert!(service.is_running());
    stream.push_str(&response.text().await.unwrap());
    let events = events(&stream);
    assert_eq!(words(&events), pieces.concat());
    assert_eq!(kinds(&events)[8..], ["memory_update", "done"]);
    assert_eq!(service.wait(SOON).code(), Some(0));
    let log = service.log();
    assert!(log.contains("\"stopping\"") && !log.contains("still open"), "{log}");
    assert_not_logged(&log, ["What now?", "piece3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_stream_is_told_after_ten_seconds() {
    for signal in ["TERM", "HUP"] {
        let server = ModelServer::start().await;
        server.push(Kind::Stream, Scripted::Steps(vec![model::text("Wear "), Step::Stall]));
        let (mut service, address) = with_model_only(&server).start();
        let (response, mut stream) = begin_turn(&Client::new(address)).await;
        let begin = Instant::now();
        service.signal(signal);
        wait_until_refused(address);
        assert_eq!(service.wait(SOON * 2).code(), Some(0));
        assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
        stream.push_str(&response.text().await.expect("the answer ends as every answer"));
        assert_eq!(kinds(&events(&stream)), ["token", "error", "done"]);
        assert!(service.log().contains(GRACE_IS_OVER));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_ends_open_streams() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, Scripted::Steps(vec![model::text("Wear "), Step::Stall]));
    let (mut service, address) = with_model_only(&server).start();
    let (response, mut stream) = begin_turn(&Client::new(address)).await;
    service.signal("INT");
    wait_until_refused(address);
    assert!(service.is_running());
    service.signal("INT");
    assert_eq!(service.wait(SOON).code(), Some(0));
    assert!(!service.log().contains(GRACE_IS_OVER));
    stream.push_str(&response.text().await.expect("the answer ends as every answer"));
    assert_eq!(kinds(&events(&stream)), ["token", "error", "done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_to_which_nobody_can_sign_in_is_told() {
    let text = "nobody can sign in with Google: no OAuth client is configured";
    let (service, _) = Launch::production(BINARY).start();
    assert_eq!(service.log().matches(text).count(), 1, "{}", service.log());
    let (service, _) = Launch::production(BINARY).setting("GOOGLE_CLIENT_ID", "x.apps.googleusercontent.com").start();
    assert!(!service.log().contains(text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignored_hangup_does_not_stop_the_service() {
    let launch = Launch::development(BINARY).through(&["/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    let (mut service, address) = launch.start();
    service.signal("HUP");
    assert_eq!(Client::new(address).get("/api/health").await.0, 200);
    service.signal("TERM");
    assert_eq!(service.wait(SOON).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_service_ends_at_once() {
    for signal in ["TERM", "INT", "HUP"] {
        let (mut service, address) = Launch::development(BINARY).start();
        let client = Client::new(address);
        assert_eq!(client.get("/api/health").await.0, 200);
        // The client keeps its connection, which must not hold the process.
        service.signal(signal);
        assert_eq!(service.wait(SOON).code(), Some(0), "SIG{signal}");
        assert!(!service.log().contains(GRACE_IS_OVER));
        drop(client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_told_in_one_line() {
    let (service, address) = Launch::development(BINARY).start();
    let second = Launch::development(BINARY).setting("PORT", &address.port().to_string());
    let output = second.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with(&format!("pluckit: cannot listen on {address}")), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(Client::new(address).get("/api/health").await.0, 200, "the first one is not disturbed");
    assert!(!service.log().contains("panic"));
}

// --- Cosmos DB ------------------------------------------------------------------------------------------------------

/// A service in production on the emulator, with the offline model.
fn on_cosmos() -> Launch {
    let options = cosmos_backend::options();
    Launch::production(BINARY)
        .setting("COSMOS_DB_ENDPOINT", options.endpoint.as_str())
        .setting("COSMOS_DB_KEY", &cosmos_backend::setting("PLUCKIT_TEST_COSMOS_KEY"))
        .setting("COSMOS_DB_DATABASE", &options.database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn the_same_binary_works_on_cosmos_db() {
    let (google, server) = (Google::start().await, ModelServer::start().await);
    let store = cosmos_backend::cosmos().await;
    let user = format!("user-{}", Uuid::new_v4());
    for (id, category, brand) in [("i1", "Tops", "Arket"), ("i2", "Bottoms", "Cosmo"), ("i3", "Shoes", "Veja")] {
        let item = json!({
            "id": id, "userId": user, "category": category, "brand": brand, "tags": ["casual", "dinner"],
            "colours": [{"name": "navy", "hex": "#000080"}], "wearCount": 3,
        });
        store.upsert(&Key::new(Container::Wardrobe, &user, id), &item).await.unwrap();
    }

    // With a model server.
    let launch = with_google(on_cosmos(), &google);
    let (mut service, address) = launch.clone().asking(&server.base_url()).start();
    let client = Client::new(address);
    let grant = client.sign_in(&google, &user).await;
    let client = client.bearer(text(&grant["access_token"]));
    server.push(
        Kind::Stream,
        call("a", "search_wardrobe", r#"{"query":"navy tops"}"#).call("b", "get_wardrobe_summary", "{}"),
    );
    server.push(Kind::Complete, say(&["[\"navy\",\"tops\"]"]));
    server.push(Kind::Stream, say(&["The navy top."]));
    let events = client.ask("What navy tops do I have?").await;
    let kinds = kinds(&events);
    assert_eq!(kinds, ["tool_use", "tool_use", "tool_result", "tool_result", "token", "memory_update", "done"]);
    let last = server.received().into_iter().rfind(|request| request.kind == Kind::Stream).unwrap();
    let results: String = last.body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["role"] == "tool")
        .map(|m| text(&m["content"]))
        .collect();
    assert!(results.contains("\"i1\"") && results.contains("\"total_items\":3"), "{results}");
    let summary = format!("Likes navy, said {user}.");
    assert_eq!(client.put(MEMORY, json!({"summary": summary})).await, (200, json!({"status": "updated"})));
    service.signal("TERM");
    assert_eq!(service.wait(SOON).code(), Some(0));
    let mut log = service.log();

    // Started again, with the offline model: the session and the memory are where they were.
    let (service, address) = launch.start();
    let client = Client { address, ..client };
    assert_eq!(client.get(MEMORY).await.1["summary"], summary);
    let events = client.ask("What should I wear to a casual dinner?").await;
    assert_eq!(events.last().unwrap()["type"], "done");
    assert!(["Arket", "Cosmo", "Veja"].iter().any(|brand| words(&events).contains(brand)), "{}", words(&events));
    let (status, next) = client.refresh(&grant["refresh_token"]).await;
    assert_eq!(status, 200);
    assert!(!client.is_signed_in(&grant).await);
    log.push_str(&service.log());
    let tokens = [&grant, &next].map(|grant| text(&grant["access_token"]));
    assert_not_logged(
        &log,
        tokens.into_iter().chain(["What navy tops", "What should I wear", "Likes navy", "ada@example.com"]),
    );
}

// --- Bad input ------------------------------------------------------------------------------------------------------

/// Sends bytes on a connection of their own and reads what comes until the other side closes it.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    // A server that has read enough may answer and close before all is written.
    drop(stream.write_all(request));
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
    }
    String::from_utf8(answer).unwrap()
}

/// The status of the first answer in these bytes; 0 if there is none.
fn status_of(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").map_or(0, |rest| rest[..3].parse().unwrap())
}

/// A request with a JSON body, as bytes. Asks for the connection to be closed.
fn bytes(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: pluckit\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Log lines of our own code at every level, beside the usual ones.
const CHATTY: &str = "info,pluckit=trace,azure_core=warn,azure_data_cosmos_driver=warn,hyper=warn";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_answered_and_nothing_of_them_is_logged() {
    let google = Google::start().await;
    let launch = with_google(Launch::production(BINARY), &google).setting("PLUCKIT_LOG", CHATTY);
    let (mut service, address) = launch.start();
    let grant = Client::new(address).sign_in(&google, "ada").await;
    let access = text(&grant["access_token"]);
    let client = Client::new(address).bearer(access);
    let credential = format!("authorization: Bearer {access}\r\n");

    let malformed: [&[u8]; 9] = [
        b"",
        b"{",
        b"secret-words",
        b"{\"message\":\"secret-words",
        b"{\"message\":\"secret-words\xff\xfe\"}",
        b"\xff\xfe\x00{",
        b"{\"message\":\"secret-words\\ud8\"}",
        b"[{\"message\":\"secret-words\"}]",
        b"\"secret-words\"",
    ];
    for body in malformed {
        let answer = exchange(address, &bytes("POST /api/chat", &credential, body));
        assert_eq!(status_of(&answer), 422, "{:?}: {answer}", String::from_utf8_lossy(body));
        assert!(answer.contains("\"detail\":[{\"type\":\""), "{answer}");
    }
    let many: Value = (0..5000).map(|n| json!({"role": "user", "content": format!("secret-words {n}")})).collect();
    for (body, kind) in [
        (json!({"message": 7}), "string_type"),
        (json!({"message": null}), "string_type"),
        (json!({"message": {"a": "secret-words"}}), "string_type"),
        (json!({"message": ""}), "string_too_short"),
        (json!({"message": "secret-words ".repeat(800)}), "string_too_long"),
        (json!({"message": "secret-words", "recentMessages": 3}), "list_type"),
        (json!({"message": "secret-words", "recentMessages": [7]}), "model_attributes_type"),
        (json!({"message": "secret-words", "recentMessages": many}), "too_long"),
        (json!({"message": "secret-words", "selectedItemIds": [{}]}), "string_type"),
    ] {
        let (status, answer) = client.post(CHAT, body).await;
        assert_eq!((status, &answer["detail"][0]["type"]), (422, &json!(kind)), "{answer}");
    }
    let (status, _) = client.put(MEMORY, json!({"summary": "secret-words ".repeat(200)})).await;
    assert_eq!(status, 400);
    assert_eq!(client.put(MEMORY, json!({"summary": "secret-words"})).await.0, 200);
    let (status, fault) = client.put(MEMORY, json!({"summary": ["secret-words"]})).await;
    assert_eq!(status, 422, "{fault}");

    let large = json!({"message": "secret-words ".repeat(800_000)}).to_string();
    assert!(large.len() > 10_000_000);
    for _ in 0..10 {
        let request = client.request("POST", CHAT).header("content-type", "application/json").body(large.clone());
        assert_eq!(answer(request).await, (413, refusal("Request body too large.")));
    }
    let unannounced = futures::stream::iter((0..1000).map(|_| Ok::<_, std::io::Error>("secret-words ".repeat(1000))));
    let request = client.request("POST", CHAT).header("content-type", "application/json");
    let request = request.body(reqwest::Body::wrap_stream(unannounced));
    assert_eq!(answer(request).await, (413, refusal("Request body too large.")), "chunked");

    assert_eq!(client.get("/api/no-such-route").await, (404, refusal("Not Found")));
    assert_eq!(client.get("/").await.0, 404);
    for (method, path, allowed) in
        [("DELETE", "/api/health", "GET,HEAD"), ("GET", CHAT, "POST"), ("PATCH", MEMORY, "GET,HEAD,PUT")]
    {
        let response = client.request(method, path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &allowed.parse().unwrap()));
    }
    let request = client.request("POST", CHAT).header("content-type", "text/plain").body("secret-words");
    assert_eq!(answer(request).await, (415, refusal("Unsupported Media Type")));

    let events = client.ask("secret-words: what should I wear?").await;
    assert_eq!(events.last().unwrap()["type"], "done");

    assert!(service.is_running());
    assert_eq!(client.get("/api/health").await.0, 200);
    let log = service.log();
    assert!(log.contains("request answered"));
    assert_not_logged(&log, ["secret-words", access, text(&grant["refresh_token"]), "ada@example.com", "panic"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_are_refused_on_the_wire_and_not_logged() {
    let google = Google::start().await;
    let launch = with_google(Launch::production(BINARY), &google).setting("PLUCKIT_LOG", CHATTY);
    let (mut service, address) = launch.start();
    let mut tokens = bad_tokens(&google, now());
    assert!(tokens.len() >= 40);
    for (name, token) in &mut tokens {
        // The list is for a clock that stands still: this one must not become valid while the others are tried.
        if name == "not yet valid" {
            let mut claims = Google::claims(now());
            claims["nbf"] = json!(now() + 3600);
            *token = google.key.sign(&claims);
        }
    }
    for (name, token) in &tokens {
        let credential = format!("authorization: Bearer {token}\r\n");
        let answer = exchange(address, &bytes("GET /api/chat/memory", &credential, b""));
        if token.len() > 80_000 {
            // More than the connection reads of a head: answered below the routes, or the connection is closed.
            assert!(matches!(status_of(&answer), 431 | 0), "{name}: {answer}");
        } else {
            assert_eq!(status_of(&answer), 401, "{name}: {answer}");
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{name}: {answer}");
        }
        let body = json!({ "id_token": token }).to_string();
        let answer = exchange(address, &bytes("POST /api/auth/mobile-token", "", body.as_bytes()));
        if body.len() > 32 * 1024 {
            assert_eq!(status_of(&answer), 413, "{name}: {answer}");
            continue;
        }
        if token.len() > LONGEST_IN_BODY {
            assert_eq!(status_of(&answer), 422, "{name}: {answer}");
            continue;
        }
        assert_eq!(status_of(&answer), 401, "{name}: {answer}");
        for path in [REFRESH, "/api/auth/revoke"] {
            let body = json!({ "refresh_token": token }).to_string();
            let answer = exchange(address, &bytes(&format!("POST {path}"), "", body.as_bytes()));
            let refused =
                if path == REFRESH { status_of(&answer) == 401 } else { answer.contains("{\"revoked\":false,") };
            assert!(refused, "{name}: {answer}");
        }
    }
    assert!(service.is_running());
    assert_eq!(Client::new(address).get("/api/health").await.0, 200);
    let log = service.log();
    // Too short to be told from other words in the log: `..` and its like.
    let tokens = tokens.iter().map(|(_, token)| token.as_str()).filter(|token| token.len() > 5);
    assert_not_logged(&log, tokens.chain(["ada@example.com", "panic"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_slow_heads_harm_nobody_else() {
    let (mut service, address) = Launch::development(BINARY).setting("PLUCKIT_LOG", CHATTY).start();
    let begin = Instant::now();
    let mut slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /api/health HTTP/1.1\r\nhost: pluckit\r\nx-secret: secret-wo").unwrap();
            stream
        })
        .collect();

    let good = "GET /api/health HTTP/1.1\r\nhost: pluckit\r\n\r\n";
    let garbage: [(&[u8], u16); 10] = [
        (b"secret-words\r\n\r\n", 400),
        (b"\x00\xff\xfe\x80\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        (b"GET /secret-words\xff HTTP/1.1\r\nhost: pluckit\r\nconnection: close\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nhost: pluckit\r\n\r\n", 400),
        (b"GET /api/health HTTP/1.1\r\nhost: pluckit\r\nno colon here\r\n\r\n", 400),
        (b"POST /api/auth/refresh HTTP/1.1\r\nhost: p\r\ncontent-length: minus one\r\n\r\n", 400),
        (b"POST /api/auth/refresh HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /api/health HTTP/1.1\r\nhost: pluckit\r\nx-request-id: a\x01b\r\n\r\n", 400),
    ];
    for (request, status) in garbage {
        let answer = exchange(address, request);
        assert_eq!(status_of(&answer), status, "{:?}: {answer}", String::from_utf8_lossy(request));
        let pipelined = exchange(address, &[good.as_bytes(), good.as_bytes(), request].concat());
        assert_eq!(pipelined.matches("\"status\":\"ok\"").count(), 2, "{pipelined}");
    }
    let many: String = (0..500).map(|n| format!("x-{n}: secret-words\r\n")).collect();
    assert_eq!(status_of(&exchange(address, &bytes("GET /api/health", &many, b""))), 431);
    let long = format!("GET /api/{} HTTP/1.1\r\nhost: pluckit\r\n\r\n", "secret-words".repeat(100_000));
    assert!(matches!(status_of(&exchange(address, long.as_bytes())), 414 | 431));
    let both = "POST /api/auth/refresh HTTP/1.1\r\nhost: p\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let smuggled = exchange(address, [both, good].concat().as_bytes());
    assert!(status_of(&smuggled) == 400 || !smuggled.contains("\"status\":\"ok\""), "{smuggled}");

    // All this time the slow ones have been waiting, and nobody waited for them. They are let go after 10 seconds.
    assert_eq!(Client::new(address).get("/api/health").await.0, 200);
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
    assert!(service.is_running());
    let log = service.log();
    assert_not_logged(&log, ["secret-wo", "panic"]);
}

// --- Connections ----------------------------------------------------------------------------------------------------

/// Opens more connections with incomplete headers than the process may have files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_send_nothing_make_way_for_others() {
    for files in ["256", "64"] {
        let launch =
            Launch::production(BINARY).through(&["/bin/sh", "-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        let (service, address) = launch.start();
        let half = || {
            let mut stream = TcpStream::connect(address).unwrap();
            // Fails when it has been closed already.
            stream.write_all(b"GET /api/health HTTP/1.1\r\nhost: pluckit\r\nx-half: a").ok();
            stream
        };
        let kept: Vec<TcpStream> = (0..300).map(|_| half()).collect();
        for _ in 0..5 {
            let begin = Instant::now();
            assert_eq!(Client::new(address).get("/api/health").await.0, 200);
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        }
        let log = service.log();
        assert!(log.matches("connection not accepted").count() <= 2, "{log}");
        drop(kept);
    }
}
