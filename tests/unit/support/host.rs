//! A double of the Azure Functions host: does to the packaged service what the real one does, on this machine alone.
//!
//! It reads `host.json` and the `function.json` files of a package, starts the binary in it (or talks to a service in
//! this process), waits for its port, passes HTTP on with the real headers, posts queue messages and timers in the real
//! form, deletes, releases and moves messages by the answers, and starts the binary again when it ends. Two things
//! differ: the real one gives up after three crashes within half an hour each, and messages are held for ten minutes
//! without renewal.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use azure_storage_queue::QueueClient;
use azure_storage_queue::models::{
    QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions, QueueMessage, ReceivedMessage,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pluckit::app::router::App;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::net;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::service::bare;

/// How long the real host waits for a handler to answer its first ping.
const INITIALIZATION: Duration = Duration::from_secs(30);
/// Time between two of those pings.
const PING: Duration = Duration::from_millis(25);
/// For how long the real host hides a message that it fetched; it renews that for as long as the call goes on.
const LOCK_SECONDS: i32 = 600;
const HOST_VERSION: &str = "4.1054.0.0";
/// Headers that end at each hop.
const HOP_BY_HOP: [&str; 5] = ["connection", "keep-alive", "transfer-encoding", "upgrade", "host"];

/// What starts or is started.
pub enum Handler {
    /// The binary in the package.
    Binary,
    /// Another program in the package's place, with these arguments; everything else is as the package says. It may
    /// have what the binary must not have, an internet of its own for instance.
    Program(PathBuf, Vec<String>),
    /// A service in this process, for functions that the binary does not have.
    Served(App),
}

/// Where a test does not want to wait as long as `host.json` says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Faster {
    /// `visibilityTimeout`: how long a message is hidden after a failure. Whole seconds.
    pub visibility_timeout: Option<Duration>,
    /// `maxPollingInterval`.
    pub max_polling_interval: Option<Duration>,
}

/// A call of a function, as it ended.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: String,
    pub message_id: Option<String>,
    pub dequeue_count: i64,
    pub began: Instant,
    /// `None` if there was no answer.
    pub status: Option<u16>,
}

/// What a `function.json` says.
#[derive(Debug, Clone)]
enum Binding {
    Queue { input: String, queue: String, connection: String },
    Timer { input: String },
    Http { prefix: String },
}

struct Shared {
    package: PathBuf,
    executable: PathBuf,
    arguments: Vec<String>,
    function_timeout: Duration,
    queues: QueueSettings,
    functions: BTreeMap<String, Binding>,
    settings: BTreeMap<String, String>,
    client: reqwest::Client,
    port: watch::Sender<Option<u16>>,
    kills: mpsc::Sender<oneshot::Sender<()>>,
    calls: Mutex<Vec<Call>>,
    violations: Mutex<Vec<String>>,
    starts: watch::Sender<usize>,
    exits: Mutex<Vec<Option<i32>>>,
}

#[derive(Debug, Clone, Copy)]
struct QueueSettings {
    batch_size: usize,
    max_dequeue_count: i64,
    visibility_timeout: Duration,
    max_polling_interval: Duration,
}

/// A running double.
pub struct Host {
    shared: Arc<Shared>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// The duration in `hh:mm:ss`.
pub fn span(text: &str) -> Duration {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().unwrap()).collect();
    let [hours, minutes, seconds] = parts.as_slice() else { panic!("no time span: {text}") };
    Duration::from_secs(hours * 3600 + minutes * 60 + seconds)
}

/// What the host makes of a value that is not a date: JSON inside a string.
fn scalar(text: &str) -> Value {
    Value::String(serde_json::to_string(text).unwrap())
}

/// A queue call's body as the host sends it.
pub fn queue_envelope(function: &str, input: &str, text: &str, id: &str, dequeue_count: i64) -> Value {
    let mut metadata = Map::new();
    // The fields of a JSON message are there to be bound to.
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) {
        for (name, value) in fields {
            metadata.insert(name, value.as_str().map_or_else(|| value.to_string().into(), scalar));
        }
    }
    let known = json!({
        "DequeueCount": dequeue_count.to_string(),
        "Id": scalar(id),
        "PopReceipt": scalar("AgAAAAMAAAAAAAAA"),
        "InsertionTime": "2026-03-02T09:15:00+00:00",
        "NextVisibleTime": "2026-03-02T09:25:00+00:00",
        "ExpirationTime": "9999-12-31T23:59:59",
        "sys": { "MethodName": function, "UtcNow": "2026-03-02T09:15:01.12Z", "RandGuid": Uuid::new_v4() },
    });
    metadata.extend(known.as_object().unwrap().clone());
    json!({ "Data": { input: scalar(text) }, "Metadata": metadata })
}

/// A timer call's body as the host sends it on the first run ever.
pub fn timer_envelope(function: &str, input: &str) -> Value {
    let status = json!({
        "Last": "0001-01-01T00:00:00", "Next": "2026-03-08T06:00:00+00:00", "LastUpdated": "0001-01-01T00:00:00",
    });
    json!({
        "Data": { input: { "Schedule": { "AdjustForDST": true }, "ScheduleStatus": status, "IsPastDue": false } },
        "Metadata": { "sys": { "MethodName": function, "UtcNow": "2026-03-08T06:00:00.01Z", "RandGuid": Uuid::new_v4() } },
    })
}

impl Host {
    /// Starts what the package holds and returns when it answers. `settings` are the app settings; those of the
    /// package's `local.settings.json` hold where they say nothing. Queues are polled if the setting of their
    /// connection is a whole connection string.
    pub async fn start(package: &Path, handler: Handler, settings: &[(&str, &str)], faster: Faster) -> Self {
        let (kills, wishes) = mpsc::channel(1);
        let mut shared = Shared::read(package, settings, faster, kills);
        if let Handler::Program(executable, arguments) = &handler {
            (shared.executable, shared.arguments) = (executable.clone(), arguments.clone());
        }
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        match handler {
            Handler::Binary | Handler::Program(..) => {
                tasks.spawn(shared.clone().supervise(wishes));
            }
            Handler::Served(app) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                shared.port.send_replace(Some(listener.local_addr().unwrap().port()));
                let make = axum::ServiceExt::<Request>::into_make_service(app);
                tasks.spawn(async move { axum::serve(listener, make).await.unwrap() });
            }
        }
        shared.ready_port().await;
        for (name, binding) in &shared.functions {
            if let Binding::Queue { connection, queue, .. } = binding
                && let Some(text) = shared.settings.get(connection).filter(|text| text.contains("QueueEndpoint"))
            {
                let account = StorageAccount::from_connection_string(text, &Identity::default()).unwrap();
                let client = Arc::new(account.queues().queue_client(queue).unwrap());
                let poison = Arc::new(account.queues().queue_client(&format!("{queue}-poison")).unwrap());
                account.create_queue(queue).await.unwrap();
                tasks.spawn(shared.clone().poll(name.clone(), client, poison));
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Router::new().fallback(proxy).with_state(shared.clone());
        tasks.spawn(async move { axum::serve(listener, proxy).await.unwrap() });
        Self { shared, address, _tasks: tasks }
    }

    /// Address of a path, as the world outside sees it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Calls a timer's function and returns the status of its answer.
    pub async fn fire(&self, function: &str) -> Option<u16> {
        let Some(Binding::Timer { input }) = self.shared.functions.get(function) else { panic!("no timer {function}") };
        let call = self.shared.call(function, &timer_envelope(function, input), None, 1).await;
        call.status
    }

    /// All calls that have ended.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Kills the binary with SIGKILL, whatever it is doing. It is started again at once.
    pub async fn kill(&self) {
        let (done, killed) = oneshot::channel();
        self.shared.kills.send(done).await.unwrap();
        killed.await.unwrap();
    }

    /// Waits until the binary answers.
    pub async fn until_ready(&self) {
        self.shared.ready_port().await;
    }

    /// How often the binary was started.
    pub fn starts(&self) -> usize {
        *self.shared.starts.borrow()
    }

    /// The port on which the handler listens: nobody outside the machine can reach it.
    pub async fn handler_port(&self) -> u16 {
        self.shared.ready_port().await
    }

    /// Codes of the exits that nobody asked for; `None` for a signal.
    pub fn exits(&self) -> Vec<Option<i32>> {
        self.shared.exits.lock().unwrap().clone()
    }

    /// Answers that the real host would not have understood.
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap().clone()
    }
}

impl Shared {
    fn read(package: &Path, given: &[(&str, &str)], faster: Faster, kills: mpsc::Sender<oneshot::Sender<()>>) -> Self {
        let read = |path: PathBuf| -> Value {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_str(&text).unwrap()
        };
        let host = read(package.join("host.json"));
        let mut settings: BTreeMap<String, String> =
            serde_json::from_value(read(package.join("local.settings.json"))["Values"].clone()).unwrap();
        settings.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true, "otherwise nothing streams");
        let description = &host["customHandler"]["description"];
        let prefix = host["extensions"]["http"]["routePrefix"].as_str().unwrap_or("api").to_owned();
        let mut functions = BTreeMap::new();
        for entry in fs::read_dir(package).unwrap() {
            let folder = entry.unwrap().path();
            if folder.join("function.json").exists() {
                let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
                functions.insert(name, binding(&read(folder.join("function.json")), &prefix, &settings));
            }
        }
        let queues = &host["extensions"]["queues"];
        assert_eq!(queues["messageEncoding"], "base64");
        let time = |name: &str| span(queues[name].as_str().unwrap());
        Self {
            package: package.to_owned(),
            executable: package.join(description["defaultExecutablePath"].as_str().unwrap()),
            arguments: serde_json::from_value(description["arguments"].clone()).unwrap(),
            function_timeout: span(host["functionTimeout"].as_str().unwrap()),
            queues: QueueSettings {
                batch_size: usize::try_from(queues["batchSize"].as_u64().unwrap()).unwrap(),
                max_dequeue_count: queues["maxDequeueCount"].as_i64().unwrap(),
                visibility_timeout: faster.visibility_timeout.unwrap_or_else(|| time("visibilityTimeout")),
                max_polling_interval: faster.max_polling_interval.unwrap_or_else(|| time("maxPollingInterval")),
            },
            functions,
            settings,
            client: net::builder().no_gzip().http1_only().no_proxy().build().unwrap(),
            port: watch::Sender::new(None),
            kills,
            calls: Mutex::default(),
            violations: Mutex::default(),
            starts: watch::Sender::new(0),
            exits: Mutex::default(),
        }
    }

    async fn ready_port(&self) -> u16 {
        let mut port = self.port.subscribe();
        let ready = tokio::time::timeout(INITIALIZATION, port.wait_for(Option::is_some)).await;
        ready.expect("the handler answers in time").unwrap().unwrap()
    }

    // --- The process ------------------------------------------------------------------------------------------------

    /// Starts the binary, and again whenever it ends, except by itself and well.
    async fn supervise(self: Arc<Self>, mut kills: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            let port = free_port().await;
            let mut child = self.spawn(port);
            let life = async {
                self.until_answering(port).await;
                self.port.send_replace(Some(port));
                std::future::pending::<()>().await;
            };
            let killed = tokio::select! {
                () = life => unreachable!("it never ends"),
                status = child.wait() => {
                    let code = status.unwrap().code();
                    self.exits.lock().unwrap().push(code);
                    if code == Some(0) {
                        self.port.send_replace(None);
                        return;
                    }
                    None
                }
                kill = kills.recv() => {
                    child.kill().await.unwrap();
                    kill
                }
            };
            self.port.send_replace(None);
            if killed.is_none_or(|done| done.send(()).is_err()) {
                tokio::time::sleep(PING).await;
            }
        }
    }

    /// With the environment that the host gives: the app settings and its own variables.
    fn spawn(&self, port: u16) -> Child {
        self.starts.send_modify(|starts| *starts += 1);
        let log = fs::File::options().create(true).append(true).open(self.package.with_extension("log")).unwrap();
        let id = Uuid::new_v4().to_string();
        Command::from(bare(&self.executable, &self.package))
            .args(&self.arguments)
            .envs(&self.settings)
            .envs([("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()), ("FUNCTIONS_HTTPWORKER_PORT", port.to_string())])
            .envs([("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &id), ("FUNCTIONS_HTTPWORKER_ID", &id)])
            .env("FUNCTIONS_APP_ROOT_PATH", &self.package)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.executable.display()))
    }

    async fn until_answering(&self, port: u16) {
        while self.client.get(format!("http://127.0.0.1:{port}/")).send().await.is_err() {
            tokio::time::sleep(PING).await;
        }
    }

    // --- Calls of functions -----------------------------------------------------------------------------------------

    async fn call(&self, function: &str, body: &Value, message_id: Option<String>, dequeue_count: i64) -> Call {
        let port = self.ready_port().await;
        let began = Instant::now();
        let request = self
            .client
            .post(format!("http://127.0.0.1:{port}/{function}"))
            .header("X-Azure-Functions-InvocationId", Uuid::new_v4().to_string())
            .header("X-Azure-Functions-HostVersion", HOST_VERSION)
            .header("User-Agent", format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header("Content-Type", "application/json; charset=utf-8")
            // Without a length: the real host may send it in pieces.
            .body(reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(body.to_string())])));
        let answered = tokio::time::timeout(self.function_timeout, async {
            let response = request.send().await.ok()?;
            let status = response.status();
            Some((status, response.text().await.ok()?))
        });
        let status = match answered.await {
            Ok(Some((status, body))) => {
                self.check_answer(function, status, &body);
                Some(status.as_u16())
            }
            Ok(None) => None,
            Err(_) => {
                // The real host restarts the whole process, with every other request in it.
                let (done, killed) = oneshot::channel();
                self.kills.send(done).await.unwrap();
                killed.await.unwrap();
                None
            }
        };
        let call = Call { function: function.to_owned(), message_id, dequeue_count, began, status };
        self.calls.lock().unwrap().push(call.clone());
        call
    }

    fn check_answer(&self, function: &str, status: reqwest::StatusCode, body: &str) {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let has_all = ["Outputs", "Logs", "ReturnValue"].iter().all(|name| answer.get(name).is_some());
        if !has_all || status == reqwest::StatusCode::NO_CONTENT {
            self.violations.lock().unwrap().push(format!("{function} answered {status}: {body:?}"));
        }
    }

    // --- Queues -----------------------------------------------------------------------------------------------------

    async fn poll(self: Arc<Self>, function: String, queue: Arc<QueueClient>, poison: Arc<QueueClient>) {
        let slots = Arc::new(Semaphore::new(self.queues.batch_size));
        let mut running = JoinSet::new();
        let mut pause = Duration::from_millis(100).min(self.queues.max_polling_interval);
        loop {
            while running.try_join_next().is_some() {}
            self.ready_port().await;
            drop(slots.acquire().await.unwrap());
            let messages = receive(&queue, slots.available_permits().max(1)).await;
            if messages.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(self.queues.max_polling_interval);
                continue;
            }
            pause = Duration::from_millis(100).min(self.queues.max_polling_interval);
            for message in messages {
                let slot = slots.clone().acquire_owned().await.unwrap();
                let (shared, function) = (self.clone(), function.clone());
                let (queue, poison) = (queue.clone(), poison.clone());
                running.spawn(async move {
                    shared.deliver(&function, &queue, &poison, message).await;
                    drop(slot);
                });
            }
        }
    }

    async fn deliver(&self, function: &str, queue: &QueueClient, poison: &QueueClient, message: ReceivedMessage) {
        let Some(Binding::Queue { input, .. }) = self.functions.get(function) else { unreachable!() };
        let (id, receipt) = (message.message_id.unwrap(), message.pop_receipt.unwrap());
        let (raw, count) = (message.message_text.unwrap_or_default(), message.dequeue_count.unwrap());
        let text = BASE64_STANDARD.decode(&raw).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let is_done = match text {
            Some(text) => {
                let body = queue_envelope(function, input, &text, &id, count);
                let call = self.call(function, &body, Some(id.clone()), count).await;
                call.status.is_some_and(|status| (200..300).contains(&status))
            }
            // What is not base64 cannot be bound.
            None => false,
        };
        if !is_done && count < self.queues.max_dequeue_count {
            let seconds = i32::try_from(self.queues.visibility_timeout.as_secs()).unwrap();
            queue.update_message(&id, &receipt, seconds, None).await.unwrap();
            return;
        }
        if !is_done {
            send(poison, &raw).await;
        }
        queue.delete_message(&id, &receipt, None).await.unwrap();
    }
}

fn binding(function: &Value, prefix: &str, settings: &BTreeMap<String, String>) -> Binding {
    let resolve = |value: &Value| {
        let text = value.as_str().unwrap();
        // A setting's name between percent signs, which something may follow.
        match text.strip_prefix('%').and_then(|text| text.split_once('%')) {
            Some((name, rest)) => {
                let value = settings.get(name).unwrap_or_else(|| panic!("no app setting {name}"));
                format!("{value}{rest}")
            }
            None => text.to_owned(),
        }
    };
    let first = &function["bindings"][0];
    let input = first["name"].as_str().unwrap().to_owned();
    match first["type"].as_str().unwrap() {
        "queueTrigger" => Binding::Queue {
            input,
            queue: resolve(&first["queueName"]),
            connection: first["connection"].as_str().unwrap().to_owned(),
        },
        "timerTrigger" => {
            let schedule = resolve(&first["schedule"]);
            assert_eq!(schedule.split_whitespace().count(), 6, "{schedule}");
            Binding::Timer { input }
        }
        "httpTrigger" => {
            let kinds: Vec<_> =
                function["bindings"].as_array().unwrap().iter().map(|binding| &binding["type"]).collect();
            assert_eq!(kinds, ["httpTrigger", "http"], "what proxying wants");
            assert_eq!((&first["route"], &first["authLevel"]), (&json!("{*path}"), &json!("anonymous")));
            Binding::Http { prefix: prefix.to_owned() }
        }
        kind => panic!("no such trigger: {kind}"),
    }
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn receive(queue: &QueueClient, most: usize) -> Vec<ReceivedMessage> {
    let options = QueueClientReceiveMessagesOptions {
        number_of_messages: Some(i32::try_from(most.clamp(1, 32)).unwrap()),
        visibility_timeout: Some(LOCK_SECONDS),
        ..QueueClientReceiveMessagesOptions::default()
    };
    let received = Box::pin(queue.receive_messages(Some(options))).await.unwrap();
    received.into_model().unwrap().items.unwrap_or_default()
}

async fn send(queue: &QueueClient, text: &str) {
    Box::pin(queue.create(None)).await.map(drop).unwrap_or_default();
    let message = QueueMessage { message_text: Some(text.to_owned()) };
    let options = QueueClientSendMessageOptions::default();
    Box::pin(queue.send_message(message.try_into().unwrap(), Some(options))).await.unwrap();
}

/// Passes a request on to the handler, both bodies as they come.
async fn proxy(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path();
    let is_routed = shared.functions.values().any(
        |binding| matches!(binding, Binding::Http { prefix } if path.strip_prefix('/').is_some_and(|path| path.starts_with(&format!("{prefix}/")))),
    );
    if !is_routed {
        return StatusCode::NOT_FOUND.into_response();
    }
    let port = shared.ready_port().await;
    let (parts, body) = request.into_parts();
    let url = format!("http://127.0.0.1:{port}{}", parts.uri);
    let id = Uuid::new_v4().to_string();
    let is_passed = |name: &HeaderName| !HOP_BY_HOP.contains(&name.as_str());
    let headers = parts.headers.iter().filter(|(name, _)| is_passed(name));
    let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    let sent = shared
        .client
        .request(parts.method, url)
        .headers(headers)
        .header("x-ms-invocation-id", &id)
        .header("X-Azure-Functions-InvocationId", &id)
        .header("X-Azure-Functions-HostVersion", HOST_VERSION)
        .body(reqwest::Body::wrap_stream(body.into_data_stream()))
        .send()
        .await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let passed = answer.headers().iter().filter(|(name, _)| is_passed(name));
    response.headers_mut().extend(passed.map(|(name, value)| (name.clone(), value.clone())));
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}

/// Whether somebody listens on the port.
pub async fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}
