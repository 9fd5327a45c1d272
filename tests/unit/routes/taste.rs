//! The taste quiz.

use axum::http::StatusCode;
use futures::future::join_all;
use pluckit::store::{Container, Key, Query};
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::{TestApp, refusal};

const QUIZ: &str = "/api/taste/quiz";

async fn open(caller: &Caller) -> Value {
    caller.get(QUIZ).await.json()
}

async fn respond(caller: &Caller, session: &Value, body: Value) -> (u16, Value) {
    caller.post(&format!("{QUIZ}/{}/respond", session["sessionId"].as_str().unwrap()), body).await.summary()
}

async fn complete(caller: &Caller, session: &Value) -> (u16, Value) {
    caller.post(&format!("{QUIZ}/{}/complete", session["sessionId"].as_str().unwrap()), json!({})).await.summary()
}

async fn profile(app: &TestApp, user: &str) -> Value {
    let key = Key::by_id(Container::UserProfiles, user);
    let stored = app.state.data.store.read(&key).await.unwrap();
    stored.map_or(Value::Null, |stored| stored.parse().unwrap())
}

async fn add_items(app: &TestApp) {
    for (id, source, title, tags) in [
        ("i1", "s1", "Vintage Levi's jacket from Carhartt", json!(["denim", "vintage"])),
        ("i2", "s1", "my Carhartt beanie", json!(["workwear", "denim"])),
        ("i3", "s2", "Plain white tee", json!(["minimalist"])),
    ] {
        let item = json!({
            "id": id, "userId": "global", "sourceId": source, "title": title, "tags": tags, "scoreSignal": 1,
            "imageUrl": format!("https://i.example/{id}.jpg"),
        });
        app.save(Container::ScrapedItems, "global", item).await;
    }
}

#[tokio::test]
async fn there_are_always_twelve_cards() {
    let app = TestApp::new();
    for (name, trend) in [("Quiet Tailoring", 9), ("Loud Tailoring", 3)] {
        let mood = json!({
            "id": name, "primaryMood": "Minimalist", "name": name, "description": "Muted.", "trendScore": trend,
            "subMoods": ["Soft Suiting"], "moodSignals": {"colorPalette": ["stone"], "keyPieces": ["blazer"]},
        });
        app.save(Container::Moods, "Minimalist", mood).await;
    }
    let session = open(&app.user("ada").await).await;
    assert_eq!((&session["phase"], &session["targetResponses"]), (&json!(1), &json!(12)));
    assert_eq!((&session["isComplete"], &session["responses"]), (&json!(false), &json!([])));
    let cards = session["cards"].as_array().unwrap();
    assert_eq!(cards.len(), 12);
    assert_eq!(
        cards[0],
        json!({
            "primaryMood": "Minimalist", "name": "Quiet Tailoring", "description": "Muted.", "colorPalette": ["stone"],
            "keyPieces": ["blazer"], "subMoods": ["Soft Suiting"],
        })
    );
    assert_eq!((&cards[11]["primaryMood"], &cards[11]["name"]), (&json!("Dark Academia"), &json!("Dark Academia")));
}

#[tokio::test]
async fn liked_categories_become_styles() {
    let app = TestApp::new();
    let before = json!({"id": "ada", "stylePreferences": ["edgy"], "heightCm": "tall", "x": 1});
    app.save(Container::UserProfiles, "ada", before).await;
    let ada = app.user("ada").await;
    let session = open(&ada).await;
    for (card, signal) in [("Edgy", "up"), ("Sporty", "up"), ("Coastal", "down"), ("Preppy", "up")] {
        respond(&ada, &session, json!({"signal": signal, "cardPrimaryMood": card})).await;
    }
    let changed = respond(&ada, &session, json!({"signal": "down", "card_primary_mood": "Preppy"})).await;
    assert_eq!(
        changed,
        (200, json!({"sessionId": session["sessionId"], "responsesRecorded": 4, "targetResponses": 12}))
    );
    assert_eq!(open(&ada).await["sessionId"], session["sessionId"]);
    let first = complete(&ada, &session).await;
    let tastes = json!({"styleKeywords": ["Edgy", "Sporty"], "brands": []});
    assert_eq!(first, (200, json!({"sessionId": session["sessionId"], "inferredTastes": tastes})));
    let learned = json!({"id": "ada", "stylePreferences": ["edgy", "Sporty"], "heightCm": "tall", "x": 1});
    assert_eq!(profile(&app, "ada").await, learned);

    // What the user takes back later stays taken back.
    app.save(Container::UserProfiles, "ada", json!({"id": "ada"})).await;
    assert_eq!(complete(&ada, &session).await, first);
    assert_eq!(profile(&app, "ada").await, json!({"id": "ada"}));
    let late = respond(&ada, &session, json!({"signal": "up", "cardPrimaryMood": "Coastal"})).await;
    assert_eq!(late.0, 409);
    assert_ne!(open(&ada).await["sessionId"], session["sessionId"]);
}

#[tokio::test]
async fn liked_pictures_become_tags_and_brands() {
    let app = TestApp::new();
    add_items(&app).await;
    let ada = app.user("ada").await;
    let session = open(&ada).await;
    let shown: Vec<_> = session["imageItems"].as_array().unwrap().iter().map(|image| &image["scrapedItemId"]).collect();
    assert_eq!(shown, ["i1", "i3", "i2"]);
    assert_eq!((&session["phase"], &session["targetResponses"]), (&json!(2), &json!(3)));
    for (id, signal) in [("i1", "up"), ("i2", "up"), ("i3", "down")] {
        respond(&ada, &session, json!({"signal": signal, "scrapedItemId": id})).await;
    }
    let tastes = &complete(&ada, &session).await.1["inferredTastes"];
    assert_eq!(
        tastes,
        &json!({"styleKeywords": ["denim", "vintage", "workwear"], "brands": ["Carhartt", "Vintage", "Levi's"]})
    );
    let profile = profile(&app, "ada").await;
    assert_eq!(profile["favoriteBrands"], json!(["Carhartt", "Vintage", "Levi's"]));
    assert_eq!(profile["currencyCode"], "USD");
}

#[tokio::test]
async fn an_end_that_a_crash_left_half_way_is_brought_to_its_end() {
    let app = TestApp::new();
    let ended = json!({
        "id": "ada-s", "userId": "ada", "sessionId": "s", "phase": 1, "isComplete": true, "targetResponses": 12,
        "inferredTastes": {"styleKeywords": ["Edgy"], "brands": ["Arket"]}, "cards": [], "responses": [],
    });
    app.save(Container::TasteCalibration, "ada", ended).await;
    let ada = app.user("ada").await;
    assert_eq!(complete(&ada, &json!({"sessionId": "s"})).await.0, 200);
    let profile = profile(&app, "ada").await;
    assert_eq!((&profile["stylePreferences"], &profile["favoriteBrands"]), (&json!(["Edgy"]), &json!(["Arket"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_open_at_once_get_the_same_session() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for round in 0..3 {
        let sessions = join_all((0..16).map(|_| open(&ada))).await;
        assert!(sessions.iter().all(|session| session["sessionId"] == sessions[0]["sessionId"]));
        let stored = app.state.data.store.query(&Query::partition(Container::TasteCalibration, "ada")).await.unwrap();
        assert_eq!(stored.documents.len(), round + 1);
        // Answers at once are all kept, and only one end is stored.
        let cards = ["Edgy", "Sporty", "Coastal", "Preppy", "Classic", "Romantic"];
        let answers = cards.map(|card| respond(&ada, &sessions[0], json!({"signal": "up", "cardPrimaryMood": card})));
        assert!(join_all(answers).await.iter().all(|(status, _)| *status == 200));
        let ends = join_all((0..8).map(|_| complete(&ada, &sessions[0]))).await;
        assert!(ends.iter().all(|end| *end == ends[0]));
        assert_eq!(ends[0].1["inferredTastes"]["styleKeywords"].as_array().unwrap().len(), 6);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let app = TestApp::new();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let session = open(&ada).await;
    let up = json!({"signal": "up", "cardPrimaryMood": "Edgy"});
    assert_eq!(
        respond(&ada, &session, json!({"signal": "maybe", "cardPrimaryMood": "Edgy"})).await,
        (400, refusal("signal must be 'up' or 'down'"))
    );
    for body in [json!({"cardPrimaryMood": "Edgy"}), json!({"signal": {}, "cardPrimaryMood": "Edgy"})] {
        let answer = respond(&ada, &session, body).await;
        assert_eq!(answer, (400, refusal("signal must be 'up' or 'down'")));
    }
    assert_eq!(respond(&ada, &session, json!({"signal": "up"})).await.0, 400);
    assert_eq!(respond(&ada, &session, json!({"signal": "up", "cardPrimaryMood": "Gothic"})).await.0, 400);
    assert_eq!(respond(&eve, &session, up.clone()).await.0, 404);
    assert_eq!(complete(&eve, &session).await.0, 404);
    let unknown = ada.post(&format!("{QUIZ}/x%2Fy/respond"), up).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(open(&ada).await["responses"], json!([]));
}
