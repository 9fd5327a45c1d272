//! Scraping: written items, de-duplication, and leases.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pluckit::base::clock::{Clock, ManualClock, SystemClock};
use pluckit::data::lease::Claimed;
use pluckit::data::sources::Finish;
use pluckit::domain::scraper::Error;
use pluckit::domain::scraper::candidate::Candidate;
use pluckit::domain::scraper::ingest::{IngestReport, Origin};
use pluckit::domain::scraper::lease::Owner;
use pluckit::model::source::Source;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use pluckit::workers::{Delivery, JobError, daily_scrape, scrape};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::sync::Barrier;

use crate::store::cosmos_backend;
use crate::support::feeds::{self, picture, seed, show_picture, show_posts, show_shop};
use crate::support::model::{Answer, Kind, ModelServer};
use crate::support::web::{self, Web};
use crate::support::{TestApp, until};

const QUEUE: &str = "scrape-sources";

fn subreddit(name: &str) -> Value {
    json!({
        "id": format!("reddit-{name}"), "sourceType": "reddit", "name": format!("r/{name}"), "isGlobal": true,
        "isActive": true, "kept": {"by": "others"}, "config": {"subreddit": name},
    })
}

fn shop(host: &str) -> Value {
    let mut config = feeds::selectors();
    config["sourceUrl"] = format!("https://{host}/new").into();
    json!({
        "id": format!("brand-{host}"), "sourceType": "brand_site", "name": host, "isGlobal": true, "isActive": true,
        "config": config,
    })
}

/// An app with these sources, on an internet that has what they need, with a model that embeds.
struct Scene {
    app: TestApp,
    web: Web,
    model: ModelServer,
}

impl Scene {
    async fn new(sources: &[Value]) -> Self {
        let (web, model) = (Web::start().await, ModelServer::start().await);
        let app = TestApp::builder().web(&web).model_server(&model).start();
        let scene = Self { app, web, model };
        for source in sources {
            scene.save(source.clone()).await;
        }
        scene
    }

    async fn save(&self, source: Value) {
        let kind = source["sourceType"].as_str().unwrap().to_owned();
        self.app.save(Container::ScraperSources, &kind, source).await;
    }

    async fn source(&self, id: &str) -> Source {
        self.app.state.data.sources.find(&id.into()).await.unwrap().expect("a source")
    }

    async fn document(&self, source: &Value) -> Value {
        let (kind, id) = (source["sourceType"].as_str().unwrap(), source["id"].as_str().unwrap());
        let stored = self.app.state.data.store.read(&Key::new(Container::ScraperSources, kind, id)).await.unwrap();
        stored.unwrap().parse().unwrap()
    }

    async fn run(&self, id: &str) -> Result<IngestReport, Error> {
        self.app.state.scraper.run(&self.source(id).await, &Owner::unique()).await
    }

    async fn ingest(&self, source: &str, candidates: Vec<Candidate>) -> IngestReport {
        let source = self.source(source).await;
        self.app.state.scraper.ingest(&source, candidates, &Origin::FETCHED).await.unwrap()
    }

    /// The items that everybody sees, by title.
    async fn items(&self) -> Vec<Value> {
        items(&self.app).await
    }

    /// Requests for addresses that contain this.
    fn requests(&self, part: &str) -> usize {
        self.web.received().iter().filter(|received| received.url.contains(part)).count()
    }

    /// Delivers what waits in the queue, and deletes what is done.
    async fn deliver(&self) -> Vec<Result<(), JobError>> {
        let mut outcomes = Vec::new();
        for message in self.app.state.queue.receive(QUEUE, 32, Duration::from_secs(30)).await.unwrap() {
            let delivery = Delivery { text: message.text.clone(), dequeue_count: 1, id: Some(message.id.clone()) };
            outcomes.push(scrape::run(&self.app.state, delivery).await);
            self.app.state.queue.delete(QUEUE, &message).await.unwrap();
        }
        outcomes
    }

    async fn daily(&self) -> usize {
        let before = self.app.state.queue.length(QUEUE).await.unwrap();
        daily_scrape::run(&self.app.state).await.unwrap();
        self.app.state.queue.length(QUEUE).await.unwrap() - before
    }
}

async fn items(app: &TestApp) -> Vec<Value> {
    let query = Query::partition(Container::ScrapedItems, "global").limit(1000);
    let page = app.state.data.store.query(&query).await.unwrap();
    let mut items: Vec<Value> = page.documents.iter().map(|stored| stored.parse().unwrap()).collect();
    items.sort_by_key(|item| item["title"].to_string());
    items
}

fn delivery(text: &str) -> Delivery {
    Delivery { text: text.to_owned(), dequeue_count: 1, id: Some("m1".to_owned()) }
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        title: name.to_owned(),
        image_url: format!("https://i.example/{name}.png"),
        product_url: format!("https://shop.example/{name}"),
        tags: vec!["denim".to_owned()],
        ..Candidate::default()
    }
}

// --- What is written ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_scrape_fills_the_feed_and_a_second_adds_nothing() {
    let scene = Scene::new(&[subreddit("aa"), shop("shop.example")]).await;
    show_posts(&scene.web, "aa", &["p1", "p2", "p3"]);
    show_shop(&scene.web, "shop.example", &["coat", "scarf"]);
    let first = (scene.run("reddit-aa").await.unwrap(), scene.run("brand-shop.example").await.unwrap());
    assert_eq!(first.0, IngestReport { new_items: 3, ..IngestReport::default() });
    assert_eq!(first.1, IngestReport { new_items: 2, ..IngestReport::default() });
    let found = scene.items().await;
    let mut shown = found[0].clone();
    assert_eq!(shown["embedding"].as_array().unwrap().len(), 1536);
    shown["embedding"] = "1536 numbers".into();
    insta::assert_json_snapshot!(shown, @r#"
    {
      "brand": null,
      "buyLinks": [],
      "commentText": "",
      "description": "Bought last week.",
      "embedding": "1536 numbers",
      "galleryImages": [],
      "id": "reddit-c0feabf7db9a8689",
      "imageExpired": false,
      "imageUrl": "https://i.redd.it/p1.png",
      "pHash": "9edb5e5a3343b088",
      "price": null,
      "productUrl": "https://www.reddit.com/r/aa/comments/p1/vintage_denim/",
      "redditScore": 100,
      "scoreSignal": 0,
      "scrapedAt": "2026-03-02T09:15:00.000Z",
      "sourceCreatedAt": "2026-02-25T06:13:20.000Z",
      "sourceId": "reddit-aa",
      "sourceType": "reddit",
      "submitterId": "server",
      "tags": [
        "vintage",
        "denim"
      ],
      "tagsInLowerCase": true,
      "title": "Vintage denim p1",
      "userId": "global",
      "verified": true
    }
    "#);
    let pictures = scene.requests(".png");
    scene.app.clock.advance(Duration::from_secs(24 * 60 * 60));
    let second = (scene.run("reddit-aa").await.unwrap(), scene.run("brand-shop.example").await.unwrap());
    assert_eq!(second.0, IngestReport { duplicates: 3, ..IngestReport::default() });
    assert_eq!(second.1, IngestReport::default(), "the page is the same as yesterday");
    assert_eq!((scene.items().await, scene.requests(".png")), (found, pictures), "nothing was fetched again");
    let source = scene.document(&subreddit("aa")).await;
    assert_eq!(source["lastScrapedAt"], "2026-03-03T09:15:00.000Z");
    assert_eq!((&source["kept"], &source["leaseOwner"]), (&json!({"by": "others"}), &Value::Null));
    // Items expire; a site's word is not taken for ever.
    scene.app.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
    let later = scene.run("brand-shop.example").await.unwrap();
    assert_eq!(later, IngestReport { duplicates: 2, ..IngestReport::default() });
}

#[tokio::test]
async fn the_same_page_or_picture_is_not_shown_twice() {
    let scene = Scene::new(&[subreddit("aa"), shop("shop.example")]).await;
    for name in ["aa", "bb", "c"] {
        show_picture(&scene.web, &format!("https://i.example/{name}.png"), seed(name));
    }
    // The same picture, smaller and as another file.
    let small = image::load_from_memory(&picture(seed("aa"))).unwrap().thumbnail(48, 48);
    let mut file = std::io::Cursor::new(Vec::new());
    small.write_to(&mut file, image::ImageFormat::Jpeg).unwrap();
    let file = file.into_inner();
    scene.web.page("https://i.example/again.jpg", move |_| web::page("image/jpeg", file.clone()));
    let again = Candidate { image_url: "https://i.example/again.jpg".into(), ..candidate("again") };
    let report =
        scene.ingest("reddit-aa", vec![candidate("aa"), again.clone(), candidate("aa"), candidate("bb")]).await;
    assert_eq!(report, IngestReport { new_items: 2, duplicates: 2, ..IngestReport::default() });
    // Another source has the same page, and another page with the same picture.
    let report = scene.ingest("brand-shop.example", vec![candidate("bb"), again, candidate("c")]).await;
    assert_eq!(report, IngestReport { new_items: 1, duplicates: 2, ..IngestReport::default() });
    let titles: Vec<_> = scene.items().await.iter().map(|item| item["title"].clone()).collect();
    assert_eq!(titles, ["aa", "bb", "c"]);
}

#[tokio::test]
async fn an_item_without_its_picture_is_in_the_feed() {
    let scene = Scene::new(&[subreddit("aa")]).await;
    scene.web.page("https://i.example/bb.png", |_| web::page("text/html", "gone"));
    scene.web.page("https://i.example/c.png", |_| web::page("image/png", "not a picture"));
    scene.web.page("https://i.example/d.png", |_| web::page("image/png", web::endless(vec![0_u8; 1 << 20])));
    let names = ["aa", "bb", "c", "d"];
    let report = scene.ingest("reddit-aa", names.map(candidate).into()).await;
    assert_eq!(report, IngestReport { new_items: 4, without_hash: 4, ..IngestReport::default() });
    assert!(scene.items().await.iter().all(|item| item["pHash"].is_null()));
    let bad = Candidate { image_url: "https://10.0.0.1/a.png".into(), ..candidate("e") };
    let report = scene.ingest("reddit-aa", vec![bad, Candidate { title: " ".into(), ..candidate("f") }]).await;
    assert_eq!(report, IngestReport { unusable: 2, ..IngestReport::default() });
    assert_eq!(scene.web.private().connections().await, 0);
}

#[tokio::test]
async fn vectors_that_the_model_does_not_give_are_filled_later() {
    let scene = Scene::new(&[subreddit("aa"), shop("shop.example")]).await;
    let is_embedding = |received: &crate::support::model::Received| received.kind == Kind::Embeddings;
    scene.model.when(is_embedding, |_| Answer::error(400, "down", "not today"));
    let many: Vec<Candidate> = (0..60).map(|number| candidate(&format!("n{number}"))).collect();
    let report = scene.ingest("reddit-aa", many).await;
    assert_eq!((report.new_items, report.without_vector, report.filled), (60, 60, 0));
    assert_eq!(scene.model.count(), 1, "one failure is enough for a run");
    assert!(scene.items().await.iter().all(|item| item["embedding"] == json!([])));
    // As another service left them, without a mark.
    scene
        .app
        .save(
            Container::ScrapedItems,
            "global",
            json!({"id": "old", "userId": "global", "title": "old", "productUrl": "https://shop.example/old",
                   "imageUrl": "https://i.example/old.png", "embedding": [], "scoreSignal": 7, "kept": 1}),
        )
        .await;
    let working = Scene { model: ModelServer::start().await, ..scene };
    let app = TestApp::builder()
        .web(&working.web)
        .model_server(&working.model)
        .store(working.app.state.data.store.clone())
        .start();
    let source = working.source("brand-shop.example").await;
    let report = app.state.scraper.ingest(&source, vec![candidate("old")], &Origin::FETCHED).await.unwrap();
    assert_eq!((report.new_items, report.duplicates, report.filled), (0, 1, 61));
    for item in items(&app).await {
        assert_eq!(item["embedding"].as_array().unwrap().len(), 1536);
        assert!(item.get("needsEmbedding").is_none());
    }
    let old = items(&app).await.into_iter().find(|item| item["id"] == "old").unwrap();
    assert_eq!((&old["scoreSignal"], &old["kept"]), (&json!(7), &json!(1)));
    let texts = working.model.received()[0].body["input"].clone();
    assert!(texts.as_array().unwrap().len() <= 50 && texts[1].as_str().unwrap().starts_with("denim n"), "{texts}");
}

#[tokio::test]
async fn look_ups_are_served_by_indexes() {
    let store = SqliteStore::in_memory(Arc::new(SystemClock)).unwrap();
    for (query, index) in [
        (
            Query::partition(Container::ScrapedItems, "global")
                .matching(pluckit::store::Filter::In("productUrl", vec!["aa".into(), "bb".into()]))
                .order_by("productUrl", pluckit::store::Direction::Ascending),
            "ScrapedItems_by_productUrl_asc",
        ),
        (
            Query::partition(Container::ScrapedItems, "global")
                .matching(pluckit::store::Filter::equal("needsEmbedding", true)),
            "ScrapedItems_by_needsEmbedding_asc",
        ),
        (
            Query::all(Container::ScraperSources)
                .matching(pluckit::store::Filter::equal("isGlobal", true))
                .matching(pluckit::store::Filter::equal("isActive", true)),
            "ScraperSources_by_isGlobal_asc_isActive_asc_across",
        ),
        (
            Query::all(Container::ScraperSources).matching(pluckit::store::Filter::equal("createdBy", "ada")),
            "ScraperSources_by_createdBy_asc_across",
        ),
        (
            pluckit::data::sources::overdue_query(datetime!(2026-03-02 09:15 UTC).into()),
            "ScraperSources_by_queuedUntil_asc_across",
        ),
    ] {
        let plan = store.query_plan(&query).await.unwrap();
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
        assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
    }
}

// --- The daily scrape -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn each_source_is_scraped_once_a_day_however_often_timer_and_message_come() {
    let mut off = subreddit("off");
    off["isActive"] = false.into();
    let mut private = subreddit("private");
    private["isGlobal"] = false.into();
    private["createdBy"] = "ada".into();
    let scene = Scene::new(&[subreddit("aa"), subreddit("bb"), off, private]).await;
    show_posts(&scene.web, "aa", &["p1"]);
    show_posts(&scene.web, "bb", &["p2"]);
    assert_eq!((scene.daily().await, scene.daily().await), (2, 2), "queued again, as the first message may be lost");
    assert!(scene.deliver().await.iter().all(Result::is_ok));
    assert_eq!((scene.requests("/r/aa/hot"), scene.requests("/r/bb/hot"), scene.items().await.len()), (1, 1, 2));
    assert_eq!(scene.daily().await, 0, "all is done");
    scene.app.clock.advance(Duration::from_secs(14 * 60 * 60));
    assert_eq!(scene.daily().await, 0, "the same day");
    scene.app.clock.advance(Duration::from_secs(10 * 60 * 60));
    assert_eq!(scene.daily().await, 2, "the next day");
    assert!(scene.deliver().await.iter().all(Result::is_ok));
    assert_eq!((scene.requests("/r/aa/hot"), scene.items().await.len()), (2, 2));
    assert_eq!(scene.document(&subreddit("aa")).await["lastDailyRun"], "2026-03-03");
}

#[tokio::test]
async fn a_submission_or_a_run_by_hand_does_not_take_the_day_s_scrape_away() {
    let scene = Scene::new(&[subreddit("aa")]).await;
    show_posts(&scene.web, "aa", &["p1"]);
    scene.run("reddit-aa").await.unwrap();
    assert_eq!(scene.daily().await, 1);
    scene.deliver().await;
    assert_eq!(scene.requests("/r/aa/hot"), 2);
}

#[tokio::test]
async fn a_source_that_fails_stops_no_other() {
    let scene = Scene::new(&[subreddit("aa"), subreddit("gone"), json!({
        "id": "reddit-broken", "sourceType": "reddit", "isGlobal": true, "isActive": true, "config": {"subreddit": "../x"},
    })])
    .await;
    show_posts(&scene.web, "aa", &["p1"]);
    scene.web.page("https://www.reddit.com/r/gone/hot.json", |_| {
        axum::http::Response::builder().status(503).body("later".into()).unwrap()
    });
    assert_eq!(scene.daily().await, 3);
    let outcomes = scene.deliver().await;
    let count = |kind: fn(&Result<(), JobError>) -> bool| outcomes.iter().filter(|outcome| kind(outcome)).count();
    assert_eq!(count(|outcome| outcome.is_ok()), 1);
    assert_eq!(count(|outcome| matches!(outcome, Err(JobError::Retry(_)))), 1, "Reddit is down");
    assert_eq!(count(|outcome| matches!(outcome, Err(JobError::GiveUp(_)))), 1, "no subreddit has this name");
    assert_eq!((scene.items().await.len(), scene.daily().await), (1, 2), "what failed is still to be done");
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_given_up_and_one_about_nothing_is_done() {
    let scene = Scene::new(&[]).await;
    let days = ["x", "----------", "2026-13-01", "2026-02-30", "2026-061", "20260302", "2026-W10-1"];
    let days = days.map(|day| json!({"sourceId": "aa", "day": day}).to_string());
    let texts = ["", "{}", "[]", r#"{"sourceId": ""}"#, r#"{"sourceId": 7}"#];
    for text in texts.into_iter().chain(days.iter().map(String::as_str)) {
        let outcome = scrape::run(&scene.app.state, delivery(text)).await;
        assert!(matches!(outcome, Err(JobError::GiveUp(_))), "{text}");
    }
    scrape::run(&scene.app.state, delivery(r#"{"sourceId": "gone", "day": "2026-03-02"}"#)).await.unwrap();
}

// --- Leases ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_source_has_one_run_at_a_time() {
    let scene = Scene::new(&[subreddit("aa")]).await;
    scene.web.silence("https://www.reddit.com/r/aa/hot.json");
    let (app, day) = (scene.app.state.clone(), r#"{"sourceId": "reddit-aa", "day": "2026-03-02"}"#);
    let first = app.tasks.spawn({
        let app = app.clone();
        async move { scrape::run(&app, delivery(day)).await }
    });
    until("the first run has begun", async || scene.requests("hot.json") == 1).await;
    let second = Delivery { id: Some("m2".to_owned()), ..delivery(day) };
    assert!(matches!(scrape::run(&app, second.clone()).await, Err(JobError::NotNow)));
    assert!(matches!(scene.run("reddit-aa").await, Err(Error::Leased)));
    // The queue delivers the first message again: whoever had it is gone or out of touch.
    show_posts(&scene.web, "aa", &["p1"]);
    scrape::run(&app, delivery(day)).await.unwrap();
    assert_eq!(scene.items().await.len(), 1);
    scrape::run(&app, second).await.unwrap();
    assert_eq!(scene.requests("hot.json"), 2, "the day is done");
    first.abort();
}

#[tokio::test]
async fn a_run_that_lost_its_lease_writes_nothing_more() {
    let scene = Scene::new(&[subreddit("aa")]).await;
    show_posts(&scene.web, "aa", &["p1"]);
    let (source, owner) = (scene.source("reddit-aa").await, Owner::of_message("m1"));
    let scraper = &scene.app.state.scraper;
    tokio::time::pause();
    let (begun, ended) = (Barrier::new(2), std::sync::atomic::AtomicBool::new(false));
    let stuck = scraper.with_lease(&source, &owner, |_| async {
        begun.wait().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
    let thief = async {
        begun.wait().await;
        let data = &scene.app.state.data;
        let leases = data.leases(&scene.app.state.clock, Duration::from_secs(60));
        let claim = data.sources.claim(&leases, &source, "thief", |_| true);
        assert!(matches!(claim.await.unwrap(), Claimed::Ours(_)));
    };
    let (outcome, ()) = tokio::join!(stuck, thief);
    assert!(matches!(outcome, Err(Error::LeaseLost)));
    assert!(!ended.into_inner());
    let finish = Finish { at: scene.app.clock.now().into(), day: None, version: None };
    let sources = &scene.app.state.data.sources;
    assert!(!sources.finish_for_client(&source, &"loser".into(), &finish).await.unwrap(), "nor does its end count");
    let left = scene.document(&subreddit("aa")).await;
    assert_eq!((&left["leaseOwner"], left.get("lastScrapedAt")), (&json!("thief"), None));
}

/// Two servers on one store race for the lease of a source, again and again.
async fn race(first: Arc<dyn DocumentStore>, second: Arc<dyn DocumentStore>, rounds: usize) {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let id = format!("reddit-{}", uuid::Uuid::new_v4().simple());
    let mut source = subreddit("aa");
    source["id"] = id.as_str().into();
    let key = Key::new(Container::ScraperSources, "reddit", id.as_str());
    first.upsert(&key, &source).await.unwrap();
    let servers = [first.clone(), second].map(|store| TestApp::builder().store(store).clock(clock.clone()).start());
    let mut users = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        users.push(server.user(&format!("user-{number}")).await);
    }
    let path = format!("/api/scraper/lease/{id}");
    let mut won = [0; 2];
    for round in 0..rounds {
        let answers = join_all(users.iter().map(|user| user.post(&path, json!({})))).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert!(matches!(statuses.as_slice(), [200, 409] | [409, 200]), "round {round}: {statuses:?}");
        let winner = usize::from(statuses[1] == 200);
        won[winner] += 1;
        let sources = &servers[0].state.data.sources;
        let found = sources.find(&id.as_str().into()).await.unwrap().unwrap();
        let owner = format!("user-{winner}");
        assert_eq!(found.lease_owner.as_ref(), Some(&owner));
        // As if nobody had ever leased it.
        first.upsert(&key, &source).await.unwrap();
    }
    assert_eq!(won.iter().sum::<usize>(), rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_servers_gets_a_source_lease() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        Arc::new(SqliteStore::open(&directory.path().join("pluckit.db"), clock).unwrap())
    };
    race(open(), open(), 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn of_two_servers_on_cosmos_one_gets_the_lease() {
    let (first, second) = (cosmos_backend::cosmos().await, cosmos_backend::cosmos().await);
    race(Arc::new(first), Arc::new(second), 100).await;
}
