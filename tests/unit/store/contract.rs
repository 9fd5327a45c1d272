//! The contract of [`DocumentStore`], one function per guarantee.

use std::time::Duration;

use futures::future::join_all;
use pluckit::store::query::Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
use pluckit::store::{
    ChangeMark, Container, Direction, DocumentStore, ETag, Error, Filter, Key, MAX_DOCUMENT_BYTES, Query, Stored, Write,
};
use serde_json::{Value, json};
use uuid::Uuid;

use Direction::{Ascending, Descending};

/// How long a test waits for something that takes its time.
const PATIENCE: Duration = Duration::from_secs(15);

/// A name that no other test uses.
fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4().simple())
}

/// `fields` with the id and the partition of `key`.
fn document(key: &Key, fields: Value) -> Value {
    let mut document = fields;
    document["id"] = json!(key.id);
    document[key.container.spec().partition_key] = json!(key.partition);
    document
}

/// Creates documents in one partition, from id and other fields.
async fn fill<'a>(
    store: &dyn DocumentStore,
    container: Container,
    partition: &str,
    documents: impl IntoIterator<Item = (&'a str, Value)>,
) {
    for (id, fields) in documents {
        let key = Key::new(container, partition, id);
        store.create(&key, &document(&key, fields)).await.unwrap();
    }
}

fn content(stored: &Stored) -> Value {
    stored.parse().unwrap()
}

fn id_of(stored: &Stored) -> String {
    content(stored)["id"].as_str().expect("every document has an id").to_owned()
}

/// Ids of the first page, in the order they come.
async fn ids(store: &dyn DocumentStore, query: Query) -> Vec<String> {
    store.query(&query).await.unwrap().documents.iter().map(id_of).collect()
}

/// Ids of all pages. Fails if a page is too long or the walk does not end.
async fn walk(store: &dyn DocumentStore, query: Query) -> Vec<String> {
    let mut query = query;
    let mut walked = Vec::new();
    for _ in 0..1000 {
        let page = store.query(&query).await.unwrap();
        assert!(page.documents.len() <= query.limit, "a page of {} documents", page.documents.len());
        walked.extend(page.documents.iter().map(id_of));
        match page.next {
            Some(token) => query = query.after(Some(token)),
            None => return walked,
        }
    }
    panic!("the walk does not end: {walked:?}");
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn is_conflict<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict))
}

/// Waits until `key` reads as missing.
async fn expiry(store: &dyn DocumentStore, key: &Key) {
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    let gone = async {
        while store.read(key).await.unwrap().is_some() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the document should have expired");
}

// Single documents

pub async fn a_created_document_reads_back(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let coat = document(&key, json!({ "brand": "Marni", "tags": ["warm", "long"], "price": { "amount": 120.5 } }));
    let etag = store.create(&key, &coat).await.unwrap();
    let stored = store.read(&key).await.unwrap().expect("it was created");
    assert_eq!(content(&stored), coat);
    assert_eq!(stored.etag, etag);
}

pub async fn what_is_not_there_reads_as_none(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    assert!(store.read(&key).await.unwrap().is_none());
    fill(store, key.container, &key.partition, [("coat", json!({}))]).await;
    let elsewhere = Key::new(Container::Wardrobe, unique("user"), "coat");
    assert!(store.read(&elsewhere).await.unwrap().is_none());
    assert!(
        store.read(&Key { id: "Coat".to_owned(), ..key }).await.unwrap().is_none(),
        "ids know upper and lower case"
    );
}

pub async fn creating_over_a_document_conflicts(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    store.create(&key, &document(&key, json!({ "brand": "first" }))).await.unwrap();
    let second = store.create(&key, &document(&key, json!({ "brand": "second" }))).await;
    assert!(is_conflict(&second), "{second:?}");
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap())["brand"], "first");
}

pub async fn an_upsert_creates_and_overwrites(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    store.upsert(&key, &document(&key, json!({ "brand": "first", "size": 1 }))).await.unwrap();
    let etag = store.upsert(&key, &document(&key, json!({ "brand": "second" }))).await.unwrap();
    let stored = store.read(&key).await.unwrap().unwrap();
    assert_eq!(content(&stored), document(&key, json!({ "brand": "second" })));
    assert_eq!(stored.etag, etag);
}

pub async fn every_write_gives_a_new_version(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let same = document(&key, json!({}));
    let created = store.create(&key, &same).await.unwrap();
    let upserted = store.upsert(&key, &same).await.unwrap();
    let replaced = store.replace(&key, &same, &upserted).await.unwrap();
    store.delete(&key, None).await.unwrap();
    let created_again = store.create(&key, &same).await.unwrap();
    let mut versions = [created, upserted, replaced, created_again].map(|ETag(text)| text).to_vec();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 4, "{versions:?}");
}

pub async fn a_replace_needs_the_current_version(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let never_written = ETag("00000000-0000-0000-0000-000000000000".to_owned());
    let nothing = store.replace(&key, &document(&key, json!({ "worn": 0 })), &never_written).await;
    assert!(is_conflict(&nothing), "there is nothing to replace: {nothing:?}");

    let first = store.create(&key, &document(&key, json!({ "worn": 1 }))).await.unwrap();
    let second = store.replace(&key, &document(&key, json!({ "worn": 2 })), &first).await.unwrap();
    let stale = store.replace(&key, &document(&key, json!({ "worn": 3 })), &first).await;
    assert!(is_conflict(&stale), "{stale:?}");
    let stored = store.read(&key).await.unwrap().unwrap();
    assert_eq!((content(&stored)["worn"].clone(), &stored.etag), (json!(2), &second));

    store.delete(&key, None).await.unwrap();
    let gone = store.replace(&key, &document(&key, json!({ "worn": 4 })), &second).await;
    assert!(is_conflict(&gone), "{gone:?}");
    assert!(store.read(&key).await.unwrap().is_none());
}

pub async fn a_delete_says_whether_there_was_something(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    assert!(!store.delete(&key, None).await.unwrap());
    fill(store, key.container, &key.partition, [("coat", json!({}))]).await;
    assert!(store.delete(&key, None).await.unwrap());
    assert!(store.read(&key).await.unwrap().is_none());
    assert!(!store.delete(&key, None).await.unwrap());
}

pub async fn a_conditional_delete_needs_the_current_version(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let first = store.create(&key, &document(&key, json!({}))).await.unwrap();
    let second = store.replace(&key, &document(&key, json!({})), &first).await.unwrap();
    let stale = store.delete(&key, Some(&first)).await;
    assert!(is_conflict(&stale), "{stale:?}");
    assert!(store.read(&key).await.unwrap().is_some());
    assert!(store.delete(&key, Some(&second)).await.unwrap());
    let gone = store.delete(&key, Some(&second)).await;
    assert!(is_conflict(&gone), "{gone:?}");
}

pub async fn partitions_and_containers_keep_documents_apart(store: &dyn DocumentStore) {
    let (ada, bob) = (unique("ada"), unique("bob"));
    let places = [
        Key::new(Container::Wardrobe, &ada, "same"),
        Key::new(Container::Wardrobe, &bob, "same"),
        Key::new(Container::WearEvents, &ada, "same"),
    ];
    for (number, key) in places.iter().enumerate() {
        store.create(key, &document(key, json!({ "number": number }))).await.unwrap();
    }
    assert!(store.delete(&places[1], None).await.unwrap());
    assert_eq!(content(&store.read(&places[0]).await.unwrap().unwrap())["number"], 0);
    assert!(store.read(&places[1]).await.unwrap().is_none());
    assert_eq!(content(&store.read(&places[2]).await.unwrap().unwrap())["number"], 2);
}

// Races

pub async fn one_of_32_replaces_wins(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let etag = store.create(&key, &document(&key, json!({ "writer": null }))).await.unwrap();
    let documents: Vec<_> = (0..32).map(|writer| document(&key, json!({ "writer": writer }))).collect();
    let results = join_all(documents.iter().map(|document| store.replace(&key, document, &etag))).await;
    let winners: Vec<_> = (0..32).filter(|writer| results[*writer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| is_conflict(result)).count(), 31, "{results:?}");
    let stored = store.read(&key).await.unwrap().unwrap();
    assert_eq!(content(&stored)["writer"], winners[0]);
    assert_eq!(Some(&stored.etag), results[winners[0]].as_ref().ok());
}

pub async fn one_of_32_creates_wins(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let documents: Vec<_> = (0..32).map(|writer| document(&key, json!({ "writer": writer }))).collect();
    let results = join_all(documents.iter().map(|document| store.create(&key, document))).await;
    let winners: Vec<_> = (0..32).filter(|writer| results[*writer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| is_conflict(result)).count(), 31, "{results:?}");
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap())["writer"], winners[0]);
}

pub async fn one_of_32_deletes_wins(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let etag = store.create(&key, &document(&key, json!({}))).await.unwrap();
    let results = join_all((0..32).map(|_| store.delete(&key, Some(&etag)))).await;
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(true))).count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| is_conflict(result)).count(), 31, "{results:?}");
}

// Batches

pub async fn a_batch_does_all_of_its_writes(store: &dyn DocumentStore) {
    let user = unique("user");
    let key = |id: &str| Key::new(Container::RefreshTokens, &user, id);
    let (old, gone, new) = (key("old"), key("gone"), key("new"));
    let old_etag = store.create(&old, &document(&old, json!({ "revoked": false }))).await.unwrap();
    let gone_etag = store.create(&gone, &document(&gone, json!({}))).await.unwrap();
    let writes = [
        Write::Replace { document: document(&old, json!({ "revoked": true })), etag: old_etag.clone() },
        Write::Create { document: document(&new, json!({ "revoked": false })) },
        Write::Delete { id: "gone".to_owned(), etag: gone_etag },
    ];
    store.batch(Container::RefreshTokens, &user, &writes).await.unwrap();
    let replaced = store.read(&old).await.unwrap().unwrap();
    assert_eq!(content(&replaced)["revoked"], true);
    assert_ne!(replaced.etag, old_etag);
    assert_eq!(content(&store.read(&new).await.unwrap().unwrap()), document(&new, json!({ "revoked": false })));
    assert!(store.read(&gone).await.unwrap().is_none());
}

pub async fn a_batch_that_conflicts_does_nothing(store: &dyn DocumentStore) {
    let user = unique("user");
    let key = |id: &str| Key::new(Container::RefreshTokens, &user, id);
    let (old, taken) = (key("old"), key("taken"));
    let etag = store.create(&old, &document(&old, json!({ "revoked": false }))).await.unwrap();
    store.create(&taken, &document(&taken, json!({ "owner": "first" }))).await.unwrap();
    let writes = [
        Write::Replace { document: document(&old, json!({ "revoked": true })), etag: etag.clone() },
        Write::Create { document: document(&taken, json!({ "owner": "second" })) },
    ];
    let result = store.batch(Container::RefreshTokens, &user, &writes).await;
    assert!(is_conflict(&result), "{result:?}");
    let stored = store.read(&old).await.unwrap().unwrap();
    assert_eq!((content(&stored)["revoked"].clone(), stored.etag), (json!(false), etag));
    assert_eq!(content(&store.read(&taken).await.unwrap().unwrap())["owner"], "first");
}

pub async fn a_batch_with_a_stale_version_does_nothing(store: &dyn DocumentStore) {
    let user = unique("user");
    let key = |id: &str| Key::new(Container::RefreshTokens, &user, id);
    let (old, new) = (key("old"), key("new"));
    let stale = store.create(&old, &document(&old, json!({ "writer": 1 }))).await.unwrap();
    store.replace(&old, &document(&old, json!({ "writer": 2 })), &stale).await.unwrap();
    for last in [
        Write::Replace { document: document(&old, json!({ "writer": 3 })), etag: stale.clone() },
        Write::Delete { id: "old".to_owned(), etag: stale.clone() },
        Write::Delete { id: "never-there".to_owned(), etag: stale.clone() },
    ] {
        let writes = [Write::Create { document: document(&new, json!({})) }, last];
        let result = store.batch(Container::RefreshTokens, &user, &writes).await;
        assert!(is_conflict(&result), "{writes:?}: {result:?}");
        assert!(store.read(&new).await.unwrap().is_none(), "the first write was kept");
        assert_eq!(content(&store.read(&old).await.unwrap().unwrap())["writer"], 2);
    }
}

// Filters

/// One document for each kind of value that a field `v` can have; its id says which.
fn kinds() -> Vec<(&'static str, Value)> {
    vec![
        ("apple", json!({ "v": "apple" })),
        ("banana", json!({ "v": "Banana" })),
        ("empty", json!({ "v": "" })),
        ("false", json!({ "v": false })),
        ("half", json!({ "v": 1.5 })),
        ("list", json!({ "v": ["apple", 1, null, true] })),
        ("minus", json!({ "v": -1 })),
        ("missing", json!({})),
        ("null", json!({ "v": null })),
        ("object", json!({ "v": { "w": 1 } })),
        ("one", json!({ "v": 1 })),
        ("pears", json!({ "v": ["Grüne BIRNE", "pear"] })),
        ("text-one", json!({ "v": "1" })),
        ("true", json!({ "v": true })),
        ("zero", json!({ "v": 0 })),
    ]
}

/// Asserts which of [`kinds`] match each filter. A leading `!` means all but these.
async fn assert_matches(store: &dyn DocumentStore, cases: Vec<(Filter, &str)>) {
    let user = unique("user");
    fill(store, Container::Wardrobe, &user, kinds()).await;
    for (filter, expected) in cases {
        let listed: Vec<&str> = expected.trim_start_matches('!').split_whitespace().collect();
        assert!(listed.iter().all(|id| kinds().iter().any(|(kind, _)| kind == id)), "no such document: {expected}");
        let wanted: Vec<&str> = kinds()
            .into_iter()
            .map(|(id, _)| id)
            .filter(|id| listed.contains(id) != expected.starts_with('!'))
            .collect();
        let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
        assert_eq!(sorted(ids(store, query).await), wanted, "{filter:?}");
    }
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

pub async fn equality_knows_types(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::equal("v", 1), "one"),
        (Filter::equal("v", 1.0), "one"),
        (Filter::equal("v", 1.5), "half"),
        (Filter::equal("v", "1"), "text-one"),
        (Filter::equal("v", true), "true"),
        (Filter::equal("v", false), "false"),
        (Filter::equal("v", Value::Null), "null"),
        (Filter::equal("v", ""), "empty"),
        (Filter::equal("v", "banana"), ""),
        (Filter::not_equal("v", 1), "! one missing"),
        (Filter::not_equal("v", "apple"), "! apple missing"),
        (Filter::not_equal("v", true), "! true missing"),
        (Filter::not_equal("v", Value::Null), "! null missing"),
        (not(Filter::equal("v", 1)), "! one missing"),
        (not(Filter::equal("v", Value::Null)), "! null missing"),
        (not(Filter::not_equal("v", "apple")), "apple"),
        (not(not(Filter::equal("v", "apple"))), "apple"),
    ];
    assert_matches(store, cases).await;
}

pub async fn ranges_stay_within_one_type(store: &dyn DocumentStore) {
    let compare = |comparison, value: Value| Filter::Compare("v", comparison, value);
    let cases = vec![
        (compare(Less, json!(1)), "minus zero"),
        (compare(LessOrEqual, json!(1)), "minus zero one"),
        (compare(Greater, json!(0)), "one half"),
        (compare(GreaterOrEqual, json!(0)), "zero one half"),
        (compare(Greater, json!(1.25)), "half"),
        (compare(Less, json!("b")), "apple banana empty text-one"),
        (compare(GreaterOrEqual, json!("Banana")), "apple banana"),
        (compare(Greater, json!("Banana")), "apple"),
        (compare(Greater, json!(false)), "true"),
        (compare(LessOrEqual, json!(true)), "false true"),
        (not(compare(Less, json!(1))), "one half"),
        (not(compare(Greater, json!("Banana"))), "banana empty text-one"),
    ];
    assert_matches(store, cases).await;
}

pub async fn membership_knows_types(store: &dyn DocumentStore) {
    let among = |values: Vec<Value>| Filter::In("v", values);
    let cases = vec![
        (among(vec![json!(1), json!("apple")]), "one apple"),
        (among(vec![json!("1"), json!(true), json!("unheard of")]), "text-one true"),
        (among(vec![json!(0), Value::Null]), "zero null"),
        (among(vec![Value::Null]), "null"),
        (among(vec![]), ""),
        (not(among(vec![json!(1), json!("apple")])), "! one apple missing"),
        (not(among(vec![json!(0), Value::Null])), "! zero null missing"),
    ];
    assert_matches(store, cases).await;
}

pub async fn lists_are_searched(store: &dyn DocumentStore) {
    let contains = |value: Value| Filter::Contains("v", value);
    let cases = vec![
        (contains(json!("apple")), "list"),
        (contains(json!("pear")), "pears"),
        (contains(json!("ear")), ""),
        (contains(json!(1)), "list"),
        (contains(json!("1")), ""),
        (contains(json!(true)), "list"),
        (contains(json!(false)), ""),
        (contains(Value::Null), "list"),
        (not(contains(json!("apple"))), "pears"),
        (not(contains(json!("unheard of"))), "list pears"),
    ];
    assert_matches(store, cases).await;
}

pub async fn texts_in_lists_are_found_in_any_case(store: &dyn DocumentStore) {
    let contains = |text: &str| Filter::AnyElementContains("v", text.to_owned());
    let cases = vec![
        (contains("PPL"), "list"),
        (contains("birne"), "pears"),
        (contains("GRÜNE b"), "pears"),
        (contains("unheard of"), ""),
        (contains("%"), ""),
        (not(contains("ppl")), "pears"),
    ];
    assert_matches(store, cases).await;
}

pub async fn whole_texts_in_lists_are_found_in_any_case(store: &dyn DocumentStore) {
    let any = |texts: &[&str]| Filter::ContainsAny("v", texts.iter().map(|text| (*text).to_owned()).collect());
    let cases = vec![
        (any(&["APPLE"]), "list"),
        (any(&["Pear", "apple"]), "list pears"),
        (any(&["grüne birne"]), "pears"),
        (any(&["Birne", "1", "pea", ""]), ""),
        (any(&[]), ""),
        (not(any(&["APPLE"])), "pears"),
    ];
    assert_matches(store, cases).await;
}

/// The same of elements that are known to be in lower case: a document with the mark is looked up by the index, which
/// knows no other case.
pub async fn lists_in_lower_case_may_say_so(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("marked", json!({ "tags": ["denim"], "tagsInLowerCase": true })),
        ("mixed", json!({ "tags": ["Denim", "DENIM", "linen"] })),
        ("none", json!({ "tags": [], "tagsInLowerCase": true })),
        ("other", json!({ "tags": ["linen"] })),
    ];
    fill(store, Container::ScrapedItems, &user, documents).await;
    for (tags, expected) in
        [(&["Denim"][..], &["marked", "mixed"][..]), (&["LINEN", "denim"], &["marked", "mixed", "other"])]
    {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let query = Query::partition(Container::ScrapedItems, &user).matching(Filter::ContainsAny("tags", tags));
        assert_eq!(sorted(ids(store, query).await), expected);
    }
}

pub async fn texts_are_equal_in_any_case(store: &dyn DocumentStore) {
    let equals = |text: &str| Filter::EqualIgnoringCase("a", text.to_owned());
    let user = unique("user");
    let documents = [
        ("lower", json!({ "a": "été" })),
        ("upper", json!({ "a": "ÉTÉ", "b": 1 })),
        ("longer", json!({ "a": "été2" })),
        ("number", json!({ "a": 7 })),
        ("list", json!({ "a": ["été"] })),
        ("null", json!({ "a": null })),
        ("none", json!({})),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let matching = async |filter: Filter| {
        sorted(ids(store, Query::partition(Container::Wardrobe, &user).matching(filter)).await).join(" ")
    };
    assert_eq!(matching(equals("Été")).await, "lower upper");
    assert_eq!(matching(equals("7")).await, "");
    assert_eq!(matching(equals("")).await, "");
    assert_eq!(matching(Filter::Not(Box::new(equals("été")))).await, "longer");
    assert_eq!(matching(Filter::All(vec![equals("ÉTÉ"), Filter::equal("b", 1)])).await, "upper");
}

pub async fn documents_are_counted(store: &dyn DocumentStore) {
    let (user, other) = (unique("user"), unique("user"));
    for (owner, count) in [(&user, 7), (&other, 2)] {
        for n in 0..count {
            let key = Key::new(Container::WearEvents, owner, format!("event-{n}"));
            store.create(&key, &document(&key, json!({ "itemId": format!("item-{}", n % 2) }))).await.unwrap();
        }
    }
    let all = Query::partition(Container::WearEvents, &user);
    assert_eq!(store.count(&all).await.unwrap(), 7);
    let some = all.clone().matching(Filter::equal("itemId", "item-0"));
    assert_eq!(store.count(&some).await.unwrap(), 4);
    // Order, fields and page do not matter.
    let page = some.order_by("itemId", Ascending).select(&["id"]).limit(1).after(Some("x".to_owned()));
    assert_eq!(store.count(&page).await.unwrap(), 4);
    assert_eq!(store.count(&Query::partition(Container::WearEvents, unique("user"))).await.unwrap(), 0);
}

/// Every combination of filters that a wardrobe is asked with, in every order, page by page, beside the same in plain
/// code.
pub async fn filters_of_a_wardrobe_combine_in_every_order(store: &dyn DocumentStore) {
    type Test = Box<dyn Fn(&Value) -> bool>;
    fn test(test: impl Fn(&Value) -> bool + 'static) -> Test {
        Box::new(test)
    }
    let user = unique("user");
    let (categories, tags) = (["Tops", "tops", "Bottoms"], ["a", "b", "é"]);
    let wishes = [json!(null), json!(false), json!(true)];
    let mut documents = Vec::new();
    for n in 0..30_usize {
        let (category, tag) = (categories[n % 3], tags[n % 3]);
        let wish = if n > 5 { &wishes[n % 3] } else { &wishes[0] };
        let day = format!("2026-03-{:02}", n % 7 + 1);
        let fields = json!({
            "category": category, "tags": [tag, "x"], "wearCount": n % 4, "isWishlisted": wish,
            "price": { "amount": n % 5 }, "dateAdded": day,
        });
        let draft = if n == 0 { json!("Ready") } else { json!(null) };
        let sparse = json!({ "category": "TOPS", "tags": "a", "draftStatus": draft });
        documents.push((format!("item-{n:02}"), if n % 6 == 0 { sparse } else { fields }));
    }
    fill(store, Container::Wardrobe, &user, documents.iter().map(|(id, fields)| (id.as_str(), fields.clone()))).await;
    let has = |item: &Value, tag: &str| item["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
    let filters: Vec<(Filter, Test)> = vec![
        (
            Filter::EqualIgnoringCase("category", "tOPS".to_owned()),
            test(|item| item["category"].as_str().is_some_and(|category| category.eq_ignore_ascii_case("tops"))),
        ),
        (Filter::Contains("tags", json!("a")), test(move |item| has(item, "a"))),
        (
            Filter::Any(vec![Filter::Contains("tags", json!("é")), Filter::Contains("tags", json!("b"))]),
            test(move |item| has(item, "é") || has(item, "b")),
        ),
        (
            Filter::Any(vec![Filter::is_absent("isWishlisted"), Filter::not_equal("isWishlisted", true)]),
            test(|item| item["isWishlisted"] != true),
        ),
        (Filter::is_absent("draftStatus"), test(|item| item["draftStatus"].is_null())),
        (
            Filter::Compare("price.amount", GreaterOrEqual, json!(2)),
            test(|item| item["price"]["amount"].as_f64().is_some_and(|amount| amount >= 2.0)),
        ),
        (
            Filter::Compare("wearCount", LessOrEqual, json!(1)),
            test(|item| item["wearCount"].as_f64().is_some_and(|count| count <= 1.0)),
        ),
    ];
    for chosen in 0..1_usize << filters.len() {
        let chosen: Vec<&(Filter, Test)> =
            filters.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).map(|(_, filter)| filter).collect();
        let passes = |item: &Value| chosen.iter().all(|(_, test)| test(item));
        let expected: Vec<String> =
            documents.iter().filter(|(_, item)| passes(item)).map(|(id, _)| id.clone()).collect();
        let order = ["dateAdded", "wearCount", "price.amount"][chosen.len() % 3];
        let all: Vec<Filter> = chosen.iter().map(|(filter, _)| filter.clone()).collect();
        let whole = Query::partition(Container::Wardrobe, &user).matching(Filter::All(all.clone())).limit(7);
        let down = whole.clone().order_by(order, Descending).order_by("id", Ascending);
        let up = whole.order_by(order, Ascending).order_by("id", Descending);
        let (down, mut up) = (walk(store, down).await, walk(store, up).await);
        assert_eq!(sorted(down.clone()), expected, "{all:?} by {order}");
        up.reverse();
        assert_eq!(up, down, "{all:?} by {order}");
    }
}

pub async fn the_first_field_that_is_there_is_compared(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("both", json!({ "created": "2026-02", "found": "2026-04" })),
        ("found", json!({ "found": "2026-03" })),
        ("neither", json!({})),
        ("null", json!({ "created": null, "found": "2026-01" })),
        ("number", json!({ "created": 5, "found": "2026-04" })),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let late = |comparison| Filter::CompareFirst(&["created", "found"], comparison, json!("2026-02"));
    for (filter, expected) in [
        (late(GreaterOrEqual), &["both", "found"][..]),
        (late(Greater), &["found"]),
        (late(Less), &["null"]),
        (not(late(Greater)), &["both", "null"]),
    ] {
        let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
        let found = sorted(ids(store, query).await);
        // Whether values of another type pass a negated comparison is not promised.
        let found: Vec<_> = found.into_iter().filter(|id| id != "number").collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub async fn tokens_that_were_made_up_start_from_the_beginning(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = ["a", "b", "c"].map(|id| (id, json!({ "wearCount": 1 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).order_by("id", Ascending).limit(2);
    let next = store.query(&query).await.unwrap().next.expect("there is another page");
    assert_eq!(ids(store, query.clone().after(Some(next.clone()))).await, ["c"]);
    let (half, reversed) = (next[..next.len() / 2].to_owned(), next.chars().rev().collect());
    let of_another_query = "c1.eyJyb290Ijp7ImtpbmQiOiJyZXF1ZXN0Iiwic2VydmVyX2NvbnRpbnVhdGlvbiI6ImFcbmIifX0".to_owned();
    for token in
        [half, reversed, of_another_query, "c1.".to_owned(), "c2.e30".to_owned(), "é\n".to_owned(), String::new()]
    {
        assert_eq!(ids(store, query.clone().after(Some(token.clone()))).await, ["a", "b"], "{token:?}");
    }
}

pub async fn presence_is_not_nullness(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::is_defined("v"), "! missing"),
        (not(Filter::is_defined("v")), "missing"),
        (Filter::is_absent("v"), "missing null"),
        (not(Filter::is_absent("v")), "! missing null"),
        (Filter::is_defined("id"), "!"),
    ];
    assert_matches(store, cases).await;
}

pub async fn nested_fields_are_reached_by_dots(store: &dyn DocumentStore) {
    let cases = vec![
        (Filter::equal("v.w", 1), "object"),
        (Filter::is_defined("v.w"), "object"),
        (not(Filter::is_defined("v.w")), "! object"),
        (Filter::not_equal("v.w", 2), "object"),
        (Filter::equal("v.w.x", 1), ""),
    ];
    assert_matches(store, cases).await;
}

pub async fn what_a_document_lacks_is_neither_true_nor_false(store: &dyn DocumentStore) {
    let nowhere = || Filter::equal("nowhere", 1);
    let cases = vec![
        (nowhere(), ""),
        (not(nowhere()), ""),
        (not(Filter::Compare("nowhere", Less, json!(1))), ""),
        (not(Filter::In("nowhere", vec![json!(1)])), ""),
        (not(Filter::Contains("nowhere", json!(1))), ""),
        (not(Filter::AnyElementContains("nowhere", "a".to_owned())), ""),
        // Neither true nor false, or true: true. Neither, and false: false, whose negation is true.
        (Filter::Any(vec![nowhere(), Filter::equal("v", 1)]), "one"),
        (not(Filter::Any(vec![nowhere(), Filter::equal("v", 1)])), ""),
        (not(Filter::All(vec![nowhere(), Filter::equal("v", 1)])), "! one missing"),
        (not(Filter::All(vec![Filter::is_defined("nowhere"), nowhere()])), "!"),
    ];
    assert_matches(store, cases).await;
}

pub async fn conditions_combine(store: &dyn DocumentStore) {
    let number = || Filter::Compare("v", GreaterOrEqual, json!(-10));
    let positive = || Filter::Compare("v", Greater, json!(0));
    let cases = vec![
        (Filter::All(vec![number(), not(positive())]), "minus zero"),
        (Filter::Any(vec![positive(), Filter::equal("v", "apple"), Filter::equal("v", true)]), "one half apple true"),
        (
            Filter::All(vec![Filter::Any(vec![Filter::equal("v", 0), positive()]), not(Filter::equal("v", 1))]),
            "zero half",
        ),
        (Filter::All(vec![Filter::equal("id", "one"), positive()]), "one"),
        (Filter::All(vec![Filter::equal("id", "zero"), positive()]), ""),
        (not(Filter::Any(vec![not(number()), positive()])), "minus zero"),
    ];
    assert_matches(store, cases).await;
}

pub async fn values_of_filters_are_never_part_of_the_query(store: &dyn DocumentStore) {
    let user = unique("user");
    let texts =
        ["'; DROP TABLE Wardrobe; --", "\" OR 1=1", "@p0", "?1", "$.brand", "%_", "\\", "{}", "a\nb", "'", "\""];
    for (number, text) in texts.iter().enumerate() {
        let id = format!("item-{number:02}");
        fill(store, Container::Wardrobe, &user, [(id.as_str(), json!({ "brand": text, "tags": [text] }))]).await;
    }
    for (number, text) in texts.iter().enumerate() {
        let id = format!("item-{number:02}");
        for filter in [
            Filter::equal("brand", *text),
            Filter::In("brand", vec![json!(text)]),
            Filter::Contains("tags", json!(text)),
        ] {
            let query = Query::partition(Container::Wardrobe, &user).matching(filter.clone());
            assert_eq!(ids(store, query).await, [id.as_str()], "{filter:?}");
        }
        let query = Query::partition(Container::Wardrobe, &user)
            .matching(Filter::AnyElementContains("tags", (*text).to_owned()));
        assert!(ids(store, query).await.contains(&id), "{text}");
    }
}

// Order

pub async fn documents_come_in_order(store: &dyn DocumentStore) {
    let user = unique("user");
    let counts = [("a", 5), ("b", -3), ("c", 100), ("d", 20), ("e", 0)];
    let documents = counts.map(|(id, count)| (id, json!({ "wearCount": count, "name": format!("{count:05}") })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let by = |field, direction| Query::partition(Container::Wardrobe, &user).order_by(field, direction);
    assert_eq!(ids(store, by("wearCount", Ascending)).await, ["b", "e", "a", "d", "c"]);
    assert_eq!(ids(store, by("wearCount", Descending)).await, ["c", "d", "a", "e", "b"]);
    assert_eq!(ids(store, by("wearCount", Descending).limit(2)).await, ["c", "d"]);
    assert_eq!(ids(store, by("id", Descending)).await, ["e", "d", "c", "b", "a"]);
    assert_eq!(ids(store, by("name", Ascending).matching(Filter::not_equal("id", "a"))).await, ["b", "e", "d", "c"]);
}

pub async fn types_have_an_order(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("a", json!({ "dateAdded": "text" })),
        ("b", json!({ "dateAdded": 1 })),
        ("c", json!({ "dateAdded": true })),
        ("d", json!({ "dateAdded": null })),
        ("e", json!({ "dateAdded": false })),
        ("f", json!({ "dateAdded": -1e300 })),
        ("g", json!({ "dateAdded": "" })),
    ];
    fill(store, Container::Wardrobe, &user, documents).await;
    let by = |direction| Query::partition(Container::Wardrobe, &user).order_by("dateAdded", direction);
    assert_eq!(ids(store, by(Ascending)).await, ["d", "e", "c", "f", "b", "g", "a"]);
    assert_eq!(ids(store, by(Descending)).await, ["a", "g", "b", "f", "c", "e", "d"]);
}

pub async fn ties_are_ordered_by_the_next_key(store: &dyn DocumentStore) {
    let user = unique("user");
    let documents = [
        ("a", json!({ "itemId": "shoe", "occurredAt": "2026-01-01" })),
        ("b", json!({ "itemId": "coat", "occurredAt": "2026-01-01" })),
        ("c", json!({ "itemId": "shoe", "occurredAt": "2026-03-01" })),
        ("d", json!({ "itemId": "coat", "occurredAt": "2026-02-01" })),
    ];
    fill(store, Container::WearEvents, &user, documents).await;
    let query =
        Query::partition(Container::WearEvents, &user).order_by("itemId", Ascending).order_by("occurredAt", Descending);
    assert_eq!(ids(store, query).await, ["d", "b", "c", "a"]);

    let documents = [("a", 1), ("b", 2), ("c", 2), ("d", 1)].map(|(id, count)| (id, json!({ "wearCount": count })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query =
        Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).order_by("id", Ascending);
    assert_eq!(ids(store, query).await, ["b", "c", "a", "d"]);
}

/// Five items, two of them without the count by which they are sorted.
async fn fill_with_gaps(store: &dyn DocumentStore, user: &str) {
    let documents = [
        ("a", json!({ "wearCount": 3 })),
        ("b", json!({})),
        ("c", json!({ "wearCount": 7 })),
        ("d", json!({})),
        ("e", json!({ "wearCount": 0 })),
    ];
    fill(store, Container::Wardrobe, user, documents).await;
}

pub async fn missing_sort_keys_come_first_or_last(store: &dyn DocumentStore) {
    let user = unique("user");
    fill_with_gaps(store, &user).await;
    let ascending = ids(store, Query::partition(Container::Wardrobe, &user).order_by("wearCount", Ascending)).await;
    assert_eq!(ascending[2..], ["e", "a", "c"]);
    assert_eq!(sorted(ascending[..2].to_vec()), ["b", "d"]);
    let descending = ids(store, Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending)).await;
    assert_eq!(descending[..3], ["c", "a", "e"]);
    assert_eq!(sorted(descending[3..].to_vec()), ["b", "d"]);
    let query =
        Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).order_by("id", Ascending);
    assert_eq!(ids(store, query).await, ["c", "a", "e", "b", "d"]);
}

// Pages

pub async fn pages_of_one_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    fill(store, Container::Wardrobe, &user, names.map(|id| (id, json!({})))).await;
    for limit in [1, 2, 7, 100] {
        let walked = walk(store, Query::partition(Container::Wardrobe, &user).limit(limit)).await;
        assert_eq!(sorted(walked), names, "limit {limit}");
    }
}

pub async fn pages_in_order_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..24).map(|number| format!("item-{number:02}")).collect();
    // Eight ties in each of three counts.
    let documents = names.iter().enumerate().map(|(number, id)| (id.as_str(), json!({ "wearCount": number % 3 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    for limit in [1, 5, 8, 24] {
        let query = Query::partition(Container::Wardrobe, &user).order_by("wearCount", Descending).limit(limit);
        let by_count = walk(store, query.clone()).await;
        assert_eq!(sorted(by_count.clone()), names, "limit {limit}");
        let count = |id: &String| names.iter().position(|name| name == id).expect("one of ours") % 3;
        assert!(by_count.iter().map(count).is_sorted_by(|left, right| left >= right), "limit {limit}: {by_count:?}");
        let by_count_and_id = walk(store, query.order_by("id", Ascending)).await;
        let mut expected = names.clone();
        expected.sort_by_key(|id| std::cmp::Reverse(count(id)));
        assert_eq!(by_count_and_id, expected, "limit {limit}");
    }
}

pub async fn pages_with_missing_sort_keys_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    fill_with_gaps(store, &user).await;
    for limit in [1, 2, 3, 4, 5] {
        for direction in [Ascending, Descending] {
            let query = Query::partition(Container::Wardrobe, &user).order_by("wearCount", direction).limit(limit);
            let walked = walk(store, query).await;
            assert_eq!(sorted(walked.clone()), ["a", "b", "c", "d", "e"], "limit {limit}, {direction:?}");
            let known: Vec<_> = walked.into_iter().filter(|id| !["b", "d"].contains(&id.as_str())).collect();
            let expected = if direction == Ascending { ["e", "a", "c"] } else { ["c", "a", "e"] };
            assert_eq!(known, expected, "limit {limit}, {direction:?}");
        }
    }
}

pub async fn a_filtered_walk_gives_every_match_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..20).map(|number| format!("item-{number:02}")).collect();
    let documents = names.iter().enumerate().map(|(number, id)| (id.as_str(), json!({ "draft": number % 4 == 0 })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).matching(Filter::equal("draft", true)).limit(2);
    let expected = ["item-00", "item-04", "item-08", "item-12", "item-16"];
    assert_eq!(sorted(walk(store, query).await), expected);
}

pub async fn the_last_page_says_so(store: &dyn DocumentStore) {
    let user = unique("user");
    let nothing = store.query(&Query::partition(Container::Wardrobe, &user)).await.unwrap();
    assert!(nothing.documents.is_empty() && nothing.next.is_none());
    fill(store, Container::Wardrobe, &user, ["a", "b"].map(|id| (id, json!({})))).await;
    let all = store.query(&Query::partition(Container::Wardrobe, &user).limit(3)).await.unwrap();
    assert!(all.documents.len() == 2 && all.next.is_none(), "{all:?}");
    let first = store.query(&Query::partition(Container::Wardrobe, &user).limit(1)).await.unwrap();
    assert!(first.documents.len() == 1 && first.next.is_some(), "{first:?}");
}

pub async fn pages_that_end_early_give_every_document_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let names: Vec<String> = (0..9).map(|number| format!("item-{number}")).collect();
    let documents = names.iter().map(|id| (id.as_str(), json!({ "notes": "x".repeat(1000) })));
    fill(store, Container::Wardrobe, &user, documents).await;
    let query = Query::partition(Container::Wardrobe, &user).order_by("id", Ascending);
    for most_bytes in [0, 1, 2500, 1_000_000] {
        let walked = walk(store, query.clone().limit(7).most_bytes(most_bytes)).await;
        assert_eq!(walked, names, "{most_bytes}");
    }
}

pub async fn a_query_returns_only_the_selected_fields(store: &dyn DocumentStore) {
    let user = unique("user");
    let fields = json!({
        "title": "A \"coat\"\\", "tags": ["a", { "b": [1.50] }], "price": { "amount": 10 }, "note": null,
        "embedding": vec![0.125; 1536],
    });
    fill(store, Container::ScrapedItems, &user, [("a", fields), ("b", json!({ "title": "short" }))]).await;
    let query = Query::partition(Container::ScrapedItems, &user)
        .select(&["id", "title", "tags", "price", "note", "nowhere"])
        .order_by("id", Ascending);
    let page = store.query(&query).await.unwrap();
    let expected = [
        json!({ "id": "a", "title": "A \"coat\"\\", "tags": ["a", { "b": [1.5] }], "price": { "amount": 10 }, "note": null }),
        json!({ "id": "b", "title": "short" }),
    ];
    assert_eq!(page.documents.iter().map(content).collect::<Vec<_>>(), expected);
}

/// The documents of all pages.
async fn walk_documents(store: &dyn DocumentStore, query: &Query) -> Vec<Value> {
    let (mut query, mut documents) = (query.clone(), Vec::new());
    loop {
        let page = store.query(&query).await.unwrap();
        documents.extend(page.documents.iter().map(content));
        match page.next {
            Some(next) => query = query.after(Some(next)),
            None => return documents,
        }
    }
}

pub async fn a_walk_that_its_order_bounds_gives_every_match_once(store: &dyn DocumentStore) {
    let user = unique("user");
    let query = Query::partition(Container::WearEvents, &user).order_by("occurredAt", Descending);
    let times = ["2026-03-02", "2026-03-01", "2026-03-02", "2026-03-04"];
    let events = ["a", "b", "c", "d"].into_iter().zip(times).map(|(id, at)| (id, json!({ "occurredAt": at })));
    fill(store, Container::WearEvents, &user, events).await;
    let recent = Filter::Compare("occurredAt", GreaterOrEqual, json!("2026-03-02"));
    for limit in [1, 2, 3, 100] {
        let query = query.clone().limit(limit);
        let all = walk(store, query.clone()).await;
        assert!(
            all[0] == "d" && all[3] == "b" && sorted(all.clone()) == ["a", "b", "c", "d"],
            "limit {limit}: {all:?}"
        );
        let some = walk(store, query.matching(recent.clone())).await;
        assert_eq!(sorted(some), ["a", "c", "d"], "limit {limit}");
    }
}

pub async fn selected_fields_of_any_shape_come_as_they_are(store: &dyn DocumentStore) {
    const FIELDS: [&str; 3] = ["id", "itemId", "occurredAt"];
    let user = unique("user");
    let plain = json!({ "itemId": "coat \"A\"\\ü\n", "occurredAt": "2026-03-08T06:00:00.000Z", "occasion": "office" });
    let odd = [json!(null), json!(7), json!(1.50), json!(true), json!(["x"]), json!({ "y": null }), json!("")];
    let mut expected = vec![plain, json!({ "itemId": "coat" }), json!({ "occurredAt": "2026-03-08" }), json!({})];
    for value in odd {
        expected.push(json!({ "itemId": value, "occurredAt": "2026-03-08" }));
        expected.push(json!({ "itemId": "coat", "occurredAt": value }));
    }
    for (number, document) in expected.iter_mut().enumerate() {
        document["id"] = json!(format!("{number:02}"));
    }
    let documents: Vec<_> = expected.iter().map(|event| (event["id"].as_str().unwrap(), event.clone())).collect();
    fill(store, Container::WearEvents, &user, documents).await;
    let query = Query::partition(Container::WearEvents, &user).select(&FIELDS);
    for query in [query.clone(), query.clone().limit(4), query.order_by("occurredAt", Descending).limit(4)] {
        let mut shown = walk_documents(store, &query).await;
        shown.sort_by_key(|event| event["id"].to_string());
        assert_eq!(shown.len(), expected.len());
        for (shown, expected) in shown.iter().zip(&expected) {
            for field in FIELDS {
                assert_eq!(shown.get(field), expected.get(field), "{expected}");
            }
        }
    }
}

// Reach

pub async fn a_partition_query_stays_in_its_partition(store: &dyn DocumentStore) {
    let (ada, bob) = (unique("ada"), unique("bob"));
    fill(store, Container::Wardrobe, &ada, [("a", json!({ "brand": "x" })), ("b", json!({ "brand": "x" }))]).await;
    fill(store, Container::Wardrobe, &bob, [("c", json!({ "brand": "x" }))]).await;
    assert_eq!(sorted(ids(store, Query::partition(Container::Wardrobe, &ada)).await), ["a", "b"]);
    let filtered = Query::partition(Container::Wardrobe, &bob).matching(Filter::equal("brand", "x"));
    assert_eq!(ids(store, filtered).await, ["c"]);
    assert_eq!(ids(store, Query::partition(Container::Wardrobe, unique("nobody"))).await, [""; 0]);
}

pub async fn a_query_of_all_partitions_reaches_every_one(store: &dyn DocumentStore) {
    let marker = unique("marker");
    let mut expected = Vec::new();
    for number in 0..6 {
        let category = unique("category");
        // Half of the ids are the same in different partitions.
        let id = format!("mood-{}", number / 2);
        let mood = json!({ "name": marker, "trendScore": number % 4, "number": number });
        fill(store, Container::Moods, &category, [(id.as_str(), mood)]).await;
        expected.push(id);
    }
    let query = Query::all(Container::Moods).matching(Filter::equal("name", marker.as_str()));
    for limit in [1, 4, 100] {
        assert_eq!(sorted(walk(store, query.clone().limit(limit)).await), expected, "limit {limit}");
        let ordered = query.clone().order_by("trendScore", Descending).limit(limit);
        assert_eq!(sorted(walk(store, ordered).await), expected, "limit {limit}, in order");
    }
    let query = query.order_by("trendScore", Descending);
    let selected = store.query(&query.clone().select(&["id", "trendScore", "nowhere"]).limit(1)).await.unwrap();
    assert_eq!(content(&selected.documents[0]), json!({ "id": "mood-1", "trendScore": 3 }));
    let page = store.query(&query).await.unwrap();
    let scores: Vec<_> = page.documents.iter().map(|mood| content(mood)["trendScore"].clone()).collect();
    assert_eq!(json!(scores), json!([3, 2, 1, 1, 0, 0]));
}

pub async fn a_query_gives_versions_that_can_be_written_against(store: &dyn DocumentStore) {
    let user = unique("user");
    fill(store, Container::Wardrobe, &user, [("a", json!({ "brand": "old" }))]).await;
    let query = Query::partition(Container::Wardrobe, &user);
    let page = store.query(&query).await.unwrap();
    let projected = store.query(&query.select(&["id"])).await.unwrap();
    assert_eq!(page.documents[0].etag, projected.documents[0].etag);
    let key = Key::new(Container::Wardrobe, &user, "a");
    store.replace(&key, &document(&key, json!({ "brand": "new" })), &page.documents[0].etag).await.unwrap();
}

// Content

pub async fn texts_of_all_kinds_survive(store: &dyn DocumentStore) {
    let user = unique("user");
    let texts = [
        "",
        " ",
        "Zoë Ångström",
        "日本語",
        "👗🧥 👩‍👩‍👧‍👦",
        "مرحبا",
        "e\u{301}",
        "'\"\\/",
        "\n\r\t",
        "\u{0}",
        "a\u{0}b",
        "\u{1f}\u{7f}\u{80}",
        "\u{feff}",
        "\u{2028}\u{fffd}\u{10ffff}",
        "null",
        "-- /* */ ;",
    ];
    for (number, text) in texts.iter().enumerate() {
        let key = Key::new(Container::Wardrobe, &user, format!("item-{number:02}"));
        let item = document(&key, json!({ "notes": text, "tags": [text], *text: "as a name" }));
        store.create(&key, &item).await.unwrap();
        assert_eq!(content(&store.read(&key).await.unwrap().unwrap()), item, "{text:?}");
        for filter in [Filter::equal("notes", *text), Filter::Contains("tags", json!(text))] {
            let found = ids(store, Query::partition(Container::Wardrobe, &user).matching(filter.clone())).await;
            assert_eq!(found, [key.id.as_str()], "{filter:?}");
        }
    }
    // Tokens of pages carry sort keys.
    let query = Query::partition(Container::Wardrobe, &user).order_by("notes", Ascending).limit(1);
    assert_eq!(walk(store, query).await.len(), texts.len());
}

pub async fn numbers_survive(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "numbers");
    let item = document(
        &key,
        json!({ "values": [0, -1, 1.5, 0.1, 1e-7, 123_456_789, 9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0.30000000000000004] }),
    );
    store.create(&key, &item).await.unwrap();
    let read = content(&store.read(&key).await.unwrap().unwrap());
    assert_eq!(read, item);
}

pub async fn unusual_ids_work(store: &dyn DocumentStore) {
    for name in [
        "with space",
        "quote's \"double\"",
        "ünïcödé 日本",
        "👗",
        "a=b&c+d%20",
        "{}[]()<>",
        "...",
        "'; --",
        "A,B:C;D@E!F$G~H^I`",
    ] {
        let partition = format!("{} {name}", unique("user"));
        let key = Key::new(Container::Wardrobe, &partition, name);
        let etag = store.create(&key, &document(&key, json!({ "worn": 1 }))).await.unwrap();
        store.replace(&key, &document(&key, json!({ "worn": 2 })), &etag).await.unwrap();
        assert_eq!(content(&store.read(&key).await.unwrap().unwrap())["worn"], 2, "{name}");
        let query = Query::partition(Container::Wardrobe, &partition).matching(Filter::equal("id", name));
        assert_eq!(ids(store, query).await, [name]);
        assert!(store.delete(&key, None).await.unwrap(), "{name}");
    }
    let long = Key::new(Container::Wardrobe, unique("user"), "x".repeat(255));
    store.create(&long, &document(&long, json!({}))).await.unwrap();
    assert!(store.read(&long).await.unwrap().is_some());
}

pub async fn ids_that_cannot_exist_read_as_missing(store: &dyn DocumentStore) {
    let etag = ETag("none".to_owned());
    for id in ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", &"x".repeat(1024)] {
        let key = Key::new(Container::Wardrobe, unique("user"), id);
        let item = document(&key, json!({}));
        assert!(store.read(&key).await.unwrap().is_none(), "{id}");
        assert!(!store.delete(&key, None).await.unwrap(), "{id}");
        let writes =
            [store.create(&key, &item).await, store.upsert(&key, &item).await, store.replace(&key, &item, &etag).await];
        for result in writes {
            assert!(matches!(result, Err(Error::Failed(_))), "{id}: {result:?}");
        }
        let batch = [Write::Create { document: item }];
        let result = store.batch(Container::Wardrobe, &key.partition, &batch).await;
        assert!(matches!(result, Err(Error::Failed(_))), "{id}: {result:?}");
    }
    let nowhere = Key::new(Container::Wardrobe, "", "coat");
    assert!(store.read(&nowhere).await.unwrap().is_none());
}

pub async fn a_document_must_match_its_key(store: &dyn DocumentStore) {
    let user = unique("user");
    let key = Key::new(Container::Wardrobe, &user, "coat");
    for wrong in [
        json!({ "id": "shoe", "userId": user }),
        json!({ "id": "coat", "userId": unique("user") }),
        json!({ "id": "coat" }),
        json!({ "userId": user }),
        json!({ "id": 1, "userId": user }),
        json!(["coat"]),
    ] {
        let result = store.upsert(&key, &wrong).await;
        assert!(matches!(result, Err(Error::Failed(_))), "{wrong}: {result:?}");
    }
    assert!(store.read(&key).await.unwrap().is_none());
}

pub async fn large_documents_are_kept(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "large");
    let item = document(&key, json!({ "notes": "x".repeat(1_900_000), "brand": "last" }));
    let etag = store.create(&key, &item).await.unwrap();
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap()), item);
    store.replace(&key, &item, &etag).await.unwrap();
    let query = Query::partition(Container::Wardrobe, &key.partition).matching(Filter::equal("brand", "last"));
    let page = store.query(&query).await.unwrap();
    assert_eq!(page.documents.iter().map(content).collect::<Vec<_>>(), [item]);
}

pub async fn documents_over_the_limit_are_refused(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "large");
    let small = document(&key, json!({ "notes": "" }));
    let room = MAX_DOCUMENT_BYTES - small.to_string().len();
    // Two bytes a letter: bytes count, not letters.
    let item = document(&key, json!({ "notes": "é".repeat(room / 2 + 1) }));
    let size = item.to_string().len();
    let etag = store.create(&key, &small).await.unwrap();
    let batch = [Write::Replace { document: item.clone(), etag: etag.clone() }];
    let results = [
        store.create(&key, &item).await.map(drop),
        store.upsert(&key, &item).await.map(drop),
        store.replace(&key, &item, &etag).await.map(drop),
        store.batch(key.container, &key.partition, &batch).await,
    ];
    for result in results {
        assert!(matches!(result, Err(Error::TooLarge { size_bytes }) if size_bytes == size), "{result:?}");
    }
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap()), small);
}

pub async fn fields_of_the_store_are_never_seen(store: &dyn DocumentStore) {
    let key = Key::new(Container::Wardrobe, unique("user"), "coat");
    let coat = document(&key, json!({ "brand": "Marni", "_own": 1 }));
    // As if somebody wrote back what they had read elsewhere.
    let mut written = coat.clone();
    for field in ["_rid", "_self", "_etag", "_attachments"] {
        written[field] = json!("from elsewhere");
    }
    written["_ts"] = json!(1);
    store.upsert(&key, &written).await.unwrap();
    assert_eq!(content(&store.read(&key).await.unwrap().unwrap()), coat);
    let page = store.query(&Query::partition(Container::Wardrobe, &key.partition)).await.unwrap();
    assert_eq!(page.documents.iter().map(content).collect::<Vec<_>>(), [coat]);
}

// Expiry

pub async fn a_document_expires(store: &dyn DocumentStore) {
    let user = unique("user");
    for container in [Container::RefreshTokens, Container::ScrapedItems] {
        let key = Key::new(container, &user, "short");
        store.create(&key, &document(&key, json!({ "ttl": 1 }))).await.unwrap();
        fill(store, container, &user, [("stays", json!({ "ttl": -1 })), ("long", json!({ "ttl": 3600 }))]).await;
        expiry(store, &key).await;
        assert_eq!(sorted(ids(store, Query::partition(container, &user)).await), ["long", "stays"]);
        assert!(!store.delete(&key, None).await.unwrap());
    }
}

pub async fn a_document_without_a_life_of_its_own_stays(store: &dyn DocumentStore) {
    let user = unique("user");
    let short = Key::new(Container::RefreshTokens, &user, "short");
    // The second life counts: a write without `ttl` takes the first one back.
    let key = Key::new(Container::RefreshTokens, &user, "kept");
    let etag = store.create(&key, &document(&key, json!({ "ttl": 1 }))).await.unwrap();
    store.replace(&key, &document(&key, json!({})), &etag).await.unwrap();
    store.create(&short, &document(&short, json!({ "ttl": 1 }))).await.unwrap();
    expiry(store, &short).await;
    assert!(store.read(&key).await.unwrap().is_some());
}

pub async fn a_container_without_expiry_ignores_it(store: &dyn DocumentStore) {
    let user = unique("user");
    let key = Key::new(Container::Wardrobe, &user, "coat");
    store.create(&key, &document(&key, json!({ "ttl": 1 }))).await.unwrap();
    let elsewhere = Key::new(Container::RefreshTokens, &user, "short");
    store.create(&elsewhere, &document(&elsewhere, json!({ "ttl": 1 }))).await.unwrap();
    expiry(store, &elsewhere).await;
    assert!(store.read(&key).await.unwrap().is_some());
}

pub async fn an_expired_document_can_be_created_anew(store: &dyn DocumentStore) {
    let key = Key::new(Container::RefreshTokens, unique("user"), "short");
    store.create(&key, &document(&key, json!({ "ttl": 1, "life": 1 }))).await.unwrap();
    expiry(store, &key).await;
    let etag = store.create(&key, &document(&key, json!({ "life": 2 }))).await.unwrap();
    let stored = store.read(&key).await.unwrap().unwrap();
    assert_eq!((content(&stored)["life"].clone(), stored.etag), (json!(2), etag));
}

pub async fn an_expired_document_cannot_be_replaced(store: &dyn DocumentStore) {
    let key = Key::new(Container::RefreshTokens, unique("user"), "short");
    let etag = store.create(&key, &document(&key, json!({ "ttl": 1 }))).await.unwrap();
    expiry(store, &key).await;
    let replaced = store.replace(&key, &document(&key, json!({})), &etag).await;
    assert!(is_conflict(&replaced), "{replaced:?}");
    let deleted = store.delete(&key, Some(&etag)).await;
    assert!(is_conflict(&deleted), "{deleted:?}");
    assert!(store.read(&key).await.unwrap().is_none());
}

pub async fn every_write_changes_the_mark_of_its_partition(store: &dyn DocumentStore) {
    let (user, other) = (unique("user"), unique("user"));
    let key = Key::new(Container::Wardrobe, &user, "coat");
    let mut marks = vec![mark(store, &user).await];
    assert_eq!(mark(store, &user).await, marks[0]);
    store.create(&key, &document(&key, json!({ "n": 0 }))).await.unwrap();
    marks.push(mark(store, &user).await);
    // Where writes of one second are not told apart, the mark says so; the write of a later second then shows.
    let mut n = 0;
    let rewritten = tokio::time::timeout(PATIENCE, async {
        loop {
            n += 1;
            let stored = store.read(&key).await.unwrap().unwrap();
            match n % 2 {
                0 => store.upsert(&key, &document(&key, json!({ "n": n }))).await.unwrap(),
                _ => store.replace(&key, &document(&key, json!({ "n": n })), &stored.etag).await.unwrap(),
            };
            let now = mark(store, &user).await;
            if Some(&now) != marks.last() {
                return now;
            }
            assert!(now.certain_from.is_some(), "a mark that counts at once changes at once");
        }
    });
    marks.push(rewritten.await.expect("the mark changes within some seconds"));
    let create = |id: &str| Write::Create { document: document(&Key::new(Container::Wardrobe, &user, id), json!({})) };
    store.batch(Container::Wardrobe, &user, &[create("a"), create("b")]).await.unwrap();
    marks.push(mark(store, &user).await);
    store.delete(&key, None).await.unwrap();
    marks.push(mark(store, &user).await);
    for (index, mark) in marks.iter().enumerate() {
        assert!(marks[..index].iter().all(|before| before.value != mark.value), "{marks:?}");
    }
    // Other users' writes, failed writes and reads do not change the mark.
    let elsewhere = Key::new(Container::Wardrobe, &other, "coat");
    store.create(&elsewhere, &document(&elsewhere, json!({}))).await.unwrap();
    let events = Key::new(Container::WearEvents, &user, "wear");
    store.create(&events, &document(&events, json!({}))).await.unwrap();
    store.delete(&key, None).await.unwrap();
    assert!(store.batch(Container::Wardrobe, &user, &[create("c"), create("a")]).await.is_err());
    store.query(&Query::partition(Container::Wardrobe, &user)).await.unwrap();
    assert_eq!(Some(&mark(store, &user).await), marks.last());
    assert_eq!(store.changes(Container::Conversations, &user).await.unwrap(), None);
}

async fn mark(store: &dyn DocumentStore, user: &str) -> ChangeMark {
    store.changes(Container::Wardrobe, user).await.unwrap().expect("wardrobes track their changes")
}

pub async fn the_store_answers(store: &dyn DocumentStore) {
    store.ping().await.unwrap();
}
