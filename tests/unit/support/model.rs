//! A scripted model server, on a real port with the real protocol.
//!
//! It answers chat completions (streamed or not), embeddings and the list of models, at the addresses of Azure OpenAI
//! and of OpenAI. Each request takes, in this order: the first rule ([`ModelServer::when`]) that fits it, the next
//! answer of its kind's queue ([`ModelServer::push`]), or the default answer ([`ModelServer::otherwise`]), so that a
//! load test needs no script. All requests are recorded, as are those whose client left before the answer was over.
//! Needs nothing but axum, tokio, futures and `serde_json`: benchmarks use this file as well.

#![expect(dead_code, reason = "each user of this file needs another part of it")]

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::serve::ListenerExt;
use futures::stream;
use pluckit::config;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Length of the vectors it gives.
const DIMENSIONS: usize = 1536;

/// Largest request it reads.
const REQUEST_LIMIT_BYTES: usize = 64 << 20;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A chat completion, streamed.
    Stream,
    /// A chat completion in one piece.
    Complete,
    /// Embeddings.
    Embeddings,
    /// The list of models.
    Models,
    /// Anything else.
    Unknown,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// What it asks for.
    pub kind: Kind,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its query, without the question mark.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, null if it has none or it is not JSON.
    pub body: Value,
    /// When it came.
    pub at: Instant,
}

impl Received {
    /// The value of a header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The deployment in the path of Azure, else the model in the body.
    pub fn model(&self) -> &str {
        let deployment = self.path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split('/').next());
        deployment.or_else(|| self.body["model"].as_str()).unwrap_or_default()
    }

    /// The text of the last message.
    pub fn last_message(&self) -> &str {
        let last = self.body["messages"].as_array().and_then(|messages| messages.last());
        last.and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// How many results of tools the messages hold.
    pub fn tool_results(&self) -> usize {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        messages.iter().filter(|message| message["role"] == "tool").count()
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A turn of a model, written as the request wants it: streamed or whole.
    Turn(Turn),
    /// Headers of an event stream, then these steps.
    Steps(Vec<Step>),
    /// A status with headers and a body.
    Status {
        /// The status.
        status: u16,
        /// Headers beside the content type.
        headers: Vec<(&'static str, String)>,
        /// Type of the body.
        content_type: &'static str,
        /// The body.
        body: String,
    },
    /// Embeddings of the texts in the request, each made from its text alone.
    Embeddings,
    /// No answer at all, ever.
    Silence,
    /// The connection cut before a byte of an answer.
    HangUp,
}

/// A piece of a stream.
#[derive(Debug, Clone)]
pub enum Step {
    /// An event with this JSON.
    Event(Value),
    /// These bytes as they are.
    Raw(String),
    /// A piece of text that begins with these characters and the time at which it is sent, in microseconds since 1970.
    Stamped(&'static str),
    /// The end mark.
    Done,
    /// Nothing for a while.
    Pause(Duration),
    /// Nothing ever again; the connection stays open.
    Stall,
    /// The connection cut.
    Cut,
}

/// What a model says in a turn.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    text: Vec<String>,
    pause: Duration,
    first_pause: Duration,
    calls: Vec<(String, String, String)>,
    usage: Option<(u64, u64)>,
}

impl Turn {
    /// Waits before each piece of text.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Waits before the first piece.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Calls a tool, after the text and the calls before it. Streamed, all calls of a turn come in small interleaved
    /// fragments.
    pub fn call(mut self, id: &str, name: &str, arguments: &str) -> Self {
        self.calls.push((id.to_owned(), name.to_owned(), arguments.to_owned()));
        self
    }

    /// Tells another usage than the 10 and 5 tokens that it tells by itself.
    pub fn usage(mut self, input: u64, output: u64) -> Self {
        self.usage = Some((input, output));
        self
    }

    /// The steps of this turn as Azure streams it.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![azure_preamble()];
        let pause = |duration: Duration| (!duration.is_zero()).then_some(Step::Pause(duration));
        steps.extend(pause(self.first_pause));
        steps.push(delta(json!({"role": "assistant", "content": ""})));
        for piece in &self.text {
            steps.extend(pause(self.pause));
            steps.push(text(piece));
        }
        steps.extend(self.fragments());
        steps.push(finish(if self.calls.is_empty() { "stop" } else { "tool_calls" }));
        let (input, output) = self.usage.unwrap_or((10, 5));
        steps.push(usage(input, output));
        steps.push(Step::Done);
        steps
    }

    fn fragments(&self) -> Vec<Step> {
        let heads =
            self.calls.iter().enumerate().map(|(index, (id, name, _))| fragment(index, Some(id), Some(name), ""));
        let mut steps: Vec<Step> = heads.collect();
        let mut rests: Vec<VecDeque<String>> =
            self.calls.iter().map(|(_, _, arguments)| in_pieces(arguments, 5).into()).collect();
        while rests.iter().any(|rest| !rest.is_empty()) {
            for (index, rest) in rests.iter_mut().enumerate() {
                steps.extend(rest.pop_front().map(|piece| fragment(index, None, None, &piece)));
            }
        }
        steps
    }

    /// This turn in one piece.
    pub fn whole(&self) -> Value {
        let call = |(id, name, arguments): &(String, String, String)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let calls: Vec<Value> = self.calls.iter().map(call).collect();
        let mut message = json!({"role": "assistant", "content": self.text.concat(), "refusal": null});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        let reason = if self.calls.is_empty() { "stop" } else { "tool_calls" };
        let (input, output) = self.usage.unwrap_or((10, 5));
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": null}],
            "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
        })
    }
}

impl From<Turn> for Answer {
    fn from(turn: Turn) -> Self {
        Self::Turn(turn)
    }
}

impl From<Vec<Step>> for Answer {
    fn from(steps: Vec<Step>) -> Self {
        Self::Steps(steps)
    }
}

impl Answer {
    /// A status with a JSON body.
    pub fn status(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        Self::Status { status, headers: Vec::new(), content_type: "application/json", body }
    }

    /// A status with a body of plain text.
    pub fn plain(status: u16, body: &str) -> Self {
        Self::Status { status, headers: Vec::new(), content_type: "text/plain", body: body.to_owned() }
    }

    /// Adds a header to a status.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }

    /// An error as OpenAI and Azure word it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(status, &json!({"error": {"code": code, "type": null, "param": null, "message": message}}))
    }

    /// 429 with `Retry-After`.
    pub fn busy(retry_after: &str) -> Self {
        Self::error(429, "429", "Rate limit exceeded.").header("retry-after", retry_after)
    }
}

/// A turn that says these pieces of text.
pub fn say(pieces: &[&str]) -> Turn {
    Turn { text: pieces.iter().map(|piece| (*piece).to_owned()).collect(), ..Turn::default() }
}

/// A turn that calls one tool.
pub fn call(id: &str, name: &str, arguments: &str) -> Turn {
    Turn::default().call(id, name, arguments)
}

/// The first chunk of Azure: about its filters, without a choice.
pub fn azure_preamble() -> Step {
    Step::Event(json!({
        "choices": [], "created": 0, "id": "", "model": "", "object": "",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": false}}}],
    }))
}

/// A chunk with a piece of text.
pub fn text(piece: &str) -> Step {
    delta(json!({"content": piece}))
}

/// A chunk with a piece of a tool call.
pub fn fragment(index: usize, id: Option<&str>, name: Option<&str>, arguments: &str) -> Step {
    let mut call = json!({"index": index, "function": {"arguments": arguments}});
    if let Some(id) = id {
        call["id"] = id.into();
        call["type"] = "function".into();
    }
    if let Some(name) = name {
        call["function"]["name"] = name.into();
    }
    delta(json!({"tool_calls": [call]}))
}

/// A chunk with any change.
pub fn delta(delta: Value) -> Step {
    chunk(json!([{"index": 0, "delta": delta, "finish_reason": null, "logprobs": null}]), Value::Null)
}

/// The chunk that says why the model stopped.
pub fn finish(reason: &str) -> Step {
    chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}]), Value::Null)
}

/// The chunk with the usage, without a choice.
pub fn usage(input: u64, output: u64) -> Step {
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    chunk(json!([]), usage)
}

fn chunk(choices: Value, usage: Value) -> Step {
    Step::Event(json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "scripted",
        "system_fingerprint": "fp", "choices": choices, "usage": usage,
    }))
}

/// The vector of a text: the same for the same text, unlike for others, of some length other than one.
pub fn vector(text: &str) -> Vec<f32> {
    // FNV-1a for the seed, then xorshift: stable and good enough to be unlike.
    let mut state = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(i16::try_from((state >> 32) % 2001).expect("below 2001") - 1000) / 1000.0
    };
    (0..DIMENSIONS).map(|_| next()).collect()
}

fn in_pieces(text: &str, size: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

type Predicate = Box<dyn Fn(&Received) -> bool + Send + Sync>;
type Maker = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Script {
    rules: Mutex<Vec<(Predicate, Maker)>>,
    queues: Mutex<HashMap<Kind, VecDeque<Answer>>>,
    otherwise: Mutex<Arc<Maker>>,
    received: Mutex<Vec<Received>>,
    is_recording: AtomicBool,
    count: AtomicUsize,
    connections: Arc<AtomicUsize>,
    open: watch::Sender<usize>,
    closed_early: watch::Sender<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    fn answer_to(&self, received: &Received) -> Answer {
        if let Some((_, make)) = lock(&self.rules).iter().find(|(fits, _)| fits(received)) {
            return make(received);
        }
        if let Some(answer) = lock(&self.queues).get_mut(&received.kind).and_then(VecDeque::pop_front) {
            return answer;
        }
        let otherwise = Arc::clone(&lock(&self.otherwise));
        otherwise(received)
    }
}

/// The server. It stops when it is dropped.
pub struct ModelServer {
    address: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ModelServer {
    /// Starts a server on a free port of the loopback address.
    #[expect(clippy::disallowed_methods, reason = "the server belongs to the test and ends with it")]
    pub async fn start() -> Self {
        let script = Arc::new(Script {
            rules: Mutex::default(),
            queues: Mutex::default(),
            otherwise: Mutex::new(Arc::new(Box::new(by_default))),
            received: Mutex::default(),
            is_recording: AtomicBool::new(true),
            count: AtomicUsize::new(0),
            connections: Arc::default(),
            open: watch::Sender::new(0),
            closed_early: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback address");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = Router::new().fallback(handle).with_state(Arc::clone(&script));
        let connections = Arc::clone(&script.connections);
        let task = tokio::spawn(async move {
            let listener = listener.tap_io(move |stream| {
                stream.set_nodelay(true).expect("TCP has no-delay");
                connections.fetch_add(1, Ordering::Relaxed);
            });
            axum::serve(listener, router).await.expect("serving goes on until it is stopped");
        });
        Self { address, script, task }
    }

    /// The address of the server, which is what Azure calls the endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The settings of a service that asks this server.
    pub fn settings(&self) -> config::ModelServer {
        config::ModelServer {
            url: self.base_url().parse().unwrap(),
            azure_version: None,
            key: None,
            model: "stylist-1".to_owned(),
            nano_model: "nano-1".to_owned(),
            embedding_model: "embedding-1".to_owned(),
        }
    }

    /// The base address as OpenAI-compatible servers have it.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// Adds an answer to the queue of a kind of requests.
    pub fn push(&self, kind: Kind, answer: impl Into<Answer>) {
        lock(&self.script.queues).entry(kind).or_default().push_back(answer.into());
    }

    /// Answers all requests that fit, before any queue is asked. Rules are tried in the order in which they were made.
    pub fn when<A: Into<Answer>>(
        &self,
        fits: impl Fn(&Received) -> bool + Send + Sync + 'static,
        make: impl Fn(&Received) -> A + Send + Sync + 'static,
    ) {
        lock(&self.script.rules).push((Box::new(fits), Box::new(move |received| make(received).into())));
    }

    /// Answers the requests that no rule and no queue answers.
    pub fn otherwise<A: Into<Answer>>(&self, make: impl Fn(&Received) -> A + Send + Sync + 'static) {
        *lock(&self.script.otherwise) = Arc::new(Box::new(move |received| make(received).into()));
    }

    /// Turns the record of requests off, for long runs; they are counted all the same.
    pub fn record(&self, on: bool) {
        self.script.is_recording.store(on, Ordering::Relaxed);
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.script.received).clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.script.count.load(Ordering::Relaxed)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.script.connections.load(Ordering::Relaxed)
    }

    /// How many answers are scripted and not yet asked for.
    pub fn unused(&self) -> usize {
        lock(&self.script.queues).values().map(VecDeque::len).sum()
    }

    /// Answers in progress now.
    pub fn open(&self) -> usize {
        *self.script.open.borrow()
    }

    /// How many clients left before their answer was over.
    pub fn closed_early(&self) -> usize {
        *self.script.closed_early.borrow()
    }

    /// Waits until `count` clients have left before their answer was over; returns how long that took, or `None` if it
    /// did not happen within `limit`.
    pub async fn wait_for_closed_early(&self, count: usize, limit: Duration) -> Option<Duration> {
        let begin = Instant::now();
        let mut seen = self.script.closed_early.subscribe();
        let reached = tokio::time::timeout(limit, seen.wait_for(|closed| *closed >= count)).await;
        reached.is_ok_and(|seen| seen.is_ok()).then(|| begin.elapsed())
    }

    /// Waits until `count` answers are in progress; `false` if that did not happen within `limit`.
    pub async fn wait_for_open(&self, count: usize, limit: Duration) -> bool {
        let mut seen = self.script.open.subscribe();
        tokio::time::timeout(limit, seen.wait_for(|open| *open >= count)).await.is_ok_and(|seen| seen.is_ok())
    }
}

/// The answer to requests for which there is no script.
fn by_default(received: &Received) -> Answer {
    match received.kind {
        Kind::Stream => say(&["Here ", "is ", "an ", "answer."]).into(),
        Kind::Complete => say(&["[]"]).into(),
        Kind::Embeddings => Answer::Embeddings,
        Kind::Models => {
            Answer::status(200, &json!({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))
        }
        Kind::Unknown => Answer::error(404, "404", "Resource not found"),
    }
}

fn kind(path: &str, method: &Method, body: &Value) -> Kind {
    let azure = path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let operation = azure.or_else(|| path.strip_prefix("/v1/")).or_else(|| path.strip_prefix("/openai/"));
    match (operation, method) {
        (Some("chat/completions"), &Method::POST) if body["stream"] == true => Kind::Stream,
        (Some("chat/completions"), &Method::POST) => Kind::Complete,
        (Some("embeddings"), &Method::POST) => Kind::Embeddings,
        (Some("models"), &Method::GET) => Kind::Models,
        _ => Kind::Unknown,
    }
}

/// Counts a request as closed early unless it is told that the answer is over.
struct Watch {
    script: Arc<Script>,
    is_over: bool,
}

impl Watch {
    fn new(script: &Arc<Script>) -> Self {
        script.open.send_modify(|open| *open += 1);
        Self { script: Arc::clone(script), is_over: false }
    }

    fn over(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.script.open.send_modify(|open| *open -= 1);
        if !self.is_over {
            self.script.closed_early.send_modify(|closed| *closed += 1);
        }
    }
}

async fn handle(State(script): State<Arc<Script>>, request: Request) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, REQUEST_LIMIT_BYTES).await.unwrap_or_default();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let path = parts.uri.path().to_owned();
    let received = Received {
        kind: kind(&path, &parts.method, &body),
        method: parts.method,
        path,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
        at: Instant::now(),
    };
    script.count.fetch_add(1, Ordering::Relaxed);
    let answer = script.answer_to(&received);
    let mut watch = Watch::new(&script);
    let turn_as_asked = |turn: Turn| match received.kind {
        Kind::Stream => Answer::Steps(turn.steps()),
        _ => Answer::status(200, &turn.whole()),
    };
    let answer = match answer {
        Answer::Turn(turn) => turn_as_asked(turn),
        Answer::Embeddings => Answer::status(200, &embeddings(&received.body)),
        other => other,
    };
    if script.is_recording.load(Ordering::Relaxed) {
        lock(&script.received).push(received);
    }
    Ok(match answer {
        Answer::Silence => std::future::pending().await,
        Answer::HangUp => {
            watch.over();
            // The one way to close a connection from within a handler: its task ends. Unwinding like this prints
            // nothing.
            std::panic::resume_unwind(Box::new("hang up"))
        }
        Answer::Status { status, headers, content_type, body } => {
            watch.over();
            let status = StatusCode::from_u16(status).expect("a status that exists");
            let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).expect("a valid header")
        }
        Answer::Steps(steps) => Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")
            .body(Body::from_stream(play(steps, watch)))
            .expect("a valid header"),
        Answer::Turn(_) | Answer::Embeddings => unreachable!("made into others above"),
    })
}

/// Microseconds since 1970: two processes have no other clock in common.
#[expect(clippy::disallowed_methods, reason = "two processes of a benchmark have no other clock in common")]
fn microseconds() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

fn play(steps: Vec<Step>, watch: Watch) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold((VecDeque::from(steps), watch), |(mut steps, mut watch)| async {
        loop {
            let bytes = match steps.pop_front() {
                Some(Step::Event(event)) => format!("data: {event}\n\n"),
                Some(Step::Raw(raw)) => raw,
                Some(Step::Stamped(mark)) => {
                    let Step::Event(event) = text(&format!("{mark}{} ", microseconds())) else { continue };
                    format!("data: {event}\n\n")
                }
                Some(Step::Done) => "data: [DONE]\n\n".to_owned(),
                Some(Step::Pause(pause)) => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Some(Step::Stall) => std::future::pending().await,
                Some(Step::Cut) => {
                    // hyper throws away what it has not sent when a body fails, and sends when a body has nothing to
                    // give.
                    tokio::task::yield_now().await;
                    watch.over();
                    return Some((Err(io::Error::other("cut as scripted")), (VecDeque::new(), watch)));
                }
                None => {
                    watch.over();
                    return None;
                }
            };
            // Once the last bytes are handed over, a client that has seen the end mark may leave.
            watch.is_over = steps.is_empty();
            return Some((Ok(bytes.into()), (steps, watch)));
        }
    })
}

fn embeddings(body: &Value) -> Value {
    let texts: Vec<&str> = match &body["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let entry =
        |(index, text): (usize, &&str)| json!({"object": "embedding", "index": index, "embedding": vector(text)});
    let data: Vec<Value> = texts.iter().enumerate().map(entry).collect();
    let tokens = texts.len();
    json!({
        "object": "list", "data": data, "model": "scripted", "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })
}
