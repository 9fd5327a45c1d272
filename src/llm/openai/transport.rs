//! The HTTP side of a call to a model server: time limits, retries, typed refusals, bounded and checked bodies.
//!
//! It sits below `async-openai`, as its HTTP service, and hands it nothing but good answers. That is on purpose: left to
//! itself the library retries without a limit on `Retry-After`, loses the status of a refusal whose body is not JSON, and
//! writes whatever it cannot parse, prompts and answers included, to the log.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use crate::llm::Error;
use crate::telemetry::trace_context;

/// Longest streamed answer on the wire. A token costs some 300 bytes there, so this is beyond what any model can say.
const STREAM_LIMIT_BYTES: usize = 64 << 20;

/// Longest line of a stream: one chunk, which may hold a whole tool call.
const LINE_LIMIT_BYTES: usize = 1 << 20;

/// Longest unstreamed answer: 256 embeddings of 1536 numbers are 8 MB of text at most.
const WHOLE_LIMIT_BYTES: usize = 32 << 20;

/// How much of a refusal is read to find its code, and for how long.
const REFUSAL_LIMIT_BYTES: usize = 64 << 10;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the end of the body may take after the end mark; it mostly comes in the same packet.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// How many chunks may wait for a slow reader before we stop reading from the server.
const READ_AHEAD_CHUNKS: usize = 1024;

/// Time limits and retries of model calls. Connecting is bounded by the HTTP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From sending a request to the first byte of its answer, for each attempt.
    pub first_byte: Duration,
    /// Longest silence within an answer.
    pub idle: Duration,
    /// The whole call: all attempts, the waits between them, and reading the answer.
    pub total: Duration,
    /// Requests sent at most. Only failures before the first byte of an answer lead to another one.
    pub attempts: u32,
    /// Wait before the second attempt, half of it at random; doubled for each one after.
    pub back_off: Duration,
    /// Longest wait that a server may ask for with `Retry-After`. Asked for more, we give up at once.
    pub longest_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(180),
            attempts: 3,
            back_off: Duration::from_millis(250),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// What went wrong, in words that hold nothing of the request or the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no answer within {0:?}")]
    FirstByte(Duration),
    #[error("silence for {0:?}")]
    Idle(Duration),
    #[error("not finished within {0:?}")]
    Total(Duration),
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    #[error("the answer ended too early")]
    EndedEarly,
    #[error("the server answered with status {status}, code {code}")]
    Status { status: u16, code: String },
    #[error("the server reported code {0}")]
    Reported(String),
    #[error("the answer is over {0} bytes")]
    TooLarge(usize),
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer has another shape: {0}")]
    Shape(&'static str),
    #[error("no token for the model server")]
    Token(#[source] azure_core::Error),
}

impl Fault {
    fn connection(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }

    /// The error for a fault after the answer had begun.
    fn after_begin(self) -> Error {
        match self {
            Self::NotJson | Self::TooLarge(_) | Self::Shape(_) => Error::Nonsense(self.into()),
            Self::FirstByte(_)
            | Self::Idle(_)
            | Self::Total(_)
            | Self::Connection(_)
            | Self::EndedEarly
            | Self::Status { .. }
            | Self::Reported(_)
            | Self::Token(_) => Error::Interrupted(self.into()),
        }
    }
}

/// How the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// In one piece.
    Whole,
    /// As server-sent events.
    Events,
}

/// One call to a model server, with its attempts.
#[derive(Clone)]
pub(super) struct Exchange {
    http: reqwest::Client,
    limits: Limits,
    deadline: Instant,
    shape: Shape,
    flow: Arc<Flow>,
}

/// What the two ends of a streamed answer tell each other around `async-openai`, which passes on only the chunks.
pub(super) struct Flow {
    /// Why the stream broke off.
    fault: Mutex<Option<Fault>>,
    /// Whether the server said that this is all.
    done: AtomicBool,
    /// Chunks that may still be read ahead; the reader gives one back for each it takes.
    credit: Semaphore,
}

impl Flow {
    /// Takes note that the reader took a chunk.
    pub(super) fn taken(&self) {
        self.credit.add_permits(1);
    }

    /// Whether the server ended the stream with its end mark.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Why the stream broke off, as the error for the reader.
    pub(super) fn error(&self) -> Error {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.unwrap_or(Fault::EndedEarly).after_begin()
    }

    fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

/// Why an attempt failed, and whether another one may help.
struct Failure {
    error: Error,
    again: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    fn again(fault: Fault) -> Self {
        Self { error: Error::Unavailable(fault.into()), again: true, retry_after: None }
    }

    fn last(error: Error) -> Self {
        Self { error, again: false, retry_after: None }
    }
}

impl Exchange {
    /// Begins a call: its total time runs from now.
    pub(super) fn new(http: reqwest::Client, limits: Limits, shape: Shape) -> Self {
        let flow =
            Flow { fault: Mutex::new(None), done: AtomicBool::new(false), credit: Semaphore::new(READ_AHEAD_CHUNKS) };
        Self { http, limits, deadline: Instant::now() + limits.total, shape, flow: Arc::new(flow) }
    }

    /// What its two ends tell each other.
    pub(super) fn flow(&self) -> Arc<Flow> {
        Arc::clone(&self.flow)
    }

    /// When the call must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sends the request until it is answered or there is no point in trying.
    pub(super) async fn send(self, factory: HttpRequestFactory) -> Result<Response, OpenAIError> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(&factory).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let Some(wait) = self.wait_after(&failure, attempt) else {
                return Err(OpenAIError::Boxed(failure.error.into()));
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            warn!(attempt, wait_ms, error = causes(&failure.error), "model request failed, trying again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// How long to wait before the next attempt; `None` if there shall be none.
    fn wait_after(&self, failure: &Failure, attempt: u32) -> Option<Duration> {
        let Limits { attempts, back_off, longest_wait, .. } = self.limits;
        let asked = failure.retry_after.unwrap_or_default();
        if !failure.again || attempt >= attempts || asked > longest_wait {
            return None;
        }
        let doubled = back_off.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(longest_wait);
        // Random, so that instances do not all come back at the same moment; without random bits the middle will do.
        let share = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
        let wait = doubled.mul_f64(0.5 + share / 2.0).max(asked);
        (Instant::now() + wait < self.deadline).then_some(wait)
    }

    async fn attempt(&self, factory: &HttpRequestFactory) -> Result<Response, Failure> {
        let Limits { first_byte, total, .. } = self.limits;
        let begin = (Instant::now() + first_byte).min(self.deadline);
        let late = || match begin == self.deadline {
            true => Failure::last(Error::Unavailable(Fault::Total(total).into())),
            false => Failure::again(Fault::FirstByte(first_byte)),
        };
        let mut request = factory.build().await.map_err(|_| Failure::last(nonsense("request")))?;
        if let Some(traceparent) = trace_context::current().and_then(|text| text.parse().ok()) {
            request.headers_mut().insert(trace_context::TRACEPARENT, traceparent);
        }
        let response = match timeout_at(begin, self.http.execute(request)).await {
            Err(_elapsed) => return Err(late()),
            Ok(Err(error)) if error.is_builder() => {
                return Err(Failure::last(Error::Unavailable(Fault::connection(error).into())));
            }
            Ok(Err(error)) => return Err(Failure::again(Fault::connection(error))),
            Ok(Ok(response)) => response,
        };
        if !response.status().is_success() {
            return Err(refusal(response, self.deadline).await);
        }
        match self.shape {
            Shape::Whole => self.whole(response).await.map_err(Failure::last),
            Shape::Events => {
                let mut body = response.bytes_stream().boxed();
                // Servers send headers before the model has thought, so only a byte of the body means that it speaks.
                match timeout_at(begin, body.next()).await {
                    Err(_elapsed) => Err(late()),
                    Ok(None) => Err(Failure::again(Fault::EndedEarly)),
                    Ok(Some(Err(error))) => Err(Failure::again(Fault::connection(error))),
                    Ok(Some(Ok(first))) => Ok(self.events(first, body)),
                }
            }
        }
    }

    /// Reads an unstreamed answer.
    async fn whole(&self, response: Response) -> Result<Response, Error> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = self.next(&mut chunks).await.map_err(Fault::after_begin)? {
            body.extend_from_slice(&chunk);
            if body.len() > WHOLE_LIMIT_BYTES {
                return Err(Fault::TooLarge(WHOLE_LIMIT_BYTES).after_begin());
            }
        }
        if serde_json::from_slice::<&RawValue>(&body).is_err() {
            return Err(Fault::NotJson.after_begin());
        }
        Ok(hyper::Response::new(reqwest::Body::from(body)).into())
    }

    /// The next piece of a body, within the limits.
    async fn next<S>(&self, chunks: &mut S) -> Result<Option<Bytes>, Fault>
    where
        S: futures::Stream<Item = reqwest::Result<Bytes>> + Unpin + Send,
    {
        let Limits { idle, total, .. } = self.limits;
        let limit = (Instant::now() + idle).min(self.deadline);
        match timeout_at(limit, chunks.next()).await {
            Err(_elapsed) if limit == self.deadline => Err(Fault::Total(total)),
            Err(_elapsed) => Err(Fault::Idle(idle)),
            Ok(None) => Ok(None),
            Ok(Some(chunk)) => chunk.map(Some).map_err(Fault::connection),
        }
    }

    /// The streamed answer, checked line by line on its way.
    fn events(&self, first: Bytes, body: BoxStream<'static, reqwest::Result<Bytes>>) -> Response {
        let gate = Gate { exchange: self.clone(), body, first: Some(first), lines: Lines::default(), over: false };
        let checked = stream::unfold(gate, |mut gate| async {
            let item = gate.next().await?;
            Some((item, gate))
        });
        hyper::Response::new(reqwest::Body::wrap_stream(checked)).into()
    }
}

/// Sends a request that has no body to speak of, once; any status of 2xx is well.
pub(super) async fn ping(request: reqwest::RequestBuilder, limit: Duration) -> Result<(), Error> {
    match timeout(limit, request.send()).await {
        Err(_elapsed) => Err(Error::Unavailable(Fault::FirstByte(limit).into())),
        Ok(Err(error)) => Err(Error::Unavailable(Fault::connection(error).into())),
        Ok(Ok(response)) if response.status().is_success() => Ok(()),
        Ok(Ok(response)) => Err(refusal(response, Instant::now() + limit).await.error),
    }
}

/// What a status outside 2xx means.
async fn refusal(response: Response, deadline: Instant) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let limit = (Instant::now() + REFUSAL_TIMEOUT).min(deadline);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    // The code is worth reading but not worth failing for: on any trouble the status alone decides.
    while let Ok(Some(Ok(chunk))) = timeout_at(limit, chunks.next()).await {
        body.extend_from_slice(&chunk);
        if body.len() > REFUSAL_LIMIT_BYTES {
            break;
        }
    }
    let code = serde_json::from_slice::<Value>(&body).map_or_else(|_| unknown_code(), |body| error_code(&body));
    if status == StatusCode::TOO_MANY_REQUESTS {
        // An empty account is told with the same status as haste, but no wait will fill it.
        let again = code != "insufficient_quota";
        return Failure { error: Error::RateLimited { retry_after }, again, retry_after };
    }
    let fault = Fault::Status { status: status.as_u16(), code };
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        return Failure { retry_after, ..Failure::again(fault) };
    }
    Failure::last(Error::Refused { status: status.as_u16(), cause: fault.into() })
}

/// Lets a stream of events through as long as it is sound, within its limits, and read.
struct Gate {
    exchange: Exchange,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    first: Option<Bytes>,
    lines: Lines,
    over: bool,
}

impl Gate {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while !self.over {
            match self.step().await {
                Ok(sound) if sound.is_empty() => {}
                Ok(sound) => return Some(Ok(sound)),
                Err(fault) => {
                    self.over = true;
                    self.exchange.flow.fail(fault);
                    return Some(Err(io::Error::other("stream broken off")));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<Bytes, Fault> {
        if let Some(fault) = self.lines.fault.take() {
            return Err(fault);
        }
        let chunk = match self.first.take() {
            Some(first) => Some(first),
            None => self.exchange.next(&mut self.body).await?,
        };
        let flow = &self.exchange.flow;
        let Some(chunk) = chunk else {
            self.over = true;
            self.lines.end();
            flow.done.fetch_or(self.lines.done, Ordering::Release);
            return Ok(Bytes::new());
        };
        let (sound, events) = self.lines.take(&chunk);
        if self.lines.done {
            flow.done.store(true, Ordering::Release);
            self.over = true;
            // `async-openai` drops the body at the end mark. Unless it was read to its end before, the connection would be
            // closed with it, and the next call of the turn would have to make a new one.
            let drained = async { while let Some(Ok(_)) = self.body.next().await {} };
            if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
                debug!("stream left open by the model server after its end mark");
            }
        }
        let events = u32::try_from(events.min(READ_AHEAD_CHUNKS)).unwrap_or(u32::MAX);
        match timeout_at(self.exchange.deadline, flow.credit.acquire_many(events)).await {
            Err(_elapsed) => return Err(Fault::Total(self.exchange.limits.total)),
            Ok(Err(_closed)) => {} // never closed
            Ok(Ok(permits)) => permits.forget(),
        }
        Ok(sound)
    }
}

/// Cuts a stream into lines and looks at each.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    received: usize,
    done: bool,
    fault: Option<Fault>,
}

impl Lines {
    /// Takes a piece of the stream; returns the sound lines that it completes, and how many chunks are among them.
    fn take(&mut self, piece: &[u8]) -> (Bytes, usize) {
        self.received += piece.len();
        if self.received > STREAM_LIMIT_BYTES {
            self.fault = Some(Fault::TooLarge(STREAM_LIMIT_BYTES));
            return (Bytes::new(), 0);
        }
        let fresh = self.partial.len();
        self.partial.extend_from_slice(piece);
        let Some(last) = self.partial[fresh..].iter().rposition(|byte| *byte == b'\n') else {
            if self.partial.len() > LINE_LIMIT_BYTES {
                self.fault = Some(Fault::TooLarge(LINE_LIMIT_BYTES));
            }
            return (Bytes::new(), 0);
        };
        let rest = self.partial.split_off(fresh + last + 1);
        let mut sound = std::mem::replace(&mut self.partial, rest);
        let (mut at, mut events) = (0, 0);
        for line in sound.split_inclusive(|byte| *byte == b'\n') {
            match Line::of(line) {
                Line::Chunk => events += 1,
                Line::Done => self.done = true,
                Line::Other => {}
                Line::Broken => {
                    self.fault = Some(Fault::NotJson);
                    break;
                }
            }
            at += line.len();
        }
        sound.truncate(at);
        (sound.into(), events)
    }

    /// Looks at what is left at the end. A last line without its end is no event, but may be the end mark.
    fn end(&mut self) {
        self.done |= matches!(Line::of(&self.partial), Line::Done);
    }
}

/// What a line of the stream is.
enum Line {
    Chunk,
    Done,
    Broken,
    Other,
}

impl Line {
    fn of(line: &[u8]) -> Self {
        let Some(data) = line.strip_prefix(b"data:") else { return Self::Other };
        match data.trim_ascii() {
            b"[DONE]" => Self::Done,
            b"" => Self::Other,
            data if serde_json::from_slice::<&RawValue>(data).is_ok() => Self::Chunk,
            _ => Self::Broken,
        }
    }
}

/// What `async-openai` reports, as ours. Its own texts quote bodies, so none of them goes on.
pub(super) fn into_error(error: OpenAIError) -> Error {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(_other) => nonsense("transport"),
        },
        OpenAIError::Reqwest(error) => Error::Interrupted(Fault::connection(error).into()),
        OpenAIError::ApiError(error) => {
            let status = error.status_code.as_u16();
            Error::Refused { status, cause: Fault::Status { status, code: unknown_code() }.into() }
        }
        OpenAIError::JSONDeserialize(..) => Error::Nonsense(Fault::NotJson.into()),
        OpenAIError::StreamError(_) => Error::Interrupted(Fault::EndedEarly.into()),
        OpenAIError::InvalidArgument(_) => nonsense("request"),
        OpenAIError::FileSaveError(_) | OpenAIError::FileReadError(_) => nonsense("file"),
    }
}

/// An error and all that is below it, in one line.
fn causes(error: &Error) -> String {
    let mut line = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        below = cause.source();
    }
    line
}

fn nonsense(what: &'static str) -> Error {
    Error::Nonsense(Fault::Shape(what).into())
}

fn unknown_code() -> String {
    "unknown".to_owned()
}

/// The `code`, else the `type`, of an error body. Anything that does not look like a code could quote the prompt and is
/// not told.
pub(super) fn error_code(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let codes = [error.get("code"), error.pointer("/innererror/code"), error.get("type")];
    let known = codes.into_iter().flatten().find_map(|code| match code {
        Value::String(code) if is_code(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    });
    known.unwrap_or_else(unknown_code)
}

fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// How long the server asks us to wait: Azure's milliseconds, else seconds, else a date, which is read against the
/// server's own `Date` so that our clock does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    if let Some(milliseconds) = number("retry-after-ms") {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    if let Some(seconds) = number(RETRY_AFTER.as_str()) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |name: &str| OffsetDateTime::parse(text(name)?, &Rfc2822).ok();
    let wait = date(RETRY_AFTER.as_str())? - date(DATE.as_str())?;
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_wait_asked_for_is_read_in_every_form() {
        let wait = |pairs: &[_]| retry_after(&headers(pairs));
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "1200")]), Some(Duration::from_millis(1200)));
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        assert_eq!(wait(&[("retry-after", "1e300")]), None);
        let (now, then) = ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:09 GMT");
        assert_eq!(wait(&[("date", now), ("retry-after", then)]), Some(Duration::from_secs(9)));
        assert_eq!(wait(&[("date", then), ("retry-after", now)]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn only_what_looks_like_a_code_is_told() {
        assert_eq!(error_code(&json!({"error": {"code": "content_filter", "type": "x"}})), "content_filter");
        assert_eq!(error_code(&json!({"error": {"code": null, "type": "rate_limit_error"}})), "rate_limit_error");
        assert_eq!(error_code(&json!({"error": {"code": 429}})), "429");
        assert_eq!(error_code(&json!({"code": "you said: hello"})), "unknown");
        assert_eq!(error_code(&json!({"error": "you said hello"})), "unknown");
        assert_eq!(error_code(&json!([])), "unknown");
    }

    #[test]
    fn lines_are_passed_on_whole_and_checked() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"data: {\"a\""), (Bytes::new(), 0));
        assert_eq!(lines.take(b":1}\r\n\r\n: still here\n"), ("data: {\"a\":1}\r\n\r\n: still here\n".into(), 1));
        assert_eq!(lines.take(b"data: 1\n\ndata:[DONE]\n\nda"), ("data: 1\n\ndata:[DONE]\n\n".into(), 1));
        assert!(lines.done);
        assert_eq!(lines.take(b"ta: 2\ndata: {\"secret\n\ndata: 3\n"), ("data: 2\n".into(), 1));
        assert!(matches!(lines.fault, Some(Fault::NotJson)));
    }

    #[test]
    fn endless_lines_and_streams_are_cut_off() {
        let mut lines = Lines::default();
        lines.take(&vec![b'x'; LINE_LIMIT_BYTES + 1]);
        assert!(matches!(lines.fault, Some(Fault::TooLarge(LINE_LIMIT_BYTES))));
        let mut lines = Lines { received: STREAM_LIMIT_BYTES, ..Lines::default() };
        lines.take(b"\n");
        assert!(matches!(lines.fault, Some(Fault::TooLarge(STREAM_LIMIT_BYTES))));
    }
}
