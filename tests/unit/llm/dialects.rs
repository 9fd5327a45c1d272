//! Parameters that a server refuses.

use pluckit::llm::{CallContext, ChatRequest, Error, Model, Purpose, ToolSpec};
use serde_json::json;

use super::{azure, compatible_server, limits, model, read, request, said};
use crate::support::model::{Answer, Kind, ModelServer, Received, say};

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
    let refused = model.complete(&CallContext::service(), asking()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 400, .. }), "{refused:?}");
    model.complete(&CallContext::service(), asking()).await.unwrap();
    assert_eq!(server.received().last().unwrap().body["max_tokens"], 9);
    // Nor is it for a wrong key.
    server.push(Kind::Complete, Answer::error(401, "invalid_api_key", "max_tokens"));
    let before = server.count();
    let refused = model.complete(&CallContext::service(), asking()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { status: 401, .. }), "{refused:?}");
    assert_eq!(server.count(), before + 1);
}
