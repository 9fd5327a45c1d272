//! Reads an answer of the stylist, reconnecting as often as necessary.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use eventsource_stream::Eventsource;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::base::local_offset::LocalOffset;
use crate::cli::client::{Service, foreign};
use crate::cli::clock;
use crate::cli::output::complain;

/// How long to try to rejoin an answer.
const REJOIN_PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two attempts to rejoin.
const REJOIN_PAUSE: Duration = Duration::from_secs(1);
/// How long the service may take to stop an answer.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// Most runs of a chat read to restore the conversation.
const MOST_RUNS: usize = 20;
const BROKEN: &str = "the connection broke before the answer was complete";

/// An event of the stream. Unknown kinds are ignored.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A piece of the answer.
    Token {
        /// The piece.
        content: String,
    },
    /// A tool starts.
    ToolUse {
        /// Name of the tool.
        name: String,
    },
    /// A tool has ended.
    ToolResult {
        /// Name of the tool.
        name: String,
        /// Duration of the call in milliseconds.
        tool_latency_ms: Option<u64>,
    },
    /// The events from this number on are void.
    StepReset {
        /// The first of them.
        from_seq: u64,
    },
    /// The turn failed.
    Error {
        /// Error message for the user.
        content: String,
    },
    /// The end.
    Done,
    /// An event of a newer service.
    #[serde(other)]
    Other,
}

/// A chat at the service.
pub struct Chat {
    /// Id of the chat.
    pub id: String,
}

/// A run as the service lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The run.
    pub id: String,
    /// The chat that it belongs to.
    pub chat_id: Option<String>,
    /// Status of the run, such as `running`.
    pub status: String,
    /// The beginning of the user's message.
    pub message: String,
    /// The answer so far; not in lists.
    #[serde(default)]
    pub answer: String,
}

impl Chat {
    /// A new chat.
    pub fn new() -> Self {
        Self { id: format!("cli-{}", Uuid::new_v4().simple()) }
    }

    /// Asks the service.
    pub async fn ask<'a>(
        &self,
        service: &'a Service,
        message: &str,
        said: impl serde::Serialize,
    ) -> anyhow::Result<AnswerStream<'a>> {
        let body = json!({ "message": message, "recentMessages": said, "chatId": self.id, "onDisconnect": "continue" });
        let offset = LocalOffset::of_machine(clock().now()).to_string();
        let request = service.request(Method::POST, "/api/chat").header(ACCEPT, "text/event-stream");
        let request = request.header("x-utc-offset", offset).json(&body);
        let response = service.send(request).await?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        ensure!(
            content_type.is_some_and(|content_type| content_type.starts_with("text/event-stream")),
            foreign(service.address())
        );
        let run = response.headers().get("x-run-id").and_then(|run| run.to_str().ok()).map(str::to_owned);
        Ok(AnswerStream { service, run, seen: 0, events: events(response) })
    }

    /// Stops the answer that is being written, if the service can be reached.
    pub async fn stop(&self, service: &Service) {
        let request = service.request(Method::POST, &format!("/api/chat/{}/stop", self.id)).json(&json!({}));
        match tokio::time::timeout(STOP_PATIENCE, service.send(request)).await {
            Ok(Ok(_)) => {}
            // A service without runs stops when the connection is closed.
            Ok(Err(_)) | Err(_) => complain("the answer could not be stopped"),
        }
    }
}

/// Finds the newest run of a chat and the earlier ones of that chat, oldest first. Without any chat, finds the newest
/// run: requests of other programs, such as those to `/api/v1`, belong to none.
pub async fn last_runs(service: &Service) -> anyhow::Result<Vec<Run>> {
    let list = async |query: String| -> anyhow::Result<Vec<Run>> {
        let mut page: Value = service.get(&format!("/api/chat/runs?{query}"), &[]).await?;
        serde_json::from_value(page["runs"].take()).context("the service's answer cannot be read")
    };
    let newest = list(format!("pageSize={MOST_RUNS}")).await?;
    let newest = newest.iter().find(|run| run.chat_id.is_some()).or(newest.first());
    let Some(newest) = newest else { bail!("there is no conversation to resume") };
    let ids: Vec<String> = match &newest.chat_id {
        Some(chat) => {
            let chat: String = url::form_urlencoded::byte_serialize(chat.as_bytes()).collect();
            list(format!("chatId={chat}&pageSize={MOST_RUNS}")).await?.into_iter().map(|run| run.id).collect()
        }
        None => vec![newest.id.clone()],
    };
    let mut runs = Vec::new();
    for id in ids.into_iter().rev() {
        runs.push(service.get(&format!("/api/chat/runs/{id}"), &[]).await?);
    }
    Ok(runs)
}

/// The events of an answer with their numbers. Reconnects when the connection is lost.
pub struct AnswerStream<'a> {
    service: &'a Service,
    /// The run; `None` if the service does not support runs.
    pub run: Option<String>,
    /// Number of the last event.
    seen: u64,
    events: BoxStream<'static, Option<(String, String)>>,
}

/// Streams the ids and data of events; `None` when the connection breaks.
fn events(response: Response) -> BoxStream<'static, Option<(String, String)>> {
    response.bytes_stream().eventsource().map(|event| event.ok().map(|event| (event.id, event.data))).boxed()
}

impl<'a> AnswerStream<'a> {
    /// Joins an answer that is being written.
    pub async fn join(service: &'a Service, run: &str) -> anyhow::Result<Self> {
        let mut stream = Self { service, run: Some(run.to_owned()), seen: 0, events: futures::stream::empty().boxed() };
        stream.rejoin(run).await?;
        Ok(stream)
    }

    /// Returns the next event.
    pub async fn next(&mut self) -> anyhow::Result<(u64, Event)> {
        loop {
            if let Some(Some((id, data))) = self.events.next().await {
                self.seen = id.parse().unwrap_or(self.seen + 1);
                let event = serde_json::from_str(&data).context("the service sent an event that cannot be read")?;
                return Ok((self.seen, event));
            }
            let Some(run) = self.run.clone() else { bail!(BROKEN) };
            complain("the connection was lost: rejoining the answer");
            self.rejoin(&run).await?;
        }
    }

    async fn rejoin(&mut self, run: &str) -> anyhow::Result<()> {
        let path = format!("/api/chat/runs/{run}/events?after={}", self.seen);
        let deadline = tokio::time::Instant::now() + REJOIN_PATIENCE;
        loop {
            let request = self.service.request(Method::GET, &path).header(ACCEPT, "text/event-stream");
            match request.send().await {
                Ok(response) if response.status().is_success() => {
                    self.events = events(response);
                    return Ok(());
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND => bail!(BROKEN),
                _ if tokio::time::Instant::now() >= deadline => bail!(BROKEN),
                Ok(_) | Err(_) => tokio::time::sleep(REJOIN_PAUSE).await,
            }
        }
    }
}
