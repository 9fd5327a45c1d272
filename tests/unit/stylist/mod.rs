//! The built-in stylist with the demo wardrobe: questions by kind, asked through the router, and what their answers must
//! and must not say.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use pluckit::llm::CallContext;
use pluckit::model::ids::UserId;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::caller::Caller;

/// Of each kind of question at least this share has to be answered right.
const LEAST_SHARE: f64 = 0.9;

/// The demo wardrobe, its owner, and no weather service that anybody could reach.
async fn demo() -> (TestApp, Caller) {
    let app = TestApp::builder()
        .setting("OPEN_METEO_GEOCODING_URL", "http://127.0.0.1:9")
        .setting("OPEN_METEO_FORECAST_URL", "http://127.0.0.1:9")
        .setting("RATE_LIMITS", "false")
        .start();
    app.load_demo(&UserId::from("ada")).await;
    let ada = app.user("ada").await;
    (app, ada)
}

/// Asks the turns one after the other. Returns the last answer and the tools that it took.
async fn converse(ada: &Caller, turns: &[&str]) -> (String, Vec<String>) {
    let (mut recent, mut last) = (Vec::new(), (String::new(), Vec::new()));
    for message in turns {
        let answer = ada.post("/api/chat", json!({ "message": message, "recentMessages": recent })).await;
        assert_eq!(answer.status, StatusCode::OK, "{message}");
        let events = answer.events();
        let of = |kind: &str, field: &str| -> Vec<String> {
            let events = events.iter().filter(|event| event["type"] == kind);
            events.map(|event| event[field].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("error", "content"), Vec::<String>::new(), "{message}");
        last = (of("token", "content").concat(), of("tool_use", "name"));
        recent.push(json!({ "role": "user", "content": message }));
        recent.push(json!({ "role": "assistant", "content": last.0 }));
    }
    last
}

/// What is wrong with an answer.
fn faults(checks: &[&str], text: &str, tools: &[String]) -> Vec<String> {
    let lower = text.to_lowercase();
    let has = |part: &str| lower.contains(&part.to_lowercase());
    let holds = |check: &&&str| {
        let (kind, rest) = check.split_at(1);
        match kind {
            "+" => rest.split('|').any(has),
            "-" => !has(rest),
            "@" => tools.iter().any(|tool| tool == rest),
            "#" => {
                let blocks = lower.split("\n\n").filter(|block| block.matches("\n- ").count() >= 2);
                blocks.collect::<BTreeSet<_>>().len() >= rest.parse().unwrap()
            }
            other => panic!("no such check: {other}"),
        }
    };
    let mut faults: Vec<String> =
        checks.iter().filter(|check| !holds(check)).map(|check| (*check).to_owned()).collect();
    // These hold for every answer.
    for never in ["tagged", "http", "{", "  ", "None", "nan"] {
        if text.contains(never) {
            faults.push(format!("says {never:?}"));
        }
    }
    if text.trim().is_empty() {
        faults.push("says nothing".to_owned());
    }
    faults
}

#[tokio::test]
async fn questions_of_every_kind_are_answered() {
    let (_app, ada) = demo().await;
    let (mut kinds, mut wrong) = (BTreeMap::<&str, (u32, u32)>::new(), Vec::new());
    let lines = include_str!("questions.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let columns: Vec<&str> = line.split(" ~ ").map(str::trim).collect();
        let turns: Vec<&str> = columns[1].split(" / ").collect();
        // What one question has remembered is nothing to the next.
        ada.put("/api/chat/memory", json!({ "summary": "", "preferences": [] })).await;
        let (text, tools) = converse(&ada, &turns).await;
        let faults = faults(&columns[2..], &text, &tools);
        let (good, all) = kinds.entry(columns[0]).or_default();
        *all += 1;
        *good += u32::from(faults.is_empty());
        if !faults.is_empty() {
            wrong.push(format!("{}: {}\n{text}", columns[1], faults.join(", ")));
        }
    }
    let total: u32 = kinds.values().map(|(_, all)| all).sum();
    assert!(total >= 150, "{total}");
    for (kind, (good, all)) in &kinds {
        let share = f64::from(*good) / f64::from(*all);
        assert!(share >= LEAST_SHARE, "{kind}: {good} of {all}\n\n{}", wrong.join("\n\n"));
    }
}

#[tokio::test]
async fn what_is_rejected_in_a_conversation_never_comes_back() {
    let (_app, ada) = demo().await;
    let turns = [
        "What should I wear to a casual dinner?",
        "not the loafers please",
        "another one",
        "make it warmer",
        "another one",
    ];
    for length in 2..=turns.len() {
        let (text, _) = converse(&ada, &turns[..length]).await;
        assert!(text.contains("- ") && !text.contains("Carmina"), "{text}");
    }
}

#[tokio::test]
async fn a_preference_outlives_the_conversation_and_is_shown() {
    let (_app, ada) = demo().await;
    converse(&ada, &["Never suggest brown shoes again"]).await;
    let memory = ada.get("/api/chat/memory").await.json();
    assert_eq!(memory["preferences"][0]["text"], "brown shoes");
    let (text, _) = converse(&ada, &["What should I wear to the office?"]).await;
    assert!(!text.contains("brown Carmina"), "{text}");
    let (text, _) = converse(&ada, &["what do you remember about me?"]).await;
    assert!(text.contains("brown shoes"), "{text}");
    converse(&ada, &["forget that I dislike brown shoes"]).await;
    assert_eq!(ada.get("/api/chat/memory").await.json()["preferences"], json!([]));
}

/// Every piece that an answer calls the user's is one that they own.
#[tokio::test]
async fn only_owned_pieces_are_named_as_owned() {
    let (_app, ada) = demo().await;
    let wardrobe: Vec<Value> = serde_json::from_str(include_str!("../../../demo/wardrobe.json")).unwrap();
    let unowned: Vec<&str> = wardrobe
        .iter()
        .filter(|item| item["isWishlisted"] == true || !item["draftStatus"].is_null())
        .filter_map(|item| item["brand"].as_str())
        .collect();
    for message in
        ["What goes with my Polène bag?", "show me my bags", "What should I wear today?", "do I have an overshirt?"]
    {
        let (text, _) = converse(&ada, &[message]).await;
        for brand in &unowned {
            assert!(
                !text.contains(&format!("your black {brand}")) && !text.contains(&format!("your charcoal {brand}")),
                "{text}"
            );
        }
    }
}

/// Of the pieces that are right for a search, the share that is among the first five, over all searches.
#[tokio::test]
async fn searches_find_what_words_mean() {
    const LEAST_RECALL: f64 = 0.85;
    let (app, _) = demo().await;
    let tool = app.state.chat.tool("search_wardrobe").unwrap();
    let (mut recall, mut misses, mut count) = (0.0, Vec::new(), 0);
    for line in include_str!("searches.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (query, right) = line.split_once(" ~ ").unwrap();
        let right: BTreeSet<String> = right.split(' ').map(|id| format!("demo-{id}")).collect();
        let arguments = json!({ "query": query }).to_string();
        let result = tool.run(&UserId::from("ada"), &CallContext::service(), &arguments).await.unwrap();
        let result: Value = serde_json::from_str(&result).unwrap();
        let found = result["items"].as_array().unwrap().iter().take(5).map(|item| item["id"].as_str().unwrap());
        let hits = found.filter(|id| right.contains(*id)).count();
        let share = hits as f64 / right.len().min(5) as f64;
        if share < 1.0 {
            misses.push(format!("{query}: {share:.2}"));
        }
        recall += share;
        count += 1;
    }
    assert!(count >= 60, "{count}");
    recall /= f64::from(count);
    assert!(recall >= LEAST_RECALL, "{recall:.3}; missed: {}", misses.join(", "));
}
