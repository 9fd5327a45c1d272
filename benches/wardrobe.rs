//! The wardrobe API of the release binary, over HTTP on SQLite: pages of 24 of 20,000 items with every order and
//! filter, the first ones and ones far behind; logging a wear; uploading a photo of 12 megapixels, and until its draft
//! is ready.
//!
//! The baseline of a page is what its documents cost when their ids are known: a prepared statement reads 24 of them by
//! the primary key. That of a wear is two synced commits of the same documents by hand; that of an upload a synced
//! write of the same bytes to a file, and that of a draft the decoding of the photo alone.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::imaging::decode::{Limits, decode};
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
/// Pages asked for with each filter, order and direction: so many first ones, and as many far behind.
const PAGES: usize = 17;
/// Pages of 100 items between them.
const SKIPPED: usize = 150;
/// Wears that are logged.
const WEARS: usize = 500;
/// Limit of the p99 of pages, in milliseconds.
const MOST_PAGE_MS: f64 = 5.0;
/// Limit of the p99 of wears, in milliseconds.
const MOST_WEAR_MS: f64 = 2.0;
/// Photos that are uploaded.
const UPLOADS: usize = 20;
/// Milliseconds that an upload may take beyond writing its bytes.
const MOST_UPLOAD_MS: f64 = 5.0;
/// Milliseconds from an upload to a draft that is ready.
const MOST_DRAFT_MS: f64 = 1000.0;
/// Pixels per row and rows of a photo that is uploaded.
const PHOTO: (u32, u32) = (3000, 4000);
const ORDERS: [&str; 3] = ["dateAdded", "wearCount", "price.amount"];
/// Filters that many, some, few and no items pass.
const FILTERS: [&str; 19] = [
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
    "&aestheticTags=minimal",
    "&aestheticTags=none",
    "&priceMin=100&priceMax=200",
    "&priceMin=9000",
    "&priceMax=20",
    "&minWears=50&maxWears=55",
    "&maxWears=3",
    "&category=tops&brand=brand%203&condition=good&tags=everyday,rare&priceMin=20&minWears=1",
];

fn main() {
    runtime().block_on(async {
        print_head("Pages of 24 of 20,000 items, wears and uploads, over HTTP (SQLite)");
        let wardrobe = Wardrobe::new().await;
        for filter in FILTERS {
            wardrobe.pages(filter).await;
        }
        wardrobe.wears().await;
        for (photo, is_plain) in [("oxford-shirt-on-a-wall", true), ("jeans-on-a-rug", false)] {
            wardrobe.uploads(photo, is_plain).await;
        }
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
        // The background-removal network, if it is here.
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/u2netp.onnx");
        let model = if model.exists() { model.display().to_string() } else { "off".to_owned() };
        let launch = Launch::production(BINARY).setting("CUTOUT_MODEL", &model);
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

    /// Walks the pages in each order and direction, starting over at the end.
    async fn pages(&self, filter: &str) {
        let (mut first, mut deep, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
        for order in ORDERS {
            for direction in ["desc", "asc"] {
                let list = format!("sortField={order}&sortDir={direction}{filter}");
                let mut token = String::new();
                for page in 0..PAGES {
                    by_hand.push(self.page_by_hand(page));
                    first.push(self.page(&list, PAGE, &mut token).await);
                }
                for _ in 0..SKIPPED {
                    let before = token.clone();
                    self.page(&list, 100, &mut token).await;
                    if token.is_empty() {
                        // The end: the last pages are deep enough.
                        token = before;
                        break;
                    }
                }
                for _ in 0..PAGES {
                    deep.push(self.page(&list, PAGE, &mut token).await);
                }
            }
        }
        let name = if filter.is_empty() { "no filter" } else { filter.trim_start_matches('&') };
        let by_hand = quantile(&by_hand, 0.99);
        print_figure(&format!("{name}, p99"), "ms", quantile(&first, 0.99), by_hand, Goal::AtMost(MOST_PAGE_MS));
        print_figure("the same, far behind", "ms", quantile(&deep, 0.99), by_hand, Goal::AtMost(MOST_PAGE_MS));
    }

    /// Asks for a page and replaces the token by that of the next one; it is empty at the end. Returns the
    /// milliseconds.
    async fn page(&self, list: &str, size: usize, token: &mut String) -> f64 {
        let url = format!("{}?pageSize={size}&{list}{token}", self.url);
        let begin = Instant::now();
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        let body = answer.bytes().await.unwrap();
        let time = milliseconds(begin.elapsed());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["items"].is_array(), "{body}");
        let next = body["nextContinuationToken"].as_str();
        *token = next.map(|next| format!("&continuationToken={next}")).unwrap_or_default();
        time
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
    /// Uploads photos one at a time, each when the previous draft is ready.
    async fn uploads(&self, name: &str, is_plain: bool) {
        let (width, height) = PHOTO;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("demo/photographs/{name}.jpg"));
        let picture = image::open(path).unwrap().resize_exact(width, height, FilterType::CatmullRom);
        let mut photo = Vec::new();
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut photo, 90)).unwrap();
        let photo = Bytes::from(photo);
        let directory = tempfile::tempdir().unwrap();
        let (mut answered, mut ready, mut written, mut decoded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..UPLOADS {
            let begin = Instant::now();
            let mut file = std::fs::File::create(directory.path().join(number.to_string())).unwrap();
            file.write_all(&photo).unwrap();
            file.sync_all().unwrap();
            written.push(milliseconds(begin.elapsed()));
            let begin = Instant::now();
            black_box(decode(&photo, &Limits::default()).unwrap());
            decoded.push(milliseconds(begin.elapsed()));

            let request = self.http.post(format!("{}/upload", self.url)).bearer_auth(&self.token);
            let request = request.header("content-type", "image/jpeg").body(photo.clone());
            let begin = Instant::now();
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 202);
            let draft: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            answered.push(milliseconds(begin.elapsed()));
            while self.draft_status(draft["id"].as_str().unwrap()).await == "Processing" {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            ready.push(milliseconds(begin.elapsed()));
        }
        let megabytes = photo.len() as f64 / 1e6;
        for (name, part) in [("p50", 0.5), ("p95", 0.95)] {
            let name = format!("an upload of {megabytes:.1} MB to its answer, {name}");
            let (value, baseline) = (quantile(&answered, part), quantile(&written, part));
            print_figure(&name, "ms", value, baseline, Goal::AtMost((baseline + MOST_UPLOAD_MS).round()));
        }
        let goal = if is_plain { Goal::AtMost(MOST_DRAFT_MS) } else { Goal::None };
        for (part_name, part) in [("p50", 0.5), ("p95", 0.95)] {
            let name = format!("{name}, 12 megapixels, to a ready draft, {part_name}");
            print_figure(&name, "ms", quantile(&ready, part), quantile(&decoded, part), goal);
        }
    }

    async fn draft_status(&self, id: &str) -> String {
        let answer = self.http.get(format!("{}/{id}", self.url)).bearer_auth(&self.token).send().await.unwrap();
        let draft: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let status = draft["draftStatus"].as_str().unwrap_or_default().to_owned();
        assert_ne!(status, "Failed", "{draft}");
        status
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
