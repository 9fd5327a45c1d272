//! Server-sent events as a client reads them, one by one, from an answer that goes on.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use super::caller::Caller;

/// No event takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event with its id, if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub id: Option<u64>,
    pub event: Value,
}

/// Puts events together from bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Parser(Vec<u8>);

impl Parser {
    /// Adds bytes, and returns the events that are complete with them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Received> {
        self.0.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.0.drain(..end + 2).collect();
            let text = std::str::from_utf8(&block).unwrap();
            let mut received = Received { id: None, event: Value::Null };
            for line in text.lines() {
                if let Some(id) = line.strip_prefix("id: ") {
                    received.id = Some(id.parse().unwrap());
                } else if let Some(data) = line.strip_prefix("data: ") {
                    received.event = serde_json::from_str(data).unwrap_or_else(|_| data.into());
                }
            }
            if !received.event.is_null() {
                events.push(received);
            }
        }
        events
    }
}

/// An answer that goes on. Dropping it closes the connection.
pub struct EventStream {
    pub response: axum::http::response::Parts,
    body: Body,
    parser: Parser,
    ready: std::collections::VecDeque<Received>,
}

impl EventStream {
    /// Sends a request, and returns when the answer begins.
    pub async fn open(caller: &Caller, method: Method, path: &str, body: Option<Value>) -> Self {
        let (kind, body) = match body {
            Some(body) => (Some("application/json"), body.to_string()),
            None => (None, String::new()),
        };
        let (response, body) = caller.begin(method, path, kind, body).await.into_parts();
        Self { response, body, parser: Parser::default(), ready: Default::default() }
    }

    /// Begins a turn.
    pub async fn ask(caller: &Caller, body: Value) -> Self {
        let stream = Self::open(caller, Method::POST, "/api/chat", Some(body)).await;
        assert_eq!(stream.response.status, 200);
        stream
    }

    /// Follows a run after this event.
    pub async fn follow(caller: &Caller, run: &str, after: u64) -> Self {
        let stream = Self::open(caller, Method::GET, &format!("/api/chat/runs/{run}/events?after={after}"), None).await;
        assert_eq!(stream.response.status, 200);
        stream
    }

    pub fn header(&self, name: &str) -> &str {
        self.response.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The run that the answer is of.
    pub fn run(&self) -> String {
        self.header("x-run-id").to_owned()
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("something comes")?;
            let Ok(frame) = frame else { return None };
            self.ready.extend(self.parser.push(&frame.into_data().unwrap_or_default()));
        }
    }

    /// The events up to the end.
    pub async fn rest(&mut self) -> Vec<Received> {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        rest
    }

    /// Reads so many events.
    pub async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("one more event"));
        }
        events
    }
}

/// What a client has after these events, which it got in this order: the text, and the kinds of the others. Fails if an
/// event has come twice or not at all.
#[derive(Debug, Default)]
pub struct Transcript {
    pub last: u64,
    pub events: Vec<(u64, Value)>,
}

impl Transcript {
    pub fn add(&mut self, received: Received) {
        let id = received.id.expect("events that can be resumed have ids");
        assert_eq!(id, self.last + 1, "no event is missing, and none comes twice");
        self.last = id;
        if received.event["type"] == "step_reset" {
            let from = received.event["fromSeq"].as_u64().unwrap();
            self.events.retain(|(id, _)| *id < from);
            return;
        }
        self.events.push((id, received.event));
    }

    pub fn of(events: Vec<Received>) -> Self {
        let mut transcript = Self::default();
        for event in events {
            transcript.add(event);
        }
        transcript
    }

    pub fn text(&self) -> String {
        text(self.events.iter().map(|(_, event)| event))
    }

    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<_> = self.events.iter().map(|(_, event)| event["type"].as_str().unwrap()).collect();
        kinds.dedup();
        kinds
    }

    pub fn is_over(&self) -> bool {
        self.events.last().is_some_and(|(_, event)| event["type"] == "done")
    }
}

/// The text of an answer.
pub fn text<'a>(events: impl Iterator<Item = &'a Value>) -> String {
    events.filter(|event| event["type"] == "token").map(|event| event["content"].as_str().unwrap()).collect()
}
