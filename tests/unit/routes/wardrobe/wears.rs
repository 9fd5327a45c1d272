//! Logging wears: each counts exactly once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use futures::future::join_all;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Key, Query};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::{TestApp, refusal};

const WEAR: &str = "/api/wardrobe/coat/wear";
const HISTORY: &str = "/api/wardrobe/coat/wear-history";

async fn with_coat(app: &TestApp) -> Caller {
    app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "brand": "Cos", "odd": {"x": null}}))
        .await;
    app.user("ada").await
}

async fn wear(caller: &Caller, body: Value) -> Answer {
    caller.send(Method::PATCH, WEAR, Some("application/json"), body.to_string()).await
}

async fn stored(app: &TestApp) -> Value {
    let key = Key::new(Container::Wardrobe, "ada", "coat");
    app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_count_with_a_fraction_is_the_same_everywhere() {
    let app = TestApp::new();
    for (stored, count) in [(json!(3.0), 3), (json!(3.7), 3), (json!(-1.5), 0), (json!("3"), 0)] {
        app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "wearCount": stored})).await;
        let ada = app.user("ada").await;
        assert_eq!(ada.get("/api/wardrobe/coat").await.json()["wearCount"], count, "{stored}");
        assert_eq!(ada.get("/api/wardrobe").await.json()["items"][0]["wearCount"], count, "{stored}");
        assert_eq!(ada.get(HISTORY).await.json()["summary"]["legacyUntrackedCount"], count, "{stored}");
        let vault = ada.get("/api/insights/vault").await.json();
        assert!(vault["cpwIntel"].as_array().is_some_and(|list| list.len() == 1), "{vault}");
        assert_eq!(
            wear(&ada, json!({"clientEventId": stored.to_string()})).await.json()["wearCount"],
            count + 1,
            "{stored}"
        );
        let key = |id: String| Key::new(Container::WearEvents, "ada", id);
        let events = app.state.data.store.query(&Query::partition(Container::WearEvents, "ada")).await.unwrap();
        for event in events.documents {
            let id = event.parse::<Value>().unwrap()["id"].as_str().unwrap().to_owned();
            app.state.data.store.delete(&key(id), None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_wear_counts_once_and_leaves_an_event() {
    let app = TestApp::new();
    let ada = with_coat(&app).await;
    let body = json!({
        "clientEventId": "wear-1", "source": "vault_card", "occasion": "work",
        "weatherSnapshot": {"tempCelsius": 12.5, "conditions": "Rain"}, "occurredAt": "2026-03-01T20:00:00+05:30",
    });
    let first = wear(&ada, body.clone()).await;
    let expected = json!({
        "id": "coat", "userId": "ada", "name": "Cos piece", "brand": "Cos", "tags": [], "colours": [],
        "isWishlisted": false, "wearCount": 1, "lastWornAt": "2026-03-01T14:30:00.000Z", "lastWearActionId": "wear-1",
        "wearEvents": [{
            "occurredAt": "2026-03-01T14:30:00.000Z", "occasion": "work",
            "weatherSnapshot": {"tempCelsius": 12.5, "conditions": "Rain"},
        }],
    });
    assert_eq!(first.summary(), (200, expected.clone()));
    assert_eq!(wear(&ada, body.clone()).await.summary(), (200, expected));
    // Another one, and then the first again: it is not the last one any more, and still known.
    assert_eq!(wear(&ada, json!({"clientEventId": "wear-2"})).await.json()["wearCount"], 2);
    let again = wear(&ada, body).await.json();
    assert_eq!((&again["wearCount"], &again["lastWornAt"]), (&json!(2), &json!("2026-03-02T09:15:00.000Z")));
    assert_eq!(stored(&app).await["odd"], json!({"x": null}));

    let history = ada.get(HISTORY).await.json();
    let id = |action: &str| {
        let hash = pluckit::base::hash::sha256_hex(format!("coat\n{action}"));
        format!("wear-coat-{}", &hash[..32])
    };
    let expected = json!({
        "itemId": "coat",
        "events": [
            {
                "id": id("wear-2"), "userId": "ada", "itemId": "coat", "occurredAt": "2026-03-02T09:15:00.000Z",
                "source": "unknown", "createdAt": "2026-03-02T09:15:00.000Z",
            },
            {
                "id": id("wear-1"), "userId": "ada", "itemId": "coat", "occurredAt": "2026-03-01T14:30:00.000Z",
                "source": "vault_card", "occasion": "work", "createdAt": "2026-03-02T09:15:00.000Z",
                "weatherSnapshot": {"tempCelsius": 12.5, "conditions": "Rain"},
            },
        ],
        "summary": {"totalInRange": 2, "trackedFrom": "2026-03-01T14:30:00.000Z", "legacyUntrackedCount": 0},
    });
    assert_eq!(history, expected);
}

#[tokio::test]
async fn an_item_with_the_longest_id_is_worn_like_any_other() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let [fresh, stuck] = ["a", "b"].map(|letter| letter.repeat(1023));
    app.save(Container::Wardrobe, "ada", json!({"id": fresh, "userId": "ada", "wearCount": 0})).await;
    // As an older version left it after the first wear: the event has an id that no document can have.
    let event = json!({
        "id": format!("wear-{stuck}-0"), "userId": "ada", "itemId": stuck, "occurredAt": "2026-03-01T14:30:00.000Z",
    });
    let worn = json!({"id": stuck, "userId": "ada", "wearCount": 1, "pendingWearEvents": [event]});
    app.save(Container::Wardrobe, "ada", worn).await;
    for (item, before) in [(&fresh, 0), (&stuck, 1)] {
        let path = format!("/api/wardrobe/{item}/wear");
        let wear = |action: &str| {
            let body = json!({"clientEventId": action}).to_string();
            ada.send(Method::PATCH, &path, Some("application/json"), body)
        };
        for (action, count) in [("first", 1), ("second", 2), ("first", 2)] {
            let answer = wear(action).await;
            assert_eq!((answer.code(), &answer.json()["wearCount"]), (200, &json!(before + count)), "{action}");
        }
        let history = ada.get(&format!("/api/wardrobe/{item}/wear-history")).await.json();
        assert_eq!(history["summary"]["totalInRange"], before + 2, "{history}");
    }
}

#[tokio::test]
async fn a_wear_needs_no_body_and_every_one_without_an_id_counts() {
    let app = TestApp::new();
    let ada = with_coat(&app).await;
    for (count, body) in
        ["", "null", "{}", r#"{"clientEventId":null,"source":" ","more":1}"#, r#"{"clientEventId":""}"#]
            .into_iter()
            .enumerate()
    {
        for content_type in [None, Some("text/plain")] {
            assert_eq!(ada.send(Method::PATCH, WEAR, content_type, body).await.code(), 200, "{body}");
        }
        assert_eq!(stored(&app).await["wearCount"], 2 * (count + 1));
    }
    assert_eq!(ada.get(HISTORY).await.json()["summary"]["totalInRange"], 10);
    app.clock.advance(Duration::from_secs(600));
    // It was worn ten minutes ago at the latest: an older wear does not change that.
    let late = wear(&ada, json!({"occurredAt": "2026-01-01"})).await.json();
    assert_eq!(late["lastWornAt"], "2026-03-02T09:15:00.000Z");
    assert_eq!(late["wearEvents"][10]["occurredAt"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn what_cannot_be_worn_or_read_is_refused() {
    let app = TestApp::new();
    let ada = with_coat(&app).await;
    app.save(Container::Wardrobe, "ada", json!({"id": "draft", "userId": "ada", "draftStatus": "Ready"})).await;
    app.save(Container::Wardrobe, "ada", json!({"id": "wish", "userId": "ada", "isWishlisted": true})).await;
    let send = async |id: &str, body: &str| {
        ada.send(Method::PATCH, &format!("/api/wardrobe/{id}/wear"), None, body.to_owned()).await
    };
    assert_eq!(send("draft", "").await.summary(), (409, refusal("Draft items cannot be worn.")));
    assert_eq!(send("none", "").await.summary(), (404, refusal("Item not found.")));
    assert_eq!(send("wish", "").await.code(), 200);
    for invalid in [
        "{",
        "[]",
        "7",
        r#"{"clientEventId":7}"#,
        r#"{"occurredAt":"yesterday"}"#,
        r#"{"weatherSnapshot":[]}"#,
        r#"{"weatherSnapshot":{"tempCelsius":"12"}}"#,
    ] {
        assert_eq!(send("coat", invalid).await.summary(), (400, refusal("Invalid request body.")), "{invalid}");
    }
    let long = "x".repeat(201);
    for body in [
        json!({"clientEventId": long}),
        json!({"source": long}),
        json!({"occasion": long}),
        json!({"weatherSnapshot": {"conditions": long}}),
        json!({"occurredAt": "2026-03-03T09:15:01Z"}),
    ] {
        assert_eq!(wear(&ada, body.clone()).await.code(), 400, "{body}");
    }
    assert_eq!(wear(&ada, json!({"occurredAt": "2026-03-03T09:15:00Z"})).await.json()["wearCount"], 1);
    let eve = app.user("eve").await;
    assert_eq!(wear(&eve, json!({})).await.code(), 404);
    assert_eq!(eve.get(HISTORY).await.code(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_wears_at_once_with_fifty_ids_count_fifty() {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store = Arc::new(SqliteStore::open(&directory.path().join("store.db"), clock).unwrap());
    for app in [TestApp::new(), TestApp::builder().store(store).start()] {
        let ada = with_coat(&app).await;
        let sent = (0..200).map(|n| wear(&ada, json!({"clientEventId": format!("wear-{}", n % 50)}))).map(Box::pin);
        for answer in join_all(sent).await {
            assert_eq!(answer.code(), 200, "{}", answer.text());
        }
        let coat = stored(&app).await;
        assert_eq!((coat["wearCount"].clone(), coat["wearEvents"].as_array().unwrap().len()), (json!(50), 30));
        // Long after, when the item has forgotten the action, it still is the same wear.
        assert_eq!(wear(&ada, json!({"clientEventId": "wear-0"})).await.json()["wearCount"], 50);
        let history = ada.get(HISTORY).await.json();
        let events: BTreeSet<_> = history["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(events.len(), 50);
        assert_eq!(history["summary"]["legacyUntrackedCount"], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_edit_and_wears_at_once_lose_nothing() {
    let app = TestApp::new();
    let ada = with_coat(&app).await;
    // The client sends what it read before all of the wears.
    let copy = ada.get("/api/wardrobe/coat").await.json();
    let (wears, edits) = (0..20, 0..20);
    let wears = wears.map(|n| wear(&ada, json!({"clientEventId": format!("wear-{n}")}))).map(Box::pin);
    let edits = edits.map(|n| {
        let (ada, mut body) = (ada.clone(), copy.clone());
        body["notes"] = json!(format!("edit {n}"));
        Box::pin(async move { ada.put("/api/wardrobe/coat", body).await })
    });
    let (wears, edits) = tokio::join!(join_all(wears), join_all(edits));
    assert!(wears.iter().all(|answer| answer.code() == 200) && edits.iter().all(|answer| answer.code() == 204));
    let coat = stored(&app).await;
    assert_eq!((&coat["wearCount"], &coat["brand"], &coat["odd"]), (&json!(20), &json!("Cos"), &json!({"x": null})));
    assert!(coat["notes"].as_str().unwrap().starts_with("edit "));
}

/// The process dies after the item has counted a wear and before the event is saved.
#[tokio::test]
async fn a_wear_that_was_counted_before_a_crash_is_healed() {
    #[derive(Default)]
    struct Crash(AtomicBool);
    impl Interceptor for Crash {
        fn before(&self, call: &Call<'_>) -> Fate {
            let is_event = call.name == "store.create" && call.container == Some(Container::WearEvents);
            if is_event && self.0.load(Ordering::SeqCst) { Fate::Fails } else { Fate::Passes }
        }
    }
    let crash = Arc::new(Crash::default());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store = Intercepted::new(Arc::new(SqliteStore::in_memory(clock).unwrap()), crash.clone());
    let app = TestApp::builder().store(store).start();
    let ada = with_coat(&app).await;
    let total = async || {
        let wears = &app.state.data.wear_events;
        wears.count_of_item(&"ada".into(), &"coat".into()).await.unwrap()
    };
    // A repeat heals it.
    crash.0.store(true, Ordering::SeqCst);
    assert_eq!(wear(&ada, json!({"clientEventId": "a"})).await.json()["wearCount"], 1);
    crash.0.store(false, Ordering::SeqCst);
    assert_eq!(total().await, 0);
    assert_eq!(wear(&ada, json!({"clientEventId": "a"})).await.json()["wearCount"], 1);
    assert_eq!(total().await, 1);
    // So does the next wear, without which the item would forget the event.
    crash.0.store(true, Ordering::SeqCst);
    assert_eq!(wear(&ada, json!({"clientEventId": "b"})).await.json()["wearCount"], 2);
    assert_eq!(wear(&ada, json!({"clientEventId": "c"})).await.code(), 503, "nothing may be forgotten");
    crash.0.store(false, Ordering::SeqCst);
    assert_eq!(wear(&ada, json!({"clientEventId": "c"})).await.json()["wearCount"], 3);
    assert_eq!(total().await, 3);
    // And so does a look at the history.
    crash.0.store(true, Ordering::SeqCst);
    assert_eq!(wear(&ada, json!({"clientEventId": "d"})).await.json()["wearCount"], 4);
    crash.0.store(false, Ordering::SeqCst);
    assert_eq!(ada.get(HISTORY).await.json()["summary"]["totalInRange"], 4);
}

#[tokio::test]
async fn a_history_has_bounds_and_tells_what_it_does_not_know() {
    let app = TestApp::new();
    let ada = with_coat(&app).await;
    app.save(Container::Wardrobe, "ada", json!({"id": "coat", "userId": "ada", "wearCount": 9})).await;
    // As the .NET service writes them: the text with an offset sorts in the wrong place.
    for (id, at) in [
        ("a", json!("2026-01-31T23:30:00.1234567+00:00")),
        ("b", json!("2026-02-01T00:30:00+05:30")),
        ("c", json!("2026-02-10T23:59:59Z")),
        ("d", json!("2026-02-11T00:00:00Z")),
        ("e", Value::Null),
    ] {
        let event = json!({"id": id, "userId": "ada", "itemId": "coat", "occurredAt": at, "occasion": null, "new": 1});
        app.save(Container::WearEvents, "ada", event).await;
    }
    app.save(
        Container::WearEvents,
        "ada",
        json!({"id": "f", "userId": "ada", "itemId": "shirt", "occurredAt": "2020-01-01"}),
    )
    .await;
    app.save(
        Container::WearEvents,
        "eve",
        json!({"id": "g", "userId": "eve", "itemId": "coat", "occurredAt": "2020-01-01"}),
    )
    .await;
    for (query, expected) in [
        ("", "d c a b e"),
        ("?from=2026-02-01", "d c"),
        ("?to=2026-02-10", "c a b"),
        ("?from=2026-01-31T19:00:00Z&to=2026-02-10T23:59:59Z", "c a b"),
        ("?from=2026-01-31T19:00:01Z&to=2026-02-10T23:59:58Z", "a"),
        ("?from=soon&to=", "d c a b e"),
        ("?from=2026-03-01&to=2026-02-01", ""),
    ] {
        let history = ada.get(&format!("{HISTORY}{query}")).await.json();
        let ids: Vec<_> =
            history["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.join(" "), expected, "{query}");
        let summary = json!({
            "totalInRange": ids.len(), "trackedFrom": "2026-01-31T19:00:00.000Z", "legacyUntrackedCount": 4,
        });
        assert_eq!(history["summary"], summary, "{query}");
    }
}
