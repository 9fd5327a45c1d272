//! Calls of each request to the back ends: their number by kind, and how many are sequential. On Azure each is a
//! request over the network. The table in `docs/costs.md` must match.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use pluckit::base::clock::ManualClock;
use pluckit::llm::offline::OfflineModel;
use pluckit::queue::local::LocalQueue;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Key, Scope};
use pluckit::workers::{FUNCTIONS, Trigger};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::{TestApp, photos, until};

/// Kinds of calls, in the order of the table's columns.
const KINDS: [&str; 8] = ["read", "query", "across", "create", "replace", "blob", "queue", "model"];

/// The calls that were begun, and which of them could have waited for which.
#[derive(Default)]
struct Tally(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    /// How many of each kind.
    kinds: BTreeMap<&'static str, usize>,
    /// The calls under way: their names, and which in a row each is.
    under_way: Vec<(&'static str, usize)>,
    /// Length of the longest row of calls of which each began after the one before had ended.
    depth: usize,
    /// The documents as last written, without the expiry of leases.
    written: HashMap<Key, Value>,
}

impl Calls {
    /// Whether the call only renews a lease. Renewals depend on how long work takes, so they are not counted.
    fn is_renewal(&mut self, call: &Call<'_>) -> bool {
        let (Some(document), [key]) = (call.document, call.keys.as_slice()) else { return false };
        let mut document = document.clone();
        if let Some(fields) = document.as_object_mut() {
            fields.remove("leaseExpiresAt");
        }
        self.written.insert(key.clone(), document.clone()).is_some_and(|before| before == document)
    }
}

/// The column of a call, and how often it counts.
fn kinds_of(call: &Call<'_>) -> Vec<(&'static str, usize)> {
    match call.name {
        "store.read" => vec![("read", 1)],
        "store.query" | "store.count" | "store.nearest" => {
            let is_across = call.query.is_some_and(|query| query.scope == Scope::All);
            vec![(if is_across { "across" } else { "query" }, 1)]
        }
        "store.changes" => vec![("query", 1)],
        "store.create" | "store.delete" => vec![("create", 1)],
        "store.upsert" | "store.replace" => vec![("replace", 1)],
        "store.batch" => vec![("replace", call.keys.len())],
        name if name.starts_with("blobs.") => vec![("blob", 1)],
        name if name.starts_with("queue.") => vec![("queue", 1)],
        name if name.starts_with("model.") => vec![("model", 1)],
        name => panic!("{name} is in no column"),
    }
}

impl Interceptor for Tally {
    fn before(&self, call: &Call<'_>) -> Fate {
        let mut calls = self.0.lock().unwrap();
        let mut place = 0;
        if !calls.is_renewal(call) {
            for (kind, count) in kinds_of(call) {
                *calls.kinds.entry(kind).or_default() += count;
            }
            place = calls.depth + 1;
        }
        calls.under_way.push((call.name, place));
        Fate::GivesWay
    }

    fn after(&self, call: &Call<'_>) {
        let mut calls = self.0.lock().unwrap();
        let position = calls.under_way.iter().position(|(name, _)| *name == call.name).unwrap();
        let (_, place) = calls.under_way.swap_remove(position);
        calls.depth = calls.depth.max(place);
    }
}

/// A service whose calls are counted, with the demo's wardrobe and feed.
struct Scene {
    app: Arc<TestApp>,
    tally: Arc<Tally>,
    user: Caller,
    rows: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let tally = Arc::new(Tally::default());
        let store = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
        let queue = Arc::new(LocalQueue::in_memory(clock.clone()).unwrap());
        let app = TestApp::builder()
            .store(Intercepted::new(store, tally.clone()))
            .queue(Intercepted::new(queue, tally.clone()))
            .intercept_blobs(tally.clone())
            .model(Intercepted::new(Arc::new(OfflineModel::new()), tally.clone()))
            .clock(clock)
            .setting("ADMIN_USER_IDS", "ada")
            // The number of budget look-ups and reservations depends on the duration of model calls.
            .setting("MODEL_TOKENS_PER_USER_AND_DAY", "0")
            // The runs of this test are shorter: none is stored before its end.
            .setting("CHAT_RUN_FLUSH_MS", "10000")
            .start();
        let app = Arc::new(app);
        app.load_demo(&"ada".into()).await;
        let user = app.user("ada").await;
        // The first request of a session is not like the others: it finds no credential in memory.
        user.get("/api/profile").await;
        Self { app, tally, user, rows: Vec::new() }
    }

    /// Runs a piece of work, and adds a row with its calls.
    async fn row<T>(&mut self, name: &str, work: impl Future<Output = T>) -> T {
        *self.tally.0.lock().unwrap() = Calls::default();
        let done = work.await;
        let depth = self.tally.0.lock().unwrap().depth;
        let tasks = &self.app.state.tasks;
        until("the end of what goes on after the answer", async || tasks.is_empty()).await;
        let calls = std::mem::take(&mut *self.tally.0.lock().unwrap());
        let mut row = format!("| `{name}` |");
        for kind in KINDS {
            let count = calls.kinds.get(kind).copied().unwrap_or_default();
            let count = if count == 0 { String::new() } else { count.to_string() };
            write!(row, " {count} |").unwrap();
        }
        let depth = if is_one_task(name) { depth.to_string() } else { "–".to_owned() };
        write!(row, " {depth} | {} |", request_units(&calls.kinds)).unwrap();
        self.rows.push(row);
        done
    }

    async fn send(&mut self, name: &str, method: Method, path: &str, body: Value, status: StatusCode) -> Answer {
        let user = self.user.clone();
        let content_type = (!body.is_null()).then_some("application/json");
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let answer = self.row(name, user.send(method, path, content_type, body)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        answer
    }

    async fn get(&mut self, name: &str, path: &str) -> Value {
        self.send(&format!("GET {name}"), Method::GET, path, Value::Null, StatusCode::OK).await.json()
    }

    async fn delete(&mut self, name: &str, path: &str, status: StatusCode) {
        self.send(&format!("DELETE {name}"), Method::DELETE, path, Value::Null, status).await;
    }

    async fn post(&mut self, name: &str, path: &str, body: Value, status: StatusCode) -> Answer {
        self.send(&format!("POST {name}"), Method::POST, path, body, status).await
    }
}

/// Whether all of the work is one task. Functions, turns and digests renew leases and write logs concurrently, so the
/// order of calls is random.
fn is_one_task(name: &str) -> bool {
    name.contains(" /api/") && !["POST /api/chat", "POST /api/digest/run"].contains(&name)
}

/// What Cosmos DB charges for these calls on documents of 1 KB, by its documented prices, rounded up: 1 for a point
/// read, 3 for a query (in each physical partition), 7 for a new document or a deletion, 14 for a replacement.
fn request_units(kinds: &BTreeMap<&'static str, usize>) -> usize {
    let of = |kind| kinds.get(kind).copied().unwrap_or_default();
    of("read") + 3 * (of("query") + of("across")) + 7 * of("create") + 14 * of("replace")
}

#[tokio::test]
async fn the_calls_of_each_request_are_those_of_the_cost_sheet() {
    let mut scene = Scene::new().await;
    stylist(&mut scene).await;
    wardrobe(&mut scene).await;
    collections(&mut scene).await;
    photos_and_drafts(&mut scene).await;
    insights_and_digest(&mut scene).await;
    feed(&mut scene).await;
    workers(&mut scene).await;
    let table = scene.rows.join("\n");
    let sheet = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/costs.md")).unwrap();
    assert!(sheet.contains(&table), "docs/costs.md should have these rows:\n{table}");
}

async fn stylist(scene: &mut Scene) {
    scene.get("/api/chat/memory", "/api/chat/memory").await;
    let question = json!({"message": "What should I wear to a casual dinner?"});
    let events = scene.post("/api/chat", "/api/chat", question, StatusCode::OK).await.events();
    let run = events.last().unwrap()["runId"].as_str().unwrap().to_owned();
    scene.get("/api/chat/runs", "/api/chat/runs").await;
    scene.get("/api/chat/runs/{id}", &format!("/api/chat/runs/{run}")).await;
    let events = format!("/api/chat/runs/{run}/events");
    let name = "GET /api/chat/runs/{id}/events";
    scene.send(name, Method::GET, &events, Value::Null, StatusCode::OK).await;
    let summary = json!({"summary": "Prefers navy."});
    scene.send("PUT /api/chat/memory", Method::PUT, "/api/chat/memory", summary, StatusCode::OK).await;
}

async fn wardrobe(scene: &mut Scene) {
    scene.get("/api/profile", "/api/profile").await;
    let profile = json!({"currencyCode": "EUR", "preferredSizeSystem": "EU", "locationCity": "Berlin"});
    scene.send("PUT /api/profile", Method::PUT, "/api/profile", profile, StatusCode::NO_CONTENT).await;
    let page = scene.get("/api/wardrobe", "/api/wardrobe?pageSize=24").await;
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    let item = format!("/api/wardrobe/{id}");
    scene.get("/api/wardrobe/{id}", &item).await;
    let shirt = json!({"id": "linen-shirt", "category": "Tops", "tags": ["linen"]});
    scene.post("/api/wardrobe", "/api/wardrobe", shirt.clone(), StatusCode::CREATED).await;
    let path = "/api/wardrobe/linen-shirt";
    scene.send("PUT /api/wardrobe/{id}", Method::PUT, path, shirt, StatusCode::NO_CONTENT).await;
    scene.delete("/api/wardrobe/{id}", path, StatusCode::NO_CONTENT).await;
    let wear = json!({"clientEventId": "wear-1", "source": "vault_card"});
    let name = "PATCH /api/wardrobe/{id}/wear";
    scene.send(name, Method::PATCH, &format!("{item}/wear"), wear, StatusCode::OK).await;
    scene.get("/api/wardrobe/{id}/wear-history", &format!("{item}/wear-history")).await;
    let activity = json!({"itemId": id, "clientEventId": "sty-1", "source": "dashboard_toggle"});
    let path = "/api/wardrobe/styling-activity";
    scene.post(path, path, activity, StatusCode::OK).await;
    scene.get("/api/wardrobe/suggestions/wear", "/api/wardrobe/suggestions/wear").await;
    let name = "PATCH /api/wardrobe/suggestions/wear/{id}";
    let dismissed = json!({"status": "Dismissed"});
    scene.send(name, Method::PATCH, "/api/wardrobe/suggestions/wear/sty-1", dismissed, StatusCode::OK).await;
    let wish = json!({"occasion": "casual dinner"});
    let path = "/api/stylist/recommendations";
    scene.post(path, path, wish, StatusCode::OK).await;
}

async fn collections(scene: &mut Scene) {
    let new = json!({"name": "Winter", "isPublic": true, "clothingItemIds": ["demo-camel-wool-coat"]});
    let made = scene.post("/api/collections", "/api/collections", new, StatusCode::CREATED).await.json();
    let collection = format!("/api/collections/{}", made["id"].as_str().unwrap());
    scene.get("/api/collections", "/api/collections").await;
    scene.get("/api/collections/{id}", &collection).await;
    let description = json!({"description": "For cold days"});
    scene.send("PUT /api/collections/{id}", Method::PUT, &collection, description, StatusCode::NO_CONTENT).await;
    let items = format!("{collection}/items");
    let boots = json!({"itemId": "demo-black-chelsea-boots"});
    scene.post("/api/collections/{id}/items", &items, boots, StatusCode::NO_CONTENT).await;
    scene.get("/api/collections/{id}/items", &items).await;
    let path = format!("{items}/demo-black-chelsea-boots");
    scene.delete("/api/collections/{id}/items/{id}", &path, StatusCode::NO_CONTENT).await;
    let (owner, guest) = (scene.user.clone(), scene.app.user("grace").await);
    guest.get("/api/profile").await;
    scene.user = guest;
    let path = format!("{collection}/join");
    scene.post("/api/collections/{id}/join", &path, Value::Null, StatusCode::NO_CONTENT).await;
    scene.get("/api/collections (one of another user)", "/api/collections").await;
    scene.delete("/api/collections/{id}/leave", &format!("{collection}/leave"), StatusCode::NO_CONTENT).await;
    scene.user = owner;
    scene.delete("/api/collections/{id}", &collection, StatusCode::NO_CONTENT).await;
}

async fn photos_and_drafts(scene: &mut Scene) {
    let user = scene.user.clone();
    let photo = photos::photo([170, 30, 30]);
    let upload = photos::upload(&user, &photo, &[]);
    let uploaded = scene.row("POST /api/wardrobe/upload", upload).await;
    assert_eq!(uploaded.status, StatusCode::ACCEPTED, "{}", uploaded.text());
    let id = uploaded.json()["id"].as_str().unwrap().to_owned();
    let app = scene.app.clone();
    let outcomes = scene.row("a photo in the queue", photos::process(&app)).await;
    assert_eq!(outcomes.len(), 1);
    scene.get("/api/wardrobe/drafts", "/api/wardrobe/drafts").await;
    scene.get("/api/wardrobe/{id}/pictures", &format!("/api/wardrobe/{id}/pictures")).await;
    let (path, mode) = (format!("/api/wardrobe/{id}/cutout"), json!({"mode": "none"}));
    scene.post("/api/wardrobe/{id}/cutout", &path, mode, StatusCode::OK).await;
    let accepted = scene.row("PATCH /api/wardrobe/drafts/{id}/accept", photos::accept(&user, &id)).await;
    assert_eq!(accepted.status, StatusCode::OK, "{}", accepted.text());
    let image = accepted.json()["imageUrl"].as_str().unwrap().to_owned();
    let path = image.find("/api/").map(|start| image[start..].to_owned()).unwrap();
    scene.send("GET /api/media/{container}/{name}", Method::GET, &path, Value::Null, StatusCode::OK).await;
}

async fn insights_and_digest(scene: &mut Scene) {
    scene.get("/api/insights/vault", "/api/insights/vault").await;
    scene.get("/api/insights/vault (unchanged)", "/api/insights/vault").await;
    scene.post("/api/digest/run", "/api/digest/run?force=true", Value::Null, StatusCode::OK).await;
    let digest = scene.get("/api/digest/latest", "/api/digest/latest").await;
    let id = &digest["digest"]["id"];
    let feedback = json!({"digestId": id, "suggestionIndex": 0, "signal": "up"});
    scene.post("/api/digest/feedback", "/api/digest/feedback", feedback, StatusCode::OK).await;
    let path = format!("/api/digest/feedback?digestId={}", id.as_str().unwrap());
    scene.get("/api/digest/feedback?digestId={id}", &path).await;
    let user = scene.user.clone().header("prefer", "respond-async");
    let queued = user.post("/api/digest/run?force=true", json!({}));
    let queued = scene.row("POST /api/digest/run (in the background)", queued).await;
    assert_eq!(queued.status, StatusCode::ACCEPTED, "{}", queued.text());
    let id = queued.json()["id"].as_str().unwrap().to_owned();
    scene.get("/api/jobs/{id}", &format!("/api/jobs/{id}")).await;
    scene.get("/api/jobs", "/api/jobs").await;
}

async fn feed(scene: &mut Scene) {
    let feed = "/api/scraper/items?sortBy=recent&timeRange=30d&pageSize=";
    let page = scene.get("/api/scraper/items?pageSize=10", &format!("{feed}10")).await;
    scene.get("/api/scraper/items (the last page)", &format!("{feed}50")).await;
    let vote = format!("/api/scraper/items/{}/feedback", page["items"][0]["id"].as_str().unwrap());
    let up = json!({"signal": "up"});
    scene.post("/api/scraper/items/{id}/feedback", &vote, up, StatusCode::OK).await;
    let sources = scene.get("/api/scraper/sources", "/api/scraper/sources").await;
    let source = sources["sources"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/scraper/subscribe/{source}");
    scene.post("/api/scraper/subscribe/{id}", &path, Value::Null, StatusCode::CREATED).await;
    scene.delete("/api/scraper/subscribe/{id}", &path, StatusCode::OK).await;
    let moods = scene.get("/api/moods", "/api/moods").await;
    let mood = moods["moods"][0]["id"].as_str().unwrap().to_owned();
    scene.get("/api/moods/{id}", &format!("/api/moods/{mood}")).await;
    let session = scene.get("/api/taste/quiz", "/api/taste/quiz").await;
    let quiz = format!("/api/taste/quiz/{}", session["sessionId"].as_str().unwrap());
    let answer = json!({"signal": "up", "scrapedItemId": session["imageItems"][0]["scrapedItemId"]});
    scene.post("/api/taste/quiz/{id}/respond", &format!("{quiz}/respond"), answer, StatusCode::OK).await;
    scene.post("/api/taste/quiz/{id}/complete", &format!("{quiz}/complete"), Value::Null, StatusCode::OK).await;
}

async fn workers(scene: &mut Scene) {
    let app = scene.app.clone();
    for function in FUNCTIONS {
        let Trigger::Queue(trigger) = &function.trigger else { continue };
        // A queue without a message, and what the first one of another queue sent, are no rows.
        if !scene.row(function.name, app.deliver(trigger)).await.unwrap() {
            scene.rows.pop();
        }
    }
}
