//! Keys, prompts and answers stay out of logs.

use std::io;
use std::sync::{Arc, Mutex};

use pluckit::llm::{CallContext, Message, Model};
use serde_json::json;

use super::{KEY, azure, azure_server, compatible_server, limits, model, read, stylist};
use crate::support::model::{Answer, Kind, ModelServer, Step, say, text};

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
