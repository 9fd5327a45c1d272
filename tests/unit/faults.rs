//! Complete user journeys in which one call to store, queue, blobs or model fails: the first, the second and so on,
//! until a journey makes fewer calls. Each call fails in two ways: before its effect, and after it, so that only the
//! answer is lost. Whatever fails, the caller gets a retryable error at once; a retry or the next delivery completes
//! the journey; and every effect happens once.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use image::{ImageFormat, Rgb, RgbImage};
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::data::digests::Digests;
use pluckit::llm::offline::OfflineModel;
use pluckit::model::digest::{DigestMessage, Week};
use pluckit::queue::local::LocalQueue;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Key, Query};
use pluckit::workers::{FUNCTIONS, Trigger, sweeper, weekly_digest};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::support::TestApp;
use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::photos;
use crate::support::web::{self, Web};

const PICTURE: &str = "https://i.example/a.png";
/// More calls than any journey makes.
const MOST_CALLS: usize = 400;
/// Longer than any lease, and than a lost message stays hidden.
const LEASES_END: Duration = Duration::from_secs(10 * 60);

/// Makes one call of a journey fail.
#[derive(Default)]
struct Plan(Mutex<Armed>);

#[derive(Default)]
struct Armed {
    /// How many calls pass before one fails, and how that fails. `None` outside of a journey.
    fault: Option<(usize, Fate)>,
    /// The call that failed.
    hit: Option<&'static str>,
}

impl Interceptor for Plan {
    fn before(&self, call: &Call<'_>) -> Fate {
        let mut armed = self.0.lock().unwrap();
        match &mut armed.fault {
            None => Fate::Passes,
            Some((0, fate)) => {
                let fate = *fate;
                armed.fault = None;
                armed.hit = Some(call.name);
                fate
            }
            Some((left, _)) => {
                *left -= 1;
                Fate::Passes
            }
        }
    }
}

/// A service whose calls can be made to fail.
struct Scene {
    app: TestApp,
    plan: Arc<Plan>,
    _web: Web,
}

impl Scene {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
        let plan = Arc::new(Plan::default());
        let web = Web::start().await;
        web.page(PICTURE, |_| web::page("image/png", picture()));
        let store = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
        let queue = Arc::new(LocalQueue::in_memory(clock.clone()).unwrap());
        let app = TestApp::builder()
            .store(Intercepted::new(store, plan.clone()))
            .queue(Intercepted::new(queue, plan.clone()))
            .intercept_blobs(plan.clone())
            .model(Intercepted::new(Arc::new(OfflineModel::new()), plan.clone()))
            .web(&web)
            .clock(clock)
            .setting("TASTE_JOB_BASE_BACKOFF_SECONDS", "0.001")
            .setting("TASTE_JOB_JITTER_SECONDS", "0.001")
            .start();
        Self { app, plan, _web: web }
    }

    fn arm(&self, calls: usize, fate: Fate) {
        *self.plan.0.lock().unwrap() = Armed { fault: Some((calls, fate)), hit: None };
    }

    /// Ends the faults; the call that failed, if the journey made as many.
    fn disarm(&self) -> Option<&'static str> {
        let mut armed = self.plan.0.lock().unwrap();
        armed.fault = None;
        armed.hit
    }

    /// Processes the queues like a pump until nothing is visible.
    async fn work(&self) {
        for _ in 0..50 {
            let mut is_idle = true;
            for function in FUNCTIONS {
                let Trigger::Queue(trigger) = &function.trigger else { continue };
                is_idle &= matches!(self.app.deliver(trigger).await, Ok(false));
            }
            if is_idle {
                return;
            }
        }
        panic!("the queues do not get empty");
    }

    /// Advances time, without faults, until leftover work is picked up and done.
    async fn recover(&self) {
        for _ in 0..3 {
            self.app.clock.advance(LEASES_END);
            sweeper::run(&self.app.state).await.unwrap();
            self.work().await;
        }
        for function in FUNCTIONS {
            if let Trigger::Queue(trigger) = &function.trigger {
                let queue = trigger.queue(&self.app.state.config);
                assert_eq!(self.app.state.queue.length(queue).await.unwrap(), 0, "{queue} is not empty");
            }
        }
        assert_eq!(self.documents(&Query::all(Container::TasteAnalysisJobDeadLetters)).await, [Value::Null; 0]);
    }

    async fn documents(&self, query: &Query) -> Vec<Value> {
        let page = self.app.state.data.store.query(query).await.unwrap();
        page.documents.iter().map(|stored| stored.parse().unwrap()).collect()
    }

    async fn document(&self, key: Key) -> Value {
        let stored = self.app.state.data.store.read(&key).await.unwrap();
        stored.map_or(Value::Null, |stored| stored.parse().unwrap())
    }

    async fn dress(&self, user: &str) {
        for (id, category) in [("coat", "Coats"), ("jeans", "Bottoms"), ("shirt", "Tops")] {
            let item = json!({"id": id, "userId": user, "category": category, "brand": "Arket", "wearCount": 3});
            self.app.save(Container::Wardrobe, user, item).await;
        }
    }

    /// Returns the user's digests, and their record in the profile.
    async fn digests(&self, user: &str) -> (Vec<Value>, Value) {
        let digests = self.documents(&Query::partition(Container::Digests, user)).await;
        let profile = self.document(Key::by_id(Container::UserProfiles, user)).await;
        let hashes = digests.iter().map(|digest| digest["wardrobeHash"].clone()).collect();
        (hashes, profile["wardrobeHashAtLastDigest"].clone())
    }
}

fn picture() -> Vec<u8> {
    let mut file = Vec::new();
    let image = RgbImage::from_pixel(40, 40, Rgb([22, 34, 84]));
    image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

/// Whether the answer is the successful one; any other must be a retryable error.
fn is_done(answer: &Answer, done: StatusCode) -> bool {
    if answer.status == done {
        return true;
    }
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "5"),
        "{}",
        answer.text()
    );
    false
}

/// Runs a journey with a fault at each of its calls. `go` gets a number that no journey before it had.
#[expect(clippy::print_stderr, reason = "how many calls failed is what the loop has to show")]
async fn loop_over(name: &str, scene: &Scene, go: impl AsyncFn(&Scene, &str) -> ()) {
    let rounds = AtomicUsize::new(0);
    for fate in [Fate::Fails, Fate::LosesAnswer] {
        let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
        for calls in 0..MOST_CALLS {
            let id = format!("u{}", rounds.fetch_add(1, Ordering::Relaxed));
            FAULT.scope((calls, fate), go(scene, &id)).await;
            let Some(hit) = scene.disarm() else { break };
            *hits.entry(hit).or_default() += 1;
        }
        let calls: usize = hits.values().sum();
        assert!((3..MOST_CALLS).contains(&calls), "{name} made {calls} calls");
        eprintln!("{name}: {calls} calls, each of which {fate:?} once: {hits:?}");
    }
}

tokio::task_local! {
    /// The fault of the journey under way.
    static FAULT: (usize, Fate);
}

/// The part of a journey in which its call fails.
async fn under_fault<T>(scene: &Scene, part: impl Future<Output = T>) -> T {
    let (calls, fate) = FAULT.get();
    scene.arm(calls, fate);
    let done = part.await;
    scene.disarm();
    done
}

async fn ask(caller: &Caller) -> Answer {
    let recent: Vec<Value> = (0..14)
        .map(|number| json!({"role": if number % 2 == 0 { "user" } else { "assistant" }, "content": format!("Linen {number}")}))
        .collect();
    caller.post("/api/chat", json!({"message": "What should I wear to dinner?", "recentMessages": recent})).await
}

#[tokio::test]
async fn a_turn_of_the_stylist() {
    let scene = Scene::new().await;
    loop_over("a turn", &scene, async |scene, user| {
        scene.dress(user).await;
        let caller = scene.app.user(user).await;
        let answer = under_fault(scene, ask(&caller)).await;
        if is_done(&answer, StatusCode::OK) {
            let events = answer.events();
            let ends: Vec<usize> = (0..events.len()).filter(|at| events[*at]["type"] == "done").collect();
            assert_eq!(ends, [events.len() - 1], "one end, at the end: {events:?}");
            let says_something = events.iter().any(|event| event["type"] == "token" || event["type"] == "error");
            assert!(says_something, "{events:?}");
        }
        let answer = ask(&caller).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.events().iter().all(|event| event["type"] != "error"), "{}", answer.text());
        let memory = caller.get("/api/chat/memory").await;
        assert!(memory.json()["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{}", memory.text());
    })
    .await;
}

#[tokio::test]
async fn a_vote_and_what_is_learned_from_it() {
    let scene = Scene::new().await;
    loop_over("a vote and its job", &scene, async |scene, user| {
        let item = json!({"id": user, "userId": "global", "imageUrl": PICTURE, "scoreSignal": 0, "tags": ["denim"]});
        scene.app.save(Container::ScrapedItems, "global", item).await;
        let caller = scene.app.user(user).await;
        let path = format!("/api/scraper/items/{user}/feedback");
        let vote = async || is_done(&caller.post(&path, json!({"signal": "up"})).await, StatusCode::OK);
        let counted = under_fault(scene, async {
            let counted = vote().await;
            scene.work().await;
            counted
        });
        if !counted.await {
            assert!(vote().await);
        }
        scene.recover().await;
        let item = scene.document(Key::new(Container::ScrapedItems, "global", user)).await;
        assert_eq!(item["scoreSignal"], 1);
        let jobs = scene.documents(&Query::all(Container::TasteAnalysisJobs).limit(1000)).await;
        let own: Vec<&Value> = jobs.iter().filter(|job| job["userId"] == user).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0]["status"], "completed");
        let profile = scene.document(Key::by_id(Container::UserProfiles, user)).await;
        let mut learned: Vec<String> = serde_json::from_value(profile["stylePreferences"].clone()).unwrap();
        let count = learned.len();
        learned.sort();
        learned.dedup();
        assert!(count > 0 && count == learned.len(), "{profile}");
    })
    .await;
}

#[tokio::test]
async fn an_upload() {
    let scene = Scene::new().await;
    loop_over("an upload", &scene, async |scene, user| {
        let caller = scene.app.user(user).await;
        let upload = || crate::routes::media::upload(&caller, user);
        let answer = under_fault(scene, upload()).await;
        is_done(&answer, StatusCode::CREATED);
        let again = upload().await;
        assert_eq!(again.status, StatusCode::CREATED, "{}", again.text());
        if answer.status == StatusCode::CREATED {
            assert_eq!(again.json(), answer.json());
        }
        let container = &scene.app.state.config.storage.archive_container;
        let page = scene.app.state.blobs.list(container, "", None, 1000).await.unwrap();
        let own = page.blobs.iter().filter(|blob| blob.name.contains(&format!("{user}-transparent")));
        assert_eq!(own.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_photo_and_its_draft() {
    let scene = Scene::new().await;
    loop_over("a photo and its draft", &scene, async |scene, user| {
        let caller = scene.app.user(user).await;
        let upload = async || photos::upload(&caller, &photos::photo([170, 30, 30]), &[]).await;
        let (uploaded, accepted) = under_fault(scene, async {
            let uploaded = upload().await;
            scene.work().await;
            let id = uploaded.json()["id"].as_str().map(str::to_owned);
            let accepted = match &id {
                Some(id) => Some(photos::accept(&caller, id).await),
                None => None,
            };
            (uploaded, accepted)
        })
        .await;
        let uploaded = match is_done(&uploaded, StatusCode::ACCEPTED) {
            true => uploaded,
            false => upload().await,
        };
        assert_eq!(uploaded.status, StatusCode::ACCEPTED, "{}", uploaded.text());
        let id = uploaded.json()["id"].as_str().unwrap().to_owned();
        // Accepted, not ready yet, or to be tried again.
        if let Some(accepted) = accepted.filter(|accepted| accepted.status != StatusCode::CONFLICT) {
            is_done(&accepted, StatusCode::OK);
        }
        scene.recover().await;
        for draft in photos::drafts(&caller).await {
            assert_eq!(draft["draftStatus"], "Ready", "{draft}");
            let accepted = photos::accept(&caller, draft["id"].as_str().unwrap()).await;
            assert_eq!(accepted.status, StatusCode::OK, "{}", accepted.text());
        }
        // A first upload of which the caller did not hear may have become an item, too.
        let items = scene.documents(&Query::partition(Container::Wardrobe, user)).await;
        assert!((1..=2).contains(&items.len()), "{items:?}");
        let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert!(ids.contains(&id.as_str()), "{id} is not in {ids:?}");
        let storage = &scene.app.state.config.storage;
        let directory = pluckit::domain::media::directory(&user.into());
        let mut pictures = photos::blobs(&scene.app, &storage.archive_container).await;
        pictures.retain(|name| name.starts_with(&directory));
        assert_eq!(pictures.len(), items.len(), "{pictures:?}");
        for item in items {
            assert!(item.get("draftStatus").is_none() && item["imageUrl"].is_string(), "{item}");
        }
        let profile = scene.document(Key::by_id(Container::UserProfiles, user)).await;
        assert_eq!(profile["currencyCode"], "USD");
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_digests() {
    let scene = Scene::new().await;
    loop_over("a batch of digests", &scene, async |scene, user| {
        let users = [user.to_owned(), format!("{user}-b")];
        for user in &users {
            scene.dress(user).await;
            scene.app.save(Container::UserProfiles, user, json!({"id": user, "theme": "dark"})).await;
        }
        let message = DigestMessage::Batch {
            week: Week::of(scene.app.clock.now()),
            page: 0,
            users: users.iter().map(|user| user.as_str().into()).collect(),
        };
        let queue = &scene.app.state.config.queues.digest.work;
        scene.app.state.queue.send(queue, &serde_json::to_string(&message).unwrap()).await.unwrap();
        under_fault(scene, scene.work()).await;
        scene.recover().await;
        for user in &users {
            let (digests, heard_of) = scene.digests(user).await;
            assert_eq!(digests, [heard_of], "{user}");
            let run = scene.document(Key::new(Container::Jobs, user.as_str(), "weekly-run")).await;
            assert_eq!((&run["outcome"], run.get("digest")), (&json!("generated"), None));
            let profile = scene.document(Key::by_id(Container::UserProfiles, user.as_str())).await;
            assert_eq!(profile["theme"], "dark");
        }
    })
    .await;
}

#[tokio::test]
async fn the_week_s_fan_out() {
    let scene = Scene::new().await;
    loop_over("a fan-out", &scene, async |scene, user| {
        // A week of its own for each.
        scene.app.clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
        scene.dress(user).await;
        scene.app.save(Container::UserProfiles, user, json!({"id": user})).await;
        let fired = under_fault(scene, weekly_digest::run(&scene.app.state)).await;
        // The timer comes again.
        scene.app.clock.advance(LEASES_END);
        if fired.is_err() {
            weekly_digest::run(&scene.app.state).await.unwrap();
        }
        scene.recover().await;
        let week = Week::of(scene.app.clock.now());
        let state = scene.document(Key::new(Container::Jobs, "system", Digests::fan_out_id(week))).await;
        assert!(state["completedAt"].is_string(), "{state}");
        let (digests, heard_of) = scene.digests(user).await;
        assert_eq!(digests, [heard_of]);
    })
    .await;
}

#[tokio::test]
async fn a_long_operation_and_its_outputs() {
    let scene = Scene::new().await;
    loop_over("a long operation", &scene, async |scene, user| {
        scene.dress(user).await;
        let caller = scene.app.user(user).await;
        let request = caller.clone().header("prefer", "respond-async").header("idempotency-key", user);
        let accept = async || request.post("/api/digest/run", json!({})).await;
        let accepted = under_fault(scene, async {
            let accepted = accept().await;
            scene.work().await;
            accepted
        });
        let accepted = accepted.await;
        let first = is_done(&accepted, StatusCode::ACCEPTED).then(|| accepted.json()["id"].clone());
        // With the same key, whether or not the first answer came.
        let again = accept().await;
        assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text());
        let id = again.json()["id"].clone();
        assert!(first.is_none_or(|first| first == id), "one key, one job");
        scene.recover().await;
        let caller = scene.app.user(user).await;
        let jobs = caller.get("/api/jobs").await.json();
        assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "{jobs}");
        let path = format!("/api/jobs/{}", id.as_str().unwrap());
        let job = caller.get(&path).await.json();
        assert_eq!((&job["status"], &job["result"]["status"]), (&json!("Completed"), &json!("ok")), "{job}");
        let files = caller.get(&format!("{path}/outputs")).await.json();
        let files: Vec<&str> =
            files["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(files, ["index.md", "digest.md"]);
        for file in files {
            let content = caller.get(&format!("{path}/outputs/{file}")).await;
            assert!(content.json()["content"].as_str().is_some_and(|content| content.starts_with("# ")), "{file}");
        }
        let (digests, heard_of) = scene.digests(user).await;
        assert_eq!(digests, [heard_of]);
    })
    .await;
}
