//! Questions to a [`DocumentStore`](super::DocumentStore), the same for every back end.
//!
//! Field names are `&'static str` (dotted for nested fields: `"price.amount"`) and so never come from a caller; values
//! are always sent as parameters.

use serde_json::Value;

use super::{Container, Stored};

/// Which documents, in what order, how many, and which of their fields.
#[derive(Debug, Clone)]
pub struct Query {
    /// The container that is asked.
    pub container: Container,
    /// One partition or all of them.
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
    /// Where the page before this one ended ([`Page::next`]); `None` for the first page.
    pub after: Option<String>,
}

/// How far a query reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The documents of one partition.
    Partition(String),
    /// All documents of the container. In Cosmos DB this asks every physical partition: not for hot paths.
    All,
}

/// The sense of a sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first. A missing or null value comes before every other.
    Ascending,
    /// Largest first. A missing or null value comes after every other.
    Descending,
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
    /// The field equals one of the values.
    In(&'static str, Vec<Value>),
    /// The field is a list with an element equal to the value. Here and in the next one, a field that is no list is as
    /// good as missing.
    Contains(&'static str, Value),
    /// The field is a list with an element (a string) that contains the text, without regard to case.
    AnyElementContains(&'static str, String),
    /// The field is there, be it null.
    Defined(&'static str),
    /// The field is missing or null. Always true or false; indexes that have the field serve it.
    Absent(&'static str),
    /// All of them hold.
    All(Vec<Filter>),
    /// At least one of them holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// How two values compare.
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
    /// All documents of one partition, 100 a page.
    pub fn partition(container: Container, partition: impl Into<String>) -> Self {
        Self::new(container, Scope::Partition(partition.into()))
    }

    /// All documents of a container, 100 a page.
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
}

/// Some of the documents that a query asks for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents, in the query's order; at most its limit.
    pub documents: Vec<Stored>,
    /// Continues after this page; `None` when there is no more. Opaque, bound to its query and back end.
    pub next: Option<String>,
}
