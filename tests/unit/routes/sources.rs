//! The sources of the feed: who sees them, leases them, follows them, sends posts for them and scrapes them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use parking_lot::Mutex;
use pluckit::base::clock::SystemClock;
use pluckit::model::ban::Ban;
use pluckit::model::ids::UserId;
use pluckit::queue::local::LocalQueue;
use pluckit::store::{Container, Key, Query};
use pluckit::workers::{Delivery, JobError, scrape, sweeper};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::support::caller::Caller;
use crate::support::feeds::{post, selectors, show_posts, show_shop};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::model::{ModelServer, say};
use crate::support::web::{self, PUBLIC, Web};
use crate::support::{TestApp, refusal, until};

const SOURCES: &str = "/api/scraper/sources";
const INGEST: &str = "/api/scraper/ingest/reddit";
const QUEUE: &str = "scrape-sources";
/// How long a queued scrape is waited for.
const QUARTER: Duration = Duration::from_secs(15 * 60);

/// A subreddit that everybody has.
fn subreddit(name: &str) -> Value {
    json!({
        "id": format!("reddit-{name}"), "sourceType": "reddit", "name": format!("r/{name}"), "isGlobal": true,
        "isActive": true, "createdAt": "2026-01-01T00:00:00.000Z", "lastScrapedAt": null, "kept": {"by": "others"},
        "config": {"subreddit": name, "sort": "hot", "limit": 50, "min_score": 50},
    })
}

async fn save(app: &TestApp, source: Value) {
    let kind = source["sourceType"].as_str().unwrap().to_owned();
    app.save(Container::ScraperSources, &kind, source).await;
}

async fn read(app: &TestApp, kind: &str, id: &str) -> Value {
    let stored = app.state.data.store.read(&Key::new(Container::ScraperSources, kind, id)).await.unwrap();
    stored.map_or(Value::Null, |stored| stored.parse().unwrap())
}

/// The items of a partition, by title.
async fn items(app: &TestApp, partition: &str) -> Vec<Value> {
    let query = Query::partition(Container::ScrapedItems, partition).limit(1000);
    let page = app.state.data.store.query(&query).await.unwrap();
    let mut items: Vec<Value> = page.documents.iter().map(|stored| stored.parse().unwrap()).collect();
    items.sort_by_key(|item| item["title"].to_string());
    items
}

async fn ids(caller: &Caller) -> Vec<String> {
    let list = caller.get(SOURCES).await.json();
    list["sources"].as_array().unwrap().iter().map(|source| source["id"].as_str().unwrap().to_owned()).collect()
}

/// Takes the lease of the subreddit `aa` for the caller.
async fn lease(caller: &Caller) {
    let answer = caller.post("/api/scraper/lease/reddit-aa", json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

/// Processes the messages in the queue once.
async fn work_off(app: &TestApp) -> Vec<Result<(), JobError>> {
    let mut outcomes = Vec::new();
    for message in app.state.queue.receive(QUEUE, 32, Duration::from_secs(30)).await.unwrap() {
        let delivery =
            Delivery { text: message.text.clone(), dequeue_count: message.dequeue_count, id: Some(message.id.clone()) };
        outcomes.push(scrape::run(&app.state, delivery).await);
        app.state.queue.delete(QUEUE, &message).await.unwrap();
    }
    outcomes
}

// --- The list -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_user_sees_what_everybody_has_and_their_own() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    save(&app, subreddit("aa")).await;
    for (id, changes) in [
        ("reddit-off", json!({"isActive": false})),
        ("reddit-ada", json!({"isGlobal": false, "createdBy": "ada"})),
        ("reddit-ada-off", json!({"isGlobal": false, "createdBy": "ada", "isActive": false})),
    ] {
        let mut source = subreddit("x");
        source["id"] = id.into();
        source.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        save(&app, source).await;
    }
    app.save(
        Container::ScraperSources,
        "rss",
        json!({"id": "odd", "sourceType": "rss", "isGlobal": true, "isActive": true}),
    )
    .await;
    assert_eq!(ids(&ada).await, ["reddit-aa", "reddit-ada"]);
    assert_eq!(ids(&eve).await, ["reddit-aa"]);
    for path in ["lease", "subscribe"] {
        let path = format!("/api/scraper/{path}/reddit-ada");
        assert_eq!(eve.post(&path, json!({})).await.summary(), (404, refusal("Source not found.")));
        assert!(ada.post(&path, json!({})).await.status.is_success());
    }
    let body = json!({"source_id": "reddit-ada", "posts": []});
    assert_eq!(eve.post(INGEST, body).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_source_is_shown_as_clients_know_it() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    save(&app, subreddit("aa")).await;
    insta::assert_json_snapshot!(ada.get(SOURCES).await.summary(), @r#"
    [
      200,
      {
        "sources": [
          {
            "config": {
              "limit": 50,
              "min_score": 50,
              "sort": "hot",
              "subreddit": "aa"
            },
            "id": "reddit-aa",
            "isGlobal": true,
            "lastScrapedAt": null,
            "leaseExpiresAt": null,
            "name": "r/aa",
            "needsClientIngest": true,
            "sourceType": "reddit",
            "subscribed": false
          }
        ]
      }
    ]
    "#);
}

// --- Leases ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_lease_keeps_others_away_for_a_quarter_of_an_hour() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    save(&app, subreddit("aa")).await;
    let lease = "/api/scraper/lease/reddit-aa";
    let held = (409, refusal("Lease already held by another user."));
    let granted = ada.post(lease, json!({})).await.summary();
    assert_eq!(granted, (200, json!({"status": "ok", "expiresAt": "2026-03-02T09:30:00.000Z"})));
    assert_eq!(eve.post(lease, json!({})).await.summary(), held);
    assert_eq!(ada.post(lease, json!({})).await.summary(), held, "two windows of one user are two clients");
    let shown = &eve.get(SOURCES).await.json()["sources"][0];
    assert_eq!((&shown["needsClientIngest"], &shown["leaseExpiresAt"]), (&json!(false), &granted.1["expiresAt"]));
    assert_eq!(read(&app, "reddit", "reddit-aa").await["kept"], json!({"by": "others"}));
    app.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(eve.post(lease, json!({})).await.status, StatusCode::OK);
    let missing = ada.post("/api/scraper/lease/reddit-bb", json!({})).await.summary();
    assert_eq!(missing, (404, refusal("Source not found.")));
}

#[tokio::test]
async fn only_what_needs_posts_from_clients_can_be_leased() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let mut fresh = subreddit("aa");
    fresh["lastScrapedAt"] = "2026-03-02T06:00:00.000Z".into();
    save(&app, fresh).await;
    save(&app, json!({"id": "brand-x", "sourceType": "brand_site", "isGlobal": true, "isActive": true})).await;
    let refused = (409, refusal("The source does not need posts from clients at the moment."));
    for id in ["reddit-aa", "brand-x"] {
        assert_eq!(ada.post(&format!("/api/scraper/lease/{id}"), json!({})).await.summary(), refused, "{id}");
    }
    assert_eq!(read(&app, "reddit", "reddit-aa").await["leaseOwner"], Value::Null);
    app.clock.advance(Duration::from_secs(2 * 60 * 60));
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    app.state.data.bans.set(&Ban { id: "eve".into(), reason: None, banned_at: None, banned_by: None }).await.unwrap();
    let banned = eve.post("/api/scraper/lease/reddit-aa", json!({})).await.summary();
    assert_eq!(banned, (403, refusal("User is banned from contributing.")));
    lease(&ada).await;
}

#[tokio::test]
async fn a_lease_without_posts_blocks_the_user_for_four_hours() {
    let (app, _web) = scene("0").await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    lease(&eve).await;
    app.clock.advance(Duration::from_secs(15 * 60));
    let refused = eve.post("/api/scraper/lease/reddit-aa", json!({})).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), (225 * 60).to_string());
    // Others can, and whoever brings something need not wait.
    lease(&ada).await;
    assert_eq!(ada.post(INGEST, body(&[post("aa", "p1")])).await.status, StatusCode::OK);
    app.clock.advance(Duration::from_secs(4 * 60 * 60));
    let ada = app.user("ada").await;
    lease(&ada).await;
    assert_eq!(read(&app, "reddit", "reddit-aa").await["clientWaits"].as_object().unwrap().len(), 1, "eve's is over");
    // Unusable posts are ignored.
    assert_eq!(ada.post(INGEST, body(&[post("bb", "p1")])).await.json()["status"], "no_valid_items");
    app.clock.advance(Duration::from_secs(15 * 60));
    let refused = ada.post("/api/scraper/lease/reddit-aa", json!({})).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_client_s_lease_does_not_keep_the_service_away() {
    let web = Web::start().await;
    show_posts(&web, "aa", &["p1"]);
    let app = TestApp::builder().web(&web).setting("ADMIN_USER_IDS", "root").start();
    save(&app, subreddit("aa")).await;
    let (root, ada) = (app.user("root").await, app.user("ada").await);
    lease(&ada).await;
    let run = root.post("/api/scraper/run/reddit-aa", json!({})).await.summary();
    assert_eq!(run, (200, json!({"sourceId": "reddit-aa", "newItems": 1})));
    let late = ada.post(INGEST, body(&[post("aa", "p1")])).await.summary();
    assert_eq!(late, (409, refusal("Lease the source before you send posts for it.")));
}

// --- Following ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_follower_has_the_source_scraped() {
    let web = Web::start().await;
    show_posts(&web, "aa", &["p1", "p2"]);
    let app = TestApp::builder().web(&web).start();
    let ada = app.user("ada").await;
    save(&app, subreddit("aa")).await;
    let path = "/api/scraper/subscribe/reddit-aa";
    let followed = (201, json!({"sourceId": "reddit-aa", "subscribed": true}));
    assert_eq!(ada.post(path, json!({})).await.summary(), followed);
    assert_eq!(ada.post(path, json!({})).await.summary(), followed, "again");
    assert_eq!(ada.get(SOURCES).await.json()["sources"][0]["subscribed"], true);
    let requests = || web.received().iter().filter(|received| received.url.contains("hot.json")).count();
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    assert_eq!((items(&app, "global").await.len(), requests()), (2, 1), "scraped for both requests at once");
    let source = read(&app, "reddit", "reddit-aa").await;
    assert_eq!((source.get("queuedUntil"), source.get("queuedFor")), (None, None), "nothing waits any more");
    app.user("eve").await.post(path, json!({})).await;
    assert!(work_off(&app).await.is_empty(), "scraped a moment ago");

    let left = (200, json!({"sourceId": "reddit-aa", "subscribed": false}));
    assert_eq!(ada.delete(path).await.summary(), left);
    assert_eq!(ada.delete(path).await.summary(), left, "twice");
    assert_eq!(ada.get(SOURCES).await.json()["sources"][0]["subscribed"], false);
    let never = app.user("bob").await;
    assert_eq!(never.delete(path).await.summary(), left, "without having followed");
    for answer in [ada.post("/api/scraper/subscribe/x", json!({})).await, ada.delete("/api/scraper/subscribe/x").await]
    {
        assert_eq!(answer.summary(), (404, refusal("Source not found.")));
    }
    let mut gone = read(&app, "reddit", "reddit-aa").await;
    gone["isActive"] = false.into();
    save(&app, gone).await;
    assert_eq!(ada.delete(path).await.summary(), left, "a source out of use can be left");
}

#[tokio::test]
async fn a_source_waits_in_the_queue_once() {
    let app = TestApp::new();
    save(&app, subreddit("aa")).await;
    let mut callers = Vec::new();
    for number in 0..20 {
        callers.push(app.user(&format!("u{number}")).await);
    }
    let path = "/api/scraper/subscribe/reddit-aa";
    let answers = join_all(callers.iter().flat_map(|caller| (0..5).map(|_| caller.post(path, json!({}))))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED));
    assert_eq!(app.state.queue.length(QUEUE).await.unwrap(), 1);
    // Nothing is heard of it for long enough: the message is lost.
    app.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(callers[0].post(path, json!({})).await.status, StatusCode::CREATED);
    assert_eq!(app.state.queue.length(QUEUE).await.unwrap(), 2);
}

#[tokio::test]
async fn a_follower_who_hangs_up_has_the_source_scraped_nevertheless() {
    let request: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
    let to_cancel = request.clone();
    let interceptor = move |call: &Call<'_>| {
        // The source is marked as queued, and its message is not sent yet.
        if call.name == "queue.send"
            && let Some(request) = to_cancel.lock().take()
        {
            request.abort();
            return Fate::GivesWay;
        }
        Fate::Passes
    };
    let queue = Arc::new(LocalQueue::in_memory(Arc::new(SystemClock)).unwrap());
    let app = TestApp::builder().queue(Intercepted::new(queue, Arc::new(interceptor))).start();
    save(&app, subreddit("aa")).await;
    let ada = app.user("ada").await;
    let following =
        app.state.tasks.spawn(async move { ada.post("/api/scraper/subscribe/reddit-aa", json!({})).await.status });
    *request.lock() = Some(following.abort_handle());
    assert!(following.await.is_err_and(|error| error.is_cancelled()));
    until("the message is sent", async || app.state.queue.length(QUEUE).await.unwrap() == 1).await;
}

/// A service with a subreddit that Ada follows. The message of its scrape is taken out of the queue.
async fn followed() -> (TestApp, Web, Delivery) {
    let web = Web::start().await;
    show_posts(&web, "aa", &["p1"]);
    let app = TestApp::builder().web(&web).start();
    save(&app, subreddit("aa")).await;
    let ada = app.user("ada").await;
    assert_eq!(ada.post("/api/scraper/subscribe/reddit-aa", json!({})).await.status, StatusCode::CREATED);
    let message = app.state.queue.receive(QUEUE, 1, QUARTER).await.unwrap().remove(0);
    app.state.queue.delete(QUEUE, &message).await.unwrap();
    (app, web, Delivery { text: message.text, dequeue_count: 5, id: Some(message.id) })
}

async fn waiting(app: &TestApp) -> usize {
    app.state.queue.length(QUEUE).await.unwrap()
}

#[tokio::test]
async fn a_scrape_whose_message_was_lost_is_queued_by_the_sweeper() {
    let (app, _web, _lost) = followed().await;
    app.clock.advance(QUARTER - Duration::from_millis(1));
    sweeper::run(&app.state).await.unwrap();
    assert_eq!(waiting(&app).await, 0, "it may still come");
    app.clock.advance(Duration::from_millis(1));
    sweeper::run(&app.state).await.unwrap();
    sweeper::run(&app.state).await.unwrap();
    assert_eq!(waiting(&app).await, 1);
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    assert_eq!(items(&app, "global").await.len(), 1);
    let source = read(&app, "reddit", "reddit-aa").await;
    assert_eq!(["queuedUntil", "queuedFor", "requeues"].map(|field| source.get(field)), [None; 3]);
    app.clock.advance(QUARTER);
    sweeper::run(&app.state).await.unwrap();
    assert_eq!(waiting(&app).await, 0);
}

#[tokio::test]
async fn a_scrape_that_no_worker_does_is_queued_three_more_times() {
    let (app, _web, _lost) = followed().await;
    let mut queued = Vec::new();
    for _ in 0..5 {
        app.clock.advance(QUARTER);
        sweeper::run(&app.state).await.unwrap();
        queued.push(waiting(&app).await);
    }
    assert_eq!(queued, [1, 2, 3, 3, 3]);
    assert_eq!(read(&app, "reddit", "reddit-aa").await.get("queuedUntil"), None);
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    assert_eq!(items(&app, "global").await.len(), 1, "scraped once for all messages");
}

#[tokio::test]
async fn a_scrape_that_became_a_dead_letter_is_not_queued_by_the_sweeper() {
    let (app, _web, delivery) = followed().await;
    let failed = delivery.into_failed(QUEUE, Some("the site is down".to_owned()));
    scrape::give_up(&app.state, failed.clone()).await.unwrap();
    scrape::give_up(&app.state, failed).await.unwrap();
    assert_eq!(read(&app, "reddit", "reddit-aa").await.get("queuedUntil"), None);
    app.clock.advance(QUARTER);
    sweeper::run(&app.state).await.unwrap();
    assert_eq!(waiting(&app).await, 0);
}

#[tokio::test]
async fn a_place_of_work_that_is_done_is_none_for_the_same_work_again() {
    let web = Web::start().await;
    let app = TestApp::builder().web(&web).setting("RATE_LIMITS", "true").start();
    for name in ["aa", "bb", "cc", "dd"] {
        show_posts(&web, name, &["p1"]);
        save(&app, subreddit(name)).await;
    }
    let ada = app.user("ada").await;
    let follow = async |name: &str| ada.post(&format!("/api/scraper/subscribe/reddit-{name}"), json!({})).await.status;
    for name in ["aa", "bb", "cc"] {
        assert_eq!(follow(name).await, StatusCode::CREATED);
    }
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    app.clock.advance(QUARTER);
    for name in ["aa", "bb", "cc"] {
        assert_eq!(follow(name).await, StatusCode::CREATED, "{name} was scraped a while ago");
    }
    assert_eq!(waiting(&app).await, 3);
    assert_eq!(follow("dd").await, StatusCode::TOO_MANY_REQUESTS);
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    assert_eq!(follow("dd").await, StatusCode::CREATED);
}

#[tokio::test]
async fn a_user_has_so_many_scrapes_and_operations_waiting() {
    let web = Web::start().await;
    let app = TestApp::builder().web(&web).setting("RATE_LIMITS", "true").start();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    for name in ["aa", "bb", "cc", "dd"] {
        show_posts(&web, name, &["p1"]);
        save(&app, subreddit(name)).await;
    }
    let follow = async |caller: &Caller, name: &str| {
        caller.post(&format!("/api/scraper/subscribe/reddit-{name}"), json!({})).await
    };
    let later = ada.clone().header("prefer", "respond-async");
    let digest = async || later.post("/api/digest/run", json!({})).await;
    assert_eq!(digest().await.status, StatusCode::ACCEPTED);
    for name in ["aa", "bb"] {
        assert_eq!(follow(&ada, name).await.status, StatusCode::CREATED);
    }
    for refused in [follow(&ada, "cc").await, digest().await] {
        let detail = "Too many of your operations are waiting. Wait until one of them has ended.";
        assert_eq!(refused.summary(), (429, refusal(detail)));
        assert_eq!(refused.header("retry-after"), "10");
    }
    let followed = ada.get(SOURCES).await.json();
    let is_followed = |id: &str| {
        let sources = followed["sources"].as_array().unwrap();
        sources.iter().find(|source| source["id"] == id).unwrap()["subscribed"].clone()
    };
    assert_eq!((is_followed("reddit-bb"), is_followed("reddit-cc")), (json!(true), json!(false)));
    assert_eq!(follow(&ada, "aa").await.status, StatusCode::CREATED, "what waits already needs no place");
    assert_eq!(follow(&eve, "cc").await.status, StatusCode::CREATED, "others have places of their own");
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    for name in ["cc", "dd"] {
        assert_eq!(follow(&ada, name).await.status, StatusCode::CREATED, "two places are free again");
    }
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    app.work_all().await;
    for status in [202, 202, 202, 429] {
        assert_eq!(digest().await.status, status);
    }
    app.work_all().await;
}

// --- Posts that clients send ----------------------------------------------------------------------------------------

/// A subreddit `a` with three posts, and a service that compares submissions at this rate.
async fn scene(rate: &str) -> (TestApp, Web) {
    let web = Web::start().await;
    show_posts(&web, "aa", &["p1", "p2", "p3"]);
    let app = TestApp::builder().web(&web).setting("INGEST_SPOT_CHECK_RATE", rate).start();
    save(&app, subreddit("aa")).await;
    (app, web)
}

fn body(posts: &[Value]) -> Value {
    json!({"source_id": "reddit-aa", "posts": posts})
}

#[tokio::test]
async fn posts_that_a_client_sends_are_in_the_feed_once() {
    let (app, web) = scene("0").await;
    let ada = app.user("ada").await;
    lease(&ada).await;
    // With its envelope or without.
    let posts = [post("aa", "p1"), post("aa", "p2")["data"].clone(), post("other", "p3")];
    let sent = ada.post(INGEST, body(&posts)).await.summary();
    assert_eq!(sent, (200, json!({"count": 2, "status": "ok", "verified": false, "dropped": 1})));
    let source = read(&app, "reddit", "reddit-aa").await;
    assert_eq!(source["lastScrapedAt"], "2026-03-02T09:15:00.000Z");
    assert_eq!((&source["leaseOwner"], &source["leaseExpiresAt"]), (&Value::Null, &Value::Null), "given back");
    assert_eq!(source["kept"], json!({"by": "others"}));
    assert_eq!(ada.get(SOURCES).await.json()["sources"][0]["needsClientIngest"], false);
    let found = items(&app, "global").await;
    assert_eq!((&found[0]["submitterId"], &found[0]["verified"]), (&json!("ada"), &json!(false)));
    app.clock.advance(Duration::from_secs(4 * 60 * 60));
    let bob = app.user("bob").await;
    lease(&bob).await;
    let again = bob.post(INGEST, body(&posts)).await.summary();
    assert_eq!(again, (200, json!({"count": 0, "status": "ok", "verified": false, "dropped": 1})));
    assert_eq!(items(&app, "global").await, found);
    assert!(!web.received().iter().any(|received| received.url.contains("reddit.com")), "nothing was compared");
}

#[tokio::test]
async fn unusable_submissions_are_refused_with_a_reason() {
    let (app, _web) = scene("1").await;
    let ada = app.user("ada").await;
    let status = async |body: Value| ada.post(INGEST, body).await.summary();
    let nothing =
        |dropped: usize| (200, json!({"count": 0, "status": "no_valid_items", "verified": false, "dropped": dropped}));
    let detail = "Lease the source before you send posts for it.";
    assert_eq!(status(body(&[post("aa", "p1")])).await, (409, refusal(detail)));
    lease(&ada).await;
    assert_eq!(status(body(&[])).await, nothing(0));
    assert_eq!(status(body(&[json!({}), post("bb", "p2")])).await, nothing(2));
    assert_eq!(read(&app, "reddit", "reddit-aa").await["lastScrapedAt"], Value::Null);
    assert_eq!(status(json!({"source_id": "x", "posts": []})).await, (404, refusal("Source not found.")));
    assert_eq!(status(json!({"source_id": "reddit-aa"})).await.0, 422);
    assert_eq!(status(json!({"posts": []})).await.0, 422);
    assert_eq!(status(body(&[json!("post")])).await.0, 422);
    assert_eq!(status(body(&vec![post("aa", "p1"); 101])).await.0, 422);
    for url in ["http://i.redd.it/p1.png", "https://10.0.0.1/a.png", "https://user:pass@i.redd.it/a.png"] {
        let mut unsafe_post = post("aa", "p1");
        unsafe_post["data"]["url"] = url.into();
        assert_eq!(status(body(&[unsafe_post])).await, nothing(1), "{url}");
    }
    save(&app, json!({"id": "brand-x", "sourceType": "brand_site", "isGlobal": true, "isActive": true})).await;
    assert_eq!(status(json!({"source_id": "brand-x", "posts": []})).await.0, 400);
    assert!(items(&app, "global").await.is_empty());
}

#[tokio::test]
async fn posts_that_cannot_be_shown_are_left_out_and_the_others_kept() {
    let (app, web) = scene("0").await;
    let ada = app.user("ada").await;
    lease(&ada).await;
    let with = |id: &str, field: &str, value: Value| {
        let mut post = post("aa", id);
        post["data"][field] = value;
        post
    };
    web.page("https://i.redd.it/gone.png", |_| {
        axum::http::Response::builder().status(404).body("gone".into()).unwrap()
    });
    let posts = [
        with("p1", "url", "http://i.redd.it/p1.png".into()),
        with("p4", "url", "https://shop.example/p4".into()),
        with("p5", "over_18", true.into()),
        with("p6", "removed_by_category", "moderator".into()),
        with("p7", "url", "https://i.redd.it/gone.png".into()),
        with("p2", "score", 3.into()),
        post("aa", "p3"),
    ];
    let sent = ada.post(INGEST, body(&posts)).await.summary();
    assert_eq!(sent, (200, json!({"count": 2, "status": "ok", "verified": false, "dropped": 5})));
    let titles: Vec<Value> = items(&app, "global").await.iter().map(|item| item["title"].clone()).collect();
    assert_eq!(titles, ["Vintage denim p2", "Vintage denim p3"]);
}

/// Creates a post in which the client exaggerates text, flair and votes.
fn embellished(id: &str) -> Value {
    let mut post = post("aa", id);
    let data = post["data"].as_object_mut().unwrap();
    data.insert("selftext".to_owned(), "SALE! pay at https://evil.example".into());
    data.insert("link_flair_text".to_owned(), "spam".into());
    data.insert("score".to_owned(), 1_000_000_000.into());
    data.insert("created_utc".to_owned(), 90_000_000_000_u64.into());
    post
}

#[tokio::test]
async fn the_sender_s_word_counts_for_nothing() {
    for (rate, is_compared) in [("0", false), ("1.0", true)] {
        let (app, _web) = scene(rate).await;
        let eve = app.user("eve").await;
        lease(&eve).await;
        let sent = eve.post(INGEST, body(&[embellished("p1")])).await.summary();
        assert_eq!(sent, (200, json!({"count": 1, "status": "ok", "verified": is_compared, "dropped": 0})));
        let item = &items(&app, "global").await[0];
        assert_eq!(item["tags"], json!(["vintage", "denim"]));
        assert_eq!((&item["submitterId"], &item["verified"]), (&json!("eve"), &json!(is_compared)));
        let told = (&item["description"], &item["redditScore"], &item["sourceCreatedAt"]);
        let expected = match is_compared {
            true => (&json!("Bought last week."), &json!(100), &json!("2026-02-25T06:13:20.000Z")),
            false => (&json!(""), &json!(0), &Value::Null),
        };
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn only_what_was_compared_counts_as_verified() {
    let (app, web) = scene("1.0").await;
    show_posts(&web, "aa", &["p1", "p2", "p3", "p4", "p5"]);
    let ada = app.user("ada").await;
    lease(&ada).await;
    let sent = ada.post(INGEST, body(&["p1", "p2", "p3", "p4", "p5"].map(embellished))).await.summary();
    assert_eq!(sent, (200, json!({"count": 5, "status": "ok", "verified": true, "dropped": 0})));
    let found = items(&app, "global").await;
    assert_eq!(found.iter().filter(|item| item["verified"] == true).count(), 3);
    assert!(found.iter().all(|item| (item["verified"] == true) == (item["description"] == "Bought last week.")));
}

#[tokio::test]
async fn a_user_sends_so_many_posts_a_minute_and_a_day() {
    let web = Web::start().await;
    let app = TestApp::builder().web(&web).setting("RATE_LIMITS", "true").setting("INGEST_SPOT_CHECK_RATE", "0");
    let app = app.setting("INGEST_POSTS_PER_USER_AND_DAY", "3").start();
    for name in ["aa", "bb"] {
        save(&app, subreddit(name)).await;
    }
    let ada = app.user("ada").await;
    let send = async |name: &str, ids: &[&str]| {
        let posts: Vec<Value> = ids.iter().map(|id| post(name, id)).collect();
        ada.post(INGEST, json!({"source_id": format!("reddit-{name}"), "posts": posts})).await
    };
    lease(&ada).await;
    assert_eq!(send("aa", &["p1", "p2"]).await.json()["count"], 2);
    ada.post("/api/scraper/lease/reddit-bb", json!({})).await;
    let cut = send("bb", &["q1", "q2", "q3"]).await.json();
    assert_eq!((&cut["count"], &cut["dropped"]), (&json!(1), &json!(2)), "as many as fit into the day");
    save(&app, subreddit("aa")).await;
    lease(&ada).await;
    let refused = send("aa", &["p3"]).await;
    assert_eq!(refused.summary(), (429, refusal("You have sent enough posts for today.")));
    assert_eq!(refused.header("retry-after"), ((14 * 60 + 45) * 60).to_string());
    for _ in 0..3 {
        send("aa", &[]).await;
    }
    let refused = send("aa", &[]).await;
    assert_eq!(refused.summary(), (429, refusal("Too many requests. Please slow down.")));
    assert_eq!(ada.get(SOURCES).await.status, StatusCode::OK, "other requests have another quota");
}

#[tokio::test]
async fn posts_are_compared_with_reddit() {
    let (app, web) = scene("1.0").await;
    let ada = app.user("ada").await;
    lease(&ada).await;
    let sent = ada.post(INGEST, body(&[post("aa", "p1"), post("aa", "p2")])).await.summary();
    assert_eq!(sent, (200, json!({"count": 2, "status": "ok", "verified": true, "dropped": 0})));
    assert!(items(&app, "global").await.iter().all(|item| item["verified"] == true));
    save(&app, subreddit("aa")).await;
    lease(&ada).await;
    web.page("https://www.reddit.com/r/aa/comments/p3/vintage_denim.json", |_| {
        axum::http::Response::builder().status(503).body("later".into()).unwrap()
    });
    let sent = ada.post(INGEST, body(&[post("aa", "p3")])).await.summary();
    let taken = json!({"count": 1, "status": "ok", "verified": false, "dropped": 0});
    assert_eq!(sent, (200, taken), "Reddit out of reach");
}

#[tokio::test]
async fn a_sender_of_forged_posts_is_detected_and_banned() {
    let title = |post: &mut Value| post["data"]["title"] = "Buy my coins".into();
    let picture = |post: &mut Value| post["data"]["url"] = "https://i.redd.it/other.png".into();
    let address = |post: &mut Value| post["data"]["permalink"] = "/r/aa/comments/zz9/vintage_denim/".into();
    for forge in [&title as &dyn Fn(&mut Value), &picture, &address] {
        let (app, web) = scene("1.0").await;
        crate::support::feeds::show_picture(&web, "https://i.redd.it/other.png", 99);
        let (eve, admin) = (app.user("eve").await, app.user("ada").await);
        let mut forged = post("aa", "p3");
        forge(&mut forged);
        let banned = (403, refusal("User is banned from contributing."));
        lease(&eve).await;
        // Genuine posts beside it change nothing.
        assert_eq!(eve.post(INGEST, body(&[post("aa", "p1"), forged, post("aa", "p2")])).await.summary(), banned);
        assert!(items(&app, "global").await.is_empty(), "nothing is stored");
        assert_eq!(read(&app, "reddit", "reddit-aa").await["lastScrapedAt"], Value::Null);
        let ban = app.state.data.bans.find(&UserId::from("eve")).await.unwrap().expect("a ban");
        assert!(ban.banned_by.is_none() && ban.banned_at.is_some() && ban.reason.is_some());
        assert_eq!(eve.post(INGEST, body(&[post("aa", "p1")])).await.summary(), banned, "genuine posts, too late");
        app.clock.advance(Duration::from_secs(15 * 60));
        lease(&admin).await;
        let others = admin.post(INGEST, body(&[post("aa", "p1")])).await;
        assert_eq!(others.status, StatusCode::OK, "others go on");
    }
}

// --- Suggestions ----------------------------------------------------------------------------------------------------

async fn shop_scene() -> (TestApp, Web, ModelServer) {
    let (web, model) = (Web::start().await, ModelServer::start().await);
    show_shop(&web, "shop.example", &["coat", "scarf"]);
    model.otherwise(|_| say(&[&selectors().to_string()]));
    let app = TestApp::builder().web(&web).model_server(&model).setting("ADMIN_USER_IDS", "root").start();
    (app, web, model)
}

#[tokio::test]
async fn a_brand_s_site_becomes_the_user_s_source() {
    let (app, web, model) = shop_scene().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let body = json!({"name": "Acne Studios!", "url": "https://shop.example/new"});
    let made = ada.post(SOURCES, body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    assert_eq!((&made["sourceId"], &made["name"]), (&json!("brand-acne-studios"), &json!("Acne Studios!")));
    assert_eq!(made["config"]["productContainer"], "li.card");
    assert_eq!(made["config"]["sourceUrl"], "https://shop.example/new");
    assert_eq!(made["config"]["generatedByLLM"], true);
    assert_eq!((ids(&ada).await, ids(&eve).await), (vec!["brand-acne-studios".to_owned()], vec![]));
    let taken = eve.post(SOURCES, body.clone()).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert_eq!(model.count(), 1, "the model is not asked for what is taken");
    assert_eq!(ada.post(SOURCES, body).await.status, StatusCode::CREATED, "anew, by the same user");

    // Scraping needs no model but for the vectors, and what is found is ada's alone.
    let path = "/api/scraper/subscribe/brand-acne-studios";
    assert_eq!(ada.post(path, json!({})).await.status, StatusCode::CREATED);
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    let found = items(&app, "ada").await;
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0]["price"], &found[0]["userId"]), (&json!("€ 89,00"), &json!("ada")));
    assert!(items(&app, "global").await.is_empty());
    assert_eq!(web.private().connections().await, 0);

    // Her feed has it among what everybody sees, and she can vote on it.
    for (number, score) in [(1, 5), (2, 0), (3, -5)] {
        let shared = json!({
            "id": format!("shared-{number}"), "userId": "global", "scoreSignal": score,
            "scrapedAt": format!("2026-03-0{number}T00:00:00.000Z"),
        });
        app.save(Container::ScrapedItems, "global", shared).await;
    }
    let walk = async |caller: &Caller, sort: &str| {
        let (mut ids, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/scraper/items?sortBy={sort}&pageSize=2&continuationToken={token}");
            let page = caller.get(&path).await.json();
            ids.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["nextContinuationToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return ids,
            }
        }
    };
    let shared = ["shared-1", "shared-2", "shared-3"].map(str::to_owned);
    let mut own: Vec<String> = found.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    own.sort();
    let [first, second] = own.as_slice() else { panic!("two items") };
    // Of equal score the smaller id comes first: brand_site before shared.
    let by_score = [&shared[0], first, second, &shared[1], &shared[2]].map(Clone::clone);
    assert_eq!(walk(&ada, "score").await, by_score);
    // Found at 09:15 on the second of March.
    let by_time = [&shared[2], first, second, &shared[1], &shared[0]].map(Clone::clone);
    assert_eq!(walk(&ada, "recent").await, by_time);
    assert_eq!(walk(&eve, "score").await, shared);
    let path = format!("/api/scraper/items/{second}/feedback");
    let voted = ada.post(&path, json!({"signal": "up"})).await;
    assert_eq!((voted.status, &voted.json()["scoreSignal"]), (StatusCode::OK, &json!(1)));
    let stranger = eve.post(&path, json!({"signal": "up"})).await;
    assert_eq!(stranger.summary(), (404, refusal("Item not found.")));
    assert_eq!(walk(&ada, "score").await[1], *second);
}

#[tokio::test]
async fn clients_say_brand_for_a_brand_s_site() {
    let (app, _web, _model) = shop_scene().await;
    let ada = app.user("ada").await;
    for kind in ["brand", "brand_site"] {
        let body = json!({"name": "Acme", "url": "https://shop.example/new", "sourceType": kind});
        assert_eq!(ada.post(SOURCES, body).await.status, StatusCode::CREATED, "{kind}");
    }
    assert_eq!(ada.get(SOURCES).await.json()["sources"][0]["sourceType"], "brand");
    assert_eq!(read(&app, "brand_site", "brand-acme").await["sourceType"], "brand_site");
    ada.post("/api/scraper/subscribe/brand-acme", json!({})).await;
    assert!(work_off(&app).await.iter().all(Result::is_ok));
    let feed = ada.get("/api/scraper/items?sourceIds=brand-acme").await.json();
    let link = json!([{"platform": "shop.example", "url": "https://shop.example/p/coat"}]);
    assert!(feed["items"].as_array().unwrap().iter().any(|item| item["buyLinks"] == link), "{feed}");
}

#[tokio::test]
async fn an_address_that_is_refused_is_told_why() {
    let (app, web, model) = shop_scene().await;
    let ada = app.user("ada").await;
    web.name("inner.example", &["10.1.2.3".parse().unwrap()]);
    web.name("both.example", &[PUBLIC[0], "127.0.0.1".parse().unwrap()]);
    for (url, reason) in [
        ("http://shop.example/new", "URL must use HTTPS."),
        ("https:///new", "URL must have a hostname."),
        ("https://93.184.215.14/new", "IP-literal URLs are not permitted."),
        ("https://[::1]/new", "IP-literal URLs are not permitted."),
        ("https://nowhere.example/", "Could not resolve hostname."),
        ("https://inner.example/", "URL resolves to a private or reserved address."),
        ("https://both.example/", "URL resolves to a private or reserved address."),
        ("https://localhost/", "URL resolves to a private or reserved address."),
    ] {
        let answer = ada.post(SOURCES, json!({"name": "Shop", "url": url})).await.summary();
        assert_eq!(answer, (400, refusal(reason)), "{url}");
    }
    for (body, status) in [
        (json!({"name": "Shop"}), 422),
        (json!({"name": "", "url": "https://shop.example/new"}), 400),
        (json!({"name": "  ", "url": "https://shop.example/new"}), 400),
        (json!({"name": "Shop", "url": ""}), 400),
        (json!({"name": "x".repeat(101), "url": "https://shop.example/new"}), 422),
        (json!({"name": "Shop", "url": "x".repeat(2001)}), 422),
        (json!({"name": "!!!", "url": "https://shop.example/new"}), 400),
        (json!({"name": "Shop", "url": "https://shop.example/new", "source_type": "reddit"}), 400),
    ] {
        assert_eq!(ada.post(SOURCES, body.clone()).await.status, status, "{body}");
    }
    assert_eq!((model.count(), web.private().connections().await), (0, 0));
}

#[tokio::test]
async fn without_selectors_there_is_no_source() {
    let (app, web, model) = shop_scene().await;
    let ada = app.user("ada").await;
    let failed = (500, refusal("Could not generate scraper config."));
    let suggest = async |url: &str| ada.post(SOURCES, json!({"name": "Shop", "url": url})).await.summary();
    assert_eq!(suggest("https://shop.example/gone").await, failed, "no such page");
    web.page("https://shop.example/picture", |_| web::page("image/png", "x"));
    assert_eq!(suggest("https://shop.example/picture").await, failed);
    model.otherwise(|_| say(&["I cannot find any products there."]));
    assert_eq!(suggest("https://shop.example/new").await, failed);
    let mut broken = selectors();
    broken["productContainer"] = "li..card[".into();
    model.otherwise(move |_| say(&[&broken.to_string()]));
    assert_eq!(suggest("https://shop.example/new").await, failed);
    assert_eq!(ids(&ada).await, [""; 0]);
}

// --- Runs -----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_administrator_scrapes_a_source() {
    let web = Web::start().await;
    show_posts(&web, "aa", &["p1", "p2", "p3"]);
    let app = TestApp::builder().web(&web).setting("ADMIN_USER_IDS", "root").start();
    let root = app.user("root").await;
    save(&app, subreddit("aa")).await;
    save(&app, subreddit("bb")).await;
    let run = async |id: &str| root.post(&format!("/api/scraper/run/{id}"), json!({})).await.summary();
    assert_eq!(run("reddit-aa").await, (200, json!({"sourceId": "reddit-aa", "newItems": 3})));
    assert_eq!(run("reddit-aa").await, (200, json!({"sourceId": "reddit-aa", "newItems": 0})));
    assert_eq!(run("reddit-x").await, (404, refusal("Source not found.")));
    assert_eq!(run("reddit-bb").await, (500, refusal("Scrape failed.")), "no such subreddit");
    let source = read(&app, "reddit", "reddit-bb").await;
    assert_eq!((&source["leaseOwner"], &source["lastScrapedAt"]), (&Value::Null, &Value::Null));
    let found = app.state.data.sources.find(&"reddit-aa".into()).await.unwrap().unwrap();
    let leases = app.state.data.leases(&app.state.clock, Duration::from_secs(30));
    app.state.data.sources.claim(&leases, &found, "run-another", |_| false).await.unwrap();
    assert_eq!(run("reddit-aa").await.0, 409, "another run is at it");
}
