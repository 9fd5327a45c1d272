//! Azure OpenAI and compatible servers, over the real protocol, against a scripted server.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures::StreamExt;
use pluckit::base::clock::ManualClock;
use pluckit::config;
use pluckit::llm::openai::{Limits, OpenAi, OptionsError};
use pluckit::llm::{CallContext, ChatRequest, Error, Message, Model, Part, Purpose, ToolCall, ToolSpec, Tools, Usage};
use pluckit::net;
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::model::{
    Answer, Kind, ModelServer, Received, Step, Turn, azure_preamble, call, delta, finish, fragment, say, text, usage,
    vector,
};

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

// What is sent

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

// What is read

#[tokio::test]
async fn text_comes_in_pieces_and_the_usage_last() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, say(&["Wear ", "the ", "navy blazer."]).usage(123, 45));
    let parts = read_all(&azure(&server)).await;
    let piece = |text: &str| Part::Text(text.to_owned());
    let usage = Part::Usage(Usage { input_tokens: 123, output_tokens: 45 });
    assert_eq!(parts, [piece("Wear "), piece("the "), piece("navy blazer."), usage]);
}

#[tokio::test]
async fn a_piece_is_passed_on_before_the_next_one_is_sent() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, vec![text("first"), Step::Stall]);
    let mut stream = azure(&server).stream(&CallContext::service(), stylist()).await.unwrap();
    let part = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(part, Part::Text("first".to_owned()));
}

#[tokio::test]
async fn interleaved_tool_calls_are_put_together_after_the_text() {
    let server = ModelServer::start().await;
    let turn = say(&["Let me look."]).call("c1", "search_wardrobe", r#"{"query":"blue é shirts"}"#).call(
        "c2",
        "get_weather",
        "{}",
    );
    server.push(Kind::Stream, turn.call("c3", "get_user_profile", ""));
    let parts = read_all(&azure(&server)).await;
    assert_eq!(parts[0], Part::Text("Let me look.".to_owned()));
    assert_eq!(
        calls(&parts),
        [
            tool_call("c1", "search_wardrobe", r#"{"query":"blue é shirts"}"#),
            tool_call("c2", "get_weather", "{}"),
            tool_call("c3", "get_user_profile", "{}"),
        ]
    );
    assert!(matches!(parts[4], Part::Usage(_)));
}

#[tokio::test]
async fn broken_arguments_are_the_business_of_the_caller() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, call("c1", "search_wardrobe", r#"{"query": "bl"#));
    assert_eq!(calls(&read_all(&azure(&server)).await), [tool_call("c1", "search_wardrobe", r#"{"query": "bl"#)]);
}

#[tokio::test]
async fn tool_calls_of_careless_servers_are_understood() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let tool = |call: Value| delta(json!({"tool_calls": [call]}));
    let read = async |steps: Vec<Step>| {
        server.push(Kind::Stream, steps);
        calls(&read_all(&model).await)
    };

    let no_id = read(vec![fragment(0, None, Some("a"), "{}"), fragment(1, None, Some("b"), "{}"), Step::Done]).await;
    assert_eq!((no_id[0].name.as_str(), no_id[1].name.as_str()), ("a", "b"));
    assert!(no_id[0].id.starts_with("call_") && no_id[0].id != no_id[1].id, "{no_id:?}");

    let all_zero = read(vec![
        fragment(0, Some("x"), Some("a"), "{\"n\""),
        fragment(0, Some("x"), Some("a"), ":1}"),
        fragment(0, Some("y"), Some("b"), "{}"),
        finish("tool_calls"),
    ])
    .await;
    assert_eq!(all_zero, [tool_call("x", "a", "{\"n\":1}"), tool_call("y", "b", "{}")]);

    let no_index = read(vec![
        tool(json!({"id": "x", "function": {"name": "a", "arguments": {"n": 1}}})),
        tool(json!({"id": "y", "function": {"name": "b", "arguments": null}})),
        tool(json!({"function": {"arguments": "{}"}})),
        finish("tool_calls"),
    ])
    .await;
    assert_eq!(no_index, [tool_call("x", "a", "{\"n\":1}"), tool_call("y", "b", "{}")]);

    let turned = read(vec![
        fragment(1, Some("y"), Some("b"), "{}"),
        fragment(0, Some("x"), Some("sea"), ""),
        fragment(0, None, Some("rch"), "{}"),
        finish("tool_calls"),
    ])
    .await;
    assert_eq!(turned, [tool_call("x", "search", "{}"), tool_call("y", "b", "{}")]);
}

#[tokio::test]
async fn a_new_call_is_known_by_its_name_where_ids_and_indexes_do_not_tell() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let tool = |name: &'static str| ToolSpec { name, description: "", parameters: json!({"type": "object"}) };
    let tools: Tools = ["search", "summary", "weather"].map(tool).into();
    let read = async |steps: Vec<Step>| {
        server.push(Kind::Stream, steps);
        let (parts, error) = read(&model, ChatRequest { tools: tools.clone(), ..stylist() }).await;
        assert!(error.is_none(), "{error:?}");
        calls(&parts).into_iter().map(|call| (call.name, call.arguments)).collect::<Vec<_>>()
    };
    let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    let zero = |name: &str, arguments: &str| fragment(0, Some(""), Some(name), arguments);

    let two = read(vec![zero("search", r#"{"query":"coat"}"#), zero("summary", "{}"), finish("stop")]).await;
    assert_eq!(two, [call("search", r#"{"query":"coat"}"#), call("summary", "{}")]);
    let without_arguments = read(vec![zero("summary", ""), zero("weather", ""), finish("stop")]).await;
    assert_eq!(without_arguments, [call("summary", "{}"), call("weather", "{}")]);
    let same =
        read(vec![zero("search", r#"{"query":"coat"}"#), zero("search", r#"{"query":"shoes"}"#), Step::Done]).await;
    assert_eq!(same, [call("search", r#"{"query":"coat"}"#), call("search", r#"{"query":"shoes"}"#)]);
    let repeated =
        read(vec![zero("search", r#"{"query":"#), zero("search", r#""coat"}"#), zero("search", ""), finish("x")]).await;
    assert_eq!(repeated, [call("search", r#"{"query":"coat"}"#)]);
    let same_id = read(vec![
        fragment(0, Some("x"), Some("search"), "{}"),
        fragment(1, Some("x"), Some("summary"), "{}"),
        finish("stop"),
    ]);
    assert_eq!(same_id.await, [call("search", "{}"), call("summary", "{}")]);
}

#[tokio::test]
async fn calls_in_other_forms_are_read_and_empty_ones_left_out() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let read = async |steps: Vec<Step>| {
        server.push(Kind::Stream, steps);
        read_all(&model).await
    };
    let empty = json!({"index": 0, "id": "", "type": "function", "function": {"name": "", "arguments": ""}});
    let beside_text = read(vec![delta(json!({"content": "Wear it.", "tool_calls": [empty]})), finish("stop")]).await;
    assert_eq!(beside_text, [Part::Text("Wear it.".to_owned())]);

    let numbers = json!({"tool_calls": [{"index": "0", "id": 7, "function": {"name": "a", "arguments": null}}]});
    assert_eq!(read(vec![delta(numbers), Step::Done]).await, [Part::ToolCall(tool_call("7", "a", "{}"))]);

    let legacy = |piece: Value| delta(json!({"content": null, "function_call": piece}));
    let pieces = [json!({"name": "a", "arguments": ""}), json!({"arguments": "{\"n\":"}), json!({"arguments": "1}"})];
    let steps = pieces.into_iter().map(legacy).chain([finish("function_call")]).collect();
    let called = calls(&read(steps).await);
    assert_eq!((called[0].name.as_str(), called[0].arguments.as_str()), ("a", "{\"n\":1}"));
}

#[tokio::test]
async fn chunks_with_duplicates_halves_and_other_surprises_are_read() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let raw = |text: &str| Step::Raw(text.to_owned());
    for (steps, expected) in [
        // A delta, and in the message all that was said so far.
        (
            vec![
                Step::Event(json!({"choices": [{"delta": {"content": "Wear "}, "message": {"content": "Wear "}}]})),
                Step::Event(json!({"choices": [{"delta": {"content": "it."}, "message": {"content": "Wear it."}}]})),
                Step::Event(
                    json!({"choices": [{"delta": {}, "message": {"content": "Wear it."}, "finish_reason": "stop"}]}),
                ),
            ],
            "Wear it.",
        ),
        (
            vec![raw("data: {\"choices\":[{\"delta\":{\"content\":\"x\",\"content\":\"Wear it.\"}}]}\n\n"), Step::Done],
            "Wear it.",
        ),
        (
            vec![
                raw("data: {\"choices\":[{\"delta\":{\"content\":\"Nice \\ud83d\"}}]}\n\n"),
                raw("data: {\"choices\":[{\"delta\":{\"content\":\"\\udc57 coat\"}}]}\n\n"),
                raw("data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"},\"finish_reason\":\"stop\"}]}\n\n"),
            ],
            "Nice \u{1f457} coat\u{fffd}",
        ),
        (vec![raw("\u{feff}data:{\"choices\":\rdata: [{\"delta\":{\"content\":\"a\"}}]}\r\rdata: [DONE]\r\r")], "a"),
        (vec![raw("event: message\nretry: 10\n:\nid: 1\ndata: {\"choices\":[{\"text\":\"a\"}]}\n\n"), Step::Done], "a"),
        (vec![text("a"), finish("null"), text("b"), finish("STOP")], "ab"),
        // All of it, although a stream was asked for.
        (
            vec![
                raw("{\n \"choices\": [{\"message\": {\"content\": \"Wear "),
                raw("it.\"}, \"finish_reason\": \"stop\"}]\n}"),
            ],
            "Wear it.",
        ),
    ] {
        server.push(Kind::Stream, steps.clone());
        assert_eq!(said(&read_all(&model).await), expected, "{steps:?}");
    }
    server.push(Kind::Stream, Answer::status(200, &say(&["Wear it."]).whole()));
    let parts = read_all(&model).await;
    assert_eq!(parts[0], Part::Text("Wear it.".to_owned()));
    assert_eq!(parts[1], Part::Usage(Usage { input_tokens: 10, output_tokens: 5 }));
}

#[tokio::test]
async fn sparse_and_unknown_fields_do_no_harm() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let event = |value: Value| Step::Event(value);
    server.push(
        Kind::Stream,
        vec![
            Step::Raw(": waiting for a worker\r\n\r\nevent: message\r\nid: 1\r\n".to_owned()),
            event(json!({"choices": [{"delta": {"content": "a"}}], "surprise": [1]})),
            event(json!({})),
            event(json!({"choices": null, "usage": null, "error": null})),
            event(json!({"choices": [{}]})),
            event(json!({"choices": [{"delta": {"content": null, "tool_calls": null}, "finish_reason": null}]})),
            event(json!({"choices": [{"delta": {"content": [{"type": "text", "text": "b"}]}}]})),
            event(json!({"choices": [{"delta": {"refusal": "c"}}]})),
            event(json!({"choices": [{"delta": {}, "finish_reason": "some_new_reason"}]})),
            event(json!({"choices": [], "usage": {"prompt_tokens": 3}})),
            Step::Done,
        ],
    );
    let parts = read_all(&model).await;
    assert_eq!(said(&parts), "abc");
    assert_eq!(parts.last(), Some(&Part::Usage(Usage { input_tokens: 3, output_tokens: 0 })));
}

#[tokio::test]
async fn an_answer_may_end_with_either_mark_and_without_usage() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    for steps in [
        vec![text("whole"), finish("stop")],
        vec![text("whole"), Step::Done],
        vec![text("whole"), Step::Raw("data: [DONE]".to_owned())],
        vec![text("whole"), finish("length"), Step::Cut],
    ] {
        server.push(Kind::Stream, steps);
        assert_eq!(read_all(&model).await, [Part::Text("whole".to_owned())]);
    }
}

#[tokio::test]
async fn a_server_that_keeps_a_finished_stream_open_is_not_waited_for() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, vec![text("whole"), finish("stop"), Step::Stall]);
    let begin = Instant::now();
    assert_eq!(read_all(&azure(&server)).await, [Part::Text("whole".to_owned())]);
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert!(server.wait_for_closed_early(1, PATIENCE).await.is_some());
}

#[tokio::test]
async fn events_cut_anywhere_are_put_together() {
    let server = ModelServer::start().await;
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"Grüße 👔\"}}]}\r\n\r\ndata: [DONE]\r\n\r\n";
    let halves = (1..events.len()).filter(|at| events.is_char_boundary(*at));
    let model = azure(&server);
    for at in halves {
        let (head, tail) = events.split_at(at);
        let step = |part: &str| Step::Raw(part.to_owned());
        server.push(Kind::Stream, vec![step(head), step(tail)]);
        assert_eq!(read_all(&model).await, [Part::Text("Grüße 👔".to_owned())], "cut at {at}");
    }
}

#[tokio::test]
async fn a_whole_reply_has_text_calls_and_usage() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    server.push(Kind::Complete, say(&["[\"blue\",", "\"navy\"]"]).call("c1", "get_weather", "{}").usage(7, 2));
    let reply = model.complete(&CallContext::service(), request(Purpose::ExpandQuery)).await.unwrap();
    assert_eq!(reply.text, "[\"blue\",\"navy\"]");
    assert_eq!(reply.tool_calls, [tool_call("c1", "get_weather", "{}")]);
    assert_eq!(reply.usage, Some(Usage { input_tokens: 7, output_tokens: 2 }));
    let sent = &server.received()[0];
    assert_eq!((sent.kind, sent.path.as_str()), (Kind::Complete, "/openai/deployments/small/chat/completions"));
}

#[tokio::test]
async fn a_whole_reply_that_is_none_fails() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let failing = async |answer: Answer| {
        server.push(Kind::Complete, answer);
        model.complete(&CallContext::service(), request(Purpose::ExpandQuery)).await.unwrap_err()
    };
    for answer in [
        Answer::plain(200, "<html>secret</html>"),
        Answer::plain(200, ""),
        Answer::status(200, &json!({"choices": []})),
        Answer::status(200, &json!({"choices": "secret"})),
        Answer::status(200, &json!(["secret"])),
    ] {
        let error = failing(answer).await;
        assert!(matches!(error, Error::Nonsense(_)), "{error:?}");
        assert!(!told(&error).contains("secret"), "{}", told(&error));
    }
    let error = failing(Answer::status(200, &json!({"error": {"code": "overloaded", "message": "secret"}}))).await;
    assert!(matches!(error, Error::Unavailable(_)) && !told(&error).contains("secret"), "{error:?}");
    let filtered = json!({"choices": [{"message": {"content": "so far"}, "finish_reason": "content_filter"}]});
    assert!(matches!(failing(Answer::status(200, &filtered)).await, Error::Refused { status: 200, .. }));
    assert_eq!(server.count(), 7, "none of these is tried again");
}

// Embeddings

#[tokio::test]
async fn embeddings_come_in_order_and_of_unit_length() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let turned = json!({"data": [
        {"index": 1, "embedding": vector("b")},
        {"index": 0, "embedding": vector("a")},
    ]});
    server.push(Kind::Embeddings, Answer::status(200, &turned));
    let texts = ["a".to_owned(), "b".to_owned()];
    let vectors = model.embed(&CallContext::service(), &texts).await.unwrap();
    assert_eq!(
        vectors,
        model.embed(&CallContext::service(), &texts).await.unwrap(),
        "the server's own order makes no difference"
    );
    for (vector, text) in vectors.iter().zip(["a", "b"]) {
        let norm: f32 = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        let raw = self::vector(text);
        assert!((vector[0] / vector[1] - raw[0] / raw[1]).abs() < 1e-3, "the direction of {text} is kept");
    }
    let sent = &server.received()[1];
    assert_eq!(sent.path, "/openai/deployments/vectors/embeddings");
    assert_eq!(sent.body, json!({"input": ["a", "b"], "encoding_format": "float"}));
}

#[tokio::test]
async fn many_texts_go_in_several_requests_and_none_in_none() {
    let server = ModelServer::start().await;
    let model = model(compatible_server(&server), limits());
    assert!(model.embed(&CallContext::service(), &[]).await.unwrap().is_empty());
    assert_eq!(server.count(), 0);
    let texts: Vec<String> = (0..600).map(|number| format!("text {number}")).chain([String::new()]).collect();
    let vectors = model.embed(&CallContext::service(), &texts).await.unwrap();
    assert_eq!((vectors.len(), server.count()), (601, 3));
    assert_eq!(vectors[..1], model.embed(&CallContext::service(), &texts[..1]).await.unwrap());
    assert_eq!(vectors[300..301], model.embed(&CallContext::service(), &texts[300..301]).await.unwrap());
    assert_eq!(server.received()[2].body["input"][88], " ", "an empty text would be refused");
}

#[tokio::test]
async fn embeddings_of_another_shape_fail() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let one = |vector: &[f32]| json!({"index": 0, "embedding": vector});
    let good = vector("a");
    for data in [
        json!([]),
        json!([one(&good[..1535])]),
        json!([one(&good), one(&good)]),
        json!([{"index": 1, "embedding": good}]),
        json!([one(&[0.0; 1536])]),
        json!("none"),
    ] {
        server.push(Kind::Embeddings, Answer::status(200, &json!({"data": data})));
        let error = model.embed(&CallContext::service(), &["a".to_owned()]).await.unwrap_err();
        assert!(matches!(error, Error::Nonsense(_)), "{error:?}");
    }
}

// Failures before the first byte

#[tokio::test]
async fn haste_and_trouble_are_tried_again() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    for failure in [
        Answer::busy("0.01"),
        Answer::plain(429, "slow down").header("retry-after-ms", "10"),
        Answer::plain(500, "oops"),
        Answer::error(503, "busy", "later").header("retry-after", "0"),
        Answer::plain(408, ""),
        Answer::HangUp,
        Answer::Steps(vec![]),
        Answer::Steps(vec![Step::Cut]),
    ] {
        let before = server.count();
        server.push(Kind::Stream, failure.clone());
        server.push(Kind::Stream, failure.clone());
        server.push(Kind::Stream, say(&["at last"]));
        assert_eq!(said(&read_all(&model).await), "at last", "{failure:?}");
        assert_eq!(server.count() - before, 3);
    }
}

#[tokio::test]
async fn patience_ends_after_the_third_attempt() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    server.otherwise(|_| Answer::plain(429, "not json").header("retry-after", "0"));
    let error = read_error(&model).await;
    assert!(matches!(error, Error::RateLimited { retry_after: Some(Duration::ZERO) }), "{error:?}");
    assert_eq!(server.count(), 3);
    server.otherwise(|_| Answer::plain(502, "secret"));
    let error = read_error(&model).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(told(&error).contains("502") && !told(&error).contains("secret"), "{}", told(&error));
    assert_eq!(server.count(), 6);
    assert!(matches!(model.complete(&CallContext::service(), stylist()).await, Err(Error::Unavailable(_))));
    assert!(matches!(model.embed(&CallContext::service(), &["a".to_owned()]).await, Err(Error::Unavailable(_))));
    assert_eq!(server.count(), 12);
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, Answer::busy("0.3"));
    read_all(&azure(&server)).await;
    let received = server.received();
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(295), "{waited:?}");
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_not_waited() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, Answer::busy("60"));
    let error = read_error(&azure(&server)).await;
    let minute = Duration::from_secs(60);
    assert!(matches!(error, Error::RateLimited { retry_after: Some(wait) } if wait == minute), "{error:?}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn the_waits_grow_and_stay_within_the_total() {
    let server = ModelServer::start().await;
    server.otherwise(|_| Answer::plain(500, ""));
    let back_off = Duration::from_millis(60);
    read_error(&model(azure_server(&server), Limits { back_off, ..limits() })).await;
    let received = server.received();
    let waits = [received[1].at - received[0].at, received[2].at - received[1].at];
    assert!(waits[0] >= back_off / 2 && waits[1] >= back_off, "{waits:?}");

    let tight = Limits { back_off: PATIENCE, longest_wait: PATIENCE, total: Duration::from_secs(1), ..limits() };
    let begin = Instant::now();
    read_error(&model(azure_server(&server), tight)).await;
    assert!(begin.elapsed() < PATIENCE / 2, "a wait past the deadline is not begun");
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn refusals_keep_their_status_and_are_not_repeated() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    for (answer, expected, code) in [
        (Answer::error(401, "invalid_api_key", "secret"), 401, "invalid_api_key"),
        (Answer::error(400, "content_filter", "secret"), 400, "content_filter"),
        (Answer::error(400, "you said secret", "secret"), 400, "unknown"),
        (Answer::error(404, "DeploymentNotFound", "secret"), 404, "DeploymentNotFound"),
        (Answer::plain(404, "secret"), 404, "unknown"),
        (Answer::plain(302, "").header("location", "https://example.com/secret"), 302, "unknown"),
    ] {
        let before = server.count();
        server.push(Kind::Stream, answer);
        let error = read_error(&model).await;
        assert!(matches!(error, Error::Refused { status, .. } if status == expected), "{error:?}");
        assert!(told(&error).contains(code) && !told(&error).contains("secret"), "{}", told(&error));
        assert_eq!(server.count() - before, 1);
    }
    server.push(Kind::Stream, Answer::error(429, "insufficient_quota", "pay"));
    let before = server.count();
    assert!(matches!(read_error(&model).await, Error::RateLimited { retry_after: None }));
    assert_eq!(server.count() - before, 1, "no wait fills an empty account");
}

#[tokio::test]
async fn a_server_that_does_not_begin_is_given_up() {
    let server = ModelServer::start().await;
    let first_byte = Duration::from_millis(40);
    let model = model(azure_server(&server), Limits { first_byte, ..limits() });
    for silence in [Answer::Silence, Answer::Steps(vec![Step::Stall])] {
        let before = server.count();
        server.otherwise(move |_| silence.clone());
        let begin = Instant::now();
        let error = read_error(&model).await;
        assert!(matches!(error, Error::Unavailable(_)) && told(&error).contains("no answer within 40ms"), "{error:?}");
        assert!(begin.elapsed() >= 3 * first_byte);
        assert_eq!(server.count() - before, 3);
    }
    let patient = self::model(azure_server(&server), Limits { first_byte: 20 * first_byte, ..limits() });
    server.push(Kind::Stream, Answer::Silence);
    server.push(Kind::Stream, say(&["at last"]));
    assert_eq!(said(&read_all(&patient).await), "at last");
    assert!(server.wait_for_closed_early(7, PATIENCE).await.is_some(), "each attempt was hung up");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let address = {
        let server = ModelServer::start().await;
        azure_server(&server)
    };
    let model = model(address, limits());
    // The port closes when the server's task has ended, which is soon after it is dropped.
    let error = read_error(&model).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!told(&error).contains("api-version"), "addresses are not told: {}", told(&error));
}

// Failures after the first byte

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_not_repeated() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    for (steps, cause) in [
        (vec![text("half"), Step::Cut], "the connection failed"),
        (vec![text("half")], "the answer ended too early"),
        (
            vec![text("half"), Step::Event(json!({"error": {"code": "server_error", "message": "secret"}}))],
            "server_error",
        ),
        (vec![text("half"), Step::Event(json!({"error": "secret"})), Step::Done], "unknown"),
    ] {
        let before = server.count();
        server.push(Kind::Stream, steps);
        let (parts, error) = read(&model, stylist()).await;
        let error = error.expect("the answer breaks off");
        assert_eq!(said(&parts), "half");
        assert!(matches!(error, Error::Interrupted(_)) && told(&error).contains(cause), "{error:?}");
        assert!(!told(&error).contains("secret"), "{}", told(&error));
        assert_eq!(server.count() - before, 1);
    }
}

#[tokio::test]
async fn errors_in_every_form_end_an_answer() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let raw = |text: &str| Step::Raw(text.to_owned());
    for (steps, cause) in [
        (vec![Step::Event(json!({"object": "error", "message": "secret", "code": 400})), Step::Done], "400"),
        (vec![Step::Event(json!({"detail": "secret"})), Step::Done], "unknown"),
        (vec![Step::Event(json!({"choices": [{"error": {"code": 502}, "finish_reason": "error"}]}))], "502"),
        (vec![raw("event: error\ndata: {\"message\": \"secret\", \"type\": \"overloaded\"}\n\n")], "overloaded"),
        (vec![raw("event: error\ndata: secret\n\n")], "unknown"),
        (vec![raw("{\"error\": {\"code\": 400, \"message\": \"secret\"}}\n")], "400"),
    ] {
        server.push(Kind::Stream, steps);
        let error = read_error(&model).await;
        assert!(matches!(error, Error::Interrupted(_)) && told(&error).contains(cause), "{error:?}");
        assert!(!told(&error).contains("secret"), "{}", told(&error));
        server.push(Kind::Complete, Answer::status(200, &json!({"object": "error", "message": "secret", "code": 400})));
        let error = model.complete(&CallContext::service(), request(Purpose::ExpandQuery)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)) && !told(&error).contains("secret"), "{error:?}");
    }
}

/// A server that refuses a request in which one of these parameters is, naming it.
fn refuses(parameters: &'static [&'static str]) -> impl Fn(&Received) -> Answer {
    move |request| match parameters.iter().find(|name| request.body.get(name).is_some()) {
        Some(name) => Answer::status(
            422,
            &json!({"object": "error", "message": {"detail": [{
                "type": "extra_forbidden", "loc": ["body", name, "x"], "msg": "Extra inputs are not permitted",
            }]}}),
        ),
        None if request.kind == Kind::Embeddings => Answer::Embeddings,
        None => say(&["Well."]).into(),
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_not_sent_again() {
    let tool = ToolSpec { name: "a", description: "A.", parameters: json!({"type": "object"}) };
    let asking = |purpose| ChatRequest { tools: [tool.clone()].into(), max_tokens: Some(9), ..request(purpose) };
    for refused in [
        &["stream_options"] as &'static [&'static str],
        &["max_tokens"],
        &["max_completion_tokens"],
        &["max_tokens", "max_completion_tokens"],
        &["stream_options", "max_tokens", "max_completion_tokens", "tools", "response_format"],
    ] {
        let server = ModelServer::start().await;
        server.otherwise(refuses(refused));
        for model in [model(compatible_server(&server), limits()), azure(&server)] {
            let stylist = || read(&model, asking(Purpose::Stylist));
            assert_eq!(said(&stylist().await.0), "Well.", "{refused:?}");
            let context = CallContext::service();
            let digest = || model.complete(&context, asking(Purpose::WriteDigest));
            assert_eq!(digest().await.unwrap().text, "Well.", "{refused:?}");
            let before = server.count();
            stylist().await;
            digest().await.unwrap();
            assert_eq!(server.count(), before + 2, "{refused:?} is known");
        }
        let last = server.received().pop().unwrap();
        assert_eq!(last.body.get("tools").is_some(), !refused.contains(&"tools"));
        let has_limit = ["max_tokens", "max_completion_tokens"].iter().any(|name| last.body.get(name).is_some());
        assert_eq!(has_limit, refused.iter().filter(|name| name.starts_with("max")).count() < 2);
    }
    let server = ModelServer::start().await;
    server.otherwise(refuses(&["encoding_format"]));
    let model = azure(&server);
    for _ in 0..2 {
        model.embed(&CallContext::service(), &["a".to_owned()]).await.unwrap();
    }
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn each_model_of_a_server_has_a_dialect_of_its_own() {
    let server = ModelServer::start().await;
    server.otherwise(|request| match request.model() {
        "llama" => refuses(&["max_tokens"])(request),
        _ => refuses(&["max_completion_tokens"])(request),
    });
    let model = model(compatible_server(&server), limits());
    for purpose in [Purpose::WriteDigest, Purpose::ExpandQuery, Purpose::WriteDigest, Purpose::ExpandQuery] {
        let asking = ChatRequest { max_tokens: Some(9), ..request(purpose) };
        model.complete(&CallContext::service(), asking).await.unwrap();
    }
    assert_eq!(server.count(), 5, "one refusal, of the main model");
}

#[tokio::test]
async fn a_parameter_is_not_given_up_for_a_refusal_that_it_has_no_part_in() {
    let server = ModelServer::start().await;
    let model = model(compatible_server(&server), limits());
    // Omitting the parameter does not help: the server names it, but the cause is another.
    let too_long =
        || Answer::error(400, "context_length_exceeded", "Too long for max_tokens or max_completion_tokens.");
    server.push(Kind::Complete, too_long());
    server.push(Kind::Complete, too_long());
    server.push(Kind::Complete, too_long());
    let asking = || ChatRequest { max_tokens: Some(9), ..request(Purpose::ExpandQuery) };
    assert!(model.complete(&CallContext::service(), asking()).await.is_err());
    model.complete(&CallContext::service(), asking()).await.unwrap();
    assert_eq!(server.received().last().unwrap().body["max_tokens"], 9);
    // Nor is it for a wrong key.
    server.push(Kind::Complete, Answer::error(401, "invalid_api_key", "max_tokens"));
    let before = server.count();
    assert!(model.complete(&CallContext::service(), asking()).await.is_err());
    assert_eq!(server.count(), before + 1);
}

#[tokio::test]
async fn tool_calls_of_a_stream_that_breaks_off_are_not_told() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, vec![fragment(0, Some("x"), Some("a"), "{}"), Step::Cut]);
    let (parts, error) = read(&azure(&server), stylist()).await;
    assert!(parts.is_empty() && matches!(error, Some(Error::Interrupted(_))), "{parts:?} {error:?}");
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_given_up() {
    let server = ModelServer::start().await;
    let idle = Duration::from_millis(40);
    let model = model(azure_server(&server), Limits { idle, ..limits() });
    server.push(Kind::Stream, vec![text("half"), Step::Stall]);
    let (parts, error) = read(&model, stylist()).await;
    let error = error.expect("the answer is given up");
    assert_eq!(said(&parts), "half");
    assert!(matches!(error, Error::Interrupted(_)) && told(&error).contains("silence for 40ms"), "{error:?}");
    assert!(server.wait_for_closed_early(1, PATIENCE).await.is_some());
}

#[tokio::test]
async fn the_total_time_bounds_a_stream_that_never_ends() {
    let server = ModelServer::start().await;
    let total = Duration::from_millis(400);
    let model = model(azure_server(&server), Limits { total, ..limits() });
    let steps = (0..1000).flat_map(|_| [text("x"), Step::Pause(Duration::from_millis(10))]).collect::<Vec<_>>();
    server.push(Kind::Stream, steps);
    let begin = Instant::now();
    let (parts, error) = read(&model, stylist()).await;
    let error = error.expect("the answer is given up");
    assert!(!parts.is_empty() && begin.elapsed() >= total);
    assert!(matches!(error, Error::Interrupted(_)) && told(&error).contains("not finished within 400ms"), "{error:?}");
}

#[tokio::test]
async fn what_is_not_an_answer_is_nonsense() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    let many = (0..65).map(|index| fragment(index, Some("x"), Some("a"), "")).collect();
    let long = vec![text(&"y".repeat(600 << 10)), text(&"y".repeat(600 << 10)), finish("stop")];
    let arguments = |length: usize| fragment(0, Some("x"), Some("a"), &"y".repeat(length));
    for steps in [
        vec![Step::Raw("data: {\"choices\": [secret\n\n".to_owned()), Step::Done],
        vec![Step::Raw("data: <html>secret</html>\n\n".to_owned()), Step::Stall],
        vec![Step::Event(json!({"choices": {"secret": 1}})), Step::Stall],
        vec![Step::Event(json!("secret")), Step::Stall],
        vec![Step::Raw("x".repeat(3 << 20)), Step::Stall],
        vec![fragment(0, Some("x"), None, "{}"), finish("tool_calls")],
        vec![arguments(200 << 10), arguments(100 << 10), Step::Stall],
        many,
        long,
    ] {
        server.push(Kind::Stream, steps);
        let error = read_error(&model).await;
        assert!(matches!(error, Error::Nonsense(_)), "{error:?}");
        assert!(!told(&error).contains("secret"), "{}", told(&error));
    }
    server.push(Kind::Stream, vec![text("so far"), finish("content_filter"), usage(1, 1), Step::Done]);
    assert!(matches!(read_error(&model).await, Error::Refused { status: 200, .. }));
    server.push(Kind::Stream, vec![azure_preamble(), arguments(200 << 10), finish("tool_calls"), Step::Done]);
    assert_eq!(calls(&read_all(&model).await)[0].arguments.len(), 200 << 10, "long but sound");
}

// Leaving

#[tokio::test]
async fn leaving_closes_the_connection_at_once() {
    let server = ModelServer::start().await;
    let model = Arc::new(azure(&server));
    let second = Duration::from_secs(1);

    // While the server is silent within an answer.
    server.push(Kind::Stream, vec![text("half"), Step::Stall]);
    let mut stream = model.stream(&CallContext::service(), stylist()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert!(server.wait_for_closed_early(1, second).await.is_some(), "silent within an answer");

    // While it is speaking.
    server.push(Kind::Stream, say(&["word "; 10_000]).pause(Duration::from_millis(1)));
    let mut stream = model.stream(&CallContext::service(), stylist()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert!(server.wait_for_closed_early(2, second).await.is_some(), "speaking");

    // Before it has begun, streamed and not.
    server.when(|_| true, |_| Answer::Silence);
    for (count, purpose) in [(3, Purpose::Stylist), (4, Purpose::ExpandQuery)] {
        let asking = async {
            if purpose.is_nano() {
                model.complete(&CallContext::service(), request(purpose)).await.map(drop)
            } else {
                model.stream(&CallContext::service(), request(purpose)).await.map(drop)
            }
        };
        tokio::select! {
            _ = asking => unreachable!("the server is silent"),
            opened = server.wait_for_open(1, PATIENCE) => assert!(opened),
        }
        assert!(server.wait_for_closed_early(count, second).await.is_some(), "not begun: {purpose:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once_do_not_mix() {
    let server = ModelServer::start().await;
    server.record(false);
    server.otherwise(|request| {
        let name = request.last_message().to_owned();
        say(&["for ", &name, "."]).pause(Duration::from_millis(1)).call(&name, "get_weather", "{}")
    });
    let model = azure(&server);
    let one = async |number: usize| {
        let mut asking = stylist();
        asking.messages.push(Message::User(format!("user {number}")));
        let (parts, error) = read(&model, asking).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(said(&parts), format!("for user {number}."));
        assert_eq!(calls(&parts)[0].id, format!("user {number}"));
    };
    futures::future::join_all((0..200).map(one)).await;
    assert_eq!((server.count(), server.received().len()), (200, 0));
}

#[tokio::test]
async fn a_slow_reader_slows_the_server() {
    let server = ModelServer::start().await;
    // 30 MB in small pieces take a busy machine a while.
    let model = model(azure_server(&server), Limits { total: Duration::from_secs(180), ..limits() });
    // Comments between the chunks make it more than all the sockets on the way hold, but nothing to keep for the
    // reader.
    let padding = ": padding\n".repeat(500);
    let steps = (0..6_000).flat_map(|_| [text("z"), Step::Raw(padding.clone())]).chain([Step::Done]);
    server.push(Kind::Stream, steps.collect::<Vec<_>>());
    let mut stream = model.stream(&CallContext::service(), stylist()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    // Enough turns for the server to send all of it, were it read.
    for _ in 0..300 {
        model.complete(&CallContext::service(), request(Purpose::ExpandQuery)).await.unwrap();
    }
    assert_eq!(server.open(), 1, "the server has not got rid of its answer");
    let mut count = 1;
    while let Some(part) = timeout(PATIENCE, stream.next()).await.unwrap() {
        part.unwrap();
        count += 1;
    }
    assert_eq!(count, 6_000);
}

/// A model server on a bare socket, which sends tokens as fast as they are taken. Returns its address and the bytes
/// that were taken so far.
async fn endless_tokens() -> (String, Arc<AtomicUsize>) {
    let socket = TcpSocket::new_v4().unwrap();
    // What the kernel keeps for a reader who does not come is bounded, and does not hide what we take.
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test's runtime")]
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            socket.read_buf(&mut request).await.unwrap();
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
        let event = format!("data: {}\n\n", json!({"choices": [{"delta": {"content": "token "}}]}));
        while let Ok(()) = socket.write_all(event.as_bytes()).await {
            counter.fetch_add(event.len(), Ordering::Relaxed);
        }
    });
    (format!("http://{address}/v1"), taken)
}

#[tokio::test]
async fn a_reader_who_stops_holds_the_server_back() {
    let (base_url, taken) = endless_tokens().await;
    let server = config::ModelServer {
        url: base_url.parse().unwrap(),
        azure_version: None,
        key: None,
        model: "m".to_owned(),
        nano_model: "m".to_owned(),
        embedding_model: "m".to_owned(),
    };
    let model = model(server, limits());
    let mut stream = model.stream(&CallContext::service(), stylist()).await.unwrap();
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    // Wait for a hundred checks without progress: then the buffers are full, rather than the machine busy.
    let (before, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    crate::support::until("the server is held back", async || {
        let now = taken.load(Ordering::Relaxed);
        if before.swap(now, Ordering::Relaxed) != now {
            looks.store(0, Ordering::Relaxed);
        }
        looks.fetch_add(1, Ordering::Relaxed) == 100
    })
    .await;
    let held = taken.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(taken.load(Ordering::Relaxed), held, "nothing is taken for a reader who has stopped");
    // And goes on where it was.
    for _ in 0..50_000 {
        stream.next().await.unwrap().unwrap();
    }
    assert!(taken.load(Ordering::Relaxed) > held);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_stream() {
    let server = ModelServer::start().await;
    let model = azure(&server);
    // The end of the body comes a little after the end mark, as from a server behind a proxy.
    let late_end = Step::Pause(Duration::from_millis(5));
    server.when(
        |request| request.kind == Kind::Stream,
        move |_| say(&["text"]).steps().into_iter().chain([late_end.clone()]).collect::<Vec<_>>(),
    );
    for _ in 0..5 {
        read_all(&model).await;
        model.complete(&CallContext::service(), request(Purpose::ExpandQuery)).await.unwrap();
    }
    assert_eq!((server.count(), server.connections()), (10, 1));
}

// The rest

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
async fn keys_are_not_shown() {
    let server = ModelServer::start().await;
    for server in [azure_server(&server), compatible_server(&server)] {
        assert!(!format!("{server:?}").contains(KEY), "{server:?}");
        let model = model(server, limits());
        assert!(!format!("{model:#?}").contains(KEY), "{model:?}");
    }
}

/// A place to log to.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_keys_nor_prompts_nor_answers_are_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // All of a test runs on its own thread, the library's reading task included.
    let _logging = tracing::subscriber::set_default(subscriber);
    let server = ModelServer::start().await;
    let model = azure(&server);
    let mut asking = stylist();
    asking.messages.push(Message::User("prompt-0815-secret".to_owned()));
    for answer in [
        say(&["answer-secret"]).into(),
        Answer::plain(200, "data: {\"choices\": answer-secret\n\n"),
        Answer::Steps(vec![Step::Raw("data: {\"choices\": answer-secret\n\n".to_owned()), Step::Done]),
        Answer::Steps(vec![Step::Event(json!({"choices": "answer-secret"})), Step::Done]),
        Answer::Steps(vec![text("answer-secret"), Step::Event(json!({"error": {"message": "answer-secret"}}))]),
        Answer::plain(500, "answer-secret"),
        Answer::plain(429, "answer-secret"),
        Answer::error(400, "content_filter", "answer-secret"),
        Answer::plain(404, "answer-secret"),
    ] {
        for kind in [Kind::Stream, Kind::Complete] {
            server.push(kind, answer.clone());
        }
        read(&model, asking.clone()).await;
        model.complete(&CallContext::service(), asking.clone()).await.ok();
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("model request failed, trying again"), "the log works");
    let line = log.lines().find(|line| line.contains("secret"));
    assert_eq!(line, None);
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
