//! Connections of streams: silence, back-pressure and reuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use pluckit::config;
use pluckit::llm::openai::Limits;
use pluckit::llm::{CallContext, Error, Message, Model, Part, Purpose};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::{PATIENCE, azure, azure_server, calls, limits, model, read, read_all, request, said, stylist, told};
use crate::support::model::{Answer, Kind, ModelServer, Step, finish, say, text};

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
async fn a_stream_that_falls_silent_is_given_up() {
    let server = ModelServer::start().await;
    let idle = Duration::from_millis(40);
    let model = model(azure_server(&server), Limits { idle, ..limits() });
    server.push(Kind::Stream, vec![text("half"), Step::Stall]);
    let (parts, error) = read(&model, stylist()).await;
    let error = error.expect("the answer is given up");
    assert_eq!(said(&parts), "half");
    assert!(matches!(error, Error::Interrupted(_)) && told(&error).contains("no data for 40ms"), "{error:?}");
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
