//! Similarity search over scraped items: it finds the same items as an exhaustive search, whatever is added or removed.

use std::sync::Arc;
use std::time::Duration;

use pluckit::base::clock::{Clock, ManualClock};
use pluckit::data::Data;
use pluckit::domain::similarity::items::{Found, SimilarItems};
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::{CallContext, Model};
use pluckit::model::timestamp::Timestamp;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, DocumentStore, ETag, Filter, Key, Page, Query, Stored};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio_util::task::TaskTracker;

use crate::store::cosmos_backend::cosmos;
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn embed(text: &str) -> Vec<f32> {
    OfflineModel::new().embed(&CallContext::service(), &[text.to_owned()]).await.unwrap().remove(0)
}

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<SqliteStore>,
    similar: SimilarItems,
}

impl Bench {
    fn new() -> Self {
        Self::with_room(1000)
    }

    fn with_room(most_items: usize) -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-03-10 12:00 UTC)));
        let store = Arc::new(SqliteStore::in_memory(clock.clone()).unwrap());
        let data = Data::new(store.clone());
        let similar = SimilarItems::new(data, clock.clone(), TaskTracker::new(), most_items);
        Self { clock, store, similar }
    }

    /// Saves an item that was found now, with the vector of its title.
    async fn save(&self, id: &str, title: &str, fields: Value) {
        let at = Timestamp::from(self.clock.now()).to_string();
        let mut item = json!({
            "id": id, "userId": "global", "title": title, "scrapedAt": at, "embedding": embed(title).await,
        });
        for (name, value) in fields.as_object().unwrap() {
            item[name] = value.clone();
        }
        self.store.upsert(&Key::new(Container::ScrapedItems, "global", id), &item).await.unwrap();
    }

    async fn delete(&self, id: &str) {
        assert!(self.store.delete(&Key::new(Container::ScrapedItems, "global", id), None).await.unwrap());
    }

    async fn search(&self, query: &str) -> Vec<String> {
        let Found { items, is_complete } = self.similar.search(&embed(query).await, 5, 0.3).await.unwrap();
        assert!(is_complete);
        items.into_iter().map(|item| item.id).collect()
    }
}

/// The items as `what_comes_is_found_after_a_minute` has them, in a database that other tests use too.
#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn items_in_cosmos_db_are_found_too() {
    let clock = Arc::new(ManualClock::new(datetime!(2026-03-10 12:00 UTC)));
    let store = Arc::new(cosmos().await);
    let data = Data::new(store.clone());
    let similar = SimilarItems::new(data, clock.clone(), TaskTracker::new(), 10_000);
    let word = format!("kimono{}", uuid::Uuid::new_v4().simple());
    let vector = embed(&word).await;
    let save = async |number: i64, fields: Value| {
        let id = format!("{word}-{number}");
        let mut item = json!({
            "id": id, "userId": "global", "title": word, "embedding": vector, "scoreSignal": -number,
            "scrapedAt": Timestamp::from(clock.now()).to_string(),
        });
        for (name, value) in fields.as_object().unwrap() {
            item[name] = value.clone();
        }
        store.upsert(&Key::new(Container::ScrapedItems, "global", id), &item).await.unwrap();
    };
    let found = async || {
        let found = similar.search(&vector, 5, 0.9).await.unwrap();
        let numbers = found.items.iter().map(|item| item.id.rsplit_once('-').unwrap().1.parse::<i64>().unwrap());
        (found.is_complete, numbers.collect::<Vec<_>>())
    };
    save(0, json!({})).await;
    save(1, json!({ "scrapedAt": null })).await;
    save(2, json!({ "imageExpired": true })).await;
    save(3, json!({ "embedding": [] })).await;
    assert_eq!(found().await, (true, vec![0, 1]));
    save(4, json!({})).await;
    save(1, json!({ "imageExpired": true })).await;
    save(3, json!({})).await;
    clock.advance(MINUTE);
    assert_eq!(found().await, (true, vec![0, 3, 4]));
}

#[tokio::test]
async fn what_comes_is_found_after_a_minute() {
    let bench = Bench::new();
    bench.save("first", "brown suede loafers", json!({})).await;
    bench.save("coat", "camel wool overcoat", json!({})).await;
    assert_eq!(bench.search("brown suede loafers").await, ["first"]);
    bench.save("second", "brown suede loafers", json!({ "scoreSignal": 1 })).await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.search("brown suede loafers").await, ["second", "first"]);
}

#[tokio::test]
async fn what_goes_is_found_no_more_at_once() {
    let bench = Bench::new();
    for number in 0..8 {
        bench.save(&format!("i{number}"), "brown suede loafers", json!({ "scoreSignal": 10 - number })).await;
    }
    bench.save("short", "brown suede loafers", json!({ "scoreSignal": 99, "ttl": 30 })).await;
    assert_eq!(bench.search("brown suede loafers").await, ["short", "i0", "i1", "i2", "i3"]);
    bench.clock.advance(Duration::from_secs(30));
    bench.delete("i0").await;
    bench.save("i1", "brown suede loafers", json!({ "imageExpired": true })).await;
    bench.save("i2", "green satin dress", json!({})).await;
    assert_eq!(bench.search("brown suede loafers").await, ["i3", "i4", "i5", "i6", "i7"]);
}

#[tokio::test]
async fn those_that_are_gone_make_room_for_the_next_best() {
    let bench = Bench::new();
    // Near enough to each other that the first pass takes none but the best.
    for number in 0..6 {
        bench.save(&format!("best{number}"), "brown suede loafers", json!({})).await;
        bench.save(&format!("good{number}"), "brown suede penny loafers by a maker", json!({})).await;
    }
    assert_eq!(bench.search("brown suede loafers").await, ["best0", "best1", "best2", "best3", "best4"]);
    for number in 0..6 {
        bench.delete(&format!("best{number}")).await;
    }
    assert_eq!(bench.search("brown suede loafers").await, ["good0", "good1", "good2", "good3", "good4"]);
}

#[tokio::test]
async fn a_vector_that_comes_late_is_found() {
    let bench = Bench::new();
    bench.save("late", "brown suede loafers", json!({ "embedding": [] })).await;
    assert!(bench.search("brown suede loafers").await.is_empty());
    bench.clock.advance(5 * HOUR);
    assert!(bench.search("brown suede loafers").await.is_empty());
    // As the next run of the scraper does: without another `scrapedAt`.
    let at = json!({ "scrapedAt": "2026-03-10T12:00:00.000Z" });
    bench.save("late", "brown suede loafers", at).await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.search("brown suede loafers").await, ["late"]);
}

#[tokio::test]
async fn what_has_no_date_is_found_at_the_start_and_after_an_hour() {
    let bench = Bench::new();
    bench.save("old", "brown suede loafers", json!({ "scrapedAt": null })).await;
    assert_eq!(bench.search("brown suede loafers").await, ["old"]);
    bench.save("new", "brown suede loafers", json!({ "scrapedAt": null })).await;
    bench.clock.advance(HOUR);
    assert_eq!(bench.search("brown suede loafers").await, ["new", "old"]);
}

#[tokio::test]
async fn when_there_is_no_room_the_newest_are_found() {
    let bench = Bench::with_room(200);
    for number in 0..230 {
        bench.save(&format!("i{number:03}"), &format!("loafers number{number}"), json!({})).await;
        bench.clock.advance(Duration::from_secs(1));
    }
    // The last page that is read may go beyond the room by less than a page.
    let known = bench.search("loafers number229").await;
    assert_eq!(known[0], "i229");
    bench.save("more", "green satin dress", json!({})).await;
    bench.clock.advance(MINUTE);
    assert!(bench.search("green satin dress").await.is_empty());
}

#[tokio::test]
async fn many_pages_and_a_look_at_each_say_the_same() {
    let bench = Bench::with_room(5000);
    let words =
        ["navy", "wool", "coat", "brown", "suede", "loafers", "linen", "shirt", "grey", "silk", "dress", "boots"];
    let mut vectors = Vec::new();
    for number in 0..700 {
        let title = [number % 12, number / 12 % 12, number / 144 % 12].map(|word: usize| words[word]).join(" ");
        let id = format!("i{number:03}");
        bench.save(&id, &title, json!({ "scoreSignal": number % 7 })).await;
        vectors.push((id, number % 7, embed(&title).await));
    }
    for query in ["navy wool coat", "brown loafers", "silk dress in grey", "scuba tank", "boots boots boots"] {
        let wanted = embed(query).await;
        // To the last digit: items whose words come in another order differ in nothing more.
        let sum = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
        let cosine = |vector: &[f32]| sum(&wanted, vector) / (sum(&wanted, &wanted) * sum(vector, vector)).sqrt();
        let mut all: Vec<_> = vectors.iter().map(|(id, votes, vector)| (cosine(vector), *votes, id)).collect();
        all.retain(|(cosine, ..)| *cosine >= 0.3);
        all.sort_by(|one, other| other.0.total_cmp(&one.0).then(other.1.cmp(&one.1)).then(one.2.cmp(other.2)));
        let expected: Vec<&String> = all.iter().take(5).map(|(.., id)| *id).collect();
        assert_eq!(bench.search(query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

/// Answers for a store with one item, of whose endless pages all but the first never come.
struct Stuck {
    only: Stored,
    /// Whether it finds what is near by itself.
    has_vector_index: bool,
}

impl Interceptor for Stuck {
    fn before(&self, call: &Call<'_>) -> Fate {
        if call.query.is_some_and(|query| query.after.is_some()) { Fate::Hangs } else { Fate::Passes }
    }

    fn query(&self, query: &Query) -> Option<Page> {
        let is_by_id = matches!(&query.filter, Some(Filter::All(filters)) if matches!(filters[0], Filter::In("id", _)));
        let next = (!is_by_id).then(|| "more".to_owned());
        Some(Page { documents: vec![self.only.clone()], next, ..Page::default() })
    }

    fn nearest(&self, query: &Query, field: &'static str) -> Option<Vec<Stored>> {
        assert_eq!((query.container, field), (Container::ScrapedItems, "embedding"));
        self.has_vector_index.then(|| vec![self.only.clone()])
    }
}

async fn over_stuck_store(has_vector_index: bool) -> SimilarItems {
    let item = json!({ "id": "only", "title": "loafers", "embedding": embed("loafers").await });
    let only = Stored { json: item.to_string(), etag: ETag("1".to_owned()) };
    let Bench { clock, store, .. } = Bench::new();
    let data = Data::new(Intercepted::new(store, Arc::new(Stuck { only, has_vector_index })));
    SimilarItems::new(data, clock, TaskTracker::new(), 10)
}

#[tokio::test(start_paused = true)]
async fn a_first_search_makes_do_with_what_is_there() {
    let similar = over_stuck_store(false).await;
    let begin = tokio::time::Instant::now();
    let Found { items, is_complete } = similar.search(&embed("loafers").await, 5, 0.3).await.unwrap();
    assert!(!is_complete && items.len() == 1 && items[0].id == "only");
    assert!(begin.elapsed() < Duration::from_secs(15), "a tool may take 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_store_with_a_vector_index_is_asked_instead() {
    let similar = over_stuck_store(true).await;
    let begin = tokio::time::Instant::now();
    let Found { items, is_complete } = similar.search(&embed("loafers").await, 5, 0.3).await.unwrap();
    assert!(is_complete && items.len() == 1 && items[0].id == "only");
    assert!(similar.search(&embed("scuba tank").await, 5, 0.3).await.unwrap().items.is_empty());
    assert_eq!(begin.elapsed(), Duration::ZERO, "nothing is waited for");
}
