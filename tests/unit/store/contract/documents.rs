//! Single documents, races for them, and batches.

use futures::future::join_all;
use pluckit::store::{Container, DocumentStore, ETag, Key, Write};
use serde_json::json;

use super::{content, document, fill, is_conflict, unique};

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
