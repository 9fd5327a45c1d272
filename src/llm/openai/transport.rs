//! HTTP transport to a model server: time limits, retries, typed refusals, bounded bodies.
//!
//! Unstreamed calls go through `async-openai` with this as the HTTP service: by itself the library retries without
//! limiting `Retry-After`, loses the status of a refusal that is not JSON, and logs whatever it cannot parse, including
//! prompts and answers. Streams are read here, and only as the reader asks for more, so a stopped reader holds the
//! server back.

use std::fmt;
use std::time::Duration;

use async_openai::error::OpenAIError;
use bytes::Bytes;
use eventsource_stream::{EventStream, EventStreamError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Request, Response, StatusCode};
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::lines::Lines;
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::base::clock::milliseconds;
use crate::llm::Error;
use crate::telemetry::trace_context;

/// Longest unstreamed answer; 256 embeddings of 1,536 dimensions take at most 8 MB.
pub(super) const WHOLE_LIMIT_BYTES: usize = 32 << 20;

/// Bytes of a refusal that are read to find its code.
const REFUSAL_LIMIT_BYTES: usize = 64 << 10;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for the end of the body after the end mark, which is usually in the same packet.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// Time limits and retries of model calls. The HTTP client limits connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From sending a request to the first byte of the answer, per attempt.
    pub first_byte: Duration,
    /// Longest silence within an answer.
    pub idle: Duration,
    /// The whole call, including all attempts, delays and the answer.
    pub total: Duration,
    /// Most attempts. Only failures before the first byte are retried.
    pub attempts: u32,
    /// Delay before the second attempt, half of it random; doubled for each further one.
    pub back_off: Duration,
    /// Longest `Retry-After` that is obeyed; a longer one fails at once.
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

/// Description of a failure without parts of request or answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no answer within {0:?}")]
    FirstByte(Duration),
    #[error("no data for {0:?}")]
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
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer has an unexpected format: {0}")]
    Shape(&'static str),
    #[error("no token for the model server")]
    Token(#[source] azure_core::Error),
}

impl Fault {
    pub(super) fn connection(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }

    /// Returns the error for a failure after the answer began.
    pub(super) fn after_begin(self) -> Error {
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

/// Why a call failed, and the server's complaint about the request.
#[derive(Debug, thiserror::Error)]
#[error("the call to the model server failed")]
pub(super) struct Failed {
    #[source]
    pub error: Error,
    pub complaint: Complaint,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, complaint: Complaint::default() }
    }
}

/// Text of a refusal, in lower case. It may quote the request, so it is never shown.
#[derive(Default)]
pub(super) struct Complaint(String);

impl fmt::Debug for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Complaint")
    }
}

impl Complaint {
    /// Whether the text contains this word.
    pub(super) fn names(&self, word: &str) -> bool {
        let is_inside =
            |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        self.0.match_indices(word).any(|(at, _)| {
            !is_inside(self.0[..at].chars().next_back()) && !is_inside(self.0[at + word.len()..].chars().next())
        })
    }
}

/// Why an attempt failed, and whether to retry.
struct Failure {
    failed: Failed,
    again: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    fn again(fault: Fault) -> Self {
        Self { failed: Error::Unavailable(fault.into()).into(), again: true, retry_after: None }
    }

    fn last(error: Error) -> Self {
        Self { failed: error.into(), again: false, retry_after: None }
    }
}

/// A call to a model server, with its attempts.
#[derive(Clone)]
pub(super) struct Call {
    http: reqwest::Client,
    limits: Limits,
    deadline: Instant,
}

impl Call {
    /// Starts a call; its total time runs from now.
    pub(super) fn new(http: reqwest::Client, limits: Limits) -> Self {
        Self { http, limits, deadline: Instant::now() + limits.total }
    }

    /// Returns the deadline of the call.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sends a request until it is answered, or a retry is pointless.
    pub(super) async fn whole(&self, request: Request) -> Result<Response, Failed> {
        let mut attempt = 1;
        loop {
            match self.attempt(&request, self.first_byte_limit()).await {
                Ok(response) => return Ok(self.read_whole(response).await?),
                Err(failure) => attempt = self.wait_after(failure, attempt).await?,
            }
        }
    }

    /// Sends a request until its answer begins to stream, or a retry is pointless.
    pub(super) async fn events(&self, request: Request) -> Result<Events, Failed> {
        let mut attempt = 1;
        loop {
            match self.begin(&request).await {
                Ok(events) => return Ok(events),
                Err(failure) => attempt = self.wait_after(failure, attempt).await?,
            }
        }
    }

    /// Waits for the next attempt, or fails with the last failure.
    async fn wait_after(&self, failure: Failure, attempt: u32) -> Result<u32, Failed> {
        let Some(wait) = self.pause(&failure, attempt) else { return Err(failure.failed) };
        let wait_ms = milliseconds(wait);
        warn!(attempt, wait_ms, error = %Chain(&failure.failed.error), "model request failed, trying again");
        tokio::time::sleep(wait).await;
        Ok(attempt + 1)
    }

    /// Returns the delay before the next attempt; `None` if there is none.
    fn pause(&self, failure: &Failure, attempt: u32) -> Option<Duration> {
        let Limits { attempts, back_off, longest_wait, .. } = self.limits;
        let asked = failure.retry_after.unwrap_or_default();
        if !failure.again || attempt >= attempts || asked > longest_wait {
            return None;
        }
        let back_off = Backoff { first: back_off, most: longest_wait, jitter: Jitter::Half };
        let wait = back_off.pause(attempt).max(asked);
        (Instant::now() + wait < self.deadline).then_some(wait)
    }

    fn first_byte_limit(&self) -> Instant {
        (Instant::now() + self.limits.first_byte).min(self.deadline)
    }

    /// Creates the failure of a missed time limit.
    fn late(&self, limit: Instant) -> Failure {
        match limit == self.deadline {
            true => Failure::last(Error::Unavailable(Fault::Total(self.limits.total).into())),
            false => Failure::again(Fault::FirstByte(self.limits.first_byte)),
        }
    }

    /// Sends the request once; any 2xx is a success.
    async fn attempt(&self, request: &Request, limit: Instant) -> Result<Response, Failure> {
        let mut request = request.try_clone().ok_or_else(|| Failure::last(nonsense("request")))?;
        if let Some(traceparent) = trace_context::current().and_then(|text| text.parse().ok()) {
            request.headers_mut().insert(trace_context::TRACEPARENT, traceparent);
        }
        let response = match timeout_at(limit, self.http.execute(request)).await {
            Err(_elapsed) => return Err(self.late(limit)),
            Ok(Err(error)) if error.is_builder() => {
                return Err(Failure::last(Error::Unavailable(Fault::connection(error).into())));
            }
            Ok(Err(error)) => return Err(Failure::again(Fault::connection(error))),
            Ok(Ok(response)) => response,
        };
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refusal(response, self.deadline).await),
        }
    }

    /// Sends the request once and waits for the first byte of the body.
    async fn begin(&self, request: &Request) -> Result<Events, Failure> {
        let limit = self.first_byte_limit();
        let mut body = self.attempt(request, limit).await?.bytes_stream().boxed();
        // Servers send headers before the model starts, so only a byte of the body shows that it answers.
        match timeout_at(limit, body.next()).await {
            Err(_elapsed) => Err(self.late(limit)),
            Ok(None) => Err(Failure::again(Fault::EndedEarly)),
            Ok(Some(Err(error))) => Err(Failure::again(Fault::connection(error))),
            Ok(Some(Ok(first))) => Ok(Events::new(self.clone(), first, body)),
        }
    }

    /// Reads an unstreamed answer.
    async fn read_whole(&self, response: Response) -> Result<Response, Error> {
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

    /// Reads the next chunk of a body, within the limits.
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
}

/// Sends a small request once. A 404 also proves that the server is reachable.
pub(super) async fn ping(request: reqwest::RequestBuilder, limit: Duration) -> Result<(), Error> {
    let is_alive = |status: StatusCode| {
        let unknown = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        status.is_success() || unknown.contains(&status)
    };
    match timeout(limit, request.send()).await {
        Err(_elapsed) => Err(Error::Unavailable(Fault::FirstByte(limit).into())),
        Ok(Err(error)) => Err(Error::Unavailable(Fault::connection(error).into())),
        Ok(Ok(response)) if is_alive(response.status()) => Ok(()),
        Ok(Ok(response)) => Err(refusal(response, Instant::now() + limit).await.failed.error),
    }
}

/// Interprets a status outside 2xx.
async fn refusal(response: Response, deadline: Instant) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let limit = (Instant::now() + REFUSAL_TIMEOUT).min(deadline);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    // The code is optional: if reading it fails, the status alone decides.
    while let Ok(Some(Ok(chunk))) = timeout_at(limit, chunks.next()).await {
        body.extend_from_slice(&chunk);
        if body.len() > REFUSAL_LIMIT_BYTES {
            break;
        }
    }
    let code = serde_json::from_slice::<Value>(&body).map_or_else(|_| unknown_code(), |body| error_code(&body));
    if status == StatusCode::TOO_MANY_REQUESTS {
        // An exhausted account has the same status as a rate limit, but retrying does not help.
        let again = code != "insufficient_quota";
        return Failure { failed: Error::RateLimited { retry_after }.into(), again, retry_after };
    }
    let complaint = Complaint(String::from_utf8_lossy(&body).to_lowercase());
    let fault = Fault::Status { status: status.as_u16(), code };
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        let error = Error::Unavailable(fault.into());
        let again = status != StatusCode::NOT_IMPLEMENTED;
        return Failure { failed: Failed { error, complaint }, again, retry_after };
    }
    let error = Error::Refused { status: status.as_u16(), cause: fault.into() };
    Failure { failed: Failed { error, complaint }, again: false, retry_after: None }
}

/// A streamed answer: the data of its events.
pub(super) struct Events(EventStream<BoxStream<'static, Result<Bytes, Fault>>>);

impl Events {
    fn new(call: Call, first: Bytes, body: BoxStream<'static, reqwest::Result<Bytes>>) -> Self {
        let source = Source { call, body, first: Some(first), lines: Lines::default() };
        let lines = stream::unfold(source, |mut source| async {
            let item = source.next().await.transpose()?;
            Some((item, source))
        });
        Self(EventStream::new(lines.boxed()))
    }

    /// Returns the next event; `None` at the end of the body.
    pub(super) async fn next(&mut self) -> Option<Result<EventData, Fault>> {
        let event = self.0.next().await?;
        Some(match event {
            Ok(event) => Ok(EventData { is_error: event.event == "error", data: event.data }),
            Err(EventStreamError::Transport(fault)) => Err(fault),
            Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_)) => Err(Fault::NotJson),
        })
    }

    /// Reads to the end of the body if it is near, so that the connection can be reused.
    pub(super) async fn drain(mut self) {
        let rest = async { while let Some(Ok(_)) = self.0.next().await {} };
        timeout(DRAIN_TIMEOUT, rest).await.ok();
    }
}

/// Data of an event.
pub(super) struct EventData {
    /// Whether the event is named `error`.
    pub is_error: bool,
    /// JSON, or the end mark.
    pub data: String,
}

/// Body of a streamed answer, read line by line.
struct Source {
    call: Call,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    first: Option<Bytes>,
    lines: Lines,
}

impl Source {
    /// Returns some complete lines; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(lines) = self.lines.ready.pop_front() {
                return Ok(Some(lines));
            }
            if self.lines.is_over {
                return Ok(None);
            }
            let piece = match self.first.take() {
                Some(first) => Some(first),
                None => match self.call.next(&mut self.body).await {
                    Ok(piece) => piece,
                    Err(fault) => {
                        // Nothing comes after a fault.
                        self.lines.is_over = true;
                        return Err(fault);
                    }
                },
            };
            let taken = match piece {
                Some(piece) => self.lines.take(&piece),
                None => {
                    self.lines.end();
                    Ok(())
                }
            };
            if let Err(fault) = taken {
                self.lines.is_over = true;
                return Err(fault);
            }
        }
    }
}

/// End mark of a stream.
pub(super) const DONE: &[u8] = b"[DONE]";

/// Converts an error of `async-openai`, whose texts quote bodies and are therefore dropped.
pub(super) fn failed(error: OpenAIError) -> Failed {
    let error = match error {
        OpenAIError::Boxed(error) => match error.downcast::<Failed>() {
            Ok(failed) => return *failed,
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
    };
    error.into()
}

fn nonsense(what: &'static str) -> Error {
    Error::Nonsense(Fault::Shape(what).into())
}

fn unknown_code() -> String {
    "unknown".to_owned()
}

/// Returns the `code` or `type` of an error body. Anything that does not look like a code could quote the prompt and is
/// dropped.
pub(super) fn error_code(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let codes = [error.get("code"), error.pointer("/innererror/code"), error.get("type")];
    let known = codes.into_iter().flatten().find_map(|code| match code {
        Value::String(code) if is_code(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    });
    error_code_of(known)
}

/// Returns a code, if it looks like one.
pub(super) fn error_code_of(code: Option<String>) -> String {
    code.filter(|code| is_code(code)).unwrap_or_else(unknown_code)
}

fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// Returns the requested delay: Azure's milliseconds, seconds, or a date relative to the server's own `Date`, so that
/// our clock does not matter.
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
    fn a_complaint_names_whole_words_only() {
        let complaint = Complaint("unsupported parameter: 'max_tokens'; use 'max_completion_tokens'".to_owned());
        assert!(complaint.names("max_tokens") && complaint.names("max_completion_tokens"));
        assert!(!complaint.names("tokens") && !complaint.names("max_token") && !complaint.names("tools"));
    }
}
