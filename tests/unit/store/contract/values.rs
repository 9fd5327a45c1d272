//! Texts, numbers, ids and sizes of documents.

use pluckit::store::{Container, Direction, DocumentStore, ETag, Error, Filter, Key, MAX_DOCUMENT_BYTES, Query, Write};
use serde_json::json;

use Direction::Ascending;

use super::{content, document, ids, unique, walk};

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
