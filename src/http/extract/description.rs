//! Describes request types for the OpenAPI document, by running their own [`Read`] on no input and recording which
//! fields it reads. So the document always states the bounds that are checked.

use serde_json::{Map, Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};

use super::{Fields, Read, Step};
use crate::base::schema::verbatim;

/// Fields that a [`Read`] has read.
#[derive(Default)]
pub(super) struct Notes {
    asked: Vec<Asked>,
    rules: Map<String, Value>,
}

struct Asked {
    name: &'static str,
    is_required: bool,
    schema: Map<String, Value>,
}

/// Returns the JSON schema of a body of type `T`.
pub fn body_schema<T: Read>() -> Value {
    let Notes { asked, rules } = notes::<T>("body");
    let required: Vec<&str> = asked.iter().filter(|asked| asked.is_required).map(|asked| asked.name).collect();
    let properties: Map<String, Value> = asked
        .into_iter()
        .map(|Asked { name, is_required, schema }| {
            (name.to_owned(), if is_required { schema.into() } else { or_null(schema) })
        })
        .collect();
    let mut schema =
        Map::from_iter([("type".to_owned(), json!("object")), ("properties".to_owned(), properties.into())]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.extend(rules);
    schema.into()
}

/// Returns the parameters of a query of type `T`.
pub fn query_parameters<T: Read>() -> Vec<Parameter> {
    let parameter = |Asked { name, is_required, mut schema }: Asked| {
        let description = schema.remove("description");
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(if is_required { Required::True } else { Required::False })
            .description(description.as_ref().and_then(Value::as_str))
            .schema(Some(verbatim(schema.into())))
            .build()
    };
    notes::<T>("query").asked.into_iter().map(parameter).collect()
}

fn notes<T: Read>(root: &'static str) -> Notes {
    let mut fields =
        Fields { object: Map::new(), place: vec![Step::Name(root)], faults: Vec::new(), notes: Some(Box::default()) };
    T::read(&mut fields);
    fields.notes.map(|notes| *notes).unwrap_or_default()
}

fn or_null(mut schema: Map<String, Value>) -> Value {
    match schema.get_mut("type") {
        Some(kind @ Value::String(_)) => *kind = json!([kind, "null"]),
        Some(Value::Array(kinds)) => kinds.push("null".into()),
        _ => {}
    }
    if let Some(Value::Array(choices)) = schema.get_mut("enum") {
        choices.push(Value::Null);
    }
    schema.into()
}

impl Fields {
    /// Records a field, if the request type is being described.
    pub(super) fn ask(&mut self, name: &'static str, is_required: bool, schema: impl FnOnce(Place) -> Value) {
        let place = if self.place.first() == Some(&Step::Name("query")) { Place::Query } else { Place::Body };
        // A method built on another one records a more specific schema.
        if let Some(notes) = &mut self.notes
            && notes.asked.iter().all(|asked| asked.name != name)
            && let Value::Object(schema) = schema(place)
        {
            notes.asked.push(Asked { name, is_required, schema });
        }
    }

    /// Adds JSON schema keywords to a field that was read, for checks that are made later. Affects the OpenAPI document
    /// only.
    pub fn rule(&mut self, name: &'static str, keywords: impl FnOnce() -> Value) {
        if let Some(notes) = &mut self.notes
            && let Some(asked) = notes.asked.iter_mut().find(|asked| asked.name == name)
            && let Value::Object(keywords) = keywords()
        {
            asked.schema.extend(keywords);
        }
    }

    /// Documents what fields that were read mean.
    pub fn describe(&mut self, fields: &[(&'static str, &str)]) {
        for (name, meaning) in fields {
            self.rule(name, || json!({ "description": meaning }));
        }
    }

    /// Documents that one of these fields must be present and not blank.
    pub fn one_of(&mut self, names: &[&str]) {
        if let Some(notes) = &mut self.notes {
            let choice = |name: &&str| {
                let told = json!({ "type": "string", "pattern": r"\S" });
                json!({ "required": [name], "properties": { *name: told } })
            };
            notes.rules.insert("anyOf".to_owned(), names.iter().map(choice).collect());
        }
    }
}

/// Part of the request that a field is read from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// A JSON body; numbers may also be given as strings.
    Body,
    /// A query; all values are strings, so the schema need not say so.
    Query,
}

impl Place {
    /// Returns the schema of an integer.
    pub(super) fn integer(self) -> Value {
        self.or_text("integer", r"^\s*[+-]?[0-9]{1,18}\s*$")
    }

    /// Returns the schema of an integer within bounds. For strings, the pattern limits only the number of digits.
    pub(super) fn integer_within(self, least: i64, most: i64) -> Value {
        let (sign, digits) = (if least < 0 { "[+-]?" } else { r"\+?" }, least.abs().max(most).to_string().len());
        let mut schema = self.or_text("integer", &format!(r"^\s*{sign}[0-9]{{1,{digits}}}\s*$"));
        schema["minimum"] = json!(least);
        schema["maximum"] = json!(most);
        schema
    }

    /// Returns the schema of a number.
    pub(super) fn number(self) -> Value {
        self.or_text("number", r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?\s*$")
    }

    fn or_text(self, kind: &str, pattern: &str) -> Value {
        match self {
            Self::Body => json!({ "type": [kind, "string"], "pattern": pattern }),
            Self::Query => json!({ "type": kind }),
        }
    }
}

/// Returns the schema of a string with these lengths in characters; [`usize::MAX`] is no limit.
pub(super) fn text(least: usize, most: usize) -> Value {
    let mut schema = json!({ "type": "string" });
    if least > 0 {
        schema["minLength"] = json!(least);
    }
    if most < usize::MAX {
        schema["maxLength"] = json!(most);
    }
    schema
}

/// Returns the schema of a flag, which may be a word.
pub(super) fn flag() -> Value {
    let words = ["true", "yes", "on", "false", "no", "off", "[01tfyn]"].map(|word| {
        // Patterns in JSON schema cannot be case-insensitive.
        word.chars()
            .map(|letter| match letter.to_ascii_uppercase() {
                upper if upper == letter || word.starts_with('[') => letter.to_string(),
                upper => format!("[{letter}{upper}]"),
            })
            .collect::<String>()
    });
    let pattern = format!(r"^\s*({}|[TFYN])\s*$", words.join("|"));
    json!({ "type": ["boolean", "string"], "pattern": pattern })
}

/// Returns the schema of a list of at most `most` elements.
pub(super) fn list(most: usize, element: Value) -> Value {
    json!({ "type": "array", "maxItems": most, "items": element })
}

/// Makes a request type usable in the OpenAPI document, as a body and as a query.
macro_rules! described {
    ($($request:ident),+) => {$(
        impl utoipa::PartialSchema for $request {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::base::schema::verbatim($crate::http::extract::description::body_schema::<$request>())
            }
        }

        impl utoipa::ToSchema for $request {}

        impl utoipa::IntoParams for $request {
            fn into_params(
                _place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::http::extract::description::query_parameters::<$request>()
            }
        }
    )+};
}

pub(crate) use described;

#[cfg(test)]
mod tests {
    use super::*;

    struct Card {
        _title: String,
    }

    impl Read for Card {
        fn read(fields: &mut Fields) -> Self {
            let title = fields.text("cardTitle", 1, 5);
            fields.optional_texts("tags", 2, 3);
            fields.optional_integer("size");
            fields.optional_text("kind", usize::MAX);
            fields.rule("kind", || json!({ "enum": ["a", "b"] }));
            fields.one_of(&["tags", "kind"]);
            Self { _title: title }
        }
    }

    struct Deck;

    impl Read for Deck {
        fn read(fields: &mut Fields) -> Self {
            fields.objects::<Card>("cards", 7);
            Self
        }
    }

    #[test]
    fn a_body_is_described_as_it_is_read() {
        let cards = body_schema::<Deck>();
        assert_eq!(cards["properties"]["cards"]["type"], json!(["array", "null"]));
        assert_eq!(cards["properties"]["cards"]["maxItems"], 7);
        let told =
            |name: &str| json!({ "required": [name], "properties": { name: { "type": "string", "pattern": r"\S" } } });
        let expected = json!({
            "type": "object",
            "required": ["cardTitle"],
            "properties": {
                "cardTitle": { "type": "string", "minLength": 1, "maxLength": 5 },
                "tags": { "type": ["array", "null"], "maxItems": 2, "items": { "type": "string", "maxLength": 3 } },
                "size": { "type": ["integer", "string", "null"], "pattern": r"^\s*[+-]?[0-9]{1,18}\s*$" },
                "kind": { "type": ["string", "null"], "enum": ["a", "b", null] },
            },
            "anyOf": [told("tags"), told("kind")],
        });
        assert_eq!(cards["properties"]["cards"]["items"], expected);
    }

    #[test]
    fn a_query_has_texts_that_are_numbers() {
        let fields = serde_json::to_value(query_parameters::<Card>()).unwrap();
        let of = |name: &str| fields.as_array().unwrap().iter().find(|field| field["name"] == name).unwrap();
        assert_eq!((&of("cardTitle")["required"], &of("size")["required"]), (&json!(true), &json!(false)));
        assert_eq!(
            (&of("size")["schema"], &of("kind")["schema"]["enum"]),
            (&json!({ "type": "integer" }), &json!(["a", "b"]))
        );
    }
}
