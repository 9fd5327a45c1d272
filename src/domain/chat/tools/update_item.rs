//! Changes the fields of a piece.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{MAX_COMPLAINT, Tool, ToolError, ToolParts, Traits, parameters, read_arguments};
use crate::base::schema::schema_of;
use crate::base::text::cut;
use crate::data::wardrobe::OWN_FIELDS;
use crate::domain::transfer;
use crate::domain::wardrobe;
use crate::domain::wardrobe::fields::ItemFields;
use crate::domain::wardrobe::piece::Piece;
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::{ItemId, UserId};

/// Name of a price's currency in search results.
const CURRENCY: &str = "currency";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateItemArguments {
    item_id: ItemId,
    changes: Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
struct UpdatedItem {
    item: Piece,
}

/// Changes fields of an item.
pub struct UpdateItem(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for UpdateItem {
    fn spec(&self) -> ToolSpec {
        let mut changes = schema_of::<ItemFields>();
        // Move the referenced schemas to the top level.
        let mut definitions = changes.as_object_mut().and_then(|schema| schema.remove("$defs")).unwrap_or_default();
        for schema in definitions.as_object_mut().into_iter().flat_map(Map::values_mut).chain([&mut changes]) {
            schema["additionalProperties"] = json!(false);
        }
        changes["description"] = json!(
            "The fields to change, each as it shall be: lists and texts are replaced. Others stay as they are, and so do \
             parts of price and size that are not given; null clears a field."
        );
        changes["properties"]["price"] = price_schema();
        let mut parameters = parameters(
            json!({
                "item_id": { "type": "string", "description": "The piece, by the id that search_wardrobe returned." },
                "changes": changes,
            }),
            &["item_id", "changes"],
        );
        parameters["$defs"] = definitions;
        ToolSpec {
            name: "update_item",
            description: "Changes what is known of a piece of the wardrobe: its tags, colours, brand, category, price, notes, \
                          size, condition or care, or whether it is a wish. Wears and the picture stay. Search results are \
                          cut: to add to a list or text, read the whole piece first (wardrobe://items/{id}).",
            parameters,
        }
    }

    fn traits(&self) -> Traits {
        Traits::replaces("Update an item").whole().result::<UpdatedItem>()
    }

    async fn run(&self, user: &UserId, context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let UpdateItemArguments { item_id, mut changes } = read_arguments(arguments)?;
        if changes.is_empty() || changes.keys().any(|name| !OWN_FIELDS.contains(&name.as_str())) {
            let known = OWN_FIELDS.join(", ");
            return Err(ToolError::BadArguments(format!("changes has one or more of {known}, and nothing else")));
        }
        if let Some(Value::Object(price)) = changes.get_mut("price")
            && !price.contains_key("originalCurrency")
            && let Some(code) = price.remove(CURRENCY)
        {
            price.insert("originalCurrency".to_owned(), code);
        }
        // Nobody looks at a form here, so a mistake must be noticed.
        transfer::item_fields(&changes).map_err(|fault| ToolError::BadArguments(cut(&fault, MAX_COMPLAINT)))?;
        serde_json::from_value::<ItemFields>(changes.clone().into())
            .map_err(|error| ToolError::BadArguments(cut(&error.to_string(), MAX_COMPLAINT)))?;
        let data = &self.0.base.data;
        let profile = if changes.contains_key("price") { data.profiles.find(user).await? } else { None };
        let currency = profile.map_or_else(|| "USD".to_owned(), |profile| profile.currency_code);
        let changed = wardrobe::change(data, user, &item_id, &changes, &currency).await?;
        let item = Piece::new(changed.ok_or_else(ToolError::no_item)?, context.offset);
        Ok(serde_json::to_string(&UpdatedItem { item })?)
    }
}

fn price_schema() -> Value {
    let text = json!({ "type": ["string", "null"], "maxLength": 200 });
    json!({
        "description": "What was paid: an amount in the piece's currency, or with another one. A first price is in the \
                        user's currency unless it has one.",
        "oneOf": [
            {
                "type": "object",
                "properties": {
                    "amount": { "type": "number" },
                    "originalCurrency": text,
                    CURRENCY: { "description": "The same as originalCurrency, as in search results.", "type": "string" },
                    "purchaseDate": text,
                },
                "required": ["amount"],
                "additionalProperties": false,
            },
            { "type": "number" },
            { "type": "null" },
        ],
    })
}
