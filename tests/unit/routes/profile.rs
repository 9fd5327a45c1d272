//! The profile: the user's own fields, and fields that an outdated copy must not overwrite.

use axum::http::{Method, StatusCode};
use pluckit::model::ids::UserId;
use pluckit::store::Container;
use serde_json::{Value, json};

use crate::support::{TestApp, refusal};

const PATH: &str = "/api/profile";

async fn stored(app: &TestApp, user: &str) -> Value {
    let key = pluckit::data::profiles::Profiles::key(&UserId::from(user));
    app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_has_none_is_answered_with_the_default() {
    let app = TestApp::new();
    let answer = app.user("ada").await.get(PATH).await;
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "currencyCode": "USD",
      "favoriteBrands": [],
      "id": "ada",
      "preferredColours": [],
      "preferredSizeSystem": "US",
      "recommendationOptIn": true,
      "stylePreferences": []
    }
    "#);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert!(app.state.data.profiles.find(&UserId::from("ada")).await.unwrap().is_none(), "it is not stored");
}

#[tokio::test]
async fn a_put_replaces_what_is_the_user_s_and_keeps_the_rest() {
    let app = TestApp::new();
    let profile = json!({
        "id": "ada", "heightCm": 171, "weightKg": 60.5, "stylePreferences": ["boxy"], "favoriteBrands": null,
        "preferredColours": "navy", "locationCity": "Berlin", "climateZone": "temperate",
        "wardrobeHashAtLastDigest": "abc", "wardrobeFingerprint": "def", "WardrobeFingerprint": "ghi",
        "styleConfidenceProfile": 0.5, "somethingElse": {"a": null},
    });
    app.save(Container::UserProfiles, "ada", profile).await;
    app.save(Container::UserProfiles, "eve", json!({"id": "eve", "locationCity": "Oslo"})).await;
    let ada = app.user("ada").await;
    let read = ada.get(PATH).await.json();
    let expected = json!({
        "id": "ada", "heightCm": 171, "weightKg": 60.5, "currencyCode": "USD", "preferredSizeSystem": "US",
        "stylePreferences": ["boxy"], "favoriteBrands": [], "preferredColours": [], "locationCity": "Berlin",
        "recommendationOptIn": true, "climateZone": "temperate", "wardrobeHashAtLastDigest": "abc",
        "wardrobeFingerprint": "def", "styleConfidenceProfile": 0.5,
    });
    assert_eq!(read, expected);

    // What the client sends is a copy, with fields that are not its own and some that it has cleared.
    let body = json!({
        "id": "eve", "heightCm": null, "chestCm": 90.5, "currencyCode": "EUR", "preferredSizeSystem": "eu",
        "stylePreferences": null, "favoriteBrands": ["Cos"], "locationCity": "Berlin", "recommendationOptIn": false,
        "climateZone": "arid", "wardrobeHashAtLastDigest": "old", "styleConfidenceProfile": 1, "new": 1,
    });
    assert_eq!(ada.put(PATH, body).await.status, StatusCode::NO_CONTENT);
    let expected = json!({
        "id": "ada", "chestCm": 90.5, "currencyCode": "EUR", "preferredSizeSystem": "EU", "stylePreferences": [],
        "favoriteBrands": ["Cos"], "preferredColours": [], "locationCity": "Berlin", "recommendationOptIn": false,
        "climateZone": "temperate", "wardrobeHashAtLastDigest": "abc", "wardrobeFingerprint": "def",
        "WardrobeFingerprint": "ghi", "styleConfidenceProfile": 0.5, "somethingElse": {"a": null},
    });
    assert_eq!(stored(&app, "ada").await, expected);
    assert_eq!(stored(&app, "eve").await["locationCity"], "Oslo");

    // The climate is that of the old city.
    for (city, stays) in [("Cairo", Some("Cairo")), (" ", None)] {
        app.state
            .data
            .store
            .upsert(&pluckit::data::profiles::Profiles::key(&UserId::from("ada")), &expected)
            .await
            .unwrap();
        assert_eq!(ada.put(PATH, json!({"locationCity": city})).await.status, StatusCode::NO_CONTENT);
        let stored = stored(&app, "ada").await;
        assert_eq!((stored.get("climateZone"), stored["locationCity"].as_str()), (None, stays));
    }
    // A first profile is created.
    assert_eq!(app.user("bob").await.put(PATH, json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(stored(&app, "bob").await["currencyCode"], "USD");
}

#[tokio::test]
async fn what_breaks_a_bound_is_refused_with_a_text() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let send = async |body: &str| ada.send(Method::PUT, PATH, Some("text/plain"), body.to_owned()).await;
    for invalid in [
        "",
        "{",
        "[]",
        "7",
        r#"{"heightCm":"171"}"#,
        r#"{"stylePreferences":[7]}"#,
        r#"{"heightCm":1e300}"#,
        r#"{"recommendationOptIn":"yes"}"#,
        r#"{"locationCity":7}"#,
    ] {
        assert_eq!(send(invalid).await.summary(), (400, refusal("Invalid request body.")), "{invalid}");
    }
    assert_eq!(send("null").await.summary(), (400, refusal("Request body is required.")));
    let many = json!({"stylePreferences": vec!["a"; 101]}).to_string();
    let long = json!({"favoriteBrands": ["a".repeat(101)]}).to_string();
    let far = json!({"locationCity": "a".repeat(201)}).to_string();
    for broken in [
        r#"{"heightCm":0}"#,
        r#"{"waistCm":-1}"#,
        r#"{"weightKg":1000.5}"#,
        r#"{"currencyCode":"eur"}"#,
        r#"{"currencyCode":""}"#,
        r#"{"preferredSizeSystem":"JP"}"#,
        &many,
        &long,
        &far,
    ] {
        let answer = send(broken).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{broken}");
        assert_eq!(answer.json()["detail"], answer.json()["error"]);
    }
    assert_eq!(send(r#"{"heightCm":1000,"weightKg":0.5}"#).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_version_that_is_not_the_newest_is_not_overwritten() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let tag = async || ada.get(PATH).await.header("etag").to_owned();
    let put = async |if_match: &str, city: &str| {
        let caller = ada.clone().header("if-match", if_match);
        caller.put(PATH, json!({"locationCity": city})).await.code()
    };
    let first = tag().await;
    assert!(first.starts_with('"') && first.ends_with('"'), "{first}");
    // The default has a version as well: it is created once.
    assert_eq!(put(&first, "Berlin").await, 204);
    assert_eq!(put(&first, "Oslo").await, 412);
    let second = tag().await;
    assert_eq!(put(&format!("\"x\", {second}"), "Rome").await, 204);
    assert_eq!(put(&format!("W/{}", tag().await), "Oslo").await, 412);
    assert_eq!(put("*", "Bonn").await, 204);
    assert_eq!(ada.get(PATH).await.json()["locationCity"], "Bonn");
}

#[tokio::test]
async fn a_profile_can_be_saved_as_it_was_read() {
    let app = TestApp::new();
    let words: Vec<String> = (0..130).map(|number| format!("word {number}")).collect();
    let long = "x".repeat(120);
    let profile = json!({
        "id": "ada", "heightCm": 0, "weightKg": 2000.5, "chestCm": 90.0, "currencyCode": "eur",
        "preferredSizeSystem": "Japan", "stylePreferences": words, "favoriteBrands": ["Cos", long],
        "locationCity": "y".repeat(300), "recommendationOptIn": true, "preferredColours": [],
    });
    app.save(Container::UserProfiles, "ada", profile.clone()).await;
    let ada = app.user("ada").await;
    let read = ada.get(PATH).await.json();
    let put = async |changes: Value| {
        let mut body = read.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        ada.put(PATH, body).await
    };
    assert_eq!(put(json!({})).await.code(), 204);
    let mut expected = profile;
    expected["chestCm"] = json!(90);
    assert_eq!(stored(&app, "ada").await, expected, "nothing has changed");
    // Other fields can be edited, and long lists made shorter.
    assert_eq!(
        put(json!({"waistCm": 70, "stylePreferences": words[..120], "favoriteBrands": [long]})).await.code(),
        204
    );
    assert_eq!(ada.get(PATH).await.json()["stylePreferences"].as_array().unwrap().len(), 120);
    let too_many = refusal("A list may have at most 100 entries of at most 100 characters.");
    for (change, error) in [
        (json!({"stylePreferences": words[..121]}), too_many.clone()),
        (json!({"stylePreferences": [], "favoriteBrands": ["z".repeat(120)]}), too_many),
        (
            json!({"stylePreferences": [], "locationCity": "z".repeat(201)}),
            refusal("locationCity may have at most 200 characters."),
        ),
        (
            json!({"stylePreferences": [], "currencyCode": "usd"}),
            refusal("currencyCode must be three capital letters."),
        ),
        (
            json!({"stylePreferences": [], "preferredSizeSystem": "Japan2"}),
            refusal("preferredSizeSystem must be US, EU or UK."),
        ),
        (json!({"stylePreferences": [], "heightCm": -1}), refusal("A measurement must be above 0 and at most 1000.")),
    ] {
        assert_eq!(put(change.clone()).await.summary(), (400, error), "{change}");
    }
}

#[tokio::test]
async fn tastes_never_make_a_profile_that_cannot_be_saved() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let words: Vec<String> = (0..99).map(|number| format!("word {number}")).collect();
    assert_eq!(ada.put(PATH, json!({"stylePreferences": words})).await.code(), 204);
    let quiz = ada.get("/api/taste/quiz").await.json();
    let session = quiz["sessionId"].as_str().unwrap();
    for card in &quiz["cards"].as_array().unwrap()[..3] {
        let vote = json!({"signal": "up", "cardPrimaryMood": card["primaryMood"]});
        assert_eq!(ada.post(&format!("/api/taste/quiz/{session}/respond"), vote).await.code(), 200);
    }
    assert_eq!(ada.post(&format!("/api/taste/quiz/{session}/complete"), json!({})).await.code(), 200);
    let mut profile = ada.get(PATH).await.json();
    assert_eq!(profile["stylePreferences"].as_array().unwrap().len(), 100);
    profile["heightCm"] = json!(170);
    assert_eq!(ada.put(PATH, profile).await.code(), 204);
}
