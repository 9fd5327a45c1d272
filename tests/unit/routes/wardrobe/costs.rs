//! What each call of the wardrobe API asks of the documents, as docs/operations.md says it, for whoever pays per request unit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use parking_lot::Mutex;
use pluckit::store::Container;
use pluckit::store::sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::caller::{Answer, Caller};
use crate::support::intercepted::{Call, Fate, Intercepted};
use crate::support::photos::{accept, photo, process, retry, upload, uploaded};

const BLUE: [u8; 3] = [20, 40, 160];
/// Request units of a read, a query, a creation, a replacement and a deletion, for documents of 1 KB.
const PRICES: [usize; 5] = [1, 3, 7, 14, 7];

/// How many of each there were.
type Counts = [usize; 5];

/// Counts what the documents are asked. Sessions are left out: every signed-in request has theirs, mostly from memory.
fn note(counts: &Mutex<Counts>, call: &Call<'_>) {
    let kind = match call.name {
        "store.read" => 0,
        "store.query" | "store.count" => 1,
        "store.create" | "store.upsert" => 2,
        "store.replace" => 3,
        "store.delete" => 4,
        _ => return,
    };
    if call.container != Some(Container::RefreshTokens) {
        counts.lock()[kind] += 1;
    }
}

/// The counts of each call in the table of the operations guide. Checks its sums.
fn listed() -> BTreeMap<String, Counts> {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let section = guide.split_once("\n### Request units\n").unwrap().1.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let row = |(call, cells): (&str, &str)| {
        let cells = cells.split('|').map(|cell| cell.trim().parse().unwrap_or_default());
        let cells: Vec<usize> = cells.skip(1).collect();
        let counts: Counts = cells[..5].try_into().unwrap();
        let units: usize = counts.iter().zip(PRICES).map(|(count, price)| count * price).sum();
        assert_eq!(cells[5], units, "request units of {call}");
        (call.to_owned(), counts)
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn calls_ask_of_the_documents_what_the_operations_guide_says() {
    let clock = TestApp::builder().start().clock.clone();
    let (store, counts) = (Arc::new(SqliteStore::in_memory(clock.clone()).unwrap()), Arc::new(Mutex::new([0; 5])));
    let seen = counts.clone();
    let interceptor = move |call: &Call<'_>| {
        note(&seen, call);
        Fate::Passes
    };
    let app = TestApp::builder().clock(clock).store(Intercepted::new(store, Arc::new(interceptor))).start();
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let coat = json!({"id": "coat", "category": "Tops"});
    for id in ["coat", "hat"] {
        assert_eq!(ada.post("/api/wardrobe", json!({"id": id})).await.code(), 201);
    }
    let patch =
        async |path: &str, body: Value| ada.send(Method::PATCH, path, Some("application/json"), body.to_string()).await;
    let mut found = BTreeMap::new();
    let mut note = |call: &str, answer: &Answer| {
        assert!((200..300).contains(&answer.code()), "{call}: {}", answer.text());
        found.insert(call.to_owned(), std::mem::take(&mut *counts.lock()));
    };
    macro_rules! asked {
        ($call:literal, $answer:expr) => {{
            *counts.lock() = [0; 5];
            let answer: Answer = $answer.await;
            note($call, &answer);
            answer
        }};
    }

    asked!("GET /api/profile", ada.get("/api/profile"));
    asked!("PUT /api/profile", ada.put("/api/profile", json!({"heightCm": 170})));
    asked!("GET /api/wardrobe", ada.get("/api/wardrobe"));
    asked!("POST /api/wardrobe", ada.post("/api/wardrobe", json!({"id": "scarf"})));
    asked!("GET /api/wardrobe/{id}", ada.get("/api/wardrobe/coat"));
    asked!("PUT /api/wardrobe/{id}", ada.put("/api/wardrobe/coat", coat.clone()));
    asked!("DELETE /api/wardrobe/{id}", ada.delete("/api/wardrobe/scarf"));
    let worn = json!({"clientEventId": "w"});
    assert_eq!(patch("/api/wardrobe/coat/wear", worn).await.code(), 200);
    asked!("PATCH /api/wardrobe/{id}/wear", patch("/api/wardrobe/coat/wear", json!({"clientEventId": "v"})));
    asked!("GET /api/wardrobe/{id}/wear-history", ada.get("/api/wardrobe/coat/wear-history"));
    let styled = json!({"itemId": "hat", "clientEventId": "s"});
    asked!("POST /api/wardrobe/styling-activity", ada.post("/api/wardrobe/styling-activity", styled));
    asked!("GET /api/wardrobe/suggestions/wear", ada.get("/api/wardrobe/suggestions/wear"));
    asked!(
        "PATCH /api/wardrobe/suggestions/wear/{id}",
        patch("/api/wardrobe/suggestions/wear/s", json!({"status": "Dismissed"}))
    );
    drafts(&app, &ada, &counts, &mut note).await;

    let made = asked!(
        "POST /api/collections",
        ada.post("/api/collections", json!({"name": "Trip", "isPublic": true, "clothingItemIds": ["coat"]}))
    );
    let path = format!("/api/collections/{}", made.json()["id"].as_str().unwrap());
    asked!("GET /api/collections/{id}", ada.get(&path));
    asked!("PUT /api/collections/{id}", ada.put(&path, json!({"name": "Journey", "isPublic": true})));
    asked!("POST /api/collections/{id}/items", ada.post(&format!("{path}/items"), json!({"itemId": "hat"})));
    asked!("GET /api/collections/{id}/items", ada.get(&format!("{path}/items")));
    asked!("DELETE /api/collections/{id}/items/{itemId}", ada.delete(&format!("{path}/items/hat")));
    asked!("POST /api/collections/{id}/join", eve.post(&format!("{path}/join"), json!({})));
    asked!("GET /api/collections", eve.get("/api/collections"));
    asked!("DELETE /api/collections/{id}/leave", eve.delete(&format!("{path}/leave")));
    asked!("DELETE /api/collections/{id}", ada.delete(&path));
    assert_eq!(found, listed());
}

/// The calls of drafts, and the worker's part.
async fn drafts(app: &TestApp, ada: &Caller, counts: &Mutex<Counts>, note: &mut impl FnMut(&str, &Answer)) {
    let reset = || *counts.lock() = [0; 5];
    reset();
    let draft = upload(ada, &photo(BLUE), &[]).await;
    note("POST /api/wardrobe/upload", &draft);
    let id = draft.json()["id"].as_str().unwrap().to_owned();
    reset();
    process(app).await;
    let worked = std::mem::take(&mut *counts.lock());
    let listed = ada.get("/api/wardrobe/drafts").await;
    note("GET /api/wardrobe/drafts", &listed);
    *counts.lock() = worked;
    note("ProcessImageJob", &listed);
    let answer = ada.get(&format!("/api/wardrobe/{id}/pictures")).await;
    note("GET /api/wardrobe/{id}/pictures", &answer);
    let answer = ada.post(&format!("/api/wardrobe/{id}/cutout"), json!({"mode": "none"})).await;
    note("POST /api/wardrobe/{id}/cutout", &answer);
    let answer = accept(ada, &id).await;
    note("PATCH /api/wardrobe/drafts/{id}/accept", &answer);
    let broken = uploaded(ada, &photo(BLUE)[..200]).await;
    process(app).await;
    app.clock.advance(Duration::from_secs(1));
    reset();
    let answer = retry(ada, &broken).await;
    note("POST /api/wardrobe/drafts/{id}/retry", &answer);
    process(app).await;
}
