//! JSON schemas, derived from types or given as JSON.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, SchemaType};

/// Where the OpenAPI description keeps schemas, and where a standalone schema does.
const SHARED: &str = "#/components/schemas/";
const OWN: &str = "#/$defs/";

/// Wraps a finished JSON schema.
pub fn verbatim(schema: Value) -> RefOr<Schema> {
    let keywords = match schema {
        Value::Object(keywords) => keywords,
        _ => Map::new(),
    };
    // Extensions can hold every keyword of a schema, whatever its name.
    let extensions = keywords.into_iter().collect();
    Object::builder().schema_type(SchemaType::AnyValue).extensions(Some(extensions)).into()
}

/// Returns the schema of a type that serializes to an object, with the schemas that it refers to in `$defs`.
pub fn schema_of<T: ToSchema>() -> Value {
    let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut parts);
    let mut whole = json!(T::schema());
    // Also for a choice of objects.
    whole["type"] = json!("object");
    if !parts.is_empty() {
        whole["$defs"] = parts.into_iter().map(|(name, schema)| (name, json!(schema))).collect::<Map<_, _>>().into();
    }
    point_inside(&mut whole);
    whole
}

fn point_inside(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if let Some(Value::String(target)) = keywords.get_mut("$ref")
                && let Some(name) = target.strip_prefix(SHARED)
            {
                *target = format!("{OWN}{name}");
            }
            keywords.values_mut().for_each(point_inside);
        }
        Value::Array(elements) => elements.iter_mut().for_each(point_inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only the schema is made from it")]
    struct Shelf {
        boxes: Vec<Crate>,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only the schema is made from it")]
    struct Crate {
        label: Option<String>,
    }

    #[test]
    fn a_schema_has_all_that_it_refers_to() {
        let expected = json!({
            "type": "object",
            "required": ["boxes"],
            "properties": { "boxes": { "type": "array", "items": { "$ref": "#/$defs/Crate" } } },
            "$defs": { "Crate": { "type": "object", "properties": { "label": { "type": ["string", "null"] } } } },
        });
        assert_eq!(schema_of::<Shelf>(), expected);
    }
}
