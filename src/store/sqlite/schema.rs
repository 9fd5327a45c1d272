//! Tables and indexes of the embedded store, and how a file is brought up to date.
//!
//! One table per container, with rowids and a unique index over (partition, id). Not `WITHOUT ROWID`: documents have up
//! to 2 MiB, and a clustered table would keep them in the tree that every look-up walks; a rowid also keeps the other
//! indexes small. The document comes last in its row, so reading a version does not touch its overflow pages.
//!
//! Indexes follow from `Container::spec`, by this rule: each sort order gets an index over (partition, its fields, id).
//! In a container that is also asked across partitions (`Spec::across_partitions`) each gets another one over (its
//! fields, partition, id). A sparse one (`Spec::sparse_indexes`) has only the rows with its first field. They are made
//! and dropped when a file is opened and are no part of the layout's version.
//!
//! Orders that the narrow table of a container serves (`Spec::columns`, see `columns`) have their indexes there.
//!
//! The same goes for triggers: those of a container that tracks changes (`Spec::tracks_changes`) count its writes, by
//! partition, in the table `changes`. So every writer counts, a program of an older version too. Those of a container
//! with a list (`Spec::list`) keep its table, see `lists`.
//!
//! The moment of expiry is computed when a document is written. Changing a container's time to live therefore needs a
//! migration that computes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{columns, lists, sql};
use crate::sqlite;
use crate::store::{Container, Direction, Error, Result, Scope};

/// Changes of the tables, from layout 1 to 2, from 2 to 3 and so on. `PRAGMA user_version` says which layout a file
/// has; a new one (0) gets the newest at once. New containers need no change: missing tables are made as indexes are.
const MIGRATIONS: &[fn(&Transaction<'_>) -> rusqlite::Result<()>] = &[];

/// Current layout.
const LAYOUT: u32 = 1 + MIGRATIONS.len() as u32;

/// Brings layout, tables and indexes up to date. Costs a look at the schema when they are.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<()> {
    let mut wanted = indexes()?;
    wanted.extend(triggers());
    wanted.extend(lists::indexes_and_triggers()?);
    wanted.extend(columns::indexes_and_triggers()?);
    if sqlite::layout(connection, LAYOUT)? == LAYOUT && existing(connection)? == wanted {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Looked at again, now that no other process can change it.
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

/// Drops and makes indexes and triggers.
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

/// Name and statement of each trigger, and of each index that was made by a statement (not by a primary key).
fn existing(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Name and statement of each trigger that there should be.
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

/// Name and statement of each index that there should be.
fn indexes() -> Result<BTreeMap<String, String>> {
    let mut indexes = BTreeMap::new();
    for container in Container::ALL {
        let (spec, table) = (container.spec(), sql::table(container));
        let expiry = format!("{}_by_expiry", spec.default_name);
        let statement = format!("CREATE INDEX \"{expiry}\" ON {table} (expires_at) WHERE expires_at IS NOT NULL");
        indexes.insert(expiry, statement);
        let partition = Scope::Partition(String::new());
        for order in spec.indexes.iter().filter(|order| !columns::serves(container, order)) {
            indexes.extend([index(container, order, &partition, false)?]);
            if spec.across_partitions {
                indexes.extend([index(container, order, &Scope::All, false)?]);
            }
        }
        for sparse in spec.sparse_indexes {
            let scope = if sparse.across_partitions { &Scope::All } else { &partition };
            indexes.extend([index(container, sparse.order, scope, true)?]);
        }
    }
    Ok(indexes)
}

/// Returns name and statement of an index for queries of one partition or all in this order. A sparse one has only the
/// documents with its first field.
fn index(
    container: Container,
    order: &[(&'static str, Direction)],
    scope: &Scope,
    is_sparse: bool,
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
    // SQLite sees that a comparison of this expression implies the condition.
    let first = keys.first().filter(|key| is_sparse && key.nullable);
    let condition = first.map(|key| format!(" WHERE {} IS NOT NULL", key.value)).unwrap_or_default();
    let (table, columns) = (sql::table(container), columns.join(", "));
    Ok((name.clone(), format!("CREATE INDEX \"{name}\" ON {table} ({columns}){condition}")))
}
