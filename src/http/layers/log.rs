//! Log line, span and id of each request.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, error, field, info, info_span, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::base::chain::Chain;
use crate::base::clock::milliseconds;
use crate::base::text::cut;
use crate::http::error::ApiError;
use crate::http::layers::limits::address_of;
use crate::state::AppState;
use crate::telemetry::{Telemetry, trace_context};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Status in logs and metrics of a request whose client disconnected before it had an answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Longest path that is logged, in characters.
const LONGEST_PATH: usize = 200;
/// Longest segment of a path that is logged. Ids of users and documents fit, credentials do not.
const LONGEST_SEGMENT: usize = 40;

/// The id of a request, for the layers inside.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the id as a text.
    pub fn text(&self) -> Option<String> {
        self.0.to_str().ok().map(str::to_owned)
    }
}

/// Layer of all routes except probes: gives each request an id and a span, and writes its log line.
pub async fn log_request(State(app): State<AppState>, request: Request, next: Next) -> Response {
    log(LogEntry::new(&request, &app, false), request, next).await
}

/// Layer of probes: like [`log_request`], but at debug level, because probes are frequent.
pub async fn log_probe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    log(LogEntry::new(&request, &app, true), request, next).await
}

async fn log(entry: LogEntry, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(RequestId(entry.id.clone()));
    let span = entry.span.clone();
    let mut unanswered = Unanswered(Some(entry));
    let response = next.run(request).instrument(span).await;
    match unanswered.0.take() {
        Some(entry) => entry.finish(response),
        None => response,
    }
}

/// A request without an answer. If its client disconnects, this is dropped and writes the log line.
struct Unanswered(Option<LogEntry>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.abandon();
        }
    }
}

/// Fields of a request's log line.
struct LogEntry {
    id: HeaderValue,
    started: Instant,
    is_probe: bool,
    uri: Uri,
    address: IpAddr,
    span: Span,
    seen: Option<Seen>,
}

/// Fields of a request for traces and metrics.
struct Seen {
    telemetry: Telemetry,
    method: Method,
    route: String,
}

impl Seen {
    /// Names the span of a request and links it to the caller's trace.
    fn begin(telemetry: &Telemetry, request: &Request, route: &str, span: &Span) -> Option<Self> {
        if !telemetry.is_tracing() && !telemetry.metrics.is_on() {
            return None;
        }
        let method = request.method().clone();
        if telemetry.is_tracing() && !span.is_disabled() {
            span.record("otel.name", format!("{method} {route}"));
            span.record("otel.kind", "server");
            let traceparent = request.headers().get(trace_context::TRACEPARENT);
            trace_context::follow(span, traceparent.and_then(|value| value.to_str().ok()));
        }
        Some(Self { telemetry: telemetry.clone(), method, route: route.to_owned() })
    }

    fn finish(&self, status: u16, duration: Duration, span: &Span) {
        self.telemetry.metrics.request(self.method.as_str(), &self.route, status, duration);
        if self.telemetry.is_tracing() {
            span.set_attribute("http.response.status_code", i64::from(status));
            if status >= 500 {
                span.record("otel.status_code", "ERROR");
            }
        }
    }
}

impl LogEntry {
    fn new(request: &Request, app: &AppState, is_probe: bool) -> Self {
        let id = request_id(request);
        let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        // A probe's line and span are at debug level, because a span would cost more than the answer.
        let span = if is_probe {
            debug_span!(
                "request",
                http.method = %request.method(),
                http.route = route,
                request.id = id.to_str().unwrap_or_default(),
            )
        } else {
            info_span!(
                "request",
                otel.name = field::Empty,
                otel.kind = field::Empty,
                otel.status_code = field::Empty,
                http.method = %request.method(),
                http.route = route,
                request.id = id.to_str().unwrap_or_default(),
                user.id = field::Empty,
            )
        };
        let seen = Seen::begin(&app.telemetry, request, route, &span);
        let address = address_of(&app.limits, request.headers(), request.extensions().get());
        Self { id, started: Instant::now(), is_probe, uri: request.uri().clone(), address, span, seen }
    }

    /// Logs that the client disconnected before it had an answer.
    fn abandon(self) {
        let duration = self.started.elapsed();
        if let Some(seen) = &self.seen {
            seen.finish(CLIENT_CLOSED_REQUEST, duration, &self.span);
        }
        let duration_ms = milliseconds(duration);
        let _entered = self.span.enter();
        if self.is_probe {
            debug!(http.status = CLIENT_CLOSED_REQUEST, duration_ms, "client disconnected before the answer");
        } else {
            info!(http.status = CLIENT_CLOSED_REQUEST, duration_ms, "client disconnected before the answer");
        }
    }

    /// Logs the response and adds the common headers.
    fn finish(self, mut response: Response) -> Response {
        let status = response.status().as_u16();
        let duration = self.started.elapsed();
        if let Some(seen) = &self.seen {
            seen.finish(status, duration, &self.span);
        }
        let duration_ms = milliseconds(duration);
        let refusal = response.extensions().get::<ApiError>().and_then(ApiError::refusal);
        self.span.in_scope(|| match response.extensions().get::<ApiError>() {
            Some(
                fault @ (ApiError::Failed { .. }
                | ApiError::Misconfigured(_)
                | ApiError::Internal(_)
                | ApiError::Panicked),
            ) => {
                error!(http.status = status, duration_ms, error = %Chain(fault), "request failed");
            }
            Some(
                fault @ (ApiError::Unavailable(_)
                | ApiError::StepUnavailable { .. }
                | ApiError::TimedOut
                | ApiError::Overloaded),
            ) => {
                warn!(http.status = status, duration_ms, error = %Chain(fault), "request failed");
            }
            _ if refusal.is_some() => {
                // An operator tells one caller from many by the address.
                let address = self.address;
                info!(http.status = status, duration_ms, refusal, client.address = %address, "request answered");
            }
            _ if self.is_probe => debug!(http.status = status, duration_ms, "request answered"),
            _ if response.status() == StatusCode::NOT_FOUND => {
                info!(http.status = status, duration_ms, url.path = shown(self.uri.path()), "request answered");
            }
            _ if is_stream(&response) => {}
            _ => info!(http.status = status, duration_ms, "request answered"),
        });
        if is_stream(&response) {
            let ending =
                StreamEnd { span: self.span, started: self.started, status, begun_ms: duration_ms, is_complete: false };
            response = response.map(|body| Body::new(LoggedStream { body, ending }));
        }
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.id);
        // A route's own header takes precedence: pictures may be cached, most other answers are private.
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
        response
    }
}

/// Whether the answer is a stream.
fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/event-stream"))
}

/// Writes the log line of a stream when it ends, however it ends.
struct StreamEnd {
    span: Span,
    started: Instant,
    status: u16,
    begun_ms: u64,
    /// Whether the last piece was sent.
    is_complete: bool,
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        let Self { started, status, begun_ms, is_complete, .. } = *self;
        let duration_ms = milliseconds(started.elapsed());
        self.span.in_scope(|| info!(http.status = status, duration_ms, begun_ms, is_complete, "request answered"));
    }
}

/// The body of a stream.
struct LoggedStream {
    body: Body,
    ending: StreamEnd,
}

impl hyper::body::Body for LoggedStream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ending.is_complete = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns a path as it is logged. A caller may have put anything into it, so segments that could be a credential or an
/// e-mail address become `*`.
fn shown(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    let may_be_secret =
        |segment: &str| segment.len() > LONGEST_SEGMENT || segment.contains('@') || segment.contains("%40");
    let segments = path.split('/').zip(lower.split('/'));
    let shown: Vec<&str> = segments.map(|(segment, lower)| if may_be_secret(lower) { "*" } else { segment }).collect();
    cut(&shown.join("/"), LONGEST_PATH)
}

/// Returns the caller's request id if it is valid, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let is_sane = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        (1..=LONGEST_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(sane)
    };
    let given = request.headers().get(X_REQUEST_ID).filter(is_sane);
    given.cloned().unwrap_or_else(|| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).expect("a UUID is plain text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_without_what_may_be_secret() {
        let token = "x".repeat(41);
        for (path, expected) in [
            ("/api/nothing", "/api/nothing".to_owned()),
            (
                "/api/moods/6f9619ff-8b86-d011-b42d-00cf4fc964ff",
                "/api/moods/6f9619ff-8b86-d011-b42d-00cf4fc964ff".to_owned(),
            ),
            (&format!("/api/{token}/x"), "/api/*/x".to_owned()),
            ("/users/ada@example.com", "/users/*".to_owned()),
            ("/users/ada%40example.com/a", "/users/*/a".to_owned()),
            (&"/ab".repeat(100), format!("{}\u{2026}", &"/ab".repeat(100)[..199])),
        ] {
            assert_eq!(shown(path), expected);
        }
    }
}
