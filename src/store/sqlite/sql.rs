//! Queries in SQL.
//!
//! A field is read by an expression that maps each JSON value to SQLite's own order (null < numbers < texts < blobs).
//! So one index serves both filters and sorting, without custom functions: any SQLite can check the file.
//!
//! | JSON | value of the expression |
//! |---|---|
//! | missing, null | NULL |
//! | false, true | −∞ and [`TRUE`], below every number that documents hold |
//! | number, string | itself |
//! | list, object | a blob, above every text; lists tie, and so do objects |
//!
//! Negations are pushed down to the single tests, which handle "neither true nor false". The resulting expression is
//! only tested for being true, so false and NULL need not be distinguished.
//!
//! Pages continue by key, not by offset. The rows after a position form a few ranges, each contiguous in the index;
//! they are read one after the other until the page is full.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::Value;

use super::{columns, lists};
use crate::model::containers::TimeToLive;
use crate::store::query::{Comparison, compare_first, lower_case};
use crate::store::{Container, Direction, Error, Filter, Query, Result, Scope};

/// Represents `true`: the lowest finite number. A document's number of exactly this value would be mistaken for it.
const TRUE: f64 = f64::MIN;
/// Represents `false`. JSON has no infinite numbers.
const FALSE: f64 = f64::NEG_INFINITY;

/// An invalid query: a bug in this program.
#[derive(Debug, thiserror::Error)]
enum InvalidQuery {
    #[error("`{0}` is not a field name")]
    FieldName(&'static str),
    #[error("a list or an object cannot be compared")]
    Structure,
}

/// Returns the name of the container's table, quoted.
pub(super) fn table(container: Container) -> String {
    format!("\"{}\"", container.spec().default_name)
}

/// Condition for documents that have not expired. Its parameter is the current time.
pub(super) const IS_LIVE: &str = "(expires_at IS NULL OR expires_at > ?)";

/// Adds the SQL functions that queries use. Indexes must not use them.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("contains_lower", 2, flags, |context| {
        let (ValueRef::Text(text), ValueRef::Text(part)) = (context.get_raw(0), context.get_raw(1)) else {
            return Ok(false);
        };
        let part = std::str::from_utf8(part)?;
        Ok(lower_case(std::str::from_utf8(text)?).contains(part))
    })?;
    connection.create_scalar_function("lower_case", 1, flags, |context| {
        let ValueRef::Text(text) = context.get_raw(0) else { return Ok(None) };
        Ok(Some(lower_case(std::str::from_utf8(text)?)))
    })
}

/// SQL expressions for reading a field.
struct Field {
    /// Rank of the value in the sort order; see the module's table.
    value: String,
    /// JSON type of the value as SQLite names it; NULL if the document lacks the field.
    kind: String,
    /// Whether the field is a column of its own, which every document has, as a string.
    is_column: bool,
    /// The side, `<` or `>`, on which the position bounds the field.
    bounded: Option<char>,
}

impl Field {
    /// Returns the beginning of a comparison. Of two bounds on one side SQLite may use the looser one and scan all rows
    /// of earlier pages again, so a filter's bound beside that of the position is hidden from the planner.
    fn compared(&self, operator: &str) -> String {
        let hidden = if self.bounded.is_some_and(|side| operator.starts_with(side)) { "+" } else { "" };
        format!("{hidden}{} {operator}", self.value)
    }
}

/// The table that a condition is for, and the field that the page position bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) container: Container,
    /// Whether it is a table with a column per field, instead of the container's table.
    is_narrow: bool,
    /// The field that the position bounds, and the side.
    bounded: Option<(&'static str, char)>,
}

impl Subject {
    pub(super) const fn new(container: Container) -> Self {
        Self { container, is_narrow: false, bounded: None }
    }

    pub(super) const fn narrow(container: Container) -> Self {
        Self { container, is_narrow: true, bounded: None }
    }

    fn field(&self, name: &'static str) -> Result<Field> {
        let mut found = field(self.container, name)?;
        if self.is_narrow && !found.is_column {
            found.value = format!("\"{name}\"");
        }
        found.bounded = self.bounded.filter(|(bounded, _)| *bounded == name).map(|(_, side)| side);
        Ok(found)
    }
}

fn field(container: Container, name: &'static str) -> Result<Field> {
    let column =
        |name: &str| Field { value: name.to_owned(), kind: "'text'".to_owned(), is_column: true, bounded: None };
    // Tested first: where the id is the partition key, the primary key's index begins with it.
    if name == container.spec().partition_key {
        return Ok(column("partition"));
    }
    if name == "id" {
        return Ok(column("id"));
    }
    let path = path(name)?;
    let kind = format!("json_type(document, {path})");
    // Written out, because an index serves only queries with exactly the same expression.
    let value = format!(
        "CASE {kind} WHEN 'false' THEN -9e999 WHEN 'true' THEN -1.7976931348623157e308 \
         WHEN 'array' THEN x'00' WHEN 'object' THEN x'01' ELSE json_extract(document, {path}) END"
    );
    Ok(Field { value, kind, is_column: false, bounded: None })
}

/// Returns the expression that reads a field.
pub(super) fn value(container: Container, name: &'static str) -> Result<String> {
    Ok(field(container, name)?.value)
}

/// Returns the field's path as an SQL literal.
pub(super) fn path(name: &'static str) -> Result<String> {
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
    };
    if !name.split('.').all(is_name) {
        return Err(Error::Failed(InvalidQuery::FieldName(name).into()));
    }
    Ok(format!("'$.\"{}\"'", name.replace('.', "\".\"")))
}

/// A sort key in SQL.
pub(super) struct SortKey {
    name: &'static str,
    pub(super) value: String,
    pub(super) direction: Direction,
    /// Whether the value can be NULL.
    pub(super) nullable: bool,
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)?;
        if self.direction == Direction::Descending { f.write_str(" DESC") } else { Ok(()) }
    }
}

/// Returns the sort keys of `order`, followed by those that make it total: the partition if there are several, and the
/// id.
pub(super) fn sort_keys(subject: Subject, scope: &Scope, order: &[(&'static str, Direction)]) -> Result<Vec<SortKey>> {
    let tie_break: &[&'static str] = match scope {
        Scope::All if subject.container.spec().partition_key != "id" => &[subject.container.spec().partition_key, "id"],
        Scope::All | Scope::Partition(_) => &["id"],
    };
    let missing = tie_break.iter().filter(|name| order.iter().all(|(field, _)| field != *name));
    let all = order.iter().copied().chain(missing.map(|name| (*name, Direction::Ascending)));
    all.map(|(name, direction)| {
        let Field { value, is_column, .. } = subject.field(name)?;
        Ok(SortKey { name, value, direction, nullable: !is_column })
    })
    .collect()
}

/// A condition and its parameters, in the order of their placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) text: String,
    pub(super) parameters: Vec<SqlValue>,
}

impl Condition {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parameters: Vec::new() }
    }

    pub(super) fn with(text: impl Into<String>, parameter: impl Into<SqlValue>) -> Self {
        Self { text: text.into(), parameters: vec![parameter.into()] }
    }

    /// Joins `conditions` by `AND` or `OR`.
    pub(super) fn join(conditions: impl IntoIterator<Item = Result<Self>>, word: &str, empty: &str) -> Result<Self> {
        let mut joined = Self::default();
        for condition in conditions {
            let Self { text, parameters } = condition?;
            let link = if joined.text.is_empty() { "" } else { word };
            joined.text = format!("{}{link}({text})", joined.text);
            joined.parameters.extend(parameters);
        }
        if joined.text.is_empty() { Ok(Self::new(empty)) } else { Ok(joined) }
    }

    pub(super) fn and_perhaps(self, other: Option<Self>) -> Self {
        match other {
            Some(other) => self.and(other),
            None => self,
        }
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.text = format!("{} AND {}", self.text, other.text);
        self.parameters.extend(other.parameters);
        self
    }
}

/// Returns a condition that is true where `filter` is true (or, unless `holds`, where its negation is), and false or
/// NULL elsewhere.
pub(super) fn condition(subject: Subject, filter: &Filter, holds: bool) -> Result<Condition> {
    let each =
        |filters: &[Filter]| -> Vec<_> { filters.iter().map(|filter| condition(subject, filter, holds)).collect() };
    match (filter, holds) {
        (Filter::Not(filter), _) => condition(subject, filter, !holds),
        (Filter::All(filters), true) | (Filter::Any(filters), false) => Condition::join(each(filters), " AND ", "1"),
        (Filter::Any(filters), true) | (Filter::All(filters), false) => Condition::join(each(filters), " OR ", "0"),
        (Filter::Defined(name), _) => {
            let test = if holds { "IS NOT NULL" } else { "IS NULL" };
            Ok(Condition::new(format!("{} {test}", subject.field(name)?.kind)))
        }
        (Filter::Absent(name), _) => {
            let test = if holds { "IS NULL" } else { "IS NOT NULL" };
            Ok(Condition::new(format!("{} {test}", subject.field(name)?.value)))
        }
        (Filter::Compare(name, comparison, value), true) => compare(&subject.field(name)?, *comparison, value),
        (Filter::Compare(name, comparison, value), false) => {
            compare(&subject.field(name)?, opposite(*comparison), value)
        }
        (Filter::EqualIgnoringCase(name, text), _) => {
            let Field { value, kind, .. } = subject.field(name)?;
            let operator = if holds { "=" } else { "<>" };
            let test = format!("{kind} = 'text' AND lower_case({value}) {operator} ?");
            Ok(Condition::with(test, lower_case(text)))
        }
        (Filter::CompareFirst(fields, comparison, value), _) => {
            condition(subject, &compare_first(fields, *comparison, value, holds), true)
        }
        (Filter::In(name, values), _) => is_in(&subject.field(name)?, values, holds),
        (Filter::Contains(name, value), _) => {
            let test = match value {
                Value::Null => Condition::new("element.type = 'null'"),
                Value::Bool(true) => Condition::new("element.type = 'true'"),
                Value::Bool(false) => Condition::new("element.type = 'false'"),
                Value::Number(_) => {
                    Condition::with("element.type IN ('integer', 'real') AND element.value = ?", parameter(value)?)
                }
                Value::String(_) => Condition::with("element.type = 'text' AND element.value = ?", parameter(value)?),
                Value::Array(_) | Value::Object(_) => return Err(Error::Failed(InvalidQuery::Structure.into())),
            };
            any_element(subject, name, test, holds)
        }
        (Filter::ContainsAny(name, texts), _) => {
            let marks = vec!["?"; texts.len()].join(", ");
            let text = format!("element.type = 'text' AND lower_case(element.value) IN ({marks})");
            let parameters = texts.iter().map(|text| lower_case(text).into()).collect();
            any_element(subject, name, Condition { text, parameters }, holds)
        }
        (Filter::AnyElementContains(name, text), _) => {
            let test = "element.type = 'text' AND contains_lower(element.value, ?)";
            any_element(subject, name, Condition::with(test, lower_case(text)), holds)
        }
    }
}

/// Tests whether some element of the list (or, unless `holds`, no element) passes `test`. A field that is not a list
/// counts as missing.
fn any_element(subject: Subject, name: &'static str, test: Condition, holds: bool) -> Result<Condition> {
    let (kind, path) = (subject.field(name)?.kind, path(name)?);
    let not = if holds { "" } else { "NOT " };
    let text = format!(
        "{kind} = 'array' AND {not}EXISTS (SELECT 1 FROM json_each(document, {path}) AS element WHERE {})",
        test.text
    );
    Ok(Condition { text, ..test })
}

/// Returns the comparison that holds where this one does not, among comparable values.
fn opposite(comparison: Comparison) -> Comparison {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    match comparison {
        Equal => NotEqual,
        NotEqual => Equal,
        Less => GreaterOrEqual,
        LessOrEqual => Greater,
        Greater => LessOrEqual,
        GreaterOrEqual => Less,
    }
}

fn compare(field: &Field, comparison: Comparison, value: &Value) -> Result<Condition> {
    let Field { value: read, kind, .. } = field;
    if value.is_null() {
        // Null has no order but equals itself.
        return Ok(Condition::new(match comparison {
            Comparison::Equal | Comparison::LessOrEqual | Comparison::GreaterOrEqual => format!("{kind} = 'null'"),
            Comparison::NotEqual => format!("{kind} <> 'null'"),
            Comparison::Less | Comparison::Greater => "0".to_owned(),
        }));
    }
    let parameter = parameter(value)?;
    let operator = match comparison {
        Comparison::Equal => return Ok(Condition::with(format!("{read} = ?"), parameter)),
        Comparison::NotEqual => {
            return Ok(Condition::with(format!("{kind} IS NOT NULL AND {read} IS NOT ?"), parameter));
        }
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    };
    let compared = field.compared(operator);
    if field.is_column && value.is_string() {
        // All values are strings, so no second bound is needed. Without it, SQLite estimates the range correctly and
        // prefers an index with one more equality.
        return Ok(Condition::with(format!("{compared} ?"), parameter));
    }
    // The other bound of the range excludes values of other types.
    let is_upper = matches!(comparison, Comparison::Less | Comparison::LessOrEqual);
    let other_end = match (value, is_upper) {
        (Value::Bool(_), true) => (">=", "-9e999"),
        (Value::Bool(_), false) => ("<=", "-1.7976931348623157e308"),
        (Value::Number(_), true) => (">", "-1.7976931348623157e308"),
        (Value::Number(_), false) => ("<", "''"),
        (_, true) => (">=", "''"),
        (_, false) => ("<", "x''"),
    };
    let (operator, end) = other_end;
    Ok(Condition::with(format!("{compared} ? AND {} {end}", field.compared(operator)), parameter))
}

fn is_in(field: &Field, values: &[Value], holds: bool) -> Result<Condition> {
    let Field { value: read, kind, .. } = field;
    let has_null = values.iter().any(Value::is_null);
    let parameters = values.iter().filter(|value| !value.is_null()).map(parameter).collect::<Result<Vec<_>>>()?;
    let marks = vec!["?"; parameters.len()].join(", ");
    let text = match (holds, has_null) {
        (true, false) => format!("{read} IN ({marks})"),
        (true, true) => format!("{read} IN ({marks}) OR {kind} = 'null'"),
        // The value of a null field is NULL, and so is its test.
        (false, false) => format!("{kind} = 'null' OR {kind} IS NOT NULL AND {read} NOT IN ({marks})"),
        (false, true) => format!("{kind} <> 'null' AND {read} NOT IN ({marks})"),
    };
    Ok(Condition { text, parameters })
}

/// Converts a filter's value to the form in which fields are read.
pub(super) fn parameter(value: &Value) -> Result<SqlValue> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::Bool(value) => Ok(SqlValue::Real(if *value { TRUE } else { FALSE })),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(SqlValue::Integer(integer)),
            (None, Some(real)) => Ok(SqlValue::Real(real)),
            (None, None) => Err(Error::Failed(InvalidQuery::Structure.into())),
        },
        Value::String(text) => Ok(SqlValue::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => Err(Error::Failed(InvalidQuery::Structure.into())),
    }
}

/// A statement that reads one contiguous range of a query's order. Its first columns are those of [`Statements`].
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) text: String,
    /// Parameters in the order of the placeholders.
    pub(super) parameters: Vec<Parameter>,
}

/// Value for a `?` in a statement.
#[derive(Debug, Clone)]
pub(super) enum Parameter {
    Value(SqlValue),
    /// The number of documents still needed.
    Limit,
}

impl Statement {
    /// Returns the values of the parameters.
    pub(super) fn bind(&self, limit: i64) -> impl Iterator<Item = SqlValue> {
        self.parameters.iter().map(move |parameter| match parameter {
            Parameter::Value(value) => value.clone(),
            Parameter::Limit => SqlValue::Integer(limit),
        })
    }
}

/// The statements of a query. Column 0 is the document, followed by the sort keys.
#[derive(Debug)]
pub(super) struct Statements {
    /// Statements that together return the rest of the query in order; run until there are enough documents.
    pub(super) list: Vec<Statement>,
    /// The columns of the sort keys.
    pub(super) keys: std::ops::Range<usize>,
    /// The column of the version.
    pub(super) etag: usize,
    /// Alternative statements, preferred if the first one counts fewer rows than its limit.
    pub(super) if_few: Option<(Statement, Vec<Statement>)>,
}

/// Returns the statements for the rest of `query`. An invalid continuation token starts from the beginning.
pub(super) fn statements(query: &Query, now_ms: i64) -> Result<Statements> {
    // Fixed keys are omitted: if one is an expression, SQLite would sort by it instead of reading the index in order.
    let order = query.varying_order();
    if let Some(lookup) = lists::Lookup::of(query, &order) {
        return lookup.statements(query, &order, now_ms);
    }
    if let Some(lookup) = columns::Lookup::of(query, &order) {
        return lookup.statements(query, &order);
    }
    let subject = Subject::new(query.container);
    let keys = sort_keys(subject, &query.scope, &order)?;
    let which = |subject: Subject| which(query, subject, now_ms);
    // Ids are read from the primary key and the beginning of the rows, without the possibly long documents.
    let document = if query.fields == Some(&["id"]) { "json_object('id', id)" } else { "document" };
    let values = keys.iter().map(|key| key.value.as_str());
    let columns: Vec<_> = [document].into_iter().chain(values).chain(["etag"]).collect();
    let start = format!("SELECT {} FROM {} WHERE ", columns.join(", "), table(query.container));
    let statements = ranges(query, &keys).into_iter().map(|range| {
        let Condition { text, parameters } = which(range.subject(subject))?.and_perhaps(range.condition);
        let order: Vec<String> = range.sorted_by.iter().map(SortKey::to_string).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let parameters = parameters.into_iter().map(Parameter::Value).chain([Parameter::Limit]).collect();
        Ok(Statement { text: format!("{start}{text}{order} LIMIT ?"), parameters })
    });
    let list = statements.collect::<Result<_>>()?;
    Ok(Statements { list, keys: 1..1 + keys.len(), etag: 1 + keys.len(), if_few: None })
}

/// Returns the condition for the documents of `query`, regardless of the page.
fn which(query: &Query, subject: Subject, now_ms: i64) -> Result<Condition> {
    let within = match &query.scope {
        Scope::Partition(partition) => Some(Condition::with("partition = ?", partition.clone())),
        Scope::All => None,
    };
    let may_expire = subject.container.spec().time_to_live != TimeToLive::Off;
    let live = may_expire.then(|| Condition::with(IS_LIVE, now_ms));
    let matches = query.filter.as_ref().map(|filter| condition(subject, filter, true));
    let all = [within.map(Ok), live.map(Ok), matches];
    Condition::join(all.into_iter().flatten(), " AND ", "1")
}

/// Returns the statement that counts the documents of `query`.
pub(super) fn count(query: &Query, now_ms: i64) -> Result<Statement> {
    let Condition { text, parameters } = which(query, Subject::new(query.container), now_ms)?;
    let text = format!("SELECT count(*) FROM {} WHERE {text}", table(query.container));
    Ok(Statement { text, parameters: parameters.into_iter().map(Parameter::Value).collect() })
}

/// A contiguous range of an order.
pub(super) struct Range<'a> {
    pub(super) condition: Option<Condition>,
    /// The sort keys that vary within the range.
    pub(super) sorted_by: &'a [SortKey],
    /// The sort key that the position bounds, and the side.
    bounded: Option<(&'static str, char)>,
}

impl Range<'_> {
    /// Returns the subject of conditions within this range.
    pub(super) fn subject(&self, subject: Subject) -> Subject {
        Subject { bounded: self.bounded, ..subject }
    }
}

/// Returns the ranges of the order that form the rest of `query`.
pub(super) fn ranges<'a>(query: &Query, keys: &'a [SortKey]) -> Vec<Range<'a>> {
    match query.after.as_deref().and_then(|token| decode_position(token, keys.len())) {
        Some(position) => ranges_after(keys, position),
        None => vec![Range { condition: None, sorted_by: keys, bounded: None }],
    }
}

/// Returns the ranges after `position`: first rows equal to it in all sort keys but the last, then in all but the last
/// two …
fn ranges_after(keys: &[SortKey], position: Vec<SqlValue>) -> Vec<Range<'_>> {
    let mut ranges = Vec::new();
    for index in (0..keys.len()).rev() {
        let equal = keys.iter().zip(&position).take(index).map(|(SortKey { value, .. }, at)| match at {
            SqlValue::Null => Condition::new(format!("{value} IS NULL")),
            at => Condition::with(format!("{value} = ?"), at.clone()),
        });
        let equal = equal.reduce(Condition::and);
        let mut add = |last: Condition, sorted_by| {
            let condition = match equal.clone() {
                Some(equal) => equal.and(last),
                None => last,
            };
            let side = if keys[index].direction == Direction::Ascending { '>' } else { '<' };
            ranges.push(Range { condition: Some(condition), sorted_by, bounded: Some((keys[index].name, side)) });
        };
        let SortKey { value, direction, nullable, .. } = &keys[index];
        match (&position[index], direction) {
            (SqlValue::Null, Direction::Ascending) => {
                add(Condition::new(format!("{value} IS NOT NULL")), &keys[index..])
            }
            // Nothing sorts after null.
            (SqlValue::Null, Direction::Descending) => {}
            (at, Direction::Ascending) => add(Condition::with(format!("{value} > ?"), at.clone()), &keys[index..]),
            (at, Direction::Descending) => {
                add(Condition::with(format!("{value} < ?"), at.clone()), &keys[index..]);
                if *nullable {
                    add(Condition::new(format!("{value} IS NULL")), &keys[index + 1..]);
                }
            }
        }
    }
    ranges
}

/// Encodes the sort keys of a page's last document as a token: base64url of a JSON list, each value as in the document
/// (a list or an object as a list of its rank).
pub(super) fn encode_position(position: &[SqlValue]) -> Result<String> {
    let values: Vec<Value> = position
        .iter()
        .map(|value| match value {
            SqlValue::Null => Value::Null,
            SqlValue::Integer(integer) => Value::from(*integer),
            SqlValue::Real(FALSE) => Value::Bool(false),
            SqlValue::Real(TRUE) => Value::Bool(true),
            SqlValue::Real(real) => Value::from(*real),
            SqlValue::Text(text) => Value::from(text.as_str()),
            SqlValue::Blob(rank) => Value::from(rank.as_slice()),
        })
        .collect();
    let json = serde_json::to_vec(&values).map_err(|error| Error::Failed(error.into()))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn decode_position(token: &str, keys: usize) -> Option<Vec<SqlValue>> {
    let json = URL_SAFE_NO_PAD.decode(token).ok()?;
    let values: Vec<Value> = serde_json::from_slice(&json).ok()?;
    if values.len() != keys {
        return None;
    }
    values
        .iter()
        .map(|value| match value {
            Value::Array(rank) => {
                let bytes = rank.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()));
                Some(SqlValue::Blob(bytes.collect::<Option<_>>()?))
            }
            value => parameter(value).ok(),
        })
        .collect()
}
