//! The sources of the feed: who sees them, leases them, follows them, sends posts for them and scrapes them.

use std::time::Duration;

use axum::http::StatusCode;
use pluckit::model::ids::UserId;
use pluckit::store::{Container, Key, Query};
use pluckit::workers::{Delivery, JobError, scrape};
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::caller::Caller;
use crate::support::feeds::{post, selectors, show_posts, show_shop};
use crate::support::model::{ModelServer, say};
use crate::support::web::{self, PUBLIC, Web};

const SOURCES: &str = "/api/scraper/sources";
const INGEST: &str = "/api/scraper/ingest/reddit";
const QUEUE: &str = "scrape-sources";

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

/// Does what waits in the queue, once.
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
        assert_eq!(eve.post(&path, json!({})).await.summary(), (404, json!({"detail": "Source not found."})));
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
    let held = (409, json!({"detail": "Lease already held by another user."}));
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
    assert_eq!(missing, (404, json!({"detail": "Source not found."})));
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
        assert_eq!(answer.summary(), (404, json!({"detail": "Source not found."})));
    }
    let mut gone = read(&app, "reddit", "reddit-aa").await;
    gone["isActive"] = false.into();
    save(&app, gone).await;
    assert_eq!(ada.delete(path).await.summary(), left, "a source out of use can be left");
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
    ada.post("/api/scraper/lease/reddit-aa", json!({})).await;
    // With its envelope or without.
    let posts = [post("aa", "p1"), post("aa", "p2")["data"].clone(), post("other", "p3")];
    let sent = ada.post(INGEST, body(&posts)).await.summary();
    assert_eq!(sent, (200, json!({"count": 2, "status": "ok", "verified": false})));
    let source = read(&app, "reddit", "reddit-aa").await;
    assert_eq!(source["lastScrapedAt"], "2026-03-02T09:15:00.000Z");
    assert_eq!((&source["leaseOwner"], &source["leaseExpiresAt"]), (&Value::Null, &Value::Null), "given back");
    assert_eq!(source["kept"], json!({"by": "others"}));
    assert_eq!(ada.get(SOURCES).await.json()["sources"][0]["needsClientIngest"], false);
    let found = items(&app, "global").await;
    assert_eq!((&found[0]["submitterId"], &found[0]["verified"]), (&json!("ada"), &json!(false)));
    let again = app.user("bob").await.post(INGEST, body(&posts)).await.summary();
    assert_eq!(again, (200, json!({"count": 0, "status": "ok", "verified": false})));
    assert_eq!(items(&app, "global").await, found);
    assert!(!web.received().iter().any(|received| received.url.contains("reddit.com")), "nothing was compared");
}

#[tokio::test]
async fn what_cannot_be_taken_is_told() {
    let (app, _web) = scene("1").await;
    let ada = app.user("ada").await;
    let status = async |body: Value| ada.post(INGEST, body).await.summary();
    let nothing = (200, json!({"count": 0, "status": "no_valid_items", "verified": false}));
    let mut unliked = post("aa", "p1");
    unliked["data"]["score"] = 3.into();
    assert_eq!(status(body(&[])).await, nothing);
    assert_eq!(status(body(&[unliked, json!({}), post("bb", "p2")])).await, nothing);
    assert_eq!(read(&app, "reddit", "reddit-aa").await["lastScrapedAt"], Value::Null);
    assert_eq!(status(json!({"source_id": "x", "posts": []})).await, (404, json!({"detail": "Source not found."})));
    assert_eq!(status(json!({"source_id": "reddit-aa"})).await.0, 422);
    assert_eq!(status(json!({"posts": []})).await.0, 422);
    assert_eq!(status(body(&[json!("post")])).await.0, 422);
    assert_eq!(status(body(&vec![post("aa", "p1"); 101])).await.0, 422);
    for url in ["http://i.redd.it/p1.png", "https://10.0.0.1/a.png", "https://user:pass@i.redd.it/a.png"] {
        let mut unsafe_post = post("aa", "p1");
        unsafe_post["data"]["url"] = url.into();
        let (status, answer) = status(body(&[post("aa", "p2"), unsafe_post])).await;
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "posts", 1, "url"])), "{url}");
    }
    save(&app, json!({"id": "brand-x", "sourceType": "brand_site", "isGlobal": true, "isActive": true})).await;
    assert_eq!(status(json!({"source_id": "brand-x", "posts": []})).await.0, 400);
    assert!(items(&app, "global").await.is_empty());
}

#[tokio::test]
async fn posts_are_compared_with_reddit() {
    let (app, web) = scene("1.0").await;
    let ada = app.user("ada").await;
    let sent = ada.post(INGEST, body(&[post("aa", "p1"), post("aa", "p2")])).await.summary();
    assert_eq!(sent, (200, json!({"count": 2, "status": "ok", "verified": true})));
    assert!(items(&app, "global").await.iter().all(|item| item["verified"] == true));
    web.page("https://www.reddit.com/r/aa/comments/p3/vintage_denim.json", |_| {
        axum::http::Response::builder().status(503).body("later".into()).unwrap()
    });
    let sent = ada.post(INGEST, body(&[post("aa", "p3")])).await.summary();
    assert_eq!(sent, (200, json!({"count": 1, "status": "ok", "verified": false})), "Reddit out of reach");
}

#[tokio::test]
async fn whoever_forges_posts_is_found_out_and_banned() {
    let title = |post: &mut Value| post["data"]["title"] = "Buy my coins".into();
    let picture = |post: &mut Value| post["data"]["url"] = "https://i.redd.it/other.png".into();
    let address = |post: &mut Value| post["data"]["permalink"] = "/r/aa/comments/zz9/vintage_denim/".into();
    for forge in [&title as &dyn Fn(&mut Value), &picture, &address] {
        let (app, web) = scene("1.0").await;
        crate::support::feeds::show_picture(&web, "https://i.redd.it/other.png", 99);
        let (eve, admin) = (app.user("eve").await, app.user("ada").await);
        let mut forged = post("aa", "p3");
        forge(&mut forged);
        let banned = (403, json!({"detail": "User is banned from contributing."}));
        // Genuine posts beside it change nothing.
        assert_eq!(eve.post(INGEST, body(&[post("aa", "p1"), forged, post("aa", "p2")])).await.summary(), banned);
        assert!(items(&app, "global").await.is_empty(), "nothing is stored");
        assert_eq!(read(&app, "reddit", "reddit-aa").await["lastScrapedAt"], Value::Null);
        let ban = app.state.data.bans.find(&UserId::from("eve")).await.unwrap().expect("a ban");
        assert!(ban.banned_by.is_none() && ban.banned_at.is_some() && ban.reason.is_some());
        assert_eq!(eve.post(INGEST, body(&[post("aa", "p1")])).await.summary(), banned, "genuine posts, too late");
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
    assert_eq!(stranger.summary(), (404, json!({"detail": "Item not found."})));
    assert_eq!(walk(&ada, "score").await[1], *second);
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
        assert_eq!(answer, (400, json!({"detail": reason})), "{url}");
    }
    for (body, status) in [
        (json!({"name": "Shop"}), 422),
        (json!({"name": "", "url": "https://shop.example/new"}), 422),
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
    let failed = (500, json!({"detail": "Could not generate scraper config."}));
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
    assert_eq!(run("reddit-x").await, (404, json!({"detail": "Source not found."})));
    assert_eq!(run("reddit-bb").await, (500, json!({"detail": "Scrape failed."})), "no such subreddit");
    let source = read(&app, "reddit", "reddit-bb").await;
    assert_eq!((&source["leaseOwner"], &source["lastScrapedAt"]), (&Value::Null, &Value::Null));
    app.user("ada").await.post("/api/scraper/lease/reddit-aa", json!({})).await;
    assert_eq!(run("reddit-aa").await.0, 409);
}
