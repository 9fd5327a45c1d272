//! Questions to a [`DocumentStore`](super::DocumentStore), the same for every back end.
//!
//! Field names are `&'static str` (dotted for nested fields: `"price.amount"`) and so never come from a caller; values
//! are always sent as parameters.

use super::Direction;
use serde_json::Value;

use super::{Container, Stored};

/// Which documents, in what order, how many, and which of their fields.
#[derive(Debug, Clone)]
pub struct Query {
    /// The container that is asked.
    pub container: Container,
    /// Partitions to search.
    pub scope: Scope,
    /// Which documents.
    pub filter: Option<Filter>,
    /// Sort keys, the first one first. Documents that tie, or all of them when there is no key, come in an order of
    /// the back end's that does not change from page to page.
    pub order: Vec<(&'static str, Direction)>,
    /// Top-level fields to return; `None` for whole documents. Fields that a document lacks stay away.
    pub fields: Option<&'static [&'static str]>,
    /// Length of the page, at least 1.
    pub limit: usize,
    /// Where the page before this one ended ([`Page::next`]); `None` for the first page. One that a back end cannot use
    /// starts from the beginning.
    pub after: Option<String>,
}

/// Scope of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The documents of one partition.
    Partition(String),
    /// All documents of the container. In Cosmos DB this asks every physical partition: not for hot paths.
    All,
}

/// Which documents a query is about.
///
/// A test of a field that a document lacks is neither true nor false, as in SQL: the document does not match, and does
/// not match the negated test either. [`Filter::is_defined`] asks for presence. Values of different JSON types are
/// unequal and have no order.
#[derive(Debug, Clone)]
pub enum Filter {
    /// The field compares so to the value (a string, number, boolean or null).
    Compare(&'static str, Comparison, Value),
    /// The field is a string that equals the text, without regard to case. A field that is no string is as good as
    /// missing.
    EqualIgnoringCase(&'static str, String),
    /// The field equals one of the values.
    In(&'static str, Vec<Value>),
    /// The field is a list with an element equal to the value. Here and in the next one, a field that is no list is as
    /// good as missing.
    Contains(&'static str, Value),
    /// The field is a list with an element (a string) that contains the text, without regard to case.
    AnyElementContains(&'static str, String),
    /// The field is a list with an element (a string) that equals one of the texts, without regard to case. A document
    /// can say that its elements are in lower case by another field, `<field>InLowerCase`; Cosmos DB finds those by its
    /// index.
    ContainsAny(&'static str, Vec<String>),
    /// The first of the fields that is there and not null compares so to the value.
    CompareFirst(&'static [&'static str], Comparison, Value),
    /// The field is there, be it null.
    Defined(&'static str),
    /// The field is missing or null. Always true or false; indexes that have the field serve it.
    Absent(&'static str),
    /// All of these filters match.
    All(Vec<Filter>),
    /// At least one of them holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Lower case letter by letter, as Cosmos DB has it: `str::to_lowercase` writes a sigma at the end of a word
/// differently, and then a word would not contain its own beginning.
pub(super) fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// [`Filter::CompareFirst`], or unless `holds` its negation, in terms of other filters.
pub(super) fn compare_first(fields: &[&'static str], comparison: Comparison, value: &Value, holds: bool) -> Filter {
    let Some((first, others)) = fields.split_first() else { return Filter::Any(Vec::new()) };
    let compare = Filter::Compare(first, comparison, value.clone());
    let compare = if holds { compare } else { Filter::Not(Box::new(compare)) };
    if others.is_empty() {
        return compare;
    }
    let others = compare_first(others, comparison, value, holds);
    let is_null = Filter::equal(first, Value::Null);
    let is_missing = Filter::Not(Box::new(Filter::Defined(first)));
    // The comparison is not true of null, but its negation can be.
    let compare = if holds { compare } else { Filter::All(vec![Filter::not_equal(first, Value::Null), compare]) };
    let without_first = |test| Filter::All(vec![test, others.clone()]);
    Filter::Any(vec![compare, without_first(is_missing), without_first(is_null)])
}

impl Filter {
    /// The field equals `value`.
    pub fn equal(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::Equal, value.into())
    }

    /// The field differs from `value` (and is there).
    pub fn not_equal(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::NotEqual, value.into())
    }

    /// The field is there.
    pub fn is_defined(field: &'static str) -> Self {
        Self::Defined(field)
    }

    /// The field is missing or null.
    pub fn is_absent(field: &'static str) -> Self {
        Self::Absent(field)
    }
}

impl Query {
    /// Creates a query for all documents of a partition, 100 per page.
    pub fn partition(container: Container, partition: impl Into<String>) -> Self {
        Self::new(container, Scope::Partition(partition.into()))
    }

    /// Creates a query for all documents of a container, 100 per page.
    pub fn all(container: Container) -> Self {
        Self::new(container, Scope::All)
    }

    fn new(container: Container, scope: Scope) -> Self {
        Self { container, scope, filter: None, order: Vec::new(), fields: None, limit: 100, after: None }
    }

    /// Adds a condition: the documents must match it and what was asked before.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter {
            None => filter,
            Some(Filter::All(mut filters)) => {
                filters.push(filter);
                Filter::All(filters)
            }
            Some(first) => Filter::All(vec![first, filter]),
        });
        self
    }

    /// Adds a sort key after those there are.
    #[must_use]
    pub fn order_by(mut self, field: &'static str, direction: Direction) -> Self {
        self.order.push((field, direction));
        self
    }

    /// Returns only these top-level fields of each document.
    #[must_use]
    pub fn select(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = Some(fields);
        self
    }

    /// Sets the length of the page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// Continues after the page that ended with `token`.
    #[must_use]
    pub fn after(mut self, token: Option<String>) -> Self {
        self.after = token;
        self
    }

    /// The sort keys for which the filter leaves more than one value.
    pub(super) fn varying_order(&self) -> Vec<(&'static str, Direction)> {
        self.order.iter().copied().filter(|(name, _)| !is_fixed(self.filter.as_ref(), name)).collect()
    }
}

/// Some of the documents that a query asks for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents, in the query's order; at most its limit.
    pub documents: Vec<Stored>,
    /// Continues after this page; `None` when there is no more. Opaque, bound to its query and back end.
    pub next: Option<String>,
    /// Whether only the first sort key orders the whole walk, because the container lacks the index for the others.
    /// They then order the documents within a page, and which of those that tie come on which page is the back end's
    /// choice.
    pub loose_ties: bool,
}

/// Whether the filter leaves the field only one value.
fn is_fixed(filter: Option<&Filter>, name: &str) -> bool {
    match filter {
        Some(Filter::Compare(field, Comparison::Equal, _) | Filter::Absent(field)) => *field == name,
        Some(Filter::All(filters)) => filters.iter().any(|filter| is_fixed(Some(filter), name)),
        _ => false,
    }
}
