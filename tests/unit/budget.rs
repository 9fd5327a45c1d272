//! Token budgets: every model call on a user's behalf is charged, however it ends.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use http_body_util::BodyExt;
use pluckit::llm::Payer;
use pluckit::store::Container;
use pluckit::workers::{Delivery, taste};
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::model::{Answer, Kind, ModelServer, Received, Step, delta, finish, say, text};
use crate::support::web::{self, Web};
use crate::support::{TestApp, until};

const DESCRIPTION: &str = r#"{"styleKeywords": ["boxy"], "colors": ["navy"], "garments": ["coat"], "brand": null}"#;
const DIGEST: &str = r#"{"suggestions": [{"item": "Belt", "rationale": "It holds."}]}"#;

fn app(server: &ModelServer, tokens: u64) -> TestApp {
    let builder = TestApp::builder().model_server(server);
    builder.setting("MODEL_TOKENS_PER_USER_AND_DAY", &tokens.to_string()).setting("CHAT_STREAMS_PER_USER", "50").start()
}

async fn spent(app: &TestApp, user: &str) -> u64 {
    let today = pluckit::base::clock::Clock::now(&*app.clock).date();
    let found = app.state.data.usage.find(&Payer::User(user.into()), today).await.unwrap();
    found.map_or(0, |(day, _)| day.tokens)
}

async fn ask(caller: &Caller) -> crate::support::caller::Answer {
    caller.post("/api/chat", json!({"message": "Hello"})).await
}

/// Begins a turn, reads until this is in it, and leaves.
async fn leave_after(caller: &Caller, piece: &str) -> StatusCode {
    let body = json!({"message": "Hello"}).to_string();
    let response = caller.begin(Method::POST, "/api/chat", Some("application/json"), body).await;
    let (status, mut body) = (response.status(), response.into_body());
    let mut seen = String::new();
    while status == StatusCode::OK && !seen.contains(piece) {
        let frame = body.frame().await.expect("the piece comes").unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    status
}

/// The size of a request in tokens, as it is estimated: a quarter of its text.
fn prompt_tokens(request: &Received) -> u64 {
    let messages = request.body["messages"].as_array().unwrap().iter();
    let text = messages.filter_map(|message| message["content"].as_str()).map(str::len).sum::<usize>();
    // The tools are a part of the prompt.
    let tools = request.body["tools"].as_array().into_iter().flatten().map(|tool| {
        let function = &tool["function"];
        let texts = ["name", "description"].map(|field| function[field].as_str().map_or(0, str::len));
        texts[0] + texts[1] + function["parameters"].to_string().len()
    });
    (text + tools.sum::<usize>()) as u64 / 4
}

#[tokio::test]
async fn the_budget_is_charged_with_the_tokens_the_server_counted() {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&["Hello."]).usage(60, 50));
    let app = app(&server, 100_000);
    assert_eq!(ask(&app.user("ada").await).await.status, StatusCode::OK);
    until("the estimate is corrected", async || spent(&app, "ada").await == 110).await;
    assert_eq!(spent(&app, "eve").await, 0);
}

#[tokio::test]
async fn a_client_that_disconnects_pays_for_the_prompt_and_the_tokens_so_far() {
    let server = ModelServer::start().await;
    server.otherwise(|_| {
        let steps = (0..40).map(|number| text(&format!("word{number} "))).chain([Step::Stall]);
        Answer::Steps(steps.collect())
    });
    let app = app(&server, 1_000_000);
    let ada = app.user("ada").await;
    assert_eq!(leave_after(&ada, "word39").await, StatusCode::OK);
    assert!(server.wait_for_closed_early(1, Duration::from_secs(10)).await.is_some());
    let least = prompt_tokens(&server.received()[0]) + 40;
    // The reservation for an answer of any length was more.
    until("the estimate is corrected", async || (least..least + 1_000).contains(&spent(&app, "ada").await)).await;
}

#[tokio::test]
async fn a_budget_cannot_be_evaded_by_leaving_or_by_a_server_that_counts_nothing() {
    for leaves in [true, false] {
        let server = ModelServer::start().await;
        server
            .otherwise(|_| Answer::Steps(vec![text("one "), text("two "), text("three"), finish("stop"), Step::Done]));
        let app = app(&server, 5_000);
        let ada = app.user("ada").await;
        let mut turns = 0;
        loop {
            let status = if leaves { leave_after(&ada, "two").await } else { ask(&ada).await.status };
            if status == StatusCode::TOO_MANY_REQUESTS {
                break;
            }
            assert_eq!(status, StatusCode::OK);
            turns += 1;
            assert!(turns < 20, "5,000 tokens do not last for so many turns");
            let begun = turns;
            until("the reader has left", async || server.open() == 0 && server.count() >= begun).await;
        }
        assert!(turns > 1);
    }
}

#[tokio::test]
async fn turns_at_the_same_time_cannot_overdraw_a_budget_by_more_than_one() {
    let server = ModelServer::start().await;
    server.otherwise(|_| Answer::Silence);
    let app = app(&server, 5_000);
    let ada = app.user("ada").await;
    let body = json!({"message": "Hello"}).to_string();
    let turns = (0..30).map(|_| ada.begin(Method::POST, "/api/chat", Some("application/json"), body.clone()));
    let turns = join_all(turns).await;
    // Each is some 1,900 tokens: a prompt with its tools, and an answer.
    until("those that may have asked", async || server.count() > 0).await;
    let mut bodies = Vec::new();
    for turn in turns {
        match turn.status() {
            StatusCode::OK => bodies.push(turn.into_body()),
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    // The routes admit all, because nothing was spent yet; calls of the model are limited.
    until("the budget is reserved", async || spent(&app, "ada").await >= 5_000).await;
    assert!((1..=4).contains(&server.count()), "{} turns ask the model", server.count());
    let refused = ask(&ada).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "5"));
    drop(bodies);
    // Only the prompts were paid for.
    until("the reservations are given back", async || spent(&app, "ada").await < 5_000).await;
    server.otherwise(|_| say(&["Hello."]).usage(1, 1));
    assert_eq!(ask(&ada).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_call_that_the_server_refuses_costs_nothing() {
    let server = ModelServer::start().await;
    server.otherwise(|_| Answer::error(401, "invalid_api_key", "wrong key"));
    let app = app(&server, 5_000);
    ask(&app.user("ada").await).await;
    until("nothing is spent", async || spent(&app, "ada").await == 0).await;
}

async fn own_clothes(app: &TestApp) {
    for number in 0..5 {
        let item = json!({"id": format!("i{number}"), "userId": "ada", "category": "tops", "wearCount": number});
        app.save(Container::Wardrobe, "ada", item).await;
    }
}

#[tokio::test]
async fn long_operations_are_paid_for_and_refused_like_the_others() {
    let server = ModelServer::start().await;
    server.otherwise(|_| say(&[DIGEST]).usage(300, 200));
    let app = app(&server, 900);
    own_clothes(&app).await;
    let ada = app.user("ada").await;
    let later = ada.clone().header("prefer", "respond-async");
    let run = async |key: &'static str| {
        later.clone().header("idempotency-key", key).post("/api/digest/run?force=true", json!({})).await
    };
    let first = run("a").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    app.work_all().await;
    until("the first is paid for", async || spent(&app, "ada").await == 500).await;
    assert_eq!(ada.get(first.header("location")).await.json()["status"], "Completed");
    // Two jobs are accepted while there are tokens, but the budget covers only one.
    let (second, third) = (run("b").await, run("c").await);
    app.work_all().await;
    assert_eq!(ada.get(second.header("location")).await.json()["status"], "Completed");
    let third = ada.get(third.header("location")).await.json();
    assert_eq!(
        (&third["status"], &third["error"]),
        (&json!("Failed"), &json!("The day's budget for the stylist is used up. The job can be restarted tomorrow."))
    );
    assert_eq!(server.count(), 2);
    let is_refused = |answer: crate::support::caller::Answer| {
        let midnight = ((14 * 60 + 45) * 60).to_string();
        answer.status == StatusCode::TOO_MANY_REQUESTS && answer.header("retry-after") == midnight
    };
    assert!(is_refused(run("d").await), "a new one");
    assert!(is_refused(ada.post("/api/digest/run?force=true", json!({})).await), "while the caller waits");
    assert!(is_refused(ada.post(&format!("{}/restart", first.header("location")), json!({})).await), "restarted");
    assert_eq!(run("a").await.json()["id"], first.json()["id"], "a request that is repeated is known");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_suggested_shop_is_paid_for() {
    let (server, web) = (ModelServer::start().await, Web::start().await);
    web.page("https://shop.example/new", |_| web::page("text/html", "<li class=p><h3>Coat</h3></li>"));
    server.otherwise(|_| say(&[r#"{"productContainer": "li.p", "title": "h3"}"#]).usage(700, 300));
    let builder = TestApp::builder().model_server(&server).web(&web);
    let app = builder.setting("MODEL_TOKENS_PER_USER_AND_DAY", "900").start();
    let ada = app.user("ada").await;
    let suggest = async |name: &str| {
        ada.post("/api/scraper/sources", json!({"name": name, "url": "https://shop.example/new"})).await
    };
    assert_eq!(suggest("One").await.status, StatusCode::CREATED);
    until("it is paid for", async || spent(&app, "ada").await == 1_000).await;
    assert_eq!(suggest("Two").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn the_picture_of_a_vote_is_paid_for_by_the_voter() {
    let (server, web) = (ModelServer::start().await, Web::start().await);
    // Nobody decodes it on the way to the model.
    web.page("https://i.example/a.png", |_| web::page("image/png", b"\x89PNG\r\n\x1a\n".to_vec()));
    server.otherwise(|_| say(&[DESCRIPTION]).usage(900, 100));
    let builder = TestApp::builder().model_server(&server).web(&web);
    let app = builder.setting("MODEL_TOKENS_PER_USER_AND_DAY", "1000").start();
    let message = |item: &str| {
        let payload = json!({
            "job_id": item.repeat(64), "user_id": "ada", "item_id": item, "image_url": "https://i.example/a.png",
            "gallery_image_index": null,
        });
        Delivery { text: payload.to_string(), dequeue_count: 1, id: Some("m".to_owned()) }
    };
    taste::run(&app.state, message("a")).await.unwrap();
    until("it is paid for", async || spent(&app, "ada").await == 1_000).await;
    taste::run(&app.state, message("b")).await.ok();
    assert_eq!(server.count(), 1, "there is nothing left for a second one");
    let job = pluckit::store::Key::new(Container::TasteAnalysisJobs, "b".repeat(64), "b".repeat(64));
    let job: Value = app.state.data.store.read(&job).await.unwrap().unwrap().parse().unwrap();
    assert!(job["lastError"].as_str().unwrap().contains("the day's token budget is used up"), "{job}");
}

#[tokio::test]
async fn a_day_without_a_limit_is_not_counted() {
    let server = ModelServer::start().await;
    let app = app(&server, 0);
    assert_eq!(ask(&app.user("ada").await).await.status, StatusCode::OK);
    app.state.tasks.close();
    app.state.tasks.wait().await;
    assert_eq!(spent(&app, "ada").await, 0);
}

#[tokio::test]
async fn tool_calls_and_vectors_count_as_well() {
    let server = ModelServer::start().await;
    server.push(
        Kind::Stream,
        vec![
            delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {
                "name": "search_scraped_items", "arguments": json!({"query": "q".repeat(400)}).to_string(),
            }}]})),
            finish("tool_calls"),
        ],
    );
    server.push(Kind::Stream, say(&["Nothing."]).usage(10, 5));
    let app = app(&server, 1_000_000);
    assert_eq!(ask(&app.user("ada").await).await.status, StatusCode::OK);
    let received = server.received();
    assert_eq!(received.iter().filter(|request| request.kind == Kind::Embeddings).count(), 1);
    let least = prompt_tokens(&received[0]) + 100 + 100 + 15;
    until("all of it is spent", async || (least..least + 1_000).contains(&spent(&app, "ada").await)).await;
}
