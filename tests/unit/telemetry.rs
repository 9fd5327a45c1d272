//! Exported telemetry of the real binary, received by a collector.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::collector::{Collector, Received, attribute, hex};
use crate::support::model::{Kind, ModelServer, call, say};
use crate::support::service::Launch;
use crate::support::until;
use pluckit::net;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";
const SECRET_WORDS: &str = "my secret anniversary dinner";

fn launch(collector: &Collector) -> Launch {
    Launch::development(BINARY).setting("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
}

fn http() -> reqwest::Client {
    net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}

/// The one span of this name in the caller's trace.
fn span<'a>(received: &'a Received, name: &str) -> &'a Span {
    let mut found = received.spans.iter().filter(|span| span.name == name && hex(&span.trace_id) == TRACE);
    let first = found.next().unwrap_or_else(|| {
        let names: Vec<_> = received.spans.iter().map(|span| (&span.name, hex(&span.trace_id))).collect();
        panic!("no span {name} among {names:?}")
    });
    assert!(found.next().is_none(), "{name} twice");
    first
}

fn is_child(child: &Span, parent: &Span) -> bool {
    child.parent_span_id == parent.span_id && child.trace_id == parent.trace_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_arrives_at_a_collector_with_its_tools_and_the_caller_s_trace() {
    let collector = Collector::start().await;
    let model = ModelServer::start().await;
    model.push(Kind::Stream, call("c1", "search_wardrobe", r#"{"query": "shoes"}"#));
    model.push(Kind::Stream, say(&["Wear the loafers."]));
    let (mut service, address) = launch(&collector)
        .setting("OPENAI_BASE_URL", &model.base_url())
        .setting("OTEL_SERVICE_NAME", "pluckit-test")
        .setting("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-key")
        .start();
    let answer = http()
        .post(format!("http://{address}/api/chat"))
        .header("traceparent", format!("00-{TRACE}-{CALLER_SPAN}-01"))
        .json(&json!({"message": SECRET_WORDS}))
        .send()
        .await
        .unwrap();
    assert!(answer.text().await.unwrap().contains("\"done\""));
    service.signal("TERM");
    service.wait(Duration::from_secs(20));

    let received = collector.received();
    let request = span(&received, "POST /api/chat");
    assert_eq!(hex(&request.parent_span_id), CALLER_SPAN);
    assert_eq!(attribute(&request.attributes, "http.response.status_code"), "200");
    let turn = span(&received, "chat.turn");
    assert!(is_child(turn, request));
    let tool = span(&received, "execute_tool search_wardrobe");
    assert!(is_child(tool, turn));
    let answers: Vec<&Span> = received.spans.iter().filter(|span| span.name.starts_with("chat gpt")).collect();
    assert!(answers.len() >= 2 && answers.iter().all(|answer| hex(&answer.trace_id) == TRACE), "{}", answers.len());
    // The model server was told which call is whose.
    let mut asked = model.received();
    // The demo items are embedded at the start.
    asked.retain(|request| request.kind != Kind::Embeddings);
    let told: Vec<String> = asked.iter().map(|request| request.header("traceparent").to_owned()).collect();
    assert!(told.iter().all(|traceparent| traceparent.starts_with(&format!("00-{TRACE}-"))), "{told:?}");
    let first = told.first().unwrap().split('-').nth(2).unwrap().to_owned();
    assert!(received.spans.iter().any(|span| hex(&span.span_id) == first), "{first} is one of ours");

    let log = received.logs.iter().find(|log| format!("{:?}", log.body).contains("turn ended")).unwrap();
    assert_eq!(hex(&log.trace_id), TRACE);
    let names: Vec<&str> = received.metrics.iter().map(|metric| metric.name.as_str()).collect();
    for name in [
        "http.server.request.duration",
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "pluckit.chat.open_streams",
    ] {
        assert!(names.contains(&name), "{name} among {names:?}");
    }
    let resource = &received.resources[0].attributes;
    assert_eq!(attribute(resource, "service.name"), "pluckit-test");
    assert_eq!(attribute(resource, "service.namespace"), "pluckit");
    assert_eq!(attribute(resource, "deployment.environment.name"), "development");
    assert!(received.credentials.iter().all(|credential| credential == "Bearer collector-key"));
    let everything = format!("{:?}{:?}{:?}", received.spans, received.logs, received.metrics);
    assert!(!everything.contains("anniversary") && !everything.contains("loafers"), "nothing that was said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_with_the_trace_of_the_vote_that_queued_it_and_its_failure_is_seen() {
    let collector = Collector::start().await;
    let launch = launch(&collector);
    let (mut service, address) = launch.start();
    until("the demo is complete", async || service.log().contains("pictures of the demo written")).await;
    std::fs::remove_dir_all(launch.store_file().with_file_name("blobs")).unwrap();
    let feed: Value =
        http().get(format!("http://{address}/api/scraper/items")).send().await.unwrap().json().await.unwrap();
    let item = feed["items"][0]["id"].as_str().unwrap().to_owned();
    let vote = http()
        .post(format!("http://{address}/api/scraper/items/{item}/feedback"))
        .header("traceparent", format!("00-{TRACE}-{CALLER_SPAN}-01"))
        .json(&json!({"signal": "up"}))
        .send()
        .await
        .unwrap();
    assert_eq!(vote.status(), 200);
    // Its picture is gone.
    until("the job has run", async || service.log().contains("\"function.name\":\"ProcessTasteAnalysisJob\"")).await;
    service.signal("TERM");
    service.wait(Duration::from_secs(20));

    let received = collector.received();
    let request = span(&received, "POST /api/scraper/items/{item_id}/feedback");
    let job = span(&received, "ProcessTasteAnalysisJob");
    let mut ancestor = job;
    while !is_child(ancestor, request) {
        let parent = received.spans.iter().find(|span| span.span_id == ancestor.parent_span_id);
        ancestor = parent.unwrap_or_else(|| panic!("{} has no parent", ancestor.name));
    }
    let status = job.status.as_ref().map(|status| status.code);
    assert_eq!(status, Some(2), "it failed, and says so");
    let names: Vec<&str> = received.metrics.iter().map(|metric| metric.name.as_str()).collect();
    for name in ["pluckit.function.duration", "pluckit.queue.wait", "pluckit.queue.messages"] {
        assert!(names.contains(&name), "{name} among {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn langfuse_gets_a_turn_under_the_caller_s_trace_id() {
    for captures in [false, true] {
        let collector = Collector::start().await;
        let model = ModelServer::start().await;
        model.push(Kind::Stream, call("c1", "search_wardrobe", r#"{"query": "shoes"}"#));
        model.push(Kind::Stream, say(&["Wear the loafers."]));
        let (mut service, address) = Launch::development(BINARY)
            .setting("OPENAI_BASE_URL", &model.base_url())
            .setting("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
            .setting("LANGFUSE_SECRET_KEY", "sk-lf-2")
            .setting("LANGFUSE_HOST", collector.url())
            .setting("LANGFUSE_CAPTURE_CONTENT", &captures.to_string())
            .start();
        let body = json!({"message": SECRET_WORDS, "traceId": "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"});
        let answer = http().post(format!("http://{address}/api/chat")).json(&body).send().await.unwrap();
        assert!(answer.text().await.unwrap().contains("\"done\""));
        service.signal("TERM");
        service.wait(Duration::from_secs(20));

        let received = collector.received();
        assert!(received.paths.iter().all(|path| *path == "/api/public/otel/v1/traces"), "{:?}", received.paths);
        // "pk-lf-1:sk-lf-2" in base64.
        assert_eq!(received.credentials[0], "Basic cGstbGYtMTpzay1sZi0y");
        let turn = span(&received, "chat-turn");
        assert_eq!(attribute(&turn.attributes, "user.id"), "local-dev-user");
        assert_eq!(attribute(&turn.attributes, "langfuse.internal.as_root"), "true");
        let tool = span(&received, "execute_tool");
        assert_eq!(attribute(&tool.attributes, "gen_ai.tool.name"), "search_wardrobe");
        assert!(is_child(tool, turn));
        let generations: Vec<&Span> = received.spans.iter().filter(|span| span.name == "stylist").collect();
        assert_eq!(generations.len(), 2);
        for generation in generations {
            assert!(is_child(generation, turn));
            assert_eq!(attribute(&generation.attributes, "gen_ai.operation.name"), "chat");
            assert_eq!(attribute(&generation.attributes, "gen_ai.request.model"), "gpt-4.1-mini");
        }
        let everything = format!("{:?}", received.spans);
        assert_eq!(everything.contains("anniversary"), captures);
        assert_eq!(everything.contains("loafers"), captures);
        assert!(!service.log().contains("sk-lf-2"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_host_buffers_are_sent_when_a_request_has_ended() {
    let collector = Collector::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (mut service, address) = launch(&collector)
        .setting("FUNCTIONS_CUSTOMHANDLER_PORT", &port.to_string())
        .setting("PLUCKIT_ALLOW_EMBEDDED", "1")
        // By themselves, batches would wait for an hour.
        .setting("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .setting("OTEL_BLRP_SCHEDULE_DELAY", "3600000")
        .setting("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        .start();
    let answer = http()
        .get(format!("http://{address}/api/chat/memory"))
        .header("traceparent", format!("00-{TRACE}-{CALLER_SPAN}-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    answer.bytes().await.unwrap();
    until("all signals have arrived", async || {
        let received = collector.received();
        received.spans.iter().any(|span| hex(&span.trace_id) == TRACE)
            && received.logs.iter().any(|log| hex(&log.trace_id) == TRACE)
            && received.metrics.iter().any(|metric| metric.name == "http.server.request.duration")
    })
    .await;
    service.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_costs_nobody_anything() {
    let (mut service, address) =
        Launch::development(BINARY).setting("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").start();
    let body = json!({"message": "What should I wear?"});
    let answer = http().post(format!("http://{address}/api/chat")).json(&body).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("\"done\""));
    service.signal("TERM");
    assert!(service.wait(Duration::from_secs(20)).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_the_path_of_a_404_and_the_whole_time_of_a_stream() {
    let launch = Launch::development(BINARY).setting("ADMIN_USER_IDS", "local-dev-user");
    let (service, address) = launch.setting("OFFLINE_TOKENS_PER_SECOND", "50").start();
    let (http, url) = (http(), |path: &str| format!("http://{address}{path}"));
    let missing = http.get(url("/api/nothing/here?secret=words")).header("x-request-id", "missing");
    assert_eq!(missing.send().await.unwrap().status(), 404);
    let chat = http.post(url("/api/chat")).header("x-request-id", "chat").json(&json!({"message": SECRET_WORDS}));
    let answer = chat.send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("\"done\""));
    let line = |id: &str| -> Option<Value> {
        let log = service.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "request answered" && line["spans"][0]["request.id"] == id)
    };
    until("both are logged", async || line("missing").is_some() && line("chat").is_some()).await;
    assert_eq!(line("missing").unwrap()["url.path"], "/api/nothing/here");
    let chat = line("chat").unwrap();
    let [began, ended] = ["begun_ms", "duration_ms"].map(|name| chat[name].as_u64().unwrap());
    assert!(ended > began && ended >= 100, "it begins after {began} ms and ends after {ended} ms");
    assert_eq!(chat["is_complete"], true);

    // Administrators see the lines that were printed.
    let shown: Value =
        http.get(url("/api/admin/logs?requestId=chat&limit=2000")).send().await.unwrap().json().await.unwrap();
    let printed = service.log();
    for line in shown["lines"].as_array().unwrap() {
        let time = line["time"].as_str().unwrap();
        let message = line["message"].as_str().unwrap();
        assert!(printed.lines().any(|line| line.contains(time) && line.contains(message)), "{line}");
    }
    assert!(shown["lines"].as_array().unwrap().iter().any(|line| line["message"] == "request answered"));
    assert!(!shown.to_string().contains("anniversary"), "nothing that was said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_why_and_from_where_but_shows_no_credential() {
    let launch = Launch::production(BINARY).setting("RATE_LIMITS", "true");
    let (service, address) = launch.setting("RATE_LIMIT_REFUSALS_PER_MINUTE", "3").start();
    let http = http();
    let secret = "A".repeat(43);
    let tokens = ["", "at-bogus", &format!("pat-{}.{secret}", "A".repeat(22)), "x.y.z", "at-again"];
    for (number, token) in tokens.iter().enumerate() {
        let request = http.get(format!("http://{address}/api/profile")).header("x-request-id", format!("r{number}"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        assert_eq!(request.send().await.unwrap().status(), if number == 4 { 429 } else { 401 }, "{token}");
    }
    let line = |number: usize| -> Option<Value> {
        let log = service.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| {
            line["message"] == "request answered" && line["spans"][0]["request.id"] == format!("r{number}")
        })
    };
    until("all are logged", async || (0..tokens.len()).all(|number| line(number).is_some())).await;
    let reasons = (0..tokens.len()).map(|number| {
        let line = line(number).unwrap();
        assert_eq!(line["client.address"], "127.0.0.1", "{line}");
        line["refusal"].as_str().unwrap().to_owned()
    });
    let expected = ["no_credential", "session_unknown", "token_unknown", "not_configured", "rejected_credentials"];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    let log = service.log();
    assert!(!log.contains("bogus") && !log.contains(&secret) && !log.contains("x.y.z"), "no credential");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_for_now_says_so_and_why() {
    let (service, address) = Launch::development(BINARY).setting("OPENAI_BASE_URL", "http://127.0.0.1:9").start();
    let piece = http().post(format!("http://{address}/api/wardrobe")).json(&json!({"category": "Tops"}));
    assert_eq!(piece.send().await.unwrap().status(), 201);
    let run = http().post(format!("http://{address}/api/digest/run")).header("prefer", "respond-async");
    assert_eq!(run.send().await.unwrap().status(), 202);
    let failure = || -> Option<Value> {
        let log = service.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "job failed: it will be retried")
    };
    until("the job fails", async || failure().is_some()).await;
    assert!(failure().unwrap()["reason"].as_str().is_some_and(|reason| reason.ends_with('.')));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_text_where_that_is_asked_for() {
    let service = Launch::development(BINARY).setting("LOG_FORMAT", "text").spawn();
    until("it listens", async || service.log().contains("listening")).await;
    let log = service.log();
    let line = log.lines().find(|line| line.contains("listening")).unwrap();
    assert!(line.contains(" INFO ") && line.contains("address=127.0.0.1:") && !line.contains('\u{1b}'), "{line}");
}
