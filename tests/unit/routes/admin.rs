//! Bans and dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use pluckit::azure::Identity;
use pluckit::base::clock::{ManualClock, SystemClock};
use pluckit::data::Data;
use pluckit::model::dead_letter::{DeadLetter, DeadLetterStatus};
use pluckit::model::lease::Lease;
use pluckit::model::taste_job::{TasteJob, TasteJobStatus, TastePayload};
use pluckit::queue::local::LocalQueue;
use pluckit::store::DocumentStore;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::sqlite::SqliteStore;
use pluckit::workers::{Delivery, taste};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::store::cosmos_backend;
use crate::support::caller::Caller;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::{TestApp, refusal, until};

const LETTERS: &str = "/api/admin/dead-letters";
const QUEUE: &str = "taste-analysis-jobs";

fn app() -> TestApp {
    TestApp::builder().setting("ADMIN_USER_IDS", "grace").start()
}

async fn give_up(app: &TestApp, text: &str, id: &str) {
    let delivery = Delivery { text: text.to_owned(), dequeue_count: 5, id: Some(id.to_owned()) };
    taste::give_up(&app.state, delivery.into_failed(QUEUE, Some("no use".to_owned()))).await.unwrap();
}

fn message(job: &str) -> String {
    json!({"job_id": job, "user_id": "ada", "item_id": "i", "image_url": "https://i.example/a.jpg"}).to_string()
}

async fn letters(grace: &Caller, query: &str) -> Vec<Value> {
    let mut letters = Vec::new();
    let mut token = String::new();
    loop {
        let page = grace.get(&format!("{LETTERS}?{query}&continuationToken={token}")).await.json();
        letters.extend(page["deadLetters"].as_array().unwrap().iter().cloned());
        match page["nextContinuationToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return letters,
        }
    }
}

#[tokio::test]
async fn a_ban_is_set_listed_and_lifted() {
    let app = app();
    let grace = app.user("grace").await;
    let missing = grace.post("/api/admin/unban/eve", json!({})).await.summary();
    assert_eq!(missing, (404, refusal("User ban record not found.")));
    let banned = grace.post("/api/admin/ban/eve", json!({"reason": " spam "})).await.summary();
    assert_eq!(banned, (200, json!({"status": "banned", "userId": "eve"})));
    grace.post("/api/admin/ban/mallory", json!({})).await;
    let bans = grace.get("/api/admin/bans").await.json();
    insta::assert_json_snapshot!(bans, @r#"
    {
      "bans": [
        {
          "bannedAt": "2026-03-02T09:15:00.000Z",
          "bannedBy": "grace",
          "reason": "spam",
          "userId": "eve"
        },
        {
          "bannedAt": "2026-03-02T09:15:00.000Z",
          "bannedBy": "grace",
          "reason": null,
          "userId": "mallory"
        }
      ],
      "nextContinuationToken": null
    }
    "#);
    let unbanned = grace.post("/api/admin/unban/eve", json!({})).await.summary();
    assert_eq!(unbanned, (200, json!({"status": "unbanned", "userId": "eve"})));
    assert_eq!(grace.get("/api/admin/bans").await.json()["bans"].as_array().unwrap().len(), 1);
    assert_eq!(grace.post("/api/admin/ban/a%2Fb", json!({})).await.status, 400);
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_page_by_page() {
    dead_letters_come_newest_first(app()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn dead_letters_are_listed_without_a_composite_index() {
    let store = Arc::new(CosmosStore::new(cosmos_backend::older_database().await, Identity::default()));
    dead_letters_come_newest_first(TestApp::builder().setting("ADMIN_USER_IDS", "grace").store(store).start()).await;
}

async fn dead_letters_come_newest_first(app: TestApp) {
    let grace = app.user("grace").await;
    for number in 0..120 {
        app.clock.advance(Duration::from_secs(1));
        give_up(&app, &message(&format!("job{number:03}")), "m").await;
    }
    let all = letters(&grace, "").await;
    let jobs: Vec<_> = all.iter().map(|letter| letter["jobId"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..120).rev().map(|number| format!("job{number:03}")).collect();
    assert_eq!(jobs, expected);
    for letter in &all[..3] {
        grace.post(&format!("{LETTERS}/{}/replay", letter["id"].as_str().unwrap()), json!({})).await;
    }
    assert_eq!(letters(&grace, "status=replayed").await.len(), 3);
    assert_eq!(letters(&grace, "status=dead_lettered").await.len(), 117);
    assert_eq!(grace.get(&format!("{LETTERS}?status=x")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_replayed_once() {
    let app = app();
    let grace = app.user("grace").await;
    give_up(&app, &message("job"), "m").await;
    let letter = letters(&grace, "").await.remove(0);
    assert_eq!((&letter["status"], &letter["reason"]), (&json!("dead_lettered"), &json!("no use")));
    let path = format!("{LETTERS}/{}/replay", letter["id"].as_str().unwrap());
    let answers = join_all((0..10).map(|_| grace.post(&path, json!({})))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 9, "{statuses:?}");
    let messages = app.state.queue.receive(QUEUE, 10, Duration::from_secs(30)).await.unwrap();
    assert_eq!(messages.len(), 1);
    let replayed: Value = serde_json::from_str(&messages[0].text).unwrap();
    assert_eq!(replayed, letter["payload"]);
    let letter = letters(&grace, "").await.remove(0);
    assert_eq!((&letter["status"], &letter["replayedAt"]), (&json!("replayed"), &json!("2026-03-02T09:15:00.000Z")));
    assert_eq!(grace.post(&format!("{LETTERS}/none-0/replay"), json!({})).await.status, 404);
}

#[tokio::test]
async fn a_replay_that_did_not_send_the_message_can_be_repeated() {
    let (fate, sends) = (Arc::new(Mutex::new(Fate::Fails)), Arc::new(AtomicUsize::new(0)));
    let (of_each_send, counted) = (fate.clone(), sends.clone());
    let interceptor = move |call: &Call<'_>| {
        if call.name != "queue.send" {
            return Fate::Passes;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        *of_each_send.lock()
    };
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let queue = Intercepted::new(Arc::new(LocalQueue::in_memory(clock.clone()).unwrap()), Arc::new(interceptor));
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "grace").clock(clock).queue(queue).start();
    let grace = app.user("grace").await;
    give_up(&app, &message("job"), "m").await;
    let letter = letters(&grace, "").await.remove(0);
    let path = format!("{LETTERS}/{}/replay", letter["id"].as_str().unwrap());
    assert_eq!(grace.post(&path, json!({})).await.status, 503, "the queue is down");

    *fate.lock() = Fate::Hangs;
    tokio::select! {
        answer = grace.post(&path, json!({})) => panic!("answered: {}", answer.status),
        () = until("the message is being sent", async || sends.load(Ordering::SeqCst) == 2) => {}
    }
    *fate.lock() = Fate::Passes;
    let letter = letters(&grace, "").await.remove(0);
    assert_eq!(letter["status"], "dead_lettered", "the administrator hung up before the message was sent");
    assert_eq!(grace.post(&path, json!({})).await.status, 409, "that request could still go on");
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(grace.post(&path, json!({})).await.status, 200);
    assert_eq!(app.state.queue.length(QUEUE).await.unwrap(), 1);
    assert_eq!(grace.post(&path, json!({})).await.status, 409);
    assert_eq!(letters(&grace, "").await.remove(0)["status"], "replayed");
}

#[tokio::test]
async fn a_dead_letter_is_deleted() {
    let app = app();
    let grace = app.user("grace").await;
    give_up(&app, "not a message", "m").await;
    let letter = letters(&grace, "").await.remove(0);
    let path = format!("{LETTERS}/{}", letter["id"].as_str().unwrap());
    assert_eq!(grace.delete(&path).await.status, 200);
    assert_eq!(grace.delete(&path).await.summary(), (404, refusal("Dead letter not found.")));
    assert_eq!(letters(&grace, "").await.len(), 0);
}

/// Dead letters, stale jobs and bans are looked for in all partitions.
async fn what_is_in_many_partitions_is_found(store: Arc<dyn DocumentStore>) {
    let data = Data::new(store);
    let run = uuid::Uuid::new_v4().simple().to_string();
    let start = datetime!(2026-03-02 09:15 UTC);
    for number in 0..7_u64 {
        let status = if number == 3 { DeadLetterStatus::Replayed } else { DeadLetterStatus::DeadLettered };
        let letter = DeadLetter {
            id: format!("{run}{number}-0").into(),
            job_id: format!("{run}{number}").into(),
            status,
            payload: json!({}),
            created_at: Some((start + Duration::from_secs(number)).into()),
            source_queue: String::new(),
            reason: "no use".into(),
            dequeue_count: None,
            replayed_at: None,
            lease: Lease::default(),
        };
        data.dead_letters.add(&letter).await.unwrap();
        data.dead_letters.add(&letter).await.unwrap();
        let payload = TastePayload::new(format!("{run}{number}").into(), "i".into(), "https://i.example/".into(), None);
        let lease = (start + Duration::from_secs(60 * number)).into();
        data.taste_jobs
            .edit(&payload.job_id, |_| {
                pluckit::data::update::Edit::Save(TasteJob::queued(payload.clone(), start.into(), lease), ())
            })
            .await
            .unwrap();
    }
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let (letters, next) = data.dead_letters.page(Some(DeadLetterStatus::DeadLettered), token, 2).await.unwrap();
        found.extend(letters.into_iter().map(|letter| letter.id.to_string()).filter(|id| id.starts_with(&run)));
        token = next;
        if token.is_none() {
            break;
        }
    }
    let expected: Vec<_> = [6, 5, 4, 2, 1, 0].map(|number| format!("{run}{number}-0")).into();
    assert_eq!(found, expected);
    for id in &expected {
        assert!(data.dead_letters.delete(&id.as_str().into()).await.unwrap());
        assert!(!data.dead_letters.delete(&id.as_str().into()).await.unwrap());
    }
    let now = (start + Duration::from_secs(150)).into();
    let stale = data.taste_jobs.stale(TasteJobStatus::Queued, now, 1000).await.unwrap();
    let users: Vec<_> = stale.iter().map(|job| job.user_id.to_string()).filter(|user| user.starts_with(&run)).collect();
    assert_eq!(users, [0, 1, 2].map(|number| format!("{run}{number}")));
}

#[tokio::test]
async fn partitions_hide_nothing() {
    what_is_in_many_partitions_is_found(Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap())).await;
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn partitions_hide_nothing_on_cosmos() {
    what_is_in_many_partitions_is_found(Arc::new(cosmos_backend::cosmos().await)).await;
}
