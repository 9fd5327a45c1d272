//! Azure OpenAI and compatible servers, over the real protocol, against a scripted server.

mod connections;
mod dialects;
mod replies;
mod requests;
mod retries;
mod secrets;
mod streams;

use std::time::Duration;

use futures::StreamExt;
use pluckit::config;
use pluckit::llm::openai::{Limits, OpenAi};
use pluckit::llm::{CallContext, ChatRequest, Error, Message, Model, Part, Purpose, ToolCall};
use pluckit::net;
use serde_json::json;
use tokio::time::timeout;

use crate::support::model::{Kind, ModelServer, Turn, say};

const KEY: &str = "key-4711-secret";

/// What a wait may take before a test gives up. Far more than needed.
const PATIENCE: Duration = Duration::from_secs(10);

fn limits() -> Limits {
    Limits {
        first_byte: PATIENCE,
        idle: PATIENCE,
        total: 2 * PATIENCE,
        attempts: 3,
        back_off: Duration::from_millis(2),
        longest_wait: Duration::from_millis(500),
    }
}

fn azure_server(server: &ModelServer) -> config::ModelServer {
    config::ModelServer {
        url: format!("{}/", server.url()).parse().unwrap(),
        azure_version: Some("2024-12-01-preview".to_owned()),
        key: Some(KEY.into()),
        model: "big".to_owned(),
        nano_model: "small".to_owned(),
        embedding_model: "vectors".to_owned(),
    }
}

fn compatible_server(server: &ModelServer) -> config::ModelServer {
    config::ModelServer {
        key: Some(KEY.into()),
        model: "llama".to_owned(),
        nano_model: "tiny".to_owned(),
        embedding_model: "nomic".to_owned(),
        ..server.settings()
    }
}

fn model(server: config::ModelServer, limits: Limits) -> OpenAi {
    OpenAi::new(server, None, limits, net::services().unwrap()).unwrap()
}

fn azure(server: &ModelServer) -> OpenAi {
    model(azure_server(server), limits())
}

fn request(purpose: Purpose) -> ChatRequest {
    let messages = vec![Message::System("Be kind.".to_owned()), Message::User("What should I wear?".to_owned())];
    ChatRequest { purpose, messages, tools: [].into(), max_tokens: None }
}

fn stylist() -> ChatRequest {
    request(Purpose::Stylist)
}

/// All parts of an answer, and the error that ended it.
async fn read(model: &OpenAi, request: ChatRequest) -> (Vec<Part>, Option<Error>) {
    let mut stream = match timeout(PATIENCE, model.stream(&CallContext::service(), request)).await.unwrap() {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut parts = Vec::new();
    while let Some(part) = timeout(PATIENCE, stream.next()).await.unwrap() {
        match part {
            Ok(part) => parts.push(part),
            Err(error) => {
                assert!(timeout(PATIENCE, stream.next()).await.unwrap().is_none(), "nothing comes after an error");
                return (parts, Some(error));
            }
        }
    }
    (parts, None)
}

/// All parts of an answer that must be whole.
async fn read_all(model: &OpenAi) -> Vec<Part> {
    let (parts, error) = read(model, stylist()).await;
    assert!(error.is_none(), "{error:?}");
    parts
}

/// The error of an answer, which must fail.
async fn read_error(model: &OpenAi) -> Error {
    read(model, stylist()).await.1.expect("the answer fails")
}

fn said(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) => Some(text.clone()),
        Part::ToolCall(_) | Part::Usage(_) => None,
    };
    parts.iter().filter_map(text).collect()
}

fn calls(parts: &[Part]) -> Vec<ToolCall> {
    let call = |part: &Part| match part {
        Part::ToolCall(call) => Some(call.clone()),
        Part::Text(_) | Part::Usage(_) => None,
    };
    parts.iter().filter_map(call).collect()
}

fn tool_call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

/// An error with all its causes, as logs show it.
fn told(error: &Error) -> String {
    let mut told = format!("{error} | {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(&format!(" | {error} | {error:?}"));
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn answers_can_be_chosen_by_what_is_asked() {
    let server = ModelServer::start().await;
    server.when(|request| request.kind == Kind::Complete && request.model() == "small", |_| say(&["CONFIRM_SEARCH"]));
    server.when(
        |request| request.kind == Kind::Stream && request.tool_results() == 0,
        |request| Turn::default().call("c1", "search_wardrobe", &json!({"query": request.last_message()}).to_string()),
    );
    server.when(|request| request.tool_results() > 0, |_| say(&["Wear the blazer."]));
    let model = azure(&server);
    assert_eq!(
        model.complete(&CallContext::service(), request(Purpose::ClassifyFollowUp)).await.unwrap().text,
        "CONFIRM_SEARCH"
    );
    let asked = calls(&read_all(&model).await);
    assert_eq!(asked, [tool_call("c1", "search_wardrobe", r#"{"query":"What should I wear?"}"#)]);
    let mut second = stylist();
    second.messages.push(Message::Assistant { content: String::new(), tool_calls: asked });
    second.messages.push(Message::Tool { call_id: "c1".to_owned(), content: "[]".to_owned() });
    assert_eq!(said(&read(&model, second).await.0), "Wear the blazer.");
    assert_eq!(server.unused(), 0);
}
