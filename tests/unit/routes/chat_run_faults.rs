//! Chat runs while the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use parking_lot::Mutex;
use pluckit::base::clock::ManualClock;
use pluckit::data::chat_runs::Appended;
use pluckit::domain::chat::runs::Follower;
use pluckit::model::chat_run::{ChatEvent, LogPiece};
use pluckit::model::ids::{RunId, UserId};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, MAX_DOCUMENT_BYTES, Page, Stored};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::events::{EventStream, Transcript};
use crate::support::intercepted::{Call, Fate, Intercepted, OldPage};
use crate::support::model::{self, Answer, Kind, ModelServer, Step, call, say};
use crate::support::{TestApp, until};

const RUNS: &str = "/api/chat/runs";
/// Longer than a lease on a run.
const LEASE: Duration = Duration::from_secs(11);

type Rule = Box<dyn Fn(&Call<'_>) -> Fate + Send>;

/// Two services on one store. A rule decides the fate of the first one's calls to the runs container.
struct Pair {
    here: TestApp,
    there: TestApp,
    model: ModelServer,
    store: Arc<dyn DocumentStore>,
    rule: Arc<Mutex<Rule>>,
}

impl Pair {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(clock).unwrap());
        let model = ModelServer::start().await;
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Fate::Passes)));
        let of_each_call = rule.clone();
        let interceptor = move |call: &Call<'_>| match call.container {
            Some(Container::ChatRuns) => of_each_call.lock()(call),
            _ => Fate::Passes,
        };
        let instance = |store: Arc<dyn DocumentStore>| {
            TestApp::builder().store(store).model_server(&model).setting("CHAT_RUN_FLUSH_MS", "10").start()
        };
        let here = instance(Intercepted::new(store.clone(), Arc::new(interceptor)));
        let there = instance(store.clone());
        Self { here, there, model, store, rule }
    }

    fn rule(&self, rule: impl Fn(&Call<'_>) -> Fate + Send + 'static) {
        *self.rule.lock() = Box::new(rule);
    }

    async fn ask(&self, app: &TestApp) -> EventStream {
        let body = json!({"message": "Hi", "chatId": "c1", "onDisconnect": "continue"});
        EventStream::ask(&app.user("ada").await, body).await
    }

    /// Starts a run in the second service, whose model stalls after one text, and follows it in the first.
    async fn follow_stalled(&self) -> (EventStream, String, Follower) {
        self.model.push(Kind::Stream, Answer::Steps(vec![model::text("Wear "), Step::Stall]));
        let mut stream = self.ask(&self.there).await;
        let run = stream.run();
        stream.take(1).await;
        let id = RunId::from(run.as_str());
        let follower = self.here.state.runs.follow(&"ada".into(), &id, 0).await.unwrap();
        (stream, run, follower)
    }

    async fn document(&self, run: &str) -> Value {
        self.store.read(&Key::new(Container::ChatRuns, "ada", run)).await.unwrap().unwrap().parse().unwrap()
    }

    async fn until_status(&self, run: &str, status: &str) {
        until("the run has the status", async || self.document(run).await["status"] == status).await;
    }
}

#[tokio::test]
async fn a_run_is_stored_whole_though_every_other_write_fails() {
    let pair = Pair::start().await;
    let writes = [AtomicUsize::new(0), AtomicUsize::new(0)];
    pair.rule(move |call| {
        let count = match call.name {
            "store.create" => &writes[0],
            "store.replace" => &writes[1],
            _ => return Fate::Passes,
        };
        if count.fetch_add(1, Ordering::Relaxed) % 2 == 0 { Fate::Fails } else { Fate::Passes }
    });
    pair.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}"));
    pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    let mut stream = pair.ask(&pair.here).await;
    let run = stream.run();
    stream.rest().await;
    pair.until_status(&run, "completed").await;
    let ada = pair.there.user("ada").await;
    let transcript = Transcript::of(EventStream::follow(&ada, &run, 0).await.rest().await);
    assert_eq!(transcript.text(), "Wear navy.");
    assert_eq!(transcript.kinds(), ["tool_use", "tool_result", "token", "memory_update", "done"]);
    let document = pair.document(&run).await;
    assert_eq!(document["attempts"], 1);
    let stopped = ada.post(&format!("{RUNS}/{run}/stop"), json!({})).await;
    assert_eq!(stopped.summary(), (200, json!({"status": "completed"})));
    assert_eq!(pair.document(&run).await, document, "a finished run does not change");
}

#[tokio::test]
async fn ids_of_other_documents_are_not_looked_up() {
    let pair = Pair::start().await;
    let ada = pair.here.user("ada").await;
    pair.rule(|_| Fate::Fails);
    let (not_hex, without_dashes) = ("x".repeat(36), "a".repeat(32));
    for id in ["x", "chat-c1", &not_hex, &without_dashes] {
        assert_eq!(ada.get(&format!("{RUNS}/{id}")).await.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn a_long_log_without_an_end_is_shown_and_deleted_with_its_run() {
    let pair = Pair::start().await;
    let (runs, user, run) =
        (&pair.here.state.data.chat_runs, UserId::from("ada"), RunId::from(Uuid::new_v4().to_string()));
    let document = json!({
        "id": run, "userId": "ada", "status": "failed", "ttl": 60, "usage": {"calls": 1, "inputTokens": 9},
        "createdAt": "2026-03-02T09:15:00Z", "updatedAt": "2026-03-02T09:15:00Z",
    });
    pair.here.save(Container::ChatRuns, "ada", document).await;
    for number in 1..=70 {
        let piece = LogPiece {
            id: LogPiece::id(&run, number),
            run_id: run.clone(),
            user_id: user.clone(),
            written_by: "here".to_owned(),
            first_seq: number,
            last_seq: number,
            events: vec![ChatEvent::Token { content: "Wear ".to_owned() }.into()],
            ttl: 60,
        };
        assert_eq!(runs.append(&piece).await.unwrap(), Appended::Done);
    }
    let ada = pair.here.user("ada").await;
    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!((&shown["answer"], &shown["lastSeq"]), (&json!("Wear ".repeat(70)), &json!(70)));
    assert_eq!((&shown["status"], &shown["usage"]["inputTokens"]), (&json!("failed"), &json!(9)));
    assert_eq!(ada.delete(&format!("{RUNS}/{run}")).await.status, StatusCode::NO_CONTENT);
    assert!(runs.pieces_after(&user, &run, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_whose_process_died_before_its_end_was_written_ends_as_its_log_says() {
    let pair = Pair::start().await;
    pair.model.push(Kind::Stream, say(&["Wear ", "navy."]).usage(200, 7));
    pair.rule(|call| if call.name == "store.replace" { Fate::Hangs } else { Fate::Passes });
    let mut stream = pair.ask(&pair.here).await;
    let run = stream.run();
    stream.rest().await;
    let ada = pair.there.user("ada").await;
    until("the whole log is stored", async || ada.get(&format!("{RUNS}/{run}")).await.json()["status"] == "completed")
        .await;
    assert_eq!(pair.document(&run).await["status"], "running");
    assert_eq!(ada.get("/api/chat/c1/stream").await.status, StatusCode::NO_CONTENT, "nothing more comes");
    pair.there.clock.advance(LEASE);
    pair.there.state.runs.sweep().await.unwrap();
    let document = pair.document(&run).await;
    assert_eq!(
        (&document["status"], &document["lastSeq"], &document["usage"]["outputTokens"]),
        (&json!("completed"), &json!(4), &json!(7))
    );
    assert_eq!(document["leaseExpiresAt"], Value::Null);
    assert_eq!(pair.model.count(), 1, "the model is not asked again");
}

#[tokio::test]
async fn a_process_that_watches_takes_over_what_another_left() {
    let pair = Pair::start().await;
    pair.model.push(Kind::Stream, Answer::Steps(vec![model::text("Wear "), Step::Stall]));
    let mut stream = pair.ask(&pair.here).await;
    let run = stream.run();
    stream.take(1).await;
    pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    pair.there.clock.advance(LEASE);
    pair.there.state.runs.watch();
    pair.until_status(&run, "completed").await;
    pair.there.state.shutdown.cancel();
    assert_eq!(pair.document(&run).await["attempts"], 2);
}

#[tokio::test]
async fn a_run_that_cannot_be_taken_over_stops_no_other() {
    let pair = Pair::start().await;
    pair.model.push(Kind::Stream, Answer::Steps(vec![model::text("Wear "), Step::Stall]));
    let mut stream = pair.ask(&pair.there).await;
    let run = stream.run();
    stream.take(1).await;
    // An older run, whose document cannot grow.
    let mut odd = pair.document(&run).await;
    odd["id"] = Uuid::new_v4().to_string().into();
    odd["leaseOwner"] = "x".into();
    odd["leaseExpiresAt"] = "2026-03-02T09:15:00.000Z".into();
    odd["message"] = "".into();
    odd["message"] = "x".repeat(MAX_DOCUMENT_BYTES - odd.to_string().len()).into();
    pair.store.upsert(&Key::new(Container::ChatRuns, "ada", odd["id"].as_str().unwrap()), &odd).await.unwrap();
    pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    pair.here.clock.advance(LEASE);
    pair.here.state.runs.sweep().await.unwrap_err();
    pair.until_status(&run, "completed").await;
    assert_eq!(pair.document(odd["id"].as_str().unwrap()).await["attempts"], 1);
}

#[tokio::test]
async fn a_reader_waits_for_a_store_that_fails_for_seconds_and_no_longer() {
    let pair = Pair::start().await;
    let (_stream, _, mut follower) = pair.follow_stalled().await;
    let failures = AtomicUsize::new(0);
    pair.rule(move |_| if failures.fetch_add(1, Ordering::Relaxed) < 3 { Fate::Fails } else { Fate::Passes });
    assert_eq!(follower.next().await.map(|(seq, _)| seq), Some(1));
    pair.rule(|_| Fate::Fails);
    tokio::time::pause();
    let begun = Instant::now();
    assert!(follower.next().await.is_none());
    tokio::time::resume();
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_reader_takes_over_a_run_whose_process_dies_while_it_waits() {
    let pair = Pair::start().await;
    let (_stream, run, mut follower) = pair.follow_stalled().await;
    assert_eq!(follower.next().await.map(|(seq, _)| seq), Some(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    pair.rule(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fate::Passes
    });
    let reads = async { while follower.next().await.is_some() {} };
    let dies = async {
        tokio::time::pause();
        until("it has looked often", async || calls.load(Ordering::Relaxed) >= 12).await;
        tokio::time::resume();
        pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
        pair.here.clock.advance(LEASE);
        pair.until_status(&run, "completed").await;
    };
    tokio::join!(reads, dies);
    assert_eq!(pair.document(&run).await["attempts"], 2);
}

#[tokio::test]
async fn a_reader_follows_a_run_to_another_process_unless_it_is_too_far_ahead_of_the_log() {
    let events_after = async |ahead: usize, is_resumable: bool| {
        let pair = Pair::start().await;
        pair.rule(|call| match call.document {
            Some(document) if document["firstSeq"].is_u64() => Fate::Fails,
            _ => Fate::Passes,
        });
        let words = std::iter::repeat_with(|| model::text("Wear ")).take(ahead);
        pair.model.push(Kind::Stream, Answer::Steps(words.chain([Step::Stall]).collect()));
        let mut reader = pair.ask(&pair.here).await;
        let run = reader.run();
        if is_resumable {
            reader = EventStream::follow(&pair.here.user("ada").await, &run, 0).await;
        }
        reader.take(ahead).await;
        pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
        pair.there.clock.advance(LEASE);
        pair.there.state.runs.sweep().await.unwrap();
        pair.until_status(&run, "completed").await;
        pair.rule(|_| Fate::Passes);
        let rest = reader.rest().await;
        rest.into_iter().map(|event| event.event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (near, far) = tokio::join!(events_after(128, true), events_after(129, false));
    assert_eq!(near, ["step_reset", "token", "token", "memory_update", "done"]);
    assert!(far.is_empty(), "these would go on in the middle of the answer: {far:?}");
}

#[tokio::test]
async fn a_run_that_ended_after_it_was_found_is_left_as_it_is() {
    let model = ModelServer::start().await;
    let old = Arc::new(OldPage::of(Container::ChatRuns));
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store = Intercepted::new(Arc::new(SqliteStore::in_memory(clock).unwrap()), old.clone());
    let app = TestApp::builder().store(store).model_server(&model).start();
    model.push(Kind::Stream, say(&["Wear ", "navy."]));
    let mut stream = EventStream::ask(&app.user("ada").await, json!({"message": "Hi", "chatId": "c1"})).await;
    let run = stream.run();
    stream.rest().await;
    let key = Key::new(Container::ChatRuns, "ada", run);
    let read = async || app.state.data.store.read(&key).await.unwrap().unwrap();
    until("it has ended", async || read().await.json.contains("completed")).await;
    let stored = read().await;
    let mut earlier: Value = stored.parse().unwrap();
    earlier["status"] = json!("running");
    earlier["leaseExpiresAt"] = json!("2026-03-02T09:15:00Z");
    app.clock.advance(LEASE);
    old.show(Page { documents: vec![Stored { json: earlier.to_string(), ..stored.clone() }], ..Page::default() });
    app.state.runs.sweep().await.unwrap();
    assert!(old.was_seen());
    assert_eq!(read().await.json, stored.json);
}

#[tokio::test]
async fn a_run_that_was_taken_over_is_shown_with_the_events_that_are_not_stored_yet() {
    let pair = Pair::start().await;
    let (_stream, run, _follower) = pair.follow_stalled().await;
    until("its first words are stored", async || {
        let shown = pair.here.user("ada").await.get(&format!("{RUNS}/{run}")).await.json();
        shown["answer"] == "Wear "
    })
    .await;
    // The reset is stored, and no piece after it.
    let pieces = AtomicUsize::new(0);
    pair.rule(move |call| match call.document {
        Some(document) if document["firstSeq"].is_u64() && pieces.fetch_add(1, Ordering::Relaxed) > 0 => Fate::Fails,
        _ => Fate::Passes,
    });
    pair.model.push(
        Kind::Stream,
        Answer::Steps(vec![model::text("Wear "), model::text("your "), model::text("navy."), Step::Stall]),
    );
    pair.here.clock.advance(LEASE);
    pair.here.state.runs.sweep().await.unwrap();
    let ada = pair.here.user("ada").await;
    let shown = async || ada.get(&format!("{RUNS}/{run}")).await.json();
    until("it has all words in memory", async || shown().await["answer"] == "Wear your navy.").await;
    // One event of the first process, 129 resets, three texts.
    assert_eq!(shown().await["lastSeq"], 133);
}

#[tokio::test]
async fn a_chat_goes_on_in_another_process_while_the_end_of_its_last_run_is_being_stored() {
    let pair = Pair::start().await;
    let old = Arc::new(OldPage::of(Container::ChatRuns));
    old.show(Page::default());
    let there =
        TestApp::builder().store(Intercepted::new(pair.store.clone(), old.clone())).model_server(&pair.model).start();
    // The client knows the end. Neither the run nor, for the first reader, its log has it yet.
    let first_look = old.clone();
    pair.rule(
        move |call| {
            if call.name == "store.replace" && !first_look.was_seen() { Fate::Fails } else { Fate::Passes }
        },
    );
    pair.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    pair.ask(&pair.here).await.rest().await;
    pair.model.push(Kind::Stream, say(&["Wear ", "black."]));
    let events = pair.ask(&there).await.rest().await;
    assert!(old.was_seen());
    let words: String = events.iter().filter_map(|event| event.event["content"].as_str()).collect();
    assert_eq!(words, "Wear black.");
}
