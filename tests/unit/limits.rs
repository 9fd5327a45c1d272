//! Limits per caller, and their independence.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use pluckit::store::Container;
use serde_json::json;

use crate::support::caller::Caller;
use crate::support::counted::Counted;
use crate::support::model::{Answer, Kind, ModelServer, Step, say};
use crate::support::{TestApp, refusal};

fn app(settings: &[(&str, &str)]) -> TestApp {
    let builder = TestApp::builder().setting("RATE_LIMITS", "true");
    settings.iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).start()
}

#[tokio::test]
async fn a_user_who_asks_too_often_waits_and_others_do_not() {
    let app = app(&[("RATE_LIMIT_REQUESTS_PER_MINUTE", "3")]);
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    for left in [2, 1, 0] {
        let answer = ada.get("/api/chat/memory").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=3;w=60");
        assert_eq!(answer.header("ratelimit"), format!("\"requests\";r={left};t={}", 20 * (3 - left)));
    }
    let refused = ada.get("/api/chat/memory").await;
    assert_eq!(refused.summary(), (429, refusal("Too many requests. Please slow down.")));
    assert_eq!(refused.header("retry-after"), "20");
    let headers = ["ratelimit-policy", "ratelimit"].map(|name| refused.header(name).to_owned());
    assert_eq!(headers, ["\"requests\";q=3;w=60", "\"requests\";r=0;t=60"]);
    assert_eq!(eve.get("/api/chat/memory").await.status, StatusCode::OK);
    app.clock.advance(Duration::from_secs(20));
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn kinds_of_routes_have_quotas_of_their_own() {
    let app = app(&[("RATE_LIMIT_MODEL_PER_MINUTE", "1")]);
    let ada = app.user("ada").await;
    let ask = || ada.post("/api/chat", json!({"message": "Hello"}));
    assert_eq!(ask().await.status, StatusCode::OK);
    assert_eq!(ask().await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_counts_against_the_quota_of_its_route() {
    let app = app(&[("ADMIN_USER_IDS", "grace")]);
    let (nobody, grace) = (app.nobody(), app.user("grace").await);
    for (caller, method, path, quota) in [
        (&nobody, Method::POST, "/api/auth/refresh", "auth"),
        (&nobody, Method::GET, "/api/openapi.json", "requests"),
        (&nobody, Method::GET, "/api/health", ""),
        (&grace, Method::POST, "/api/chat", "model"),
        (&grace, Method::GET, "/api/chat/memory", "requests"),
        (&grace, Method::POST, "/api/digest/run", "model"),
        (&grace, Method::POST, "/api/moods/seed", "model"),
        (&grace, Method::GET, "/api/scraper/sources", "requests"),
        (&grace, Method::POST, "/api/scraper/sources", "model"),
        (&grace, Method::POST, "/api/scraper/run/x", "model"),
        (&grace, Method::POST, "/api/scraper/ingest/reddit", "ingest"),
        (&grace, Method::POST, "/api/process-image", "upload"),
        (&grace, Method::POST, "/api/wardrobe/upload", "upload"),
        (&grace, Method::GET, "/api/wardrobe/drafts", "requests"),
        (&grace, Method::GET, "/api/jobs", "requests"),
        (&grace, Method::POST, "/api/jobs/x/restart", "model"),
        (&grace, Method::GET, "/api/admin/jobs", "requests"),
    ] {
        let answer = caller.send(method.clone(), path, Some("application/json"), "[]").await;
        let counted = answer.header("ratelimit-policy").split('"').nth(1).unwrap_or_default();
        assert_eq!(counted, quota, "{method} {path}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_restarted_job_counts_as_what_it_does() {
    let app = app(&[("RATE_LIMIT_MODEL_PER_MINUTE", "3"), ("PENDING_JOBS_PER_USER", "0")]);
    let ada = app.user("ada").await.header("prefer", "respond-async");
    let job = ada.post("/api/digest/run", json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let restart = async || ada.post(&format!("/api/jobs/{job}/restart"), json!({})).await.status;
    assert_eq!(restart().await, StatusCode::ACCEPTED);
    assert_eq!(restart().await, StatusCode::ACCEPTED);
    assert_eq!(restart().await, StatusCode::TOO_MANY_REQUESTS);
    app.work_all().await;
}

#[tokio::test]
async fn an_address_that_signs_in_too_often_waits() {
    let app = app(&[("RATE_LIMIT_AUTH_PER_MINUTE", "2"), ("TRUST_X_FORWARDED_FOR", "true")]);
    let at = |address: &str| app.nobody().header("x-forwarded-for", &format!("198.51.100.1, {address}:4711"));
    let refresh = async |address: &str| at(address).post("/api/auth/refresh", json!({"token": "rt-x"})).await.status;
    assert_eq!(refresh("203.0.113.7").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("203.0.113.7").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("203.0.113.7").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refresh("203.0.113.8").await, StatusCode::UNAUTHORIZED, "another address");
    assert_eq!(app.nobody().get("/api/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_guesses_too_often_is_refused_unheard() {
    let (counted, store) = Counted::in_memory();
    let builder = TestApp::builder().store(store).setting("RATE_LIMITS", "true");
    let app = builder.setting("RATE_LIMIT_REFUSALS_PER_MINUTE", "3").start();
    let (known, unknown) = (app.user("ada").await, app.user("eve").await);
    assert_eq!(known.get("/api/chat/memory").await.status, StatusCode::OK);
    let before = counted.lookups();
    for _ in 0..3 {
        let token = format!("at-{}", uuid::Uuid::new_v4());
        assert_eq!(app.bearer(&token).get("/api/chat/memory").await.status, StatusCode::UNAUTHORIZED);
    }
    let guesses = (0..100).map(async |number| {
        let answer = app.bearer(&format!("at-guess-{number}")).get("/api/chat/memory").await;
        (answer.status, answer.header("retry-after").to_owned())
    });
    for (status, retry_after) in join_all(guesses).await {
        assert_eq!((status, retry_after.as_str()), (StatusCode::TOO_MANY_REQUESTS, "20"));
    }
    assert_eq!(counted.lookups() - before, 3, "what is refused unheard is not looked up");
    assert_eq!(known.get("/api/chat/memory").await.status, StatusCode::OK, "known to be good");
    assert_eq!(unknown.get("/api/chat/memory").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(unknown.clone().from("203.0.113.9").get("/api/chat/memory").await.status, StatusCode::OK);
    let refresh = app.nobody().post("/api/auth/refresh", json!({"token": "rt-x"})).await;
    assert_eq!(refresh.status, StatusCode::UNAUTHORIZED, "signing in has a quota of its own");
    assert_eq!(app.nobody().get("/api/chat/memory").await.status, StatusCode::UNAUTHORIZED, "nothing was guessed");
    app.clock.advance(Duration::from_secs(20));
    assert_eq!(unknown.get("/api/chat/memory").await.status, StatusCode::OK);
}

#[tokio::test]
async fn concurrent_guesses_cause_no_more_lookups_than_the_quota() {
    let (counted, store) = Counted::in_memory();
    let builder = TestApp::builder().store(store).setting("RATE_LIMITS", "true");
    let app = builder.setting("RATE_LIMIT_REFUSALS_PER_MINUTE", "5").start();
    let before = counted.lookups();
    let guesses = (0..100).map(async |number| app.bearer(&format!("at-{number}")).get("/api/chat/memory").await.status);
    let statuses = join_all(guesses).await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 5);
    assert_eq!(counted.lookups() - before, 5);
}

#[tokio::test]
async fn a_refused_token_is_not_looked_up_again_for_half_a_minute() {
    let (counted, store) = Counted::in_memory();
    let app = TestApp::builder().store(store).start();
    let guess = async || app.bearer("at-guess").get("/api/chat/memory").await.status;
    let before = counted.lookups();
    for _ in 0..5 {
        assert_eq!(guess().await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(counted.lookups() - before, 1);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(guess().await, StatusCode::UNAUTHORIZED);
    assert_eq!(counted.lookups() - before, 2);
}

#[tokio::test]
async fn wrong_keys_of_services_are_slowed_down() {
    let app = app(&[("METADATA_EXTRACT_API_KEY", "key-1"), ("RATE_LIMIT_REFUSALS_PER_MINUTE", "2")]);
    let ask = async |key: &str| {
        let caller = app.nobody().header("x-api-key", key);
        caller.post("/api/extract-clothing-metadata", json!({"item_id": "a", "image_bytes_base64": ""})).await.status
    };
    for _ in 0..10 {
        assert_eq!(ask("key-1").await, StatusCode::BAD_REQUEST, "the right key has no quota");
    }
    assert_eq!(ask("key-2").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("key-3").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("key-4").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("key-1").await, StatusCode::TOO_MANY_REQUESTS, "or the answer would tell that it is the right one");
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(ask("key-1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn addresses_of_one_network_share_a_quota() {
    let app = app(&[("RATE_LIMIT_AUTH_PER_MINUTE", "2")]);
    let refresh = async |address: &str| {
        let caller = app.nobody().from(address);
        caller.post("/api/auth/refresh", json!({"token": "rt-x"})).await.status
    };
    assert_eq!(refresh("2001:db8:1:2::1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("2001:db8:1:2:ffff::9").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("2001:db8:1:2:3:4:5:6").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refresh("2001:db8:1:3::1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("203.0.113.7").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("::ffff:203.0.113.7").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("203.0.113.7").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_clock_that_is_set_back_costs_nobody_their_quota() {
    let app = app(&[("RATE_LIMIT_REQUESTS_PER_MINUTE", "3")]);
    let ada = app.user("ada").await;
    for _ in 0..3 {
        assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
    }
    app.clock.set_back(Duration::from_secs(3600));
    let refused = ada.get("/api/chat/memory").await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "20"));
    app.clock.advance(Duration::from_secs(20));
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_callers_make_up_does_not_count() {
    let app = app(&[("RATE_LIMIT_AUTH_PER_MINUTE", "1")]);
    let refresh = async |address: &str| {
        let caller = app.nobody().header("x-forwarded-for", address);
        caller.post("/api/auth/refresh", json!({"token": "rt-x"})).await.status
    };
    assert_eq!(refresh("203.0.113.7").await, StatusCode::UNAUTHORIZED);
    assert_eq!(refresh("203.0.113.8").await, StatusCode::TOO_MANY_REQUESTS);
}

/// Starts a service that allows each user one stream, and its model, which does not begin to speak.
async fn app_with_one_stream() -> (ModelServer, TestApp) {
    let model = ModelServer::start().await;
    model.otherwise(|request| match request.kind {
        Kind::Stream => Answer::Steps(vec![Step::Stall]),
        _ => say(&["[]"]).into(),
    });
    let app = TestApp::builder().model_server(&model).setting("RATE_LIMITS", "true");
    let app = app.setting("CHAT_STREAMS_PER_USER", "1").start();
    (model, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_streams_at_once() {
    let (_model, app) = app_with_one_stream().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let begin = async |caller: &Caller| {
        let body = json!({"message": "Hello"}).to_string();
        caller.begin(Method::POST, "/api/chat", Some("application/json"), body).await
    };
    // A model that has not begun to speak keeps the stream open.
    let first = begin(&ada).await;
    assert_eq!(begin(&ada).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(begin(&eve).await.status(), StatusCode::OK);
    drop(first);
    assert_eq!(begin(&ada).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_goes_on_without_its_client_counts_as_a_stream() {
    let (model, app) = app_with_one_stream().await;
    let ada = app.user("ada").await;
    let body = json!({"message": "Hello", "onDisconnect": "continue"}).to_string();
    let first = ada.begin(Method::POST, "/api/chat", Some("application/json"), body).await;
    assert_eq!(first.status(), StatusCode::OK);
    drop(first);
    let again = async || ada.post("/api/chat", json!({"message": "Hello again"})).await.status;
    assert_eq!(again().await, StatusCode::TOO_MANY_REQUESTS);
    // Once it is stopped, another one may begin.
    let runs = ada.get("/api/chat/runs").await.json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.post(&format!("/api/chat/runs/{run}/stop"), json!({})).await.status, StatusCode::OK);
    model.otherwise(|_| say(&["Hello."]));
    assert_eq!(again().await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_day_are_spent_and_come_back_at_midnight() {
    let model = ModelServer::start().await;
    model.otherwise(|_| say(&["Hello."]).usage(60, 50));
    let app = TestApp::builder().model_server(&model).setting("MODEL_TOKENS_PER_USER_AND_DAY", "200").start();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let ask = async |caller: &Caller| caller.post("/api/chat", json!({"message": "Hello"})).await;
    assert_eq!(ask(&ada).await.status, StatusCode::OK);
    assert_eq!(ask(&ada).await.status, StatusCode::OK);
    let spent = async || app.state.budget.check(&"ada".into()).await.unwrap().is_err();
    crate::support::until("both are noted", spent).await;
    let refused = ask(&ada).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    // The tests' day begins at 9:15.
    assert_eq!(refused.header("retry-after"), ((14 * 60 + 45) * 60).to_string());
    assert_eq!(ask(&eve).await.status, StatusCode::OK);
    app.clock.advance(Duration::from_secs(15 * 60 * 60));
    // Her session has ended meanwhile.
    assert_eq!(ask(&app.user("ada").await).await.status, StatusCode::OK);
}

#[tokio::test]
async fn services_and_callers_without_a_credential_have_a_quota_of_their_own() {
    let settings = [("RATE_LIMIT_SERVICE_UPLOADS_PER_MINUTE", "2"), ("RATE_LIMIT_UPLOADS_PER_MINUTE", "1")];
    let service = [("METADATA_EXTRACT_API_KEY", "key-1")];
    let anonymous = [("PROCESS_IMAGE_AUTH_MODE", "anonymous")];
    for mode in [service, anonymous] {
        let app = app(&[&settings[..], &mode].concat());
        // No picture, but a request.
        let send = async |caller: &Caller| {
            let path = "/api/process-image?item_id=a";
            caller.send(Method::POST, path, Some("image/jpeg"), "x").await.status.as_u16()
        };
        let service = app.nobody().header("x-api-key", "key-1");
        assert_eq!([send(&service).await, send(&service).await, send(&service).await], [400, 400, 429], "{mode:?}");
        let ada = app.user("ada").await;
        assert_eq!([send(&ada).await, send(&ada).await], [400, 429], "{mode:?}");
        // Having a stored photo processed again is as much work.
        assert_eq!(ada.post("/api/wardrobe/drafts/none/retry", json!({})).await.status.as_u16(), 429, "{mode:?}");
    }
}

#[tokio::test]
async fn an_answer_counts_as_a_request_until_it_is_read() {
    let app = app(&[("MAX_CONCURRENT_REQUESTS_PER_CALLER", "2")]);
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let begin = async |caller: &Caller| caller.begin(Method::GET, "/api/chat/memory", None, "").await;
    let (first, second) = (begin(&ada).await, begin(&ada).await);
    let refused = ada.get("/api/chat/memory").await;
    let text = "Too many concurrent requests. Wait until one of them has finished.";
    assert_eq!(refused.summary(), (429, refusal(text)));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(eve.get("/api/chat/memory").await.status, StatusCode::OK);
    drop(first);
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
    drop(second);

    // Streams have a limit of their own.
    let stream = async || {
        let body = json!({"message": "Hello"}).to_string();
        ada.begin(Method::POST, "/api/chat", Some("application/json"), body).await
    };
    let streams = [stream().await, stream().await];
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_large_answer_is_charged_until_it_is_read() {
    let app = app(&[]);
    let ada = app.user("ada").await;
    for number in 0..4 {
        let item = json!({"id": format!("i{number}"), "userId": "ada", "notes": "x".repeat(20_000)});
        app.save(Container::Wardrobe, "ada", item).await;
    }
    let answers = &app.state.answers;
    let unread = ada.begin(Method::GET, "/api/wardrobe", None, "").await;
    assert!((80_000..100_000).contains(&answers.held()), "{}", answers.held());
    drop(unread);
    assert_eq!(answers.held(), 0);
    let short = ada.begin(Method::GET, "/api/wardrobe/i0", None, "").await;
    assert_eq!((short.status(), answers.held()), (StatusCode::OK, 0));
}
