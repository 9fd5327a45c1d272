//! The style board, and the question whether something was worn.

use std::time::Duration;

use axum::http::Method;
use pluckit::store::{Container, Key};
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::{TestApp, refusal};

const ACTIVITY: &str = "/api/wardrobe/styling-activity";
const SUGGESTIONS: &str = "/api/wardrobe/suggestions/wear";
const MINUTE: Duration = Duration::from_secs(60);

async fn with_items(app: &TestApp) -> Caller {
    for (id, category) in [("coat", "Outerwear"), ("shirt", "Tops")] {
        app.save(Container::Wardrobe, "ada", json!({"id": id, "userId": "ada", "category": category, "brand": "Cos"}))
            .await;
    }
    app.user("ada").await
}

async fn stored(app: &TestApp, id: &str) -> Value {
    let key = Key::new(Container::StylingActivity, "ada", id);
    app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap()
}

async fn suggested(caller: &Caller) -> String {
    let answer = caller.get(SUGGESTIONS).await;
    assert_eq!(answer.code(), 200, "{}", answer.text());
    let list = answer.json()["suggestions"].as_array().unwrap().clone();
    list.iter().map(|it| it["suggestionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

async fn answer(caller: &Caller, id: &str, body: Value) -> (u16, Value) {
    caller.send(Method::PATCH, &format!("{SUGGESTIONS}/{id}"), None, body.to_string()).await.summary()
}

#[tokio::test]
async fn an_activity_is_recorded_once() {
    let app = TestApp::new();
    let ada = with_items(&app).await;
    let body = json!({
        "itemId": "coat", "source": "dashboard_toggle", "activityType": "AddedToStyleBoard", "clientEventId": "sty-1",
        "occurredAt": "2026-03-02T10:00:00+01:00",
    });
    let recorded = (200, json!({"status": "recorded", "activityId": "sty-1"}));
    assert_eq!(ada.post(ACTIVITY, body.clone()).await.summary(), recorded);
    let expected = json!({
        "id": "sty-1", "userId": "ada", "itemId": "coat", "clientEventId": "sty-1", "activityType": "AddedToStyleBoard",
        "source": "dashboard_toggle", "occurredAt": "2026-03-02T09:00:00.000Z", "status": "Pending",
        "expiresAt": "2026-03-05T09:00:00.000Z", "lastUpdatedAt": "2026-03-02T09:15:00.000Z",
    });
    assert_eq!(stored(&app, "sty-1").await, expected);
    // Sent again, after it was answered: nothing is written.
    assert_eq!(answer(&ada, "sty-1", json!({"status": "Dismissed"})).await, (200, json!({"status": "updated"})));
    assert_eq!(ada.post(ACTIVITY, body).await.summary(), recorded);
    assert_eq!(stored(&app, "sty-1").await["status"], "Dismissed");

    let id = ada.post(ACTIVITY, json!({"itemId": "coat", "clientEventId": null})).await.json()["activityId"].clone();
    assert!(id.as_str().unwrap().strip_prefix("sty-").is_some_and(|rest| rest.len() == 32), "{id}");
    assert_eq!(stored(&app, id.as_str().unwrap()).await["activityType"], "AddedToStyleBoard");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused() {
    let app = TestApp::new();
    let ada = with_items(&app).await;
    for body in [json!({}), json!({"itemId": null}), json!({"itemId": " "})] {
        assert_eq!(ada.post(ACTIVITY, body).await.summary(), (400, refusal("itemId is required.")));
    }
    for body in [json!({"itemId": 7}), json!({"itemId": "coat", "occurredAt": "soon"}), json!([])] {
        assert_eq!(ada.post(ACTIVITY, body).await.summary(), (400, refusal("Invalid request body.")));
    }
    for event in ["a/b", "a#b", "..", &"x".repeat(201)] {
        assert_eq!(ada.post(ACTIVITY, json!({"itemId": "coat", "clientEventId": event})).await.code(), 400, "{event}");
    }
    assert_eq!(ada.post(ACTIVITY, json!({"itemId": "none"})).await.summary(), (404, refusal("Item not found.")));
    assert_eq!(app.user("eve").await.post(ACTIVITY, json!({"itemId": "coat"})).await.code(), 404);
    // A clock that is ahead does not keep the question for ever.
    let far = json!({"itemId": "coat", "clientEventId": "far", "occurredAt": "9999-12-31T23:59:59Z"});
    assert_eq!(ada.post(ACTIVITY, far).await.code(), 200);
    assert_eq!(stored(&app, "far").await["expiresAt"], "2026-03-06T09:15:00.000Z");
}

#[tokio::test]
async fn a_garment_is_asked_about_once_until_it_was_worn() {
    let app = TestApp::new();
    let ada = with_items(&app).await;
    assert_eq!(ada.get(SUGGESTIONS).await.json(), json!({"suggestions": []}));
    for (item, event) in [("coat", "a"), ("shirt", "b"), ("coat", "c")] {
        assert_eq!(ada.post(ACTIVITY, json!({"itemId": item, "clientEventId": event})).await.code(), 200);
        app.clock.advance(MINUTE);
    }
    let gone = json!({
        "id": "gone", "userId": "ada", "itemId": "hat", "status": "Pending", "occurredAt": "2026-03-02T11:00:00Z",
    });
    app.save(Container::StylingActivity, "ada", gone).await;
    app.save(
        Container::StylingActivity,
        "eve",
        json!({
            "id": "hers", "userId": "eve", "itemId": "coat", "status": "Pending", "occurredAt": "2026-03-02T11:00:00Z",
        }),
    )
    .await;
    let list = ada.get(SUGGESTIONS).await.json();
    let expected = json!({"suggestions": [
        {
            "suggestionId": "c", "itemId": "coat", "message": "Did you wear this (Cos, Outerwear)?",
            "activityAt": "2026-03-02T09:17:00.000Z", "expiresAt": "2026-03-05T09:17:00.000Z",
        },
        {
            "suggestionId": "b", "itemId": "shirt", "message": "Did you wear this (Cos, Tops)?",
            "activityAt": "2026-03-02T09:16:00.000Z", "expiresAt": "2026-03-05T09:16:00.000Z",
        },
    ]});
    assert_eq!(list, expected);

    // A wear answers it: this one by the question itself, and with it the older one for the same garment.
    let worn = json!({"clientEventId": "w", "source": "suggestion_prompt", "stylingActivityId": "c"});
    let path = "/api/wardrobe/coat/wear";
    for _ in 0..2 {
        assert_eq!(ada.send(Method::PATCH, path, None, worn.to_string()).await.code(), 200);
    }
    let accepted = stored(&app, "c").await;
    let event = ada.get("/api/wardrobe/coat/wear-history").await.json()["events"][0].clone();
    assert_eq!((&accepted["status"], &accepted["linkedWearEventId"]), (&json!("Accepted"), &event["id"]));
    assert_eq!(event["stylingActivityId"], "c");
    assert_eq!(suggested(&ada).await, "b");
    assert_eq!(stored(&app, "a").await["status"], "Expired");

    assert_eq!(answer(&ada, "b", json!({"status": "dismissed"})).await, (200, json!({"status": "updated"})));
    assert_eq!(suggested(&ada).await, "");
    assert_eq!(answer(&ada, "b", json!({"status": "Pending"})).await.0, 200);
    assert_eq!(suggested(&ada).await, "b");
    app.clock.advance(3 * 24 * 60 * MINUTE);
    // The session has expired as well.
    let ada = app.user("ada").await;
    assert_eq!(suggested(&ada).await, "", "nobody is asked after three days");
}

#[tokio::test]
async fn a_question_that_was_answered_does_not_come_back() {
    let app = TestApp::new();
    let ada = with_items(&app).await;
    // More than are read at once, behind the question about another garment.
    assert_eq!(ada.post(ACTIVITY, json!({"itemId": "shirt", "clientEventId": "shirt"})).await.code(), 200);
    for number in 0..210 {
        app.clock.advance(Duration::from_secs(1));
        let toggled = json!({"itemId": "coat", "clientEventId": format!("coat-{number}")});
        assert_eq!(ada.post(ACTIVITY, toggled).await.code(), 200);
    }
    assert_eq!(suggested(&ada).await, "coat-209");
    assert_eq!(stored(&app, "coat-208").await["status"], "Expired");
    assert_eq!(stored(&app, "coat-209").await["status"], "Pending");
    assert_eq!(suggested(&ada).await, "coat-209 shirt");
    assert_eq!(answer(&ada, "coat-209", json!({"status": "Dismissed"})).await.0, 200);
    assert_eq!(suggested(&ada).await, "shirt");
}

#[tokio::test]
async fn an_answer_needs_a_status_and_a_suggestion_of_one_s_own() {
    let app = TestApp::new();
    let ada = with_items(&app).await;
    ada.post(ACTIVITY, json!({"itemId": "coat", "clientEventId": "a"})).await;
    let eve = app.user("eve").await;
    assert_eq!(answer(&eve, "a", json!({"status": "Dismissed"})).await, (404, refusal("Suggestion not found.")));
    assert_eq!(answer(&ada, "%2e%2e", json!({"status": "Dismissed"})).await.0, 404);
    // A missing status does not reopen the question.
    let needed = refusal("status must be Pending, Accepted, Dismissed or Expired.");
    for body in [json!({}), json!({"status": null}), json!({"status": "Maybe"}), json!({"status": ""}), Value::Null] {
        assert_eq!(answer(&ada, "a", body).await, (400, needed.clone()));
    }
    assert_eq!(answer(&ada, "a", json!({"status": 1})).await, (400, refusal("Invalid request body.")));
    assert_eq!(stored(&app, "a").await["status"], "Pending");
}
