//! The newest lines of this process's log.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Level;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::json::MAX_SAFE_INTEGER;
use crate::http::chat_events::{last_event_id, server_sent_events};
use crate::http::error::ApiError;
use crate::http::extract::description::described;
use crate::http::extract::{AppJson, AppQuery, Fields, Read};
use crate::http::layers::auth::CurrentUser;
use crate::state::AppState;
use crate::telemetry::recent::{LogFilter, LogLine, MOST_LINES, RecentLines};

const DEFAULT_LINES: i64 = 200;
const LONGEST_LEVEL: usize = 10;
const LONGEST_REQUEST_ID: usize = 128;
const LONGEST_TEXT: usize = 200;
/// Lines that a stream reads at a time.
const BATCH: usize = 50;

/// Routes for administrators.
pub fn admin() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_lines))
}

struct ListLinesRequest {
    level: Option<String>,
    request_id: Option<String>,
    text: Option<String>,
    after: u64,
    limit: i64,
    follow: bool,
}

impl Read for ListLinesRequest {
    fn read(fields: &mut Fields) -> Self {
        let level = fields.filled_text("level", LONGEST_LEVEL);
        fields.rule("level", || json!({ "enum": ["", "error", "warn", "info", "debug", "trace"] }));
        Self {
            level,
            request_id: fields.filled_text("requestId", LONGEST_REQUEST_ID),
            text: fields.filled_text("text", LONGEST_TEXT),
            after: fields.integer_within("after", 0, 0..=MAX_SAFE_INTEGER).unsigned_abs(),
            limit: fields.integer_within("limit", DEFAULT_LINES, 1..=MOST_LINES as i64),
            follow: fields.optional_flag("follow").unwrap_or_default(),
        }
    }
}

described!(ListLinesRequest);

impl ListLinesRequest {
    fn filter(&self) -> Result<LogFilter, ApiError> {
        let level = match self.level.as_deref() {
            None | Some("trace") => Level::TRACE,
            Some("debug") => Level::DEBUG,
            Some("info") => Level::INFO,
            Some("warn") => Level::WARN,
            Some("error") => Level::ERROR,
            Some(_) => {
                return Err(ApiError::BadRequest("level must be 'error', 'warn', 'info', 'debug' or 'trace'"));
            }
        };
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        Ok(LogFilter { level, request_id: self.request_id.clone(), text })
    }
}

/// A line of the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogLineResponse {
    /// Counted from the start of the process. In a stream it is the `id` of the event.
    number: u64,
    time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: String,
    /// The module that wrote the line.
    target: String,
    message: String,
    /// The request that the line belongs to.
    request_id: Option<String>,
    /// The line's other values.
    fields: Map<String, Value>,
}

impl From<LogLine> for LogLineResponse {
    fn from(line: LogLine) -> Self {
        let LogLine { number, time, level, target, message, request_id, fields } = line;
        Self { number, time, level: level.as_str().to_ascii_lowercase(), target, message, request_id, fields }
    }
}

#[derive(Serialize, ToSchema)]
struct ListLinesResponse {
    /// Oldest first.
    lines: Vec<LogLineResponse>,
}

/// Lists or streams the newest lines of the log.
///
/// They are of the process that answers, which keeps the last 2,000 lines as they were printed.
#[utoipa::path(get, path = "/api/admin/logs", params(
    ListLinesRequest,
    ("Last-Event-ID" = Option<String>, Header, description = "Like `after`; the larger of the two counts.")
), responses(
    (status = 200, description = "The lines; with `follow`, a stream that continues with new ones.", content(
        (ListLinesResponse = "application/json"),
        (LogLineResponse = "text/event-stream")
    )),
    (status = 400, description = "Unknown level.")
))]
async fn list_lines(
    State(app): State<AppState>,
    CurrentUser(admin): CurrentUser,
    headers: HeaderMap,
    AppQuery(request): AppQuery<ListLinesRequest>,
) -> Result<Response, ApiError> {
    let filter = request.filter()?;
    let after = request.after.max(last_event_id(&headers));
    let limit = usize::try_from(request.limit).unwrap_or_default();
    let open = request.follow.then(|| app.limits.open_stream(&admin)).transpose()?;
    let recent = app.telemetry.recent.clone();
    let wake = recent.watch();
    let seen = *wake.borrow();
    let reading = {
        let (recent, filter) = (recent.clone(), filter.clone());
        // Two thousand lines take a few milliseconds.
        tokio::task::spawn_blocking(move || recent.newest(&filter, after, limit))
    };
    let mut lines: Vec<LogLine> = reading.await.map_err(ApiError::internal)?;
    let Some(open) = open else {
        return Ok(AppJson(ListLinesResponse { lines: lines.into_iter().map(Into::into).collect() }).into_response());
    };
    lines.retain(|line| line.number <= seen);
    let follower = Follower { recent, filter, wake, seen, ready: lines.into(), shutdown: app.shutdown.clone() };
    Ok(server_sent_events(follower.events(open)))
}

/// Follows the log.
struct Follower {
    recent: RecentLines,
    filter: LogFilter,
    wake: watch::Receiver<u64>,
    /// Number of the last line that was examined.
    seen: u64,
    ready: VecDeque<LogLine>,
    shutdown: CancellationToken,
}

impl Follower {
    /// The events of the stream, until the service stops. `open` is dropped with them.
    fn events<T: Send + 'static>(self, open: T) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold((self, open), |(mut follower, open)| async move {
            let line = follower.next().await?;
            let event = Event::default().id(line.number.to_string()).json_data(LogLineResponse::from(line));
            Some((Ok(event.expect("a line is texts and numbers")), (follower, open)))
        })
    }

    /// Returns the next line; `None` when the service stops. Lines evicted before they were read are skipped.
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            let newest = *self.wake.borrow_and_update();
            if newest > self.seen {
                let (lines, seen) = self.recent.next(&self.filter, self.seen, BATCH);
                (self.ready, self.seen) = (lines.into(), seen);
                continue;
            }
            self.shutdown.run_until_cancelled(self.wake.changed()).await?.ok()?;
        }
    }
}
