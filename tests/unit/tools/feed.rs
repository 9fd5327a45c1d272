//! Moods and items of the feed.

use pluckit::llm::{CallContext, Model};
use pluckit::store::Container;
use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn moods_come_by_trend_and_by_category() {
    let bench = Bench::new();
    for number in 0..12 {
        let category = if number % 2 == 0 { "Dark Academia" } else { "Coastal" };
        let mood = json!({
            "id": format!("m{number}"), "primaryMood": category, "name": format!("Mood {number}"), "trendScore": number,
            "description": "d", "moodSignals": { "keyPieces": ["blazer"] }, "nameEmbedding": [1.0], "sources": [{ "url": "u" }],
        });
        bench.save(Container::Moods, category, mood).await;
    }
    let names = |result: &Value| -> Vec<String> {
        result["moods"].as_array().unwrap().iter().map(|mood| mood["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = bench.run("get_trending_moods", json!({ "primary_mood": "" })).await;
    assert_eq!((names(&all).len(), names(&all)[0].as_str()), (10, "Mood 11"));
    let keys: Vec<&String> = all["moods"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["description", "moodSignals", "name", "primaryMood", "subMoods", "trendScore"]);
    let dark = bench.run("get_trending_moods", json!({ "primary_mood": "dark academia" })).await;
    assert_eq!(names(&dark)[..2], ["Mood 10", "Mood 8"]);
    assert_eq!(names(&dark).len(), 6);
}

#[tokio::test]
async fn scraped_items_are_found_by_similarity() {
    let bench = Bench::new();
    let titles = [
        ("loafers", "Brown suede penny loafers by Morjas"),
        ("loafers2", "Loafers in brown suede"),
        ("coat", "Camel wool overcoat"),
        ("dress", "Green satin midi dress"),
        ("expired", "Brown suede loafers"),
    ];
    for (id, title) in titles {
        let vector = bench.model.embed(&CallContext::service(), &[title.to_owned()]).await.unwrap().remove(0);
        let item = json!({
            "id": id, "userId": "global", "title": title, "embedding": vector, "imageExpired": id == "expired", "tags": ["classic"],
            "sourceId": "s", "scoreSignal": 2, "imageUrl": "http://127.0.0.1:9999/api/media/archive/1.webp", "productUrl": "https://p.example/1",
            "buyLinks": [{ "url": "https://b.example/1" }],
        });
        bench.save(Container::ScrapedItems, "global", item).await;
    }
    for (id, embedding) in [("bare", json!(null)), ("short", json!([1.0])), ("odd", json!("x"))] {
        let item = json!({ "id": id, "userId": "global", "title": "brown suede loafers", "embedding": embedding });
        bench.save(Container::ScrapedItems, "global", item).await;
    }
    let result = bench.run("search_scraped_items", json!({ "query": "brown suede loafers" })).await;
    let found: Vec<_> =
        result["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect();
    assert_eq!(found, ["Loafers in brown suede", "Brown suede penny loafers by Morjas"]);
    let keys: Vec<&String> = result["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["buyLinks", "id", "imageUrl", "productUrl", "scoreSignal", "sourceId", "tags", "title"]);
    // A picture of our own is where the service is now.
    assert_eq!(result["items"][0]["imageUrl"], "http://127.0.0.1:7071/api/media/archive/1.webp");
    let nothing = bench.run("search_scraped_items", json!({ "query": "scuba tank" })).await;
    assert_eq!((&nothing["items"], nothing["note"].is_string()), (&json!([]), true));
}

#[tokio::test]
async fn at_most_five_scraped_items_come_back() {
    let bench = Bench::new();
    let vector = bench.model.embed(&CallContext::service(), &["linen shirt".to_owned()]).await.unwrap().remove(0);
    for number in 0..20 {
        let item = json!({
            "id": format!("i{number:02}"), "userId": "global", "title": format!("T{number}"), "embedding": vector, "scoreSignal": number % 10,
        });
        bench.save(Container::ScrapedItems, "global", item).await;
    }
    let result = bench.run("search_scraped_items", json!({ "query": "linen shirts" })).await;
    let found: Vec<_> =
        result["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect();
    assert_eq!(found, ["T9", "T19", "T8", "T18", "T7"], "of equals the better voted, then the smaller id");
}
