//! The built-in stylist with the demo wardrobe: questions by kind, sent through the router, with what their answers
//! must and must not contain.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use pluckit::llm::CallContext;
use pluckit::model::ids::UserId;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::caller::Caller;
use crate::support::model::{Kind, ModelServer, call, say};

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

/// Asks the questions of a file. Returns the kind of each, and what is wrong with its answer.
async fn ask_all(ada: &Caller, file: &str) -> Vec<(String, Option<String>)> {
    let mut outcomes = Vec::new();
    let path = format!("{}/tests/unit/stylist/{file}", env!("CARGO_MANIFEST_DIR"));
    let questions = std::fs::read_to_string(path).unwrap();
    for line in questions.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<&str> = line.split(" ~ ").map(str::trim).collect();
        let turns: Vec<&str> = columns[1].split(" / ").collect();
        // What one question has remembered is nothing to the next.
        ada.put("/api/chat/memory", json!({ "summary": "", "preferences": [] })).await;
        let (text, tools) = converse(ada, &turns).await;
        let faults = faults(&columns[2..], &text, &tools);
        let wrong = (!faults.is_empty()).then(|| format!("{}: {}\n{text}", columns[1], faults.join(", ")));
        outcomes.push((columns[0].to_owned(), wrong));
    }
    outcomes
}

#[tokio::test]
async fn questions_of_every_kind_are_answered() {
    let (_app, ada) = demo().await;
    let outcomes = ask_all(&ada, "questions.txt").await;
    assert!(outcomes.len() >= 150, "{}", outcomes.len());
    let mut kinds = BTreeMap::<&str, (u32, u32)>::new();
    for (kind, wrong) in &outcomes {
        let (good, all) = kinds.entry(kind.as_str()).or_default();
        *all += 1;
        *good += u32::from(wrong.is_none());
    }
    let wrong: Vec<&str> = outcomes.iter().filter_map(|(_, wrong)| wrong.as_deref()).collect();
    for (kind, (good, all)) in &kinds {
        let share = f64::from(*good) / f64::from(*all);
        assert!(share >= LEAST_SHARE, "{kind}: {good} of {all}\n\n{}", wrong.join("\n\n"));
    }
}

/// Periods, limits, follow-ups and temperatures: here every answer has to be right.
#[tokio::test]
async fn limits_and_what_was_shown_before_are_kept_to() {
    let (_app, ada) = demo().await;
    let outcomes = ask_all(&ada, "limits.txt").await;
    assert!(outcomes.len() >= 60, "{}", outcomes.len());
    let wrong: Vec<String> = outcomes.into_iter().filter_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Pieces with nothing but a category, and prices without an exchange rate.
#[tokio::test]
async fn bare_pieces_and_unknown_rates_are_told_as_they_are() {
    let app = TestApp::builder().setting("RATE_LIMITS", "false").start();
    let ada = app.user("ada").await;
    ada.put("/api/profile", json!({ "currencyCode": "EUR" })).await;
    for currency in ["EUR", "GBP", "CHF", "CHF"] {
        let price = json!({ "amount": 100, "originalCurrency": currency });
        let item = json!({ "category": "Tops", "price": price });
        assert_eq!(ada.post("/api/wardrobe", item).await.status, StatusCode::CREATED);
    }
    for (question, has, lacks) in [
        ("How many tops do I own?", "You own 4 tops.", "your top"),
        ("Show me my tops", "own 4 tops.", "your top"),
        ("How much is my wardrobe worth?", "2 more have prices in CHF, for which I have no exchange rate.", "no price"),
        ("How much did I spend on tops under 500 euros?", "\u{20ac}215.92 for two tops", "CHF"),
    ] {
        let (text, _) = converse(&ada, &[question]).await;
        assert!(text.contains(has) && !text.contains(lacks), "{question}\n{text}");
    }
}

#[tokio::test]
async fn a_small_wardrobe_is_told_for_what_it_is() {
    let app = TestApp::builder().setting("RATE_LIMITS", "false").start();
    let ada = app.user("ada").await;
    for (turns, has, lacks) in [
        (&["what do I own?"][..], "still empty", "gaps"),
        (&["is it going to rain?", "I need an outfit for tomorrow"], "still empty", "city"),
        (&["what should I wear today?"], "still empty", "another one"),
        (&["build me a capsule"], "still empty", "capsule;"),
    ] {
        let (text, _) = converse(&ada, turns).await;
        assert!(text.contains(has) && !text.contains(lacks), "{turns:?}\n{text}");
    }
    ada.put("/api/profile", json!({ "locationCity": "Madrid" })).await;
    for tags in [["navy", "knit dress"], ["green", "maxi dress"], ["black", "midi dress"]] {
        let item = json!({ "category": "Dresses", "tags": tags });
        assert_eq!(ada.post("/api/wardrobe", item).await.status, StatusCode::CREATED);
    }
    for (turns, has, lacks) in [
        (&["build an outfit around the green dress"][..], "nothing among your clothes to wear with", "- "),
        (&["what should I wear to work?", "something with trousers"], "any trousers", "Bottoms"),
        (&["pack for a weekend in Paris", "what about shoes?"], "any shoes", "Over it"),
        (&["what can I wear to the gym?"], "really made for the gym", "made to move in"),
        (&["what am I missing?", "only shoes"], "- shoes: 0 of 2", "tops"),
        (&["what should I wear to work?", "too formal"], "already the most casual", "Here's another"),
    ] {
        let (text, _) = converse(&ada, turns).await;
        assert!(text.contains(has) && !text.contains(lacks), "{turns:?}\n{text}");
    }
}

#[tokio::test]
async fn a_plan_has_as_many_days_as_were_asked_for_or_says_so() {
    let (_app, ada) = demo().await;
    for (message, days, says_so) in [
        ("Plan my outfits for the next 10 days", 10, false),
        ("Outfits for two weeks, please", 14, false),
        ("Outfits for the next 30 days", 14, true),
        ("Office outfits for two weeks", 10, false),
    ] {
        let (text, _) = converse(&ada, &[message]).await;
        let planned = text.split("\n\n").filter(|block| block.contains("\n- ")).count();
        assert_eq!((planned, text.contains("I plan at most 14 days")), (days, says_so), "{message}\n{text}");
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

/// Questions, the call that a language model makes for each, and what is in the result: after `!` what is not.
const CALLS: [(&str, &str, &str, &[&str]); 18] = [
    (
        "What did I wear last week?",
        "get_wear_history",
        r#"{"from":"2026-02-23","to":"2026-03-01"}"#,
        &["weekday", "occasion", "items"],
    ),
    (
        "When did I last wear my camel coat?",
        "get_wear_history",
        r#"{"item_ids":["demo-camel-wool-coat"]}"#,
        &["camel Arket coat", "date"],
    ),
    ("What did I wear in 1999?", "get_wear_history", r#"{"from":"1999-01-01","to":"1999-12-31"}"#, &["\"wears\":[]"]),
    ("What did my camel coat cost?", "search_wardrobe", r#"{"query":"camel coat"}"#, &["279", "EUR", "bought"]),
    (
        "What was my most expensive piece?",
        "search_wardrobe",
        r#"{"query":"","sort_by":"price","order":"desc"}"#,
        &["Carmina", "395"],
    ),
    (
        "What is my best buy?",
        "search_wardrobe",
        r#"{"query":"","sort_by":"cost_per_wear","order":"asc"}"#,
        &["Anderson's belt"],
    ),
    ("What did I buy last?", "search_wardrobe", r#"{"query":"","sort_by":"bought","order":"desc"}"#, &["terracotta"]),
    (
        "What have I never worn?",
        "search_wardrobe",
        r#"{"query":"","sort_by":"wear_count","order":"asc"}"#,
        &["\"wear_count\":0", "Ganni"],
    ),
    ("Which of my coats are waterproof?", "search_wardrobe", r#"{"query":"waterproof coats"}"#, &["stone Mango coat"]),
    (
        "How much have I spent on clothes?",
        "get_wardrobe_summary",
        "{}",
        &["\"spent\"", "by_category", "items_with_price", "EUR"],
    ),
    ("Will it rain in Oslo this week?", "get_weather", r#"{"city":"Oslo","days":7}"#, &["Oslo", "not available"]),
    (
        "Pack for 5 days in Lisbon",
        "plan_outfits",
        r#"{"days":5,"place":"Lisbon","occasions":["travel","casual dinner"]}"#,
        &["\"packing\"", "\"count\"", "Friday"],
    ),
    (
        "What should I wear to the office tomorrow?",
        "plan_outfits",
        r#"{"from":"2026-03-03","occasions":["office"]}"#,
        &["Tuesday", "\"slot\":\"shoes\"", "\"why\"", "!sandals"],
    ),
    ("Outfits for the week, please", "plan_outfits", r#"{"days":7}"#, &["Monday", "Sunday"]),
    (
        "Never suggest brown shoes again",
        "remember_preference",
        r#"{"text":"brown shoes","kind":"dislike"}"#,
        &["\"remembered\":\"brown shoes\""],
    ),
    (
        "What should I wear to dinner?",
        "plan_outfits",
        r#"{"occasions":["dinner"]}"#,
        &["\"slot\":\"shoes\"", "!brown Carmina"],
    ),
    (
        "My office is cold, remember that",
        "remember_preference",
        r#"{"text":"my office is cold","kind":"fact"}"#,
        &["remembered"],
    ),
    (
        "Brown shoes are fine after all",
        "forget_preference",
        r#"{"text":"brown shoes"}"#,
        &["\"forgotten\":[\"brown shoes\"]"],
    ),
];

#[tokio::test]
async fn a_language_model_gets_from_the_tools_what_the_questions_need() {
    let server = ModelServer::start().await;
    let app = TestApp::builder().model_server(&server).start();
    app.load_demo(&UserId::from("ada")).await;
    let ada = app.user("ada").await;
    // It calls the tool that the question is for, and then tells what it got.
    server.when(
        |received| received.kind == Kind::Stream && received.tool_results() == 0,
        |received| {
            let question = received.last_message();
            let (_, tool, arguments, _) = CALLS.iter().find(|(known, ..)| *known == question).unwrap();
            call("c1", tool, arguments)
        },
    );
    server.when(|received| received.kind == Kind::Stream, |received| say(&[received.last_message()]));
    for (question, tool, _, parts) in CALLS {
        let (text, tools) = converse(&ada, &[question]).await;
        assert_eq!(tools, [tool], "{question}");
        for part in parts {
            let holds = match part.strip_prefix('!') {
                Some(part) => !text.contains(part),
                None => text.contains(part),
            };
            assert!(holds, "{question}: {part}\n{text}");
        }
    }
    let prompts: Vec<String> =
        server.received().iter().map(|received| received.body["messages"][0].to_string()).collect();
    let told = |text: &str| prompts.iter().filter(|prompt| prompt.contains(text)).count();
    assert!(told("dislikes: brown shoes") > 0 && told("fact: my office is cold") > 0);
    assert!(!prompts.last().unwrap().is_empty());
    let kept = ada.get("/api/chat/memory").await.json();
    assert_eq!(
        (&kept["preferences"][0]["text"], kept["preferences"].as_array().unwrap().len()),
        (&json!("my office is cold"), 1)
    );
}

#[tokio::test]
async fn the_digest_of_a_user_who_dislikes_brown_has_nothing_brown() {
    let ideas = r#"{"suggestions": [
        {"item": "Brown suede loafers", "rationale": "You wear loafers most."},
        {"item": "Tan leather belt", "rationale": "It goes with your chinos."},
        {"item": "Navy cap", "rationale": "You own one accessory."}]}"#;
    let server = ModelServer::start().await;
    server.when(|received| received.kind == Kind::Complete, move |_| say(&[ideas]));
    let app = TestApp::builder().model_server(&server).start();
    app.load_demo(&UserId::from("ada")).await;
    let ada = app.user("ada").await;
    let items = |answer: Value| -> Vec<String> {
        let ideas = answer["digest"]["suggestions"].as_array().unwrap().clone();
        ideas.iter().map(|idea| idea["item"].as_str().unwrap().to_owned()).collect()
    };
    let before = items(ada.post("/api/digest/run?force=true", json!({})).await.json());
    assert_eq!(before[0], "Brown suede loafers");
    let brown = json!({ "summary": "", "preferences": [{ "text": "brown", "kind": "dislike" }] });
    assert_eq!(ada.put("/api/chat/memory", brown).await.status, StatusCode::OK);
    let after = items(ada.post("/api/digest/run?force=true", json!({})).await.json());
    assert_eq!(after, ["Navy cap"]);
    assert!(server.received().last().unwrap().body.to_string().contains("brown"), "the model is told");
}

#[tokio::test]
async fn the_built_in_digest_obeys_dislikes_too() {
    let (_app, ada) = demo().await;
    let has_navy = |answer: &Value| answer["digest"]["suggestions"].to_string().to_lowercase().contains("navy");
    assert!(has_navy(&ada.post("/api/digest/run?force=true", json!({})).await.json()));
    ada.put("/api/chat/memory", json!({ "summary": "", "preferences": [{ "text": "navy", "kind": "dislike" }] })).await;
    let digest = ada.post("/api/digest/run?force=true", json!({})).await.json();
    assert!(
        !has_navy(&digest) && digest["digest"]["suggestions"].as_array().is_some_and(|ideas| !ideas.is_empty()),
        "{digest}"
    );
}

/// The conversations in `docs/conversations.md` are held anew, and the answers are the same.
#[tokio::test]
async fn the_documented_conversations_are_what_the_stylist_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conversations.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (_app, ada) = demo().await;
    let (mut held, mut recent, mut is_answer) = (String::new(), Vec::new(), false);
    let mut count = (0, 0);
    for line in document.lines() {
        if is_answer {
            is_answer = line != "```";
            continue;
        }
        if line == "```text" {
            is_answer = true;
            continue;
        }
        held += line;
        held.push('\n');
        if line.starts_with("## ") {
            recent.clear();
            ada.put("/api/chat/memory", json!({ "summary": "", "preferences": [] })).await;
            count.0 += 1;
        }
        if let Some(message) = line.strip_prefix("> ") {
            let answer = ada.post("/api/chat", json!({ "message": message, "recentMessages": recent })).await;
            let events = answer.events();
            let tokens = events.iter().filter(|event| event["type"] == "token");
            let text: String = tokens.map(|event| event["content"].as_str().unwrap()).collect();
            held += &format!("\n```text\n{text}\n```\n");
            recent.push(json!({ "role": "user", "content": message }));
            recent.push(json!({ "role": "assistant", "content": text }));
            count.1 += 1;
        }
    }
    let held = held.replace("```\n\n\n", "```\n\n").trim_end().to_owned() + "\n";
    if held != document {
        let out = std::env::temp_dir().join("conversations.md");
        std::fs::write(&out, &held).unwrap();
        panic!("docs/conversations.md is out of date; what is said now is in {}", out.display());
    }
    assert_eq!(count, (10, 60));
}
