//! Chat runs: answers that outlive their connection and their process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use pluckit::base::clock::ManualClock;
use pluckit::model::chat_run::ChatRun;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::support::caller::Caller;
use crate::support::events::{EventStream, Parser, Received, Transcript, text};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{self, Answer, Kind, ModelServer, Step, call, say};
use crate::support::{TestApp, number_of, refusal, until};

const RUNS: &str = "/api/chat/runs";
/// For what happens at once.
const LIMIT: Duration = Duration::from_secs(2);
/// Longer than a lease on a run.
const LEASE: Duration = Duration::from_secs(11);

/// Services on one store, each with a clock of its own, which ask one model.
struct Cluster {
    store: Arc<dyn DocumentStore>,
    model: ModelServer,
}

impl Cluster {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        Self { store: Arc::new(SqliteStore::in_memory(clock).unwrap()), model: ModelServer::start().await }
    }

    fn instance(&self) -> TestApp {
        TestApp::builder()
            .store(self.store.clone())
            .model_server(&self.model)
            .setting("CHAT_RUN_FLUSH_MS", "10")
            .setting("RATE_LIMITS", "true")
            .start()
    }

    async fn run(&self, id: &str) -> Value {
        let key = Key::new(Container::ChatRuns, "ada", id);
        self.store.read(&key).await.unwrap().map_or(Value::Null, |stored| stored.parse().unwrap())
    }

    /// Documents of the container, but for runs' own.
    async fn others(&self) -> usize {
        let page = self.store.query(&Query::partition(Container::ChatRuns, "ada")).await.unwrap();
        page.documents.iter().filter(|stored| stored.parse::<ChatRun>().is_err()).count()
    }

    /// Waits until so many events are stored.
    async fn until_stored(&self, run: &str, seq: u64) {
        until("events are stored", async || {
            let page = self.store.query(&Query::partition(Container::ChatRuns, "ada")).await.unwrap();
            page.documents.iter().any(|stored| {
                let piece: Value = stored.parse().unwrap();
                piece["runId"] == run && piece["lastSeq"].as_u64().is_some_and(|last| last >= seq)
            })
        })
        .await;
    }

    async fn until_status(&self, run: &str, status: &str) {
        until("the run has the status", async || self.run(run).await["status"] == status).await;
    }
}

fn stalling(pieces: &[&str]) -> Answer {
    let mut steps: Vec<Step> = pieces.iter().map(|piece| model::text(piece)).collect();
    steps.push(Step::Stall);
    Answer::Steps(steps)
}

fn to_stay(message: &str) -> Value {
    json!({"message": message, "chatId": "c1", "onDisconnect": "continue"})
}

/// Begins a run at an instance, and reads its first event.
async fn begin(app: &TestApp) -> (EventStream, String) {
    let mut stream = EventStream::ask(&app.user("ada").await, to_stay("Hi")).await;
    let run = stream.run();
    stream.take(1).await;
    (stream, run)
}

fn values(events: &[Received]) -> Vec<&Value> {
    events.iter().map(|received| &received.event).collect()
}

async fn status_of(caller: &Caller, run: &str) -> String {
    caller.get(&format!("{RUNS}/{run}")).await.json()["status"].as_str().unwrap().to_owned()
}

/// Each piece of the log and each finished step is stored, but the answer of the store is lost, so it is stored again.
#[tokio::test]
async fn a_piece_stored_twice_is_read_once() {
    let Cluster { store, model } = Cluster::start().await;
    let lost: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = lost.clone();
    let lose = move |call: &Call<'_>| {
        let Some(document) = call.document else { return Fate::Passes };
        let what = match (document["firstSeq"].as_u64(), document["steps"].as_array()) {
            (Some(first), _) => format!("piece {first}"),
            (None, Some(steps)) => format!("step {}", steps.len()),
            (None, None) => return Fate::Passes,
        };
        if seen.lock().unwrap().insert(what) { Fate::LosesAnswer } else { Fate::Passes }
    };
    let cluster = Cluster { store: Intercepted::new(store, Arc::new(lose)), model };
    let app = cluster.instance();
    let ada = app.user("ada").await;
    cluster.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}"));
    cluster.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    let mut stream = EventStream::ask(&ada, to_stay("Hi")).await;
    let run = stream.run();
    let told = stream.rest().await;
    cluster.until_status(&run, "completed").await;
    let lost = lost.lock().unwrap().clone();
    assert!(lost.contains("piece 1") && lost.contains("step 1"), "{lost:?}");

    let replayed = EventStream::follow(&ada, &run, 0).await.rest().await;
    assert_eq!(values(&replayed), values(&told));
    assert_eq!(replayed.iter().map(|received| received.id.unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let results = replayed.iter().filter(|received| received.event["type"] == "tool_result").count();
    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!((results, shown["tools"].as_array().unwrap().len(), &shown["answer"]), (1, 1, &json!("Wear navy.")));
}

#[tokio::test]
async fn a_run_is_listed_shown_and_replayed() {
    let cluster = Cluster::start().await;
    let app = cluster.instance();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    cluster.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}").usage(100, 3));
    cluster.model.push(Kind::Stream, say(&["Wear ", "navy."]).usage(200, 7));
    let body = json!({"message": "é".repeat(130), "chatId": "c1", "traceId": "t"});
    let mut stream = EventStream::ask(&ada, body).await;
    let run = stream.run();
    let told = stream.rest().await;
    assert!(told.iter().all(|received| received.id.is_none()), "as clients know it");
    cluster.until_status(&run, "completed").await;

    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!(
        (&shown["status"], &shown["answer"], &shown["chatId"]),
        (&json!("completed"), &json!("Wear navy."), &json!("c1"))
    );
    assert_eq!(shown["message"], "é".repeat(120));
    assert_eq!(
        (&shown["tools"][0]["name"], shown["tools"].as_array().unwrap().len()),
        (&json!("get_wardrobe_summary"), 1)
    );
    let usage = json!({"model": "stylist-1", "calls": 2, "inputTokens": 300, "outputTokens": 10});
    assert_eq!((&shown["usage"], &shown["lastSeq"]), (&usage, &json!(6)));
    assert!(shown.get("error").is_none() && shown.get("stopped").is_none());
    let document = cluster.run(&run).await;
    assert_eq!(
        document["usage"]["byModel"][0],
        json!({"model": "stylist-1", "calls": 2, "inputTokens": 300, "outputTokens": 10})
    );
    assert!(document.get("request").is_none() && document.get("leaseOwner").is_none(), "{document}");

    let replayed = EventStream::follow(&ada, &run, 0).await.rest().await;
    assert_eq!(values(&replayed), values(&told), "the same events");
    assert_eq!(replayed.iter().map(|received| received.id.unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(EventStream::follow(&ada, &run, 4).await.rest().await, replayed[4..]);
    let path = format!("{RUNS}/{run}/events");
    for after in [6, 99] {
        // An `EventSource` reconnects until it gets this.
        let nothing = ada.get(&format!("{path}?after={after}")).await;
        assert_eq!((nothing.status, nothing.body.len()), (StatusCode::NO_CONTENT, 0), "{after}");
    }
    // The larger number is the newer one: an `EventSource` reconnects with its original URL.
    for (seen, query, first) in [("3", "", 3), ("3", "?after=1", 3), ("1", "?after=3", 3), ("x", "?after=3", 3)] {
        let resuming = ada.clone().header("last-event-id", seen);
        let path = format!("{path}{query}");
        assert_eq!(
            EventStream::open(&resuming, Method::GET, &path, None).await.rest().await,
            replayed[first..],
            "{path}"
        );
    }
    for beyond in ["9007199254740991", "18446744073709551615"] {
        let status = ada.clone().header("last-event-id", beyond).get(&format!("{path}?after=6")).await.status;
        assert_eq!(status, StatusCode::NO_CONTENT, "{beyond}");
    }

    // A second one, which nobody can come back to.
    cluster.model.push(Kind::Stream, say(&["Hi."]));
    let mut stream = EventStream::ask(&ada, json!({"message": "Hello"})).await;
    let other = stream.run();
    let told = stream.rest().await;
    cluster.until_status(&other, "completed").await;
    let replayed = EventStream::follow(&ada, &other, 0).await.rest().await;
    assert_eq!(values(&replayed), values(&told));
    assert_eq!(ada.get(&format!("{RUNS}/{other}")).await.json()["usage"]["calls"], 1);

    let ids = |page: &Value| page["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect::<Vec<_>>();
    app.clock.advance(Duration::from_secs(1));
    let all = ada.get(RUNS).await.json();
    assert_eq!(ids(&all).len(), 2);
    let expected = json!({
        "id": run, "chatId": "c1", "status": "completed", "createdAt": "2026-03-02T09:15:00.000Z",
        "updatedAt": "2026-03-02T09:15:00.000Z", "message": "é".repeat(120), "lastSeq": 6,
    });
    assert_eq!(ada.get(&format!("{RUNS}?chatId=c1&status=completed")).await.json()["runs"], json!([expected]));
    assert_eq!(ids(&ada.get(&format!("{RUNS}?status=running")).await.json()), [json!("")][..0]);
    let first = ada.get(&format!("{RUNS}?pageSize=1")).await.json();
    let next = first["nextContinuationToken"].as_str().unwrap();
    let second = ada.get(&format!("{RUNS}?pageSize=1&continuationToken={next}")).await.json();
    assert_eq!([ids(&first), ids(&second)].concat(), ids(&all));
    for (query, status) in [("status=done", 400), ("chatId=runs", 400), ("pageSize=0", 422), ("pageSize=101", 422)] {
        assert_eq!(ada.get(&format!("{RUNS}?{query}")).await.status, status, "{query}");
    }

    // Of all this, Eve sees nothing.
    assert_eq!(eve.get(RUNS).await.json()["runs"], json!([]));
    let not_found = (404, refusal("Run not found."));
    for run in [run.as_str(), other.as_str(), "nonsense", "8c4d54a4-6d93-4b53-a3bb-0f3bb6d5b0aa"] {
        let path = format!("{RUNS}/{run}");
        assert_eq!(eve.get(&path).await.summary(), not_found);
        assert_eq!(eve.get(&format!("{path}/events")).await.summary(), not_found);
        assert_eq!(eve.post(&format!("{path}/stop"), json!({})).await.summary(), not_found);
        assert_eq!(eve.delete(&path).await.summary(), not_found);
    }

    assert_eq!(ada.delete(&format!("{RUNS}/{run}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ada.get(&format!("{RUNS}/{run}")).await.summary(), not_found);
    assert_eq!(cluster.others().await, 1, "of its log nothing stays; the chat knows which run was its newest");
}

#[tokio::test]
async fn a_run_goes_on_without_its_client_if_that_is_wished() {
    let cluster = Cluster::start().await;
    let app = cluster.instance();
    let ada = app.user("ada").await;
    cluster.model.push(Kind::Stream, say(&["Wear ", "the ", "navy ", "shirt."]).pause(Duration::from_millis(40)));
    let mut stream = EventStream::ask(&ada, json!({"message": "Hi", "onDisconnect": "continue"})).await;
    let run = stream.run();
    stream.take(1).await;
    drop(stream);
    let transcript = Transcript::of(EventStream::follow(&ada, &run, 0).await.rest().await);
    assert_eq!((transcript.text().as_str(), transcript.is_over()), ("Wear the navy shirt.", true));
    cluster.until_status(&run, "completed").await;

    // By default it does not, and what was said stays.
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let mut stream = EventStream::ask(&ada, json!({"message": "Hi"})).await;
    let run = stream.run();
    stream.take(1).await;
    drop(stream);
    assert!(cluster.model.wait_for_closed_early(1, LIMIT).await.is_some());
    cluster.until_status(&run, "stopped").await;
    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!((&shown["answer"], &shown["stopped"]), (&json!("Wear "), &json!("disconnected")));
    let events = EventStream::follow(&ada, &run, 0).await.rest().await;
    assert_eq!(events.last().unwrap().event["stopped"], "disconnected");
}

#[tokio::test]
async fn a_chat_has_one_answer_at_a_time() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let (ada, ada_there) = (here.user("ada").await, there.user("ada").await);
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let mut stream = EventStream::ask(&ada, to_stay("Hi")).await;
    stream.take(1).await;
    let busy = (409, refusal("An answer is still being written."));
    for caller in [&ada, &ada_there] {
        let refused = tokio::time::timeout(LIMIT, caller.post("/api/chat", to_stay("And now?"))).await;
        assert_eq!(refused.expect("at once").summary(), busy);
    }
    // Other chats, and messages without one, are not concerned.
    for body in [json!({"message": "Hi", "chatId": "c2"}), json!({"message": "Hi"})] {
        assert_eq!(ada.post("/api/chat", body).await.status, StatusCode::OK);
    }
    assert_eq!(there.user("eve").await.post("/api/chat", to_stay("Hi")).await.status, StatusCode::OK);
    let stopped = ada_there.post(&format!("{RUNS}/{}/stop", stream.run()), json!({})).await;
    assert_eq!(stopped.summary(), (200, json!({"status": "stopped"})));
    assert_eq!(ada_there.post("/api/chat", to_stay("And now?")).await.status, StatusCode::OK);
    for (body, detail) in [
        (json!({"message": "x", "chatId": "runs"}), "The id of a chat must not be 'runs' or 'memory'."),
        (json!({"message": "x", "chatId": "memory"}), "The id of a chat must not be 'runs' or 'memory'."),
        (json!({"message": "x", "chatId": " "}), "The id of a chat must have 1 to 128 characters."),
        (json!({"message": "x", "onDisconnect": "wait"}), "onDisconnect must be 'cancel' or 'continue'."),
    ] {
        assert_eq!(ada.post("/api/chat", body).await.summary(), (400, refusal(detail)));
    }
}

#[tokio::test]
async fn a_message_right_after_an_answer_is_no_second_one() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let callers = [here.user("ada").await, there.user("ada").await];
    cluster.model.otherwise(|_| say(&["Hi."]));
    for turn in 0..20 {
        let mut stream = EventStream::ask(&callers[turn / 2 % 2], to_stay("Hi")).await;
        while stream.next().await.expect("more events").event["type"] != "done" {}
    }
}

#[tokio::test]
async fn one_of_many_concurrent_first_messages_in_a_chat_is_answered() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let callers = [here.user("ada").await, there.user("ada").await];
    cluster.model.otherwise(|_| stalling(&["Wear "]));
    let begun = futures::future::join_all((0..8).map(|n| {
        let caller = callers[n % 2].clone();
        async move {
            let body = to_stay("Hi").to_string();
            caller.begin(Method::POST, "/api/chat", Some("application/json"), body).await
        }
    }));
    let mut statuses: Vec<u16> = begun.await.iter().map(|response| response.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_run_is_stopped_from_the_same_and_from_another_instance() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    cluster.model.otherwise(|_| stalling(&["Wear ", "navy"]));
    let ada = here.user("ada").await;
    for number in 0..number_of("PLUCKIT_TEST_STOPS", 6) {
        let (stopper, limit) = if number % 2 == 0 { (&here, 200) } else { (&there, 1500) };
        let stopper = stopper.user("ada").await;
        let mut stream = EventStream::ask(&ada, to_stay("Hi")).await;
        let run = stream.run();
        stream.take(2).await;
        let path = format!("{RUNS}/{run}/stop");
        let (stopped, closed) =
            tokio::join!(stopper.post(&path, json!({})), cluster.model.wait_for_closed_early(number + 1, LIMIT),);
        assert_eq!(stopped.summary(), (200, json!({"status": "stopped"})));
        assert!(closed.unwrap() <= Duration::from_millis(limit), "{number}: {closed:?}");
        let rest = stream.rest().await;
        assert_eq!(rest.len(), 1);
        assert_eq!((&rest[0].event["type"], &rest[0].event["stopped"]), (&json!("done"), &json!("user")));
        let shown = stopper.get(&format!("{RUNS}/{run}")).await.json();
        assert_eq!((&shown["status"], &shown["answer"]), (&json!("stopped"), &json!("Wear navy")));
        // Final runs do not change.
        let again = stopper.post(&path, json!({})).await;
        assert_eq!(again.summary(), (200, json!({"status": "stopped"})));
    }
    cluster.model.push(Kind::Stream, say(&["Hi."]));
    let mut stream = EventStream::ask(&ada, to_stay("Hi")).await;
    stream.rest().await;
    cluster.until_status(&stream.run(), "completed").await;
    let over = ada.post(&format!("{RUNS}/{}/stop", stream.run()), json!({})).await;
    assert_eq!(over.summary(), (200, json!({"status": "completed"})));
}

/// While the conversation is summarized for the memory, after the last word of the answer.
#[tokio::test]
async fn a_run_is_stopped_while_its_memory_is_updated() {
    let cluster = Cluster::start().await;
    let here = cluster.instance();
    let ada = here.user("ada").await;
    let recent: Vec<Value> = (0..14)
        .map(|number| json!({"role": if number % 2 == 0 { "user" } else { "assistant" }, "content": "I love navy."}))
        .collect();
    for (number, leaves) in [false, true].into_iter().enumerate() {
        cluster.model.push(Kind::Stream, say(&["Wear ", "navy"]));
        cluster.model.push(Kind::Complete, Answer::Silence);
        let body = json!({"message": "Hi", "recentMessages": recent, "chatId": format!("c{number}")});
        let mut stream = EventStream::ask(&ada, body).await;
        let run = stream.run();
        stream.take(2).await;
        let summaries =
            || cluster.model.received().iter().filter(|received| matches!(received.kind, Kind::Complete)).count();
        until("the summary is requested", async || summaries() > number).await;
        let closed = cluster.model.wait_for_closed_early(number + 1, LIMIT);
        if leaves {
            drop(stream);
            assert!(closed.await.unwrap() <= Duration::from_secs(1));
        } else {
            let path = format!("{RUNS}/{run}/stop");
            let (stopped, closed) = tokio::join!(ada.post(&path, json!({})), closed);
            assert_eq!(stopped.summary(), (200, json!({"status": "stopped"})));
            assert!(closed.unwrap() <= Duration::from_millis(200));
            let rest = stream.rest().await;
            assert_eq!((&rest[0].event["type"], &rest[0].event["stopped"]), (&json!("done"), &json!("user")));
        }
        cluster.until_status(&run, "stopped").await;
        let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
        assert_eq!(shown["answer"], "Wear navy");
    }
}

#[tokio::test]
async fn a_page_that_closes_stops_its_chat_with_a_text() {
    let cluster = Cluster::start().await;
    let here = cluster.instance();
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let (mut stream, run) = begin(&here).await;
    let ada = here.user("ada").await;
    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    let listed = ada.get(&format!("{RUNS}?status=running")).await.json();
    assert_eq!((&listed["runs"][0]["lastSeq"], &shown["lastSeq"]), (&json!(1), &json!(1)));
    for body in [r#"{"activeStreamId":"another"}"#, "{}"] {
        assert_eq!(status_of(&ada, &run).await, "running", "{body}");
        let answer = ada.send(Method::POST, "/api/chat/c1/stop", Some("text/plain"), body).await;
        assert_eq!(answer.summary(), (200, json!({"success": true})));
    }
    stream.rest().await;
    assert_eq!(status_of(&ada, &run).await, "stopped");
}

#[tokio::test]
async fn a_run_is_followed_at_another_instance_while_it_goes_on() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let pieces: Vec<String> = (0..60).map(|n| format!("{n} ")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    cluster.model.push(Kind::Stream, say(&pieces).pause(Duration::from_millis(10)));
    let stream = EventStream::ask(&here.user("ada").await, to_stay("Hi")).await;
    let ada = there.user("ada").await;
    let mut follower = EventStream::follow(&ada, &stream.run(), 0).await;
    follower.take(1).await;
    assert_eq!(status_of(&ada, &stream.run()).await, "running", "not only when it is over");
    let mut transcript = Transcript { last: 1, ..Transcript::default() };
    for event in follower.rest().await {
        transcript.add(event);
    }
    assert_eq!(transcript.text(), pieces[1..].concat());
    assert!(transcript.is_over());
}

/// Simulates the death of a process that works on a run by stopping its clock while time continues elsewhere.
#[tokio::test]
async fn a_run_whose_process_died_is_taken_over_and_its_broken_step_done_again() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    cluster.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}"));
    cluster.model.push(Kind::Stream, stalling(&["You ", "lack "]));
    let mut stream = EventStream::ask(&here.user("ada").await, to_stay("What do I lack?")).await;
    let run = stream.run();
    stream.take(4).await;
    cluster.until_stored(&run, 4).await;
    there.clock.advance(LEASE);
    cluster.model.push(Kind::Stream, say(&["You lack ", "coats."]));
    let ada = there.user("ada").await;
    let transcript = Transcript::of(EventStream::follow(&ada, &run, 0).await.rest().await);
    assert_eq!(transcript.text(), "You lack coats.");
    assert_eq!(transcript.kinds(), ["tool_use", "tool_result", "token", "memory_update", "done"]);
    cluster.until_status(&run, "completed").await;
    let document = cluster.run(&run).await;
    assert_eq!((&document["attempts"], &document["usage"]["calls"]), (&json!(2), &json!(2)), "{document}");
    // The finished step was not asked for again, and its result is there.
    let asked: Vec<_> = cluster.model.received().iter().map(model::Received::tool_results).collect();
    assert_eq!(asked, [0, 1, 1]);
    // The former owner notices that it lost the run, and its client continues with the other's events.
    let rest = stream.rest().await;
    assert_eq!(text(rest.iter().map(|received| &received.event)), "", "a client that knows no resets is let go");
    // A client who had seen what was never stored is told so.
    let seen = 20;
    let rest = EventStream::follow(&ada, &run, seen).await.rest().await;
    assert_eq!((rest[0].id, &rest[0].event), (Some(seen + 1), &json!({"type": "step_reset", "fromSeq": 3})));
    assert_eq!(text(rest.iter().map(|received| &received.event)), "You lack coats.");
    let shown = ada.get(&format!("{RUNS}/{run}")).await.json();
    assert_eq!((&shown["answer"], shown["tools"].as_array().unwrap().len()), (&json!("You lack coats."), 1));
}

#[tokio::test]
async fn a_run_that_is_taken_over_keeps_the_day_of_its_user() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    // At 9:15 in the morning in UTC it is still yesterday in Hawaii.
    let ada = here.user("ada").await.header("x-utc-offset", "-10:00");
    let mut stream = EventStream::ask(&ada, to_stay("Hi")).await;
    let run = stream.run();
    stream.take(1).await;
    cluster.until_stored(&run, 1).await;
    assert_eq!(cluster.run(&run).await["request"]["utcOffset"], "-10:00");
    there.clock.advance(LEASE);
    cluster.model.push(Kind::Stream, say(&["Wear it."]));
    let transcript = Transcript::of(EventStream::follow(&there.user("ada").await, &run, 0).await.rest().await);
    assert_eq!(transcript.text(), "Wear it.");
    let prompts: Vec<String> =
        cluster.model.received().iter().map(|request| request.body["messages"][0]["content"].to_string()).collect();
    assert_eq!(prompts.len(), 2);
    assert!(prompts.iter().all(|prompt| prompt.contains("Today is Sunday, 2026-03-01.")), "{prompts:?}");
}

#[tokio::test]
async fn a_run_is_tried_three_times_and_no_more() {
    let cluster = Cluster::start().await;
    let first = cluster.instance();
    cluster.model.otherwise(|_| stalling(&["Wear "]));
    let (_stream, run) = begin(&first).await;
    let mut others = Vec::new();
    for attempt in 2..=4_u32 {
        let other = cluster.instance();
        other.clock.advance(LEASE * attempt);
        other.state.runs.sweep().await.unwrap();
        if attempt < 4 {
            until("the model is asked again", async || cluster.model.count() >= attempt as usize).await;
        }
        others.push(other);
    }
    cluster.until_status(&run, "failed").await;
    assert_eq!(cluster.model.count(), 3);
    let ada = others[0].user("ada").await;
    let transcript = Transcript::of(EventStream::follow(&ada, &run, 0).await.rest().await);
    assert_eq!((transcript.text().as_str(), transcript.kinds()), ("", vec!["error", "done"]));
    assert_eq!(ada.get(&format!("{RUNS}/{run}")).await.json()["error"], "Something went wrong. Please try again.");
}

#[tokio::test]
async fn a_run_is_handed_back_when_its_process_stops() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    cluster.model.push(Kind::Stream, stalling(&["Wear ", "grey."]));
    let (mut stream, run) = begin(&here).await;
    stream.take(1).await;
    let ada = there.user("ada").await;
    let mut follower = EventStream::follow(&ada, &run, 0).await;
    let mut transcript = Transcript::default();
    for event in follower.take(2).await {
        transcript.add(event);
    }
    cluster.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    here.state.shutdown.cancel();
    assert_eq!(stream.rest().await, [], "the client is let go, to ask another");
    // Nobody waits for the end of a lease: the clocks stand still.
    for event in follower.rest().await {
        transcript.add(event);
    }
    assert_eq!(
        (transcript.text().as_str(), transcript.last),
        ("Wear navy.", 7),
        "one reset is enough: nothing was lost"
    );
    cluster.until_status(&run, "completed").await;
    assert_eq!(cluster.run(&run).await["attempts"], 1);
}

#[tokio::test]
async fn a_stop_outlives_the_process_that_should_have_stopped() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let (_stream, run) = begin(&here).await;
    cluster.until_stored(&run, 1).await;
    there.clock.advance(LEASE);
    let ada = there.user("ada").await;
    let path = format!("{RUNS}/{run}/stop");
    let stopped = tokio::time::timeout(LIMIT, ada.post(&path, json!({}))).await.expect("nobody is waited for");
    assert_eq!(stopped.summary(), (200, json!({"status": "stopped"})));
    assert_eq!(cluster.run(&run).await["status"], "stopped");
    assert_eq!(cluster.model.count(), 1, "the model is not asked again");
}

#[tokio::test]
async fn a_run_that_is_in_no_store_is_stopped_where_it_is() {
    let cluster = Cluster::start().await;
    let app = cluster.instance();
    let ada = app.user("ada").await;
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let mut stream = EventStream::ask(&ada, json!({"message": "Hi"})).await;
    let run = stream.run();
    stream.take(1).await;
    assert_eq!(cluster.run(&run).await, Value::Null);
    let path = format!("{RUNS}/{run}/stop");
    assert_eq!(app.user("eve").await.post(&path, json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ada.post(&path, json!({})).await.summary(), (200, json!({"status": "stopped"})));
    assert_eq!(stream.rest().await.last().unwrap().event["stopped"], "user");
}

#[tokio::test]
async fn memory_and_budget_see_a_run_once() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let ada = there.user("ada").await;
    ada.put("/api/chat/memory", json!({"summary": "Likes navy."})).await;
    cluster.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}").usage(1000, 50));
    cluster.model.push(Kind::Stream, stalling(&["You "]));
    let mut stream = EventStream::ask(&here.user("ada").await, to_stay("What do I lack?")).await;
    let run = stream.run();
    stream.take(3).await;
    cluster.until_stored(&run, 3).await;
    there.clock.advance(LEASE);
    cluster.model.push(Kind::Stream, say(&["Coats."]).usage(2000, 60));
    EventStream::follow(&ada, &run, 0).await.rest().await;
    cluster.until_status(&run, "completed").await;
    let memory = cluster.store.read(&Key::new(Container::Conversations, "ada", "ada")).await.unwrap().unwrap();
    let memory: Value = memory.parse().unwrap();
    assert_eq!((&memory["messagesSince"], &memory["countedRuns"]), (&json!(2), &json!([run])));
    let usage = &cluster.run(&run).await["usage"];
    assert_eq!((&usage["inputTokens"], &usage["outputTokens"]), (&json!(3000), &json!(110)));
}

#[tokio::test]
async fn readers_of_a_run_are_bounded() {
    let cluster = Cluster::start().await;
    let app = TestApp::builder().store(cluster.store.clone()).model_server(&cluster.model).start();
    let ada = app.user("ada").await;
    cluster.model.otherwise(|_| stalling(&["Wear "]));
    let stream = EventStream::ask(&ada, to_stay("Hi")).await;
    let mut followers = Vec::new();
    for _ in 0..16 {
        followers.push(EventStream::follow(&ada, &stream.run(), 0).await);
    }
    let path = format!("{RUNS}/{}/events", stream.run());
    let refused = ada.get(&path).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "5");
    followers.pop();
    EventStream::follow(&ada, &stream.run(), 0).await;

    // With limits, a user has four streams, whatever they are.
    let app = cluster.instance();
    let ada = app.user("ada").await;
    let mut followers = Vec::new();
    for _ in 0..4 {
        followers.push(EventStream::follow(&ada, &stream.run(), 0).await);
    }
    assert_eq!(ada.get(&path).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_answer_is_resumed_by_its_chat_while_it_is_written_and_by_its_run_for_ever() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let (ada, eve) = (there.user("ada").await, there.user("eve").await);
    let by_chat = "/api/chat/c1/stream";
    assert_eq!(ada.get(by_chat).await.status, StatusCode::NO_CONTENT);
    cluster.model.push(Kind::Stream, stalling(&["Wear "]));
    let (_stream, run) = begin(&here).await;
    cluster.until_stored(&run, 1).await;
    assert_eq!(eve.get(by_chat).await.status, StatusCode::NO_CONTENT);
    // Its process has died.
    there.clock.advance(LEASE);
    cluster.model.push(Kind::Stream, say(&["Wear ", "navy."]));
    let answer = ada.get(by_chat).await;
    assert_eq!((answer.status, answer.header("x-workflow-run-id")), (StatusCode::OK, run.as_str()));
    assert!(answer.text().contains("navy."), "{}", answer.text());
    cluster.until_status(&run, "completed").await;
    assert_eq!(ada.get(by_chat).await.status, StatusCode::NO_CONTENT, "it is over");
    let by_run = format!("/api/chat/{run}/stream");
    let again = ada.get(&by_run).await;
    assert_eq!((again.status, again.text().contains("navy.")), (StatusCode::OK, true));
    let chunks = again.text().lines().filter(|line| line.starts_with("data: {")).count();
    assert_eq!(again.header("x-workflow-stream-tail-index"), (chunks - 1).to_string());
    assert_eq!(eve.get(&by_run).await.status, StatusCode::NO_CONTENT);
}

/// Follows a run over connections that break after a random number of bytes. Returns what the client has at the end.
pub async fn follow_over_bad_connections(callers: &[Caller], run: &str, cuts: &mut usize) -> Transcript {
    use http_body_util::BodyExt;
    let mut transcript = Transcript::default();
    while !transcript.is_over() {
        let caller = &callers[*cuts % callers.len()];
        let path = format!("{RUNS}/{run}/events");
        let caller = caller.clone().header("last-event-id", &transcript.last.to_string());
        let response = caller.begin(Method::GET, &path, None, "").await;
        assert_eq!(response.status(), 200);
        let (mut body, mut parser) = (response.into_body(), Parser::default());
        let mut left = getrandom::u32().unwrap() as usize % 400;
        while left > 0 {
            let Some(frame) = body.frame().await else { break };
            let bytes = frame.unwrap().into_data().unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(left)];
            left -= bytes.len();
            for event in parser.push(bytes) {
                transcript.add(event);
            }
        }
        *cuts += 1;
    }
    transcript
}

#[tokio::test]
async fn connections_that_break_anywhere_cost_no_event_and_double_none() {
    let cluster = Cluster::start().await;
    let (here, there) = (cluster.instance(), cluster.instance());
    let callers = [here.user("ada").await, there.user("ada").await];
    let wanted = number_of("PLUCKIT_TEST_CUTS", 60);
    let pieces: Vec<String> = (0..120).map(|n| format!("piece {n}, “é” ")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let mut cuts = 0;
    while cuts < wanted {
        cluster.model.push(Kind::Stream, call("a", "get_wardrobe_summary", "{}"));
        cluster.model.push(Kind::Stream, say(&pieces).pause(Duration::from_millis(2)));
        let stream = EventStream::ask(&callers[0], to_stay("Hi")).await;
        let run = stream.run();
        drop(stream);
        let transcript = follow_over_bad_connections(&callers, &run, &mut cuts).await;
        assert_eq!(transcript.text(), pieces.concat());
        cluster.until_status(&run, "completed").await;
    }
}
