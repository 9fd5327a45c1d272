//! What a read costs with Cosmos DB: processor time of a point read and of a page through the store against bare
//! `reqwest` calls to the same emulator, and the time of each route when every call of the store takes 5 ms more.
//!
//! Needs the emulator: `requirements/tools/README.md` says how to start it.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

mod support;

#[path = "../tests/unit/support/cosmos_proxy.rs"]
#[expect(dead_code, reason = "tests also refuse requests and lose answers")]
mod cosmos_proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cosmos_proxy::{CosmosProxy, Passage};
use pluckit::azure::Identity;
use pluckit::config::Cosmos;
use pluckit::data::items::GLOBAL;
use pluckit::net;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::{Container, DocumentStore, Key, Query};
use serde_json::{Value, json};
use support::load::{Connection, get};
use support::service::{Launch, Service};
use support::{BINARY, Goal, median, print_figure, print_head, processor_microseconds, runtime};
use tokio::task::JoinSet;
use url::Url;

/// Callers at the same time.
const CALLERS: usize = 16;
const ROUNDS: usize = 9;
const SPAN: Duration = Duration::from_secs(1);
const USER: &str = "ada";
const PAGE: usize = 50;
/// One of the garments.
const GARMENT: &str = "garment-07";
/// A region's distance.
const DISTANCE: Duration = Duration::from_millis(5);
/// Time that a route may take in addition to its sequential calls, in milliseconds.
const REST: f64 = 3.0;
const REPEATS: usize = 40;

fn main() {
    runtime().block_on(measure());
}

/// A variable that says where the emulator is.
#[expect(
    clippy::disallowed_methods,
    reason = "the emulator's address is the benchmark's own setting, not the service's"
)]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see requirements/tools/README.md"))
}

fn account(database: &str, endpoint: Url) -> Cosmos {
    Cosmos {
        endpoint,
        key: Some(variable("PLUCKIT_TEST_COSMOS_KEY").into()),
        database: database.to_owned(),
        containers: BTreeMap::new(),
        emulator: true,
        vector_search: false,
    }
}

async fn measure() {
    print_head("Cosmos DB");
    let endpoint = Url::parse(&variable("PLUCKIT_TEST_COSMOS_ENDPOINT")).unwrap();
    let store = Arc::new(CosmosStore::new(account("Bench", endpoint.clone()), Identity::default()));
    store.init().await.unwrap();
    fill(&*store).await;
    costs(&store, &endpoint).await;
    routes(&endpoint).await;
}

async fn fill(store: &dyn DocumentStore) {
    for number in 0..PAGE {
        let id = format!("garment-{number:02}");
        let notes = "linen ".repeat(100);
        let garment = json!({"id": id, "userId": USER, "category": "Tops", "notes": notes, "dateAdded": "2026-03-02"});
        store.upsert(&Key::new(Container::Wardrobe, USER, &id), &garment).await.unwrap();
        let id = format!("found-{number:02}");
        let found = json!({"id": id, "userId": GLOBAL, "sourceId": "brand-a", "title": "Coat", "scoreSignal": number});
        store.upsert(&Key::new(Container::ScrapedItems, GLOBAL, &id), &found).await.unwrap();
    }
}

/// Processor time of this process per call, in microseconds.
async fn cost<F: Future<Output = ()> + Send>(call: impl Fn() -> F + Clone + Send + 'static) -> f64 {
    let (begin, before) = (Instant::now(), processor_microseconds(std::process::id()));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let call = call.clone();
        callers.spawn(async move {
            let mut calls = 0_u32;
            while begin.elapsed() < SPAN {
                call().await;
                calls += 1;
            }
            calls
        });
    }
    let calls: u32 = callers.join_all().await.into_iter().sum();
    (processor_microseconds(std::process::id()) - before) / f64::from(calls)
}

/// Measures a point read and a page, with and without the store.
async fn costs(store: &Arc<CosmosStore>, endpoint: &Url) {
    let http = net::builder().no_proxy().build().unwrap();
    let documents = format!("{endpoint}dbs/Bench/colls/Wardrobe/docs");
    let bare = move |path: &str, query: Option<&'static str>| {
        let url = format!("{documents}{path}");
        let request = match query {
            None => http.get(url),
            Some(query) => http
                .post(url)
                .header("content-type", "application/query+json")
                .header("x-ms-documentdb-isquery", "true")
                .header("x-ms-max-item-count", PAGE)
                .body(query),
        };
        let request = request
            .header("authorization", "type%3dmaster%26ver%3d1.0%26sig%3d")
            .header("x-ms-version", "2020-07-15")
            .header("x-ms-documentdb-partitionkey", format!("[\"{USER}\"]"));
        async move { request.send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap() }
    };
    const STATEMENT: &str = r#"{"query": "SELECT * FROM c ORDER BY c.dateAdded DESC", "parameters": []}"#;
    let found: Value = serde_json::from_slice(&bare("", Some(STATEMENT)).await).unwrap();
    assert_eq!(found["Documents"].as_array().map(Vec::len), Some(PAGE), "both ask for the same");

    let (mut reads, mut pages) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        let asking = store.clone();
        let read = move || {
            let store = asking.clone();
            async move {
                let key = Key::new(Container::Wardrobe, USER, GARMENT);
                assert!(store.read(&key).await.unwrap().is_some());
            }
        };
        reads.0.push(cost(read).await);
        let asking = bare.clone();
        reads.1.push(
            cost(move || {
                let answer = asking(&format!("/{GARMENT}"), None);
                async move { drop(answer.await) }
            })
            .await,
        );
        let asking = store.clone();
        let page = move || {
            let store = asking.clone();
            async move {
                let query = Query::partition(Container::Wardrobe, USER)
                    .order_by("dateAdded", pluckit::store::Direction::Descending)
                    .limit(PAGE);
                assert_eq!(store.query(&query).await.unwrap().documents.len(), PAGE);
            }
        };
        pages.0.push(cost(page).await);
        let asking = bare.clone();
        pages.1.push(
            cost(move || {
                let answer = asking("", Some(STATEMENT));
                async move { drop(answer.await) }
            })
            .await,
        );
    }
    let figures = [("a point read, processor time", reads, 120.0), ("a page of 50, processor time", pages, 200.0)];
    for (name, (ours, bare), most) in figures {
        print_figure(name, "µs", median(&ours), median(&bare), Goal::AtMost(most));
    }
}

/// Returns read routes of the API with their number of sequential store calls, from `docs/costs.md`.
fn read_routes() -> Vec<(String, usize)> {
    let sheet = include_str!("../docs/costs.md");
    let rows = sheet.lines().filter_map(|line| line.strip_prefix("| `GET "));
    let rows = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (path, depth) = (cells[0].trim_end_matches('`'), cells[cells.len() - 3].parse().ok()?);
        let path = path.replace("/api/wardrobe/{id}", &format!("/api/wardrobe/{GARMENT}"));
        (!path.contains(['{', ' '])).then_some((path, depth))
    });
    rows.collect()
}

/// Returns the median duration, in milliseconds.
async fn median_time(mut work: impl AsyncFnMut()) -> f64 {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begin = Instant::now();
        work().await;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    median(&times)
}

/// Returns the time of a call without the service, including the proxy.
async fn bare_call(account: &Url) -> f64 {
    let http = net::builder().no_proxy().build().unwrap();
    median_time(async || drop(http.get(account.clone()).send().await.unwrap().bytes().await.unwrap())).await
}

/// Starts the service at a distance from the emulator. Returns a connection to it and the address of its account, too.
async fn start(endpoint: &Url, distance: Duration) -> (Service, Connection, Url) {
    let proxy = CosmosProxy::start(endpoint, distance, |_| Passage::Open).await;
    let (service, address) = Launch::development(BINARY)
        .setting("COSMOS_DB_ENDPOINT", proxy.endpoint().as_str())
        .setting("COSMOS_DB_KEY", &variable("PLUCKIT_TEST_COSMOS_KEY"))
        .setting("COSMOS_DB_DATABASE", "Bench")
        .setting("LOCAL_DEV_USER_ID", USER)
        .start();
    (service, Connection::open(address).await.unwrap(), proxy.endpoint())
}

/// The time of each route with every call as long as to another region, and as its baseline that without any distance,
/// which is the time of the emulator and ours.
async fn routes(endpoint: &Url) {
    let (_far_service, mut far, far_account) = start(endpoint, DISTANCE).await;
    let (_near_service, mut near, near_account) = start(endpoint, Duration::ZERO).await;
    let name = "a call without the service, p50";
    print_figure(name, "ms", bare_call(&far_account).await, bare_call(&near_account).await, Goal::None);
    for (path, depth) in read_routes() {
        let request = get(&path, "");
        let at_a_distance = median_time(async || assert_eq!(far.ask(&request).await.unwrap(), 200, "{path}")).await;
        let here = median_time(async || assert_eq!(near.ask(&request).await.unwrap(), 200, "{path}")).await;
        let most = DISTANCE.as_secs_f64() * 1000.0 * depth as f64 + REST;
        print_figure(&format!("{path}, {depth} in a row, p50"), "ms", at_a_distance, here, Goal::AtMost(most));
    }
}
