//! Queries of a [`DocumentStore`](super::DocumentStore), independent of the back end.
//!
//! Field names are `&'static str` (dotted for nested fields: `"price.amount"`) and so never come from a caller; values
//! are always sent as parameters.

use super::Direction;
use serde_json::Value;

use super::{Container, Stored};

/// A query: which documents, in what order, how many, and which of their fields.
#[derive(Debug, Clone)]
pub struct Query {
    /// The container to search.
    pub container: Container,
    /// Partitions to search.
    pub scope: Scope,
    /// Condition on the documents; `None` for all.
    pub filter: Option<Filter>,
    /// Sort keys, most significant first. The order of ties, or of all documents without a sort key, depends on the
    /// back end and is stable across pages.
    pub order: Vec<(&'static str, Direction)>,
    /// Top-level fields to return; `None` for whole documents. Missing fields are omitted.
    pub fields: Option<&'static [&'static str]>,
    /// Length of the page, at least 1.
    pub limit: usize,
    /// Bytes of documents that end the page early, with the document that reaches them. Unlimited by default. Cosmos DB
    /// ends pages by itself at 4 MB; shorter ones are not made of those.
    pub most_bytes: usize,
    /// Continuation token of the previous page ([`Page::next`]); `None` for the first page. An unusable token starts
    /// from the beginning.
    pub after: Option<String>,
}

/// Scope of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The documents of one partition.
    Partition(String),
    /// All documents of the container. In Cosmos DB this queries every physical partition: not for hot paths.
    All,
}

/// A condition on documents.
///
/// A test of a field that a document lacks is neither true nor false, as in SQL: the document does not match, nor does
/// it match the negated test. [`Filter::is_defined`] tests for presence. Values of different JSON types are unequal and
/// have no order.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Compares the field to the value (a string, number, boolean or null).
    Compare(&'static str, Comparison, Value),
    /// The field is a string that equals the text, ignoring case. A field that is not a string counts as missing.
    EqualIgnoringCase(&'static str, String),
    /// The field equals one of the values.
    In(&'static str, Vec<Value>),
    /// The field is a list with an element equal to the value. Here and in the next one, a field that is not a list
    /// counts as missing.
    Contains(&'static str, Value),
    /// The field is a list with a string element that contains the text, ignoring case.
    AnyElementContains(&'static str, String),
    /// The field is a list with a string element that equals one of the texts, ignoring case. A document can declare
    /// with another field, `<field>InLowerCase`, that its elements are in lower case; Cosmos DB then finds it by its
    /// index.
    ContainsAny(&'static str, Vec<String>),
    /// Compares the first of the fields that is present and not null to the value.
    CompareFirst(&'static [&'static str], Comparison, Value),
    /// The field is present, possibly null.
    Defined(&'static str),
    /// The field is missing or null. Always true or false; served by indexes on the field.
    Absent(&'static str),
    /// All of these filters match.
    All(Vec<Filter>),
    /// At least one of these filters matches.
    Any(Vec<Filter>),
    /// The filter does not match.
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

/// Converts letter by letter to lower case, like Cosmos DB: `str::to_lowercase` writes a final sigma differently, and
/// then a word might not contain its own prefix.
pub(super) fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Expresses [`Filter::CompareFirst`], or its negation unless `holds`, by other filters.
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
    /// Tests whether the field equals `value`.
    pub fn equal(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::Equal, value.into())
    }

    /// Tests whether the field is present and differs from `value`.
    pub fn not_equal(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::NotEqual, value.into())
    }

    /// Tests whether the field is present and equal to or greater than `value`.
    pub fn at_least(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::GreaterOrEqual, value.into())
    }

    /// Tests whether the field is present and equal to or less than `value`.
    pub fn at_most(field: &'static str, value: impl Into<Value>) -> Self {
        Self::Compare(field, Comparison::LessOrEqual, value.into())
    }

    /// Tests whether the field is present, possibly null.
    pub fn is_defined(field: &'static str) -> Self {
        Self::Defined(field)
    }

    /// Tests whether the field is missing or null.
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

    /// Creates a query for all documents of a partition or, if none is named, of a container, 100 per page.
    pub fn one_or_all(container: Container, partition: Option<&str>) -> Self {
        partition.map_or_else(|| Self::all(container), |partition| Self::partition(container, partition))
    }

    fn new(container: Container, scope: Scope) -> Self {
        Self {
            container,
            scope,
            filter: None,
            order: Vec::new(),
            fields: None,
            limit: 100,
            most_bytes: usize::MAX,
            after: None,
        }
    }

    /// Adds a condition that the documents must match as well.
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

    /// Adds conditions that the documents must match as well.
    #[must_use]
    pub fn matching_all(self, filters: impl IntoIterator<Item = Filter>) -> Self {
        filters.into_iter().fold(self, Self::matching)
    }

    /// Sorts by this field, greatest value first, and equal ones by id.
    #[must_use]
    pub fn descending_by(self, field: &'static str) -> Self {
        self.order_by(field, Direction::Descending).order_by("id", Direction::Ascending)
    }

    /// Adds a sort key after the existing ones.
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

    /// Ends the page early once its documents have this many bytes together; the next page continues from there.
    #[must_use]
    pub fn most_bytes(mut self, most_bytes: usize) -> Self {
        self.most_bytes = most_bytes;
        self
    }

    /// Continues after the page that ended with `token`.
    #[must_use]
    pub fn after(mut self, token: Option<String>) -> Self {
        self.after = token;
        self
    }

    /// Returns the sort keys that the filter does not fix to one value.
    pub(super) fn varying_order(&self) -> Vec<(&'static str, Direction)> {
        self.order.iter().copied().filter(|(name, _)| !is_fixed(self.filter.as_ref(), name)).collect()
    }
}

/// A page of a query's results.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents in the query's order; at most its limit, and fewer if they reach [`Query::most_bytes`].
    pub documents: Vec<Stored>,
    /// Token for the next page; `None` on the last one. Opaque, and valid only for its query and back end.
    pub next: Option<String>,
    /// Whether only the first sort key holds across pages, because the container lacks the index for the others. These
    /// then order the documents only within a page.
    pub loose_ties: bool,
}

/// Whether the filter fixes the field to one value.
fn is_fixed(filter: Option<&Filter>, name: &str) -> bool {
    match filter {
        Some(Filter::Compare(field, Comparison::Equal, _) | Filter::Absent(field)) => *field == name,
        Some(Filter::All(filters)) => filters.iter().any(|filter| is_fixed(Some(filter), name)),
        _ => false,
    }
}
