//! Moods as users see them.

use pluckit::store::Container;
use serde_json::{Value, json};

use crate::support::{TestApp, refusal};

fn mood(id: &str, category: &str, score: f64) -> Value {
    json!({
        "id": id, "primaryMood": category, "name": "Salt Air", "subMoods": ["Resort"], "description": "Linen.",
        "moodSignals": {"colorPalette": ["white"], "keyPieces": ["linen shirt"]}, "trendScore": score,
        "sources": [{"title": "t", "url": "https://a.example/1", "publishedAt": "2026-03-01T00:00:00Z", "source": "A"}, "bad"],
        "nameEmbedding": [1.0, 2.0], "seenSources": ["0123456789ab"], "detectedIn": "run",
        "detectedAt": "2026-02-01T06:00:00Z", "updatedAt": "soon", "_rid": "x",
    })
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["moods"].as_array().unwrap().iter().map(|mood| mood["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn moods_come_by_trend_without_what_is_internal() {
    let app = TestApp::new();
    app.save(Container::Moods, "Coastal", mood("coastal-salt-air", "Coastal", 3.0)).await;
    app.save(Container::Moods, "Classic", mood("classic-x", "Classic", 7.0)).await;
    app.save(Container::Moods, "Classic", json!({"id": "bad", "primaryMood": "Classic", "name": 7, "trendScore": 9}))
        .await;
    let ada = app.user("ada").await;
    let all = ada.get("/api/moods").await.json();
    assert_eq!(ids(&all), ["classic-x", "coastal-salt-air"]);
    assert_eq!(all["primaryMoods"].as_array().unwrap().len(), 12);
    assert_eq!((&all["primaryMoods"][0], &all["primaryMoods"][11]), (&json!("Minimalist"), &json!("Dark Academia")));
    assert_eq!(
        all["moods"][1],
        json!({
            "id": "coastal-salt-air", "primaryMood": "Coastal", "name": "Salt Air", "subMoods": ["Resort"],
            "description": "Linen.", "trendScore": 3,
            "moodSignals": {"colorPalette": ["white"], "patterns": [], "silhouettes": [], "fabrics": [], "keyPieces": ["linen shirt"]},
            "sources": [{"title": "t", "url": "https://a.example/1", "publishedAt": "2026-03-01T00:00:00.000Z", "source": "A"}],
            "detectedAt": "2026-02-01T06:00:00.000Z", "updatedAt": null,
        })
    );
    assert_eq!(ids(&ada.get("/api/moods?primaryMood=Coastal").await.json()), ["coastal-salt-air"]);
    assert_eq!(ids(&ada.get("/api/moods?primary_mood=Dark%20Academia").await.json()), [""; 0]);
    assert_eq!(ids(&ada.get("/api/moods?primaryMood=").await.json()).len(), 2);
    let long = "x".repeat(50);
    for unknown in ["Goth", "coastal", &long] {
        assert_eq!(
            ada.get(&format!("/api/moods?primaryMood={unknown}")).await.summary(),
            (
                400,
                refusal(&format!(
                    "Unknown primaryMood '{unknown}'. Valid values: Minimalist, Maximalist, Romantic, Edgy, Preppy, \
                     Bohemian, Sporty, Classic, Streetwear, Coastal, Cottagecore, Dark Academia"
                ))
            )
        );
    }
    // However long: the message has its beginning.
    let longer = ada.get(&format!("/api/moods?primaryMood={}", "x".repeat(5000))).await;
    assert_eq!(longer.summary(), ada.get(&format!("/api/moods?primaryMood={long}")).await.summary());
}

#[tokio::test]
async fn at_most_fifty_moods_are_listed() {
    let app = TestApp::new();
    for number in 0..60 {
        app.save(Container::Moods, "Edgy", mood(&format!("edgy-{number}"), "Edgy", f64::from(number))).await;
    }
    let all = app.user("ada").await.get("/api/moods?primaryMood=Edgy").await.json();
    assert_eq!((ids(&all).len(), ids(&all)[0]), (50, "edgy-59"));
}

#[tokio::test]
async fn what_a_caller_has_is_not_sent_again() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    app.save(Container::Moods, "Coastal", mood("coastal-salt-air", "Coastal", 3.0)).await;
    let first = ada.get("/api/moods").await;
    let etag = first.header("etag").to_owned();
    let again = ada.clone().header("if-none-match", &etag).get("/api/moods").await;
    assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, etag.as_str()));
    assert_eq!(again.header("cache-control"), "no-cache, no-store, max-age=0, must-revalidate");
    app.save(Container::Moods, "Coastal", mood("coastal-salt-air", "Coastal", 4.0)).await;
    assert_eq!(ada.header("if-none-match", &etag).get("/api/moods").await.status, 200);
}

#[tokio::test]
async fn a_mood_is_found_by_every_form_of_its_id() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    app.save(Container::Moods, "Dark Academia", mood("dark-academia-library-layers", "Dark Academia", 1.0)).await;
    app.save(Container::Moods, "Dark Academia", mood("dark academia-old-books", "Dark Academia", 1.0)).await;
    app.save(Container::Moods, "Coastal", mood("coastal-salt-air", "Coastal", 3.0)).await;
    for (asked, found) in [
        ("dark-academia-library-layers", "dark-academia-library-layers"),
        ("dark%20academia-library-layers", "dark-academia-library-layers"),
        ("Dark%20Academia-library-layers", "dark-academia-library-layers"),
        ("dark%20academia-old-books", "dark academia-old-books"),
        ("dark-academia-old-books", "dark academia-old-books"),
        ("coastal-salt-air", "coastal-salt-air"),
    ] {
        let answer = ada.get(&format!("/api/moods/{asked}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!(found)), "{asked}");
        assert!(answer.json().get("nameEmbedding").is_none() && answer.json().get("seenSources").is_none());
    }
    for asked in ["coastal", "coastal-none", "dark-moods", "goth-x", "coastal-a%2Fb", "coastal-%3F", "%20"] {
        assert_eq!(
            ada.get(&format!("/api/moods/{asked}")).await.summary(),
            (404, refusal("Mood not found.")),
            "{asked}"
        );
    }
}
