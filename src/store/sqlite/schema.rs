//! Tables and indexes of the embedded store, and their migration.
//!
//! There is one table per container, with rowids and a unique index on (partition, id). Not `WITHOUT ROWID`: documents
//! have up to 2 MiB, and a clustered table would keep them in the tree that every look-up traverses; rowids also keep
//! the other indexes small. The document is the last column, so reading a version does not touch its overflow pages.
//!
//! Indexes are derived from `Container::spec`: each sort order gets an index on (partition, its fields, id). In a
//! container that is also queried across partitions (`Spec::across_partitions`), each gets another one on (its fields,
//! partition, id). A sparse index (`Spec::sparse_indexes`) has only the rows with a certain field. Indexes are created
//! and dropped when a file is opened and are not part of the layout version.
//!
//! Sort orders that a container's narrow table serves (`Spec::columns`, see `columns`) have their indexes there.
//!
//! So are triggers: in a container that tracks changes (`Spec::tracks_changes`) they count its writes, by partition, in
//! the table `changes`, including those of older program versions. In a container with a list (`Spec::list`) they
//! maintain its table, see `lists`.
//!
//! Expiry times are computed when a document is written. Changing a container's time to live therefore needs a
//! migration that recomputes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{columns, lists, sql};
use crate::sqlite;
use crate::store::{Container, Direction, Error, Result, Scope};

/// Migrations, from layout 1 to 2, from 2 to 3 and so on. `PRAGMA user_version` is the layout of a file; a new file (0)
/// gets the newest one directly. New containers need no migration: like indexes, missing tables are created.
const MIGRATIONS: &[fn(&Transaction<'_>) -> rusqlite::Result<()>] = &[];

/// Current layout.
const LAYOUT: u32 = 1 + MIGRATIONS.len() as u32;

/// Brings layout, tables and indexes up to date. If they are, this only reads the schema.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<()> {
    let mut wanted = indexes()?;
    wanted.extend(triggers());
    wanted.extend(lists::indexes_and_triggers()?);
    wanted.extend(columns::indexes_and_triggers()?);
    if sqlite::layout(connection, LAYOUT)? == LAYOUT && existing(connection)? == wanted {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Checked again, now that no other process can change it.
    if let Some(past) = sqlite::layout(&transaction, LAYOUT)?.checked_sub(1) {
        for migrate in MIGRATIONS.iter().skip(past as usize) {
            migrate(&transaction)?;
        }
    }
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    create_tables(&transaction)?;
    lists::bring_up_to_date(&transaction, &existing(&transaction)?)?;
    columns::bring_up_to_date(&transaction, &existing(&transaction)?)?;
    update(&transaction, &wanted)?;
    Ok(transaction.commit()?)
}

fn create_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    for container in Container::ALL {
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                partition TEXT NOT NULL,
                id TEXT NOT NULL,
                etag TEXT NOT NULL,
                updated_at INTEGER NOT NULL, -- milliseconds since 1970
                expires_at INTEGER, -- likewise
                document TEXT NOT NULL,
                PRIMARY KEY (partition, id)
            )",
            table = sql::table(container)
        ))?;
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS changes (
            container TEXT NOT NULL,
            partition TEXT NOT NULL,
            count INTEGER NOT NULL, -- never goes back
            PRIMARY KEY (container, partition)
        ) WITHOUT ROWID",
    )
}

/// Drops and creates indexes and triggers.
fn update(transaction: &Transaction<'_>, wanted: &BTreeMap<String, String>) -> rusqlite::Result<()> {
    let existing = existing(transaction)?;
    for (name, statement) in existing.iter().filter(|(name, statement)| wanted.get(*name) != Some(statement)) {
        let kind = if statement.starts_with("CREATE TRIGGER") { "TRIGGER" } else { "INDEX" };
        transaction.execute_batch(&format!("DROP {kind} \"{name}\""))?;
    }
    for (_, statement) in wanted.iter().filter(|(name, statement)| existing.get(*name) != Some(statement)) {
        transaction.execute_batch(statement)?;
    }
    Ok(())
}

/// Returns name and statement of each trigger, and of each index created by a statement (not by a primary key).
fn existing(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Returns name and statement of each required trigger.
fn triggers() -> impl Iterator<Item = (String, String)> {
    Container::ALL.into_iter().filter(|container| container.spec().tracks_changes).flat_map(|container| {
        let (name, table) = (container.spec().default_name, sql::table(container));
        [("insert", "new"), ("update", "new"), ("delete", "old")].map(|(event, row)| {
            let trigger = format!("{name}_counts_{event}");
            let statement = format!(
                "CREATE TRIGGER \"{trigger}\" AFTER {event} ON {table} BEGIN \
                 INSERT INTO changes VALUES ('{name}', {row}.partition, 1) \
                 ON CONFLICT (container, partition) DO UPDATE SET count = count + 1; END"
            );
            (trigger, statement)
        })
    })
}

/// Returns name and statement of each required index.
fn indexes() -> Result<BTreeMap<String, String>> {
    let mut indexes = BTreeMap::new();
    for container in Container::ALL {
        let (spec, table) = (container.spec(), sql::table(container));
        let expiry = format!("{}_by_expiry", spec.default_name);
        let statement = format!("CREATE INDEX \"{expiry}\" ON {table} (expires_at) WHERE expires_at IS NOT NULL");
        indexes.insert(expiry, statement);
        let partition = Scope::Partition(String::new());
        for order in spec.indexes.iter().filter(|order| !columns::serves(container, order)) {
            indexes.extend([index(container, order, &partition, None)?]);
            if spec.across_partitions {
                indexes.extend([index(container, order, &Scope::All, None)?]);
            }
        }
        for sparse in spec.sparse_indexes {
            let scope = if sparse.across_partitions { &Scope::All } else { &partition };
            indexes.extend([index(container, sparse.order, scope, Some(sparse.has))?]);
        }
    }
    Ok(indexes)
}

/// Returns name and statement of an index for queries of one partition or all in this order, of all documents or of
/// those that have a field.
fn index(
    container: Container,
    order: &[(&'static str, Direction)],
    scope: &Scope,
    has: Option<&'static str>,
) -> Result<(String, String)> {
    let mut name = format!("{}_by", container.spec().default_name);
    let mut columns = match scope {
        Scope::Partition(_) => vec!["partition".to_owned()],
        Scope::All => Vec::new(),
    };
    for (field, direction) in order {
        let suffix = if *direction == Direction::Descending { "_desc" } else { "_asc" };
        // Writing to a string cannot fail.
        write!(name, "_{field}{suffix}").map_err(|error| Error::Failed(error.into()))?;
    }
    if *scope == Scope::All {
        name.push_str("_across");
    }
    let keys = sql::sort_keys(sql::Subject::new(container), scope, order)?;
    columns.extend(keys.iter().map(ToString::to_string));
    let has = has.map(|field| [(field, Direction::Ascending)]);
    let has = has.map(|field| sql::sort_keys(sql::Subject::new(container), scope, &field)).transpose()?;
    // SQLite recognises that a comparison of this expression implies the condition.
    let has = has.iter().flatten().next().filter(|key| key.nullable);
    let condition = has.map(|key| format!(" WHERE {} IS NOT NULL", key.value)).unwrap_or_default();
    let (table, columns) = (sql::table(container), columns.join(", "));
    Ok((name.clone(), format!("CREATE INDEX \"{name}\" ON {table} ({columns}){condition}")))
}
