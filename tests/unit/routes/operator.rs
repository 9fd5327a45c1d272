//! Administration of the service: timers, log, users, settings, and the audit log.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use pluckit::base::clock::{ManualClock, SystemClock};
use pluckit::data::Data;
use pluckit::data::lease::{Claimed, Decision};
use pluckit::data::timers::Timers;
use pluckit::model::audit::AuditEntry;
use pluckit::model::timer::TimerState;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore};
use serde_json::{Map, Value, json};
use time::macros::datetime;

use crate::store::cosmos_backend;
use crate::support::events::EventStream;
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::{TestApp, refusal, until};

const SWEEPER: &str = "PluckItJobSweeper";

fn app() -> TestApp {
    TestApp::builder().setting("ADMIN_USER_IDS", "grace").start()
}

fn named<'a>(timers: &'a Value, name: &str) -> &'a Value {
    timers["timers"].as_array().unwrap().iter().find(|timer| timer["name"] == name).unwrap()
}

#[tokio::test]
async fn a_timer_is_run_at_once_and_by_one_at_a_time() {
    let app = app();
    let grace = app.user("grace").await;
    let timers = grace.get("/api/admin/timers").await.json();
    insta::assert_json_snapshot!(named(&timers, SWEEPER), @r#"
    {
      "completedAt": null,
      "failedAt": null,
      "isRunning": false,
      "lastDue": null,
      "lastError": null,
      "name": "PluckItJobSweeper",
      "nextDue": "2026-03-02T09:20:00.000Z",
      "schedule": "0 */5 * * * *"
    }
    "#);
    let path = format!("/api/admin/timers/{SWEEPER}/run");
    let started = grace.post(&path, json!({})).await.summary();
    assert_eq!(started, (202, json!({"name": SWEEPER, "status": "started"})));
    until("it is done", async || {
        let timers = grace.get("/api/admin/timers").await.json();
        let timer = named(&timers, SWEEPER);
        timer["isRunning"] == false && timer["completedAt"] == "2026-03-02T09:15:00.000Z"
    })
    .await;

    // Somebody else's run.
    let leases = app.state.data.leases(&app.state.clock, Duration::from_secs(60));
    let take = |found: Option<TimerState>, _| Decision::<_, ()>::Take(found.unwrap());
    let Claimed::Ours(held) = leases.claim(Timers::key(SWEEPER), take).await.unwrap() else { panic!("it is free") };
    assert_eq!(named(&grace.get("/api/admin/timers").await.json(), SWEEPER)["isRunning"], true);
    assert_eq!(grace.post(&path, json!({})).await.summary(), (409, refusal("The timer is running already.")));
    held.release().await.unwrap();
    assert_eq!(grace.post(&path, json!({})).await.status, 202);
    let missing = grace.post("/api/admin/timers/ProcessScrape/run", json!({})).await.summary();
    assert_eq!(missing, (404, refusal("Timer not found.")), "a function of a queue is no timer");
    app.state.tasks.close();
    app.state.tasks.wait().await;
}

fn line(level: &str, message: &str, request: &str) -> String {
    json!({
        "timestamp": "2026-03-02T09:15:00.000000Z", "level": level, "message": message, "http.status": 200,
        "target": "pluckit::http", "spans": [{"name": "request", "request.id": request}],
    })
    .to_string()
}

#[tokio::test]
async fn the_log_is_listed_filtered_and_followed() {
    let app = app();
    let grace = app.user("grace").await;
    let recent = &app.state.telemetry.recent;
    for (level, message, request) in [("INFO", "one", "a"), ("WARN", "two", "b"), ("DEBUG", "three", "a")] {
        recent.push(&line(level, message, request));
    }
    insta::assert_json_snapshot!(grace.get("/api/admin/logs?level=warn").await.json(), @r#"
    {
      "lines": [
        {
          "fields": {
            "http.status": 200
          },
          "level": "warn",
          "message": "two",
          "number": 2,
          "requestId": "b",
          "target": "pluckit::http",
          "time": "2026-03-02T09:15:00.000000Z"
        }
      ]
    }
    "#);
    let messages = async |query: &str| -> Vec<String> {
        let lines = grace.get(&format!("/api/admin/logs?{query}")).await.json();
        let lines = lines["lines"].as_array().unwrap().iter();
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages("").await, ["one", "two", "three"]);
    assert_eq!(messages("requestId=a").await, ["one", "three"]);
    assert_eq!(messages("text=TWO").await, ["two"]);
    assert_eq!(messages("limit=1").await, ["three"]);
    assert_eq!(messages("after=2").await, ["three"]);
    let wrong = grace.get("/api/admin/logs?level=loud").await;
    assert_eq!(wrong.status, 400);

    let mut stream =
        EventStream::open(&grace, Method::GET, "/api/admin/logs?follow=true&level=info&limit=1", None).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let first = stream.next().await.unwrap();
    assert_eq!((first.id, &first.event["message"]), (Some(2), &json!("two")));
    recent.push(&line("DEBUG", "four", "c"));
    recent.push(&line("ERROR", "five", "c"));
    let next = stream.next().await.unwrap();
    assert_eq!((next.id, &next.event["message"]), (Some(5), &json!("five")));
    // Going on after a lost connection.
    let resumed = grace.clone().header("last-event-id", "2");
    let mut again = EventStream::open(&resumed, Method::GET, "/api/admin/logs?follow=true&level=info", None).await;
    assert_eq!(again.next().await.unwrap().id, Some(5));
    let path = "/api/admin/logs?follow=true&level=info&after=1";
    let mut newer = EventStream::open(&resumed, Method::GET, path, None).await;
    assert_eq!(newer.next().await.unwrap().id, Some(5), "the larger number counts");
    app.state.shutdown.cancel();
    assert!(stream.next().await.is_none() && again.next().await.is_none(), "the service stops");
}

#[tokio::test]
async fn users_are_listed_with_their_use_and_bans() {
    let app = app();
    let grace = app.user("grace").await;
    for user in ["ada", "grace"] {
        app.save(Container::UserProfiles, user, json!({"id": user})).await;
    }
    app.save(Container::Wardrobe, "ada", json!({"id": "shirt", "userId": "ada"})).await;
    for user in ["ada", "eve"] {
        grace.post(&format!("/api/admin/ban/{user}"), json!({"reason": "spam"})).await;
    }
    let mut users = Vec::new();
    let mut token = String::new();
    loop {
        let page = grace.get(&format!("/api/admin/users?continuationToken={token}")).await.json();
        users.extend(page["users"].as_array().unwrap().iter().cloned());
        match page["nextContinuationToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    let ids: Vec<_> = users.iter().map(|user| user["userId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ada", "grace", "eve"]);
    insta::assert_json_snapshot!(users[0], @r#"
    {
      "ban": {
        "bannedAt": "2026-03-02T09:15:00.000Z",
        "bannedBy": "grace",
        "reason": "spam"
      },
      "isAdmin": false,
      "items": 1,
      "tokensPerDay": 1000000,
      "tokensToday": 0,
      "userId": "ada"
    }
    "#);
    assert_eq!(users[1]["isAdmin"], true);

    // A ban holds from the next request on, and no longer than it lasts.
    let ada = app.user("ada").await;
    let posts = json!({"source_id": "nothing", "posts": []});
    let refused = ada.post("/api/scraper/ingest/reddit", posts.clone()).await.summary();
    assert_eq!(refused, (403, refusal("User is banned from contributing.")));
    grace.post("/api/admin/unban/ada", json!({})).await;
    assert_ne!(ada.post("/api/scraper/ingest/reddit", posts).await.status, 403);

    // Anybody can be looked up, also somebody without a document.
    let found = grace.get("/api/admin/users?userId=nobody").await.json();
    assert_eq!((&found["users"][0]["userId"], &found["users"][0]["ban"]), (&json!("nobody"), &Value::Null));
    assert_eq!(grace.get("/api/admin/users?userId=a%2Fb").await.status, 400);
}

#[tokio::test]
async fn tokens_that_a_user_spent_are_shown() {
    let app = app();
    let (ada, grace) = (app.user("ada").await, app.user("grace").await);
    ada.post("/api/chat", json!({"message": "What should I wear?"})).await;
    let found = grace.get("/api/admin/users?userId=ada").await.json();
    assert!(found["users"][0]["tokensToday"].as_u64().unwrap() > 0, "{found}");
}

#[tokio::test]
async fn settings_are_listed_and_secrets_masked() {
    let app = TestApp::builder()
        .setting("ADMIN_USER_IDS", "grace")
        .setting("METADATA_EXTRACT_API_KEY", "the-secret-key")
        .start();
    let answer = app.user("grace").await.get("/api/admin/settings").await;
    assert!(!answer.text().contains("the-secret-key"));
    let shown = answer.json();
    let setting = |name: &str| shown["settings"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
    let masked = json!({"name": "METADATA_EXTRACT_API_KEY", "value": "********", "isSecret": true, "source": "environment", "note": null});
    assert_eq!(setting("METADATA_EXTRACT_API_KEY"), &masked);
    let default = json!({"name": "PORT", "value": "7071", "isSecret": false, "source": "default", "note": null});
    assert_eq!(setting("PORT"), &default);
    assert_eq!(shown["environment"], "production");
}

#[tokio::test]
async fn what_administrators_do_is_recorded() {
    let app = app();
    let (grace, ada) = (app.user("grace").await, app.user("ada").await);
    let named = grace.clone().header("x-request-id", "the-ban");
    named.post("/api/admin/ban/eve", json!({"reason": "spam"})).await;
    app.clock.advance(Duration::from_secs(1));
    grace.delete("/api/admin/dead-letters/nothing").await;
    app.clock.advance(Duration::from_secs(1));
    grace.post("/api/jobs/j1/terminate", json!({})).await;
    // What only reads, what is refused and what others do with what is theirs leaves nothing.
    grace.get("/api/admin/bans").await;
    ada.post("/api/admin/ban/grace", json!({})).await;
    ada.post("/api/jobs/j1/terminate", json!({})).await;

    let log = grace.get("/api/admin/audit").await.json();
    let told: Vec<_> = log["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["method"], &it["route"], &it["target"], &it["status"]))
        .collect();
    let expected = [
        (json!("POST"), json!("/api/jobs/{job_id}/terminate"), json!("j1"), json!(404)),
        (json!("DELETE"), json!("/api/admin/dead-letters/{id}"), json!("nothing"), json!(404)),
        (json!("POST"), json!("/api/admin/ban/{target_user_id}"), json!("eve"), json!(200)),
    ];
    assert_eq!(
        told,
        expected.iter().map(|(method, route, target, status)| (method, route, target, status)).collect::<Vec<_>>()
    );
    let ban = &log["actions"][2];
    assert_eq!((&ban["userId"], &ban["requestId"]), (&json!("grace"), &json!("the-ban")));
    assert_eq!(ban["at"], "2026-03-02T09:15:00.000Z");
    assert_eq!(grace.get("/api/admin/audit?userId=grace").await.json()["actions"], log["actions"]);
    assert_eq!(grace.get("/api/admin/audit?userId=ada").await.json()["actions"], json!([]));
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_recorded() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let is_entry = |call: &Call<'_>| call.container == Some(Container::AuditEntries);
    let fate = move |call: &Call<'_>| if is_entry(call) { Fate::Fails } else { Fate::Passes };
    let store = Intercepted::new(Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()), Arc::new(fate));
    let app = TestApp::builder().setting("ADMIN_USER_IDS", "grace").store(store).clock(clock).start();
    let grace = app.user("grace").await;
    assert_eq!(grace.post("/api/admin/ban/eve", json!({})).await.status, 503);
    assert_eq!(grace.get("/api/admin/bans").await.json()["bans"], json!([]));
}

async fn entries_are_listed_newest_first_page_by_page(store: Arc<dyn DocumentStore>) {
    let data = Data::new(store);
    let admin = format!("admin-{}", uuid::Uuid::new_v4().simple());
    let start = datetime!(2026-03-02 09:15 UTC);
    for number in 0..5_u64 {
        let mut entry = AuditEntry {
            id: format!("entry{number}"),
            user_id: admin.as_str().into(),
            at: (start + Duration::from_secs(number)).into(),
            method: "POST".to_owned(),
            route: "/api/admin/ban/{target_user_id}".to_owned(),
            target: Some("eve".to_owned()),
            request_id: None,
            status: None,
            other: Map::new(),
        };
        data.audit.save(&entry).await.unwrap();
        entry.status = Some(200);
        data.audit.save(&entry).await.unwrap();
    }
    let user = admin.as_str().into();
    for of in [Some(&user), None] {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let (entries, next) = data.audit.page(of, token, 2).await.unwrap();
            found.extend(entries.into_iter().filter(|entry| entry.user_id == user && entry.status == Some(200)));
            token = next;
            if token.is_none() {
                break;
            }
        }
        let ids: Vec<_> = found.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["entry4", "entry3", "entry2", "entry1", "entry0"]);
    }
}

#[tokio::test]
async fn the_audit_log_has_pages() {
    entries_are_listed_newest_first_page_by_page(Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap()))
        .await;
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn the_audit_log_has_pages_on_cosmos() {
    entries_are_listed_newest_first_page_by_page(Arc::new(cosmos_backend::cosmos().await)).await;
}
