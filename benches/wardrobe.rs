//! The wardrobe by the binary as it is shipped, over HTTP on SQLite: pages of 24 of 20,000 items with every order and filter,
//! first and deep ones, and logging a wear.
//!
//! The baseline of a page is what its documents cost when their ids are known: a prepared statement reads 24 of them by the
//! primary key. That of a wear is two synced commits of the same documents by hand.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Write};
use reqwest::Client;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use support::service::{Launch, Service};
use support::{BINARY, Goal, print_figure, print_head, quantile, runtime};

const USER: &str = "ada";
const ITEMS: usize = 20_000;
const PAGE: usize = 24;
/// Pages asked for with each order and filter.
const PAGES: usize = 200;
/// Wears that are logged.
const WEARS: usize = 500;
/// Milliseconds that 99 of 100 pages may take at most.
const MOST_PAGE_MS: f64 = 5.0;
/// Milliseconds that 99 of 100 wears may take at most.
const MOST_WEAR_MS: f64 = 2.0;
const ORDERS: [&str; 3] = ["dateAdded", "wearCount", "price.amount"];
/// Filters that many, some, few and no items pass.
const FILTERS: [&str; 15] = [
    "",
    "&includeWishlisted=true",
    "&category=tops",
    "&category=swimwear",
    "&brand=brand%207",
    "&brand=none",
    "&condition=good",
    "&condition=fair",
    "&tags=everyday",
    "&tags=rare",
    "&tags=none",
    "&priceMin=100&priceMax=200",
    "&priceMin=9000",
    "&minWears=50&maxWears=55",
    "&category=tops&brand=brand%203&condition=good&tags=everyday,rare&priceMin=20&minWears=1",
];

fn main() {
    runtime().block_on(async {
        print_head("Pages of 24 of 20,000 items, and wears, over HTTP (SQLite)");
        let wardrobe = Wardrobe::new().await;
        for filter in FILTERS {
            wardrobe.pages(filter).await;
        }
        wardrobe.wears().await;
    });
}

/// A wardrobe in a file, and a service that runs on it.
struct Wardrobe {
    raw: Connection,
    http: Client,
    url: String,
    token: String,
    _service: Service,
}

fn id(n: usize) -> String {
    format!("{:032x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// About 1 kB, as real items have.
fn item(n: usize) -> Value {
    let conditions = ["New", "Excellent", "Good"];
    let categories = ["Tops", "Bottoms", "Outerwear", "Footwear", "Accessories", "Knitwear", "Dresses", "Activewear"];
    let mut tags = vec!["everyday", "classic", "cotton"];
    if n.is_multiple_of(1000) {
        tags.push("rare");
    }
    json!({
        "id": id(n), "userId": USER, "imageUrl": format!("https://account.blob.core.windows.net/archive/{}-transparent.webp", id(n)),
        "tags": tags, "colours": [{"name": "Navy", "hex": "#000080"}, {"name": "White", "hex": "#ffffff"}],
        "brand": format!("Brand {}", n % 40), "category": categories[n % 8],
        "price": {"amount": (n * 7919 % 50_000) as f64 / 100.0, "originalCurrency": "EUR", "purchaseDate": "2024-11-20"},
        "notes": "n".repeat(300), "dateAdded": format!("2025-{:02}-{:02}T{:02}:{:02}:00.000Z", n % 12 + 1, n / 12 % 28 + 1, n / 336 % 24, n % 60),
        "wearCount": n * 31 % 60, "wearEvents": [{"occurredAt": "2026-02-01T10:00:00.000Z", "occasion": "work"}],
        "condition": conditions[n % 3], "size": {"letter": "M", "system": "EU"},
        "aestheticTags": ["Minimal"], "isWishlisted": n.is_multiple_of(50), "draftStatus": null,
    })
}

impl Wardrobe {
    async fn new() -> Self {
        let launch = Launch::production(BINARY);
        let store: Arc<dyn DocumentStore> =
            Arc::new(SqliteStore::open(&launch.store_file(), Arc::new(SystemClock)).unwrap());
        for first in (0..ITEMS).step_by(100) {
            let writes: Vec<_> = (first..first + 100).map(|n| Write::Create { document: item(n) }).collect();
            store.batch(Container::Wardrobe, USER, &writes).await.unwrap();
        }
        let sessions = SessionService::new(Data::new(store.clone()).sessions, Arc::new(SystemClock));
        let token = sessions.open(USER.into()).await.unwrap().access_token;
        drop((sessions, store));
        let raw = Connection::open(launch.store_file()).unwrap();
        let (service, address) = launch.start();
        let http = pluckit::net::builder().tcp_nodelay(true).build().unwrap();
        Self { raw, http, url: format!("http://{address}/api/wardrobe"), token, _service: service }
    }

    /// Walks in each order and direction, from the beginning again when there is no more.
    async fn pages(&self, filter: &str) {
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for order in ORDERS {
            for direction in ["desc", "asc"] {
                let mut token = String::new();
                for page in 0..PAGES / 6 + 1 {
                    by_hand.push(self.page_by_hand(page));
                    let url =
                        format!("{}?pageSize={PAGE}&sortField={order}&sortDir={direction}{filter}{token}", self.url);
                    let begin = Instant::now();
                    let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
                    let body = answer.bytes().await.unwrap();
                    ours.push(milliseconds(begin.elapsed()));
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    assert!(body["items"].is_array(), "{body}");
                    token = body["nextContinuationToken"]
                        .as_str()
                        .map(|t| format!("&continuationToken={t}"))
                        .unwrap_or_default();
                }
            }
        }
        let name = format!("{}, p99", if filter.is_empty() { "no filter" } else { filter.trim_start_matches('&') });
        print_figure(&name, "ms", quantile(&ours, 0.99), quantile(&by_hand, 0.99), Goal::AtMost(MOST_PAGE_MS));
    }

    fn page_by_hand(&self, page: usize) -> f64 {
        let begin = Instant::now();
        let mut read = self.raw.prepare_cached("SELECT document FROM Wardrobe WHERE partition = ? AND id = ?").unwrap();
        for n in 0..PAGE {
            let id = id((page * 7919 + n * 104_729) % ITEMS);
            black_box(read.query_row(params![USER, id], |row| row.get::<_, String>(0)).unwrap());
        }
        milliseconds(begin.elapsed())
    }

    async fn wears(&self) {
        let directory = tempfile::tempdir().unwrap();
        let raw = Connection::open(directory.path().join("raw.db")).unwrap();
        raw.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE items (id TEXT PRIMARY KEY, document TEXT); CREATE TABLE events (id TEXT PRIMARY KEY, document TEXT);",
        )
        .unwrap();
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for n in 0..WEARS {
            let document = item(n).to_string();
            let begin = Instant::now();
            raw.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", params![id(n % 50), document]).unwrap();
            raw.execute("INSERT INTO events VALUES (?, ?)", params![n.to_string(), document]).unwrap();
            by_hand.push(milliseconds(begin.elapsed()));
            let body = json!({"clientEventId": format!("wear-{n}"), "source": "vault_card"}).to_string();
            let request =
                self.http.patch(format!("{}/{}/wear", self.url, id(n % 50))).bearer_auth(&self.token).body(body);
            let begin = Instant::now();
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            black_box(answer.bytes().await.unwrap());
            ours.push(milliseconds(begin.elapsed()));
        }
        for (name, part, goal) in [("a wear, p50", 0.5, Goal::None), ("a wear, p99", 0.99, Goal::AtMost(MOST_WEAR_MS))]
        {
            print_figure(name, "ms", quantile(&ours, part), quantile(&by_hand, part), goal);
        }
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
