//! Vault insights: numbers, cache, exchange rates, and invalid requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use pluckit::base::clock::{Clock, ManualClock, SystemClock};
use pluckit::base::hash::sha256_hex;
use pluckit::model::timestamp::Timestamp;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, Key, Query, Write};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::store::cosmos_backend::cosmos;
use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::{TestApp, refusal, until};

const VAULT: &str = "/api/insights/vault";

async fn add_item(app: &TestApp, user: &str, id: &str, fields: Value) {
    let mut item = fields;
    item["id"] = json!(id);
    item["userId"] = json!(user);
    app.save(Container::Wardrobe, user, item).await;
}

async fn add_wear(app: &TestApp, user: &str, id: &str, item: &str, days_ago: i64) {
    let at = Timestamp::from(app.clock.now() - time::Duration::days(days_ago)).to_string();
    app.save(Container::WearEvents, user, json!({"id": id, "userId": user, "itemId": item, "occurredAt": at})).await;
}

/// A coat that was worn, a dress that was not, a wish and a draft.
async fn add_wardrobe(app: &TestApp, user: &str) {
    let coat = json!({
        "price": {"amount": 120.5, "originalCurrency": "USD"}, "wearCount": 4, "dateAdded": "2025-11-02",
        "lastWornAt": "2026-02-20T08:00:00Z", "colours": [{"name": "navy", "hex": "#1f2a44"}], "notes": "n".repeat(100),
    });
    add_item(app, user, "coat", coat).await;
    add_item(app, user, "dress", json!({"price": 300, "tags": ["red"]})).await;
    add_item(app, user, "wish", json!({"price": 9000, "isWishlisted": true})).await;
    add_item(app, user, "draft", json!({"price": 9000, "draftStatus": "Ready"})).await;
    add_wear(app, user, "w1", "coat", 10).await;
    add_wear(app, user, "w2", "coat", 40).await;
    add_wear(app, user, "w3", "coat", 100).await;
}

fn assert_etag(answer: &Answer) {
    // The body is canonical as it is, and so is what anybody makes of it who sorts the keys.
    assert_eq!(answer.header("etag"), format!("\"{}\"", sha256_hex(&answer.body)));
    assert_eq!(answer.header("etag"), format!("\"{}\"", sha256_hex(serde_json::to_vec(&answer.json()).unwrap())));
    assert_eq!(answer.header("cache-control"), "no-cache, no-store, max-age=0, must-revalidate");
    assert_eq!(answer.header("content-type"), "application/json");
}

async fn cpw(caller: &Caller, item: usize) -> Value {
    caller.get(VAULT).await.json()["cpwIntel"][item]["cpw"].clone()
}

#[tokio::test]
async fn a_wardrobe_is_told_in_numbers() {
    let app = TestApp::new();
    add_wardrobe(&app, "ada").await;
    add_item(&app, "eve", "hat", json!({"price": 1})).await;
    let answer = app.user("ada").await.get(VAULT).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_etag(&answer);
    insta::assert_json_snapshot!(answer.json(), @r#"
    {
      "behavioralInsights": {
        "mostExpensiveUnworn": {
          "amount": 300,
          "currency": "USD",
          "itemId": "dress"
        },
        "sparseHistory": true,
        "topColorWearShare": {
          "color": "navy",
          "pct": 100
        },
        "unworn90dPct": 50
      },
      "conversionStatus": "static_rates",
      "cpwIntel": [
        {
          "badge": "low",
          "breakEvenReached": true,
          "breakEvenTargetCpw": 100,
          "cpw": 30.13,
          "forecast": {
            "historicalWearRate": 1,
            "projectedMonth": "2026-03",
            "projectedWearsNeeded": 0,
            "recentWearRate": 0.67,
            "targetCpw": 100,
            "wearRateTrend": "down"
          },
          "historicalWearRate": 1,
          "itemId": "coat",
          "recentWearRate": 0.67,
          "wearRateDelta": -0.33,
          "wearRateTrend": "down"
        },
        {
          "badge": "unworn",
          "breakEvenReached": false,
          "breakEvenTargetCpw": 100,
          "cpw": null,
          "forecast": {
            "historicalWearRate": 0,
            "projectedMonth": "2027-01",
            "projectedWearsNeeded": 3,
            "recentWearRate": 0,
            "targetCpw": 100,
            "wearRateTrend": "stable"
          },
          "historicalWearRate": 0,
          "itemId": "dress",
          "recentWearRate": 0,
          "wearRateDelta": 0,
          "wearRateTrend": "stable"
        }
      ],
      "currency": "USD",
      "fxDate": "2024-03-01",
      "generatedAt": "2026-03-02T09:15:00.000Z",
      "insufficientData": false
    }
    "#);
    let answer = app.user("ada").await.get(&format!("{VAULT}?windowDays=30&targetCpw=30.12")).await.json();
    let coat = &answer["cpwIntel"][0];
    assert_eq!(coat["recentWearRate"], 1);
    // 120.5 / 4 = 30.125, which is 30.13 and so a little above the target.
    assert_eq!(
        (&coat["cpw"], &coat["badge"], &coat["breakEvenReached"]),
        (&json!(30.13), &json!("medium"), &json!(false))
    );
    assert_eq!(coat["breakEvenTargetCpw"], 30.12);
    // Targets are rounded in the same way.
    let answer = app.user("ada").await.get(&format!("{VAULT}?windowDays=30&targetCpw=30.125")).await.json();
    let coat = &answer["cpwIntel"][0];
    assert_eq!((&coat["breakEvenTargetCpw"], &coat["breakEvenReached"]), (&json!(30.13), &json!(true)));
}

#[tokio::test]
async fn answers_to_the_last_four_questions_are_kept() {
    let app = TestApp::new();
    add_wardrobe(&app, "ada").await;
    let ada = app.user("ada").await;
    for target in 1..=9 {
        app.clock.advance(Duration::from_secs(1));
        ada.get(&format!("{VAULT}?targetCpw={target}.001")).await.json();
        app.state.tasks.close();
        app.state.tasks.wait().await;
        app.state.tasks.reopen();
    }
    let kept = app.state.data.store.query(&Query::partition(Container::VaultInsightsCache, "ada")).await.unwrap();
    let ids = kept.documents.iter().map(|stored| stored.parse::<Value>().unwrap()["id"].clone());
    assert_eq!(ids.collect::<Vec<_>>(), ["vault-90-6", "vault-90-7", "vault-90-8", "vault-90-9"]);
}

#[tokio::test]
async fn an_empty_wardrobe_is_no_error() {
    let app = TestApp::new();
    let answer = app.user("ada").await.get(VAULT).await;
    assert_etag(&answer);
    let expected = json!({
        "generatedAt": "2026-03-02T09:15:00.000Z", "currency": "USD", "insufficientData": true, "fxDate": "2024-03-01",
        "conversionStatus": "static_rates", "cpwIntel": [],
        "behavioralInsights": {
            "topColorWearShare": null, "unworn90dPct": null, "mostExpensiveUnworn": null, "sparseHistory": true,
        },
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    for (query, name, kind) in [
        ("windowDays=0", "windowDays", "greater_than_equal"),
        ("windowDays=-5", "windowDays", "greater_than_equal"),
        ("windowDays=3651", "windowDays", "less_than_equal"),
        ("windowDays=99999999999999999999", "windowDays", "less_than_equal"),
        ("windowDays=1.5", "windowDays", "int_parsing"),
        ("windowDays=", "windowDays", "int_parsing"),
        ("windowDays=ninety", "windowDays", "int_parsing"),
        ("targetCpw=0", "targetCpw", "greater_than"),
        ("targetCpw=-1", "targetCpw", "greater_than"),
        ("targetCpw=inf", "targetCpw", "finite_number"),
        ("targetCpw=NaN", "targetCpw", "finite_number"),
        ("targetCpw=1e999", "targetCpw", "finite_number"),
        ("targetCpw=", "targetCpw", "float_parsing"),
        ("targetCpw=cheap", "targetCpw", "float_parsing"),
    ] {
        let (status, body) = ada.get(&format!("{VAULT}?{query}")).await.summary();
        assert_eq!((status, &body["detail"][0]["loc"]), (422, &json!(["query", name])), "{query}");
        assert_eq!(body["detail"][0]["type"], kind, "{query}");
    }
    let both = ada.get(&format!("{VAULT}?windowDays=0&targetCpw=0")).await.json();
    assert_eq!(both["detail"].as_array().unwrap().len(), 2);
    for query in ["windowDays=1", "windowDays=3650", "targetCpw=1e-300", "targetCpw=1e300", "target_cpw=12.5", "x=y"] {
        assert_eq!(ada.get(&format!("{VAULT}?{query}")).await.status, StatusCode::OK, "{query}");
    }
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again_until_something_changes() {
    let app = TestApp::new();
    add_wardrobe(&app, "ada").await;
    let ada = app.user("ada").await;
    let first = ada.get(VAULT).await;
    let with_etag = |answer: &Answer| ada.clone().header("if-none-match", answer.header("etag"));
    app.clock.advance(Duration::from_secs(29 * 60));
    let again = with_etag(&first).get(VAULT).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(
        (again.header("etag"), again.header("cache-control")),
        (first.header("etag"), first.header("cache-control"))
    );
    // Another question is another answer.
    assert_eq!(with_etag(&first).get(&format!("{VAULT}?windowDays=91")).await.status, StatusCode::OK);

    add_wear(&app, "ada", "w4", "coat", 1).await;
    let second = with_etag(&first).get(VAULT).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(second.json()["cpwIntel"][0]["recentWearRate"], 1);
    add_item(&app, "ada", "dress", json!({"price": 300, "wearCount": 1})).await;
    let third = with_etag(&second).get(VAULT).await;
    assert_eq!(third.json()["cpwIntel"][1]["cpw"], 300);
    let key = Key::new(Container::WearEvents, "ada", "w4");
    app.state.data.store.delete(&key, None).await.unwrap();
    assert_eq!(with_etag(&third).get(VAULT).await.json()["cpwIntel"][0]["recentWearRate"], 0.67);
    app.save(Container::UserProfiles, "ada", json!({"id": "ada", "currencyCode": "inr"})).await;
    let fourth = ada.get(VAULT).await.json();
    assert_eq!((&fourth["currency"], &fourth["cpwIntel"][1]["cpw"]), (&json!("INR"), &json!(24_900)));
    // What others wear makes no difference.
    let before = ada.get(VAULT).await;
    add_wardrobe(&app, "eve").await;
    assert_eq!(with_etag(&before).get(VAULT).await.status, StatusCode::NOT_MODIFIED);
    // After half an hour it is computed anew.
    app.clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(app.user("ada").await.get(VAULT).await.json()["generatedAt"], "2026-03-02T10:15:00.000Z");
}

/// Whether an answer is in the cache of the store.
async fn is_cached(store: &dyn DocumentStore, user: &str) -> bool {
    store.read(&Key::new(Container::VaultInsightsCache, user, "vault-90-100")).await.unwrap().is_some()
}

#[tokio::test]
async fn another_process_gives_the_same_answer() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let start = || TestApp::builder().clock(clock.clone()).store(store.clone()).start();
    let (one, other) = (start(), start());
    add_wardrobe(&one, "ada").await;
    let first = one.user("ada").await.get(VAULT).await;
    until("the answer is kept", || is_cached(&*store, "ada")).await;
    clock.advance(Duration::from_secs(60));
    let caller = other.user("ada").await;
    let same = caller.get(VAULT).await;
    assert_eq!((same.header("etag"), &same.body), (first.header("etag"), &first.body));
    let known = caller.clone().header("if-none-match", first.header("etag")).get(VAULT).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);

    // A damaged cached answer is only recomputed.
    let key = Key::new(Container::VaultInsightsCache, "ada", "vault-90-100");
    let mut kept: Value = store.read(&key).await.unwrap().unwrap().parse().unwrap();
    assert_eq!((&kept["ttl"], &kept["expiresAt"]), (&json!(1800), &json!("2026-03-02T09:45:00.000Z")));
    kept["payload"] = json!("bm90aGluZw==");
    store.upsert(&key, &kept).await.unwrap();
    let third = start().user("ada").await.get(VAULT).await;
    assert_eq!(third.json()["cpwIntel"], first.json()["cpwIntel"]);

    // After its time the document is gone.
    clock.advance(Duration::from_secs(31 * 60));
    assert!(!is_cached(&*store, "ada").await);
}

#[tokio::test]
async fn the_cache_can_be_turned_off() {
    let app = TestApp::builder().setting("COSMOS_DB_VAULT_INSIGHTS_CACHE_TTL_MS", "0").start();
    add_wardrobe(&app, "ada").await;
    let ada = app.user("ada").await;
    let first = ada.get(VAULT).await.json();
    app.clock.advance(Duration::from_secs(1));
    assert_ne!(ada.get(VAULT).await.json()["generatedAt"], first["generatedAt"]);
    assert!(!is_cached(&*app.state.data.store, "ada").await);
}

#[tokio::test]
async fn all_items_and_events_count() {
    let app = TestApp::new();
    let store = &app.state.data.store;
    for first in (0..2500).step_by(100) {
        let (mut items, mut wears) = (Vec::new(), Vec::new());
        for n in first..first + 100 {
            let item =
                json!({"id": format!("i{n:04}"), "userId": "ada", "price": 10, "wearCount": 1, "tags": ["teal"]});
            items.push(Write::Create { document: item });
            let wear = json!({
                "id": format!("w{n:04}"), "userId": "ada", "itemId": "i0000", "occurredAt": "2026-03-01T00:00:00Z",
            });
            wears.push(Write::Create { document: wear });
        }
        store.batch(Container::Wardrobe, "ada", &items).await.unwrap();
        store.batch(Container::WearEvents, "ada", &wears).await.unwrap();
    }
    let answer = app.user("ada").await.get(&format!("{VAULT}?windowDays=30")).await;
    assert_etag(&answer);
    let answer = answer.json();
    assert_eq!(answer["cpwIntel"].as_array().unwrap().len(), 2500);
    assert_eq!(answer["cpwIntel"][0]["recentWearRate"], 2500);
    // One of 2,500 items was worn lately.
    assert_eq!(answer["behavioralInsights"]["unworn90dPct"], 100);
}

#[tokio::test]
async fn odd_documents_cost_only_themselves() {
    let app = TestApp::new();
    add_wardrobe(&app, "ada").await;
    for (id, fields) in [
        ("o1", json!({"price": 1e300, "wearCount": -3, "dateAdded": "long ago", "lastWornAt": 7, "colours": "red"})),
        ("o2", json!({"price": {"amount": "much"}, "wearCount": 1e19, "tags": {"a": 1}, "wearEvents": [null]})),
        ("o3", json!({"price": -1, "wearCount": "two", "dateAdded": "9999-12-31T23:59:59-12:00"})),
    ] {
        add_item(&app, "ada", id, fields).await;
    }
    for (id, fields) in [
        ("e1", json!({"itemId": 7, "occurredAt": "2026-03-01"})),
        ("e2", json!({"itemId": "coat", "occurredAt": 20260301})),
        ("e3", json!({"itemId": "coat", "occurredAt": "9999-99-99"})),
        ("e4", json!({})),
    ] {
        let mut event = fields;
        event["id"] = json!(id);
        event["userId"] = json!("ada");
        app.save(Container::WearEvents, "ada", event).await;
    }
    let answer = app.user("ada").await.get(VAULT).await.json();
    let entries = answer["cpwIntel"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let badges: Vec<_> = entries.iter().map(|entry| (text(&entry["itemId"]), text(&entry["badge"]))).collect();
    let expected = [("coat", "low"), ("dress", "unworn"), ("o1", "unworn"), ("o2", "unknown"), ("o3", "unworn")];
    assert_eq!(badges, expected.map(|(id, badge)| (id.to_owned(), badge.to_owned())));
    assert_eq!(entries[0]["recentWearRate"], 0.67);
}

#[tokio::test]
async fn a_store_that_is_down_is_worth_another_try() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let whole = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let without_wardrobes = |call: &Call<'_>| match call.query {
        Some(query) if query.container == Container::Wardrobe => Fate::Fails,
        _ => Fate::Passes,
    };
    let store = Intercepted::new(whole, Arc::new(without_wardrobes));
    let app = TestApp::builder().clock(clock).store(store).start();
    let answer = app.user("ada").await.get(VAULT).await;
    let detail = refusal("The service is temporarily unavailable. Please try again.");
    assert_eq!((answer.summary(), answer.header("retry-after")), ((503, detail), "5"));
}

/// A feed of exchange rates on a free port, which says what it is told to and counts who asks.
struct Feed {
    address: SocketAddr,
    says: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Feed {
    async fn start(text: &str) -> Self {
        let says = Arc::new(Mutex::new((StatusCode::OK, text.to_owned())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, counter) = (says.clone(), asked.clone());
        let answer = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = shared.lock().unwrap().clone();
            async move { answer }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the feed ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/daily.xml", get(answer))).await });
        Self { address, says, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/daily.xml", self.address)
    }

    fn say(&self, status: StatusCode, text: &str) {
        *self.says.lock().unwrap() = (status, text.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn xml(date: &str, dollars: &str) -> String {
    format!(
        "<gesmes:Envelope xmlns:gesmes='g'><Cube><Cube time='{date}'><Cube currency='USD' rate='{dollars}'/>\
         <Cube currency='INR' rate='100'/></Cube></Cube></gesmes:Envelope>"
    )
}

async fn rates(caller: &Caller) -> (String, String, Value) {
    let answer = caller.get(VAULT).await.json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("conversionStatus"), text("fxDate"), answer["cpwIntel"][0]["cpw"].clone())
}

#[tokio::test]
async fn exchange_rates_are_asked_for_once_a_day() {
    let feed = Feed::start(&xml("2026-02-27", "1.25")).await;
    let app = TestApp::builder().setting("FX_RATES_URL", &feed.url()).start();
    app.save(Container::UserProfiles, "ada", json!({"id": "ada", "currencyCode": "INR"})).await;
    add_item(&app, "ada", "coat", json!({"price": 50, "wearCount": 1})).await;
    let ada = app.user("ada").await;
    let live = |date: &str, cpw: Value| ("live_rates".to_owned(), date.to_owned(), cpw);
    // Over the euro: 50 / 1.25 × 100.
    assert_eq!(rates(&ada).await, live("2026-02-27", json!(4000)));
    feed.say(StatusCode::OK, &xml("2026-03-02", "1"));
    app.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    let ada = app.user("ada").await;
    assert_eq!((rates(&ada).await, feed.asked()), (live("2026-02-27", json!(4000)), 1));
    app.clock.advance(Duration::from_secs(1));
    let ada = app.user("ada").await;
    assert_eq!((rates(&ada).await, feed.asked()), (live("2026-03-02", json!(5000)), 2));
}

#[tokio::test]
async fn the_last_good_rates_outlive_the_feed_and_the_process() {
    let feed = Feed::start(&xml("2026-02-27", "1.25")).await;
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-02 09:15 UTC)));
    let store: Arc<dyn DocumentStore> = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
    let start =
        |url: &str| TestApp::builder().setting("FX_RATES_URL", url).clock(clock.clone()).store(store.clone()).start();
    let app = start(&feed.url());
    add_item(&app, "ada", "coat", json!({"price": {"amount": 50, "originalCurrency": "EUR"}, "wearCount": 1})).await;
    let good = ("live_rates".to_owned(), "2026-02-27".to_owned(), json!(62.5));
    assert_eq!(rates(&app.user("ada").await).await, good);
    // Another process has no need to ask.
    assert_eq!((rates(&start(&feed.url()).user("ada").await).await, feed.asked()), (good.clone(), 1));

    clock.advance(Duration::from_secs(25 * 60 * 60));
    for (status, text) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "<html>Down for maintenance</html>".to_owned()),
        (StatusCode::OK, "x".repeat(2 * 1024 * 1024)),
    ] {
        feed.say(status, &text);
        let before = feed.asked();
        for app in [start(&feed.url()), start(&feed.url())] {
            assert_eq!(rates(&app.user("ada").await).await, good, "{status}");
        }
        // Nor is a feed that failed asked by everybody.
        assert_eq!(feed.asked(), before + 1, "{status}");
        clock.advance(Duration::from_secs(60 * 60));
    }
    // Another feed is asked at once; without an answer the last good rates still serve.
    assert_eq!(rates(&start("http://127.0.0.1:9/").user("ada").await).await, good);
    feed.say(StatusCode::OK, &xml("2026-03-03", "2"));
    assert_eq!(rates(&start(&feed.url()).user("ada").await).await.2, json!(100));
}

#[tokio::test]
async fn without_any_good_rates_the_built_in_ones_serve() {
    let app = TestApp::builder().setting("FX_RATES_URL", "http://127.0.0.1:9/daily.xml").start();
    add_item(&app, "ada", "coat", json!({"price": {"amount": 50, "originalCurrency": "EUR"}, "wearCount": 1})).await;
    let built_in = ("static_rates".to_owned(), "2024-03-01".to_owned(), json!(54));
    assert_eq!(rates(&app.user("ada").await).await, built_in);
}

#[tokio::test]
async fn exchange_rates_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rates.json");
    std::fs::write(&file, r#"{"base":"EUR","date":"2026-03-01","rates":{"USD":1.5}}"#).unwrap();
    let app = TestApp::builder().setting("FX_RATES_FILE", file.to_str().unwrap()).start();
    add_item(&app, "ada", "coat", json!({"price": {"amount": 50, "originalCurrency": "eur"}, "wearCount": 1})).await;
    let ada = app.user("ada").await;
    assert_eq!(rates(&ada).await, ("live_rates".to_owned(), "2026-03-01".to_owned(), json!(75)));
    std::fs::remove_file(&file).unwrap();
    app.clock.advance(Duration::from_secs(2 * 60 * 60));
    assert_eq!(cpw(&app.user("ada").await, 0).await, json!(75));
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn insights_over_cosmos_db_are_cached_and_never_stale() {
    // The service notes when it wrote, by the clock of the real world.
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let store: Arc<dyn DocumentStore> = Arc::new(cosmos().await);
    let app = TestApp::builder().clock(clock.clone()).store(store.clone()).start();
    let user = format!("user-{}", Uuid::new_v4().simple());
    for n in 0..30 {
        let fields =
            json!({"price": {"amount": 10.25, "originalCurrency": "USD"}, "wearCount": n % 3, "tags": ["teal"]});
        add_item(&app, &user, &format!("i{n:02}"), fields).await;
    }
    add_item(&app, &user, "wish", json!({"isWishlisted": true})).await;
    add_wear(&app, &user, "w1", "i01", 1).await;
    add_wear(&app, &user, "w2", "i01", 400).await;
    let caller = app.user(&user).await;
    // Another write in the same second would go unnoticed, so nothing is kept yet.
    let first = caller.get(VAULT).await;
    assert_etag(&first);
    assert_eq!(first.json()["cpwIntel"].as_array().unwrap().len(), 30);
    assert_eq!(
        (&first.json()["cpwIntel"][1]["cpw"], &first.json()["cpwIntel"][2]["cpw"]),
        (&json!(10.25), &json!(5.13))
    );
    assert_eq!(first.json()["cpwIntel"][1]["recentWearRate"], 0.33);
    assert_eq!(first.json()["behavioralInsights"]["topColorWearShare"], json!({"color": "teal", "pct": 100}));
    clock.advance(Duration::from_secs(10));
    let second = caller.get(VAULT).await;
    until("the answer is kept", || is_cached(&*store, &user)).await;
    clock.advance(Duration::from_secs(60));
    let known = caller.clone().header("if-none-match", second.header("etag"));
    assert_eq!(known.get(VAULT).await.status, StatusCode::NOT_MODIFIED);
    let other = TestApp::builder().clock(clock.clone()).store(store.clone()).start();
    assert_eq!(other.user(&user).await.get(VAULT).await.body, second.body);
    // Our clock has moved on; the store's, which tells seconds, must have as well.
    let written = SystemClock.now().unix_timestamp();
    until("another second", async || SystemClock.now().unix_timestamp() > written).await;
    // A change, a deletion, and a new event are noticed.
    add_item(&app, &user, "i01", json!({"price": 7, "wearCount": 1})).await;
    assert_eq!(cpw(&caller, 1).await, json!(7));
    store.delete(&Key::new(Container::Wardrobe, &user, "i00"), None).await.unwrap();
    assert_eq!(caller.get(VAULT).await.json()["cpwIntel"].as_array().unwrap().len(), 29);
    add_wear(&app, &user, "w3", "i01", 2).await;
    assert_eq!(caller.get(VAULT).await.json()["cpwIntel"][0]["recentWearRate"], 0.67);
}
