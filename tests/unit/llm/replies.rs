//! Whole replies and embeddings.

use pluckit::llm::{CallContext, Error, Model, Purpose, Usage};
use serde_json::json;

use super::{azure, compatible_server, limits, model, request, told, tool_call};
use crate::support::model::{Answer, Kind, ModelServer, say, vector};

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
