//! A collector that receives traces, metrics and logs over OTLP (http/protobuf) and exposes them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running collector.
pub struct Collector {
    url: String,
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

/// What came, in the order in which it came.
#[derive(Default, Clone)]
pub struct Received {
    pub spans: Vec<Span>,
    pub metrics: Vec<Metric>,
    pub logs: Vec<LogRecord>,
    pub resources: Vec<Resource>,
    /// Value of `authorization` of each call.
    pub credentials: Vec<String>,
    pub paths: Vec<&'static str>,
}

type Shared = Arc<Mutex<Received>>;

impl Collector {
    #[expect(clippy::disallowed_methods, reason = "this server is not part of the service")]
    pub async fn start() -> Self {
        let received = Shared::default();
        let langfuse = "/api/public/otel/v1/traces";
        let router = Router::new()
            .route("/v1/traces", post(|state, headers, body| take_traces("/v1/traces", state, headers, body)))
            .route(langfuse, post(move |state, headers, body| take_traces(langfuse, state, headers, body)))
            .route("/v1/metrics", post(take_metrics))
            .route("/v1/logs", post(take_logs))
            .with_state(received.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { url, received, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take_traces(path: &'static str, State(state): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut received = note(&state, path, &headers);
    for group in request.resource_spans {
        received.resources.extend(group.resource);
        received.spans.extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    StatusCode::OK
}

async fn take_metrics(State(state): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut received = note(&state, "/v1/metrics", &headers);
    for group in request.resource_metrics {
        received.resources.extend(group.resource);
        received.metrics.extend(group.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
    }
    StatusCode::OK
}

async fn take_logs(State(state): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let mut received = note(&state, "/v1/logs", &headers);
    for group in request.resource_logs {
        received.resources.extend(group.resource);
        received.logs.extend(group.scope_logs.into_iter().flat_map(|scope| scope.log_records));
    }
    StatusCode::OK
}

fn note<'a>(state: &'a Shared, path: &'static str, headers: &HeaderMap) -> std::sync::MutexGuard<'a, Received> {
    let mut received = state.lock().unwrap();
    let credential = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    received.credentials.push(credential.to_owned());
    received.paths.push(path);
    received
}

/// An attribute as text, empty if there is none.
pub fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()).and_then(|AnyValue { value }| value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Bytes of an id, in hexadecimal.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
