//! Writes of documents.

use std::borrow::Cow;

use rusqlite::{Connection, params};
use serde_json::Value;
use uuid::Uuid;

use super::sql;
use crate::model::containers::TimeToLive;
use crate::store::validity::{SYSTEM_FIELDS, check_key, check_size, key_of};
use crate::store::{Container, ETag, Error, Key, Result, Write};

/// Most expired documents deleted per transaction, so that other writes are not held up.
pub(super) const SWEEP: usize = 500;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// A document that cannot be stored: a bug in this program.
#[derive(Debug, thiserror::Error)]
#[error("`ttl` must be -1 or a whole number of seconds from 1 to {}", i32::MAX)]
struct InvalidTimeToLive;

/// A document to be written, as a table row.
pub(super) struct Row {
    table: String,
    key: Key,
    etag: ETag,
    now_ms: i64,
    expires_at_ms: Option<i64>,
    json: String,
}

impl Row {
    pub(super) fn new(key: &Key, document: &Value, now_ms: i64) -> Result<Self> {
        check_key(key, document)?;
        let json = without_system_fields(document).to_string();
        check_size(json.len())?;
        let life_seconds = life_seconds(key.container.spec().time_to_live, document)?;
        Ok(Self {
            table: sql::table(key.container),
            key: key.clone(),
            etag: ETag(Uuid::new_v4().simple().to_string()),
            now_ms,
            expires_at_ms: life_seconds.map(|seconds| now_ms + seconds * 1000),
            json,
        })
    }

    pub(super) fn create(&self, connection: &Connection) -> Result<ETag> {
        let changed = self.insert(connection, " WHERE expires_at <= excluded.updated_at")?;
        if changed == 0 { Err(Error::Conflict) } else { Ok(self.etag.clone()) }
    }

    pub(super) fn upsert(&self, connection: &Connection) -> Result<ETag> {
        self.insert(connection, "")?;
        Ok(self.etag.clone())
    }

    /// Inserts the row, or replaces an existing one that meets `condition`. Returns the number of rows written.
    fn insert(&self, connection: &Connection, condition: &str) -> rusqlite::Result<usize> {
        let text = format!(
            "INSERT INTO {} (partition, id, etag, updated_at, expires_at, document) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (partition, id) DO UPDATE SET etag = excluded.etag, updated_at = excluded.updated_at, \
             expires_at = excluded.expires_at, document = excluded.document{condition}",
            self.table
        );
        let Self { key: Key { partition, id, .. }, etag, now_ms, expires_at_ms, json, .. } = self;
        let mut statement = connection.prepare_cached(&text)?;
        statement.execute(params![partition, id, etag.0, now_ms, expires_at_ms, json])
    }

    pub(super) fn replace(&self, connection: &Connection, etag: &ETag) -> Result<ETag> {
        let changed = self.update(connection, etag)?;
        if changed == 0 { Err(Error::Conflict) } else { Ok(self.etag.clone()) }
    }

    fn update(&self, connection: &Connection, old: &ETag) -> rusqlite::Result<usize> {
        let text = format!(
            "UPDATE {} SET etag = ?, updated_at = ?, expires_at = ?, document = ? \
             WHERE partition = ? AND id = ? AND etag = ? AND {}",
            self.table,
            sql::IS_LIVE
        );
        let Self { key: Key { partition, id, .. }, etag, now_ms, expires_at_ms, json, .. } = self;
        let mut statement = connection.prepare_cached(&text)?;
        statement.execute(params![etag.0, now_ms, expires_at_ms, json, partition, id, old.0, now_ms])
    }
}

pub(super) fn delete(connection: &Connection, key: &Key, etag: Option<&ETag>, now_ms: i64) -> Result<bool> {
    let text = format!(
        "DELETE FROM {} WHERE partition = ?1 AND id = ?2 AND etag = coalesce(?3, etag) \
         AND (expires_at IS NULL OR expires_at > ?4)",
        sql::table(key.container)
    );
    let mut statement = connection.prepare_cached(&text)?;
    let deleted = statement.execute(params![key.partition, key.id, etag.map(|etag| &etag.0), now_ms])?;
    if deleted == 0 && etag.is_some() { Err(Error::Conflict) } else { Ok(deleted > 0) }
}

/// A validated write of a batch.
pub(super) enum Step {
    Create(Row),
    Replace(Row, ETag),
    Delete(Key, ETag, i64),
}

impl Step {
    pub(super) fn new(container: Container, partition: &str, write: &Write, now_ms: i64) -> Result<Self> {
        let row = |document| Row::new(&key_of(container, partition, document)?, document, now_ms);
        match write {
            Write::Create { document } => Ok(Self::Create(row(document)?)),
            Write::Replace { document, etag } => Ok(Self::Replace(row(document)?, etag.clone())),
            Write::Delete { id, etag } => Ok(Self::Delete(Key::new(container, partition, id), etag.clone(), now_ms)),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Create(row) | Self::Replace(row, _) => row.json.len(),
            Self::Delete(..) => 0,
        }
    }

    pub(super) fn run(&self, connection: &Connection) -> Result<()> {
        match self {
            Self::Create(row) => row.create(connection).map(drop),
            Self::Replace(row, etag) => row.replace(connection, etag).map(drop),
            Self::Delete(key, etag, now_ms) => delete(connection, key, Some(etag), *now_ms).map(drop),
        }
    }
}

pub(super) fn sweep(connection: &Connection, container: Container, now_ms: i64) -> Result<usize> {
    let table = sql::table(container);
    let text = format!(
        "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
    );
    Ok(connection.prepare_cached(&text)?.execute(params![now_ms, SWEEP as i64])?)
}

/// Returns the document's time to live in seconds; `None` for unlimited.
fn life_seconds(container: TimeToLive, document: &Value) -> Result<Option<i64>> {
    let own = match document.get("ttl") {
        None | Some(Value::Null) => None,
        Some(ttl) => match ttl.as_i64() {
            Some(seconds) if seconds == -1 || (1..=i64::from(i32::MAX)).contains(&seconds) => Some(seconds),
            _ => return Err(Error::Failed(InvalidTimeToLive.into())),
        },
    };
    let seconds = match (container, own) {
        (TimeToLive::Off, _) | (TimeToLive::PerDocument, None) => None,
        (TimeToLive::Days(days), None) => Some(i64::from(days) * SECONDS_PER_DAY),
        (TimeToLive::PerDocument | TimeToLive::Days(_), own) => own.filter(|seconds| *seconds != -1),
    };
    Ok(seconds)
}

fn without_system_fields(document: &Value) -> Cow<'_, Value> {
    if SYSTEM_FIELDS.iter().all(|field| document.get(field).is_none()) {
        return Cow::Borrowed(document);
    }
    let mut document = document.clone();
    if let Value::Object(fields) = &mut document {
        fields.retain(|field, _| !SYSTEM_FIELDS.contains(&field.as_str()));
    }
    Cow::Owned(document)
}
