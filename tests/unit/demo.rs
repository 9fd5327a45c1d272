//! The demo from a visitor's view: pictures exist, and votes have an effect.

use std::time::Duration;

use pluckit::model::ids::UserId;
use pluckit::store::{Container, Key, Query};
use pluckit::workers::{Delivery, taste};
use serde_json::Value;

use crate::support::TestApp;
use crate::support::caller::Caller;

const QUEUE: &str = "taste-analysis-jobs";

/// All items of the feed.
async fn feed(ada: &Caller) -> Vec<Value> {
    let page = ada.get("/api/scraper/items?pageSize=100").await.json();
    assert!(page["nextContinuationToken"].is_null());
    page["items"].as_array().unwrap().clone()
}

async fn documents(app: &TestApp, query: Query) -> Vec<Value> {
    let page = app.state.data.store.query(&query.limit(1000)).await.unwrap();
    page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
}

#[tokio::test]
async fn every_item_has_a_picture_that_the_service_answers() {
    let app = TestApp::new();
    app.load_demo(&UserId::from("ada")).await;
    let wardrobe = documents(&app, Query::partition(Container::Wardrobe, "ada")).await;
    let feed = feed(&app.user("ada").await).await;
    assert_eq!((wardrobe.len(), feed.len()), (52, 30));
    let galleries = feed.iter().flat_map(|item| item["galleryImages"].as_array().unwrap());
    let own = wardrobe.iter().chain(&feed).map(|item| &item["imageUrl"]);
    let mut addresses: Vec<&str> = own.chain(galleries).map(|address| address.as_str().unwrap()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 94);
    // As an <img> asks for it: without a token.
    let nobody = app.nobody();
    for address in addresses {
        let path = address.strip_prefix("http://127.0.0.1:7071").unwrap();
        let answer = nobody.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/webp"), "{address}");
        assert!(answer.body.starts_with(b"RIFF") && answer.body[8..].starts_with(b"WEBP"), "{address}");
    }
}

#[tokio::test]
async fn the_draft_waits_to_be_reviewed() {
    let app = TestApp::new();
    app.load_demo(&UserId::from("ada")).await;
    let drafts = app.user("ada").await.get("/api/wardrobe/drafts").await.json();
    let drafts: Vec<_> = drafts["items"].as_array().unwrap().iter().map(|draft| &draft["id"]).collect();
    assert_eq!(drafts, ["demo-navy-ribbed-beanie"]);
}

#[tokio::test]
async fn a_vote_on_any_item_is_analysed() {
    // There is no internet.
    let app = TestApp::new();
    app.load_demo(&UserId::from("ada")).await;
    let ada = app.user("ada").await;
    for item in feed(&ada).await {
        let path = format!("/api/scraper/items/{}/feedback", item["id"].as_str().unwrap());
        assert_eq!(ada.post(&path, serde_json::json!({"signal": "up"})).await.status, 200);
    }
    let mut done = 0;
    while let [message] = &app.state.queue.receive(QUEUE, 1, Duration::from_secs(30)).await.unwrap()[..] {
        let delivery = Delivery { text: message.text.clone(), dequeue_count: 1, id: Some(message.id.clone()) };
        taste::run(&app.state, delivery).await.unwrap();
        app.state.queue.delete(QUEUE, message).await.unwrap();
        done += 1;
    }
    assert_eq!(done, 30);
    let jobs = documents(&app, Query::all(Container::TasteAnalysisJobs)).await;
    assert!(jobs.len() == 30 && jobs.iter().all(|job| job["status"] == "completed"));
    assert!(documents(&app, Query::all(Container::TasteAnalysisJobDeadLetters)).await.is_empty());
    let profile = app.state.data.store.read(&Key::by_id(Container::UserProfiles, "ada")).await.unwrap().unwrap();
    let learned = profile.parse::<Value>().unwrap()["stylePreferences"].as_array().unwrap().clone();
    assert!(learned.iter().any(|word| word == "navy"), "{learned:?}");
}
