//! Vault insights of the release binary, over HTTP on SQLite: computed, cached, and not modified; and the memory for a
//! large wardrobe.
//!
//! The baseline is what the same texts cost without a service: a prepared statement reads all items and the wear events
//! of the window, serde reads the same fields of them, in this process. For warm answers it is a point read of a
//! document of the answer's size.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::model::ids::UserId;
use pluckit::model::timestamp::Timestamp;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Write};
use reqwest::Client;
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Value, json};
use support::service::{Launch, Service};
use support::{BINARY, Goal, median, print_figure, print_head, runtime};

const SMALL: (usize, usize) = (1_000, 5_000);
const LARGE: (usize, usize) = (20_000, 200_000);
/// Days over which the wear events are spread.
const YEARS: usize = 2 * 365;
const COLD_ROUNDS: usize = 41;
const WARM_ROUNDS: usize = 201;
const LARGE_ROUNDS: usize = 9;
const MIB: f64 = 1024.0;

fn main() {
    runtime().block_on(measure());
}

async fn measure() {
    print_head("Vault insights over HTTP (SQLite)");
    let wardrobe = Wardrobe::new("ada", SMALL).await;
    wardrobe.cold("1,000 items, 5,000 events, computed, p50", 90, COLD_ROUNDS, Goal::AtMost(8.0)).await;
    wardrobe.cold("the same, window of ten years: every event counts", 3650, COLD_ROUNDS, Goal::None).await;
    wardrobe.warm().await;
    drop(wardrobe);

    let wardrobe = Wardrobe::new("grace", LARGE).await;
    let idle = wardrobe.service.resident_kib() as f64;
    wardrobe.cold("20,000 items, 200,000 events, computed, p50", 90, LARGE_ROUNDS, Goal::AtMost(300.0)).await;
    let peak = wardrobe.service.peak_kib() as f64;
    print_figure("most memory above idle", "MiB", (peak - idle) / MIB, idle / MIB, Goal::AtMost(64.0));
    wardrobe.cold("the same, window of ten years", 3650, LARGE_ROUNDS, Goal::AtMost(300.0)).await;
    let peak = wardrobe.service.peak_kib() as f64;
    print_figure("most memory above idle", "MiB", (peak - idle) / MIB, idle / MIB, Goal::AtMost(64.0));
}

/// A wardrobe in a file, and a service that runs on it.
struct Wardrobe {
    user: UserId,
    store: Arc<dyn DocumentStore>,
    raw: Connection,
    http: Client,
    url: String,
    token: String,
    service: Service,
}

impl Wardrobe {
    async fn new(user: &str, (items, wears): (usize, usize)) -> Self {
        let launch = Launch::production(BINARY);
        let store: Arc<dyn DocumentStore> =
            Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
        let now = SystemClock.now();
        let at = |n: usize| {
            let minutes = (n * YEARS * 24 * 60 / wears) as i64;
            Timestamp::from(now - time::Duration::minutes(minutes)).to_string()
        };
        for first in (0..items).step_by(100) {
            let documents = (first..items.min(first + 100)).map(|n| item(user, n, &at));
            save(&*store, Container::Wardrobe, user, documents).await;
        }
        for first in (0..wears).step_by(100) {
            let documents = (first..wears.min(first + 100)).map(|n| wear(user, n, n * 7919 % items, &at));
            save(&*store, Container::WearEvents, user, documents).await;
        }
        let sessions = SessionService::new(Data::new(store.clone()).sessions, Arc::new(SystemClock));
        let token = sessions.open(user.into()).await.unwrap().access_token;
        let raw = Connection::open(launch.store_file()).unwrap();
        let (service, address) = launch.start();
        let url = format!("http://{address}/api/insights/vault");
        let http = pluckit::net::builder().tcp_nodelay(true).build().unwrap();
        let wardrobe = Self { user: user.into(), store, raw, http, url, token, service };
        // The session is known then, and the connection open.
        assert_eq!(wardrobe.get_path("/api/chat/memory").await, StatusCode::OK);
        wardrobe
    }

    async fn get_path(&self, path: &str) -> StatusCode {
        let url = self.url.replace("/api/insights/vault", path);
        self.http.get(url).bearer_auth(&self.token).send().await.unwrap().status()
    }

    /// Returns time to the last byte, status, `ETag`, and body length.
    async fn get(&self, query: &str, etag: &str) -> (Duration, StatusCode, String, usize) {
        let request = self.http.get(format!("{}?{query}", self.url)).bearer_auth(&self.token);
        let request = request.header("if-none-match", etag);
        let begin = Instant::now();
        let response = request.send().await.unwrap();
        let (status, etag) = (response.status(), response.headers()["etag"].to_str().unwrap().to_owned());
        let length = response.bytes().await.unwrap().len();
        (begin.elapsed(), status, etag, length)
    }

    /// Each round sends a new query, after the previous round's background work is done.
    async fn cold(&self, name: &str, window_days: u16, rounds: usize, goal: Goal) {
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            by_hand.push(milliseconds(read_by_hand(&self.raw, self.user.as_str(), window_days)));
            let target = 100 + round;
            let (took, status, _, length) = self.get(&format!("windowDays={window_days}&targetCpw={target}"), "").await;
            assert!(status == StatusCode::OK && length > 100_000, "{status}, {length} bytes");
            ours.push(milliseconds(took));
            self.kept(window_days, target).await;
        }
        print_figure(name, "ms", median(&ours), median(&by_hand), goal);
    }

    /// Waits until the answer is in the store's cache or was too large for it.
    async fn kept(&self, window_days: u16, target: usize) {
        let key = Key::new(Container::VaultInsightsCache, self.user.as_str(), format!("vault-{window_days}-{target}"));
        let begin = Instant::now();
        while self.store.read(&key).await.unwrap().is_none() && begin.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn warm(&self) {
        let (_, _, etag, length) = self.get("windowDays=90", "").await;
        self.kept(90, 100).await;
        let document = json!({"id": "large", "userId": self.user.as_str(), "text": "x".repeat(length)});
        let large = Key::new(Container::VaultInsightsCache, self.user.as_str(), "large");
        self.store.upsert(&large, &document).await.unwrap();
        let (mut known, mut whole, mut point) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..WARM_ROUNDS {
            let begin = Instant::now();
            black_box(self.store.read(&large).await.unwrap());
            point.push(milliseconds(begin.elapsed()));
            let (took, status, ..) = self.get("windowDays=90", &etag).await;
            assert_eq!(status, StatusCode::NOT_MODIFIED);
            known.push(milliseconds(took));
            let (took, status, ..) = self.get("windowDays=90", "").await;
            assert_eq!(status, StatusCode::OK);
            whole.push(milliseconds(took));
        }
        print_figure(
            "the same, known to the caller (304), p50",
            "ms",
            median(&known),
            median(&point),
            Goal::AtMost(1.0),
        );
        print_figure("the same, from the cache (200), p50", "ms", median(&whole), median(&point), Goal::AtMost(1.0));
        print_figure("size of the answer", "kB", length as f64 / 1000.0, length as f64 / 1000.0, Goal::None);
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

async fn save(store: &dyn DocumentStore, container: Container, user: &str, documents: impl Iterator<Item = Value>) {
    let writes: Vec<_> = documents.map(|document| Write::Create { document }).collect();
    store.batch(container, user, &writes).await.unwrap();
}

/// About 1.4 kB with five wears, as real items have.
fn item(user: &str, n: usize, at: &impl Fn(usize) -> String) -> Value {
    let wear = |wear: usize| {
        json!({
            "occurredAt": at(n + wear), "occasion": "office", "weatherSnapshot": {"tempCelsius": 9.5, "conditions": "Rain"},
        })
    };
    json!({
        "id": format!("{:016x}-{n:05}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), "userId": user, "category": "Tops",
        "brand": "Arket", "notes": "n".repeat(120), "imageUrl": format!("https://account.blob.core.windows.net/archive/{n}.webp"),
        "price": {"amount": 20.0 + n as f64 / 100.0, "originalCurrency": "USD", "purchaseDate": at(n)}, "wearCount": n % 40,
        "dateAdded": at(n), "lastWornAt": at(n), "wearEvents": (0..5).map(wear).collect::<Vec<_>>(),
        "colours": [{"name": "navy", "hex": "#000080"}, {"name": "white", "hex": "#ffffff"}],
        "tags": ["casual", "dinner", "summer", "oxford"], "aestheticTags": ["classic"], "careInfo": ["Machine wash 40°"],
        "size": {"letter": "M", "system": "EU"}, "condition": "Good", "isWishlisted": false, "draftStatus": null,
    })
}

/// About 200 bytes.
fn wear(user: &str, n: usize, item: usize, at: &impl Fn(usize) -> String) -> Value {
    json!({
        "id": format!("wear-{n:016}"), "userId": user,
        "itemId": format!("{:016x}-{item:05}", item.wrapping_mul(0x9e37_79b9_7f4a_7c15)), "occurredAt": at(n),
        "occasion": "office", "weatherSnapshot": {"tempCelsius": 9.5, "conditions": "Rain showers"},
    })
}

/// Reads the same texts, and of each the same fields.
fn read_by_hand(raw: &Connection, user: &str, window_days: u16) -> Duration {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        #[serde(borrow)]
        id: &'a str,
        price: Price,
        wear_count: u32,
        #[serde(borrow)]
        last_worn_at: &'a str,
        #[serde(borrow)]
        date_added: &'a str,
    }
    #[derive(Deserialize)]
    struct Price {
        amount: f64,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event<'a> {
        #[serde(borrow)]
        item_id: &'a str,
        #[serde(borrow)]
        occurred_at: &'a str,
    }
    let since = Timestamp::from(SystemClock.now() - time::Duration::days(window_days.into())).to_string();
    let begin = Instant::now();
    let mut sum = 0.0;
    let mut statement = raw.prepare_cached("SELECT document FROM Wardrobe WHERE partition = ?").unwrap();
    let mut rows = statement.query(params![user]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let item: Item<'_> = serde_json::from_str(row.get_ref(0).unwrap().as_str().unwrap()).unwrap();
        sum += item.price.amount / f64::from(item.wear_count.max(1));
        black_box((item.id, item.last_worn_at, item.date_added));
    }
    let text = "SELECT document FROM WearEvents WHERE partition = ? AND json_extract(document, '$.occurredAt') >= ?";
    let mut statement = raw.prepare_cached(text).unwrap();
    let mut rows = statement.query(params![user, since]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let event: Event<'_> = serde_json::from_str(row.get_ref(0).unwrap().as_str().unwrap()).unwrap();
        black_box((event.item_id, event.occurred_at));
    }
    black_box(sum);
    begin.elapsed()
}
