//! The feed and the votes on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use futures::future::join_all;
use pluckit::azure::Identity;
use pluckit::base::clock::SystemClock;
use pluckit::config::Cosmos;
use pluckit::data::Data;
use pluckit::data::items::{FeedOrder, FeedPosition, FeedQuery, feed_stretches};
use pluckit::model::timestamp::Timestamp;
use pluckit::model::vote::Signal;
use pluckit::queue::{self, JobQueue, Message};
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key};
use serde_json::{Value, json};
use time::macros::datetime;
use uuid::Uuid;

use crate::store::cosmos_backend;
use crate::support::caller::Caller;
use crate::support::{TestApp, refusal};

const FEED: &str = "/api/scraper/items";
const QUEUE: &str = "taste-analysis-jobs";

fn item(id: &str, score: Value) -> Value {
    json!({
        "id": id, "userId": "global", "sourceId": "reddit-a", "sourceType": "reddit", "title": format!("Item {id}"),
        "imageUrl": format!("https://i.example/{id}.jpg"), "tags": ["denim"], "scoreSignal": score,
        "scrapedAt": "2026-03-01T07:00:00.000Z", "embedding": [0.5, 0.25], "pHash": "ba6313d1274d02ad",
        "submitterId": "eve", "kept": {"by": "others"},
    })
}

async fn save(app: &TestApp, item: Value) {
    app.save(Container::ScrapedItems, "global", item).await;
}

/// The ids of the whole feed, page by page.
async fn walk(caller: &Caller, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut token = String::new();
    for _ in 0..1000 {
        let page = caller.get(&format!("{FEED}?{query}&continuationToken={token}")).await.json();
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["nextContinuationToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return ids,
        }
        assert!(!items.is_empty(), "a page before the last one has items");
    }
    panic!("the walk has no end");
}

#[tokio::test]
async fn kinds_of_sources_and_counts_are_answered_as_clients_know_them() {
    let app = TestApp::new();
    for (id, kind, score) in [
        ("a", json!("brand_site"), json!(4.0)),
        ("b", json!("brand"), json!(3.7)),
        ("c", json!("reddit"), json!(2)),
        ("d", json!("rss"), json!(1e0)),
        ("e", json!(7), json!(0)),
    ] {
        let mut item = item(id, score);
        item["sourceType"] = kind;
        item["redditScore"] = json!(12.0);
        save(&app, item).await;
    }
    let ada = app.user("ada").await;
    let page = ada.get(FEED).await.json();
    let shown = |item: &Value| json!([item["id"], item["sourceType"], item["scoreSignal"], item["redditScore"]]);
    let items: Vec<Value> = page["items"].as_array().unwrap().iter().map(shown).collect();
    let expected = json!([
        ["a", "brand", 4, 12],
        ["b", "brand", 3, 12],
        ["c", "reddit", 2, 12],
        ["d", "rss", 1, 12],
        ["e", "", 0, 12],
    ]);
    assert_eq!(json!(items), expected);
    let voted = ada.post(&format!("{FEED}/b/feedback"), json!({"signal": "up"})).await.json();
    assert_eq!(voted["scoreSignal"], 4);
}

#[tokio::test]
async fn an_item_is_shown_without_what_is_internal() {
    let app = TestApp::new();
    save(&app, item("a", json!(3))).await;
    let (status, body) = app.user("ada").await.get(FEED).await.summary();
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(body, @r#"
    {
      "items": [
        {
          "brand": null,
          "buyLinks": [],
          "commentText": "",
          "description": "",
          "galleryImages": [],
          "id": "a",
          "imageExpired": false,
          "imageUrl": "https://i.example/a.jpg",
          "price": null,
          "productUrl": "",
          "redditScore": 0,
          "scoreSignal": 3,
          "scrapedAt": "2026-03-01T07:00:00.000Z",
          "sourceCreatedAt": null,
          "sourceId": "reddit-a",
          "sourceType": "reddit",
          "tags": [
            "denim"
          ],
          "title": "Item a",
          "verified": false
        }
      ],
      "nextContinuationToken": null
    }
    "#);
}

#[tokio::test]
async fn a_walk_gives_every_item_once_in_order() {
    let app = TestApp::new();
    let mut expected = Vec::new();
    for number in 0..60_i64 {
        let id = format!("i{number:02}");
        // Ties in large groups, negative numbers, and items without a score.
        let score = match number % 5 {
            4 if number % 2 == 0 => Value::Null,
            group => json!(group - 2),
        };
        let mut document = item(&id, score.clone());
        if number % 7 == 0 {
            document.as_object_mut().unwrap().remove("scoreSignal");
        }
        let score = document["scoreSignal"].as_i64();
        document["scrapedAt"] = format!("2026-02-{:02}T07:00:00.000Z", 1 + number % 4).into();
        if number % 9 == 0 {
            document["scrapedAt"] = Value::Null;
        }
        expected.push((score, document["scrapedAt"].as_str().map(str::to_owned), id));
        save(&app, document).await;
    }
    let ada = app.user("ada").await;
    expected.sort_by(|(one, _, id), (other, _, other_id)| other.cmp(one).then_with(|| id.cmp(other_id)));
    let by_score: Vec<_> = expected.iter().map(|(_, _, id)| id.clone()).collect();
    expected.sort_by(|(_, one, id), (_, other, other_id)| other.cmp(one).then_with(|| id.cmp(other_id)));
    let by_age: Vec<_> = expected.iter().map(|(_, _, id)| id.clone()).collect();
    for size in [1, 7, 12, 60, 100] {
        assert_eq!(walk(&ada, &format!("pageSize={size}")).await, by_score, "{size} by score");
        assert_eq!(walk(&ada, &format!("pageSize={size}&sortBy=nonsense")).await, by_score);
        assert_eq!(walk(&ada, &format!("pageSize={size}&sortBy=recent")).await, by_age, "{size} by age");
    }
}

#[tokio::test]
async fn what_others_own_or_has_expired_is_not_in_the_feed() {
    let app = TestApp::new();
    let mut own = item("own", json!(1));
    own["userId"] = "eve".into();
    app.save(Container::ScrapedItems, "eve", own).await;
    let mut short = item("short", json!(2));
    short["ttl"] = 60.into();
    save(&app, short).await;
    save(&app, item("a", json!(1))).await;
    let ada = app.user("ada").await;
    assert_eq!(walk(&ada, "").await, ["short", "a"]);
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(walk(&ada, "").await, ["a"]);
}

#[tokio::test]
async fn filters_leave_out_what_does_not_match() {
    let app = TestApp::new();
    for (id, source, tags, scraped) in [
        ("a", "s1", json!(["denim", "vintage"]), "2026-03-02T09:00:00.000Z"),
        ("b", "s2", json!(["leather"]), "2026-03-01T10:00:00.000Z"),
        ("c", "s3", json!(null), "2026-02-20T07:00:00.000Z"),
        ("d", "s1", json!(["leather"]), "2026-01-20T07:00:00.000Z"),
    ] {
        let mut document = item(id, json!(0));
        document["sourceId"] = source.into();
        document["tags"] = tags;
        document["scrapedAt"] = scraped.into();
        save(&app, document).await;
    }
    let ada = app.user("ada").await;
    for (query, expected) in [
        ("sourceIds=s1,%20s3,", &["a", "c", "d"][..]),
        ("tags=Vintage,leather", &["a", "b", "d"]),
        ("tags=vint", &[]),
        ("tags=leather&sourceIds=s1", &["d"]),
        ("timeRange=1h", &["a"]),
        ("timeRange=1d", &["a", "b"]),
        ("timeRange=7d", &["a", "b"]),
        ("timeRange=30d", &["a", "b", "c"]),
        ("timeRange=all", &["a", "b", "c", "d"]),
        ("timeRange=30d&sortBy=recent&pageSize=1", &["a", "b", "c"]),
    ] {
        assert_eq!(walk(&ada, query).await, expected, "{query}");
    }
}

/// An item that the model of [`feed_as_a_look_at_every_item_gives_it`] knows.
struct Known {
    id: String,
    source: String,
    tags: Vec<&'static str>,
    score: i64,
    scraped_at: String,
    dated: String,
}

/// Walks the feed with every filter, in both orders and by pages of several sizes, and compares with a scan of all
/// items.
async fn feed_as_a_look_at_every_item_gives_it(store: Arc<dyn DocumentStore>, tags: &[&str], sizes: &[usize]) {
    let app = TestApp::builder().store(store).start();
    let reader = Uuid::new_v4().simple().to_string();
    let mut known = Vec::new();
    for n in 0..90_usize {
        // The app's time is 2026-03-02 09:15.
        let scraped_at = format!("2026-0{}-{:02}T08:{:02}:00.000Z", 2 + n % 2, 1 + n % 2, n % 60);
        let created = match n % 3 {
            0 => Value::Null,
            1 => json!("2026-03-02T09:00:00.000Z"),
            _ => json!("2026-02-26T09:00:00.000Z"),
        };
        let mut tags = vec!["Urban"];
        tags.extend((n % 4 == 0).then_some("denim"));
        tags.extend((n % 30 == 0).then_some("été"));
        let item = Known {
            id: format!("i{:02}", n * 37 % 90),
            source: format!("s{}", n % 5),
            score: (n % 3) as i64 - 1,
            dated: created.as_str().unwrap_or(&scraped_at).to_owned(),
            scraped_at,
            tags,
        };
        // Half of the items are the reader's own, who sees both halves as one.
        let partition = if n % 2 == 0 { "global" } else { reader.as_str() };
        let mut document = self::item(&item.id, json!(item.score));
        document["userId"] = partition.into();
        document["sourceId"] = item.source.as_str().into();
        document["tags"] = json!(item.tags);
        document["scrapedAt"] = item.scraped_at.as_str().into();
        document["sourceCreatedAt"] = created;
        app.save(Container::ScrapedItems, partition, document).await;
        known.push(item);
    }
    let reader = app.user(&reader).await;
    let since = |range: &str| match range {
        "1h" => "2026-03-02T08:15",
        "7d" => "2026-02-23T09:15",
        _ => "",
    };
    for tags in tags {
        for sources in ["", "s1", "s1,s4,s1", "none"] {
            for (range, sort) in [("all", "score"), ("1h", "score"), ("7d", "recent"), ("all", "recent")] {
                let wanted: Vec<String> =
                    tags.split(',').map(|tag| tag.replace("%C3%89T%C3%89", "été").to_lowercase()).collect();
                let mut expected: Vec<&Known> = known
                    .iter()
                    .filter(|item| {
                        (tags.is_empty() || item.tags.iter().any(|tag| wanted.contains(&tag.to_lowercase())))
                            && (sources.is_empty() || sources.split(',').any(|source| source == item.source))
                            && item.dated.as_str() >= since(range)
                    })
                    .collect();
                expected.sort_by(|one, other| {
                    let by_score = other.score.cmp(&one.score);
                    let by_age = other.scraped_at.cmp(&one.scraped_at);
                    let order = if sort == "score" { by_score } else { by_age };
                    order.then_with(|| one.id.cmp(&other.id))
                });
                let expected: Vec<_> = expected.iter().map(|item| item.id.clone()).collect();
                for size in sizes {
                    let query =
                        format!("tags={tags}&sourceIds={sources}&timeRange={range}&sortBy={sort}&pageSize={size}");
                    assert_eq!(walk(&reader, &query).await, expected, "{query}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_together_give_what_a_look_at_every_item_does() {
    let store = Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap());
    let tags = ["", "URBAN", "denim,unheard-of", "Denim,%C3%89T%C3%89,urban", "unheard-of"];
    feed_as_a_look_at_every_item_gives_it(store, &tags, &[4, 100]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn filters_together_give_what_a_look_at_every_item_does_on_cosmos() {
    let database = format!("Feed{}", Uuid::new_v4().simple());
    let store = CosmosStore::new(Cosmos { database, ..cosmos_backend::options() }, Identity::default());
    store.init().await.unwrap();
    feed_as_a_look_at_every_item_gives_it(Arc::new(store), &["", "denim,URBAN"], &[20]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn filters_together_give_what_a_look_at_every_item_does_with_the_older_indexes() {
    let store = CosmosStore::new(cosmos_backend::older_database().await, Identity::default());
    feed_as_a_look_at_every_item_gives_it(Arc::new(store), &["", "denim,URBAN"], &[20]).await;
}

#[tokio::test]
async fn page_sizes_are_clamped_and_foreign_tokens_start_anew() {
    let app = TestApp::new();
    for number in 0..120 {
        save(&app, item(&format!("i{number:03}"), json!(0))).await;
    }
    let ada = app.user("ada").await;
    let length =
        async |query: &str| ada.get(&format!("{FEED}?{query}")).await.json()["items"].as_array().unwrap().len();
    assert_eq!(length("").await, 50);
    assert_eq!(length("pageSize=0").await, 1);
    assert_eq!(length("pageSize=-5").await, 1);
    assert_eq!(length("pageSize=1000").await, 100);
    assert_eq!(ada.get(&format!("{FEED}?pageSize=x")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let token = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let by_age = token(r#"{"k":"2026-03-01T07:00:00.000Z","id":"i050"}"#);
    for foreign in ["%21%21", "e30", &token("{\"k\":[],\"id\":\"x\"}"), &token("{\"k\":true,\"id\":\"x\"}"), &by_age] {
        let page = ada.get(&format!("{FEED}?continuationToken={foreign}")).await.json();
        assert_eq!(page["items"][0]["id"], "i000", "{foreign}");
    }
    let page = ada.get(&format!("{FEED}?continuationToken={}", token(r#"{"k":0,"id":"i049"}"#))).await.json();
    assert_eq!(page["items"][0]["id"], "i050");
    let next = page["nextContinuationToken"].as_str().unwrap();
    assert_eq!(URL_SAFE.decode(next).unwrap(), br#"{"k":0,"id":"i099"}"#, "padded");
    let unpadded = next.trim_end_matches('=');
    assert_ne!(unpadded, next);
    for next in [next, unpadded, &next.replace('=', "%3D")] {
        let page = ada.get(&format!("{FEED}?continuationToken={next}")).await.json();
        assert_eq!(page["items"][0]["id"], "i100", "{next}");
    }
}

#[tokio::test]
async fn every_page_is_a_stretch_of_an_index() {
    let store = SqliteStore::in_memory(Arc::new(SystemClock)).unwrap();
    let position = |key: Value| -> FeedPosition { serde_json::from_value(json!({"k": key, "id": "i"})).unwrap() };
    for (order, index, key) in [
        (FeedOrder::Score, "ScrapedItems_by_scoreSignal_desc_id_asc", json!(7)),
        (FeedOrder::Recent, "ScrapedItems_by_scrapedAt_desc_id_asc", json!("2026-03-01T07:00:00.000Z")),
    ] {
        for after in [None, Some(position(key.clone())), Some(position(Value::Null))] {
            let query = FeedQuery { order, after, limit: 50, ..FeedQuery::default() };
            for stretch in feed_stretches(&query) {
                let plan = store.query_plan(&stretch).await.unwrap();
                // The equals sign or comparison after the partition says that the index is sought in, not walked.
                let seeks = plan.len() == 1 && plan[0].contains(index) && plan[0].contains("partition=? AND <expr>");
                assert!(seeks, "{query:?}: {plan:?}");
            }
        }
        let since = Some(Timestamp::from(datetime!(2026-03-02 08:15 UTC)));
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for after in [None, Some(position(key)), Some(position(Value::Null))] {
            for (tags, sources, since) in [
                (texts(&["denim"]), texts(&[]), None),
                (texts(&["denim", "Linen"]), texts(&["s1", "s2"]), None),
                (texts(&[]), texts(&["s1", "s2"]), since),
                (texts(&["denim"]), texts(&[]), since),
                (texts(&[]), texts(&[]), since),
            ] {
                let query = FeedQuery { order, tags, sources, since, after: after.clone(), limit: 50, reader: None };
                for stretch in feed_stretches(&query) {
                    let plan = store.query_plan(&stretch).await.unwrap();
                    let on_tables = plan.iter().filter(|step| step.contains("ScrapedItems"));
                    for step in on_tables {
                        let seeks_list = step.contains("SEARCH ScrapedItems_tags USING COVERING INDEX")
                            && step.contains("(partition=? AND element=?");
                        let reads_documents = step.contains("sqlite_autoindex_ScrapedItems_1 (partition=? AND id=?)");
                        assert!(seeks_list || reads_documents, "{query:?}: {plan:?}");
                    }
                }
            }
        }
    }
}

async fn score(app: &TestApp, id: &str) -> i64 {
    document(app, id).await["scoreSignal"].as_i64().unwrap()
}

async fn document(app: &TestApp, id: &str) -> Value {
    let key = Key::new(Container::ScrapedItems, "global", id);
    app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap()
}

async fn vote(caller: &Caller, id: &str, signal: &str) -> (u16, Value) {
    caller.post(&format!("{FEED}/{id}/feedback"), json!({ "signal": signal })).await.summary()
}

#[tokio::test]
async fn a_user_has_one_vote() {
    let app = TestApp::new();
    save(&app, item("a", json!(3))).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    assert_eq!(vote(&ada, "a", "up").await, (200, json!({"itemId": "a", "signal": "up", "scoreSignal": 4})));
    assert_eq!(vote(&ada, "a", "up").await.1["scoreSignal"], 4);
    assert_eq!(vote(&ada, "a", "down").await.1["scoreSignal"], 2);
    assert_eq!(vote(&eve, "a", "down").await.1["scoreSignal"], 1);
    let document = document(&app, "a").await;
    assert_eq!((&document["scoreSignal"], &document["kept"]), (&json!(1), &json!({"by": "others"})));
    assert_eq!(document["embedding"], json!([0.5, 0.25]));
}

#[tokio::test]
async fn a_vote_that_makes_no_sense_is_refused() {
    let app = TestApp::new();
    save(&app, item("a", json!(3))).await;
    let ada = app.user("ada").await;
    let wrong = (400, refusal("signal must be 'up' or 'down'"));
    assert_eq!(vote(&ada, "a", "sideways").await, wrong);
    let long = "up".repeat(1000);
    for body in
        [json!({}), json!({"signal": null}), json!({"signal": 1}), json!({"signal": ["up"]}), json!({"signal": long})]
    {
        assert_eq!(ada.post(&format!("{FEED}/a/feedback"), body).await.summary(), wrong);
    }
    for id in ["b", "%2e%2e", "a%2Fb"] {
        assert_eq!(vote(&ada, id, "up").await, (404, refusal("Item not found.")), "{id}");
    }
    assert_eq!(
        ada.post(&format!("{FEED}/%ff/feedback"), json!({"signal": "up"})).await.json()["detail"][0]["loc"],
        json!(["path"])
    );
    assert_eq!(score(&app, "a").await, 3);
}

#[tokio::test]
async fn an_up_vote_queues_one_job() {
    let app = TestApp::new();
    let mut document = item("a", json!(0));
    document["galleryImages"] = json!(["https://i.example/g0.jpg", "https://i.example/g1.jpg"]);
    save(&app, document).await;
    let mut bare = item("bare", json!(0));
    bare["imageUrl"] = "".into();
    save(&app, bare).await;
    let ada = app.user("ada").await;
    let queued = async || app.state.queue.length(QUEUE).await.unwrap();
    vote(&ada, "a", "down").await;
    vote(&ada, "bare", "up").await;
    assert_eq!(queued().await, 0);
    vote(&ada, "a", "up").await;
    vote(&ada, "a", "up").await;
    assert_eq!(queued().await, 1);
    let path = format!("{FEED}/a/feedback");
    ada.post(&path, json!({"signal": "up", "galleryImageIndex": 1})).await;
    ada.post(&path, json!({"signal": "up", "gallery_image_index": 9})).await;
    let messages = app.state.queue.receive(QUEUE, 10, Duration::from_secs(30)).await.unwrap();
    let bodies: Vec<Value> = messages.iter().map(|message| serde_json::from_str(&message.text).unwrap()).collect();
    assert_eq!(bodies.len(), 2);
    insta::assert_json_snapshot!(bodies[1], {".job_id" => "[sha-256]"}, @r#"
    {
      "createdAt": "2026-03-02T09:15:00.000Z",
      "gallery_image_index": 1,
      "image_url": "https://i.example/g1.jpg",
      "item_id": "a",
      "job_id": "[sha-256]",
      "retryCount": 0,
      "user_id": "ada"
    }
    "#);
}

/// A queue that is down.
struct NoQueue;

fn down<T>() -> queue::Result<T> {
    Err(queue::Error::Unavailable("down".into()))
}

#[async_trait]
impl JobQueue for NoQueue {
    async fn send(&self, _: &str, _: &str) -> queue::Result<()> {
        down()
    }
    async fn receive(&self, _: &str, _: usize, _: Duration) -> queue::Result<Vec<Message>> {
        down()
    }
    async fn renew(&self, _: &str, _: &mut Message, _: Duration) -> queue::Result<()> {
        down()
    }
    async fn delete(&self, _: &str, _: &Message) -> queue::Result<()> {
        down()
    }
    async fn move_to(&self, _: &str, _: &Message, _: &str) -> queue::Result<()> {
        down()
    }
    async fn length(&self, _: &str) -> queue::Result<usize> {
        down()
    }
    async fn wait(&self, _: &str, _: Duration) {}
}

#[tokio::test]
async fn a_queue_that_is_down_does_not_cost_the_vote() {
    let app = TestApp::builder().queue(Arc::new(NoQueue)).start();
    save(&app, item("a", json!(0))).await;
    assert_eq!(vote(&app.user("ada").await, "a", "up").await.1["scoreSignal"], 1);
    assert_eq!(score(&app, "a").await, 1);
}

#[tokio::test]
async fn a_vote_that_a_crash_left_half_way_is_counted_once() {
    for was_applied in [false, true] {
        let app = TestApp::new();
        let mut document = item("a", json!(if was_applied { 6 } else { 5 }));
        if was_applied {
            document["appliedVotes"] = json!([{"operation": "op-1", "userId": "ada"}]);
        }
        save(&app, document).await;
        let pending = json!({
            "id": "a", "userId": "ada", "signal": "up", "previous": 0, "operation": "op-1", "pending": true,
            "updatedAt": "2026-03-02T09:00:00.000Z",
        });
        app.save(Container::ItemVotes, "ada", pending).await;
        // Enough votes of others for the item to forget names of changes.
        for number in 0..200 {
            vote(&app.user(&format!("u{number}")).await, "a", "up").await;
        }
        let ada = app.user("ada").await;
        assert_eq!(vote(&ada, "a", "up").await.1["scoreSignal"], 206, "applied before: {was_applied}");
        assert_eq!(vote(&ada, "a", "down").await.1["scoreSignal"], 204, "applied before: {was_applied}");
        let names = self::document(&app, "a").await["appliedVotes"].as_array().unwrap().len();
        assert!(names <= 64, "{names} names of changes are kept");
    }
}

/// 200 users vote ten times each on one item, through two services on one store, as two processes would.
async fn votes_are_exact(store: Arc<dyn DocumentStore>) {
    let (one, other) = (Data::new(store.clone()), Data::new(store.clone()));
    let id = format!("votes-{}", uuid::Uuid::new_v4().simple());
    let key = Key::new(Container::ScrapedItems, "global", &*id);
    store.create(&key, &item(&id, json!(1000))).await.unwrap();
    let now = datetime!(2026-03-02 09:15 UTC).into();
    let voters = (0..200_u64).map(|number| {
        let data = if number % 2 == 0 { one.clone() } else { other.clone() };
        let id = id.clone();
        async move {
            let user = format!("voter-{number}").as_str().into();
            let mut last = Signal::Up;
            for round in 0..10 {
                last = if (number * 7 + round * 5) % 3 == 0 { Signal::Down } else { Signal::Up };
                data.votes.cast(&user, &id.as_str().into(), last, now).await.unwrap().unwrap();
            }
            last.worth()
        }
    });
    let tasks: Vec<_> = {
        let tracker = tokio_util::task::TaskTracker::new();
        voters.map(|voter| tracker.spawn(voter)).collect()
    };
    let sum: i64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    let stored: Value = store.read(&key).await.unwrap().unwrap().parse().unwrap();
    assert_eq!(stored["scoreSignal"], json!(1000 + sum));
    store.delete(&key, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_users_at_once_make_an_exact_score() {
    votes_are_exact(Arc::new(SqliteStore::in_memory(Arc::new(SystemClock)).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn two_hundred_users_at_once_make_an_exact_score_on_cosmos() {
    votes_are_exact(Arc::new(cosmos_backend::cosmos().await)).await;
}

#[tokio::test]
async fn a_vote_that_cannot_be_read_counts_as_none() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (number, signal) in [json!(null), json!("sideways"), json!(7)].into_iter().enumerate() {
        let id = format!("item-{number}");
        save(&app, item(&id, json!(3))).await;
        app.save(Container::ItemVotes, "ada", json!({"id": id, "userId": "ada", "signal": signal})).await;
        assert_eq!(vote(&ada, &id, "up").await.0, 200, "{signal}");
        assert_eq!(score(&app, &id).await, 4, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_of_one_user_at_once_count_as_the_last_one() {
    let app = TestApp::new();
    save(&app, item("a", json!(0))).await;
    let ada = app.user("ada").await;
    let votes = (0..20).map(|number| {
        let ada = ada.clone();
        async move { vote(&ada, "a", if number % 2 == 0 { "up" } else { "down" }).await.0 }
    });
    assert!(join_all(votes).await.iter().all(|status| *status == 200));
    let stored = app.state.data.store.read(&Key::new(Container::ItemVotes, "ada", "a")).await.unwrap().unwrap();
    let last: BTreeMap<String, Value> = stored.parse().unwrap();
    let expected = if last["signal"] == "up" { 1 } else { -1 };
    assert_eq!((score(&app, "a").await, &last["pending"]), (expected, &json!(false)));
}
