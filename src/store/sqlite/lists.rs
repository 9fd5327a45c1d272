//! List tables: for a container with a `ListIndex`, a row for each element of each document's list, in lower case, and
//! one for the whole document (with the empty string as element). A row has all fields that queries filter and sort by,
//! so a query scans an index of this table only, and reads from the container's table only the documents of its page.
//!
//! Triggers maintain the tables. They are not part of the layout version: a program version that does not know a table
//! drops its triggers, and where these are missing the table is rebuilt.
//!
//! An index is ordered within each element and value of the group, so a query for several of them merges several
//! ranges. A query with an earliest date reads these ranges, or, if few documents are that recent, an index by date.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::sql::{self, Condition, Parameter, Range, SortKey, Statement, Statements, Subject};
use crate::model::containers::ListIndex;
use crate::store::query::{Comparison, lower_case};
use crate::store::{Container, Direction, Error, Filter, Query, Result, Scope};

/// Most ranges that are merged; with more, the group becomes a filter.
const MOST_STRETCHES: usize = 64;
/// With fewer recent rows than this, they are read by date and sorted instead of scanned in order.
const FEW: i64 = 20_000;

/// Returns the name of the table of a container's list, quoted.
fn table(container: Container, list: &ListIndex) -> String {
    format!("\"{}_{}\"", container.spec().default_name, list.list)
}

fn index_name(container: Container, list: &ListIndex, by: &str) -> String {
    format!("{}_{}_by_{by}", container.spec().default_name, list.list)
}

/// Returns name and statement of each index and trigger of the list tables.
pub(super) fn indexes_and_triggers() -> Result<BTreeMap<String, String>> {
    let mut wanted = BTreeMap::new();
    for (container, list) in all() {
        let (table, group) = (table(container, list), list.group);
        let mut index = |by: &str, columns: String| {
            let name = index_name(container, list, by);
            wanted.insert(name.clone(), format!("CREATE INDEX \"{name}\" ON {table} (partition, element, {columns})"));
        };
        for order in list.orders {
            index(order, format!("\"{order}\" DESC, id, \"{group}\", dated, expires_at"));
            index(&format!("{group}_{order}"), format!("\"{group}\", \"{order}\" DESC, id, dated, expires_at"));
        }
        index("dated", format!("dated, {}, id, \"{group}\", expires_at", quoted(list.orders)));
        wanted.extend(triggers(container, list)?);
    }
    Ok(wanted)
}

/// Creates and fills the tables that are missing or were not maintained.
pub(super) fn bring_up_to_date(connection: &Connection, existing: &BTreeMap<String, String>) -> Result<()> {
    for (container, list) in all() {
        let is_kept = triggers(container, list)?.iter().all(|(name, statement)| existing.get(name) == Some(statement));
        let name = format!("{}_{}", container.spec().default_name, list.list);
        let table = table(container, list);
        let found = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
        if is_kept && connection.query_row(found, [name], |_| Ok(())).optional()?.is_some() {
            continue;
        }
        let rows = rows(container, list, &sql::table(container))?;
        connection.execute_batch(&format!(
            "DROP TABLE IF EXISTS {table};
             CREATE TABLE {table} (
                 partition TEXT NOT NULL,
                 id TEXT NOT NULL,
                 element TEXT NOT NULL,
                 expires_at INTEGER,
                 \"{}\",
                 dated,
                 {},
                 PRIMARY KEY (partition, id, element)
             ) WITHOUT ROWID;
             INSERT INTO {table} {rows}",
            list.group,
            quoted(list.orders),
        ))?;
    }
    Ok(())
}

fn all() -> impl Iterator<Item = (Container, &'static ListIndex)> {
    Container::ALL.into_iter().filter_map(|container| Some((container, container.spec().list?)))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn triggers(container: Container, list: &ListIndex) -> Result<[(String, String); 3]> {
    let (documents, table) = (sql::table(container), table(container, list));
    let new =
        "(SELECT new.partition AS partition, new.id AS id, new.expires_at AS expires_at, new.document AS document)";
    let insert = format!("INSERT INTO {table} {};", rows(container, list, new)?);
    let delete = format!("DELETE FROM {table} WHERE partition = old.partition AND id = old.id;");
    let update = format!("{delete} {insert}");
    Ok([("insert", insert), ("update", update), ("delete", delete)].map(|(event, body)| {
        let name = format!("{}_{}_{event}", container.spec().default_name, list.list);
        let statement = format!("CREATE TRIGGER \"{name}\" AFTER {event} ON {documents} BEGIN {body} END");
        (name, statement)
    }))
}

/// Builds the query for the rows of the documents in `source`.
fn rows(container: Container, list: &ListIndex, source: &str) -> Result<String> {
    let value = |name: &&'static str| sql::value(container, name);
    let dated = list.dated.iter().map(value).collect::<Result<Vec<_>>>()?.join(", ");
    let orders = list.orders.iter().map(value).collect::<Result<Vec<_>>>()?.join(", ");
    let fields = format!("d.expires_at, {}, coalesce({dated}), {orders}", value(&list.group)?);
    let path = sql::path(list.list)?;
    // Duplicate elements give duplicate rows, of which one is kept.
    Ok(format!(
        "SELECT d.partition, d.id, '', {fields} FROM {source} AS d \
         UNION SELECT d.partition, d.id, lower_case(element.value), {fields} \
         FROM {source} AS d, json_each(d.document, {path}) AS element \
         WHERE json_type(d.document, {path}) = 'array' AND element.type = 'text' AND element.value <> ''"
    ))
}

/// A query that a list table answers.
pub(super) struct Lookup<'a> {
    subject: Subject,
    list: &'static ListIndex,
    partition: &'a str,
    /// Elements of which documents must have one; the empty string for any document.
    elements: Vec<String>,
    /// Values of the group; empty for any.
    groups: Vec<&'a Value>,
    /// The earliest date, as a string.
    since: Option<&'a Value>,
    /// Other conditions, on columns of the table.
    others: Vec<&'a Filter>,
    /// The order whose indexes are read.
    order: &'static str,
}

impl<'a> Lookup<'a> {
    /// Translates the query, sorted by `order`, to a look-up. `None` if it has no condition on element, group or date,
    /// or one that the table cannot answer.
    pub(super) fn of(query: &'a Query, order: &[(&'static str, Direction)]) -> Option<Self> {
        let list = query.container.spec().list?;
        let Scope::Partition(partition) = &query.scope else { return None };
        let (mut elements, mut groups, mut since, mut others) = (BTreeSet::new(), Vec::new(), None, Vec::new());
        let filters = match query.filter.as_ref()? {
            Filter::All(filters) => filters.as_slice(),
            single => std::slice::from_ref(single),
        };
        let is_order = |name: &&str| list.orders.contains(name);
        let is_column = |name: &str| name == "id" || name == list.group || is_order(&name);
        for filter in filters {
            match filter {
                Filter::ContainsAny(name, texts) if *name == list.list && elements.is_empty() => {
                    elements = texts.iter().map(|text| lower_case(text)).collect();
                    if elements.first().is_none_or(String::is_empty) {
                        return None;
                    }
                }
                Filter::In(name, values) if *name == list.group && groups.is_empty() => {
                    groups = values.iter().collect();
                    if groups.is_empty() || !values.iter().all(Value::is_string) {
                        return None;
                    }
                    groups.sort_by_key(|value| value.as_str());
                    groups.dedup();
                }
                Filter::CompareFirst(names, Comparison::GreaterOrEqual, value @ Value::String(_))
                    if *names == list.dated && since.is_none() =>
                {
                    since = Some(value);
                }
                Filter::Compare(name, comparison, value)
                    if is_column(name) && *comparison != Comparison::NotEqual && !value.is_null() =>
                {
                    others.push(filter);
                }
                Filter::Absent(name) if is_column(name) => others.push(filter),
                _ => return None,
            }
        }
        if elements.is_empty() && groups.is_empty() && since.is_none() {
            return None;
        }
        // Sorted by an order, or within one value of it by id.
        let by = order.first().map(|(name, _)| *name).filter(|name| *name != "id");
        let fixed = || query.order.iter().map(|(name, _)| *name).find(|name| order.iter().all(|(key, _)| key != name));
        let by = by.or_else(fixed).filter(|name| is_order(name))?;
        order.iter().all(|(name, _)| is_column(name)).then_some(())?;
        if elements.is_empty() {
            elements.insert(String::new());
        }
        let subject = Subject::narrow(query.container);
        let elements = elements.into_iter().collect();
        Some(Self { subject, list, partition, elements, groups, since, others, order: by })
    }

    /// Returns the statements for the rest of the query.
    pub(super) fn statements(
        &self,
        query: &Query,
        order: &[(&'static str, Direction)],
        now_ms: i64,
    ) -> Result<Statements> {
        let keys = sql::sort_keys(self.subject, &query.scope, order)?;
        let ranges = sql::ranges(query, &keys);
        let statements = |by_date: bool| -> Result<Vec<Statement>> {
            ranges.iter().map(|range| self.statement(&keys, range, by_date, now_ms)).collect()
        };
        let if_few = match self.since {
            Some(since) => Some((self.count(since)?, statements(true)?)),
            None => None,
        };
        let list = statements(false)?;
        let keys = 1..1 + keys.len();
        Ok(Statements { list, etag: keys.end, keys, if_few })
    }

    /// Returns a statement that tells whether the recent rows are few.
    fn count(&self, since: &Value) -> Result<Statement> {
        let mut which = Condition::with("partition = ?", self.partition.to_owned()).and(self.elements());
        which = which.and(dated_since(since)?);
        let index = index_name(self.subject.container, self.list, "dated");
        let table = table(self.subject.container, self.list);
        let text = format!("SELECT 1 FROM {table} INDEXED BY \"{index}\" WHERE {} LIMIT {FEW}", which.text);
        let parameters = which.parameters.into_iter().map(Parameter::Value).collect();
        Ok(Statement { text: format!("SELECT count(*) < {FEW} FROM ({text})"), parameters })
    }

    fn elements(&self) -> Condition {
        let marks = vec!["?"; self.elements.len()].join(", ");
        let parameters = self.elements.iter().map(|element| SqlValue::Text(element.clone())).collect();
        Condition { text: format!("element IN ({marks})"), parameters }
    }

    /// Reads one range of the order: the first rows of each merged range, the first of all of these, and their
    /// documents.
    fn statement(&self, keys: &[SortKey], range: &Range<'_>, by_date: bool, now_ms: i64) -> Result<Statement> {
        let Subject { container, .. } = self.subject;
        let table = table(container, self.list);
        let are_merged =
            !self.groups.is_empty() && self.elements.len() * self.groups.len() <= MOST_STRETCHES && !by_date;
        let by = match (by_date, are_merged) {
            (true, _) => "dated".to_owned(),
            (false, true) => format!("{}_{}", self.list.group, self.order),
            (false, false) => self.order.to_owned(),
        };
        let index = index_name(container, self.list, &by);

        let mut rest = Condition::with(sql::IS_LIVE, now_ms);
        for filter in &self.others {
            rest = rest.and(sql::condition(range.subject(self.subject), filter, true)?);
        }
        if let Some(since) = self.since {
            rest = rest.and(dated_since(since)?);
        }
        if !self.groups.is_empty() && !are_merged {
            let values = self.groups.iter().map(|value| (*value).clone()).collect();
            rest = rest.and(sql::condition(self.subject, &Filter::In(self.list.group, values), true)?);
        }
        let rest = rest.and_perhaps(range.condition.clone());

        let groups: Vec<Option<&Value>> =
            if are_merged { self.groups.iter().copied().map(Some).collect() } else { vec![None] };
        let columns: Vec<String> =
            keys.iter().enumerate().map(|(at, key)| format!("{} AS key{at}", key.value)).collect();
        let sorted_by = |column: &dyn Fn(usize, &SortKey) -> String| -> String {
            let first = keys.len() - range.sorted_by.len();
            let sorted = keys.iter().enumerate().skip(first).map(|(at, key)| {
                let descending = if key.direction == Direction::Descending { " DESC" } else { "" };
                format!("{}{descending}", column(at, key))
            });
            sorted.collect::<Vec<_>>().join(", ")
        };
        let (mut stretches, mut parameters) = (Vec::new(), Vec::new());
        for element in &self.elements {
            for group in &groups {
                let mut which = Condition::with("partition = ?", self.partition.to_owned());
                which = which.and(Condition::with("element = ?", element.clone()));
                if let Some(group) = group {
                    let equal = Filter::Compare(self.list.group, Comparison::Equal, (*group).clone());
                    which = which.and(sql::condition(self.subject, &equal, true)?);
                }
                let Condition { text, parameters: values } = which.and(rest.clone());
                stretches.push(format!(
                    "SELECT id AS item, {} FROM {table} INDEXED BY \"{index}\" WHERE {text} ORDER BY {} LIMIT ?",
                    columns.join(", "),
                    sorted_by(&|_, key| key.value.clone()),
                ));
                parameters.extend(values.into_iter().map(Parameter::Value).chain([Parameter::Limit]));
            }
        }
        let by_key = sorted_by(&|at, _| format!("key{at}"));
        let found = match stretches.as_slice() {
            [only] => only.clone(),
            several => {
                let several: Vec<_> = several.iter().map(|stretch| format!("SELECT * FROM ({stretch})")).collect();
                parameters.push(Parameter::Limit);
                // A document may have several of the elements.
                format!("SELECT DISTINCT * FROM ({}) ORDER BY {by_key} LIMIT ?", several.join(" UNION ALL "))
            }
        };
        let keys: Vec<_> = (0..keys.len()).map(|at| format!("key{at}")).collect();
        let text = format!(
            "SELECT document, {}, etag FROM ({found}) CROSS JOIN {} ON partition = ? AND id = item ORDER BY {by_key} LIMIT ?",
            keys.join(", "),
            sql::table(container),
        );
        parameters.extend([Parameter::Value(self.partition.to_owned().into()), Parameter::Limit]);
        Ok(Statement { text, parameters })
    }
}

fn dated_since(since: &Value) -> Result<Condition> {
    let Value::String(since) = since else { return Err(Error::Failed("a date that is no text".into())) };
    Ok(Condition::with("dated >= ? AND dated < x''", since.clone()))
}
