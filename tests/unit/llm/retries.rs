//! Failures: what is tried again, and for how long.

use std::time::{Duration, Instant};

use pluckit::llm::openai::Limits;
use pluckit::llm::{CallContext, Error, Model};
use serde_json::json;

use super::{PATIENCE, azure, azure_server, limits, model, read, read_all, read_error, said, stylist, told};
use crate::support::model::{Answer, Kind, ModelServer, Step, say, text};

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
