//! The embedded back end: messages in a SQLite file, or in memory. The file is separate from the documents, so neither
//! waits for the other's transactions. Several processes may use it. A message is received in a write transaction, so
//! two receivers never get the same one; concurrent calls share a transaction and its sync to disk. A waiting message
//! can be received whatever the clock says. A hidden one becomes visible at a time of the system's clock, or when the
//! clock shows a time well before the one at which it was hidden, because then the clock was set back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::{Error, JobQueue, MAX_RECEIVED, Message, Result, check_size};
use crate::base::chain::Chain;
use crate::base::clock::Clock;
use crate::sqlite::{self, Engine, Schema};

/// Migrations of the tables, from layout 0 (a new file) to 1, from 1 to 2 and so on.
const MIGRATIONS: &[fn(&Transaction<'_>) -> rusqlite::Result<()>] = &[create_tables, give_turns, note_when_hidden];

/// Current layout.
const LAYOUT: u32 = MIGRATIONS.len() as u32;

/// How far ahead of the clock a message may have been hidden before the clock counts as set back, in milliseconds.
const MOST_AHEAD_MS: i64 = 60_000;

const SCHEMA: Schema<Error> = Schema { connect: |_| Ok(()), prepare: bring_up_to_date };

/// A point in time that a file cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("{0} ms since 1970 is out of range")]
struct BadMoment(i64);

/// Queues in SQLite.
pub struct LocalQueue {
    engine: Engine,
    clock: Arc<dyn Clock>,
    /// Notifies when a message becomes visible, per queue in use.
    changes: Mutex<HashMap<String, Arc<Notify>>>,
}

impl LocalQueue {
    /// Opens or creates the file at `path`, and its directory. A new file is readable only by its owner.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be used, for example because a newer version wrote it;
    /// [`Error::Unavailable`] when another process keeps it locked.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self::on(Engine::open(path, &SCHEMA)?, clock))
    }

    /// Writes a consistent snapshot of the file, even during concurrent writes.
    ///
    /// # Errors
    /// When the file cannot be read or the copy not written.
    pub fn copy(from: &Path, to: &Path) -> Result<()> {
        Ok(sqlite::files::copy(from, to, SCHEMA.connect)?)
    }

    /// Checks a file for damage; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find_damage_in(path: &Path) -> Result<Option<String>> {
        Ok(sqlite::files::find_damage(path, SCHEMA.connect)?)
    }

    /// Creates queues in memory.
    ///
    /// # Errors
    /// [`Error::Failed`] when SQLite or the system refuse.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self::on(Engine::in_memory(&SCHEMA)?, clock))
    }

    fn on(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clock, changes: Mutex::new(HashMap::new()) }
    }

    /// Returns the current time in milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        sqlite::now_ms(&*self.clock)
    }

    /// Returns the time `later` from now in milliseconds since 1970.
    fn after_ms(&self, later: Duration) -> i64 {
        self.now_ms().saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX))
    }

    fn change(&self, queue: &str) -> Arc<Notify> {
        let mut changes = self.changes.lock();
        if let Some(change) = changes.get(queue) {
            return change.clone();
        }
        changes.entry(queue.to_owned()).or_default().clone()
    }

    /// Returns how long until a message is visible: zero if one is, `None` if the queue is empty.
    async fn until_visible(&self, queue: &str) -> Result<Option<Duration>> {
        let (queue, ahead_ms) = (queue.to_owned(), self.now_ms() + MOST_AHEAD_MS);
        let first = move |connection: &Connection| -> Result<Option<i64>> {
            let mut statement = connection.prepare_cached(
                "SELECT coalesce(
                    (SELECT 0 FROM messages INDEXED BY messages_by_turn WHERE queue = ?1 AND turn >= 0 LIMIT 1),
                    (SELECT 0 FROM messages INDEXED BY messages_hidden_at
                     WHERE queue = ?1 AND turn IS NULL AND hidden_at > ?2 LIMIT 1),
                    (SELECT min(visible_at) FROM messages INDEXED BY messages_hidden WHERE queue = ?1 AND turn IS NULL))",
            )?;
            Ok(statement.query_row(params![queue, ahead_ms], |row| row.get(0))?)
        };
        let visible_at = self.engine.read(first).await?;
        let left_ms = visible_at.map(|visible_at| visible_at.saturating_sub(self.now_ms()));
        Ok(left_ms.map(|left_ms| Duration::from_millis(u64::try_from(left_ms).unwrap_or_default())))
    }
}

#[async_trait]
impl JobQueue for LocalQueue {
    async fn send(&self, queue: &str, text: &str) -> Result<()> {
        self.send_for(queue, NOBODY, text).await
    }

    async fn send_for(&self, queue: &str, user: &str, text: &str) -> Result<()> {
        check_size(text)?;
        let (name, owner, text) = (queue.to_owned(), user.to_owned(), text.to_owned());
        let now_ms = self.now_ms();
        self.engine.write(move |connection| insert(connection, &name, &owner, &text, now_ms)).await?;
        self.change(queue).notify_waiters();
        Ok(())
    }

    async fn receive(&self, queue: &str, most: usize, visibility: Duration) -> Result<Vec<Message>> {
        let (queue, most) = (queue.to_owned(), most.clamp(1, MAX_RECEIVED));
        let (now_ms, visible_at) = (self.now_ms(), self.after_ms(visibility));
        self.engine.write(move |connection| take(connection, &queue, most, now_ms, visible_at)).await
    }

    async fn renew(&self, queue: &str, message: &mut Message, visibility: Duration) -> Result<()> {
        let (name, id, old) = (queue.to_owned(), message.id.clone(), message.receipt.clone());
        let (new, now_ms, visible_at) = (new_receipt(), self.now_ms(), self.after_ms(visibility));
        let receipt = new.clone();
        let renew = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE messages SET hidden_at = ?, visible_at = ?, receipt = ? WHERE id = ? AND queue = ? AND receipt = ?",
            )?;
            ours(statement.execute(params![now_ms, visible_at, new, id, name, old])?)
        };
        self.engine.write(renew).await?;
        message.receipt = receipt;
        self.change(queue).notify_waiters();
        Ok(())
    }

    async fn delete(&self, queue: &str, message: &Message) -> Result<()> {
        let (queue, id, receipt) = (queue.to_owned(), message.id.clone(), message.receipt.clone());
        self.engine.write(move |connection| delete(connection, &queue, &id, &receipt)).await
    }

    async fn move_to(&self, from: &str, message: &Message, to: &str) -> Result<()> {
        let (source, target, now_ms) = (from.to_owned(), to.to_owned(), self.now_ms());
        let Message { id, receipt, text, .. } = message.clone();
        let move_it = move |connection: &Connection| {
            delete(connection, &source, &id, &receipt)?;
            insert(connection, &target, NOBODY, &text, now_ms)
        };
        self.engine.write(move_it).await?;
        self.change(to).notify_waiters();
        Ok(())
    }

    async fn length(&self, queue: &str) -> Result<usize> {
        let queue = queue.to_owned();
        let count = |connection: &Connection| -> Result<i64> {
            let mut statement = connection.prepare_cached("SELECT count(*) FROM messages WHERE queue = ?")?;
            Ok(statement.query_row([queue], |row| row.get(0))?)
        };
        Ok(usize::try_from(self.engine.read(count).await?).unwrap_or_default())
    }

    async fn ping(&self, queue: &str) -> Result<()> {
        self.engine.check().await?;
        // A message added and deleted in one transaction cannot be received, but must reach the disk.
        let (queue, now_ms) = (queue.to_owned(), self.now_ms());
        let come_and_go = move |connection: &Connection| {
            insert(connection, &queue, "", "", now_ms)?;
            connection.prepare_cached("DELETE FROM messages WHERE sequence = last_insert_rowid()")?.execute([])?;
            Ok(())
        };
        self.engine.write(come_and_go).await
    }

    async fn find_damage(&self) -> Result<Option<String>> {
        Ok(self.engine.find_damage().await?)
    }

    async fn wait(&self, queue: &str, limit: Duration) {
        let change = self.change(queue);
        let end = Instant::now() + limit;
        loop {
            let mut changed = std::pin::pin!(change.notified());
            // Before the check, so that a message that arrives between check and wait is not missed.
            changed.as_mut().enable();
            let looked = tokio::time::timeout_at(end, self.until_visible(queue)).await;
            let next = match looked {
                Ok(Ok(Some(Duration::ZERO))) | Err(_) => return,
                Ok(Ok(Some(left))) => end.min(Instant::now() + left),
                Ok(Ok(None)) => end,
                Ok(Err(error)) => {
                    warn!(queue, error = %Chain(&error), "queue not polled while waiting");
                    end
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= end {
                return;
            }
        }
    }
}

fn new_receipt() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Most returned messages that get a turn together.
const MOST_RETURNED: i64 = 1000;

/// Owner of messages that no user requested; it takes turns like a user.
const NOBODY: &str = "";

fn insert(connection: &Connection, queue: &str, owner: &str, text: &str, now_ms: i64) -> Result<()> {
    let turn = next_turn(connection, queue, owner)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO messages (queue, id, inserted_at, visible_at, dequeue_count, receipt, owner, turn, text) \
         VALUES (?1, ?2, ?3, ?3, 0, '', ?4, ?5, ?6)",
    )?;
    statement.execute(params![queue, Uuid::new_v4().to_string(), now_ms, owner, turn, text])?;
    Ok(())
}

/// Returns the turn of an owner's next message: the current one, or the one after their last waiting message.
fn next_turn(connection: &Connection, queue: &str, owner: &str) -> Result<i64> {
    let mut last = connection.prepare_cached("SELECT max(turn) FROM messages WHERE queue = ? AND owner = ?")?;
    let last: Option<i64> = last.query_row([queue, owner], |row| row.get(0))?;
    let mut on = connection.prepare_cached("SELECT min(turn) FROM messages WHERE queue = ?")?;
    let on: Option<i64> = on.query_row([queue], |row| row.get(0))?;
    Ok(on.unwrap_or(0).max(last.map_or(0, |last| last + 1)))
}

/// Gives returned messages turns after their owners' waiting messages.
fn give_turns_back(connection: &Connection, queue: &str, now_ms: i64) -> Result<()> {
    for (condition, moment) in [
        ("INDEXED BY messages_hidden WHERE queue = ? AND turn IS NULL AND visible_at <= ? ORDER BY visible_at", now_ms),
        (
            "INDEXED BY messages_hidden_at WHERE queue = ? AND turn IS NULL AND hidden_at > ? ORDER BY hidden_at",
            now_ms + MOST_AHEAD_MS,
        ),
    ] {
        let mut returned = connection.prepare_cached(&format!(
            "SELECT sequence, owner FROM messages {condition}, sequence LIMIT {MOST_RETURNED}"
        ))?;
        let returned = returned.query_map(params![queue, moment], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let returned: Vec<(i64, String)> = returned.collect::<rusqlite::Result<_>>()?;
        let mut give = connection.prepare_cached("UPDATE messages SET turn = ? WHERE sequence = ?")?;
        for (sequence, owner) in returned {
            give.execute(params![next_turn(connection, queue, &owner)?, sequence])?;
        }
    }
    Ok(())
}

/// Takes waiting messages by turn, oldest first within each turn.
fn take(connection: &Connection, queue: &str, most: usize, now_ms: i64, visible_at: i64) -> Result<Vec<Message>> {
    give_turns_back(connection, queue, now_ms)?;
    let mut waiting = connection.prepare_cached(
        "SELECT sequence, id, dequeue_count + 1, inserted_at, text FROM messages INDEXED BY messages_by_turn \
         WHERE queue = ? AND turn >= 0 ORDER BY turn, sequence LIMIT ?",
    )?;
    let taken = |row: &rusqlite::Row<'_>| {
        let message = Message {
            id: row.get(1)?,
            receipt: new_receipt(),
            text: row.get(4)?,
            dequeue_count: row.get(2)?,
            inserted_at: OffsetDateTime::UNIX_EPOCH,
        };
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(3)?, message))
    };
    let rows = waiting.query_map(params![queue, most as i64], taken)?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let mut hide = connection.prepare_cached(
        "UPDATE messages SET hidden_at = ?, visible_at = ?, dequeue_count = dequeue_count + 1, receipt = ?, turn = NULL \
         WHERE sequence = ?",
    )?;
    let mut messages = Vec::with_capacity(rows.len());
    for (sequence, inserted_at, message) in rows {
        hide.execute(params![now_ms, visible_at, message.receipt, sequence])?;
        messages.push(Message { inserted_at: moment(inserted_at)?, ..message });
    }
    Ok(messages)
}

fn delete(connection: &Connection, queue: &str, id: &str, receipt: &str) -> Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ?")?;
    ours(statement.execute([id, queue, receipt])?)
}

/// Whether one message was found by its receipt.
fn ours(found: usize) -> Result<()> {
    if found == 0 { Err(Error::Lost) } else { Ok(()) }
}

fn moment(since_1970_ms: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(since_1970_ms) * 1_000_000)
        .map_err(|_| Error::Failed(BadMoment(since_1970_ms).into()))
}

sqlite::work_error!(Error);

/// Migrates the tables. Cheap when they are current.
fn bring_up_to_date(connection: &mut Connection) -> Result<()> {
    if sqlite::layout(connection, LAYOUT)? == LAYOUT {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Checked again, now that no other process can change it.
    let past = sqlite::layout(&transaction, LAYOUT)?;
    for migrate in MIGRATIONS.iter().skip(past as usize) {
        migrate(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    Ok(transaction.commit()?)
}

/// Adds the time at which a message was hidden, which shows whether the clock has been set back since. The new indexes
/// cover only hidden messages.
fn note_when_hidden(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "ALTER TABLE messages ADD COLUMN hidden_at INTEGER NOT NULL DEFAULT 0; -- milliseconds since 1970
        DROP INDEX messages_by_turn;
        CREATE INDEX messages_by_turn ON messages (queue, turn, sequence);
        DROP INDEX messages_by_visibility;
        CREATE INDEX messages_hidden ON messages (queue, visible_at) WHERE turn IS NULL;
        CREATE INDEX messages_hidden_at ON messages (queue, hidden_at) WHERE turn IS NULL;",
    )
}

/// Adds turns of users: a waiting message has one, and gets another when it returns.
fn give_turns(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "ALTER TABLE messages ADD COLUMN owner TEXT NOT NULL DEFAULT ''; -- a user, or nobody
        ALTER TABLE messages ADD COLUMN turn INTEGER; -- NULL since somebody received it
        CREATE INDEX messages_by_turn ON messages (queue, turn, sequence, visible_at);
        CREATE INDEX messages_by_owner ON messages (queue, owner, turn);",
    )
}

/// Creates the tables. The text is the last column, so that counts and receipts do not read its overflow pages.
///
/// The index tells when the next message becomes visible.
fn create_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TABLE messages (
            sequence INTEGER PRIMARY KEY,
            queue TEXT NOT NULL,
            id TEXT NOT NULL UNIQUE,
            inserted_at INTEGER NOT NULL, -- milliseconds since 1970
            visible_at INTEGER NOT NULL, -- likewise
            dequeue_count INTEGER NOT NULL,
            receipt TEXT NOT NULL, -- empty until the message is received
            text TEXT NOT NULL
        );
        CREATE INDEX messages_by_visibility ON messages (queue, visible_at, sequence);",
    )
}
