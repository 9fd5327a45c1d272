//! Chat runs while the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pluckit::base::clock::ManualClock;
use pluckit::model::ids::RunId;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::time::Instant;

use crate::support::events::{EventStream, Transcript};
use crate::support::intercepted::{Call, Fate, Intercepted};
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
    assert_eq!(pair.document(&run).await["attempts"], 1);
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
async fn a_reader_waits_for_a_store_that_fails_for_seconds_and_no_longer() {
    let pair = Pair::start().await;
    pair.model.push(Kind::Stream, Answer::Steps(vec![model::text("Wear "), Step::Stall]));
    let mut stream = pair.ask(&pair.there).await;
    let run = stream.run();
    stream.take(1).await;
    let id = RunId::from(run.as_str());
    let mut follower = pair.here.state.runs.follow(&"ada".into(), &id, 0).await.unwrap();
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
