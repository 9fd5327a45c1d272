//! Streamed answers: text, tool calls, and malformed events.

use futures::StreamExt;
use pluckit::llm::{CallContext, ChatRequest, Error, Model, Part, Purpose, ToolSpec, Tools, Usage};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{PATIENCE, azure, calls, read, read_all, read_error, request, said, stylist, told, tool_call};
use crate::support::model::{
    Answer, Kind, ModelServer, Step, azure_preamble, call, delta, finish, fragment, say, text, usage,
};

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

#[tokio::test]
async fn tool_calls_of_a_stream_that_breaks_off_are_not_told() {
    let server = ModelServer::start().await;
    server.push(Kind::Stream, vec![fragment(0, Some("x"), Some("a"), "{}"), Step::Cut]);
    let (parts, error) = read(&azure(&server), stylist()).await;
    assert!(parts.is_empty() && matches!(error, Some(Error::Interrupted(_))), "{parts:?} {error:?}");
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
