//! Specific to the embedded store: its file, its indexes, and a manual clock.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use pluckit::base::clock::ManualClock;
use pluckit::data::Data;
use pluckit::model::draft::DraftStatus;
use pluckit::model::ids::{FamilyId, ItemId, UserId};
use pluckit::model::job::JobStatus;
use pluckit::model::timestamp::Timestamp;
use pluckit::store::query::Comparison;
use pluckit::store::sqlite::SqliteStore;
use pluckit::store::{Container, Direction, DocumentStore, Error, Filter, Key, Query, Stored, Upkeep, Write};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;

use super::system_clock;
use crate::support::intercepted::{Call, Fate, Intercepted};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A path in a directory that is gone when the test ends.
fn new_file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data").join("store.db");
    (directory, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, system_clock()).unwrap()
}

fn item(user: &str, id: &str, fields: Value) -> (Key, Value) {
    in_container(Container::Wardrobe, user, id, fields)
}

fn in_container(container: Container, partition: &str, id: &str, mut fields: Value) -> (Key, Value) {
    fields["id"] = json!(id);
    fields[container.spec().partition_key] = json!(partition);
    (Key::new(container, partition, id), fields)
}

fn content(stored: &Stored) -> Value {
    stored.parse().unwrap()
}

async fn count(store: &SqliteStore, query: Query) -> usize {
    store.query(&query.limit(100_000)).await.unwrap().documents.len()
}

// The file

#[tokio::test]
async fn a_reopened_file_has_what_was_written() {
    let (_directory, path) = new_file();
    let (key, coat) = item("ada", "coat", json!({ "brand": "Marni" }));
    let etag = open(&path).create(&key, &coat).await.unwrap();
    let stored = open(&path).read(&key).await.unwrap().unwrap();
    assert_eq!((content(&stored), stored.etag), (coat, etag));
}

#[tokio::test]
async fn a_dropped_store_leaves_one_sound_file() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let (key, coat) = item("ada", "coat", json!({}));
    store.create(&key, &coat).await.unwrap();
    store.read(&key).await.unwrap();
    drop(store);
    let left: Vec<_> = path.parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store.db"]);
    let connection = Connection::open(&path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_only_for_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = new_file();
    let store = open(&path);
    store.ping().await.unwrap();
    for entry in path.parent().unwrap().read_dir().unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let (_directory, path) = new_file();
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let Err(Error::Failed(cause)) = SqliteStore::open(&path, system_clock()) else {
        panic!("it should have been refused");
    };
    assert!(cause.to_string().contains("layout 1000, written by a newer version"), "{cause}");
    let version: u32 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1000);
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let (_directory, path) = new_file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "a letter to my grandmother, certainly no database").unwrap();
    assert!(matches!(SqliteStore::open(&path, system_clock()), Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn indexes_and_tables_are_brought_up_to_date() {
    let schema = |path: &Path| -> Vec<(String, String)> {
        let connection = Connection::open(path).unwrap();
        let mut statement =
            connection.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(|row| row.unwrap()).collect()
    };
    let (_directory, path) = new_file();
    let (key, coat) = item("ada", "coat", json!({ "wearCount": 1 }));
    open(&path).create(&key, &coat).await.unwrap();
    let fresh = schema(&path);
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "DROP INDEX Wardrobe_columns_by_dateAdded;
             DROP INDEX WearEvents_by_occurredAt_desc;
             CREATE INDEX WearEvents_by_occurredAt_desc ON WearEvents (etag);
             CREATE INDEX of_an_older_version ON Wardrobe (updated_at);
             DROP TABLE Jobs;",
        )
        .unwrap();
    let store = open(&path);
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap()), coat);
    drop(store);
    assert_eq!(schema(&path), fresh);
}

/// A program of an older version drops the triggers that keep the table, and writes without them.
#[tokio::test]
async fn the_table_of_a_list_is_made_anew_where_it_was_not_kept() {
    let (_directory, path) = new_file();
    let item =
        |id: &str, tag: &str| in_container(Container::ScrapedItems, "global", id, json!({ "tags": [tag, 7, ""] }));
    let store = open(&path);
    for (key, document) in [item("kept", "Denim"), item("gone", "denim"), item("changed", "linen")] {
        store.create(&key, &document).await.unwrap();
    }
    drop(store);
    let older = Connection::open(&path).unwrap();
    older
        .execute_batch(
            "DROP TRIGGER ScrapedItems_tags_insert; DROP TRIGGER ScrapedItems_tags_update;
             DROP TRIGGER ScrapedItems_tags_delete;
             DELETE FROM ScrapedItems WHERE id = 'gone';
             UPDATE ScrapedItems SET document = replace(document, 'linen', 'DENIM');",
        )
        .unwrap();
    drop(older);
    let store = open(&path);
    let (key, document) = item("new", "denim");
    store.upsert(&key, &document).await.unwrap();
    let query = Query::partition(Container::ScrapedItems, "global")
        .matching(Filter::ContainsAny("tags", vec!["denim".to_owned()]))
        .order_by("scoreSignal", Direction::Descending)
        .order_by("id", Direction::Ascending);
    let plan = store.query_plan(&query).await.unwrap();
    assert!(plan.iter().any(|step| step.contains("ScrapedItems_tags")), "{plan:?}");
    let found = store.query(&query).await.unwrap().documents;
    let ids: Vec<_> = found.iter().map(|stored| content(stored)["id"].clone()).collect();
    assert_eq!(json!(ids), json!(["changed", "kept", "new"]));
}

#[tokio::test]
async fn two_stores_share_one_file() {
    let (_directory, path) = new_file();
    // All start on an empty file at the same moment; two go on.
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || open(&path))
        })
        .collect();
    let stores: Vec<SqliteStore> = join_all(opening).await.into_iter().map(|opened| opened.unwrap()).collect();
    let (key, counter) = item("ada", "counter", json!({ "wearCount": 0 }));
    stores[0].create(&key, &counter).await.unwrap();
    // Each adds one a hundred times, by compare-and-swap, against the other.
    let add = async |store: &SqliteStore| {
        let mut added = 0;
        while added < 100 {
            let stored = store.read(&key).await.unwrap().unwrap();
            let mut counter = content(&stored);
            counter["wearCount"] = json!(counter["wearCount"].as_i64().unwrap() + 1);
            match store.replace(&key, &counter, &stored.etag).await {
                Ok(_) => added += 1,
                Err(Error::Conflict) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let both = async { tokio::join!(add(&stores[0]), add(&stores[1])) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("both should get their turns");
    assert_eq!(content(&stores[0].read(&key).await.unwrap().unwrap())["wearCount"], 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_keeps_locked_is_unavailable() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let (coat_key, coat) = item("ada", "coat", json!({}));
    let (shoe_key, shoe) = item("ada", "shoe", json!({}));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (coat_result, shoe_result) = tokio::join!(store.create(&coat_key, &coat), store.create(&shoe_key, &shoe));
    assert!(matches!(coat_result, Err(Error::Unavailable(_))), "{coat_result:?}");
    assert!(matches!(shoe_result, Err(Error::Unavailable(_))), "{shoe_result:?}");
    assert!(store.read(&coat_key).await.unwrap().is_none(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    store.create(&coat_key, &coat).await.unwrap();
}

#[tokio::test]
async fn a_moment_stays_as_it_was() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let (key, coat) = item("ada", "coat", json!({ "brand": "Marni" }));
    store.create(&key, &coat).await.unwrap();
    let moment = open(&path).at_this_moment().unwrap();
    store.upsert(&key, &item("ada", "coat", json!({ "brand": "Arket" })).1).await.unwrap();
    let (new, shoe) = item("ada", "shoe", json!({}));
    store.create(&new, &shoe).await.unwrap();
    assert_eq!(content(&moment.read(&key).await.unwrap().unwrap())["brand"], "Marni");
    let all = Query::partition(Container::Wardrobe, "ada");
    assert_eq!((count(&moment, all.clone()).await, count(&store, all).await), (1, 2));
    assert!(moment.read(&new).await.unwrap().is_none());
}

// Groups of writes

#[tokio::test]
async fn a_thousand_writers_at_once_all_succeed() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let documents: Vec<_> =
        (0..1000).map(|number| item("ada", &format!("item-{number}"), json!({ "number": number }))).collect();
    let results = join_all(documents.iter().map(|(key, document)| store.create(key, document))).await;
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    drop(store);
    assert_eq!(count(&open(&path), Query::partition(Container::Wardrobe, "ada")).await, 1000);
}

#[tokio::test]
async fn a_failed_write_costs_none_of_its_group() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let (taken_key, taken) = item("ada", "taken", json!({}));
    store.create(&taken_key, &taken).await.unwrap();
    // Asked for at once, on one thread: they wait together. Every other one is a batch that fails in its second write.
    let writes = (0..200).map(|number| {
        let (_, mine) = item("ada", &format!("item-{number:03}"), json!({}));
        let mut writes = vec![Write::Create { document: mine }];
        if number % 2 == 1 {
            writes.push(Write::Create { document: taken.clone() });
        }
        writes
    });
    let batches: Vec<_> = writes.collect();
    let results = join_all(batches.iter().map(|writes| store.batch(Container::Wardrobe, "ada", writes))).await;
    for (number, result) in results.iter().enumerate() {
        assert!(if number % 2 == 0 { result.is_ok() } else { matches!(result, Err(Error::Conflict)) }, "{result:?}");
    }
    assert_eq!(count(&store, Query::partition(Container::Wardrobe, "ada")).await, 101);
}

#[tokio::test]
async fn batches_have_the_limit_of_the_other_store() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    let writes = |count: usize| -> Vec<Write> {
        (0..count)
            .map(|number| Write::Create { document: item("ada", &format!("item-{number}"), json!({})).1 })
            .collect()
    };
    assert!(matches!(store.batch(Container::Wardrobe, "ada", &writes(101)).await, Err(Error::Failed(_))));
    assert_eq!(count(&store, Query::all(Container::Wardrobe)).await, 0);
    store.batch(Container::Wardrobe, "ada", &writes(100)).await.unwrap();
    store.batch(Container::Wardrobe, "ada", &[]).await.unwrap();
    assert_eq!(count(&store, Query::all(Container::Wardrobe)).await, 100);
    let large = ["one", "two"]
        .map(|id| Write::Create { document: item("bob", id, json!({ "notes": "x".repeat(1_100_000) })).1 });
    let result = store.batch(Container::Wardrobe, "bob", &large).await;
    assert!(matches!(result, Err(Error::TooLarge { size_bytes: 2_200_000.. })), "{result:?}");
}

// Queries

/// Asserts that SQLite finds the documents of `query` in order by an index, on its first page and on later ones.
/// `index` is part of the first page's plan.
async fn assert_uses_an_index(store: &SqliteStore, query: &Query, index: &str) {
    let first = store.query_plan(query).await.unwrap();
    assert!(first.iter().any(|step| step.contains(index)), "{query:?}: {first:?}");
    let page = store.query(&query.clone().limit(1)).await.unwrap();
    let later = match page.next {
        Some(token) => store.query_plan(&query.clone().after(Some(token))).await.unwrap(),
        None => Vec::new(),
    };
    // What an index of a narrow table gives is sorted once more with its documents.
    let is_narrow = first.iter().any(|step| step.contains("_columns_by_"));
    let is_left_out = |step: &str| is_within_a_document(step) || is_narrow && step.contains("TEMP B-TREE");
    for step in first.iter().chain(&later).filter(|step| !is_left_out(step)) {
        let is_search = step.starts_with("SEARCH") && step.contains(" INDEX ");
        let is_ordered_scan = query.scope == pluckit::store::Scope::All && step.contains("USING INDEX");
        assert!(is_search || is_ordered_scan, "{query:?}: {first:?}, later {later:?}");
    }
}

/// Whether a step of a plan only looks into a list of a document.
fn is_within_a_document(step: &str) -> bool {
    step.contains("SUBQUERY")
        || step.contains("VIRTUAL TABLE")
        || step.contains("(subquery")
        || step.contains("PRIMARY KEY")
}

#[tokio::test]
async fn every_named_query_uses_an_index() {
    let store = Arc::new(SqliteStore::in_memory(system_clock()).unwrap());
    let seen: Arc<Mutex<Vec<Query>>> = Arc::default();
    let recorded = seen.clone();
    let record = move |call: &Call<'_>| {
        recorded.lock().unwrap().extend(call.query.cloned());
        Fate::Passes
    };
    // Two of each, so that there is a second page to plan.
    for id in ["a", "b"] {
        for container in Container::ALL {
            let fields = json!({ "accessTokenHash": "x", "refreshTokenHash": "x", "itemId": "coat", "wearCount": 1 });
            let partition = if matches!(container.spec().partition_key, "id" | "jobId") { id } else { "ada" };
            let (key, document) = in_container(container, partition, id, fields);
            store.create(&key, &document).await.unwrap();
        }
    }
    let data = Data::new(Intercepted::new(store.clone(), Arc::new(record)));
    let ada = UserId::from("ada");
    let ids_of_items = [ItemId::from("a"), ItemId::from("b")];
    let mut expected = Vec::new();
    // Runs one query and says which index it should use.
    macro_rules! asks {
        ($query:expr, $index:expr) => {
            drop($query);
            expected.push($index);
        };
    }
    asks!(data.sessions.find_by_access_hash("x").await.unwrap(), "RefreshTokens_by_accessTokenHash_asc_across");
    asks!(data.sessions.find_by_refresh_hash("x").await.unwrap(), "RefreshTokens_by_refreshTokenHash_asc_across");
    asks!(pin!(data.sessions.live(&ada, None)).next().await, "sqlite_autoindex_RefreshTokens_1");
    let family = FamilyId::from("family");
    asks!(pin!(data.sessions.live(&ada, Some(&family))).next().await, "sqlite_autoindex_RefreshTokens_1");
    asks!(pin!(data.wardrobe.owned(&ada)).next().await, "sqlite_autoindex_Wardrobe_1");
    asks!(data.wardrobe.newest_owned(&ada, 10).await.unwrap(), "COVERING INDEX Wardrobe_columns_by_dateAdded");
    asks!(
        data.wear_events.newest_of_item(&ada, &ItemId::from("coat"), 10).await.unwrap(),
        "WearEvents_by_itemId_asc_occurredAt_desc"
    );
    asks!(
        data.wear_events
            .history(&ada, &ItemId::from("coat"), Some(datetime!(2026-01-01 0:00 UTC)), None, 10)
            .await
            .unwrap(),
        "WearEvents_by_itemId_asc_occurredAt_desc"
    );
    let now = Timestamp::from(datetime!(2026-03-02 09:15 UTC));
    asks!(data.styling.pending(&ada, now, 10).await.unwrap(), "StylingActivity_by_status_asc_occurredAt_desc");
    asks!(data.wardrobe.find_all_users(&["a".into(), "b".into()]).await.unwrap(), "Wardrobe_by_id_asc_across");
    asks!(data.drafts.page(&ada, 10, None).await.unwrap(), "Wardrobe_by_draftCreatedAt_desc_id_asc");
    asks!(
        data.drafts.unchanged_since(DraftStatus::Failed, now, 10).await.unwrap(),
        "Wardrobe_by_draftStatus_asc_draftUpdatedAt_asc_across"
    );
    asks!(
        data.drafts.undated(DraftStatus::Processing, 10).await.unwrap(),
        "Wardrobe_by_draftStatus_asc_draftUpdatedAt_asc_across"
    );
    asks!(data.wardrobe.owned_numbers(&ada, |_| ()).collect::<Vec<_>>().await, "sqlite_autoindex_Wardrobe_1");
    let since = datetime!(2026-01-01 0:00 UTC);
    asks!(data.wear_events.numbers_since(&ada, since).collect::<Vec<_>>().await, "WearEvents_by_occurredAt_desc");
    asks!(data.moods.top_by_trend(None, 10).await.unwrap(), "Moods_by_trendScore_desc_across");
    asks!(data.moods.top_by_trend(Some("ada"), 10).await.unwrap(), "Moods_by_trendScore_desc ");
    asks!(data.items.vectors(|vector| vector).collect::<Vec<_>>().await, "ScrapedItems_by_scrapedAt_desc_id_asc");
    // Those that have no date.
    expected.push("ScrapedItems_by_scrapedAt_desc_id_asc");
    let ids = ["a".into(), "b".into()];
    asks!(data.items.find_many(&ids).await, "sqlite_autoindex_ScrapedItems_1");
    asks!(pin!(data.items.ids(None)).next().await, "sqlite_autoindex_ScrapedItems_1");
    let since = Some(Timestamp::from(datetime!(2026-03-01 00:00 UTC)));
    asks!(pin!(data.items.ids(since)).next().await, "ScrapedItems_by_scrapedAt_desc_id_asc");
    asks!(pin!(data.items.hashes("ada", None)).next().await, "sqlite_autoindex_ScrapedItems_1");
    asks!(pin!(data.items.hashes("ada", since)).next().await, "ScrapedItems_by_scrapedAt_desc_id_asc");
    let (now, pending) = (Timestamp::from(datetime!(2026-03-02 09:15 UTC)), JobStatus::Pending);
    asks!(data.jobs.page(Some(&ada), None, None, 10).await.unwrap(), "Jobs_by_createdTime_desc_id_asc ");
    asks!(
        data.jobs.page(Some(&ada), Some(pending), None, 10).await.unwrap(),
        "Jobs_by_status_asc_createdTime_desc_id_asc "
    );
    asks!(data.jobs.page(None, None, None, 10).await.unwrap(), "Jobs_by_createdTime_desc_id_asc_across");
    asks!(
        data.jobs.page(None, Some(pending), None, 10).await.unwrap(),
        "Jobs_by_status_asc_createdTime_desc_id_asc_across"
    );
    asks!(data.jobs.stale(pending, now, 10).await.unwrap(), "Jobs_by_status_asc_leaseExpiresAt_asc_across");
    asks!(data.jobs.due_for_purge(now, 10).await.unwrap(), "Jobs_by_purgeAt_asc_across");
    asks!(data.jobs.find_for_any_user(&"a".repeat(32).into()).await.unwrap(), "Jobs_by_jobId_asc_across");
    asks!(data.collections.list(&ada).await.unwrap(), "Collections_by_createdAt_desc_id_asc ");
    asks!(data.collections.find_anywhere(&"a".into()).await.unwrap(), "Collections_by_id_asc_across");
    asks!(data.collections.holding(&ada, &"a".into()).await.unwrap(), "sqlite_autoindex_Collections_1");
    asks!(data.collections.memberships(&ada).await.unwrap(), "sqlite_autoindex_CollectionMembers_1");
    asks!(data.wardrobe.find_kept(&ada, &ids_of_items).await.unwrap(), "sqlite_autoindex_Wardrobe_1");

    let queries = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(queries.len(), expected.len(), "{queries:?}");
    for (query, index) in queries.iter().zip(expected) {
        assert_uses_an_index(&store, query, index).await;
    }
}

/// Each declared order is served by its index, with equality on any leading fields and without.
#[tokio::test]
async fn every_declared_order_uses_its_index() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for container in Container::ALL {
        let spec = container.spec();
        let orders: Vec<_> =
            spec.indexes.iter().flat_map(|order| (0..=order.len()).map(move |equal| (order, equal))).collect();
        for id in ["a", "b"] {
            let fields: Value = spec
                .indexes
                .iter()
                .flat_map(|order| order.iter())
                .map(|(field, _)| ((*field).to_owned(), json!("x")))
                .collect();
            let (key, document) = in_container(container, "p", id, fields);
            if spec.partition_key != "id" {
                store.create(&key, &document).await.unwrap();
            }
        }
        for (order, equal) in orders {
            let mut queries = Vec::new();
            // Nobody orders one partition by the field that names it.
            if order.iter().all(|(field, _)| *field != spec.partition_key) {
                queries.push(Query::partition(container, "p"));
            }
            if spec.across_partitions {
                queries.push(Query::all(container));
            }
            for mut query in queries {
                for (field, _) in order.iter().take(equal).filter(|(field, _)| *field != "id") {
                    query = query.matching(Filter::equal(field, "x"));
                }
                for (field, direction) in *order {
                    query = query.order_by(field, *direction);
                }
                let index = if is_in_columns(container, order) { "columns_by_" } else { "by_" };
                assert_uses_an_index(&store, &query, &format!("{}_{index}", spec.default_name)).await;
            }
        }
    }
}

/// Whether the narrow table of a container serves the order.
fn is_in_columns(container: Container, order: &[(&'static str, Direction)]) -> bool {
    container.spec().columns.is_some_and(|columns| columns.orders.contains(&order[0].0))
}

/// A page that is filtered reads an index of the narrow table in order, and looks up rare tags.
#[tokio::test]
async fn filtered_pages_of_a_wardrobe_are_read_from_indexes_alone() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for n in 0..10 {
        let fields = json!({ "category": "Tops", "tags": ["linen"], "wearCount": n, "price": { "amount": n } });
        let (key, document) = item("ada", &format!("item-{n}"), fields);
        store.create(&key, &document).await.unwrap();
    }
    let filter = Filter::All(vec![
        Filter::EqualIgnoringCase("category", "tops".to_owned()),
        Filter::Any(vec![Filter::Contains("tags", json!("linen")), Filter::Contains("tags", json!("wool"))]),
        Filter::Compare("price.amount", pluckit::store::query::Comparison::GreaterOrEqual, json!(1)),
        Filter::Any(vec![Filter::is_absent("isWishlisted"), Filter::not_equal("isWishlisted", true)]),
        Filter::is_absent("draftStatus"),
    ]);
    for order in ["dateAdded", "wearCount", "price.amount"] {
        for (direction, by_id) in
            [(Direction::Descending, Direction::Ascending), (Direction::Ascending, Direction::Descending)]
        {
            let query = Query::partition(Container::Wardrobe, "ada").matching(filter.clone());
            let query = query.order_by(order, direction).order_by("id", by_id).limit(4);
            let page = store.query(&query).await.unwrap();
            assert_eq!(page.documents.len(), 4);
            for query in [query.clone(), query.after(page.next)] {
                let plan = store.query_plan(&query).await.unwrap();
                let reads_in_order = format!("SEARCH c USING COVERING INDEX Wardrobe_columns_by_{order}");
                assert!(plan.iter().any(|step| step.starts_with(&reads_in_order)), "{plan:#?}");
                assert!(!plan.iter().any(|step| step.starts_with("SCAN") && !step.contains("subquery")), "{plan:#?}");
            }
        }
    }
}

/// A program of an older version has no triggers for the narrow table, and drops those that it finds.
#[tokio::test]
async fn the_narrow_table_is_made_anew_where_it_was_not_kept() {
    let (_directory, path) = new_file();
    let store = open(&path);
    let garment =
        |id: &str, category: &str, tag: &str| item("ada", id, json!({ "category": category, "tags": [tag, tag] }));
    for (key, document) in [garment("kept", "Tops", "a"), garment("gone", "Tops", "a"), garment("changed", "Tops", "a")]
    {
        store.create(&key, &document).await.unwrap();
    }
    drop(store);
    let older = Connection::open(&path).unwrap();
    let (_, changed) = garment("changed", "Bottoms", "b");
    older
        .execute_batch(
            "DROP TRIGGER Wardrobe_columns_insert; DROP TRIGGER Wardrobe_columns_update; DROP TRIGGER Wardrobe_columns_delete;
             DROP TRIGGER Wardrobe_elements_update; DELETE FROM Wardrobe WHERE id = 'gone';",
        )
        .unwrap();
    older.execute("UPDATE Wardrobe SET document = ? WHERE id = 'changed'", [changed.to_string()]).unwrap();
    drop(older);
    let store = open(&path);
    let found = async |filter: Filter| {
        let query =
            Query::partition(Container::Wardrobe, "ada").matching(filter).order_by("dateAdded", Direction::Descending);
        let page = store.query(&query).await.unwrap();
        page.documents.iter().map(|stored| content(stored)["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(Filter::EqualIgnoringCase("category", "TOPS".to_owned())).await, ["kept"]);
    assert_eq!(found(Filter::Contains("tags", json!("a"))).await, ["kept"]);
    assert_eq!(found(Filter::Contains("tags", json!("b"))).await, ["changed"]);
}

#[tokio::test]
async fn walks_without_an_order_follow_the_primary_key() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for container in Container::ALL {
        for id in ["a", "b"] {
            let partition = if container.spec().partition_key == "id" { id } else { "p" };
            let (key, document) = in_container(container, partition, id, json!({}));
            store.create(&key, &document).await.unwrap();
        }
        let index = format!("sqlite_autoindex_{}_1", container.spec().default_name);
        for query in [Query::partition(container, "p"), Query::all(container)] {
            assert_uses_an_index(&store, &query, &index).await;
        }
        let first = store.query(&Query::all(container).limit(1)).await.unwrap();
        let second = store.query(&Query::all(container).limit(1).after(first.next)).await.unwrap();
        let ids = [&first.documents[0], &second.documents[0]].map(|stored| content(stored)["id"].clone());
        assert_eq!((json!(ids), second.next), (json!(["a", "b"]), None));
    }
}

#[tokio::test]
async fn ranges_of_an_indexed_field_are_searched_not_scanned() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    let since = Filter::Compare("scrapedAt", pluckit::store::query::Comparison::GreaterOrEqual, json!("2026-01-01"));
    let query = Query::partition(Container::ScrapedItems, "global")
        .matching(since)
        .order_by("scrapedAt", Direction::Descending)
        .order_by("id", Direction::Ascending);
    let plan = store.query_plan(&query).await.unwrap();
    assert!(plan.len() == 1 && plan[0].contains("(partition=? AND <expr>>? AND <expr><?)"), "{plan:?}");
}

#[tokio::test]
async fn documents_that_come_or_go_between_pages_do_not_move_others() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for (id, score) in [("a", 5), ("b", 4), ("c", 4), ("d", 3), ("e", 2)] {
        let (key, document) = in_container(Container::ScrapedItems, "global", id, json!({ "scoreSignal": score }));
        store.create(&key, &document).await.unwrap();
    }
    let query = Query::partition(Container::ScrapedItems, "global")
        .order_by("scoreSignal", Direction::Descending)
        .order_by("id", Direction::Ascending)
        .limit(2);
    let first = store.query(&query).await.unwrap();
    // One comes before the position, the document at the position goes.
    let (key, document) = in_container(Container::ScrapedItems, "global", "new", json!({ "scoreSignal": 9 }));
    store.create(&key, &document).await.unwrap();
    store.delete(&Key::new(Container::ScrapedItems, "global", "b"), None).await.unwrap();
    let second = store.query(&query.after(first.next)).await.unwrap();
    let ids: Vec<_> = second.documents.iter().map(|stored| content(stored)["id"].clone()).collect();
    assert_eq!(json!(ids), json!(["c", "d"]));
}

#[tokio::test]
async fn a_token_that_does_not_decode_starts_from_the_beginning() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for id in ["a", "b"] {
        let (key, document) = item("ada", id, json!({}));
        store.create(&key, &document).await.unwrap();
    }
    // Not base64, not JSON, the wrong number of keys, a structure that no document has.
    for token in ["", "???", "bm90IGpzb24", "WyJhIiwiYiJd", "W3siYSI6MX1d", "W1siYSJdXQ"] {
        let query = Query::partition(Container::Wardrobe, "ada").after(Some(token.to_owned()));
        assert_eq!(count(&store, query).await, 2, "{token}");
    }
}

#[tokio::test]
async fn ids_may_hold_a_zero_character() {
    let (_directory, path) = new_file();
    let store = open(&path);
    for id in ["a\0b", "a\0c", "a"] {
        let (key, document) = item("user\0one", id, json!({ "name": id }));
        store.create(&key, &document).await.unwrap();
    }
    let key = Key::new(Container::Wardrobe, "user\0one", "a\0b");
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap())["name"], "a\0b");
    let query = Query::partition(Container::Wardrobe, "user\0one").limit(1);
    let first = store.query(&query).await.unwrap();
    let rest = store.query(&query.limit(10).after(first.next)).await.unwrap();
    let names: Vec<_> =
        first.documents.iter().chain(&rest.documents).map(|stored| content(stored)["name"].clone()).collect();
    assert_eq!(json!(names), json!(["a", "a\0b", "a\0c"]));
}

#[tokio::test]
async fn impossible_queries_fail() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for filter in [
        Filter::equal("a\"b", 1),
        Filter::equal("a'b", 1),
        Filter::equal("", 1),
        Filter::equal("a..b", 1),
        Filter::equal("brand", json!(["a list"])),
        Filter::Contains("tags", json!({ "an": "object" })),
        Filter::In("brand", vec![json!([])]),
    ] {
        let result = store.query(&Query::all(Container::Wardrobe).matching(filter.clone())).await;
        assert!(matches!(result, Err(Error::Failed(_))), "{filter:?}: {result:?}");
    }
}

// Expiry

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(datetime!(2026-03-08 06:00 UTC)))
}

#[tokio::test]
async fn documents_expire_on_the_second() {
    let clock = manual_clock();
    let store = SqliteStore::in_memory(clock.clone()).unwrap();
    let (key, document) = in_container(Container::RefreshTokens, "ada", "session", json!({ "ttl": 60 }));
    store.create(&key, &document).await.unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert!(store.read(&key).await.unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(store.read(&key).await.unwrap().is_none());
    assert_eq!(count(&store, Query::partition(Container::RefreshTokens, "ada")).await, 0);
    let batch = [Write::Create { document: document.clone() }];
    store.batch(Container::RefreshTokens, "ada", &batch).await.unwrap();
    assert!(store.read(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn containers_give_documents_their_life() {
    let clock = manual_clock();
    let store = SqliteStore::in_memory(clock.clone()).unwrap();
    // Thirty days, for ever unless the document says so, for ever whatever it says.
    let containers = [Container::ScrapedItems, Container::RefreshTokens, Container::Wardrobe];
    for container in containers {
        for (id, ttl) in [("none", Value::Null), ("never", json!(-1)), ("days", json!(2 * 86_400))] {
            let fields = if ttl.is_null() { json!({}) } else { json!({ "ttl": ttl }) };
            let (key, document) = in_container(container, "ada", id, fields);
            store.create(&key, &document).await.unwrap();
        }
    }
    let counts = async || {
        let mut counts = Vec::new();
        for container in containers {
            counts.push(count(&store, Query::partition(container, "ada")).await);
        }
        counts
    };
    clock.advance(DAY);
    assert_eq!(counts().await, [3, 3, 3]);
    clock.advance(DAY);
    assert_eq!(counts().await, [2, 2, 3]);
    clock.advance(28 * DAY);
    assert_eq!(counts().await, [1, 2, 3]);
}

#[tokio::test]
async fn a_life_that_cosmos_db_refuses_is_refused() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for ttl in [json!(0), json!(-2), json!(1.5), json!("60"), json!(2_147_483_648_i64), json!(true)] {
        let (key, document) = in_container(Container::RefreshTokens, "ada", "session", json!({ "ttl": ttl }));
        let result = store.create(&key, &document).await;
        assert!(matches!(result, Err(Error::Failed(_))), "{ttl}: {result:?}");
    }
}

#[tokio::test]
async fn a_sweep_deletes_what_has_expired_and_nothing_else() {
    let (_directory, path) = new_file();
    let clock = manual_clock();
    let store = SqliteStore::open(&path, clock.clone()).unwrap();
    let mut documents = Vec::new();
    for number in 0..1100 {
        documents.push(in_container(Container::Jobs, "ada", &format!("job-{number}"), json!({ "ttl": 60 })));
    }
    for number in 0..7 {
        documents.push(in_container(Container::ItemVotes, "ada", &format!("vote-{number}"), json!({})));
        documents.push(in_container(Container::Jobs, "ada", &format!("kept-{number}"), json!({})));
    }
    for result in join_all(documents.iter().map(|(key, document)| store.create(key, document))).await {
        result.unwrap();
    }
    assert_eq!(store.sweep_expired().await.unwrap(), 0);
    clock.advance(DAY);
    assert_eq!(store.sweep_expired().await.unwrap(), 1100);
    assert_eq!(store.sweep_expired().await.unwrap(), 0);
    clock.advance(29 * DAY);
    assert_eq!(store.sweep_expired().await.unwrap(), 7);
    assert_eq!(count(&store, Query::all(Container::Jobs)).await, 7);
    let rows: usize = Connection::open(&path)
        .unwrap()
        .query_row("SELECT (SELECT count(*) FROM Jobs) + (SELECT count(*) FROM ItemVotes)", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(rows, 7);
}

/// A later page of a filtered order begins where the one before ended, and not where the filter does.
#[tokio::test]
async fn later_pages_of_a_range_do_not_begin_at_its_end() {
    let store = SqliteStore::in_memory(system_clock()).unwrap();
    for n in 0..6 {
        let fields = json!({ "itemId": "coat", "occurredAt": format!("2026-01-0{}", n + 1) });
        let (key, document) = in_container(Container::WearEvents, "p", &n.to_string(), fields);
        store.create(&key, &document).await.unwrap();
    }
    for (direction, expected) in [(Direction::Descending, ["3", "2"]), (Direction::Ascending, ["4", "5"])] {
        let query = Query::partition(Container::WearEvents, "p")
            .matching(Filter::Compare("occurredAt", Comparison::GreaterOrEqual, json!("2026-01-03")))
            .order_by("occurredAt", direction)
            .limit(2);
        let first = store.query(&query).await.unwrap();
        let later = query.after(first.next);
        let page = store.query(&later).await.unwrap();
        let ids = page.documents.iter().map(|stored| stored.parse::<Value>().unwrap()["id"].clone());
        assert_eq!(ids.collect::<Vec<_>>(), expected, "{direction:?}");
        // The rest of the order is one range of the index with a bound at each end.
        let plan = store.query_plan(&later).await.unwrap();
        assert!(plan.iter().any(|step| step.contains("(partition=? AND <expr>>? AND <expr><?)")), "{plan:?}");
    }
}
