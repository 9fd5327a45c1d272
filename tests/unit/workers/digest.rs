//! Weekly digests: one per user and week, despite duplicate timers, failures and crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::{StreamExt, stream};
use pluckit::azure::Identity;
use pluckit::base::clock::{Clock, ManualClock, SystemClock};
use pluckit::config::Cosmos;
use pluckit::data::Data;
use pluckit::domain::dead_letters::{DeadLetterService, Replay};
use pluckit::llm::{self, CallContext, ChatRequest, Message, Model, PartStream, Purpose, Reply};
use pluckit::model::dead_letter::DeadLetterStatus;
use pluckit::model::digest::{FanOut, Week};
use pluckit::queue::JobQueue;
use pluckit::queue::local::LocalQueue;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use pluckit::telemetry::metrics::Metrics;
use pluckit::workers::{Delivery, JobError, digest_batch, sweeper, weekly_digest};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::Notify;
use uuid::Uuid;

use super::kills::SERVICE;
use super::poison::open_data;
use crate::store::cosmos_backend::options;
use crate::support::model::{ModelServer, say};
use crate::support::process::{Process, up_to};
use crate::support::{TestApp, until};

const QUEUE: &str = "digest-batches";
const POISON_QUEUE: &str = "digest-batches-poison";
/// A Monday, in week 10.
const MONDAY: OffsetDateTime = datetime!(2026-03-02 09:00 UTC);
const LEASE: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(600);
const A_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A model that counts whose digests it was asked for: items have their owner's name for a brand.
#[derive(Default)]
struct CountingModel {
    asked: Mutex<BTreeMap<String, usize>>,
    /// Users for whom it fails.
    fails: Mutex<BTreeSet<String>>,
    /// Holds every answer back until it is told to go on.
    gate: Option<Arc<Notify>>,
}

impl CountingModel {
    fn asked(&self) -> BTreeMap<String, usize> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Model for CountingModel {
    fn name(&self, _purpose: Purpose) -> &str {
        "counting"
    }

    async fn stream(&self, _context: &CallContext, _request: ChatRequest) -> llm::Result<PartStream> {
        unreachable!("digests are not streamed")
    }

    async fn complete(&self, _context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        assert_eq!(request.purpose, Purpose::WriteDigest);
        let Some(Message::User(prompt)) = request.messages.last() else { panic!("a prompt") };
        let user = owner(prompt);
        *self.asked.lock().unwrap().entry(user.clone()).or_default() += 1;
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        if self.fails.lock().unwrap().contains(&user) {
            return Err(llm::Error::Unavailable("as scripted".into()));
        }
        let text = json!({"suggestions": [{"item": "Belt", "rationale": "It holds."}]}).to_string();
        Ok(Reply { text, ..Reply::default() })
    }

    async fn embed(&self, _context: &CallContext, _texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        unreachable!("digests need no vectors")
    }

    async fn ping(&self) -> llm::Result<()> {
        Ok(())
    }
}

/// Whose wardrobe a prompt is about.
fn owner(prompt: &str) -> String {
    let data = prompt.split("<wardrobe_data>").nth(1).unwrap().split("</wardrobe_data>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    data["topItems"][0]["brand"].as_str().unwrap().to_owned()
}

/// A service with a counting model, and users who own something.
struct Scene {
    app: TestApp,
    model: Arc<CountingModel>,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn with(store: Arc<dyn DocumentStore>, clock: Arc<ManualClock>, model: CountingModel) -> Self {
        let model = Arc::new(model);
        let app = TestApp::builder().store(store).clock(clock.clone()).model(model.clone()).start();
        Self { app, model, clock }
    }

    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(MONDAY));
        Self::with(Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()), clock, CountingModel::default())
    }

    /// Another process on the same documents and queue, with a model of its own.
    fn another(&self, model: CountingModel) -> Self {
        let model = Arc::new(model);
        let builder = TestApp::builder().store(self.app.state.data.store.clone()).queue(self.app.state.queue.clone());
        let app = builder.clock(self.clock.clone()).model(model.clone()).start();
        Self { app, model, clock: self.clock.clone() }
    }

    async fn add_users(&self, count: usize) {
        add_users(&self.app.state.data, count).await;
    }

    async fn fire(&self) {
        weekly_digest::run(&self.app.state).await.unwrap();
    }

    /// Takes all messages out of the queue.
    async fn take_messages(&self) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let messages = self.app.state.queue.receive(QUEUE, 32, Duration::from_secs(60)).await.unwrap();
            if messages.is_empty() {
                return texts;
            }
            for message in messages {
                self.app.state.queue.delete(QUEUE, &message).await.unwrap();
                texts.push(message.text);
            }
        }
    }

    async fn deliver(&self, text: &str, dequeue_count: u32) -> Result<(), JobError> {
        let delivery = Delivery { text: text.to_owned(), dequeue_count, id: None };
        digest_batch::run(&self.app.state, delivery).await
    }

    async fn profile(&self, user: &str) -> Value {
        let stored = self.app.state.data.store.read(&Key::by_id(Container::UserProfiles, user)).await.unwrap();
        stored.unwrap().parse().unwrap()
    }

    async fn digests(&self, user: &str) -> Vec<Value> {
        digests(&self.app.state.data, user).await
    }

    async fn fan_out(&self) -> Value {
        let key = Key::new(Container::Jobs, "system", "digest-fan-out-2026-W10");
        self.app.state.data.store.read(&key).await.unwrap().map_or(Value::Null, |stored| stored.parse().unwrap())
    }
}

fn user(number: usize) -> String {
    format!("user-{number:05}")
}

fn item(user: &str, id: &str) -> Value {
    json!({"id": id, "userId": user, "category": "Tops", "brand": user, "wearCount": 1})
}

async fn add_users(data: &Data, count: usize) {
    let adds = (0..count).map(|number| async move {
        let name = user(number);
        let item = item(&name, "a");
        data.store.upsert(&Key::new(Container::Wardrobe, &*name, "a"), &item).await.unwrap();
        let profile = json!({"id": name, "theme": number});
        data.store.upsert(&Key::by_id(Container::UserProfiles, &*name), &profile).await.unwrap();
    });
    stream::iter(adds).for_each_concurrent(32, |add| add).await;
}

/// The user's digests; what else is in their partition is none.
async fn digests(data: &Data, user: &str) -> Vec<Value> {
    let page = data.store.query(&Query::partition(Container::Digests, user)).await.unwrap();
    let documents = page.documents.iter().map(|stored| stored.parse::<Value>().unwrap());
    documents.filter(|document| document.get("generatedAt").is_some()).collect()
}

/// Every user has one digest, which their profile has heard of, and all else in the profile is as it was.
async fn check_everybody(data: &Data, count: usize) {
    let checks = (0..count).map(|number| async move {
        let name = user(number);
        let digests = digests(data, &name).await;
        assert_eq!(digests.len(), 1, "{name}: {digests:?}");
        let stored = data.store.read(&Key::by_id(Container::UserProfiles, &*name)).await.unwrap();
        let profile: Value = stored.unwrap().parse().unwrap();
        assert_eq!(profile["wardrobeHashAtLastDigest"], digests[0]["wardrobeHash"], "{name}");
        assert_eq!(profile["theme"], number);
    });
    stream::iter(checks).for_each_concurrent(32, |check| check).await;
}

/// Two timers fire at once, a third later; each message is delivered three times, twice at once.
async fn once_for_everybody(scene: Scene, users: usize) {
    scene.add_users(users).await;
    let other = scene.another(CountingModel::default());
    tokio::join!(scene.fire(), other.fire());
    scene.fire().await;
    let messages = scene.take_messages().await;
    assert_eq!(messages.len(), users.div_ceil(50), "each page is queued once");
    for messages in messages.chunks(4) {
        let deliveries = messages.iter().flat_map(|text| [scene.deliver(text, 1), other.deliver(text, 1)]);
        // A worker that finds another one busy retries later.
        for outcome in join_all(deliveries).await {
            assert!(matches!(outcome, Ok(()) | Err(JobError::NotNow)), "{outcome:?}");
        }
    }
    for text in &messages {
        scene.deliver(text, 2).await.unwrap();
    }
    check_everybody(&scene.app.state.data, users).await;
    let mut asked = scene.model.asked();
    for (user, times) in other.model.asked() {
        *asked.entry(user).or_default() += times;
    }
    assert_eq!(asked.len(), users);
    assert!(asked.values().all(|times| *times == 1), "the model is asked once for each digest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_timers_and_a_replay_make_one_digest_for_each_user() {
    once_for_everybody(Scene::new(), 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
async fn two_timers_and_a_replay_make_one_digest_for_each_user_on_cosmos() {
    // Profiles of all partitions are walked, so other tests must not add any.
    let database = format!("PluckItDigest{}", Uuid::new_v4().simple());
    let store = CosmosStore::new(Cosmos { database, ..options() }, Identity::default());
    Box::pin(store.init()).await.unwrap();
    let clock = Arc::new(ManualClock::new(MONDAY));
    once_for_everybody(Scene::with(Arc::new(store), clock, CountingModel::default()), 1000).await;
}

#[tokio::test]
async fn a_week_later_only_what_changed_is_looked_at_anew() {
    let scene = Scene::new();
    scene.add_users(3).await;
    for week in 1..=2 {
        scene.fire().await;
        for text in scene.take_messages().await {
            scene.deliver(&text, 1).await.unwrap();
        }
        assert_eq!(scene.model.asked().values().sum::<usize>(), if week == 1 { 3 } else { 4 });
        scene.clock.advance(A_WEEK);
        let name = user(1);
        scene.app.save(Container::Wardrobe, &name, item(&name, "b")).await;
    }
    assert_eq!(scene.digests(&user(0)).await.len(), 1);
    assert_eq!(scene.digests(&user(1)).await.len(), 2);
}

#[tokio::test]
async fn users_who_opted_out_own_nothing_or_are_deleted_get_no_digest() {
    let scene = Scene::new();
    scene.add_users(1).await;
    let name = user(0);
    scene.app.save(Container::UserProfiles, &name, json!({"id": name, "recommendationOptIn": false})).await;
    scene.app.save(Container::UserProfiles, "empty", json!({"id": "empty"})).await;
    scene.app.save(Container::Wardrobe, "gone", item("gone", "a")).await;
    let text = json!({"kind": "batch", "week": "2026-W10", "page": 0, "users": [name, "empty", "gone"]}).to_string();
    scene.deliver(&text, 1).await.unwrap();
    assert!(scene.model.asked().is_empty());
    let gone = Key::by_id(Container::UserProfiles, "gone");
    assert!(scene.app.state.data.store.read(&gone).await.unwrap().is_none(), "nobody is made a profile by a clock");
}

#[tokio::test]
async fn one_users_failure_stops_nobody_and_is_tried_again() {
    let scene = Scene::new();
    scene.add_users(10).await;
    scene.model.fails.lock().unwrap().extend([user(3), user(7)]);
    scene.fire().await;
    let messages = scene.take_messages().await;
    let [text] = messages.as_slice() else { panic!("{messages:?}") };
    for count in 1..=5 {
        let Err(JobError::Retry(error)) = scene.deliver(text, count).await else { panic!("it fails") };
        assert_eq!(error.to_string(), "2 of 10 digests were not created");
    }
    let asked = scene.model.asked();
    assert_eq!((asked[&user(0)], asked[&user(3)]), (1, 5));
    // The dead letter is replayed when the model is up again.
    scene.model.fails.lock().unwrap().clear();
    scene.deliver(text, 1).await.unwrap();
    check_everybody(&scene.app.state.data, 10).await;
    assert_eq!(scene.model.asked()[&user(0)], 1);
}

#[tokio::test]
async fn a_worker_that_dies_is_taken_over_when_its_lease_has_run_out() {
    let scene = Scene::new();
    scene.add_users(1).await;
    scene.fire().await;
    let text = scene.take_messages().await.remove(0);
    let gate = Arc::new(Notify::new());
    let dying = scene.another(CountingModel { gate: Some(gate), ..CountingModel::default() });
    tokio::select! {
        outcome = dying.deliver(&text, 1) => panic!("it died: {outcome:?}"),
        () = until("the model is asked", async || !dying.model.asked().is_empty()) => {}
    }
    assert!(matches!(scene.deliver(&text, 2).await, Err(JobError::NotNow)));
    scene.clock.advance(LEASE);
    scene.deliver(&text, 3).await.unwrap();
    check_everybody(&scene.app.state.data, 1).await;
}

#[tokio::test]
async fn a_worker_with_an_expired_lease_cannot_write() {
    let scene = Scene::new();
    scene.add_users(1).await;
    scene.fire().await;
    let text = scene.take_messages().await.remove(0);
    let gate = Arc::new(Notify::new());
    let slow = scene.another(CountingModel { gate: Some(gate.clone()), ..CountingModel::default() });
    let (slow_outcome, ()) = tokio::join!(slow.deliver(&text, 1), async {
        until("the model is asked", async || !slow.model.asked().is_empty()).await;
        scene.clock.advance(LEASE);
        // Meanwhile there is more in the wardrobe: the late digest would be another one.
        scene.app.save(Container::Wardrobe, &user(0), item(&user(0), "b")).await;
        scene.deliver(&text, 2).await.unwrap();
        gate.notify_one();
    });
    assert!(matches!(slow_outcome, Err(JobError::NotNow)), "{slow_outcome:?}");
    check_everybody(&scene.app.state.data, 1).await;
    scene.deliver(&text, 3).await.unwrap();
    assert_eq!(scene.model.asked()[&user(0)], 1);
}

#[tokio::test]
async fn a_profile_hears_of_a_digest_that_was_saved_before_its_worker_died() {
    let scene = Scene::new();
    scene.add_users(2).await;
    scene.fire().await;
    let text = scene.take_messages().await.remove(0);
    let before = [scene.profile(&user(0)).await, scene.profile(&user(1)).await];
    scene.deliver(&text, 1).await.unwrap();
    // As if the worker had died right after the digest was saved; the other one has heard of a newer digest since.
    scene.app.save(Container::UserProfiles, &user(0), before[0].clone()).await;
    let mut newer = before[1].clone();
    newer["wardrobeHashAtLastDigest"] = "newer".into();
    scene.app.save(Container::UserProfiles, &user(1), newer.clone()).await;
    scene.app.save(Container::Wardrobe, &user(0), item(&user(0), "b")).await;
    scene.deliver(&text, 2).await.unwrap();
    let digest = scene.digests(&user(0)).await.remove(0);
    assert_eq!(scene.profile(&user(0)).await["wardrobeHashAtLastDigest"], digest["wardrobeHash"]);
    assert_eq!(scene.profile(&user(1)).await, newer);
    assert_eq!(scene.model.asked().values().sum::<usize>(), 2, "the model is not asked for what was saved");
}

#[tokio::test]
async fn a_fan_out_whose_process_died_goes_on_where_it_was() {
    let scene = Scene::new();
    scene.add_users(1100).await;
    let first = scene.app.state.data.profiles.page_of_ids(None, 1000).await.unwrap().1;
    let died = json!({
        "id": "digest-fan-out-2026-W10", "userId": "system", "week": "2026-W10", "pages": 1, "users": 1000, "after": first,
        "startedAt": "2026-03-02T09:00:00.000Z", "leaseOwner": "dead", "leaseExpiresAt": "2026-03-02T09:00:45.000Z",
        "ttl": 1000,
    });
    scene.app.save(Container::Jobs, "system", died).await;
    // Somebody may still be at it.
    scene.fire().await;
    sweeper::run(&scene.app.state).await.unwrap();
    assert_eq!(scene.take_messages().await, Vec::<String>::new());
    scene.clock.advance(LEASE);
    sweeper::run(&scene.app.state).await.unwrap();
    sweeper::run(&scene.app.state).await.unwrap();
    let messages = scene.take_messages().await;
    assert_eq!(messages, [r#"{"kind":"fan_out","week":"2026-W10"}"#], "one message goes on");
    scene.deliver(&messages[0], 1).await.unwrap();
    scene.deliver(&messages[0], 2).await.unwrap();
    let pages: Vec<Value> =
        scene.take_messages().await.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let users: Vec<&Value> = pages.iter().flat_map(|page| page["users"].as_array().unwrap()).collect();
    assert_eq!((pages.len(), users.len(), &pages[0]["page"]), (2, 100, &json!(1)));
    let state = scene.fan_out().await;
    assert_eq!((&state["users"], &state["pages"]), (&json!(1100), &json!(2)));
    assert!(state["completedAt"].is_string() && state.get("leaseOwner").is_none());
    // The week is done: nobody queues anything any more.
    scene.clock.advance(LEASE);
    scene.fire().await;
    sweeper::run(&scene.app.state).await.unwrap();
    assert_eq!(scene.take_messages().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_timer_takes_over_where_a_process_died() {
    let scene = Scene::new();
    scene.add_users(3).await;
    let died = json!({
        "id": "digest-fan-out-2026-W10", "userId": "system", "week": "2026-W10", "pages": 0, "users": 0,
        "startedAt": "2026-03-02T08:00:00.000Z", "leaseOwner": "dead", "leaseExpiresAt": "2026-03-02T08:00:45.000Z",
        "ttl": 1000,
    });
    scene.app.save(Container::Jobs, "system", died).await;
    scene.fire().await;
    assert_eq!(scene.take_messages().await.len(), 1);
}

#[tokio::test]
async fn messages_of_weeks_long_past_do_nothing() {
    let scene = Scene::new();
    scene.add_users(2).await;
    scene.fire().await;
    let messages = scene.take_messages().await;
    scene.clock.advance(2 * A_WEEK);
    scene.deliver(&messages[0], 1).await.unwrap();
    scene.deliver(r#"{"kind":"fan_out","week":"2026-W09"}"#, 1).await.unwrap();
    assert!(scene.model.asked().is_empty() && scene.take_messages().await.is_empty());
    // Of last week they do: the queue may have been long.
    let text = messages[0].replace("W10", "W11");
    scene.deliver(&text, 1).await.unwrap();
    assert_eq!(scene.model.asked().len(), 2);
    // And an older week than the newest one that was seen to is over for good.
    let text = messages[0].replace("W10", "W12");
    scene.deliver(&text, 1).await.unwrap();
    scene.app.save(Container::Wardrobe, &user(0), item(&user(0), "b")).await;
    scene.deliver(&messages[0].replace("W10", "W11"), 1).await.unwrap();
    assert_eq!(scene.digests(&user(0)).await.len(), 1);
}

#[tokio::test]
async fn invalid_messages_are_given_up() {
    let scene = Scene::new();
    let many: Vec<String> = (0..1001).map(user).collect();
    for text in [
        String::new(),
        "{}".to_owned(),
        r#"{"kind":"batch","week":"2026-W10","page":0}"#.to_owned(),
        r#"{"kind":"batch","week":"2026-W60","page":0,"users":["a"]}"#.to_owned(),
        r#"{"kind":"batch","week":"2026-W10","page":-1,"users":["a"]}"#.to_owned(),
        r#"{"kind":"batch","week":"2026-W10","page":0,"users":["a/b"]}"#.to_owned(),
        r#"{"kind":"other","week":"2026-W10"}"#.to_owned(),
        json!({"kind": "batch", "week": "2026-W10", "page": 0, "users": many}).to_string(),
    ] {
        let outcome = scene.deliver(&text, 1).await;
        assert!(matches!(outcome, Err(JobError::GiveUp(_))), "{text}: {outcome:?}");
    }
}

/// Documents and queue of a process that is killed, seen from outside.
struct Load {
    data: Data,
    queue: Arc<LocalQueue>,
    office: DeadLetterService,
    users: usize,
}

impl Load {
    /// Waits until the condition holds, longer than the lease of a timer whose process died.
    async fn until(&self, mut condition: impl AsyncFnMut() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("nothing goes on: {} messages, {:?}", self.waiting().await, self.fan_out().await);
        }
    }

    async fn waiting(&self) -> usize {
        self.queue.length(QUEUE).await.unwrap() + self.queue.length(POISON_QUEUE).await.unwrap()
    }

    async fn fan_out(&self) -> Option<FanOut> {
        self.data.digests.fan_out(Week::of(SystemClock.now())).await.unwrap()
    }

    /// Whether somebody is at the fan-out now.
    async fn is_fanning_out(&self) -> bool {
        self.fan_out().await.is_some_and(|state| state.completed_at.is_none() && state.lease.owner().is_some())
    }

    async fn is_fanned_out(&self) -> bool {
        self.fan_out().await.is_some_and(|state| state.completed_at.is_some())
    }

    /// As an administrator does who finds messages that five kills have hit.
    async fn replay(&self) {
        for letter in self.data.dead_letters.page(None, None, 1000).await.unwrap().0 {
            let replay = self.office.replay(&letter, QUEUE).await.unwrap();
            assert!(matches!(replay, Replay::Queued | Replay::AlreadyReplayed), "{letter:?}");
        }
    }

    /// Waits until all is done, however long it takes.
    async fn until_done(&self) {
        let done = async {
            loop {
                while self.waiting().await > 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let before = self.data.dead_letters.page(None, None, 1000).await.unwrap().0;
                self.replay().await;
                if before.iter().all(|letter| letter.status == DeadLetterStatus::Replayed) && self.waiting().await == 0
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, done).await.expect("all messages are done");
    }
}

#[tokio::test]
async fn a_week_that_an_older_version_has_seen_to_is_not_done_again() {
    let scene = Scene::new();
    scene.add_users(3).await;
    let former = |user: &str, week: &str, outcome: &str| json!({"id": "weekly-run", "userId": user, "week": week, "outcome": outcome, "updatedAt": "2026-03-02T09:00:00Z"});
    for (number, week, outcome) in [(0, "2026-W10", "skipped"), (1, "2026-W09", "generated")] {
        let name = user(number);
        let run = former(&name, week, outcome);
        scene.app.save(Container::Digests, &name, run).await;
    }
    scene.fire().await;
    for text in scene.take_messages().await {
        scene.deliver(&text, 1).await.unwrap();
    }
    let mut made = Vec::new();
    for number in 0..3 {
        made.push(scene.digests(&user(number)).await.len());
        // Older readers take whatever is newest there for a digest.
        let key = Key::new(Container::Digests, user(number), "weekly-run");
        assert!(scene.app.state.data.store.read(&key).await.unwrap().is_none());
    }
    assert_eq!((made, scene.model.asked().len()), (vec![0, 1, 1], 2));
    let key = Key::new(Container::Jobs, user(1), "weekly-run");
    let run: Value = scene.app.state.data.store.read(&key).await.unwrap().unwrap().parse().unwrap();
    assert_eq!((&run["week"], &run["outcome"]), (&json!("2026-W10"), &json!("generated")));
    assert_eq!(run.get("digest"), None, "it is among the digests by now");
}

/// Digests of `users` while the process is killed: the first kills hit the fan-out, the others the batches. Everybody's
/// wardrobe grows in the meantime, so a user who is processed twice has two digests. Returns how many kills hit the
/// fan-out.
async fn survive(users: usize, kills: usize) -> usize {
    let directory = TempDir::new().unwrap();
    let model = ModelServer::start().await;
    model.record(false);
    model.otherwise(|_| say(&[r#"{"suggestions": [{"item": "Belt", "rationale": "It holds."}]}"#]));
    let settings: BTreeMap<String, String> = [
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
        ("PLUCKIT_DEMO", "false"),
        ("OPENAI_BASE_URL", &model.base_url()),
        ("JOB_RETRY_BASE_SECONDS", "1"),
        // Not at the same time: a kill that hits both leaves nobody to go on before the lease of a timer has run out.
        ("WEEKLY_DIGEST_SCHEDULE", "*/2 * * * * *"),
        ("JOB_SWEEPER_SCHEDULE", "1-59/2 * * * * *"),
        ("WEEKLY_DIGEST_LEASE_SECONDS", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let data = open_data(directory.path());
    add_users(&data, users).await;
    let queue = Arc::new(LocalQueue::open(&directory.path().join("queue.db"), Arc::new(SystemClock)).unwrap());
    let office = DeadLetterService::new(data.clone(), queue.clone(), Arc::new(SystemClock), Metrics::off());
    let load = Load { data, queue, office, users };

    let mut process = Process::start(SERVICE, &settings).await;
    let (mut hit, mut busy) = (0, 0);
    for kill in 0..kills {
        if kill < kills / 5 && !load.is_fanned_out().await {
            load.until(async || load.is_fanning_out().await || load.is_fanned_out().await).await;
            tokio::time::sleep(up_to(Duration::from_millis(10))).await;
            process.kill_and_restart().await;
            hit += usize::from(!load.is_fanned_out().await);
            continue;
        }
        let more = (users * kill / kills..users * (kill + 1) / kills).map(async |number| {
            let name = user(number);
            let key = Key::new(Container::Wardrobe, &*name, "b");
            load.data.store.upsert(&key, &item(&name, "b")).await.unwrap();
        });
        join_all(more).await;
        // Over the first half of the work, so that few kills hit an idle process.
        let asked = users * kill / kills / 2;
        load.until(async || load.is_fanned_out().await && model.count() >= asked).await;
        tokio::time::sleep(up_to(Duration::from_millis(60))).await;
        busy += usize::from(load.waiting().await > 0);
        process.kill_and_restart().await;
    }
    assert!(hit + busy > kills / 3, "only {hit} and {busy} of {kills} kills found work to do");
    load.until_done().await;
    process.kill().await;
    for number in 0..load.users {
        assert_eq!(digests(&load.data, &user(number)).await.len(), 1, "{}", user(number));
    }
    let repeated = model.count() - users;
    // A process that is killed works on four batches, each of six users.
    assert!(repeated <= kills * 4 * 6, "{repeated} answers of the model were lost by {kills} kills");
    hit
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_survive_a_process_that_is_killed() {
    survive(300, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while: run scripts/test"]
async fn digests_of_five_thousand_users_survive_fifty_kills() {
    let hit = survive(5000, 50).await;
    assert!(hit > 0, "the fan-out was hit");
}
