//! An in-memory document store for chat runs: calls take time, and may fail before or after their effect.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use pluckit::store::query::Comparison;
use pluckit::store::{
    ChangeMark, Container, Direction, DocumentStore, ETag, Error, Filter, Key, Page, PartitionIndex, Query, Result,
    Stored, Upkeep, Write,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::explore::draw;
use crate::time::sleep;

/// One in this many calls fails before its effect, and one in as many after it.
const FAULTS: usize = 12;

/// Documents by id; runs of one user need no more.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, (Value, u64)>>);

impl MemoryStore {
    fn documents(&self) -> MutexGuard<'_, BTreeMap<String, (Value, u64)>> {
        self.0.lock().unwrap()
    }

    /// Saves a document immediately.
    pub fn insert(&self, id: &str, document: &impl Serialize) {
        self.documents().insert(id.to_owned(), (serde_json::to_value(document).unwrap(), 1));
    }

    /// Edits a document atomically.
    pub fn edit<T: Serialize + DeserializeOwned>(&self, id: &str, change: impl FnOnce(&mut T)) {
        let mut documents = self.documents();
        let (content, version) = documents.get_mut(id).unwrap();
        let mut document = serde_json::from_value(content.take()).unwrap();
        change(&mut document);
        (*content, *version) = (serde_json::to_value(&document).unwrap(), *version + 1);
    }

    /// Returns all documents.
    pub fn all(&self) -> Vec<Value> {
        self.documents().values().map(|(document, _)| document.clone()).collect()
    }

    /// Runs `effect` at one instant of the call, or fails before or after it.
    async fn call<T>(&self, effect: impl FnOnce(&mut BTreeMap<String, (Value, u64)>) -> Result<T>) -> Result<T> {
        let done = self.call_or_fail(effect).await?;
        if draw(FAULTS) == 0 { Err(unavailable()) } else { Ok(done) }
    }

    /// Runs `effect` at one instant of the call, or fails before it.
    async fn call_or_fail<T>(
        &self,
        effect: impl FnOnce(&mut BTreeMap<String, (Value, u64)>) -> Result<T>,
    ) -> Result<T> {
        sleep(Duration::ZERO).await;
        if draw(FAULTS) == 0 {
            return Err(unavailable());
        }
        let done = effect(&mut self.documents());
        sleep(Duration::ZERO).await;
        done
    }
}

fn unavailable() -> Error {
    Error::Unavailable("the schedule says so".into())
}

fn stored((document, version): &(Value, u64)) -> Stored {
    Stored { json: document.to_string(), etag: ETag(version.to_string()) }
}

fn matches(filter: &Filter, document: &Value) -> bool {
    match filter {
        Filter::All(filters) => filters.iter().all(|filter| matches(filter, document)),
        Filter::Compare(field, Comparison::Equal, value) => document.get(field) == Some(value),
        Filter::Compare(field, Comparison::Greater, value) => {
            document.get(field).is_some_and(|found| found.as_u64() > value.as_u64())
        }
        other => unimplemented!("{other:?}"),
    }
}

#[async_trait]
impl DocumentStore for MemoryStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>> {
        self.call(|documents| Ok(documents.get(&key.id).map(stored))).await
    }

    async fn create(&self, key: &Key, document: &Value) -> Result<ETag> {
        let create = |documents: &mut BTreeMap<_, _>| {
            if documents.contains_key(&key.id) {
                return Err(Error::Conflict);
            }
            documents.insert(key.id.clone(), (document.clone(), 1));
            Ok(ETag("1".to_owned()))
        };
        self.call(create).await
    }

    async fn replace(&self, key: &Key, document: &Value, etag: &ETag) -> Result<ETag> {
        let replace = |documents: &mut BTreeMap<String, (Value, u64)>| {
            let found = documents.get_mut(&key.id).filter(|(_, version)| version.to_string() == etag.0);
            let (content, version) = found.ok_or(Error::Conflict)?;
            (*content, *version) = (document.clone(), *version + 1);
            Ok(ETag(version.to_string()))
        };
        // The answer is never lost: a third conflict in a row would make the caller wait in real time.
        self.call_or_fail(replace).await
    }

    async fn query(&self, query: &Query) -> Result<Page> {
        let find = |documents: &mut BTreeMap<String, (Value, u64)>| {
            let mut found: Vec<_> = documents
                .values()
                .filter(|(document, _)| query.filter.as_ref().is_none_or(|filter| matches(filter, document)))
                .collect();
            found.sort_by_key(|(document, _)| document["firstSeq"].as_u64());
            if let [(_, Direction::Descending)] = query.order[..] {
                found.reverse();
            }
            found.truncate(query.limit);
            Ok(Page { documents: found.into_iter().map(stored).collect(), next: None, loose_ties: false })
        };
        self.call(find).await
    }

    async fn upsert(&self, _: &Key, _: &Value) -> Result<ETag> {
        unimplemented!()
    }

    async fn delete(&self, _: &Key, _: Option<&ETag>) -> Result<bool> {
        unimplemented!()
    }

    async fn batch(&self, _: Container, _: &str, _: &[Write]) -> Result<()> {
        unimplemented!()
    }
}

#[async_trait]
impl PartitionIndex for MemoryStore {
    async fn changes(&self, _: Container, _: &str) -> Result<Option<ChangeMark>> {
        unimplemented!()
    }

    async fn count(&self, _: &Query) -> Result<u64> {
        unimplemented!()
    }

    async fn nearest(&self, _: &Query, _: &'static str, _: &[f32]) -> Result<Option<Vec<Stored>>> {
        unimplemented!()
    }
}

#[async_trait]
impl Upkeep for MemoryStore {
    async fn ping(&self) -> Result<()> {
        unimplemented!()
    }

    async fn sweep_expired(&self) -> Result<usize> {
        unimplemented!()
    }

    async fn find_damage(&self) -> Result<Option<String>> {
        unimplemented!()
    }
}
