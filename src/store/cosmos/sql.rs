//! The SQL text of a [`Query`].
//!
//! Values are parameters (`@p0` …); names never come from callers. Negations are pushed down to the single tests, so
//! that a test of a missing field is neither true nor false at any depth.

use azure_data_cosmos::Query as Statement;
use serde_json::Value;

use crate::store::query::{Comparison, compare_first, lower_case};
use crate::store::{Container, Direction, Filter, Query, Result, Scope};

/// SQL text and parameters; [`Sql::statement`] converts them for the SDK.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) parameters: Vec<Value>,
}

impl Sql {
    /// Compiles `query`. The partition is also part of the text, because the emulator ignores the header.
    pub(super) fn new(query: &Query) -> Self {
        Self::select("SELECT ", query)
    }

    fn select(start: &str, query: &Query) -> Self {
        let mut sql = Self { text: start.to_owned(), parameters: Vec::new() };
        match query.fields {
            None => sql.text.push('*'),
            Some(fields) => {
                // The SDK rewrites ordered queries across partitions, and then loses field names in brackets.
                let is_rewritten = query.scope == Scope::All && !query.order.is_empty();
                let column = |field: &&str| if is_rewritten { format!("c.{field}") } else { path(field) };
                let columns: Vec<String> = fields.iter().chain(["_etag"].iter()).map(column).collect();
                sql.text.push_str(&columns.join(", "));
            }
        }
        sql.text.push_str(" FROM c");
        let mut conditions = Vec::new();
        if let Scope::Partition(partition) = &query.scope {
            let value = sql.parameter(partition.as_str().into());
            conditions.push(format!("{} = {value}", path(query.container.spec().partition_key)));
        }
        if let Some(filter) = &query.filter {
            conditions.push(sql.condition(filter, false).in_all());
        }
        if !conditions.is_empty() {
            sql.text.push_str(" WHERE ");
            sql.text.push_str(&conditions.join(" AND "));
        }
        if !query.order.is_empty() {
            // With dots, so names must not be SQL keywords: the SDK plans only such paths without asking the service.
            let keys: Vec<String> =
                query.order.iter().map(|(field, direction)| format!("c.{field} {}", sense(*direction))).collect();
            sql.text.push_str(" ORDER BY ");
            sql.text.push_str(&keys.join(", "));
        }
        sql
    }

    /// Compiles `query` sorted by vector distance instead of its order. `TOP` is required: without it the service would
    /// sort the whole partition.
    pub(super) fn nearest(query: &Query, field: &'static str, vector: &[f32]) -> Self {
        let start = format!("SELECT TOP {} ", query.limit);
        let mut sql = Self::select(&start, &Query { order: Vec::new(), ..query.clone() });
        let vector = sql.parameter(vector.into());
        sql.text.push_str(&format!(" ORDER BY VectorDistance(c.{field}, {vector})"));
        sql
    }

    /// Compiles a statement that counts the documents of `query`.
    pub(super) fn count(query: &Query) -> Self {
        let all = Self::new(&Query { order: Vec::new(), fields: None, ..query.clone() });
        let text = all.text.replacen("SELECT *", "SELECT COUNT(1) AS documents", 1);
        Self { text, ..all }
    }

    /// Converts to the SDK's type.
    pub(super) fn statement(&self) -> Result<Statement> {
        let text = Statement::from(self.text.as_str());
        self.parameters.iter().enumerate().try_fold(text, |statement, (index, value)| {
            statement.with_parameter(format!("@p{index}"), value).map_err(super::error)
        })
    }

    fn parameter(&mut self, value: Value) -> String {
        self.parameters.push(value);
        format!("@p{}", self.parameters.len() - 1)
    }

    /// Compiles the condition, or its negation if `negated`.
    fn condition(&mut self, filter: &Filter, negated: bool) -> Condition {
        let text = match filter {
            Filter::Compare(field, comparison, value) => {
                let value = self.parameter(value.clone());
                let test = format!("{} {} {value}", path(field), operator(*comparison));
                if negated { format!("NOT ({test})") } else { test }
            }
            Filter::EqualIgnoringCase(field, text) => {
                let text = self.parameter(lower_case(text).into());
                let test = format!("LOWER({}) = {text}", path(field));
                if !negated {
                    return Condition::Test(test);
                }
                return Condition::All(format!("IS_STRING({}) AND NOT ({test})", path(field)));
            }
            // Nothing is in an empty list of values.
            Filter::In(field, values) if values.is_empty() && negated => format!("IS_DEFINED({})", path(field)),
            Filter::In(_, values) if values.is_empty() => "false".to_owned(),
            Filter::In(field, values) => {
                let values: Vec<String> = values.iter().map(|value| self.parameter(value.clone())).collect();
                let member = format!("{} IN ({})", path(field), values.join(", "));
                if !negated {
                    return Condition::Test(member);
                }
                // Explicit, rather than relying on how the service evaluates `NOT IN` for a missing field.
                return Condition::All(format!("IS_DEFINED({}) AND NOT ({member})", path(field)));
            }
            Filter::Contains(field, value) => {
                let value = self.parameter(value.clone());
                let contains = format!("ARRAY_CONTAINS({}, {value})", path(field));
                return list_test(field, negated, Condition::Test(contains));
            }
            Filter::AnyElementContains(field, text) => {
                let text = self.parameter(text.to_lowercase().into());
                let field_path = path(field);
                let exists = format!("EXISTS(SELECT VALUE e FROM e IN {field_path} WHERE CONTAINS(LOWER(e), {text}))");
                return list_test(field, negated, Condition::Test(exists));
            }
            Filter::ContainsAny(_, texts) if texts.is_empty() && !negated => "false".to_owned(),
            Filter::ContainsAny(field, texts) => {
                let texts: Vec<String> = texts.iter().map(|text| self.parameter(lower_case(text).into())).collect();
                let list = path(field);
                let mut tests: Vec<_> = texts.iter().map(|text| format!("ARRAY_CONTAINS({list}, {text})")).collect();
                let element: Vec<_> = texts.iter().map(|text| format!("LOWER(e) = {text}")).collect();
                if !element.is_empty() {
                    let is_unsure = format!("NOT IS_DEFINED({})", path(&format!("{field}InLowerCase")));
                    let element = element.join(" OR ");
                    tests.push(format!("{is_unsure} AND EXISTS(SELECT VALUE e FROM e IN {list} WHERE {element})"));
                }
                return list_test(field, negated, Condition::joined(tests, false));
            }
            Filter::CompareFirst(fields, comparison, value) => {
                return self.condition(&compare_first(fields, *comparison, value, !negated), false);
            }
            Filter::Absent(field) => {
                let tests = [Filter::Not(Box::new(Filter::Defined(field))), Filter::equal(field, Value::Null)];
                return self.several(&tests, negated, negated);
            }
            Filter::Defined(field) => format!("{}IS_DEFINED({})", if negated { "NOT " } else { "" }, path(field)),
            Filter::All(filters) => return self.several(filters, negated, !negated),
            Filter::Any(filters) => return self.several(filters, negated, negated),
            Filter::Not(filter) => return self.condition(filter, !negated),
        };
        Condition::Test(text)
    }

    fn several(&mut self, filters: &[Filter], negated: bool, all: bool) -> Condition {
        if let [only] = filters {
            return self.condition(only, negated);
        }
        let conditions = filters.iter().map(|filter| self.condition(filter, negated));
        let texts: Vec<_> =
            conditions.map(|condition| if all { condition.in_all() } else { condition.text() }).collect();
        Condition::joined(texts, all)
    }
}

/// A condition, by the operator that joins its tests. Parentheses are added only where needed: each nesting level
/// multiplies the emulator's parsing time.
enum Condition {
    /// A single test.
    Test(String),
    /// Tests joined by `AND`, which binds closer than `OR`.
    All(String),
    /// Tests joined by `OR`.
    Any(String),
}

impl Condition {
    fn joined(texts: Vec<String>, all: bool) -> Self {
        match (texts.len(), all) {
            (0, _) => Self::Test(all.to_string()),
            (_, true) => Self::All(texts.join(" AND ")),
            (_, false) => Self::Any(texts.join(" OR ")),
        }
    }

    fn text(self) -> String {
        let (Self::Test(text) | Self::All(text) | Self::Any(text)) = self;
        text
    }

    /// Formats the condition as an operand of `AND`.
    fn in_all(self) -> String {
        match self {
            Self::Any(text) => format!("({text})"),
            Self::Test(text) | Self::All(text) => text,
        }
    }
}

/// Counts the documents of a partition, with the newest and the sum of their timestamps in seconds. Every write changes
/// one of the three, unless another write in the same second did. Answered from the index.
pub(super) fn changes(container: Container, partition: &str) -> Result<Statement> {
    let text = format!(
        "SELECT COUNT(1) AS documents, MAX(c._ts) AS newest, SUM(c._ts) AS total FROM c WHERE {} = @p0",
        path(container.spec().partition_key)
    );
    Sql { text, parameters: vec![partition.into()] }.statement()
}

/// Converts a dotted field name to a path in which names may be reserved words.
fn path(field: &str) -> String {
    field.split('.').fold("c".to_owned(), |path, name| format!("{path}[\"{name}\"]"))
}

/// Returns a test that only a list can pass, negated or not.
fn list_test(field: &str, negated: bool, test: Condition) -> Condition {
    if !negated {
        return test;
    }
    let not = match test {
        Condition::Test(text) => format!("NOT {text}"),
        Condition::All(text) | Condition::Any(text) => format!("NOT ({text})"),
    };
    Condition::All(format!("IS_ARRAY({}) AND {not}", path(field)))
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn sense(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(filter: Filter) -> (String, Vec<Value>) {
        let sql = Sql::new(&Query::all(Container::Moods).matching(filter));
        let text = sql.text.strip_prefix("SELECT * FROM c WHERE ").expect("there is a condition");
        (text.to_owned(), sql.parameters)
    }

    #[test]
    fn all_parts_come_in_order_and_values_are_parameters() {
        let query = Query::partition(Container::Wardrobe, "a'da")
            .matching(Filter::Compare("price.amount", Comparison::GreaterOrEqual, json!(10.5)))
            .order_by("wearCount", Direction::Descending)
            .order_by("id", Direction::Ascending)
            .select(&["id", "value"]);
        let sql = Sql::new(&query);
        assert_eq!(
            sql.text,
            r#"SELECT c["id"], c["value"], c["_etag"] FROM c WHERE c["userId"] = @p0 AND c["price"]["amount"] >= @p1 "#
                .to_owned()
                + "ORDER BY c.wearCount DESC, c.id ASC"
        );
        assert_eq!(sql.parameters, [json!("a'da"), json!(10.5)]);
    }

    #[test]
    fn the_nearest_come_by_their_distance() {
        let query = Query::partition(Container::ScrapedItems, "global")
            .matching(Filter::not_equal("imageExpired", true))
            .order_by("id", Direction::Ascending)
            .select(&["id", "embedding"])
            .limit(25);
        let sql = Sql::nearest(&query, "embedding", &[0.5, -0.25]);
        assert_eq!(
            sql.text,
            r#"SELECT TOP 25 c["id"], c["embedding"], c["_etag"] FROM c WHERE c["userId"] = @p0 AND "#.to_owned()
                + r#"c["imageExpired"] != @p1 ORDER BY VectorDistance(c.embedding, @p2)"#
        );
        assert_eq!(sql.parameters, [json!("global"), json!(true), json!([0.5, -0.25])]);
    }

    #[test]
    fn a_query_for_everything_has_no_condition() {
        let sql = Sql::new(&Query::all(Container::Moods));
        assert_eq!(sql, Sql { text: "SELECT * FROM c".to_owned(), parameters: vec![] });
    }

    #[test]
    fn combined_conditions_are_bracketed() {
        let filter = Filter::Any(vec![
            Filter::All(vec![Filter::equal("a", 1), Filter::not_equal("b", "x")]),
            Filter::Defined("c"),
        ]);
        let query = Query::all(Container::Moods).matching(filter).matching(Filter::equal("d", true));
        let text = Sql::new(&query).text;
        assert_eq!(
            text,
            r#"SELECT * FROM c WHERE (c["a"] = @p0 AND c["b"] != @p1 OR IS_DEFINED(c["c"])) AND c["d"] = @p2"#
        );
    }

    #[test]
    fn a_negation_reaches_the_tests_below() {
        let filter = Filter::Not(Box::new(Filter::All(vec![
            Filter::equal("a", 1),
            Filter::Any(vec![Filter::Contains("tags", json!("x")), Filter::Not(Box::new(Filter::Defined("b")))]),
        ])));
        let (text, _) = condition(filter);
        let list = r#"IS_ARRAY(c["tags"]) AND NOT ARRAY_CONTAINS(c["tags"], @p1)"#;
        assert_eq!(text, format!(r#"(NOT (c["a"] = @p0) OR {list} AND IS_DEFINED(c["b"]))"#));
    }

    #[test]
    fn text_within_an_element_is_looked_for_in_lower_case() {
        let (text, parameters) = condition(Filter::AnyElementContains("tags", "Éte".to_owned()));
        assert_eq!(text, r#"EXISTS(SELECT VALUE e FROM e IN c["tags"] WHERE CONTAINS(LOWER(e), @p0))"#);
        assert_eq!(parameters, [json!("éte")]);
    }

    #[test]
    fn tags_in_lower_case_are_found_by_the_index_and_others_by_a_look_at_them() {
        let (text, parameters) = condition(Filter::ContainsAny("tags", vec!["Urban".to_owned(), "denim".to_owned()]));
        assert_eq!(
            text,
            r#"(ARRAY_CONTAINS(c["tags"], @p0) OR ARRAY_CONTAINS(c["tags"], @p1) OR "#.to_owned()
                + r#"NOT IS_DEFINED(c["tagsInLowerCase"]) AND "#
                + r#"EXISTS(SELECT VALUE e FROM e IN c["tags"] WHERE LOWER(e) = @p0 OR LOWER(e) = @p1))"#
        );
        assert_eq!(parameters, [json!("urban"), json!("denim")]);
    }

    #[test]
    fn empty_lists_are_met_by_nothing_or_everything() {
        assert_eq!(condition(Filter::In("a", vec![])).0, "false");
        assert_eq!(condition(Filter::Any(vec![])).0, "false");
        assert_eq!(condition(Filter::All(vec![])).0, "true");
        assert_eq!(condition(Filter::Not(Box::new(Filter::Any(vec![])))).0, "true");
    }

    #[test]
    fn what_is_missing_is_neither_in_a_list_nor_not_in_it() {
        let one_of = Filter::In("a", vec![json!(1), json!(null)]);
        assert_eq!(condition(one_of.clone()).0, r#"c["a"] IN (@p0, @p1)"#);
        let none_of = condition(Filter::Not(Box::new(one_of))).0;
        assert_eq!(none_of, r#"IS_DEFINED(c["a"]) AND NOT (c["a"] IN (@p0, @p1))"#);
        let none = Filter::Not(Box::new(Filter::In("a", vec![])));
        assert_eq!(condition(none).0, r#"IS_DEFINED(c["a"])"#);
    }
}
