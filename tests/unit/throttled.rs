//! A throttled Cosmos DB account: one in five document requests is refused, with 429 and a retry delay, or with 449.
//! Tests the real binary between a proxy and a metrics collector.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pluckit::azure::Identity;
use pluckit::config::Cosmos;
use pluckit::net;
use pluckit::store::cosmos::CosmosStore;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::process::BINARY;
use crate::store::cosmos_backend::{options, setting};
use crate::support::collector::Collector;
use crate::support::cosmos_proxy::{CosmosProxy, Passage};
use crate::support::service::Launch;

const GARMENTS: usize = 40;
/// How often a client repeats a request that is answered with 503.
const TRIES: usize = 8;
/// Longer than the deadline of a call of the store, and than the retries of a query.
const LONGEST: Duration = Duration::from_secs(10);

/// A number from 0 to 9 for each request, always the same for the same one.
fn drawn(request: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish() % 10
}

/// The client, and how long its requests took.
struct Client {
    http: reqwest::Client,
    url: String,
    times: Vec<Duration>,
    told_to_wait: usize,
}

impl Client {
    /// Sends a request until it is not answered with 503.
    async fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        for _ in 0..TRIES {
            let begin = Instant::now();
            let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
            if !body.is_null() {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            let (status, has_wait) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
            let bytes = answer.bytes().await.unwrap();
            self.times.push(begin.elapsed());
            if status != 503 {
                return (status, serde_json::from_slice(&bytes).unwrap_or_default());
            }
            assert!(has_wait, "a 503 says when to come back");
            self.told_to_wait += 1;
        }
        panic!("{method} {path} was answered with 503 {TRIES} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the emulators: run scripts/test"]
#[expect(clippy::print_stderr, reason = "how much was refused is what this has to show")]
async fn an_account_that_throttles_costs_time_but_no_write() {
    let refused = Arc::new(AtomicUsize::new(0));
    let (asked, counting) = (AtomicUsize::new(0), refused.clone());
    let proxy = CosmosProxy::start(&options().endpoint, Duration::ZERO, move |request| {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        if !String::from_utf8_lossy(line).contains("/docs") {
            return Passage::Open;
        }
        let head = match drawn(asked.fetch_add(1, Ordering::SeqCst)) {
            0 => "HTTP/1.1 429 Too Many Requests\r\nx-ms-retry-after-ms: 10\r\nx-ms-substatus: 3200",
            1 => "HTTP/1.1 449 Retry With\r\nx-ms-substatus: 0",
            _ => return Passage::Open,
        };
        counting.fetch_add(1, Ordering::SeqCst);
        Passage::Refused(format!("{head}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"))
    })
    .await;
    let account = Cosmos { database: format!("Throttled{}", Uuid::new_v4().simple()), ..options() };
    CosmosStore::new(account.clone(), Identity::default()).init().await.unwrap();
    let collector = Collector::start().await;
    let (mut service, address) = Launch::development(BINARY)
        .setting("COSMOS_DB_ENDPOINT", proxy.endpoint().as_str())
        .setting("COSMOS_DB_KEY", &setting("PLUCKIT_TEST_COSMOS_KEY"))
        .setting("COSMOS_DB_DATABASE", &account.database)
        .setting("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .start();
    let http = net::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let mut client = Client { http, url: format!("http://{address}"), times: Vec::new(), told_to_wait: 0 };

    for number in 0..GARMENTS {
        let id = format!("garment-{number}");
        let garment = json!({"id": id, "category": "Tops", "tags": ["linen"], "brand": "Arket"});
        // A try whose answer is 503 may have made the garment: then it is there.
        let (status, _) = client.send("POST", "/api/wardrobe", &garment).await;
        assert!(matches!(status, 201 | 409), "{status}");
        let path = format!("/api/wardrobe/{id}");
        for wear in 0..2 {
            let wear = json!({"clientEventId": format!("wear-{number}-{wear}"), "source": "vault_card"});
            assert_eq!(client.send("PATCH", &format!("{path}/wear"), &wear).await.0, 200);
        }
        let (status, shown) = client.send("GET", &path, &Value::Null).await;
        assert_eq!((status, &shown["wearCount"]), (200, &json!(2)), "{shown}");
        for path in ["/api/wardrobe?pageSize=24", "/api/insights/vault", "/api/chat/memory", "/api/profile"] {
            assert_eq!(client.send("GET", path, &Value::Null).await.0, 200, "{path}");
        }
    }
    let mut listed = Vec::new();
    let mut path = "/api/wardrobe?pageSize=24".to_owned();
    loop {
        let (_, page) = client.send("GET", &path, &Value::Null).await;
        listed.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(token) = page["nextContinuationToken"].as_str() else { break };
        path = format!("/api/wardrobe?pageSize=24&continuationToken={token}");
    }
    listed.retain(|id| id.starts_with("garment-"));
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), GARMENTS, "{listed:?}");
    service.signal("TERM");
    service.wait(Duration::from_secs(20));

    client.times.sort();
    let (requests, refusals) = (client.times.len(), refused.load(Ordering::SeqCst));
    let p99 = client.times[requests * 99 / 100];
    eprintln!("{requests} requests, {refusals} calls refused, {} answered with 503, p99 {p99:?}", client.told_to_wait);
    assert!(refusals > requests / 10, "{refusals} calls were refused");
    assert!(client.times.iter().all(|time| *time < LONGEST), "{:?}", client.times.last());
    let names: Vec<String> = collector.received().metrics.into_iter().map(|metric| metric.name).collect();
    for name in ["pluckit.store.retries", "pluckit.store.request_units"] {
        assert!(names.iter().any(|known| known == name), "{name} among {names:?}");
    }
}
