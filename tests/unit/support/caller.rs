//! Requests on behalf of a caller, and their answers.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use pluckit::app::router::App;
use pluckit::http::layers::limits::Peer;
use serde_json::Value;
use tower::ServiceExt;

/// Time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A caller of the service, by default from this machine.
#[derive(Clone)]
pub struct Caller {
    service: App,
    authorization: Option<String>,
    headers: Vec<(&'static str, String)>,
    peer: Peer,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// Status and body, for snapshots.
    pub fn summary(&self) -> (u16, Value) {
        (self.status.as_u16(), self.json())
    }

    /// The events of a stream, each block's JSON.
    pub fn events(&self) -> Vec<Value> {
        let blocks = self.text().split_terminator("\n\n");
        blocks
            .filter(|block| !block.starts_with(':'))
            .map(|block| serde_json::from_str(block.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }
}

impl Caller {
    pub fn new(service: App, authorization: Option<String>) -> Self {
        Self { service, authorization, headers: Vec::new(), peer: Peer(([127, 0, 0, 1], 50_000).into()) }
    }

    /// Calls from this address.
    pub fn from(self, address: &str) -> Self {
        Self { peer: Peer((address.parse::<IpAddr>().unwrap(), 50_000).into()), ..self }
    }

    /// Sends this header with every request.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some("application/json"), body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None, Bytes::new()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some("application/json"), body.to_string()).await
    }

    /// Any request; reads the whole answer.
    pub async fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: impl Into<Bytes>) -> Answer {
        let response = self.begin(method, path, content_type, body).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the answer ends").unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Any request; returns when the answer begins.
    pub async fn begin(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<Bytes>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(HOST, "localhost:7071");
        }
        let request = request.extension(self.peer).body(Body::from(body.into())).unwrap();
        tokio::time::timeout(PATIENCE, self.service.clone().oneshot(request)).await.expect("an answer begins").unwrap()
    }
}
