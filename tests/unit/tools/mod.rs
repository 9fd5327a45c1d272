//! The stylist's tools: results from a real store, limits, and invalid input.

mod feed;
mod offline;
mod profile;
mod wardrobe;
mod weather;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pluckit::base::clock::ManualClock;
use pluckit::domain::chat::tools::{Tool, ToolError};
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::{self, CallContext, ChatRequest, Model, PartStream, Purpose, Reply};
use pluckit::model::ids::UserId;
use pluckit::store::Container;
use serde_json::{Value, json};
use time::macros::datetime;

use crate::support::TestApp;

/// A model that answers with what it was given, counts how often it was asked, and embeds like the offline one.
#[derive(Default)]
struct ScriptedModel {
    answers: Mutex<VecDeque<Option<String>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Model for ScriptedModel {
    fn name(&self, _purpose: Purpose) -> &str {
        "scripted"
    }

    async fn stream(&self, _context: &CallContext, _request: ChatRequest) -> llm::Result<PartStream> {
        Err(llm::Error::Refused { status: 400, cause: "scripted".into() })
    }

    async fn complete(&self, _context: &CallContext, _request: ChatRequest) -> llm::Result<Reply> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.answers.lock().unwrap().pop_front() {
            Some(Some(text)) => Ok(Reply { text, ..Reply::default() }),
            Some(None) | None => Err(llm::Error::RateLimited { retry_after: None }),
        }
    }

    async fn embed(&self, _context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        OfflineModel::new().embed(&CallContext::service(), texts).await
    }

    async fn ping(&self) -> llm::Result<()> {
        Ok(())
    }
}

/// The tools of a fresh service.
struct Bench {
    app: TestApp,
    model: Arc<ScriptedModel>,
}

impl Bench {
    fn new() -> Self {
        // Nobody listens there: a test that asks for the weather brings its own service.
        Self::with_weather(SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    fn with_weather(service: SocketAddr) -> Self {
        let model = Arc::new(ScriptedModel::default());
        let builder = TestApp::builder()
            .clock(Arc::new(ManualClock::new(datetime!(2026-03-10 12:00 UTC))))
            .model(model.clone())
            .setting("OPEN_METEO_GEOCODING_URL", &format!("http://{service}/geo"))
            .setting("OPEN_METEO_FORECAST_URL", &format!("http://{service}/sky/"));
        Self { app: builder.start(), model }
    }

    fn tools(&self) -> &[Arc<dyn Tool>] {
        self.app.state.chat.tools()
    }

    /// The model answers the next expansions so; `None` fails.
    fn expand(&self, answers: &[Option<&str>]) {
        self.model.answers.lock().unwrap().extend(answers.iter().map(|answer| answer.map(str::to_owned)));
    }

    async fn save(&self, container: Container, partition: &str, document: Value) {
        self.app.save(container, partition, document).await;
    }

    /// Saves an item of Ada's wardrobe.
    async fn own(&self, id: &str, fields: Value) {
        let mut document = json!({ "id": id, "userId": "ada" });
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.save(Container::Wardrobe, "ada", document).await;
    }

    async fn profile(&self, fields: Value) {
        let mut document = json!({ "id": "ada" });
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.save(Container::UserProfiles, "ada", document).await;
    }

    async fn try_run(&self, name: &str, arguments: &str) -> Result<String, ToolError> {
        let tool = self.tools().iter().find(|tool| tool.spec().name == name).unwrap();
        tool.run(&UserId::from("ada"), &CallContext::service(), arguments).await
    }

    async fn run(&self, name: &str, arguments: Value) -> Value {
        let result = self.try_run(name, &arguments.to_string()).await.unwrap();
        serde_json::from_str(&result).unwrap()
    }

    async fn search(&self, query: &str) -> Value {
        self.run("search_wardrobe", json!({ "query": query })).await
    }
}

fn ids(result: &Value) -> Vec<&str> {
    result["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn there_are_twelve_tools_with_object_schemas() {
    let bench = Bench::new();
    let names: Vec<&str> = bench.tools().iter().map(|tool| tool.spec().name).collect();
    assert_eq!(
        names,
        [
            "search_wardrobe",
            "get_wardrobe_summary",
            "get_weather",
            "get_user_profile",
            "analyze_wardrobe_gaps",
            "get_trending_moods",
            "get_wear_patterns",
            "search_scraped_items",
            "get_wear_history",
            "plan_outfits",
            "remember_preference",
            "forget_preference",
        ]
    );
    for tool in bench.tools() {
        let spec = tool.spec();
        assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
        assert!(spec.parameters["properties"].is_object() && !spec.description.is_empty(), "{}", spec.name);
    }
}

#[tokio::test]
async fn bad_arguments_are_told_to_the_model() {
    let bench = Bench::new();
    let long = json!({ "query": "x".repeat(501) }).to_string();
    for (tool, arguments) in [
        ("search_wardrobe", "{}"),
        ("search_wardrobe", r#"{"query": 7}"#),
        ("search_wardrobe", r#"{"query": "na"#),
        ("search_wardrobe", long.as_str()),
        ("get_wardrobe_summary", "[[["),
        ("get_trending_moods", r#"{"primary_mood": "Goth"}"#),
        ("get_wear_patterns", long.as_str()),
        ("search_scraped_items", r#"{"query": " "}"#),
        ("search_scraped_items", long.as_str()),
    ] {
        let result = bench.try_run(tool, arguments).await;
        let Err(ToolError::BadArguments(complaint)) = result else { panic!("{tool} took {arguments}: {result:?}") };
        assert!(!complaint.is_empty() && complaint.chars().count() <= 300);
    }
    for tool in ["get_wardrobe_summary", "get_user_profile", "get_trending_moods", "get_wear_patterns"] {
        for arguments in ["", "null", "{}"] {
            bench.try_run(tool, arguments).await.unwrap();
        }
        let made_up = bench.try_run(tool, r#"{"made":"up"}"#).await;
        let Err(ToolError::BadArguments(complaint)) = made_up else { panic!("{tool}: {made_up:?}") };
        assert!(complaint.contains("unknown field `made`"), "{complaint}");
    }
}
