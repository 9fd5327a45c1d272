//! A narrow table of the fields that queries filter by in any combination, in a few sort orders.
//!
//! For a container with [`Spec::columns`](crate::model::containers::Spec::columns), the table `<container>_columns` has
//! a row per document with a column per field, and a covering index per sort order. A filtered page is found there
//! without reading documents: scanning 20,000 index rows takes a few milliseconds, which 20,000 documents would exceed.
//! The table `<container>_elements` has the elements of lists. If few documents have one of the elements in a query,
//! these are looked up and sorted; otherwise the query scans the index of its order and tests each row.
//!
//! Triggers maintain both tables, so they are also correct after writes of older program versions.

use std::collections::BTreeMap;

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::sql::{self, Condition, Parameter, Range, SortKey, Statement, Statements, Subject};
use crate::model::containers::{ColumnIndex, TimeToLive};
use crate::store::query::{Comparison, lower_case};
use crate::store::{Container, Direction, Filter, Query, Result, Scope};

/// With fewer documents than this that have an element, they are looked up and sorted instead of scanned in order.
const FEW: i64 = 5_000;

/// Returns the name of the table of fields, quoted.
fn columns_table(container: Container) -> String {
    format!("\"{}_columns\"", container.spec().default_name)
}

/// Returns the name of the table of elements, quoted.
fn elements_table(container: Container) -> String {
    format!("\"{}_elements\"", container.spec().default_name)
}

fn index_name(container: Container, order: &str) -> String {
    format!("{}_columns_by_{order}", container.spec().default_name)
}

fn all() -> impl Iterator<Item = (Container, &'static ColumnIndex)> {
    Container::ALL.into_iter().filter_map(|container| Some((container, container.spec().columns?)))
}

/// Returns the names of all field columns, quoted.
fn names(columns: &ColumnIndex) -> impl Iterator<Item = String> {
    [columns.texts, columns.fields, columns.orders].into_iter().flatten().map(|name| format!("\"{name}\""))
}

/// Whether the table has an index for this order, so that the container's main table needs none.
pub(super) fn serves(container: Container, order: &[(&'static str, Direction)]) -> bool {
    let is_order = |name: &str| container.spec().columns.is_some_and(|columns| columns.orders.contains(&name));
    matches!(order, [(name, Direction::Descending), ("id", Direction::Ascending)] if is_order(name))
}

/// Returns names and statements of the indexes and triggers of both tables.
pub(super) fn indexes_and_triggers() -> Result<BTreeMap<String, String>> {
    let mut wanted = BTreeMap::new();
    for (container, columns) in all() {
        for order in columns.orders {
            let name = index_name(container, order);
            let first = format!("\"{order}\"");
            let others: Vec<String> = names(columns).filter(|column| *column != first).collect();
            let statement = format!(
                "CREATE INDEX \"{name}\" ON {} (partition, {first} DESC, id, {})",
                columns_table(container),
                others.join(", ")
            );
            wanted.insert(name, statement);
        }
        wanted.extend(triggers(container, columns)?);
    }
    Ok(wanted)
}

/// Creates and fills the tables that are missing or were not maintained.
pub(super) fn bring_up_to_date(connection: &Connection, existing: &BTreeMap<String, String>) -> Result<()> {
    for (container, columns) in all() {
        let is_kept =
            triggers(container, columns)?.iter().all(|(name, statement)| existing.get(name) == Some(statement));
        let found = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
        let name = format!("{}_columns", container.spec().default_name);
        if is_kept && connection.query_row(found, [name], |_| Ok(())).optional()?.is_some() {
            continue;
        }
        let (table, elements, documents) = (columns_table(container), elements_table(container), sql::table(container));
        connection.execute_batch(&format!(
            "DROP TABLE IF EXISTS {table};
             DROP TABLE IF EXISTS {elements};
             CREATE TABLE {table} (
                 partition TEXT NOT NULL,
                 id TEXT NOT NULL,
                 {},
                 PRIMARY KEY (partition, id)
             ) WITHOUT ROWID;
             CREATE TABLE {elements} (
                 partition TEXT NOT NULL,
                 list TEXT NOT NULL,
                 element TEXT NOT NULL,
                 id TEXT NOT NULL,
                 PRIMARY KEY (partition, list, element, id)
             ) WITHOUT ROWID;
             INSERT INTO {table} {};",
            names(columns).collect::<Vec<_>>().join(", "),
            row(container, columns, &documents)?,
        ))?;
        if let Some(rows) = element_rows(columns, &documents)? {
            connection.execute_batch(&format!("INSERT INTO {elements} {rows}"))?;
        }
    }
    Ok(())
}

fn triggers(container: Container, columns: &ColumnIndex) -> Result<Vec<(String, String)>> {
    let (documents, table, elements) = (sql::table(container), columns_table(container), elements_table(container));
    let new = "(SELECT new.partition AS partition, new.id AS id, new.document AS document)";
    let insert = format!("INSERT INTO {table} {};", row(container, columns, new)?);
    let delete = format!("DELETE FROM {table} WHERE partition = old.partition AND id = old.id;");
    let insert_elements = match element_rows(columns, new)? {
        Some(rows) => format!("INSERT INTO {elements} {rows};"),
        None => String::new(),
    };
    let (mut delete_elements, mut differs) = (String::new(), Vec::new());
    for list in columns.lists {
        let path = sql::path(list)?;
        delete_elements += &format!(
            "DELETE FROM {elements} WHERE partition = old.partition AND list = '{list}' AND id = old.id \
             AND element IN (SELECT value FROM json_each(old.document, {path})); "
        );
        differs.push(format!("json_extract(old.document, {path}) IS NOT json_extract(new.document, {path})"));
    }
    let trigger = |name: &str, event: &str, when: &str, body: &str| {
        let name = format!("{}_{name}", container.spec().default_name);
        let statement = format!("CREATE TRIGGER \"{name}\" AFTER {event} ON {documents}{when} BEGIN {body} END");
        (name, statement)
    };
    let mut triggers = vec![
        trigger("columns_insert", "insert", "", &format!("{insert} {insert_elements}")),
        // Not `INSERT OR REPLACE`: the conflict clause of the statement that fires a trigger would override it.
        trigger("columns_update", "update", "", &format!("{delete} {insert}")),
        trigger("columns_delete", "delete", "", &format!("{delete} {delete_elements}")),
    ];
    if !differs.is_empty() {
        let when = format!(" WHEN {}", differs.join(" OR "));
        triggers.push(trigger("elements_update", "update", &when, &format!("{delete_elements}{insert_elements}")));
    }
    Ok(triggers)
}

/// Selects the row of each document in `source`.
fn row(container: Container, columns: &ColumnIndex, source: &str) -> Result<String> {
    let field = |name: &&'static str| sql::value(container, name);
    let text = |name: &&'static str| -> Result<String> { Ok(format!("lower_case({})", field(name)?)) };
    let texts = columns.texts.iter().map(text);
    let values = texts.chain(columns.fields.iter().chain(columns.orders).map(field)).collect::<Result<Vec<_>>>()?;
    Ok(format!("SELECT partition, id, {} FROM {source}", values.join(", ")))
}

/// Selects the elements of the lists of each document in `source`; `None` if the container has no such lists.
fn element_rows(columns: &ColumnIndex, source: &str) -> Result<Option<String>> {
    let of_list = |list: &&'static str| -> Result<String> {
        let path = sql::path(list)?;
        // Duplicate elements of a list would give duplicate rows.
        Ok(format!(
            "SELECT DISTINCT d.partition, '{list}', element.value, d.id \
             FROM {source} AS d, json_each(d.document, {path}) AS element \
             WHERE json_type(d.document, {path}) = 'array' AND element.type = 'text'"
        ))
    };
    let lists = columns.lists.iter().map(of_list).collect::<Result<Vec<_>>>()?;
    Ok((!lists.is_empty()).then(|| lists.join(" UNION ALL ")))
}

/// A test of a row.
enum Test<'a> {
    /// A filter on columns.
    Columns(&'a Filter),
    /// The column differs from the value or is missing.
    Differs(&'static str, &'a Value),
    /// The column equals the text, ignoring case.
    Text(&'static str, &'a str),
    /// The list has one of the elements.
    AnyElement(&'static str, Vec<&'a str>),
}

impl<'a> Test<'a> {
    /// Reads a filter; `None` if the tables cannot tell whether it holds.
    fn of(columns: &ColumnIndex, filter: &'a Filter) -> Option<Self> {
        let is_column =
            |name: &&'static str| *name == "id" || columns.fields.contains(name) || columns.orders.contains(name);
        match filter {
            Filter::EqualIgnoringCase(name, text) if columns.texts.contains(name) => Some(Self::Text(name, text)),
            Filter::Compare(name, comparison, value)
                if is_column(name) && *comparison != Comparison::NotEqual && !value.is_null() =>
            {
                Some(Self::Columns(filter))
            }
            Filter::Absent(name) if is_column(name) => Some(Self::Columns(filter)),
            Filter::Contains(name, Value::String(element)) if columns.lists.contains(name) => {
                Some(Self::AnyElement(name, vec![element.as_str()]))
            }
            Filter::Any(choices) => match choices.as_slice() {
                // A column does not distinguish null from missing; the combination of these two need not.
                [Filter::Absent(absent), Filter::Compare(name, Comparison::NotEqual, value)]
                    if absent == name && is_column(name) && !value.is_null() =>
                {
                    Some(Self::Differs(name, value))
                }
                choices => Self::of_elements(columns, choices),
            },
            _ => None,
        }
    }

    /// Reads an alternative of elements of one list.
    fn of_elements(columns: &ColumnIndex, choices: &'a [Filter]) -> Option<Self> {
        let element = |choice: &'a Filter| match choice {
            Filter::Contains(name, Value::String(element)) => Some((*name, element.as_str())),
            _ => None,
        };
        let elements = choices.iter().map(element).collect::<Option<Vec<_>>>()?;
        let list = elements.first()?.0;
        let is_one_list = columns.lists.contains(&list) && elements.iter().all(|(name, _)| *name == list);
        is_one_list.then(|| Self::AnyElement(list, elements.into_iter().map(|(_, element)| element).collect()))
    }
}

/// Returns the single filters that must all hold.
fn flattened(filter: &Filter) -> Vec<&Filter> {
    match filter {
        Filter::All(filters) => filters.iter().flat_map(flattened).collect(),
        single => vec![single],
    }
}

/// A query that these tables answer.
pub(super) struct Lookup<'a> {
    container: Container,
    partition: &'a str,
    tests: Vec<Test<'a>>,
    /// The order whose index is read.
    order: &'static str,
}

impl<'a> Lookup<'a> {
    /// Translates the query, sorted by `order`, to a look-up; `None` if the tables cannot answer it.
    pub(super) fn of(query: &'a Query, order: &[(&'static str, Direction)]) -> Option<Self> {
        let spec = query.container.spec();
        let columns = spec.columns.filter(|_| spec.time_to_live == TimeToLive::Off)?;
        let Scope::Partition(partition) = &query.scope else { return None };
        use Direction::{Ascending, Descending};
        let order = match order {
            [(name, Descending)]
            | [(name, Descending), ("id", Ascending)]
            | [(name, Ascending), ("id", Descending)]
                if *name != "id" =>
            {
                *name
            }
            // Within one value of the order.
            [] | [("id", _)] => query.order.first()?.0,
            _ => return None,
        };
        if !columns.orders.contains(&order) {
            return None;
        }
        let filters = query.filter.as_ref().map(flattened).unwrap_or_default();
        let tests = filters.into_iter().map(|filter| Test::of(columns, filter)).collect::<Option<Vec<_>>>()?;
        Some(Self { container: query.container, partition, tests, order })
    }

    /// Returns the statements for the rest of the query.
    pub(super) fn statements(&self, query: &Query, order: &[(&'static str, Direction)]) -> Result<Statements> {
        let subject = Subject::narrow(self.container);
        let keys = sql::sort_keys(subject, &query.scope, order)?;
        let ranges = sql::ranges(query, &keys);
        let statements = |source: Option<usize>| -> Result<Vec<Statement>> {
            ranges.iter().map(|range| self.statement(subject, &keys, range, source)).collect()
        };
        let source = self.tests.iter().position(|test| matches!(test, Test::AnyElement(..)));
        let if_few = match source.and_then(|source| self.elements(source)) {
            Some(elements) => Some((self.count(&elements), statements(source)?)),
            None => None,
        };
        let list = statements(None)?;
        let keys = 1..1 + keys.len();
        Ok(Statements { list, etag: keys.end, keys, if_few })
    }

    /// Returns the condition on element rows for a test; `None` if it is not about elements.
    fn elements(&self, test: usize) -> Option<Condition> {
        match self.tests.get(test)? {
            Test::AnyElement(list, elements) => Some(self.with_element(list, elements)),
            Test::Columns(_) | Test::Differs(..) | Test::Text(..) => None,
        }
    }

    /// Returns a statement that tells whether these element rows are few.
    fn count(&self, Condition { text, parameters }: &Condition) -> Statement {
        let table = elements_table(self.container);
        let text = format!("SELECT count(*) < {FEW} FROM (SELECT 1 FROM {table} WHERE {text} LIMIT {FEW})");
        Statement { text, parameters: parameters.iter().cloned().map(Parameter::Value).collect() }
    }

    /// Returns the condition on element rows of the partition that have one of the elements.
    fn with_element(&self, list: &'static str, elements: &[&str]) -> Condition {
        let marks = vec!["?"; elements.len()].join(", ");
        let values = [self.partition, list].into_iter().chain(elements.iter().copied());
        let parameters = values.map(|value| SqlValue::Text(value.to_owned())).collect();
        Condition { text: format!("partition = ? AND list = ? AND element IN ({marks})"), parameters }
    }

    fn condition(&self, subject: Subject, test: &Test<'_>) -> Result<Condition> {
        match test {
            Test::Columns(filter) => sql::condition(subject, filter, true),
            Test::Differs(name, value) => Ok(Condition::with(format!("\"{name}\" IS NOT ?"), sql::parameter(value)?)),
            Test::Text(name, text) => Ok(Condition::with(format!("\"{name}\" = ?"), lower_case(text))),
            Test::AnyElement(list, elements) => {
                let Condition { text, parameters } = self.with_element(list, elements);
                let table = elements_table(self.container);
                let text = format!("EXISTS (SELECT 1 FROM {table} AS e WHERE {text} AND e.id = c.id)");
                Ok(Condition { text, parameters })
            }
        }
    }

    /// Reads one range of the order: the rows, and then their documents. With a `source`, rows are looked up by the
    /// elements of this test; otherwise they are scanned in order.
    fn statement(
        &self,
        subject: Subject,
        keys: &[SortKey],
        range: &Range<'_>,
        source: Option<usize>,
    ) -> Result<Statement> {
        let table = columns_table(self.container);
        let (from, mut which) = match source.and_then(|source| self.elements(source)) {
            Some(Condition { text, parameters }) => {
                let found = elements_table(self.container);
                let from = format!(
                    "(SELECT DISTINCT id AS found FROM {found} WHERE {text}) CROSS JOIN {table} AS c ON c.id = found"
                );
                (from, Condition { text: String::new(), parameters })
            }
            None => {
                let index = index_name(self.container, self.order);
                (format!("{table} AS c INDEXED BY \"{index}\""), Condition::default())
            }
        };
        which = Condition { text: "c.partition = ?".to_owned(), ..which };
        which.parameters.push(self.partition.to_owned().into());
        for (index, test) in self.tests.iter().enumerate() {
            if source != Some(index) {
                which = which.and(self.condition(range.subject(subject), test)?);
            }
        }
        let Condition { text, parameters } = which.and_perhaps(range.condition.clone());
        let columns: Vec<String> =
            keys.iter().enumerate().map(|(at, key)| format!("{} AS key{at}", qualified(&key.value))).collect();
        let sorted_by = |column: &dyn Fn(usize, &SortKey) -> String| {
            let first = keys.len() - range.sorted_by.len();
            let sorted = keys.iter().enumerate().skip(first).map(|(at, key)| {
                let descending = if key.direction == Direction::Descending { " DESC" } else { "" };
                format!("{}{descending}", column(at, key))
            });
            sorted.collect::<Vec<_>>().join(", ")
        };
        let names: Vec<_> = (0..keys.len()).map(|at| format!("key{at}")).collect();
        let text = format!(
            "SELECT document, {names}, etag FROM (SELECT c.id AS item, {columns} FROM {from} WHERE {text} \
             ORDER BY {by_column} LIMIT ?) CROSS JOIN {documents} ON partition = ? AND id = item \
             ORDER BY {by_name} LIMIT ?",
            names = names.join(", "),
            columns = columns.join(", "),
            by_column = sorted_by(&|_, key| qualified(&key.value)),
            documents = sql::table(self.container),
            by_name = sorted_by(&|at, _| format!("key{at}")),
        );
        let mut parameters: Vec<_> = parameters.into_iter().map(Parameter::Value).collect();
        parameters.extend([Parameter::Limit, Parameter::Value(self.partition.to_owned().into()), Parameter::Limit]);
        Ok(Statement { text, parameters })
    }
}

/// Qualifies a column of the table of fields.
fn qualified(column: &str) -> String {
    format!("c.{column}")
}
