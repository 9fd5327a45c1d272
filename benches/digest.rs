//! How long the weekly run takes without its model: queueing 100,000 profiles, and the work for each user of a batch;
//! compared with hand-written prepared statements for the same reads and commits, on the same disk.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use pluckit::app::Backends;
use pluckit::base::clock::{Clock, ManualClock};
use pluckit::config::{Config, Source};
use pluckit::data::Data;
use pluckit::domain::base::Base;
use pluckit::domain::digest::{Counts, Digests, Starter};
use pluckit::llm::{self, CallContext, ChatRequest, Model, PartStream, Purpose, Reply};
use pluckit::model::digest::Week;
use pluckit::model::ids::UserId;
use pluckit::queue::JobQueue;
use pluckit::queue::local::LocalQueue;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Key, Write};
use pluckit::telemetry::Telemetry;
use rusqlite::{Connection, params};
use serde_json::json;
use support::{Goal, print_figure, print_head};
use tempfile::TempDir;
use time::macros::datetime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const QUEUE: &str = "digest-batches";
const PROFILES: usize = 100_000;
/// Profiles that are read at once, and users in a message, as the service has them.
const PAGE: usize = 1000;
const BATCH: usize = 50;
/// Users whose digests are made, and what each of them owns.
const USERS: usize = 2000;
const ITEMS: usize = 40;
/// Limits: seconds for queueing, and milliseconds per user.
const MOST_SECONDS: f64 = 20.0;
const MOST_MS: f64 = 2.0;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A model that has its answer ready.
struct InstantModel;

#[async_trait]
impl Model for InstantModel {
    fn name(&self, _purpose: Purpose) -> &str {
        "instant"
    }

    async fn stream(&self, _context: &CallContext, _request: ChatRequest) -> llm::Result<PartStream> {
        unreachable!("digests are not streamed")
    }

    async fn complete(&self, _context: &CallContext, _request: ChatRequest) -> llm::Result<Reply> {
        let idea = json!({"item": "Navy chinos", "rationale": "They go with most of your tops."});
        Ok(Reply { text: json!({"suggestions": [idea, idea, idea]}).to_string(), ..Reply::default() })
    }

    async fn embed(&self, _context: &CallContext, _texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        unreachable!("digests need no vectors")
    }

    async fn ping(&self) -> llm::Result<()> {
        Ok(())
    }
}

fn main() {
    support::runtime().block_on(measure());
}

fn user(number: usize) -> String {
    format!("1{number:020}")
}

/// The weekly run on a fresh store and queue.
struct Bench {
    directory: TempDir,
    data: Data,
    clock: Arc<ManualClock>,
    digests: Digests,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:00 UTC)));
        let open = |name: &str| directory.path().join(name);
        let store = SqliteStore::open(&open("store.db"), clock.clone()).unwrap();
        let queue: Arc<dyn JobQueue> = Arc::new(LocalQueue::open(&open("queue.db"), clock.clone()).unwrap());
        let data = Data::new(Arc::new(store));
        let settings = [("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()), ("DIGEST_BATCH_QUEUE_NAME", QUEUE)];
        let value =
            |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let config = Config::read(|name| value(name).map(|value| (value, Source::Environment))).unwrap();
        let Backends { blobs, pixels, http, web, telemetry, .. } =
            Backends::open(&config, SocketAddr::from(([127, 0, 0, 1], 7071)), Telemetry::off()).unwrap();
        let digests = Digests::new(Arc::new(Base {
            config,
            clock: clock.clone(),
            data: data.clone(),
            queue,
            blobs,
            pixels,
            model: Arc::new(InstantModel),
            http,
            web,
            telemetry,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            ending: CancellationToken::new(),
        }));
        Self { directory, data, clock, digests }
    }

    async fn add_profiles(&self, count: usize) {
        let adds = (0..count).map(|number| async move {
            let name = user(number);
            let profile = json!({"id": name, "currencyCode": "EUR", "locationCity": "Lisbon", "stylePreferences":
                ["classic", "minimalist"], "recommendationOptIn": true, "heightCm": 174, "notes": "n".repeat(300)});
            self.data.store.upsert(&Key::by_id(Container::UserProfiles, &*name), &profile).await.unwrap();
        });
        stream::iter(adds).for_each_concurrent(64, |add| add).await;
    }

    async fn add_wardrobes(&self, count: usize) {
        let adds = (0..count).map(|number| async move {
            let name = user(number);
            let create = |item: usize| Write::Create {
                document: json!({"id": format!("item-{item}"), "userId": name, "category": "Tops", "brand": "Arket",
                    "tags": ["cotton", "boxy"], "aestheticTags": ["minimal"], "price": {"amount": 80}, "wearCount": item,
                    "lastWornAt": "2026-02-20T08:00:00.000Z", "imageUrl": "https://example.com/a.webp",
                    "wearEvents": [{"occurredAt": "2026-02-20T08:00:00.000Z", "weatherSnapshot": {"tempCelsius": 12.5}}]}),
            };
            let writes: Vec<Write> = (0..ITEMS).map(create).collect();
            self.data.store.batch(Container::Wardrobe, &name, &writes).await.unwrap();
        });
        stream::iter(adds).for_each_concurrent(64, |add| add).await;
    }

    /// Runs all users in batches; milliseconds for each user.
    async fn run_batches(&self, count: impl Fn(&Counts) -> u64) -> f64 {
        let week = Week::of(self.clock.now());
        let begin = Instant::now();
        let mut counted = 0;
        for first in (0..USERS).step_by(BATCH) {
            let users: Vec<UserId> = (first..first + BATCH).map(|number| user(number).into()).collect();
            counted += count(&self.digests.batch(week, 0, users).await.unwrap());
        }
        assert_eq!(counted, USERS as u64);
        begin.elapsed().as_secs_f64() * 1000.0 / USERS as f64
    }
}

async fn measure() {
    print_head("The weekly run without its model (SQLite, every commit synced)");
    let bench = Bench::new();
    bench.add_profiles(PROFILES).await;
    let raw = Raw::open(&bench.directory.path().join("raw.db"));
    raw.fill(PROFILES, 500);
    let by_hand = raw.queue_all();
    let begin = Instant::now();
    bench.digests.fan_out(Week::of(bench.clock.now()), Starter::Timer).await.unwrap();
    print_figure("queueing 100,000 profiles", "s", begin.elapsed().as_secs_f64(), by_hand, Goal::AtMost(MOST_SECONDS));

    let bench = Bench::new();
    bench.add_profiles(USERS).await;
    bench.add_wardrobes(USERS).await;
    let by_hand = raw.make_all();
    let made = bench.run_batches(|counts| counts.generated).await;
    print_figure("a user's digest, 40 items", "ms", made, by_hand, Goal::AtMost(MOST_MS));
    let again = bench.run_batches(|counts| counts.already_done).await;
    print_figure("the same, delivered again", "ms", again, by_hand, Goal::AtMost(MOST_MS));
    bench.clock.advance(WEEK);
    let unchanged = bench.run_batches(|counts| counts.skipped_by_hash).await;
    print_figure("the next week, nothing changed", "ms", unchanged, by_hand, Goal::AtMost(MOST_MS));
}

/// The hand-written baseline.
struct Raw(Connection);

impl Raw {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE profiles (id TEXT PRIMARY KEY, document TEXT NOT NULL);
                 CREATE TABLE items (user TEXT, id TEXT, document TEXT NOT NULL, PRIMARY KEY (user, id));
                 CREATE TABLE messages (text TEXT NOT NULL);
                 CREATE TABLE state (page INTEGER NOT NULL);
                 INSERT INTO state VALUES (0);
                 CREATE TABLE digests (user TEXT, id TEXT, document TEXT NOT NULL, PRIMARY KEY (user, id));",
            )
            .unwrap();
        Self(connection)
    }

    fn fill(&self, profiles: usize, bytes: usize) {
        let document = "d".repeat(bytes);
        self.0.execute_batch("BEGIN").unwrap();
        let mut insert = self.0.prepare("INSERT INTO profiles VALUES (?, ?)").unwrap();
        for number in 0..profiles {
            insert.execute(params![user(number), document]).unwrap();
        }
        let mut insert = self.0.prepare("INSERT INTO items VALUES (?, ?, ?)").unwrap();
        for number in 0..USERS {
            for item in 0..ITEMS {
                insert.execute(params![user(number), item.to_string(), document]).unwrap();
            }
        }
        self.0.execute_batch("COMMIT").unwrap();
    }

    /// Reads all ids page by page and queues them, each message in a commit of its own; seconds.
    fn queue_all(&self) -> f64 {
        let begin = Instant::now();
        let mut page = self.0.prepare("SELECT id FROM profiles WHERE id > ? ORDER BY id LIMIT ?").unwrap();
        let mut send = self.0.prepare("INSERT INTO messages VALUES (?)").unwrap();
        let mut moved = self.0.prepare("UPDATE state SET page = page + 1").unwrap();
        let mut after = String::new();
        loop {
            let rows = page.query_map(params![after, PAGE as i64], |row| row.get::<_, String>(0)).unwrap();
            let ids: Vec<String> = rows.map(Result::unwrap).collect();
            let Some(last) = ids.last() else { return begin.elapsed().as_secs_f64() };
            after.clone_from(last);
            for users in ids.chunks(BATCH) {
                send.execute(params![json!({ "users": users }).to_string()]).unwrap();
            }
            moved.execute([]).unwrap();
        }
    }

    /// For each user reads profile and items and commits three times: the claim, the digest, the profile; milliseconds.
    fn make_all(&self) -> f64 {
        let begin = Instant::now();
        let mut profile = self.0.prepare("SELECT document FROM profiles WHERE id = ?").unwrap();
        let mut items = self.0.prepare("SELECT document FROM items WHERE user = ?").unwrap();
        let mut write = self.0.prepare("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)").unwrap();
        let mut learn = self.0.prepare("UPDATE profiles SET document = ? WHERE id = ?").unwrap();
        for number in 0..USERS {
            let name = user(number);
            let document: String = profile.query_row(params![name], |row| row.get(0)).unwrap();
            let rows = items.query_map(params![name], |row| row.get::<_, String>(0)).unwrap();
            black_box(rows.map(Result::unwrap).collect::<Vec<_>>());
            write.execute(params![name, "weekly-run", "claimed"]).unwrap();
            write.execute(params![name, "digest", "d".repeat(900)]).unwrap();
            learn.execute(params![format!("{document}!"), name]).unwrap();
        }
        begin.elapsed().as_secs_f64() * 1000.0 / USERS as f64
    }
}
