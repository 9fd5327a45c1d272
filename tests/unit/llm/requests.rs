//! What model servers are sent, and with which credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use pluckit::base::clock::ManualClock;
use pluckit::config;
use pluckit::llm::openai::{OpenAi, OptionsError};
use pluckit::llm::{CallContext, ChatRequest, Error, Message, Model, Purpose, ToolSpec};
use pluckit::net;
use serde_json::json;
use time::macros::datetime;

use super::{
    KEY, azure, azure_server, compatible_server, limits, model, read, read_all, read_error, request, tool_call,
};
use crate::support::model::{Answer, Kind, ModelServer};

#[tokio::test]
async fn azure_gets_its_addresses_key_and_body() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let tools = [ToolSpec { name: "get_weather", description: "Weather.", parameters: json!({"type": "object"}) }];
    let messages = vec![
        Message::System("s".to_owned()),
        Message::User("u".to_owned()),
        Message::Assistant {
            content: String::new(),
            tool_calls: vec![
                tool_call("D681PevKs", "get_weather", "{}"),
                tool_call("call_1", "get_weather", r#"{"city": "Par"#),
            ],
        },
        Message::Tool { call_id: "D681PevKs".to_owned(), content: "sunny".to_owned() },
        Message::Tool { call_id: "call_1".to_owned(), content: "an error".to_owned() },
        Message::Assistant { content: "It is sunny.".to_owned(), tool_calls: Vec::new() },
    ];
    let request = ChatRequest { purpose: Purpose::Stylist, messages, tools: tools.into(), max_tokens: Some(700) };
    assert!(read(&model, request).await.1.is_none());
    let [sent] = server.received().try_into().unwrap();
    assert_eq!(sent.kind, Kind::Stream);
    assert_eq!(sent.path, "/openai/deployments/big/chat/completions");
    assert_eq!(sent.query, "api-version=2024-12-01-preview");
    assert_eq!(sent.header("api-key"), KEY);
    assert_eq!(sent.header("authorization"), "");
    assert_eq!(sent.header("content-type"), "application/json");
    assert_eq!(sent.header("accept-encoding"), "identity");
    assert_eq!(sent.header("accept"), "text/event-stream");
    assert!(sent.header("user-agent").starts_with("pluckit-processor/"));
    assert_eq!(
        sent.body,
        json!({
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                // Ids are nine letters or digits, as Mistral wants them.
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "D681PevKs", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                    {"id": "74196fe72", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "D681PevKs", "content": "sunny"},
                {"role": "tool", "tool_call_id": "74196fe72", "content": "an error"},
                {"role": "assistant", "content": "It is sunny."},
            ],
            "tools": [{"type": "function", "function": {
                "name": "get_weather", "description": "Weather.", "parameters": {"type": "object"},
            }}],
            "max_completion_tokens": 700,
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
}

#[tokio::test]
async fn a_compatible_server_gets_its_model_and_bearer_key() {
    let server = ModelServer::start().await;
    let model = model(compatible_server(&server), limits());
    let request = ChatRequest { max_tokens: Some(9), ..request(Purpose::ExpandQuery) };
    model.complete(&CallContext::service(), request).await.unwrap();
    let [sent] = server.received().try_into().unwrap();
    assert_eq!((sent.kind, sent.path.as_str(), sent.query.as_str()), (Kind::Complete, "/v1/chat/completions", ""));
    assert_eq!(sent.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(sent.header("api-key"), "");
    assert_eq!((&sent.body["model"], &sent.body["max_tokens"]), (&json!("tiny"), &json!(9)));
    assert_eq!((&sent.body["stream"], sent.body.get("stream_options")), (&json!(false), None));
    assert_eq!((sent.body.get("tools"), sent.body.get("temperature")), (None, None));
}

#[tokio::test]
async fn a_server_without_a_key_gets_none() {
    let server = ModelServer::start().await;
    let open = config::ModelServer { key: None, ..compatible_server(&server) };
    read_all(&model(open, limits())).await;
    assert_eq!(server.received()[0].headers.get("authorization"), None);
}

#[tokio::test]
async fn each_purpose_has_its_model() {
    let server = ModelServer::start().await;
    for (model, main, nano, embedding) in [
        (azure(&server), "big", "small", "vectors"),
        (model(compatible_server(&server), limits()), "llama", "tiny", "nomic"),
    ] {
        assert_eq!(model.name(Purpose::Stylist), main);
        assert_eq!(model.name(Purpose::SummariseConversation), nano);
        read_all(&model).await;
        model.complete(&CallContext::service(), request(Purpose::ClassifyFollowUp)).await.unwrap();
        model.embed(&CallContext::service(), &["x".to_owned()]).await.unwrap();
        let received = server.received();
        let models: Vec<_> = received[received.len() - 3..].iter().map(|request| request.model()).collect();
        assert_eq!(models, [main, nano, embedding]);
    }
}

#[derive(Debug)]
struct Tokens {
    asked: AtomicUsize,
    works_until: usize,
}

#[async_trait::async_trait]
impl TokenCredential for Tokens {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://cognitiveservices.azure.com/.default"]);
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if number > self.works_until {
            return Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "no identity here"));
        }
        let hour = i64::try_from(number).unwrap();
        let expires_on = datetime!(2026-11-20 10:00 UTC) + time::Duration::hours(hour);
        Ok(AccessToken::new(format!("{KEY}-{number}"), expires_on))
    }
}

#[tokio::test]
async fn an_entra_token_is_kept_and_replaced_in_time() {
    let server = ModelServer::start().await;
    let clock = Arc::new(ManualClock::new(datetime!(2026-11-20 10:00 UTC)));
    let tokens = Arc::new(Tokens { asked: AtomicUsize::new(0), works_until: 2 });
    let keyless = config::ModelServer { key: None, ..azure_server(&server) };
    let model =
        OpenAi::new(keyless, Some((tokens.clone(), clock.clone())), limits(), net::services().unwrap()).unwrap();
    let bearer = || server.received().last().unwrap().header("authorization").to_owned();

    read_all(&model).await;
    model.ping().await.unwrap();
    assert_eq!((bearer(), server.received()[0].header("api-key")), (format!("Bearer {KEY}-1"), ""));
    clock.advance(Duration::from_secs(56 * 60)); // 10:56, and the first token ends at 11:00
    read_all(&model).await;
    assert_eq!(bearer(), format!("Bearer {KEY}-2"));
    clock.advance(Duration::from_secs(60 * 60)); // 11:56, no third token is to be had, the second is good until 12:00
    read_all(&model).await;
    assert_eq!(bearer(), format!("Bearer {KEY}-2"));
    clock.advance(Duration::from_secs(10 * 60));
    let error = read_error(&model).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!((server.count(), tokens.asked.load(Ordering::Relaxed)), (4, 4));
}

#[tokio::test]
async fn ping_asks_for_the_models() {
    let server = ModelServer::start().await;
    azure(&server).ping().await.unwrap();
    model(compatible_server(&server), limits()).ping().await.unwrap();
    let received = server.received();
    let seen: Vec<_> = received.iter().map(|request| (request.path.as_str(), request.query.as_str())).collect();
    assert_eq!(seen, [("/openai/models", "api-version=2024-12-01-preview"), ("/v1/models", "")]);
    assert_eq!((received[0].header("api-key"), received[1].header("authorization")), (KEY, "Bearer key-4711-secret"));

    server.push(Kind::Models, Answer::error(401, "401", "wrong key"));
    assert!(matches!(azure(&server).ping().await, Err(Error::Refused { status: 401, .. })));
    server.push(Kind::Models, Answer::plain(503, ""));
    assert!(matches!(azure(&server).ping().await, Err(Error::Unavailable(_))));
    assert_eq!(server.count(), 4, "ping does not try again");
    // A server without a model list still counts as reachable.
    for status in [404, 405, 501] {
        server.push(Kind::Models, Answer::plain(status, ""));
        azure(&server).ping().await.unwrap();
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let server = ModelServer::start().await;
    let attempt = |address: &str, key: &str| {
        let (url, key) = (address.parse().unwrap(), Some(key.into()));
        let server = config::ModelServer { url, key, ..compatible_server(&server) };
        OpenAi::new(server, None, limits(), net::services().unwrap()).map(drop)
    };
    assert_eq!(attempt(&server.base_url(), "fine"), Ok(()));
    assert_eq!(attempt(&server.base_url(), "line\nbreak"), Err(OptionsError::Key));
    assert_eq!(attempt("ftp://example.com/v1", "fine"), Err(OptionsError::Address));
    assert_eq!(attempt("https://user:password@example.com/v1", "fine"), Err(OptionsError::Address));
}
