//! The contract of [`DocumentStore`], one function per guarantee.

mod documents;
mod expiry;
mod filters;
mod pages;
mod values;

use std::time::Duration;

use pluckit::store::{Container, DocumentStore, Error, Key, Query, Stored};
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::documents::*;
pub use self::expiry::*;
pub use self::filters::*;
pub use self::pages::*;
pub use self::values::*;

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
