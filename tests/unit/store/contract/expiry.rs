//! Expiry and marks of changes.

use pluckit::store::{ChangeMark, Container, DocumentStore, Key, Query, Write};
use serde_json::json;

use super::{PATIENCE, content, document, expiry, fill, ids, is_conflict, sorted, unique};

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
