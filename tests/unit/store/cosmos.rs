//! Specific to the Cosmos DB back end: set-up, lost answers, unavailability.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pluckit::azure::Identity;
use pluckit::config::Cosmos;
use pluckit::store::cosmos::CosmosStore;
use pluckit::store::cosmos::schema::{Finding, Inspection};
use pluckit::store::{Container, Direction, DocumentStore, Error, Filter, Key, Query, Upkeep, Write};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

use super::cosmos_backend::{cosmos, older_database, options};
use crate::support::cosmos_proxy::{CosmosProxy, Passage};

fn fresh_key() -> (Key, Value) {
    let (user, id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let document = json!({ "id": id, "userId": user, "count": 1.0, "tags": ["é", "\""] });
    (Key::new(Container::Wardrobe, user, id), document)
}

/// An account on a port of this machine where no emulator is.
fn nowhere(port: u16) -> Cosmos {
    Cosmos {
        endpoint: Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap(),
        key: Some("c2VjcmV0".into()),
        database: "PluckIt".to_owned(),
        containers: BTreeMap::new(),
        emulator: true,
        vector_search: false,
    }
}

/// A proxy in front of the emulator that loses answers and refuses requests on demand.
struct LossyProxy {
    proxy: Arc<CosmosProxy>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// How many answers were not passed on.
    lost: AtomicUsize,
    /// Starts of requests whose next answer is lost, each once, and how.
    losses: Mutex<VecDeque<(&'static str, Passage)>>,
    /// A text that makes a request be answered with 400.
    refused: Mutex<Option<&'static str>>,
}

impl Faults {
    fn decide(&self, request: &[u8]) -> Passage {
        let refused = *self.refused.lock().unwrap();
        if refused.is_some_and(|text| String::from_utf8_lossy(request).contains(text)) {
            return Passage::Refused("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}".to_owned());
        }
        let mut losses = self.losses.lock().unwrap();
        match losses.pop_front_if(|(start, _)| request.starts_with(start.as_bytes())) {
            Some((_, loss)) => {
                self.lost.fetch_add(1, Ordering::SeqCst);
                loss
            }
            None => Passage::Open,
        }
    }
}

impl LossyProxy {
    async fn start() -> Self {
        let faults = Arc::new(Faults::default());
        let deciding = faults.clone();
        let decide = move |request: &[u8]| deciding.decide(request);
        Self { proxy: CosmosProxy::start(&options().endpoint, Duration::ZERO, decide).await, faults }
    }

    fn options(&self) -> Cosmos {
        Cosmos { endpoint: self.proxy.endpoint(), ..options() }
    }

    fn store(&self) -> CosmosStore {
        CosmosStore::new(self.options(), Identity::default())
    }

    fn lose_answer_to(&self, start: &'static str) {
        self.faults.losses.lock().unwrap().push_back((start, Passage::AnswerLost));
    }

    fn withhold_answer_to(&self, start: &'static str) {
        self.faults.losses.lock().unwrap().push_back((start, Passage::AnswerWithheld));
    }

    fn lost(&self) -> usize {
        self.faults.lost.load(Ordering::SeqCst)
    }
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_create_whose_answer_was_lost_is_no_conflict() {
    cosmos().await;
    let proxy = LossyProxy::start().await;
    let store = proxy.store();
    let (key, document) = fresh_key();
    store.ping().await.unwrap();
    proxy.lose_answer_to("POST ");
    let etag = store.create(&key, &document).await.unwrap();
    assert_eq!(proxy.lost(), 1, "no answer was lost");
    let stored = store.read(&key).await.unwrap().unwrap();
    assert_eq!(stored.etag, etag);
    // It was the only attempt that counts: the same creation by another call is a conflict.
    assert!(matches!(store.create(&key, &document).await, Err(Error::Conflict)));
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_replace_or_delete_whose_answer_was_lost_is_no_conflict() {
    cosmos().await;
    let proxy = LossyProxy::start().await;
    let store = proxy.store();
    let (key, mut document) = fresh_key();
    let first = store.create(&key, &document).await.unwrap();
    document["count"] = json!(2);
    proxy.lose_answer_to("PUT ");
    let second = store.replace(&key, &document, &first).await.unwrap();
    assert!(matches!(store.replace(&key, &document, &first).await, Err(Error::Conflict)));
    proxy.lose_answer_to("DELETE ");
    assert!(store.delete(&key, Some(&second)).await.unwrap());
    assert_eq!(proxy.lost(), 2, "answers were not lost");
    assert!(!store.delete(&key, None).await.unwrap());
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_batch_whose_answer_was_lost_is_no_conflict() {
    cosmos().await;
    let proxy = LossyProxy::start().await;
    let store = proxy.store();
    let (key, document) = fresh_key();
    store.ping().await.unwrap();
    let (container, partition) = (key.container, key.partition.clone());
    // The container's description is fetched before, so that the next POST is the batch.
    assert!(store.read(&key).await.unwrap().is_none());
    proxy.lose_answer_to("POST ");
    let writes = [Write::Create { document }];
    store.batch(container, &partition, &writes).await.unwrap();
    assert_eq!(proxy.lost(), 1, "no answer was lost");
    assert!(matches!(store.batch(container, &partition, &writes).await, Err(Error::Conflict)));
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_conflict_with_someone_else_stays_one_when_an_answer_was_lost() {
    let direct = cosmos().await;
    let proxy = LossyProxy::start().await;
    let store = proxy.store();
    store.ping().await.unwrap();
    let (key, mut document) = fresh_key();
    let first = direct.create(&key, &document).await.unwrap();
    document["count"] = json!("ours");
    proxy.lose_answer_to("POST ");
    assert!(matches!(store.create(&key, &document).await, Err(Error::Conflict)));
    document["count"] = json!("theirs");
    direct.replace(&key, &document, &first).await.unwrap();
    document["count"] = json!("ours");
    proxy.lose_answer_to("PUT ");
    assert!(matches!(store.replace(&key, &document, &first).await, Err(Error::Conflict)));
    proxy.lose_answer_to("POST ");
    let writes = [Write::Replace { document, etag: first.clone() }];
    assert!(matches!(store.batch(key.container, &key.partition, &writes).await, Err(Error::Conflict)));
    proxy.lose_answer_to("DELETE ");
    assert!(matches!(store.delete(&key, Some(&first)).await, Err(Error::Conflict)));
    assert_eq!(proxy.lost(), 4, "answers were not lost");
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_read_without_an_answer_ends_in_time() {
    cosmos().await;
    let proxy = LossyProxy::start().await;
    let store = proxy.store();
    let (key, document) = fresh_key();
    store.create(&key, &document).await.unwrap();
    for _ in 0..10 {
        proxy.withhold_answer_to("GET /dbs/PluckItTest/colls/Wardrobe/docs/");
    }
    let started = Instant::now();
    let outcome = store.read(&key).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(12), "took {:?}", started.elapsed());
    proxy.faults.losses.lock().unwrap().clear();
    assert!(store.read(&key).await.unwrap().is_some(), "the next one has nothing to wait for");
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn setting_up_twice_changes_nothing() {
    let database = format!("Fresh{}", Uuid::new_v4().simple());
    let store = CosmosStore::new(Cosmos { database, ..options() }, Identity::default());
    let first = store.init().await.unwrap();
    assert!(first.database_created);
    assert_eq!(first.created.len(), Container::ALL.len());
    let second = store.init().await.unwrap();
    assert!(!second.database_created);
    assert_eq!((second.created.len(), second.existing), (0, first.created));
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn setting_up_adds_the_indexes_that_containers_lack_and_keeps_the_others() {
    let options = older_database().await;
    let store = CosmosStore::new(options.clone(), Identity::default());
    let lacking = |inspections: Vec<Inspection>| -> Vec<(String, Vec<Finding>)> {
        let wrong = inspections.into_iter().filter(|inspection| !inspection.findings.is_empty());
        wrong.map(|Inspection { name, findings }| (name, findings)).collect()
    };
    let indexes =
        |missing: &[&str]| Finding::Indexes { missing: missing.iter().map(|&text| text.to_owned()).collect() };
    let off = || Finding::TimeToLive { found: "off".to_owned(), expected: "on, no default".to_owned() };
    let before = lacking(store.inspect().await.unwrap());
    let of = |name: &str| before.iter().find(|(found, _)| found == name).map(|(_, findings)| findings.as_slice());
    assert_eq!(of("ScrapedItems"), Some(&[indexes(&["(scoreSignal desc, id)", "(scrapedAt desc, id)"])][..]));
    assert_eq!(of("RefreshTokens"), Some(&[off()][..]));
    let letters = indexes(&["(createdAt desc, id)", "(status, createdAt desc, id)"]);
    assert_eq!(of("TasteAnalysisJobDeadLetters"), Some(&[letters][..]));
    assert_eq!(of("Digests"), None);

    let report = store.init().await.unwrap();
    assert_eq!((report.created.len(), report.existing.len()), (0, Container::ALL.len()));
    let items = report.indexed.iter().find(|(name, _)| name == "ScrapedItems").map(|(_, added)| added.len());
    assert_eq!(items, Some(2));
    // What it does not do is to let documents expire that did not before.
    let expected = ["RefreshTokens", "VaultInsightsCache", "Jobs", "ApiTokens", "ChatRuns", "Usage"];
    assert_eq!(lacking(store.inspect().await.unwrap()), expected.map(|name| (name.to_owned(), vec![off()])));
    assert_eq!(store.init().await.unwrap().indexed, []);
    // The older service's own query, which needs the index that was there.
    let older = Query::partition(Container::ScrapedItems, "global")
        .order_by("userId", Direction::Ascending)
        .order_by("scoreSignal", Direction::Descending);
    assert!(!store.query(&older).await.unwrap().loose_ties);
}

/// Each page ends where it would with all indexes. Sorted by one key, the order of ties would be undefined.
#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn every_order_is_answered_without_its_composite_index() {
    let store = CosmosStore::new(older_database().await, Identity::default());
    for container in Container::ALL {
        for order in container.spec().indexes.iter().filter(|order| order.len() > 1) {
            let mut fields = json!({});
            for (field, _) in *order {
                let mut place = &mut fields;
                for step in field.split('.') {
                    place = &mut place[step];
                }
                *place = json!(true);
            }
            for n in 0..7 {
                let id = format!("d{}", n * 3 % 7);
                let mut document = fields.clone();
                document["id"] = json!(id);
                document[container.spec().partition_key] = json!("p");
                let key = Key::new(container, "p", id);
                if key.is_valid() && container.spec().partition_key != "id" {
                    store.upsert(&key, &document).await.unwrap();
                }
            }
            for fixed in 0..order.len() {
                let mut query = Query::partition(container, "p").limit(3);
                for (field, _) in order.iter().take(fixed).filter(|(field, _)| *field != "id") {
                    query = query.matching(Filter::equal(field, true));
                }
                for (field, direction) in *order {
                    query = query.order_by(field, *direction);
                }
                let mut seen = Vec::new();
                loop {
                    let page = store.query(&query).await.unwrap();
                    let ids = page.documents.iter().map(|stored| stored.parse::<Value>().unwrap()["id"].clone());
                    let ids: Vec<String> = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
                    assert!(ids.is_sorted() || order.iter().all(|(field, _)| *field != "id"), "{query:?}: {ids:?}");
                    seen.extend(ids);
                    let Some(next) = page.next else { break };
                    query = query.after(Some(next));
                }
                seen.sort();
                assert_eq!(seen, (0..7).map(|n| format!("d{n}")).collect::<Vec<_>>(), "{query:?}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn an_account_without_vector_search_gets_its_containers_all_the_same() {
    let proxy = LossyProxy::start().await;
    *proxy.faults.refused.lock().unwrap() = Some("vectorEmbeddingPolicy");
    let database = format!("Plain{}", Uuid::new_v4().simple());
    let store = CosmosStore::new(Cosmos { database, ..proxy.options() }, Identity::default());
    let report = store.init().await.unwrap();
    assert_eq!(report.created.len(), Container::ALL.len());
    assert_eq!(report.without_vectors, ["Moods", "ScrapedItems"]);
    store.ping().await.unwrap();
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_wanting_container_is_a_failure_and_not_a_missing_document() {
    let database = format!("Empty{}", Uuid::new_v4().simple());
    let store = CosmosStore::new(Cosmos { database, ..options() }, Identity::default());
    let (key, _) = fresh_key();
    assert!(matches!(store.read(&key).await, Err(Error::Failed(_))));
    assert!(matches!(store.ping().await, Err(Error::Failed(_))));
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn pages_across_partitions_follow_each_other() {
    let store = cosmos().await;
    let marker = Uuid::new_v4().to_string();
    for number in 0..45 {
        let user = format!("{marker}-{}", number % 7);
        let mut document = json!({ "id": format!("{marker}-{number}"), "userId": user, "notes": marker });
        // A third has no sort key, a third has the same one.
        match number % 3 {
            0 => {}
            1 => document["rank"] = json!(5),
            _ => document["rank"] = json!(number),
        }
        let key = Key::new(Container::Wardrobe, user, document["id"].as_str().unwrap());
        store.create(&key, &document).await.unwrap();
    }
    for direction in [None, Some(Direction::Ascending), Some(Direction::Descending)] {
        let mut query = Query::all(Container::Wardrobe).matching(Filter::equal("notes", marker.as_str())).limit(10);
        if let Some(direction) = direction {
            query = query.order_by("rank", direction);
        }
        let (mut seen, mut ranks, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let page = store.query(&query).await.unwrap();
            lengths.push(page.documents.len());
            for stored in &page.documents {
                let document: Value = stored.parse().unwrap();
                seen.push(document["id"].as_str().unwrap().to_owned());
                ranks.push(document["rank"].as_i64());
            }
            let Some(next) = page.next else { break };
            query = query.after(Some(next));
        }
        assert_eq!(lengths, [10, 10, 10, 10, 5], "{direction:?}");
        let mut sorted = ranks.clone();
        sorted.sort();
        match direction {
            Some(Direction::Ascending) => assert_eq!(ranks, sorted),
            Some(Direction::Descending) => {
                sorted.reverse();
                assert_eq!(ranks, sorted);
            }
            None => {}
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 45, "{direction:?}");
    }
}

#[tokio::test]
async fn a_silent_service_is_unavailable_in_time() {
    // It accepts, by the listener's backlog, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = CosmosStore::new(nowhere(listener.local_addr().unwrap().port()), Identity::default());
    let started = Instant::now();
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_secs(12), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn an_absent_service_is_unavailable_soon_and_asked_again() {
    // A port that was free a moment ago, so that nothing listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let store = CosmosStore::new(nowhere(port), Identity::default());
    let started = Instant::now();
    for _ in 0..2 {
        assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
    }
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
}
