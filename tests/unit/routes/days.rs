//! Days of a person: with `X-UTC-Offset`, "today" and the days of wears are those of their clock.

use std::sync::Arc;

use axum::http::StatusCode;
use pluckit::base::clock::ManualClock;
use pluckit::store::Container;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::support::caller::{Answer, Caller};
use crate::support::model::{Kind, ModelServer, Received, call, say};
use crate::support::{TestApp, refusal};

const OFFSET: &str = "x-utc-offset";
const REFUSAL: &str = "X-UTC-Offset must be an offset from -12:00 to +14:00, or Z.";
/// In California it is still Sunday, the 1st of March.
const EVENING: OffsetDateTime = datetime!(2026-03-02 01:00 UTC);
/// In Auckland it is already Monday, the 2nd of March.
const MORNING: OffsetDateTime = datetime!(2026-03-01 20:00 UTC);

fn app_at(now: OffsetDateTime) -> TestApp {
    TestApp::builder().clock(Arc::new(ManualClock::new(now))).start()
}

async fn own(app: &TestApp, id: &str, fields: Value) {
    let mut document = json!({ "id": id, "userId": "ada", "dateAdded": "2026-01-02T00:00:00Z" });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    app.save(Container::Wardrobe, "ada", document).await;
}

async fn caller(app: &TestApp, offset: Option<&str>) -> Caller {
    let ada = app.user("ada").await;
    match offset {
        Some(offset) => ada.header(OFFSET, offset),
        None => ada,
    }
}

/// Sends a message in one of the three forms of a turn.
async fn say_in(caller: &Caller, form: &str) -> Answer {
    let completion = json!({ "model": "pluckit-stylist", "messages": [{ "role": "user", "content": "Hi" }] });
    let of_page = json!({ "id": "page", "messages": [{ "id": "1", "role": "user", "parts": [{ "type": "text", "text": "Hi" }] }] });
    match form {
        "plain" => caller.post("/api/chat", json!({ "message": "Hi" })).await,
        "useChat" => caller.post("/api/chat", of_page).await,
        _ => caller.post("/api/v1/chat/completions", completion).await,
    }
}

/// What the model was told first, and the last result of a tool.
fn prompt_and_result(server: &ModelServer) -> (String, Value) {
    let last: Received = server.received().into_iter().rfind(|request| request.kind == Kind::Stream).unwrap();
    let messages = last.body["messages"].as_array().unwrap();
    let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
    (text(&messages[0]), serde_json::from_str(&text(messages.last().unwrap())).unwrap())
}

async fn call_tool(caller: &Caller, name: &str, arguments: Value) -> Result<Value, String> {
    let params = json!({ "name": name, "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let answer = caller.post("/api/mcp", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let result = answer.json()["result"].clone();
    match result["isError"] == true {
        true => Err(result["content"][0]["text"].as_str().unwrap().to_owned()),
        false => Ok(result["structuredContent"].clone()),
    }
}

async fn tool(caller: &Caller, name: &str, arguments: Value) -> Value {
    call_tool(caller, name, arguments).await.unwrap()
}

#[tokio::test]
async fn today_is_the_day_of_the_person_who_asks() {
    for (now, offset, today) in [
        (EVENING, None, "Monday, 2026-03-02"),
        (EVENING, Some("Z"), "Monday, 2026-03-02"),
        (EVENING, Some("-08:00"), "Sunday, 2026-03-01"),
        (EVENING, Some("-00:59"), "Monday, 2026-03-02"),
        (EVENING, Some("-01:01"), "Sunday, 2026-03-01"),
        (MORNING, None, "Sunday, 2026-03-01"),
        (MORNING, Some("+13:00"), "Monday, 2026-03-02"),
        (MORNING, Some("+05:30"), "Monday, 2026-03-02"),
    ] {
        for form in ["plain", "useChat", "openai"] {
            let server = ModelServer::start().await;
            let app = TestApp::builder().clock(Arc::new(ManualClock::new(now))).model_server(&server).start();
            own(&app, "shirt", json!({ "category": "Tops" })).await;
            server.push(Kind::Stream, call("a", "plan_outfits", "{}"));
            server.push(Kind::Stream, say(&["Wear the shirt."]));
            let answer = say_in(&caller(&app, offset).await, form).await;
            assert_eq!(answer.status, StatusCode::OK, "{form}: {}", answer.text());
            let (prompt, plan) = prompt_and_result(&server);
            assert!(prompt.contains(&format!("\n\nToday is {today}.")), "{form} {offset:?}: {prompt}");
            let outfit = &plan["outfits"][0];
            let planned = format!("{}, {}", outfit["weekday"].as_str().unwrap(), outfit["date"].as_str().unwrap());
            assert_eq!(planned, today, "{form} {offset:?}");
        }
    }
}

#[tokio::test]
async fn a_wear_is_told_on_the_day_of_the_person() {
    for (now, offset, today, yesterday) in [
        (EVENING, "-08:00", ("2026-03-01", "Sunday"), "2026-02-28"),
        (MORNING, "+13:00", ("2026-03-02", "Monday"), "2026-03-01"),
    ] {
        let app = app_at(now);
        for id in ["coat", "hat", "boots", "scarf", "gloves"] {
            own(&app, id, json!({ "category": "Outerwear", "wearCount": 1 })).await;
        }
        let (ada, days) = (caller(&app, Some(offset)).await, json!({ "from": today.0, "to": today.0 }));
        let logged = tool(&ada, "log_wear", json!({ "item_id": "coat", "idempotency_key": "now" })).await;
        assert_eq!(logged["item"]["last_worn"], today.0);
        for (id, worn_at) in [("hat", today.0), ("boots", yesterday)] {
            let wear = json!({ "item_id": id, "idempotency_key": "day", "worn_at": worn_at });
            assert_eq!(tool(&ada, "log_wear", wear).await["item"]["last_worn"], worn_at, "{offset}");
        }
        let history = tool(&ada, "get_wear_history", days.clone()).await;
        let wears = history["wears"].as_array().unwrap();
        let worn: Vec<&Value> = wears.iter().flat_map(|wear| wear["items"].as_array().unwrap()).collect();
        assert_eq!(worn.len(), 2, "{history}");
        assert!(worn.iter().all(|item| item["id"] == "coat" || item["id"] == "hat"), "{history}");
        for wear in wears {
            assert_eq!((wear["date"].as_str().unwrap(), wear["weekday"].as_str().unwrap()), today);
        }
        // Without dates, the history ends today.
        let lately = tool(&ada, "get_wear_history", json!({})).await;
        assert_eq!((lately["to"].as_str().unwrap(), lately["wears"].as_array().unwrap().len()), (today.0, 3));
        let by_item = json!({ "item_ids": ["boots"], "from": yesterday, "to": yesterday });
        assert_eq!(tool(&ada, "get_wear_history", by_item).await["wears"][0]["date"], yesterday);

        let found = tool(&ada, "search_wardrobe", json!({ "query": "", "worn_from": today.0, "min_wears": 1 })).await;
        let mut ids: Vec<&str> =
            found["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["coat", "hat"], "{found}");
        let patterns = tool(&ada, "get_wear_patterns", json!({})).await;
        let ranked = patterns["topRankedItems"].as_array().unwrap();
        let boots = ranked.iter().find(|item| item["id"] == "boots").unwrap();
        assert_eq!(boots["lastWornAt"], format!("{yesterday}T12:00:00.000{offset}"));
        assert_eq!(boots["daysSinceLastWorn"], 1);
    }
}

#[tokio::test]
async fn a_wear_is_stored_in_utc_whatever_form_its_time_has() {
    let app = app_at(EVENING);
    own(&app, "coat", json!({ "category": "Outerwear" })).await;
    let (here, ada) = (caller(&app, Some("-08:00")).await, app.user("ada").await);
    for (number, (worn_at, stored)) in [
        // A day is stored as its noon, which is the same day with every offset nearby.
        ("2026-02-28", "2026-02-28T20:00:00.000Z"),
        ("2026-02-27T19:30", "2026-02-28T03:30:00.000Z"),
        ("2026-02-26T19:30:00Z", "2026-02-26T19:30:00.000Z"),
        ("2026-02-25T19:30:00+01:00", "2026-02-25T18:30:00.000Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let wear = json!({ "item_id": "coat", "idempotency_key": worn_at, "worn_at": worn_at });
        tool(&here, "log_wear", wear).await;
        let history = ada.get("/api/wardrobe/coat/wear-history").await.json();
        assert_eq!(history["events"][number]["occurredAt"], stored, "{worn_at}");
    }
    // Without an offset, the day of a person in the far east may be tomorrow, but none is later.
    let wear = |day: &str| json!({ "item_id": "coat", "idempotency_key": day, "worn_at": day });
    assert_eq!(tool(&ada, "log_wear", wear("2026-03-03")).await["item"]["last_worn"], "2026-03-03");
    for day in ["2026-03-04", "9999-12-31"] {
        assert!(call_tool(&here, "log_wear", wear(day)).await.unwrap_err().contains("must not be in the future"));
    }
}

#[tokio::test]
async fn days_at_the_ends_of_the_calendar_are_days() {
    let app = app_at(EVENING);
    own(&app, "coat", json!({ "category": "Outerwear" })).await;
    for offset in ["-12:00", "+14:00"] {
        let ada = caller(&app, Some(offset)).await;
        let ends = json!({ "from": "0000-01-01", "to": "9999-12-31" });
        assert_eq!(tool(&ada, "get_wear_history", ends).await["from"], "0000-01-01");
        let ends = json!({ "query": "", "worn_from": "0000-01-01", "worn_to": "9999-12-31" });
        tool(&ada, "search_wardrobe", ends).await;
    }
}

#[tokio::test]
async fn a_piece_that_is_a_resource_was_last_worn_on_the_day_of_the_person() {
    let app = app_at(EVENING);
    own(&app, "coat", json!({ "lastWornAt": "2026-03-02T00:30:00Z", "purchaseDate": "2026-01-05" })).await;
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": "wardrobe://items/coat" } });
    for (offset, day) in [(None, "2026-03-02"), (Some("-08:00"), "2026-03-01")] {
        let answer = caller(&app, offset).await.post("/api/mcp", body.clone()).await.json();
        let piece: Value = serde_json::from_str(answer["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
        // A purchase has a day and no time.
        assert_eq!((&piece["last_worn"], &piece["bought"]), (&json!(day), &json!("2026-01-05")));
    }
}

#[tokio::test]
async fn an_offset_that_is_none_is_refused() {
    let app = TestApp::new();
    for wrong in ["", "PST", "-8", "-0800", "-13:00", "+14:01", "+01:60", "-08:00:00", "\u{e9}"] {
        let ada = caller(&app, Some(wrong)).await;
        assert_eq!(say_in(&ada, "plain").await.summary(), (400, refusal(REFUSAL)), "{wrong}");
        assert_eq!(say_in(&ada, "useChat").await.summary(), (400, refusal(REFUSAL)), "{wrong}");
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        assert_eq!(ada.post("/api/mcp", list).await.summary(), (400, refusal(REFUSAL)), "{wrong}");
        let answer = say_in(&ada, "openai").await;
        assert_eq!((answer.status, &answer.json()["error"]["message"]), (StatusCode::BAD_REQUEST, &json!(REFUSAL)));
    }
    let twice = app.user("ada").await.header(OFFSET, "Z").header(OFFSET, "Z");
    assert_eq!(say_in(&twice, "plain").await.summary(), (400, refusal(REFUSAL)));
}
